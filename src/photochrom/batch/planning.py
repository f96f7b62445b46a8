"""Many photos: what is meant by the inputs, and where each result goes."""

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from photochrom.errors import PhotochromError
from photochrom.imagefile.formats import FORMATS, READ_ONLY

AnyPath = TypeVar("AnyPath", bound=PurePath)

MARK = "-color"
"""What the name of a result beside its photo ends with."""

_SUFFIXES = {suffix: suffix for suffix in FORMATS} | {".jpe": ".jpg", ".jfif": ".jpg"}
"""Endings of photos to endings of results; a photo with another ending becomes a PNG."""


@dataclass(frozen=True)
class Job:
    """One photo and where its result goes."""

    input: Path
    output: Path


@dataclass(frozen=True)
class Found:
    """One photo, and its place under the folder that was named."""

    file: Path
    place: Path


def plan(inputs: Sequence[str], out: Path | None = None) -> list[Job]:
    """Find the photos and decide where their results go, before any work is done.

    An input is a file, a folder (all photos under it, by their endings, without hidden ones) or a
    pattern with `*`, `?`, `[...]` or `**`. Results of earlier runs are left out: NAME-color.EXT
    where the photo that it comes from is an input as well, and in folders and patterns all that
    lies in `out`.

    Args:
        inputs: What to colorize.
        out: A folder, made when needed, where a photo keeps its name, and its place under a folder
            that was named; None: beside the photo as NAME-color.EXT.

    Returns:
        One job for each photo, in the order of the inputs, then by name.

    Raises:
        PhotochromError: If an input is not there, cannot be looked at or has no photo, two photos
            would have the same result, a result would replace an input, or `out` is a file.
    """
    if out is not None and (out.is_file() or (out.suffix.lower() in FORMATS and not out.is_dir())):
        raise PhotochromError(
            f"{out} is a file or is named like one; give a folder for the results"
        )
    found: dict[Path, Found] = {}
    try:
        for text in inputs:
            for item in find_photos(text, out):
                found.setdefault(item.file.resolve(), item)
    except OSError as error:
        raise PhotochromError(
            f"cannot look into {error.filename}: {error.strerror or error}"
        ) from error
    own = {beside(item.file).resolve() for item in found.values()}
    jobs = [
        Job(item.file, beside(item.file) if out is None else out / renamed(item.place))
        for resolved, item in found.items()
        if resolved not in own
    ]
    _check(jobs)
    return jobs


def find_photos(text: str, out: Path | None) -> Iterator[Found]:
    """Find what is meant by one input of `plan`.

    Raises:
        PhotochromError: If it is not there or has no photo.
        OSError: If a folder cannot be looked into.
    """
    path = Path(text)
    if path.is_dir():
        photos = list(_walk(path, _results(path, out)))
        if not photos:
            raise PhotochromError(f"folder {text} has no photo ({', '.join(sorted(_SUFFIXES))})")
        yield from photos
    elif path.is_file():
        yield Found(path, Path(path.name))
    elif path.exists():
        raise PhotochromError(f"{text} is neither a file nor a folder; give photos")
    elif glob.has_magic(text):
        photos = list(_matching(text, out))
        if not photos:
            raise PhotochromError(f"no photo matches {text}")
        yield from photos
    else:
        raise PhotochromError(f"there is no file or folder {text}")


def _matching(pattern: str, out: Path | None) -> Iterator[Found]:
    """Find the photos, and all in the folders, that match; places are below the fixed part."""
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    results = _results(fixed, out)
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (knows no absolute ones)
        path = Path(match)
        place = path.relative_to(fixed)
        if path.is_dir():
            yield from _walk(path, results, place)
        elif _is_photo(path) and not _within(path, results):
            yield Found(path, place)


def _walk(folder: Path, results: Path | None, below: Path = Path()) -> Iterator[Found]:
    """Find the photos in a folder and all folders in it, except what is hidden or in `results`."""
    for file in sorted(_all_in(folder)):
        if _is_photo(file) and not _within(file, results):
            yield Found(file, below / file.relative_to(folder))


def _all_in(folder: Path) -> Iterator[Path]:
    """Find all that a folder and the folders in it hold, without what is hidden.

    Raises:
        OSError: If one of them cannot be read: photos would be missing and nobody the wiser.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _results(folder: Path, out: Path | None) -> Path | None:
    """Return `out` if it lies in the folder: what is in it are results, not photos."""
    if out is not None and folder.resolve() in out.resolve().parents:
        return out.resolve()
    return None


def _within(file: Path, folder: Path | None) -> bool:
    return folder is not None and folder in file.resolve().parents


def _is_photo(file: Path) -> bool:
    return ends_as_photo(file) and file.is_file()


def ends_as_photo(file: PurePath) -> bool:
    """Tell whether a file is called what a photo may be called."""
    suffix = file.suffix.lower()
    return suffix in _SUFFIXES or suffix in READ_ONLY


def renamed(file: AnyPath) -> AnyPath:
    """Return the name of a photo's result that lies elsewhere, with a format we write."""
    suffix = _SUFFIXES.get(file.suffix.lower(), ".png")
    return file if suffix == file.suffix.lower() else file.with_suffix(suffix)


def beside(file: AnyPath) -> AnyPath:
    """Return the name of a photo's result that is to lie beside it, with a format we write."""
    return renamed(file.with_stem(file.stem + MARK))


def _check(jobs: Iterable[Job]) -> None:
    """Refuse a plan in which one file would be lost to another."""
    outputs: dict[Path, Job] = {}
    for job in jobs:
        other = outputs.setdefault(job.output.resolve(), job)
        if other is not job:
            raise PhotochromError(
                f"{other.input} and {job.input} would both become {job.output}; rename one or "
                "colorize them apart"
            )
    for job in jobs:
        if job.input.resolve() in outputs:
            raise PhotochromError(
                f"{job.input} is an input and would be replaced by a result; give another folder "
                "for the results"
            )
