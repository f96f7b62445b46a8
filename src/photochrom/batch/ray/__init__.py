"""Batches on a Ray cluster, with photos at paths or in object stores.

`tasks.py` plans, `storage.py` reads and writes paths and URLs, `execution.py` processes one photo,
`actors.py` decides how many actors there are, and `engine.py` runs them. Only `engine.py` imports
Ray.
"""

from photochrom.errors import PhotochromError


class ClusterError(PhotochromError):
    """A cluster cannot be reached, or its machines cannot do the work."""
