"""The training data of a recipe, and the batch of each step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from photochrom.errors import DataError
from photochrom.training.data.degradation import degrade
from photochrom.training.data.hints import simulate_hints
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop.distributed import local_slice
from photochrom.training.loop.monitor import SAMPLES
from photochrom.training.networks.color_classes import bin_shares
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import to_L_ab

PRIOR_PHOTOS = 2000
"""Number of photos, spread over the training split, from which the prior is counted."""


@dataclass(frozen=True)
class Batch:
    """Photos of one step, with the inputs that the generator gets."""

    L: Tensor
    """Shape (B, 1, H, W), in [-1, 1]."""
    ab: Tensor
    """Shape (B, 2, H, W), in [-1, 1]."""
    inputs: list[Tensor]
    """L, degraded or not, and colour hints if the recipe has them."""

    def split(self, count: int) -> "list[Batch]":
        """Return the batch in `count` equal micro-batches."""
        if count == 1:
            return [self]
        tensors = zip(*(x.chunk(count) for x in (self.L, self.ab, *self.inputs)), strict=True)
        return [Batch(L, ab, list(inputs)) for L, ab, *inputs in tensors]


def open_photos(data: Path, recipe: Recipe) -> tuple[PackedPhotos, PackedPhotos, Tensor]:
    """Return the photos to train on, those to validate on, and the usable indices of the former.

    Raises:
        DataError: If there are too few photos, or they are too small.
    """
    photos, validation = PackedPhotos(data, "train"), PackedPhotos(data, "validation")
    usable = torch.from_numpy(photos.select(recipe.data.min_side))
    if len(usable) < recipe.data.batch_size or len(validation) == 0:
        size = "" if recipe.data.min_side is None else f" of {recipe.data.min_side} px or more"
        raise DataError(
            f"{data} has {len(usable)} photos{size} to train on and {len(validation)} to "
            f"validate on; a batch takes {recipe.data.batch_size} and a validation takes 1"
        )
    if not recipe.data.enlarge_small:
        for split, shapes in ((photos, photos.shapes), (validation, validation.shapes[:SAMPLES])):
            smallest = int(shapes.min(axis=1).argmin())
            split.batch([smallest], recipe.data.image_size, None)  # raises DataError if too small
    return photos, validation, usable


def class_prior(photos: PackedPhotos, usable: Tensor, saturation: float) -> Tensor:
    """Return the share of the pixels of up to `PRIOR_PHOTOS` photos in each class of ab, (313,).

    Args:
        photos: The training split.
        usable: Indices of the photos to train on, int64.
        saturation: Factor on their ab, as in `load_batch`.
    """
    count = min(PRIOR_PHOTOS, len(usable))
    chosen = usable[np.linspace(0, len(usable) - 1, count).astype(int)].tolist()
    return bin_shares(
        to_L_ab(torch.from_numpy(photos.photo(i))[None])[1] * saturation for i in chosen
    )


def load_batch(
    fabric: Fabric, recipe: Recipe, photos: PackedPhotos, indices: list[int], step: int
) -> Batch:
    """Load this process's part of the photos `indices`, and seed torch for the step.

    All random numbers follow from the recipe's seed and `step`, the number of steps before. Those
    of the photos differ from those that follow, of windows and dropout: of one seed, the flips of
    both would be the same and cancel each other.
    """
    settings = recipe.data
    seed = (recipe.seed * 1_000_003 + step) * 2
    draw = torch.Generator().manual_seed(seed + 1)
    torch.manual_seed(seed)
    local = local_slice(fabric, len(indices))
    size, enlarge = settings.image_size, settings.enlarge_small
    rgb = photos.batch(indices, size, draw, settings.crop_min, local, enlarge=enlarge)
    rgb = rgb.to(fabric.device, non_blocking=True)

    def photo_seeds() -> list[int]:
        return torch.randint(2**32, (len(indices),), generator=draw)[local].tolist()

    if settings.flip:
        flip = (torch.rand(len(indices), generator=draw) < 0.5)[local]
        flip = flip.to(fabric.device, non_blocking=True)
        rgb = torch.where(flip[:, None, None, None], rgb.flip(2), rgb)
    L, ab = to_L_ab(rgb)
    ab = ab * settings.saturation
    degraded = settings.degradation > 0
    inputs = [degrade(L, settings.degradation, photo_seeds()) if degraded else L]
    if recipe.takes_hints:
        inputs.append(simulate_hints(ab, settings.hints, photo_seeds()))
    return Batch(L, ab, inputs)
