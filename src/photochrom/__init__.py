"""Colorize black-and-white photographs.

`Colorizer` colorizes photos; `open_photo` and `save_photo` read and write files.
`photochrom.training`, which trains and evaluates models, needs the extra `train`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from photochrom.version import __version__

if TYPE_CHECKING:
    from photochrom.colorize.colorizer import Colorizer
    from photochrom.colorize.hints import Hint
    from photochrom.imagefile.photo import Photo
    from photochrom.imagefile.reading import open_pages, open_photo
    from photochrom.imagefile.writing import save_pages, save_photo

# From 1.29 on, ONNX Runtime sends telemetry for every model that is loaded, with an id of the
# computer, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "Colorizer",
    "Hint",
    "Photo",
    "__version__",
    "open_pages",
    "open_photo",
    "save_pages",
    "save_photo",
]

_MODULES = {
    "Colorizer": "photochrom.colorize.colorizer",
    "Hint": "photochrom.colorize.hints",
    "Photo": "photochrom.imagefile.photo",
    "open_pages": "photochrom.imagefile.reading",
    "open_photo": "photochrom.imagefile.reading",
    "save_pages": "photochrom.imagefile.writing",
    "save_photo": "photochrom.imagefile.writing",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import photochrom` and `photochrom --help` are fast."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
