"""Making a smaller data set from a prepared one."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from photochrom.errors import DataError
from photochrom.imagefile.atomic import new_folder
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.prepare import write_metadata
from photochrom.training.data.splits import SPLITS, Split


def shrink(data: Path, dest: Path, *, size: int, counts: Mapping[Split, int]) -> None:
    """Write the first photos of some splits, resized bicubically to squares.

    The manifest names the same source files.

    Args:
        data: A prepared data set.
        dest: Folder of the new one; must not exist.
        size: Side in px.
        counts: Number of photos of each split; the others become empty.

    Raises:
        DataError: If `data` has too few or too small photos, or no such split.
    """
    splits = check_enough(data, size=size, counts=counts)
    with new_folder(dest) as folder:
        rows = []
        for split in SPLITS:
            count = counts.get(split, 0)
            packed = np.empty((count, size, size, 3), np.uint8)
            sources = islice(splits[split].sources(), count) if count else ()
            for i, (name, sha256) in enumerate(sources):
                image = Image.fromarray(splits[split].photo(i))
                packed[i] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
                rows.append((split, name, sha256, size, size))
            np.save(folder / f"{split}.npy", packed.reshape(-1))
        fingerprint = next(iter(splits.values())).fingerprint
        info = {"size": size, "keep_aspect": False, "from_fingerprint": fingerprint}
        write_metadata(folder, rows, info)


def check_enough(
    data: Path, *, size: int, counts: Mapping[Split, int]
) -> dict[Split, PackedPhotos]:
    """Return the splits that `shrink` would take photos of, if they have enough.

    The arguments are those of `shrink`.

    Raises:
        DataError: If `data` has too few or too small photos, or no such split.
    """
    splits = {split: PackedPhotos(data, split) for split in counts}
    if any(len(splits[split]) < count for split, count in counts.items()):
        found = {split: len(photos) for split, photos in splits.items()}
        raise DataError(
            f"{data} has photos: {describe_counts(found)}; needed are {describe_counts(counts)}; "
            "prepare more, or choose a smaller protocol"
        )
    shapes = [photos.shapes[: counts[split]] for split, photos in splits.items()]
    smallest = min((int(part.min()) for part in shapes if len(part)), default=size)
    if smallest < size:
        raise DataError(
            f"{data} has photos of {smallest} px, but {size} px are needed; "
            f"prepare it with --size {size} or more"
        )
    return splits


def describe_counts(counts: Mapping[Split, int]) -> str:
    """Return numbers of photos as text, such as "8 for train, 2 for validation"."""
    return ", ".join(f"{count} for {split}" for split, count in counts.items())
