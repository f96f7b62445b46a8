"""Encode frames, and join them with the other streams of the source."""
