"""Preparing a data set: photos are sampled, checked, resized and packed.

A data set (format 3) is a directory with, for each split, all pixels in `SPLIT.npy` (one dimension,
uint8, sRGB) and the offset, height and width of each photo in `SPLIT.index.npy` (N, 3); the
manifest `manifest.csv`, a row per photo; `problems.csv`, a row per photo that was dropped or is
small; and `data.json`, with settings, counts and the SHA-256 of the manifest. It depends only on
the seed and the names and contents of the files, not on the machine.
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import mean_chroma
from photochrom.errors import DataError, PhotoError
from photochrom.imagefile.atomic import new_folder
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar
from photochrom.training.data.splits import SPLITS, Split, draw_split

ManifestRow = tuple[str, str, str, int, int]
MANIFEST_COLUMNS = ("split", "source", "sha256", "width", "height")
ProblemRow = tuple[str, str, str, str]
PROBLEM_COLUMNS = ("source", "action", "problem", "detail")
"""`action` is `drop`, or for small photos that are not dropped `enlarge` or `keep`."""
DROP_REASONS = ("unreadable", "near-grey", "small", "duplicate")

Small = Literal["enlarge", "keep", "drop"]
"""Treatment of photos whose short side is below the size asked for."""


@dataclass(frozen=True)
class _SourcePhoto:
    source: str
    """Name in the manifest: the path relative to the source folder, with forward slashes."""
    sha256: str
    """Of the source file."""
    pixels: NDArray[np.uint8] | None = None
    """sRGB, shape (H, W, 3), resized; None if it is dropped."""
    problem: str = ""
    """One of `DROP_REASONS`; `small` if the short side of the file is below the size asked for."""
    detail: str = ""
    """Of the problem."""


def sampling_key(name: str, seed: int) -> bytes:
    """Return the key by which photos are sorted to sample the first of them."""
    return hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()


def _load(
    source: str, path: Path, size: int, keep_aspect: bool, min_chroma: float, small: Small
) -> _SourcePhoto:
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        photo = open_photo(path)
    except (OSError, PhotoError) as error:
        # The path is another on every machine.
        detail = str(error).replace(str(path), source)
        return _SourcePhoto(source, "", problem="unreadable", detail=detail)
    short_side = min(photo.size)
    is_small = short_side < size
    problem, detail = ("small", f"its short side has {short_side} px") if is_small else ("", "")
    if is_small and small == "drop":
        return _SourcePhoto(source, sha256, problem=problem, detail=detail)
    if is_small and small == "keep":
        size = short_side
    width, height = size, size
    if keep_aspect:
        width, height = (max(size, round(side * (size / short_side))) for side in photo.size)
    image = dataclasses.replace(photo, alpha=None).to_image()
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    # Conversion takes longer than all the rest, so it comes last.
    pixels = dataclasses.replace(photo, pixels=np.atleast_3d(resized)).to_srgb()
    chroma = mean_chroma(pixels)
    if chroma < min_chroma:
        detail = f"its mean chroma is {chroma:.2f}"
        return _SourcePhoto(source, sha256, problem="near-grey", detail=detail)
    return _SourcePhoto(source, sha256, pixels, problem, detail)


def _load_in_order(
    load: Callable[[str], _SourcePhoto], names: Sequence[str]
) -> Generator[_SourcePhoto, None, None]:
    """Load photos in threads, at most 16 ahead, and yield them in the order of their names."""
    remaining = iter(names)
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(load, name) for name in islice(remaining, 16)]
        while pending:
            yield pending.pop(0).result()
            pending += [pool.submit(load, name) for name in islice(remaining, 1)]


def check_settings(
    dest: Path,
    *,
    size: int,
    count: int | None,
    validation_fraction: float,
    test_fraction: float,
    min_chroma: float,
) -> None:
    """Check the arguments of `prepare` before photos are downloaded or read.

    Raises:
        DataError: If an argument is out of range, or `dest` is in use.
    """
    if size < 16 or (count is not None and count < 1):
        raise DataError(
            f"size is {size} and count is {count}; give a size of 16 or more and a count of 1 or "
            "more"
        )
    fractions = validation_fraction, test_fraction
    if not (min(fractions) >= 0 and sum(fractions) <= 1):
        raise DataError(
            f"the fraction of validation is {validation_fraction} and that of test "
            f"{test_fraction}; give fractions from 0 to 1, together 1 at most"
        )
    if not 0 <= min_chroma < 150:
        raise DataError(f"the chroma threshold is {min_chroma}; give a number from 0 to below 150")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise DataError(f"{dest} exists and is not an empty folder; give a new one")


def prepare(
    photos: Mapping[str, Path],
    dest: Path,
    *,
    size: int = 256,
    count: int | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    keep_aspect: bool = False,
    min_chroma: float = 2.0,
    small: Small = "enlarge",
    splits: Mapping[str, Split] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a data set of sampled photos.

    Photos are read in random order until `count` are usable; unreadable and nearly grey ones, and
    further copies of the same file, are dropped. `draw_split` gives each its split by its content.

    Args:
        photos: Manifest name to path.
        dest: Folder of the data set; must not exist or be empty.
        size: Side of the squares in px (resized bicubically, as in the report), or the short side.
        count: Number of photos; None: all that are usable.
        validation_fraction: Expected fraction of the photos in the split `validation`, 0 to 1.
        test_fraction: Expected fraction of the photos in the split `test`, 0 to 1.
        seed: Seed of the order and of the splits.
        keep_aspect: Resize the short side to `size` and keep the aspect ratio.
        min_chroma: Photos with a lower mean chroma, in CIELAB units, are dropped as near-grey.
        small: Photos with a short side below `size`: `enlarge` to it, `keep` their short side, or
            `drop`.
        splits: Splits by manifest name, in place of those by content and fractions. These photos
            are read first; all others are for training.
        progress: Show a progress bar on stderr.

    Returns:
        The content of `data.json`.

    Raises:
        DataError: If too few photos are usable, an argument is out of range, a name of `splits`
            is not in `photos`, `splits` gives copies of one file different splits, or `dest` is in
            use.
    """
    check_settings(
        dest,
        size=size,
        count=count,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        min_chroma=min_chroma,
    )
    given = splits or {}
    missing = sorted(given.keys() - photos.keys())
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(given)} names with a split are not among the photos, such "
            f"as {missing[0]}; give names as in the manifest"
        )
    names = sorted(photos, key=lambda name: (name not in given, sampling_key(name, seed)))
    load = partial(_load, size=size, keep_aspect=keep_aspect, min_chroma=min_chroma, small=small)

    def choose_split(photo: _SourcePhoto) -> Split:
        if splits is None:
            return draw_split(photo.sha256, seed, validation_fraction, test_fraction)
        return splits.get(photo.source, "train")

    with new_folder(dest) as folder:
        with (
            contextlib.closing(
                _load_in_order(lambda name: load(name, photos[name]), names)
            ) as loaded,
            progress_bar(total=count or len(names), unit="photo", disable=not progress) as bar,
        ):
            unique = _drop_copies(loaded, given)
            rows, problems = _pack(unique, folder, count, choose_split, small, bar.update)
        dropped = Counter(problem for _, action, problem, _ in problems if action == "drop")
        if not rows or (count is not None and len(rows) < count):
            counts = ", ".join(f"{dropped[reason]} {reason}" for reason in DROP_REASONS)
            raise DataError(
                f"{count or 'some'} photos were asked for and only {len(rows)} of {len(photos)} "
                f"are usable ({counts}{_first_unreadable(problems)}); give a smaller count, more "
                "photos, or a lower chroma threshold"
            )
        _write_csv(folder / "problems.csv", PROBLEM_COLUMNS, problems)
        info = {
            "size": size,
            "keep_aspect": keep_aspect,
            "validation_fraction": validation_fraction if splits is None else None,
            "test_fraction": test_fraction if splits is None else None,
            "seed": seed,
            "min_chroma": min_chroma,
            "small": small,
            "smaller": sum(action != "drop" for _, action, *_ in problems),
            "dropped": {reason: dropped[reason] for reason in DROP_REASONS},
        }
        return write_metadata(folder, rows, info)


def _drop_copies(
    photos: Iterable[_SourcePhoto], given: Mapping[str, Split]
) -> Iterator[_SourcePhoto]:
    """Yield photos; of copies of one file, all but the first usable one without pixels.

    Raises:
        DataError: If copies are given different splits.
    """
    originals: dict[str, str] = {}  # by SHA-256
    for photo in photos:
        if photo.pixels is None:
            yield photo
            continue
        original = originals.setdefault(photo.sha256, photo.source)
        if original == photo.source:
            yield photo
            continue
        if photo.source in given and given[photo.source] != given[original]:
            raise DataError(
                f"{original} and {photo.source} are the same file, with the splits "
                f"{given[original]} and {given[photo.source]}; give both one split, or leave one "
                "out"
            )
        detail = f"the same file as {original}"
        yield _SourcePhoto(photo.source, photo.sha256, problem="duplicate", detail=detail)


def _pack(
    photos: Iterable[_SourcePhoto],
    folder: Path,
    count: int | None,
    choose_split: Callable[[_SourcePhoto], Split],
    small: Small,
    advance: Callable[[], object],
) -> tuple[list[ManifestRow], list[ProblemRow]]:
    """Write SPLIT.npy of every split with the first `count` usable photos.

    Returns:
        The rows of the manifest and of problems.csv.
    """
    rows: list[ManifestRow] = []
    problems: list[ProblemRow] = []
    with contextlib.ExitStack() as stack:
        files = {
            split: stack.enter_context((folder / f"{split}.pixels").open("wb")) for split in SPLITS
        }
        for photo in photos:
            if photo.problem:
                action = "drop" if photo.pixels is None else small
                problems.append((photo.source, action, photo.problem, photo.detail))
            if photo.pixels is None:
                continue
            split = choose_split(photo)
            files[split].write(photo.pixels.tobytes())
            height, width = photo.pixels.shape[:2]
            rows.append((split, photo.source, photo.sha256, width, height))
            advance()
            if len(rows) == count:
                break
    for split in SPLITS:
        _add_header(folder / f"{split}.pixels", folder / f"{split}.npy")
    return rows, problems


def _first_unreadable(problems: Iterable[ProblemRow]) -> str:
    """Return the first unreadable photo with its reason, for an error; empty if there is none."""
    details = (detail for *_, problem, detail in problems if problem == "unreadable")
    detail = next(details, None)
    return "" if detail is None else f"; the first of the unreadable: {detail}"


def _add_header(pixels: Path, path: Path) -> None:
    """Make a .npy file, of one dimension, of bytes; the file of the bytes is deleted."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (pixels.stat().st_size,)}
    with pixels.open("rb") as source, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(source, file, 1 << 20)
    pixels.unlink()


def write_metadata(
    folder: Path, rows: Sequence[ManifestRow], info: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the files of a data set except the pixels: manifest, indexes and data.json.

    Args:
        folder: Folder of the data set.
        rows: Rows of the manifest, in each split in the order of its packed photos.
        info: Content of data.json besides the counts.

    Returns:
        The content of data.json.
    """
    manifest = folder / "manifest.csv"
    counts: dict[str, int] = {}
    _write_csv(manifest, MANIFEST_COLUMNS, rows)
    for split in SPLITS:
        shapes = [(height, width) for part, _, _, width, height in rows if part == split]
        index = np.zeros((len(shapes), 3), np.int64)
        index[:, 1:] = np.reshape(shapes, (-1, 2))
        index[1:, 0] = np.cumsum(3 * index[:-1, 1] * index[:-1, 2])
        np.save(folder / f"{split}.index.npy", index)
        counts[split] = len(index)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    content: dict[str, Any] = {"format": 3, **info, **counts, "manifest_sha256": digest}
    (folder / "data.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return content


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
