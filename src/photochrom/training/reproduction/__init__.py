"""The report's experiments, repeated and extended: `photochrom reproduce`."""
