"""Plan batches of photos at paths and in object stores."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from photochrom.batch.folders import has_photo_suffix
from photochrom.batch.planning import FoundPhoto, find_on_disk, is_url, plan_outputs
from photochrom.batch.ray.storage import compile_pattern, get_kind, get_version, list_files
from photochrom.errors import PhotochromError


@dataclass(frozen=True)
class Task:
    """One photo and its output, each a path or a URL."""

    input: str
    output: str
    planned_version: str | None = None
    """Version of the output when the batch was planned; None if there was none."""

    def has_output(self) -> bool:
        """Return whether the output existed when the batch was planned."""
        return self.planned_version is not None


def plan_tasks(inputs: Sequence[str], out: str | None = None) -> list[Task]:
    """Plan as `plan` does; inputs and `out` may also be URLs.

    Raises:
        PhotochromError: As `plan`, or if a request to a store fails.
    """
    inputs = [text.removeprefix("file://") for text in inputs]
    if out is not None:
        out = out.removeprefix("file://")
        out = out.rstrip("/") or out
    for location in filter(is_url, [*inputs, out or ""]):
        if not location.partition("://")[2].strip("/"):
            raise PhotochromError(f"{location} names no bucket; give one, and a folder in it")
    stores = _Stores()

    def find(text: str, out: str | None) -> Iterable[FoundPhoto]:
        return stores.find(text.rstrip("/"), out) if is_url(text) else find_on_disk(text, out)

    pairs = plan_outputs(inputs, out, find)
    if out is not None and is_url(out):
        stores.list_folder(out)
    return [Task(photo, output, stores.get_version(output)) for photo, output in pairs]


class _Stores:
    """Finds files in object stores and remembers the folders that were listed."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        self._folders: list[str] = []

    def list_folder(self, folder: str) -> dict[str, str]:
        """Return the URLs of the files below a folder, with their versions."""
        versions = list_files(folder)
        self._versions |= versions
        self._folders.append(f"{folder}/")
        return versions

    def get_version(self, location: str) -> str | None:
        """Return the version of a file, from a listing if there is one."""
        if any(map(location.startswith, self._folders)):
            return self._versions.get(location)
        return self._versions.get(location) or get_version(location)

    def find(self, url: str, out: str | None) -> Iterator[FoundPhoto]:
        """Yield the photos that a URL or a pattern names, without those in `out`.

        Raises:
            PhotochromError: If there is nothing at the URL, or the request fails.
        """
        if glob.has_magic(url.partition("://")[2].partition("/")[0]):
            raise PhotochromError(f"{url} is a pattern of buckets; name the bucket")
        kind = get_kind(url)
        if kind == "file":
            yield FoundPhoto(url, url.rpartition("/")[2])
            return
        folder, pattern = url, None
        if kind is None:
            if not glob.has_magic(url):
                raise PhotochromError(f"there is no file or folder {url}")
            folder, pattern = _fixed_part(url), compile_pattern(url)
        skip_outputs = out is not None and out.startswith(f"{folder}/")
        for name in sorted(self.list_folder(folder)):
            relative = name.removeprefix(f"{folder}/")
            if (
                has_photo_suffix(PurePosixPath(relative))
                and not any(part.startswith(".") for part in relative.split("/"))
                and not (skip_outputs and name.startswith(f"{out}/"))
                and (pattern is None or any(map(pattern.fullmatch, _with_parents(name, folder))))
            ):
                yield FoundPhoto(name, relative)


def _fixed_part(pattern: str) -> str:
    """Return the folder before the first wildcard of a pattern."""
    scheme, _, path = pattern.partition("://")
    parts = path.split("/")
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return f"{scheme}://{'/'.join(parts[:count])}"


def _with_parents(name: str, folder: str) -> Iterator[str]:
    """Yield a file and its parents below a folder, since a pattern may match a parent."""
    while len(name) > len(folder):
        yield name
        name = name.rpartition("/")[0]
