"""Preparing a data set: photos are sampled, checked, resized and packed.

A data set is a directory with, for each split, all pixels in `SPLIT.npy` (one dimension, uint8,
sRGB) and the offset, height and width of each photo in `SPLIT.index.npy` (N, 3); the manifest
`manifest.csv`, a row per photo; and `data.json`, with settings, counts and the SHA-256 of the
manifest. It depends only on the seed and the names and contents of the files, not on the machine.
"""

import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
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
from photochrom.imagefile.reading import open_photo
from photochrom.progress import progress_bar

ManifestRow = tuple[str, str, str, int, int]
MANIFEST_COLUMNS = ("split", "source", "sha256", "width", "height")
DROP_REASONS = ("unreadable", "near-grey", "small")

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
    drop_reason: str = ""
    """One of `DROP_REASONS` if it is dropped."""
    is_small: bool = False
    """Whether the short side of the file is below the size asked for."""


def sampling_key(name: str, seed: int) -> bytes:
    """Return the key by which photos are sorted to sample the first of them."""
    return hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()


def _load(
    source: str, path: Path, size: int, keep_aspect: bool, min_chroma: float, small: Small
) -> _SourcePhoto:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        image = open_photo(path).to_image().convert("RGB")
    except PhotoError:
        return _SourcePhoto(source, sha256, drop_reason="unreadable")
    short_side = min(image.size)
    is_small = short_side < size
    if is_small and small == "drop":
        return _SourcePhoto(source, sha256, drop_reason="small")
    if is_small and small == "keep":
        size = short_side
    width, height = size, size
    if keep_aspect:
        width, height = (max(size, round(side * (size / short_side))) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    if mean_chroma(pixels) < min_chroma:
        return _SourcePhoto(source, sha256, drop_reason="near-grey")
    return _SourcePhoto(source, sha256, pixels, is_small=is_small)


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
    dest: Path, *, size: int, count: int | None, eval_fraction: float, min_chroma: float
) -> None:
    """Check the arguments of `prepare` before photos are downloaded or read.

    Raises:
        DataError: If an argument is out of range, or `dest` is in use.
    """
    if size < 16 or not 0 <= eval_fraction <= 1 or (count is not None and count < 1):
        raise DataError(
            f"size is {size}, count is {count} and eval fraction is {eval_fraction}; "
            "give a size of 16 or more, a count of 1 or more and a fraction from 0 to 1"
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
    eval_fraction: float = 0.2,
    seed: int = 0,
    keep_aspect: bool = False,
    min_chroma: float = 2.0,
    small: Small = "enlarge",
    eval_names: Collection[str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a data set of sampled photos.

    Photos are read in random order until `count` are usable; unreadable and nearly grey ones are
    dropped. The first of them, or those of `eval_names`, become the split `eval`, the others
    `train`.

    Args:
        photos: Manifest name to path.
        dest: Folder of the data set; must not exist or be empty.
        size: Side of the squares in px (resized bicubically, as in the report), or the short side.
        count: Number of photos; None: all that are usable.
        eval_fraction: Fraction of the photos in the split `eval`, 0 to 1.
        seed: Seed of the order.
        keep_aspect: Resize the short side to `size` and keep the aspect ratio.
        min_chroma: Photos with a lower mean chroma, in CIELAB units, are dropped as near-grey.
        small: Photos with a short side below `size`: `enlarge` to it, `keep` their short side, or
            `drop`.
        eval_names: Manifest names of the split `eval`, instead of `eval_fraction`.
        progress: Show a progress bar on stderr.

    Returns:
        The content of `data.json`.

    Raises:
        DataError: If too few photos are usable, an argument is out of range, a name of `eval_names`
            is not in `photos`, or `dest` is in use.
    """
    check_settings(dest, size=size, count=count, eval_fraction=eval_fraction, min_chroma=min_chroma)
    eval_set = frozenset(eval_names or ())
    missing = sorted(eval_set - photos.keys())
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(eval_set)} names for the eval split are not among the "
            f"photos, such as {missing[0]}; give names as in the manifest"
        )
    # The eval split comes first, in the order of sampling.
    names = sorted(photos, key=lambda name: (name not in eval_set, sampling_key(name, seed)))
    load = partial(_load, size=size, keep_aspect=keep_aspect, min_chroma=min_chroma, small=small)
    rows: list[tuple[str, str, int, int]] = []
    dropped = dict.fromkeys(DROP_REASONS, 0)
    count_small = 0
    with staging_folder(dest) as folder:
        with (
            (folder / "pixels").open("wb") as file,
            contextlib.closing(
                _load_in_order(lambda name: load(name, photos[name]), names)
            ) as loaded,
            progress_bar(total=count or len(names), unit="photo", disable=not progress) as bar,
        ):
            for photo in loaded:
                if photo.pixels is None:
                    dropped[photo.drop_reason] += 1
                    continue
                file.write(photo.pixels.tobytes())
                height, width = photo.pixels.shape[:2]
                rows.append((photo.source, photo.sha256, width, height))
                count_small += photo.is_small
                bar.update()
                if len(rows) == count:
                    break
        if not rows or (count is not None and len(rows) < count):
            raise DataError(
                f"{count or 'some'} photos were asked for and only {len(rows)} of {len(photos)} "
                f"are usable ({dropped['unreadable']} unreadable, {dropped['near-grey']} "
                f"near-grey, {dropped['small']} small); give a smaller count, more photos, or a "
                "lower chroma threshold"
            )
        if eval_names is None:
            eval_count = round(len(rows) * eval_fraction)
        else:
            eval_count = sum(source in eval_set for source, *_ in rows)
        _split_pixels(folder, sum(3 * width * height for *_, width, height in rows[:eval_count]))
        info = {
            "size": size,
            "keep_aspect": keep_aspect,
            "eval_fraction": eval_fraction if eval_names is None else None,
            "seed": seed,
            "min_chroma": min_chroma,
            "small": small,
            "smaller": count_small,
            "dropped": dropped,
        }
        splits = ["eval"] * eval_count + ["train"] * (len(rows) - eval_count)
        return write_metadata(
            folder, [(split, *row) for split, row in zip(splits, rows, strict=True)], info
        )


@contextlib.contextmanager
def staging_folder(dest: Path) -> Iterator[Path]:
    """Yield a temporary folder that is renamed to `dest` at the end, or deleted on an error."""
    staging = dest.with_name(dest.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        if dest.exists():
            dest.rmdir()
        staging.rename(dest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _split_pixels(folder: Path, eval_bytes: int) -> None:
    """Split the file `pixels` into eval.npy, the first `eval_bytes`, and train.npy."""
    pixels = np.memmap(folder / "pixels", dtype=np.uint8, mode="r")
    np.save(folder / "eval.npy", pixels[:eval_bytes])
    np.save(folder / "train.npy", pixels[eval_bytes:])
    del pixels  # Windows cannot delete a mapped file
    (folder / "pixels").unlink()


def write_metadata(
    folder: Path, rows: Sequence[ManifestRow], info: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the files of a data set except the pixels: manifest, indexes and data.json.

    Args:
        folder: Folder of the data set.
        rows: Rows of the manifest, in the order of the packed photos.
        info: Content of data.json besides the counts.

    Returns:
        The content of data.json.
    """
    manifest, counts = folder / "manifest.csv", {}
    with manifest.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MANIFEST_COLUMNS)
        writer.writerows(rows)
    for split in ("eval", "train"):
        shapes = [(height, width) for part, _, _, width, height in rows if part == split]
        index = np.zeros((len(shapes), 3), np.int64)
        index[:, 1:] = np.reshape(shapes, (-1, 2))
        index[1:, 0] = np.cumsum(3 * index[:-1, 1] * index[:-1, 2])
        np.save(folder / f"{split}.index.npy", index)
        counts[split] = len(index)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    content = {"format": 2, **info, **counts, "manifest_sha256": digest}
    (folder / "data.json").write_text(json.dumps(content, indent=2) + "\n")
    return content
