"""Many photos: what is meant by the inputs, where each result goes, and one after the other."""

import glob
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from photochrom.errors import PhotochromError, PhotoError
from photochrom.photo import FORMATS, open_photo, save_photo

MARK = "-color"
"""What the name of a result beside its photo ends with."""

_SUFFIXES = {**{suffix: suffix for suffix in FORMATS}, ".jpe": ".jpg", ".jfif": ".jpg"}
"""Endings of photos to endings of results; a photo with another ending becomes a PNG."""


@dataclass(frozen=True)
class Job:
    """One photo and where its result goes."""

    input: Path
    output: Path


@dataclass(frozen=True)
class Result:
    """What became of one photo."""

    input: Path
    output: Path
    status: Literal["done", "skipped", "failed"]
    """`skipped`: the output was there already."""
    seconds: float
    width: int | None = None
    """In px; None where the photo was not read."""
    height: int | None = None
    error: str | None = None
    """Why it failed."""


@dataclass(frozen=True)
class _Found:
    """A photo, its place under the folder that was named, and whether it was named itself."""

    file: Path
    place: Path
    named: bool


def plan(inputs: Sequence[str], out: Path | None = None) -> list[Job]:
    """Find the photos and decide where their results go, before any work is done.

    An input is a file, a folder (all photos under it, by their endings, without hidden ones) or a
    pattern with `*`, `?`, `[...]` or `**`. Results of earlier runs, NAME-color.EXT, are left out
    of folders and patterns, and of the files named where the photo that they come from is an
    input as well, as happens when a shell expands `*.jpg`. So is `out` where it lies in a folder.

    Args:
        inputs: What to colorize.
        out: A folder, made when needed, where a photo keeps its name, and its place under a folder
            that was named; None: beside the photo as NAME-color.EXT.

    Returns:
        One job for each photo, in the order of the inputs, then by name.

    Raises:
        PhotochromError: If an input is not there or has no photo, two photos would have the same
            result, a result would replace an input, or `out` is a file.
    """
    if out is not None and (out.is_file() or (out.suffix.lower() in FORMATS and not out.is_dir())):
        raise PhotochromError(
            f"{out} is a file or is named like one; give a folder for the results"
        )
    found: dict[Path, _Found] = {}
    for text in inputs:
        for item in _expand(text, out):
            found.setdefault(item.file.resolve(), item)
    own = {_beside(item.file).resolve() for item in found.values()}
    jobs = [
        Job(item.file, _beside(item.file) if out is None else out / _renamed(item.place))
        for resolved, item in found.items()
        if not (resolved in own and item.named)
    ]
    _check(jobs)
    return jobs


def _expand(text: str, out: Path | None) -> Iterator[_Found]:
    path = Path(text)
    if path.is_dir():
        photos = list(_walk(path, out))
        if not photos:
            raise PhotochromError(f"folder {text} has no photo ({', '.join(sorted(_SUFFIXES))})")
        yield from photos
    elif path.exists():
        yield _Found(path, Path(path.name), named=True)
    elif glob.has_magic(text):
        photos = list(_matching(text, out))
        if not photos:
            raise PhotochromError(f"no photo matches {text}")
        yield from photos
    else:
        raise PhotochromError(f"there is no file or folder {text}")


def _matching(pattern: str, out: Path | None) -> Iterator[_Found]:
    """Find the photos, and all in the folders, that match; places are below the fixed part."""
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 (knows no absolute ones)
        path = Path(match)
        place = path.relative_to(fixed)
        if path.is_dir():
            yield from _walk(path, out, place)
        elif _is_photo(path):
            yield _Found(path, place, named=False)


def _walk(folder: Path, out: Path | None, below: Path = Path()) -> Iterator[_Found]:
    """Find the photos in a folder and all folders in it, except what is hidden or in `out`."""
    results = None if out is None else out.resolve()
    if results is not None and folder.resolve() not in results.parents:
        results = None
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or not _is_photo(file) or not file.is_file():
            continue
        if results is None or results not in file.resolve().parents:
            yield _Found(file, below / place, named=False)


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES and not file.stem.endswith(MARK)


def _renamed(file: Path) -> Path:
    suffix = _SUFFIXES.get(file.suffix.lower(), ".png")
    return file if suffix == file.suffix.lower() else file.with_suffix(suffix)


def _beside(file: Path) -> Path:
    return _renamed(file.with_stem(file.stem + MARK))


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


def colorize_all(
    jobs: Iterable[Job],
    colorizer: Callable[[Image.Image], Image.Image],
    *,
    overwrite: bool = False,
) -> Iterator[Result]:
    """Colorize photo after photo; one that fails does not stop the rest.

    Args:
        jobs: From `plan`.
        colorizer: From a picture to a picture.
        overwrite: Whether results that are there are made again; else they are skipped.

    Yields:
        What became of each photo, as soon as it is known.
    """
    for job in jobs:
        start = time.perf_counter()
        if job.output.exists() and not overwrite:
            yield Result(job.input, job.output, "skipped", 0.0)
            continue
        width = height = error = None
        try:
            photo = open_photo(job.input)
            width, height = photo.size
            colored = colorizer(photo)
            _make_folder(job.output.parent)
            save_photo(colored, job.output, overwrite=overwrite)
        except PhotochromError as refusal:
            error = str(refusal)
        except MemoryError:
            error = f"{job.input} is too large for the memory of this computer"
        seconds = time.perf_counter() - start
        status: Literal["done", "failed"] = "failed" if error else "done"
        yield Result(job.input, job.output, status, seconds, width, height, error)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"cannot make folder {folder}: {error.strerror or error}") from error
