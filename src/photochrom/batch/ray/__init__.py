"""Archives beyond one machine: photos by their URLs, and a cluster that colorizes them.

`errands` says what there is to do, `places` reaches what is no file here, `carrying` does one photo
wherever it lies, and `engine` has Ray do that on many machines. Only `engine` imports Ray.
"""

from photochrom.errors import PhotochromError


class ClusterError(PhotochromError):
    """A cluster that cannot be reached, or machines of it that cannot do what they are to do."""
