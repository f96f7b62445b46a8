"""Locations of files: paths, and URLs as strings."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

_URL = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(location: str) -> bool:
    """Return whether a location is a URL, not a path; file:// is a path."""
    return bool(_URL.match(location))


def parse_location(text: str) -> Path | str:
    """Return a path, or a URL as it is."""
    return text if is_url(text) else Path(text)


def is_read_only(location: str) -> bool:
    """Return whether nothing can be written at a location: a web server only delivers."""
    return location.startswith(("http://", "https://"))


def url_name(url: str) -> str:
    """Return the file name in a URL, without the query of a web server."""
    return (url.partition("?")[0] if is_read_only(url) else url).rpartition("/")[2]


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
