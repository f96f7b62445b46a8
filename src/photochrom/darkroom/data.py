"""Reading prepared data sets: packed photos, memory-mapped, and batches of them."""

import csv
import hashlib
import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from photochrom.darkroom.prepare import MANIFEST_COLUMNS
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
        manifest = directory / "manifest.csv"
        packed = directory / f"{split}.npy"
        if not (manifest.is_file() and packed.is_file()):
            raise DataError(
                f"{directory} is not a prepared data set; "
                f"make one with `photochrom data folder PHOTOS {directory}`"
            )
        text = manifest.read_bytes()
        try:
            lines = io.StringIO(text.decode(errors="surrogateescape"), newline="")
            rows = [row for row in csv.DictReader(lines, strict=True) if row["split"] == split]
            self.names = [row["source"] for row in rows]
            self.hashes = [row["sha256"] for row in rows]
            self.shapes = [(int(row["height"]), int(row["width"])) for row in rows]
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{manifest} is damaged: it has to be a table of {', '.join(MANIFEST_COLUMNS)}; "
                "prepare the data again"
            ) from error
        ends = np.cumsum([3 * height * width for height, width in self.shapes], dtype=np.int64)
        self._starts = np.concatenate([[0], ends]).astype(np.int64)
        try:
            self._pixels: NDArray[np.uint8] = np.load(packed, mmap_mode="r" if rows else None)
        except (EOFError, ValueError) as error:
            raise DataError(f"{packed} is damaged or cut off; prepare the data again") from error
        if self._pixels.dtype != np.uint8 or self._pixels.shape != (self._starts[-1],):
            raise DataError(
                f"{packed} does not fit {manifest} (incomplete copy?); prepare the data again"
            )
        self.fingerprint = hashlib.sha256(text).hexdigest()
        """SHA-256 of the manifest, which names the SHA-256 of every photo."""
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def photo(self, index: int) -> NDArray[np.uint8]:
        """Return one photo: sRGB, shape (H, W, 3), a view into the file."""
        height, width = self.shapes[index]
        return self._pixels[self._starts[index] : self._starts[index + 1]].reshape(height, width, 3)

    def keep_on(self, device: torch.device) -> bool:
        """Copy all photos to a device, if they have one size and leave most of its memory free.

        Batches then come from there, and wait neither for the disk nor for the bus.

        Returns:
            Whether they are there now.
        """
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
        if len(set(self.shapes)) != 1 or self._pixels.nbytes > free / 4:
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
    ) -> Tensor:
        """Return square crops of some photos.

        Args:
            indices: Which photos.
            size: Side of the crops in px; a smaller photo is refused.
            generator: Draws where each crop lies; None takes the middle.
            crop_min: The crops are squares of at least this share of a photo's short side, but of
                `size` or more, drawn by `generator` or else the largest, and brought to `size` by
                averaging. None cuts out `size` as it is.

        Returns:
            sRGB, shape (B, size, size, 3), uint8; on the device where the photos are kept.

        Raises:
            DataError: If a photo is smaller than `size`.
        """
        draws = torch.full((len(indices), 3), 0.5)
        draws[:, 2] = 1.0
        if generator is not None:
            draws = torch.rand(
                (len(indices), 3 if crop_min is not None else 2), generator=generator
            )
        crops = []
        for draw, index in zip(draws.tolist(), indices, strict=True):
            height, width = self.shapes[index]
            largest = min(height, width)
            if largest < size:
                raise DataError(
                    f"the data holds a photo of {width}x{height} px, smaller than the image_size "
                    f"{size} of the recipe; prepare it with --size {size} or more, or train with "
                    f"--set image_size={largest}"
                )
            if crop_min is None:
                side = size
            else:
                smallest = max(size, round(crop_min * largest))
                side = smallest + round(draw[2] * (largest - smallest))
            top, left = (
                int(at * (room + 1))
                for at, room in zip(draw[:2], (height - side, width - side), strict=True)
            )
            if self._resident is not None:
                crop = self._resident[index][top : top + side, left : left + side]
            else:
                crop = torch.from_numpy(
                    self.photo(index)[top : top + side, left : left + side].copy()
                )
            crops.append(crop if side == size else _resized(crop, size))
        return torch.stack(crops)


def _resized(crop: Tensor, size: int) -> Tensor:
    """Return a crop (side, side, 3), uint8, as (size, size, 3): made smaller without aliasing."""
    channels_first = crop.permute(2, 0, 1)[None].float()
    smaller = F.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return smaller[0].permute(1, 2, 0).round().to(torch.uint8)
