"""The default model, on photos of scikit-image, which are not in its training data."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from photochrom import Colorizer
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.training.evaluation.metrics import ciede2000, colorfulness
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override

PHOTOS = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
RECORDED = {"colorfulness_ratio": 0.743, "ciede2000": 10.46}
"""Metrics of the default model on `PHOTOS`."""
TOLERANCE = 0.08


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer()


def as_float(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(image).astype(np.float32) / 255


def test_metrics_are_near_the_recorded_ones(colorizer: Colorizer) -> None:
    differences, colors = [], []
    for photo in PHOTOS:
        truth, grey = as_float(photo), Image.fromarray(photo).convert("L")
        output = as_float(colorizer(grey))
        differences.append(ciede2000(output, truth))
        colors.append((colorfulness(output), colorfulness(truth)))
    metrics = {
        "colorfulness_ratio": np.sum(colors, axis=0)[0] / np.sum(colors, axis=0)[1],
        "ciede2000": np.mean(differences),
    }
    assert metrics == pytest.approx(RECORDED, rel=TOLERANCE)
    assert min(output for output, _ in colors) > 5


def test_default_model_is_closer_to_the_truth_than_grey(colorizer: Colorizer) -> None:
    grey = [Image.fromarray(photo).convert("L") for photo in PHOTOS]
    truth = [as_float(photo) for photo in PHOTOS]
    errors = [ciede2000(as_float(colorizer(g)), t) for g, t in zip(grey, truth, strict=True)]
    grey_errors = [
        ciede2000(as_float(g.convert("RGB")), t) for g, t in zip(grey, truth, strict=True)
    ]
    assert np.mean(errors) < np.mean(grey_errors)


def test_file_size_and_metadata() -> None:
    path = default_model_path()
    assert path.stat().st_size < 16e6
    metadata = OnnxModel(path).metadata
    recipe = Recipe.from_json(metadata["recipe"])
    expected = {
        "initialization.generator_weights": recipe.initialization.generator_weights,
        "source": recipe.source,
    }
    assert recipe == override(named_recipe("photochrom-stage-5"), expected)
    assert metadata["hints"] == "a*, b*, mask"
    assert metadata["saturation"] == "1.2"
    assert metadata["blend"] == "0.7 of blend-3.onnx"
    assert metadata["licence"] == "Apache-2.0"
    assert "Flickr8k" in metadata["data"]
    assert json.loads(metadata["metrics"])["evaluations"][0]["n"] >= 100
