"""The model that ships, on scikit-image's own photos, none of which it was trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from photochrom import Colorizer
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.training.evaluation.metrics import ciede2000, colorfulness
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe

PHOTOS = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
RECORDED = {"colorfulness_ratio": 0.681, "ciede2000": 12.01}
"""What the model that ships measured on them; a model as good is within `BAND` of it."""
BAND = 0.08


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer()


def as_float(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(image).astype(np.float32) / 255


def test_its_quality_is_that_which_was_recorded(colorizer: Colorizer) -> None:
    differences, colors = [], []
    for photo in PHOTOS:
        truth, grey = as_float(photo), Image.fromarray(photo).convert("L")
        made = as_float(colorizer(grey))
        differences.append(ciede2000(made, truth))
        colors.append((colorfulness(made), colorfulness(truth)))
    found = {
        "colorfulness_ratio": np.sum(colors, axis=0)[0] / np.sum(colors, axis=0)[1],
        "ciede2000": np.mean(differences),
    }
    assert found == pytest.approx(RECORDED, rel=BAND)
    assert min(made for made, _ in colors) > 5


def test_it_is_nearer_to_the_truth_than_grey(colorizer: Colorizer) -> None:
    grey = [Image.fromarray(photo).convert("L") for photo in PHOTOS]
    truth = [as_float(photo) for photo in PHOTOS]
    made = np.mean([ciede2000(as_float(colorizer(g)), t) for g, t in zip(grey, truth, strict=True)])
    plain = [ciede2000(as_float(g.convert("RGB")), t) for g, t in zip(grey, truth, strict=True)]
    assert made < np.mean(plain)


def test_it_is_small_and_says_what_it_is() -> None:
    path = default_model_path()
    assert path.stat().st_size < 24e6
    metadata = OnnxModel(path).metadata
    recipe = Recipe.from_json(metadata["recipe"])
    assert recipe == replace(
        RECIPES["photochrom"], generator_weights=recipe.generator_weights, source=recipe.source
    )
    assert metadata["blend"] == "0.3 of l1.onnx"
    assert metadata["licence"] == "Apache-2.0"
    assert "Flickr8k" in metadata["data"]
    assert json.loads(metadata["metrics"])["evaluations"][0]["n"] >= 100
