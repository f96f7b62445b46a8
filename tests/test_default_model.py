"""The model that ships, on scikit-image's own photos, none of which it was trained on."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from photochrom import Colorizer
from photochrom.darkroom.metrics import ciede2000, colorfulness
from photochrom.darkroom.recipes import Recipe
from photochrom.models import OnnxModel, default_model_path

PHOTOS = [data.astronaut(), data.coffee(), data.chelsea()]


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer()


def as_float(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(image).astype(np.float32) / 255


def test_it_is_nearer_to_the_truth_than_grey_and_not_grey(colorizer: Colorizer) -> None:
    differences, colors = [], []
    for photo in PHOTOS:
        truth, grey = as_float(photo), Image.fromarray(photo).convert("L")
        made = as_float(colorizer(grey))
        plain = as_float(grey.convert("RGB"))
        differences.append((ciede2000(made, truth), ciede2000(plain, truth)))
        colors.append((colorfulness(made), colorfulness(truth)))
    made_difference, grey_difference = np.mean(differences, axis=0)
    assert made_difference < grey_difference
    assert min(made for made, _ in colors) > 5
    assert np.sum(colors, axis=0)[0] > 0.3 * np.sum(colors, axis=0)[1]


def test_it_is_small_and_says_what_it_is() -> None:
    path = default_model_path()
    assert path.stat().st_size < 24e6
    metadata = OnnxModel(path).metadata
    recipe = Recipe.from_json(metadata["recipe"])
    assert recipe.generator == "encoder_unet"
    assert metadata["licence"] == "Apache-2.0"
    assert "Flickr8k" in metadata["data"]
    assert json.loads(metadata["metrics"])["evaluations"][0]["n"] >= 100
