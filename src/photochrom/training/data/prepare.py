"""From photographs to a prepared data set: sampled, checked, resized, packed.

A prepared directory holds, for each split, the pixels of all its photos one after another in
`SPLIT.npy` (one dimension, uint8, sRGB), where in it each begins, its height and its width in
`SPLIT.index.npy` (N, 3), `manifest.csv` with a line a photo, and `data.json` with the settings, the
counts and the SHA-256 of the manifest. What is chosen depends only on the seed and the names and
contents of the files, never on the machine.
"""

import contextlib
import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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

MANIFEST_COLUMNS = ("split", "source", "sha256", "width", "height")
DROPPED = ("unreadable", "near-grey", "small")
"""Why a photo is not used."""

Small = Literal["enlarge", "keep", "drop"]
"""What becomes of a photo whose short side is below the size asked for."""


@dataclass(frozen=True)
class Photo:
    """One photo as it is packed."""

    source: str
    """Its name in the manifest: a path relative to the source folder, with forward slashes."""
    sha256: str
    """Of the source file."""
    pixels: NDArray[np.uint8] | None = None
    """Shape (H, W, 3), sRGB; None if it is not used, or already written."""
    width: int = 0
    height: int = 0
    dropped: str = ""
    """Why it is not used: one of `DROPPED`."""
    small: bool = False
    """Whether the file's short side is below the size asked for."""


def _sampling_order(names: Iterable[str], seed: int) -> list[str]:
    return sorted(
        names,
        key=lambda name: hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest(),
    )


def _resized(image: Image.Image, size: int, keep_aspect: bool) -> Image.Image:
    if not keep_aspect:
        return image.resize((size, size), Image.Resampling.BICUBIC)
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _load(
    source: str, path: Path, size: int, keep_aspect: bool, min_chroma: float, small: Small
) -> Photo:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        image = open_photo(path).to_image().convert("RGB")
    except PhotoError:
        return Photo(source, sha256, dropped="unreadable")
    is_small = min(image.size) < size
    if is_small and small == "drop":
        return Photo(source, sha256, dropped="small")
    if is_small and small == "keep":
        size = min(image.size)
    pixels = np.asarray(_resized(image, size, keep_aspect))
    if mean_chroma(pixels) < min_chroma:
        return Photo(source, sha256, dropped="near-grey")
    height, width = pixels.shape[:2]
    return Photo(source, sha256, pixels, width=width, height=height, small=is_small)


def _in_order(
    pool: ThreadPoolExecutor, load: Callable[[str], Photo], names: list[str]
) -> Iterator[Photo]:
    """Load photos ahead, but only a few, and hand them out in the order of their names."""
    ahead = iter(names)
    waiting = [pool.submit(load, name) for name in islice(ahead, 16)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(load, name) for name in islice(ahead, 1)]


def check_settings(
    dest: Path, *, size: int, count: int | None, eval_fraction: float, min_chroma: float
) -> None:
    """Refuse what `prepare` could not do, before anything is fetched or read.

    Raises:
        DataError: If an option is out of range, or `dest` is in use.
    """
    if size < 16 or not 0 <= eval_fraction <= 1 or (count is not None and count < 1):
        raise DataError(
            f"size {size}, count {count} and eval fraction {eval_fraction} do not work; "
            "give a size of 16 or more, a count of 1 or more and a fraction in 0..1"
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
    """Sample, check, resize and pack photos.

    Photos are tried in an order drawn from the seed until `count` are found; those that cannot be
    read or are nearly grey are dropped and counted. The first of them, `eval_fraction` in number,
    or those of `eval_names`, become the split `eval`, the others `train`.

    Args:
        photos: Where each photo lies, by the name that the manifest gives it.
        dest: Where the data set goes; it must not exist, or be empty.
        size: Side in px of the squares (bicubic, as in the report), or the short side.
        count: How many photos; None takes all that are usable.
        eval_fraction: Share of them set aside, in 0..1.
        seed: Decides which photos are taken and where they go.
        keep_aspect: Resize the short side to `size` and keep the shape; training then crops.
        min_chroma: Photos with a mean chroma below this, in CIELAB units, count as near-grey.
        small: What becomes of photos whose short side is below `size`: `enlarge` them to it,
            `keep` their short side, or `drop` them.
        eval_names: The photos of the split `eval`, by their names in `photos`; `eval_fraction` is
            unused then. None: chosen by the seed.
        progress: Show a bar on the terminal.

    Returns:
        What `data.json` holds: settings, counts, and what was dropped and why.

    Raises:
        DataError: If too few photos are usable, an option is out of range, a name of `eval_names`
            is not among them, or `dest` is in use.
    """
    check_settings(dest, size=size, count=count, eval_fraction=eval_fraction, min_chroma=min_chroma)
    order, chosen = _sampling_order(photos, seed), frozenset(eval_names or ())
    _check_names(chosen, photos)
    order.sort(key=lambda name: name not in chosen)  # the eval split is written first
    with building_folder(dest) as building:
        rows, dropped = _write_pixels(
            photos,
            building,
            partial(_load, size=size, keep_aspect=keep_aspect, min_chroma=min_chroma, small=small),
            order,
            count,
            progress,
        )
        if not rows or (count is not None and len(rows) < count):
            raise DataError(
                f"{count or 'some'} photos were asked for and only {len(rows)} of {len(photos)} "
                f"are usable ({dropped['unreadable']} unreadable, {dropped['near-grey']} "
                f"near-grey, {dropped['small']} small); give a smaller count, more photos, or a "
                "lower chroma threshold"
            )
        info = {
            "size": size,
            "keep_aspect": keep_aspect,
            "eval_fraction": eval_fraction if eval_names is None else None,
            "seed": seed,
            "min_chroma": min_chroma,
            "small": small,
            "smaller": sum(photo.small for photo in rows),
            "dropped": dropped,
        }
        n_eval = round(len(rows) * eval_fraction)
        if eval_names is not None:
            n_eval = sum(photo.source in chosen for photo in rows)
        return write_facts(building, _write_splits(building, rows, n_eval), info)


def _check_names(names: Collection[str], photos: Mapping[str, Path]) -> None:
    missing = sorted(set(names) - photos.keys())
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(names)} names for the eval split are not among the "
            f"photos, such as {missing[0]}; give names as the manifest writes them"
        )


@contextlib.contextmanager
def building_folder(dest: Path) -> Iterator[Path]:
    """Give a folder to build in, which becomes `dest` at the end, or vanishes on an error."""
    building = dest.with_name(dest.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        yield building
        if dest.exists():
            dest.rmdir()
        building.rename(dest)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write_pixels(
    photos: Mapping[str, Path],
    building: Path,
    load: Callable[[str, Path], Photo],
    names: list[str],
    count: int | None,
    progress: bool,
) -> tuple[list[Photo], dict[str, int]]:
    """Write the pixels of the first `count` usable photos; return them, and what was dropped."""
    rows: list[Photo] = []
    dropped = dict.fromkeys(DROPPED, 0)
    with (
        (building / "pixels").open("wb") as file,
        ThreadPoolExecutor(4) as pool,
        progress_bar(total=count or len(names), unit="photo", disable=not progress) as bar,
    ):
        for photo in _in_order(pool, lambda name: load(name, photos[name]), names):
            if photo.pixels is None:
                dropped[photo.dropped] += 1
                continue
            file.write(photo.pixels.tobytes())
            rows.append(replace(photo, pixels=None))
            bar.update()
            if len(rows) == count:
                break
    return rows, dropped


def _write_splits(
    building: Path, rows: list[Photo], n_eval: int
) -> list[tuple[str, str, str, int, int]]:
    """Cut the pixels, written in sampling order, into two splits; return the manifest's rows."""
    sizes = [3 * photo.width * photo.height for photo in rows]
    everything = np.memmap(building / "pixels", dtype=np.uint8, mode="r", shape=(sum(sizes),))
    cut = sum(sizes[:n_eval])
    np.save(building / "eval.npy", everything[:cut])
    np.save(building / "train.npy", everything[cut:])
    del everything
    (building / "pixels").unlink()
    splits = ["eval"] * n_eval + ["train"] * (len(rows) - n_eval)
    facts = [(photo.source, photo.sha256, photo.width, photo.height) for photo in rows]
    return [(split, *fact) for split, fact in zip(splits, facts, strict=True)]


def write_facts(
    folder: Path, rows: Sequence[tuple[str, str, str, int, int]], info: Mapping[str, Any]
) -> dict[str, Any]:
    """Write all of a data set but its pixels: manifest, indexes, data.json.

    Args:
        folder: Where.
        rows: Of `MANIFEST_COLUMNS`, in the order of the packed photos.
        info: What data.json is to say besides the counts.

    Returns:
        All that it says.
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
    said = {"format": 2, **info, **counts, "manifest_sha256": digest}
    (folder / "data.json").write_text(json.dumps(said, indent=2) + "\n")
    return said
