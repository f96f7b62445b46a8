"""FLOPs of recipes and speeds of runs against values worked out by hand."""

from dataclasses import replace

import pytest
import torch

from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate, speed


def test_flops_of_a_residual_generator() -> None:
    recipe = Recipe(generator="residual", base_channels=4, depth=1, image_size=16, batch_size=2)
    weights = 9 * (1 * 4 + 4 * 4 + 4 * 4 + 4 * 2)
    forward = 2 * weights * 16 * 16
    first = 2 * 9 * 4 * 16 * 16  # the photo needs no gradient
    assert flops_per_image(recipe) == {"l1": 3 * forward - first}


def test_flops_of_phases_and_groups() -> None:
    recipe = replace(RECIPES["tiny"], d_only_epochs=1, epochs=1)
    found = flops_per_image(recipe)
    assert found.keys() == {"l1", "d", "gan"}
    assert found["gan"] > found["l1"]
    twice = flops_per_image(replace(recipe, g_steps=2))
    assert found["gan"] < twice["gan"] < 2 * found["gan"]
    # EfficientNet has depthwise convolutions, for which PyTorch counts the gradients of all pairs.
    recipe = replace(
        RECIPES["lite0-unet-l1"], decoder_channels=(8,), image_size=64, batch_size=2, epochs=1
    )
    with torch.device("meta"):
        parameters = 3_300_000  # of EfficientNet-Lite0, without its classifier
    assert flops_per_image(recipe)["l1"] < 2 * 3 * parameters * 32 * 32 / 4


def test_speed_of_a_run() -> None:
    recipe = replace(RECIPES["tiny"], pretrain_epochs=1, epochs=2)
    per_image = flops_per_image(recipe)
    log = [
        {"phase": "l1", "seconds": 1.0, "images_per_second": 30.0},
        {"phase": "gan", "seconds": 2.0, "images_per_second": 10.0},
        {"phase": "gan", "seconds": 2.0, "images_per_second": 20.0},
    ]
    found = speed(recipe, log, 1e12)
    assert found["images_per_second"] == pytest.approx(90 / 5)
    flops = 30 * per_image["l1"] + 60 * per_image["gan"]
    assert found["flops_per_second"] == pytest.approx(flops / 5)
    assert found["share_of_matrix_rate"] == pytest.approx(flops / 5 / 1e12)
    assert found["phases"]["gan"]["images_per_second"] == pytest.approx(15)


def test_matrix_rate() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32) < 1e14
