"""XMP packets: properties, regions, and packets in several parts."""
