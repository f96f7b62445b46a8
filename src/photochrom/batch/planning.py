"""Decide which photos a batch colorizes and where each output goes."""

import contextlib
import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from photochrom.batch.clashes import find_clashes
from photochrom.batch.folders import (
    Entry,
    classify,
    has_photo_suffix,
    is_sidecar,
    walk_folder,
)
from photochrom.batch.locations import is_url, new_resolver
from photochrom.batch.report import FileVersion, Result, is_unchanged, read_version
from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError
from photochrom.imagefile.formats import FORMATS, RAW_SUFFIXES, READ_ONLY, detect_format

OUTPUT_MARK = "-color"
"""Appended to the stem of an output that is written beside its photo."""

_ADDED_SUFFIXES = {
    **dict.fromkeys(FORMATS, ""),
    **READ_ONLY,
    **dict.fromkeys(RAW_SUFFIXES, ".tif"),
}
"""Suffixes of photos to what their outputs append to it. All others append .png."""
OUTPUT_FORMATS = {"jpeg": ".jpg"}
"""Formats that all outputs may have, to what names of photos of other formats append."""


@dataclass(frozen=True)
class Job:
    """One photo and its output."""

    input: Path
    output: Path
    replaces: FileVersion | str | None = None
    """An earlier version of the output that may be replaced."""
    name: str = ""
    """Of the photo: its path below the folder that was given, with forward slashes."""
    hints: tuple[Hint, ...] = ()
    """Of the first page."""

    def has_output(self) -> bool:
        """Return whether the output exists."""
        return self.output.exists()

    def read_input_version(self, checksum: bool = False) -> FileVersion | str | None:
        """Return the version of the photo, None if it cannot be read."""
        return read_version(self.input, checksum=checksum)

    def is_input(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the photo is as it was."""
        return is_unchanged(self.input, version, checksum=checksum)

    def is_output(self, version: FileVersion | str, checksum: bool = False) -> bool:
        """Return whether the output is as it was."""
        return is_unchanged(self.output, version, checksum=checksum)

    def is_outdated(self) -> bool:
        """Return whether the photo is newer than its output."""
        photo, output = read_version(self.input), read_version(self.output)
        return photo is not None and output is not None and photo.mtime_ns > output.mtime_ns


AnyJob = TypeVar("AnyJob")


@dataclass(frozen=True)
class Plan(Generic[AnyJob]):
    """What a batch does."""

    jobs: list[AnyJob]
    """One per photo, in the order of the inputs, then by name."""
    results: list[Result]
    """Of what is not colorized: ignored files, folders that cannot be read, clashes of names."""


@dataclass(frozen=True)
class FoundPhoto:
    """A photo named by an input."""

    location: str
    """A path or a URL."""
    relative: str
    """The path below the folder that was given, with forward slashes."""


def plan(inputs: Sequence[str], out: Path | None = None, *, format: str | None = None) -> Plan[Job]:
    """Find photos and decide where their outputs go.

    An input is a file, a folder (all photos below it, except hidden ones) or a pattern with `*`,
    `?`, `[...]` or `**`. Outputs of earlier runs are skipped: NAME-color.EXT if the photo NAME.EXT
    is an input as well, and everything in `out` for folders and patterns. Each path is a photo of
    its own, even if it is a link to another.

    Args:
        inputs: Paths and patterns.
        out: Folder for the outputs, created if needed. A photo keeps its name and its path below
            the folder that was given. None: beside the photo, as NAME-color.EXT.
        format: Of the outputs, a key of `OUTPUT_FORMATS`; None: that of each photo.

    Returns:
        The jobs, and results of what is not colorized. Photos fail that cannot be read, that would
        have the same output, or whose output would replace an input. Files in folders that are not
        named like photos are ignored.

    Raises:
        PhotochromError: If an input does not exist or has no photo, or if `out` is a file.
    """
    folder = None if out is None else str(out)
    pairs, results = plan_outputs(inputs, folder, find_on_disk, format=format)
    jobs = [Job(Path(photo.location), Path(output), name=photo.relative) for photo, output in pairs]
    return Plan(jobs, results)


def plan_outputs(
    inputs: Sequence[str],
    out: str | None,
    find: Callable[[str, str | None], Iterable[FoundPhoto | Result]],
    *,
    format: str | None = None,
) -> tuple[list[tuple[FoundPhoto, str]], list[Result]]:
    """Return pairs of photo and output, and other results, by the rules of `plan`.

    `find` returns what one input, a path or a URL, names: photos, without those in `out`, and
    results of what is not colorized.

    Raises:
        PhotochromError: As `plan`.
    """
    if out is not None and (
        Path(out).is_file() or (has_photo_suffix(out) and not Path(out).is_dir())
    ):
        raise PhotochromError(
            f"{out} is a file or named like a file; give a folder for the results"
        )
    resolve = new_resolver()
    found: dict[str, FoundPhoto | Result] = {}
    for text in inputs:
        for item in _find_some(text, out, find):
            key = resolve(str(item.input) if isinstance(item, Result) else item.location)
            # Each once, but what a folder ignores may be given by name as well.
            if key not in found or isinstance(found[key], Result):
                found[key] = item
    photos = {key: item for key, item in found.items() if isinstance(item, FoundPhoto)}
    results = [item for item in found.values() if isinstance(item, Result)]
    as_png = {key: becomes_png(photo.location) for key, photo in photos.items()}
    sources = {
        resolve(_beside(photo.location, as_png[key], name)): photo.location
        for key, photo in photos.items()
        for name in (None, *OUTPUT_FORMATS)
    }
    pairs = []
    for key, photo in photos.items():
        if key in sources:
            if out is not None:  # otherwise it is the output in the result of its photo
                reason = f"it is named like a result of {sources[key]}; colorize it on its own"
                results.append(ignored(photo.location, reason))
            continue
        try:
            if out is None:
                output = _beside(photo.location, as_png[key], format)
            else:
                output = _below(out, photo, as_png[key], format)
        except PhotochromError as error:
            results.append(failed(photo.location, str(error)))
        else:
            pairs.append((photo, output))
    clashes = find_clashes([(photo.location, output) for photo, output in pairs], resolve)
    results += [
        failed(photo.location, clashes[photo.location], output)
        for photo, output in pairs
        if photo.location in clashes
    ]
    return [pair for pair in pairs if pair[0].location not in clashes], results


def _find_some(
    text: str,
    out: str | None,
    find: Callable[[str, str | None], Iterable[FoundPhoto | Result]],
) -> list[FoundPhoto | Result]:
    """Return what an input names, at least one photo or a reason why there is none.

    Raises:
        PhotochromError: If there is nothing, or nothing that is named like a photo.
    """
    try:
        found = list(find(text, out))
    except OSError as error:
        return [_unreadable(Path(text), error)]
    if all(isinstance(item, Result) and item.status == "ignored" for item in found):
        start = f"no photo matches {text}" if glob.has_magic(text) else f"{text} has no photo"
        advice = "; give files without the suffix of a photo by name" if found else ""
        raise PhotochromError(start + advice)
    return found


def find_on_disk(text: str, out: str | None) -> Iterator[FoundPhoto | Result]:
    """Yield the photos that a path or a pattern names, without those in `out`.

    Of a folder or a pattern, what is ignored or cannot be read is yielded as a result.

    Raises:
        PhotochromError: If the path does not exist.
        OSError: If it cannot be read.
    """
    path = Path(text)
    if path.is_file():
        yield FoundPhoto(str(path), path.name)
        return
    if path.is_dir():
        root, matches = path, [path]
    elif path.exists():
        raise PhotochromError(f"{text} is neither a file nor a folder; give photos")
    elif glob.has_magic(text):
        parts = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        root, pattern = Path(*parts), PurePath(*path.parts[len(parts) :])
        matches = sorted(_match(root, pattern))
        for folder in _unreadable_folders(root, pattern):
            yield failed(str(folder), f"cannot read {folder}: Permission denied")
    else:
        raise PhotochromError(f"there is no file or folder {text}")
    outputs = None if out is None or is_url(out) else Path(out).resolve()
    if outputs is not None and root.resolve() not in outputs.parents:
        outputs = None  # a folder that contains the photos does not make them outputs
    for match in matches:
        for entry in _find_entries(match, outputs):
            if entry.error is not None:
                yield _unreadable(entry.path, entry.error)
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
    if not entry.path.suffix and entry.path.is_file():
        with contextlib.suppress(OSError), entry.path.open("rb") as stream:
            format_ = detect_format(stream.read(64))
    return f"it starts like a {format_}, but {entry.ignored}" if format_ else str(entry.ignored)


def ignored(location: str, reason: str) -> Result:
    """Return the result of a file that is not taken for a photo."""
    return Result(location, None, "ignored", 0.0, reason=reason)


def failed(location: str, error: str, output: str | None = None) -> Result:
    """Return the result of a photo that cannot be colorized."""
    return Result(location, output, "failed", 0.0, error=error)


def _unreadable(path: Path, error: OSError) -> Result:
    return failed(str(path), f"cannot read {error.filename or path}: {error.strerror or error}")


def output_name(
    name: str, mark: str = "", *, as_png: bool = False, format: str | None = None
) -> str:
    """Return the file name of an output, in a format that can be written.

    Photos of other formats keep their suffix before that of the output, as NAME.jp2.png, so that
    the name depends on the photo alone and no other photo in its folder has the same output.

    Args:
        name: The file name of the photo.
        mark: Appended to the stem.
        as_png: Whether a suffix that can be written becomes .png all the same.
        format: As of `plan`.
    """
    path = PurePath(name)
    suffix = path.suffix.lower()
    if format is None:
        added = _ADDED_SUFFIXES.get(suffix, ".png") or ".png" * as_png
    else:
        added = OUTPUT_FORMATS[format]
        if FORMATS.get(suffix) == FORMATS[added]:
            added = ""
    return f"{name}{mark}{added}" if added else f"{path.stem}{mark}{path.suffix}"


def becomes_png(location: str) -> bool:
    """Return whether a photo becomes a PNG although its suffix can be written.

    Only AVIFs and JPEGs on the disk are opened.
    """
    format_ = FORMATS.get(PurePath(location).suffix.lower())
    if is_url(location) or format_ not in ("AVIF", "JPEG"):
        return False
    if format_ == "AVIF":
        from photochrom.imagefile.codecs.heif_items import needs_png
    else:
        from photochrom.imagefile.jpeg.deep import needs_png
    return needs_png(Path(location))


def _beside(location: str, as_png: bool, format: str | None) -> str:
    name = PurePath(location).name
    output = output_name(name, OUTPUT_MARK, as_png=as_png, format=format)
    return location.removesuffix(name) + output


def _below(out: str, photo: FoundPhoto, as_png: bool, format: str | None) -> str:
    """Return the output of a photo in `out`.

    Raises:
        PhotochromError: If the name is not a path below a local folder. An object store allows
            every name.
    """
    if not is_url(out) and not {"", ".", ".."}.isdisjoint(photo.relative.split("/")):
        raise PhotochromError(
            f"{photo.location} cannot keep its name as a file under {out}; rename it, or give the "
            "URL of an object store for the results"
        )
    folder, slash, name = photo.relative.rpartition("/")
    return f"{out.rstrip('/')}/{folder}{slash}{output_name(name, as_png=as_png, format=format)}"
