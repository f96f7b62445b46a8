"""Reading prepared data sets: packed photos, memory-mapped, and batches of them."""

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from photochrom.errors import DataError

Split = Literal["train", "eval"]


class PackedPhotos:
    """One split of a prepared data set: a sequence of uint8 photos that stay on disk.

    Args:
        directory: What `photochrom data` wrote.
        split: `train` or `eval`.

    Raises:
        DataError: If the directory was not prepared, or its parts do not belong together.
    """

    def __init__(self, directory: Path, split: Split) -> None:
        self._manifest, self._split = directory / "manifest.csv", split
        try:
            info = json.loads((directory / "data.json").read_bytes())
            self.fingerprint: str = info["manifest_sha256"]
            """SHA-256 of the manifest, which names the SHA-256 of every photo."""
            with self._manifest.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == self.fingerprint
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{directory} is not a prepared data set, or one of an earlier version; "
                f"make one with `photochrom data folder PHOTOS {directory}`"
            ) from error
        # On disk, as the pixels are: a million photos take no more memory than a thousand.
        self._index = _mapped(directory / f"{split}.index.npy", np.int64, 2)
        self._file = directory / f"{split}.npy"
        self._pixels = _mapped(self._file, np.uint8, 1)
        start, height, width = self._index[-1] if len(self._index) else (0, 0, 0)
        if not same or self._pixels.shape != (start + 3 * height * width,):
            raise DataError(
                f"the files in {directory} do not fit each other (an incomplete copy, or edited?); "
                "prepare the data again"
            )
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self._index)

    @property
    def shapes(self) -> NDArray[np.int64]:
        """Height and width of every photo, shape (N, 2), a view into a file."""
        return self._index[:, 1:]

    def sources(self) -> Iterator[tuple[str, str]]:
        """Read the manifest: name and SHA-256 of the file that each photo comes from."""
        with self._manifest.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            for row in csv.DictReader(file):
                if row["split"] == self._split:
                    yield row["source"], row["sha256"]

    def at_least(self, side: int | None) -> NDArray[np.int64]:
        """Return the indices of the photos whose short side is `side` px or more, ascending.

        Args:
            side: None: all photos.
        """
        if side is None:
            return np.arange(len(self))
        return np.flatnonzero(self.shapes.min(axis=1) >= side)

    def photo(self, index: int) -> NDArray[np.uint8]:
        """Return one photo: sRGB, shape (H, W, 3)."""
        start, height, width = self._index[index].tolist()
        # Read, as a page that is touched in a map has its neighbours read along with it.
        count, offset = 3 * height * width, self._pixels.offset + start
        pixels = np.fromfile(self._file, np.uint8, count, offset=offset)
        return pixels.reshape(height, width, 3)

    def keep_on(self, device: torch.device) -> bool:
        """Copy all photos to a device, if they have one size and leave most of its memory free.

        Batches then come from there, and wait neither for the disk nor for the bus.

        Returns:
            Whether they are there now.
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
        share: slice = slice(None),
        *,
        enlarge: bool = False,
    ) -> Tensor:
        """Return square crops of some photos.

        Args:
            indices: Which photos.
            size: Side of the crops in px.
            generator: Draws where each crop lies; None takes the middle.
            crop_min: The crops are squares of at least this share of a photo's short side, and of
                `size` or more where the photo has it, drawn by `generator` or else the largest,
                and resized to `size`. None cuts out `size` as it is.
            share: Which of them are returned; it is drawn for all.
            enlarge: Enlarge photos that are smaller than `size`; they are refused otherwise.

        Returns:
            sRGB, shape (B, size, size, 3), uint8; on the device where the photos are kept.

        Raises:
            DataError: If a photo is smaller than `size` and `enlarge` is false.
        """
        draws = torch.full((len(indices), 3), 0.5)
        draws[:, 2] = 1.0
        if generator is not None:
            draws = torch.rand(
                (len(indices), 3 if crop_min is not None else 2), generator=generator
            )
        crops = []
        for draw, index in zip(draws[share].tolist(), indices[share], strict=True):
            height, width = self.shapes[index].tolist()
            largest = min(height, width)
            if largest < size and not enlarge:
                raise DataError(
                    f"the data holds a photo of {width}x{height} px, smaller than the image_size "
                    f"{size} of the recipe; prepare it with --size {size} or more, or train with "
                    f"--set image_size={largest}"
                )
            if crop_min is None:
                side = min(size, largest)
            else:
                smallest = min(largest, max(size, round(crop_min * largest)))
                side = smallest + round(draw[2] * (largest - smallest))
            top, left = (
                int(at * (room + 1))
                for at, room in zip(draw[:2], (height - side, width - side), strict=True)
            )
            if self._resident is not None:
                crop = self._resident[index][top : top + side, left : left + side]
            else:
                crop = torch.from_numpy(self.photo(index)[top : top + side, left : left + side])
            crops.append(crop if side == size else _resized(crop, size))
        return torch.stack(crops)


def order_of(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order in which an epoch goes through the photos, shape (count,), int64."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(count, generator=generator)


def _mapped(path: Path, dtype: type[np.generic], dimensions: int) -> np.memmap[Any, Any]:
    """Open an array that stays on disk."""
    try:
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged or cut off; prepare the data again") from error
    if array.dtype != dtype or array.ndim != dimensions:
        raise DataError(f"{path} is damaged or cut off; prepare the data again")
    return array


def _resized(crop: Tensor, size: int) -> Tensor:
    """Return a crop (side, side, 3), uint8, as (size, size, 3), without aliasing."""
    channels_first = crop.permute(2, 0, 1)[None].float()
    resized = F.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).round().to(torch.uint8)
