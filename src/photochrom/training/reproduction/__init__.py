"""The report's experiments, repeated, extended and explained: `photochrom reproduce`."""
