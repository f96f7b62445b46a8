"""Batches on a Ray cluster, with photos at paths or in object stores.

`tasks.py` plans what becomes what, `storage.py` reads and writes paths and URLs, `execution.py`
colorizes one photo, and `engine.py` runs that on many machines with as many actors as `actors.py`
plans. Only `engine.py` imports Ray.
"""

from photochrom.errors import PhotochromError


class ClusterError(PhotochromError):
    """A cluster that cannot be reached, or nodes of it that cannot do the work."""
