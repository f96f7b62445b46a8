"""A smaller data set from a prepared one: fewer photos, each a square of fewer px."""

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from photochrom.errors import DataError
from photochrom.training.data.packed import PackedPhotos, Split
from photochrom.training.data.prepare import building_folder, write_facts


def shrink(data: Path, dest: Path, *, size: int, train: int, held_out: int) -> None:
    """Write the first photos of both splits, bicubically reduced to squares.

    The manifest goes on naming the files that the photos came from.

    Args:
        data: A prepared data set.
        dest: Where the smaller one goes; it must not exist.
        size: Side in px.
        train: Photos to train on.
        held_out: Photos of the split `eval`.

    Raises:
        DataError: If `data` has fewer photos or smaller ones.
    """
    wanted: dict[Split, int] = {"eval": held_out, "train": train}
    splits = {split: PackedPhotos(data, split) for split in wanted}
    have = {split: len(photos) for split, photos in splits.items()}
    if have["train"] < train or have["eval"] < held_out:
        raise DataError(
            f"{data} has {have['train']} photos to train on and {have['eval']} set aside, and "
            f"{train} and {held_out} are needed; prepare more, or choose a smaller protocol"
        )
    smallest = min(int(photos.shapes[: wanted[s]].min()) for s, photos in splits.items())
    if smallest < size:
        raise DataError(
            f"{data} has photos of {smallest} px, and {size} px are needed; "
            f"prepare it with --size {size} or more"
        )
    with building_folder(dest) as building:
        rows = []
        for split, photos in splits.items():
            packed = np.empty((wanted[split], size, size, 3), np.uint8)
            sources = islice(photos.sources(), wanted[split])
            for i, (name, sha256) in enumerate(sources):
                image = Image.fromarray(np.ascontiguousarray(photos.photo(i)))
                packed[i] = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
                rows.append((split, name, sha256, size, size))
            np.save(building / f"{split}.npy", packed.reshape(-1))
        info = {
            "size": size,
            "keep_aspect": False,
            "from_fingerprint": splits["train"].fingerprint,
        }
        write_facts(building, rows, info)
