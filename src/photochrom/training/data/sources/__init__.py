"""Where the photos of data sets come from: the commands of `photochrom data`."""

import pkgutil

from photochrom.errors import DataError
from photochrom.training.data.sources.source import Source

SOURCES = {
    "folder": f"{__name__}.folder:FOLDER",
    "coco": f"{__name__}.coco:COCO",
}
"""`module:name` of each `Source`."""


def load_source(name: str) -> Source:
    """Return a source of `SOURCES`, or that of a `module:name`.

    Raises:
        DataError: If there is none.
    """
    try:
        source = pkgutil.resolve_name(name if ":" in name else SOURCES[name])
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise DataError(
            f"there is no source {name!r} ({error}); choose from {', '.join(SOURCES)}, or give "
            "module:name of your own, with its folder in PYTHONPATH"
        ) from error
    if not isinstance(source, Source):
        raise DataError(f"{name} is {source!r}; give the module:name of a Source")
    return source
