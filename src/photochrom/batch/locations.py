"""Locations of files: paths and URLs."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a path."""
    return bool(_URL.match(location))


def new_resolver() -> Callable[[str], str]:
    """Return a function that returns the same text for all ways to write a location.

    It resolves links in the folders of a path, but a link to a file is not the file. Folders are
    looked up once.
    """
    resolve_folder = cache(Path.resolve)

    def resolve(location: str) -> str:
        if is_url(location):
            return location
        path = Path(location)
        return str(resolve_folder(path.parent) / path.name)

    return resolve


def is_link(location: str) -> bool:
    """Return whether a location is a symbolic link."""
    return not is_url(location) and Path(location).is_symlink()
