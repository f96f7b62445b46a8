"""Plan batches of photos at paths and in object stores."""

import dataclasses
import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from photochrom.batch.folders import describe_suffix, has_photo_suffix
from photochrom.batch.locations import is_url
from photochrom.batch.planning import (
    FoundPhoto,
    Job,
    Plan,
    find_on_disk,
    ignored,
    plan_outputs,
)
from photochrom.batch.ray.storage import compile_pattern, get_kind, get_version, list_files
from photochrom.batch.report import FileVersion, Result, is_unchanged, read_version
from photochrom.colorize.hints import Hint, hints_from_json
from photochrom.errors import PhotochromError


@dataclass(frozen=True)
class Task:
    """One photo and its output, each a path or a URL."""

    input: str
    output: str
    planned_version: str | None = None
    """Version of the output when the batch was planned; None if there was none."""
    input_version: str | None = None
    """Version of the photo when the batch was planned; None if it is at a path."""
    replaces: FileVersion | str | None = None
    """An earlier version of the output that may be replaced."""
    name: str = ""
    """As of `Job`."""
    hints: tuple[Hint, ...] = ()
    """As of `Job`."""

    def has_output(self) -> bool:
        """Return whether the output existed when the batch was planned."""
        return self.planned_version is not None

    def read_input_version(self, checksum: bool = False) -> FileVersion | str | None:
        """Return the version of the photo; in an object store, when the batch was planned."""
        if is_url(self.input):
            return self.input_version
        return read_version(Path(self.input), checksum=checksum)

    def is_input(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the photo is as it was; `checksum` is of no use in an object store."""
        if is_url(self.input):
            return self.input_version == version
        return is_unchanged(Path(self.input), version, checksum=checksum)

    def is_output(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the output is as it was; `checksum` is of no use in an object store."""
        if is_url(self.output):
            return self.planned_version == version
        return is_unchanged(Path(self.output), version, checksum=checksum)

    def is_outdated(self) -> bool:
        """Return whether the photo is newer than its output; not known in an object store."""
        if is_url(self.input) or is_url(self.output):
            return False
        return self.at_paths().is_outdated()

    def at_paths(self) -> Job:
        """Return the job of a task that has paths only."""
        return Job(Path(self.input), Path(self.output), self.replaces, self.name, self.hints)

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Task":
        """Return the task of a line of JSON."""
        fields = json.loads(line)
        if isinstance(fields["replaces"], dict):
            fields["replaces"] = FileVersion(**fields["replaces"])
        fields["hints"] = hints_from_json(fields["hints"])
        return cls(**fields)


def plan_tasks(
    inputs: Sequence[str], out: str | None = None, *, format: str | None = None
) -> Plan[Task]:
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

    def find(text: str, out: str | None) -> Iterable[FoundPhoto | Result]:
        return stores.find(text.rstrip("/"), out) if is_url(text) else find_on_disk(text, out)

    pairs, results = plan_outputs(inputs, out, find, format=format)
    if out is not None and is_url(out):
        stores.list_folder(out)
    tasks = []
    for photo, output in pairs:
        url = photo.location
        version = stores.get_version(url) if is_url(url) else None
        planned_version = stores.get_version(output)
        tasks.append(Task(url, output, planned_version, version, name=photo.relative))
    return Plan(tasks, results)


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

    def find(self, url: str, out: str | None) -> Iterator[FoundPhoto | Result]:
        """Yield what a URL or a pattern names: photos, without those in `out`, and ignored files.

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
                any(part.startswith(".") for part in relative.split("/"))
                or (skip_outputs and name.startswith(f"{out}/"))
                or not (pattern is None or any(map(pattern.fullmatch, _with_parents(name, folder))))
            ):
                continue
            if has_photo_suffix(PurePosixPath(relative)):
                yield FoundPhoto(name, relative)
            else:
                yield ignored(name, describe_suffix(PurePosixPath(relative)))


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
