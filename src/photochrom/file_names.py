"""File names that operating systems refuse."""

import os
import re

_IS_WINDOWS = os.name == "nt"
_CHARACTERS = r'[<>:"/\\|?*\x00-\x1f\x7f]'
_RESERVED = r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)"
"""Names of devices."""


def safe_name(name: str) -> str:
    r"""Return a file name that every system allows: without <>:"/\|?*, reserved names and so on."""
    name = re.sub(_CHARACTERS, "_", name).rstrip(". ")
    is_reserved = not name or re.match(_RESERVED, name, re.IGNORECASE)
    return f"_{name}" if is_reserved else name


def is_refused(name: str) -> bool:
    r"""Return whether this system has no file of a name, or takes it for something else.

    Windows has no `a?.jpg` and no `nul.jpg`, takes `a\b.jpg` for a file in a folder and `a:b.jpg`
    for a part of the file `a`.
    """
    return name in ("", ".", "..") or (_IS_WINDOWS and safe_name(name) != name)
