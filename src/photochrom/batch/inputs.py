"""Find what an input names, on the disk or in an object store."""

import contextlib
import glob
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from photochrom.batch.folders import (
    Entry,
    classify,
    describe_suffix,
    has_photo_suffix,
    is_sidecar,
    walk_folder,
)
from photochrom.batch.locations import is_read_only, is_url, url_name
from photochrom.batch.report import Result, failed, ignored, unreadable
from photochrom.batch.storage import compile_pattern, get_kind, get_version, list_files
from photochrom.errors import UsageError
from photochrom.imagefile.formats import detect_format


@dataclass(frozen=True)
class FoundPhoto:
    """A photo named by an input."""

    location: str
    """A path or a URL."""
    relative: str
    """The path below the folder that was given, with forward slashes."""


def find_on_disk(text: str, out: str | None) -> Iterator[FoundPhoto | Result]:
    """Yield the photos that a path or a pattern names, without those in `out`.

    Of a folder or a pattern, what is ignored or cannot be read is yielded as a result.

    Raises:
        UsageError: If the path does not exist.
        OSError: If it cannot be read.
    """
    path = Path(text)
    if path.is_file():
        yield FoundPhoto(str(path), path.name)
        return
    if path.is_dir():
        root, matches = path, [path]
    elif path.exists():
        raise UsageError(f"{text} is neither a file nor a folder; give photos")
    elif glob.has_magic(text):
        parts = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        root, pattern = Path(*parts), PurePath(*path.parts[len(parts) :])
        matches = sorted(_match(root, pattern))
        for folder in _unreadable_folders(root, pattern):
            yield failed(str(folder), f"cannot read {folder}: Permission denied")
    else:
        raise UsageError(f"there is no file or folder {text}")
    outputs = None if out is None or is_url(out) else Path(out).resolve()
    if outputs is not None and root.resolve() not in outputs.parents:
        outputs = None  # a folder that contains the photos does not make them outputs
    for match in matches:
        for entry in _find_entries(match, outputs):
            if entry.error is not None:
                yield unreadable(entry.path, entry.error)
            elif entry.ignored is not None:
                yield ignored(str(entry.path), _describe_ignored(entry))
            else:
                yield FoundPhoto(str(entry.path), entry.path.relative_to(root).as_posix())


def _find_entries(match: Path, outputs: Path | None) -> list[Entry]:
    """Return what a match of a pattern names, without what is in the folder `outputs`."""
    resolved = match.parent.resolve() / match.name
    if outputs is not None and (outputs == resolved or outputs in resolved.parents):
        return []
    if not os.path.isdir(match):  # noqa: PTH112 (does not raise if permission is denied)
        return [] if is_sidecar(match) else [classify(match)]
    resolved = match.resolve()
    is_below = outputs is not None and resolved in outputs.parents
    skip = match / outputs.relative_to(resolved) if outputs is not None and is_below else None
    return walk_folder(match, skip=skip)


def _match(root: Path, pattern: PurePath) -> Iterator[Path]:
    """Yield what a pattern matches below a folder; hidden names only if it names them.

    Unlike `glob.glob`, `**` follows no links, which may form circles.
    """
    names_hidden = any(part.startswith(".") for part in pattern.parts)
    for match in root.glob(str(pattern)):
        relative = match.relative_to(root)
        if names_hidden or not any(part.startswith(".") for part in relative.parts):
            yield match


def _unreadable_folders(root: Path, pattern: PurePath) -> Iterator[Path]:
    """Yield the folders in which a pattern cannot be looked up; `Path.glob` passes over them."""
    parents = [parent for parent in pattern.parents if parent.parts]
    folders = [root, *(match for parent in parents for match in _match(root, parent))]
    for folder in folders:
        is_folder = os.path.isdir(folder)  # noqa: PTH112 (does not raise)
        if is_folder and not os.access(folder, os.R_OK | os.X_OK):
            yield folder


def _describe_ignored(entry: Entry) -> str:
    """Return why a file is ignored; of one without suffix, also what its first bytes say."""
    format_ = None
    is_file = os.path.isfile(entry.path)  # noqa: PTH113 (does not raise)
    if not entry.path.suffix and is_file:
        with contextlib.suppress(OSError), entry.path.open("rb") as stream:
            format_ = detect_format(stream.read(64))
    return f"it starts like a {format_}, but {entry.ignored}" if format_ else str(entry.ignored)


class Stores:
    """Finds files in object stores and remembers the folders that were listed."""

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        self._folders: list[str] = []

    def list_folder(self, folder: str) -> dict[str, str]:
        """Return the URLs of the files below a folder, with their versions.

        Raises:
            PhotochromError: If the request fails.
        """
        versions = list_files(folder)
        self._versions |= versions
        self._folders.append(f"{folder}/")
        return versions

    def get_version(self, location: str) -> str | None:
        """Return the version of a file, from a listing if there is one; None at a path.

        Raises:
            PhotochromError: If the request fails.
        """
        if not is_url(location):
            return None
        if any(map(location.startswith, self._folders)):
            return self._versions.get(location)
        return get_version(location)

    def find(self, url: str, out: str | None) -> Iterator[FoundPhoto | Result]:
        """Yield what a URL or a pattern names: photos, without those in `out`, and ignored files.

        Raises:
            UsageError: If there is nothing at the URL.
            PhotochromError: If the request fails.
        """
        url = url.rstrip("/")
        if glob.has_magic(url.partition("://")[2].partition("/")[0]):
            raise UsageError(f"{url} is a pattern of buckets; name the bucket")
        kind = get_kind(url)
        if kind == "file":
            yield FoundPhoto(url, url_name(url))
            return
        folder, pattern = url, None
        if kind is None:
            if is_read_only(url) or not glob.has_magic(url):
                raise UsageError(f"there is no file or folder {url}")
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
