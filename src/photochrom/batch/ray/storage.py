"""Access files at paths and URLs, through fsspec."""

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from photochrom.batch.locations import is_url
from photochrom.errors import PhotochromError

_MODIFIED_KEYS = ("mtime", "LastModified", "last_modified", "updated")
"""Keys of the modification time in fsspec's file systems."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for the URLs that a pattern matches; `**` is any folders."""
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    scheme, _, rest = pattern.partition("://")
    return re.compile(re.escape(f"{scheme}://") + glob_translate(rest))


def get_kind(url: str) -> Literal["file", "folder"] | None:
    """Return what is at a URL, None if nothing.

    Raises:
        PhotochromError: If the request fails.
    """
    info = _get_info(url)
    return None if info is None else "folder" if info["type"] == "directory" else "file"


def list_files(url: str) -> dict[str, str]:
    """Return the URLs of all files below a folder, with their versions.

    Raises:
        PhotochromError: If the request fails.
    """
    with _open_store(url, "list") as (store, key):
        files = store.find(key, detail=True)
    scheme = url.partition("://")[0]
    return {f"{scheme}://{name.lstrip('/')}": _version(info) for name, info in files.items()}


def get_version(location: str) -> str | None:
    """Return a text that changes when the file is rewritten, None if there is no file.

    Raises:
        PhotochromError: If the request fails.
    """
    if is_url(location):
        info = _get_info(location)
        return None if info is None else _version(info)
    try:
        stat = Path(location).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PhotochromError(f"cannot check {location}: {error.strerror or error}") from error
    return f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns}"


def exists(location: str) -> bool:
    """Return whether there is a file.

    For a missing object this is one GET; `get_version` would also list its prefix, which costs as
    much as a PUT.

    Raises:
        PhotochromError: If the request fails.
    """
    if not is_url(location):
        return get_version(location) is not None
    with _open_store(location, "check") as (store, key):
        try:
            store.cat_file(key, start=0, end=1)
        except FileNotFoundError:
            return False
    return True


def download(url: str, path: Path) -> None:
    """Copy the file at a URL to a path.

    Raises:
        PhotochromError: If the request fails.
    """
    with _open_store(url, "read") as (store, key):
        store.get_file(key, str(path))


def upload(path: Path, url: str, *, overwrite: bool) -> None:
    """Copy a file to a URL atomically.

    Raises:
        PhotochromError: If the request fails, or the file exists and `overwrite` is not set.
    """
    with _open_store(url, "write") as (store, key):
        store.put_file(str(path), key, mode="overwrite" if overwrite else "create")


def _get_info(url: str) -> dict[str, Any] | None:
    with _open_store(url, "check") as (store, key):
        try:
            info: dict[str, Any] = store.info(key)
        except FileNotFoundError:
            return None
    return info


@contextmanager
def _open_store(url: str, action: str) -> Iterator[tuple[Any, str]]:
    """Yield the fsspec file system of a URL and the key in it.

    Raises:
        PhotochromError: In place of any exception, since each client has its own types.
    """
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    prefix = f"cannot reach {url}"
    try:
        # No cache: an earlier listing does not say what exists now.
        store, key = url_to_fs(url, use_listings_cache=False)
        prefix = f"cannot {action} {url}"
        yield store, str(key)
    except FileNotFoundError as error:
        raise PhotochromError(f"{prefix}: no such file or no such bucket") from error
    except Exception as error:
        lines = str(getattr(error, "strerror", None) or error).splitlines()
        reason = lines[0] if lines else type(error).__name__
        if isinstance(error, PermissionError):
            reason = f"permission denied; {reason}"
        raise PhotochromError(f"{prefix}: {reason}") from error


def _version(info: dict[str, Any]) -> str:
    """Return the version of a file; the same from a listing and from `info`."""
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    modified = next((info[key] for key in _MODIFIED_KEYS if info.get(key)), "")
    if isinstance(modified, datetime.datetime):
        modified = int(modified.timestamp())  # only some listings have fractions of seconds
    return f"{info.get('size')} {etag} {modified}"
