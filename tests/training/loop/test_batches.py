"""The batch of a step."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from PIL import Image

from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop.batches import class_prior, load_batch, open_photos
from photochrom.training.loop.steps import augmentation
from photochrom.training.losses.objective import Objective
from photochrom.training.networks.color_classes import bin_shares
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override
from support.data import pack


def test_flips_of_photos_and_of_windows_are_independent(tmp_path: Path) -> None:
    """L grows to the right in every photo, so its direction tells what both flips do together."""
    folder = tmp_path / "photos"
    folder.mkdir()
    ramp = np.broadcast_to(np.arange(0, 240, 5, dtype=np.uint8), (48, 48))
    for i in range(9):
        Image.fromarray(np.dstack([ramp, ramp, ramp + np.uint8(i)])).save(folder / f"{i}.png")
    data = pack(folder, tmp_path / "data", size=48, validation=1, min_chroma=0)
    photos = PackedPhotos(data, "train")
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = {"adversarial.window": 0.75, "data.image_size": 32, "data.batch_size": 8}
    recipe = override(named_recipe("tiny"), settings)
    flipped = 0
    for step in range(50):
        batch = load_batch(fabric, recipe, photos, list(range(8)), step)
        L = augmentation(fabric, batch, Objective.of(recipe), step)(batch.L).L
        flipped += int((L[..., 0] > L[..., -1]).all(dim=(1, 2)).sum())
    assert 150 < flipped < 250  # of 400


def test_prior_is_that_of_the_colors_that_are_trained_on(tmp_path: Path) -> None:
    """Photos of one colour each: small ones, which `min_side` leaves out, are blue."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        color, side = ((60, 60, 180 + i), 40) if i % 2 else ((150 + i, 110, 100), 48)
        Image.new("RGB", (side, side), color).save(folder / f"{i}.png")
    data = pack(folder, tmp_path / "data", size=48, small="keep", validation=1)
    settings = {"data.min_side": 48, "data.image_size": 48, "data.saturation": 1.8}
    recipe = override(named_recipe("tiny"), {**settings, "data.batch_size": 2})
    photos, _, usable = open_photos(data, recipe)
    fabric = Fabric(accelerator="cpu", devices=1)
    batch = load_batch(fabric, recipe, photos, usable.tolist(), 0)
    prior = class_prior(photos, usable, recipe.data.saturation)
    assert prior.tolist() == bin_shares([batch.ab]).tolist()
