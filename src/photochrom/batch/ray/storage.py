"""What lies at a path or a URL: listing it, fetching it, putting it there whole."""

import datetime
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from photochrom.errors import PhotochromError, PhotoError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_TIMES = ("mtime", "LastModified", "last_modified", "updated")
"""What the file systems call the time of the last change."""


def is_url(place: str) -> bool:
    """Tell a URL from a path."""
    return bool(_URL.match(place))


def without_file_scheme(place: str) -> str:
    """Return the path of a `file://` URL, and anything else as it is."""
    return place.removeprefix("file://")


def matcher_of(pattern: str) -> re.Pattern[str]:
    """Return the expression that the URLs match which a pattern means; `**` is any folders."""
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    scheme, _, rest = pattern.partition("://")
    return re.compile(re.escape(f"{scheme}://") + glob_translate(rest))


def kind_of(url: str) -> Literal["file", "folder"] | None:
    """Tell what there is at a URL, None where there is nothing.

    Raises:
        PhotochromError: If that cannot be found out.
    """
    info = _info(url, PhotochromError)
    return None if info is None else "folder" if info["type"] == "directory" else "file"


def listed(url: str) -> dict[str, str]:
    """Return the URLs of all files in a folder and the folders in it, each with its stamp.

    Raises:
        PhotochromError: If the store refuses.
    """
    system, key = _opened(url, PhotochromError)
    scheme = url.partition("://")[0]
    with _refusing(f"cannot list {url}", PhotochromError):
        found = system.find(key, detail=True)
    return {f"{scheme}://{name.lstrip('/')}": _stamp(info) for name, info in found.items()}


def stamp(place: str) -> str | None:
    """Return what changes when a file is written anew, None where there is none.

    Raises:
        PhotoError: If that cannot be found out.
    """
    if is_url(place):
        info = _info(place, PhotoError)
        return None if info is None else _stamp(info)
    try:
        facts = Path(place).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PhotoError(f"cannot look at {place}: {error.strerror or error}") from error
    return f"{facts.st_size} {facts.st_ino} {facts.st_mtime_ns}"


def is_there(place: str) -> bool:
    """Tell whether there is a file, by a request that costs next to nothing.

    Where there is none, `stamp` would go on to list a store, at the price of a result put there.

    Raises:
        PhotoError: If that cannot be found out.
    """
    if not is_url(place):
        return stamp(place) is not None
    system, key = _opened(place, PhotoError)
    with _refusing(f"cannot look at {place}", PhotoError):
        try:
            system.cat_file(key, start=0, end=1)
        except FileNotFoundError:
            return False
    return True


def fetch(url: str, path: Path) -> None:
    """Copy what lies at a URL into a file.

    Raises:
        PhotoError: If it is not there any more, or the store refuses.
    """
    system, key = _opened(url, PhotoError)
    with _refusing(f"cannot read {url}", PhotoError):
        system.get_file(key, str(path))


def put(path: Path, url: str, *, overwrite: bool) -> None:
    """Copy a file to a URL, where it appears whole.

    Args:
        path: The file.
        url: Where.
        overwrite: Whether what is there may be replaced; if not, the store itself sees to it.

    Raises:
        PhotoError: If the store refuses.
    """
    system, key = _opened(url, PhotoError)
    with _refusing(f"cannot write {url}", PhotoError):
        system.put_file(str(path), key, mode="overwrite" if overwrite else "create")


def _info(url: str, refusal: type[PhotochromError]) -> dict[str, Any] | None:
    system, key = _opened(url, refusal)
    with _refusing(f"cannot look at {url}", refusal):
        try:
            info: dict[str, Any] = system.info(key)
        except FileNotFoundError:
            return None
    return info


def _opened(url: str, refusal: type[PhotochromError]) -> tuple[Any, str]:
    """Return the file system of a URL, which fsspec keeps, and what it calls the place."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    with _refusing(f"cannot reach {url}", refusal):
        # What was listed a while ago must not answer for what is there now.
        system, key = url_to_fs(url, use_listings_cache=False)
    return system, str(key)


@contextmanager
def _refusing(what: str, refusal: type[PhotochromError]) -> Iterator[None]:
    """Turn what a store's client raises, each of which has errors of its own, into a refusal."""
    try:
        yield
    except FileNotFoundError as error:
        raise refusal(f"{what}: there is nothing of that name, or no such bucket") from error
    except PermissionError as error:
        raise refusal(f"{what}: permission denied; {_reason(error)}") from error
    except Exception as error:
        raise refusal(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).splitlines()[0]


def _stamp(info: dict[str, Any]) -> str:
    """Sum up what a store says of a file; a listing and a question about it alone have to agree."""
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    changed = next((info[name] for name in _TIMES if info.get(name)), "")
    if isinstance(changed, datetime.datetime):
        changed = int(changed.timestamp())  # some listings have parts of seconds, answers have not
    return f"{info.get('size')} {tag} {changed}"
