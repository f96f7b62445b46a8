"""Reading data sets that `prepare` wrote: memory-mapped photos, and batches of crops."""

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from photochrom.errors import DataError
from photochrom.training.data.splits import OLD_NAMES, Split


class PackedPhotos:
    """The photos of one split of a data set, as a sequence of uint8 arrays on disk.

    Formats 2 and 3 are read.

    Raises:
        DataError: If `directory` is not a data set, its files are damaged or inconsistent, or it
            has no such split.
    """

    def __init__(self, directory: Path, split: Split) -> None:
        self.directory, self.split = directory, split
        self._manifest = directory / "manifest.csv"
        try:
            info = json.loads((directory / "data.json").read_bytes())
            format_ = info["format"]
            self.fingerprint: str = info["manifest_sha256"]
            """SHA-256 of the manifest, which has the SHA-256 of every photo."""
            with self._manifest.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{directory} is not a prepared data set, or one of an earlier version; make one "
                f"with `photochrom data folder PHOTOS {directory}`"
            ) from error
        if format_ not in (2, 3):
            raise DataError(
                f"{directory} is a data set of format {format_!r}, and formats 2 and 3 can be "
                "read; update photochrom, or prepare the data again"
            )
        if format_ == 2 and split not in OLD_NAMES:
            raise DataError(
                f"{directory} is a data set of format 2, which has no {split} split; prepare the "
                "photos again with `photochrom data`, which draws one"
            )
        self._name: str = OLD_NAMES[split] if format_ == 2 else split
        # Memory-mapped, so that memory does not depend on the number of photos.
        self._index = _map_array(directory / f"{self._name}.index.npy", np.int64, 2)
        self._file = directory / f"{self._name}.npy"
        self._pixels = _map_array(self._file, np.uint8, 1)
        start, height, width = self._index[-1] if len(self._index) else (0, 0, 0)
        if digest != self.fingerprint or self._pixels.shape != (start + 3 * height * width,):
            raise DataError(
                f"the files in {directory} are inconsistent (an incomplete copy, or edited?); "
                "prepare the data again"
            )
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self._index)

    @property
    def shapes(self) -> NDArray[np.int64]:
        """Height and width of every photo, shape (N, 2), memory-mapped."""
        return self._index[:, 1:]

    def sources(self) -> Iterator[tuple[str, str]]:
        """Yield name and SHA-256 of every photo's source file, from the manifest."""
        with self._manifest.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                if row["split"] == self._name:
                    yield row["source"], row["sha256"]

    def select(self, min_side: int | None) -> NDArray[np.int64]:
        """Return the indices of the photos with a short side of at least `min_side` px."""
        if min_side is None:
            return np.arange(len(self))
        return np.flatnonzero(self.shapes.min(axis=1) >= min_side)

    def photo(self, index: int) -> NDArray[np.uint8]:
        """Return one photo: sRGB, shape (H, W, 3)."""
        start, height, width = self._index[index].tolist()
        # Not through the memory map, where a page fault also reads neighbouring pages.
        count, offset = 3 * height * width, self._pixels.offset + start
        pixels = np.fromfile(self._file, np.uint8, count, offset=offset)
        return pixels.reshape(height, width, 3)

    def load_to(self, device: torch.device) -> bool:
        """Copy all photos to a device, for faster batches, if they fit.

        Returns:
            Whether they were copied: they must have one size and take at most a quarter of the
            free GPU memory.
        """
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
        if self._pixels.nbytes > free / 4 or (self.shapes != self.shapes[0]).any():
            return False
        height, width = self.shapes[0]
        photos = np.array(self._pixels).reshape(-1, height, width, 3)
        self._resident = torch.from_numpy(photos).to(device)
        return True

    def batch(
        self,
        indices: list[int],
        size: int,
        generator: torch.Generator | None,
        crop_min: float | None = None,
        shard: slice = slice(None),
        *,
        enlarge: bool = False,
    ) -> Tensor:
        """Return square crops of some photos.

        Args:
            indices: Indices of the photos.
            size: Side of the crops in px.
            generator: Draws the positions and sizes of the crops; None: the largest, centred.
            crop_min: Minimum side of a crop as a fraction of the photo's short side, at least
                `size` px if the photo is large enough; crops are resized to `size`. None: crops of
                `size` px, not resized.
            shard: The part of the batch to return; random numbers are drawn for the whole batch.
            enlarge: Enlarge photos smaller than `size`.

        Returns:
            sRGB, shape (B, size, size, 3), uint8, on the device of `load_to`, else the CPU.

        Raises:
            DataError: If a photo is smaller than `size` and `enlarge` is false.
        """
        if generator is None:
            draws = torch.tensor([0.5, 0.5, 1.0]).expand(len(indices), 3)
        else:
            columns = 2 if crop_min is None else 3
            draws = torch.rand((len(indices), columns), generator=generator)
        crops = []
        for draw, index in zip(draws[shard].tolist(), indices[shard], strict=True):
            height, width = self.shapes[index].tolist()
            short_side = min(height, width)
            if short_side < size and not enlarge:
                raise DataError(
                    f"the data set has a photo of {width}x{height} px, smaller than the "
                    f"data.image_size {size} of the recipe; prepare it with --size {size} or "
                    f"more, or train with --set data.image_size={short_side}"
                )
            if crop_min is None:
                side = min(size, short_side)
            else:
                min_side = min(short_side, max(size, round(crop_min * short_side)))
                side = min_side + round(draw[2] * (short_side - min_side))
            top = int(draw[0] * (height - side + 1))
            left = int(draw[1] * (width - side + 1))
            if self._resident is not None:
                crop = self._resident[index][top : top + side, left : left + side]
            else:
                crop = torch.from_numpy(self.photo(index)[top : top + side, left : left + side])
            crops.append(crop if side == size else _resize(crop, size))
        return torch.stack(crops)


def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """Return the random order of `count` photos in an epoch, shape (count,), int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def _map_array(path: Path, dtype: type[np.generic], dimensions: int) -> np.memmap[Any, Any]:
    damaged = DataError(f"{path} is damaged or truncated; prepare the data again")
    try:
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise damaged from error
    if array.dtype != dtype or array.ndim != dimensions:
        raise damaged
    return array


def _resize(crop: Tensor, size: int) -> Tensor:
    """Resize a uint8 crop (side, side, 3) to (size, size, 3), antialiased."""
    channels_first = crop.permute(2, 0, 1)[None].float()
    resized = F.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).round().to(torch.uint8)
