"""Batches on a Ray cluster.

`actors.py` decides how many actors there are, and `engine.py`, which alone imports Ray, runs them.
"""

from photochrom.errors import PhotochromError


class ClusterError(PhotochromError):
    """A cluster cannot be reached, or its machines cannot do the work."""
