"""Access files in object stores by URL, through fsspec."""

import datetime
import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from photochrom.errors import PhotochromError, UsageError

_MODIFIED_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")
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


def get_version(url: str) -> str | None:
    """Return a text that changes when the file is rewritten, None if there is no file.

    Raises:
        PhotochromError: If the request fails.
    """
    info = _get_info(url)
    return None if info is None or info["type"] == "directory" else _version(info)


def exists(url: str) -> bool:
    """Return whether there is a file.

    For a missing object this is one GET; `get_version` would also list its prefix, which costs as
    much as a PUT.

    Raises:
        PhotochromError: If the request fails.
    """
    with _open_store(url, "check") as (store, key):
        try:
            store.cat_file(key, start=0, end=1)
        except FileNotFoundError as error:
            if not _is_no_file(error):
                raise
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
        FileExistsError: If the file exists and `overwrite` is not set.
        PhotochromError: If the request fails.
    """
    with _open_store(url, "write") as (store, key):
        store.put_file(str(path), key, mode="overwrite" if overwrite else "create")


def _get_info(url: str) -> dict[str, Any] | None:
    with _open_store(url, "check") as (store, key):
        try:
            info: dict[str, Any] = store.info(key)
        except FileNotFoundError as error:
            if not _is_no_file(error):
                raise
            return None
    return info


@contextmanager
def _open_store(url: str, action: str) -> Iterator[tuple[Any, str]]:
    """Yield the fsspec file system of a URL and the key in it.

    Raises:
        FileExistsError: As raised by the client.
        UsageError: If the scheme is unknown.
        PhotochromError: If the client is not installed, and in place of any other exception, since
            each client has its own types.
    """
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        # No cache: an earlier listing does not say what exists now.
        store, key = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if scheme in ("s3", "s3a") or error.name == "fsspec":
            advice = "URLs need fsspec and s3fs; run `pip install 'photochrom[s3]'`"
        else:
            advice = f"{scheme}:// needs a package of its own: {error}"
        raise PhotochromError(f"cannot {action} {url}: {advice}") from error
    except ValueError as error:
        raise UsageError(f"cannot {action} {url}: {error}; give a path, or s3://") from error
    try:
        yield store, str(key)
    except FileExistsError:
        raise
    except Exception as error:
        raise PhotochromError(f"cannot {action} {url}: {_describe(error)}") from error


def _is_no_file(error: FileNotFoundError) -> bool:
    """Return whether there is no file; otherwise there is no bucket, or no server that answers."""
    cause = error.__cause__
    response = getattr(cause, "response", {})  # of botocore
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return cause is None or code == "NoSuchKey" or getattr(cause, "status", None) == 404


def _describe(error: Exception) -> str:
    """Return what a store or its client answered, and what to do."""
    source: BaseException = error
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"the temporary folder {tempfile.gettempdir()} is full; name another in TMPDIR"
    if isinstance(error, FileNotFoundError):
        if _is_no_file(error):
            return "there is no such file"
        if not hasattr(error.__cause__, "response"):  # fsspec's errors of HTTP have the URL only
            source = error.__cause__ or error
    lines = str(getattr(source, "strerror", None) or source).splitlines()
    reason = lines[0].rstrip(".") if lines else type(source).__name__
    if isinstance(error, PermissionError) or getattr(source, "status", None) in (401, 403):
        return f"permission denied (403): {reason}; check the key and what it may do"
    if "credentials" in reason:
        return f"{reason}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if source is error and isinstance(error, FileNotFoundError):
        return f"no such bucket: {reason}; check its name, and the store in AWS_ENDPOINT_URL"
    return f"{reason}; check the network and the address of the store, and try again"


def _version(info: dict[str, Any]) -> str:
    """Return the version of a file; the same from a listing and from `info`."""
    etag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    modified = next((info[key] for key in _MODIFIED_KEYS if info.get(key)), "")
    if isinstance(modified, datetime.datetime):
        modified = int(modified.timestamp())  # only some listings have fractions of seconds
    return f"{info.get('size')} {etag} {modified}"
