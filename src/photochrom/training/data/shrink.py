"""Making a smaller data set from a prepared one."""

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from photochrom.errors import DataError
from photochrom.training.data.packed import PackedPhotos, find_split
from photochrom.training.data.prepare import staging_folder, write_metadata


def shrink(data: Path, dest: Path, *, size: int, train: int, held_out: int) -> None:
    """Write the first photos of both splits, resized bicubically to squares.

    The manifest names the same source files.

    Args:
        data: A prepared data set.
        dest: Folder of the new one; must not exist.
        size: Side in px.
        train: Number of photos of the split `train`.
        held_out: Number of photos of the split `eval`.

    Raises:
        DataError: If `data` has too few or too small photos.
    """
    counts = {"eval": held_out, "train": train}
    splits = {split: PackedPhotos(data, find_split(split)) for split in counts}
    if any(len(splits[split]) < count for split, count in counts.items()):
        raise DataError(
            f"{data} has {len(splits['train'])} photos for training and {len(splits['eval'])} for "
            f"evaluation, but {train} and {held_out} are needed; prepare more, or choose a smaller "
            "protocol"
        )
    smallest = min(int(photos.shapes[: counts[s]].min()) for s, photos in splits.items())
    if smallest < size:
        raise DataError(
            f"{data} has photos of {smallest} px, but {size} px are needed; "
            f"prepare it with --size {size} or more"
        )
    with staging_folder(dest) as folder:
        rows = []
        for split, photos in splits.items():
            packed = np.empty((counts[split], size, size, 3), np.uint8)
            for i, (name, sha256) in enumerate(islice(photos.sources(), counts[split])):
                image = Image.fromarray(photos.photo(i))
                packed[i] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
                rows.append((split, name, sha256, size, size))
            np.save(folder / f"{split}.npy", packed.reshape(-1))
        fingerprint = splits["train"].fingerprint
        info = {"size": size, "keep_aspect": False, "from_fingerprint": fingerprint}
        write_metadata(folder, rows, info)
