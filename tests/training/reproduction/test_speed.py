"""FLOPs of recipes and speeds of runs against values worked out by hand."""

import pytest
import torch

from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate, speed


def test_flops_of_a_residual_generator() -> None:
    recipe = Recipe.from_dict(
        {
            "data": {"image_size": 16, "batch_size": 2},
            "generator": {"kind": "residual", "channels": 4, "blocks": 1},
        }
    )
    weights = 9 * (1 * 4 + 4 * 4 + 4 * 4 + 4 * 2)
    forward = 2 * weights * 16 * 16
    first = 2 * 9 * 4 * 16 * 16  # the photo needs no gradient
    assert flops_per_image(recipe) == {"g": 3 * forward - first}


def test_flops_of_phases_and_groups() -> None:
    recipe = override(named_recipe("tiny"), {"adversarial.d_only_epochs": 1})
    found = flops_per_image(recipe)
    assert found.keys() == {"pretrain", "d", "gan"}
    assert found["gan"] > found["pretrain"]
    twice = flops_per_image(override(recipe, {"adversarial.g_steps": 2}))
    assert found["gan"] < twice["gan"] < 2 * found["gan"]
    # EfficientNet has depthwise convolutions, for which PyTorch counts the gradients of all pairs.
    recipe = override(
        named_recipe("lite0-unet-l1"),
        {"generator.decoder_channels": (8,), "data.image_size": 64, "data.batch_size": 2},
    )
    with torch.device("meta"):
        parameters = 3_300_000  # of EfficientNet-Lite0, without its classifier
    assert flops_per_image(recipe)["g"] < 2 * 3 * parameters * 32 * 32 / 4


def test_speed_of_a_run() -> None:
    recipe = override(named_recipe("tiny"), {"schedule.epochs": 2})
    per_image = flops_per_image(recipe)
    log = [
        {"epoch": 1, "phase": "pretrain", "seconds": 1.0, "images_per_second": 30.0},
        {"epoch": 2, "phase": "gan", "seconds": 2.0, "images_per_second": 10.0},
        {"epoch": 3, "phase": "gan", "seconds": 2.0, "images_per_second": 20.0},
    ]
    found = speed(recipe, log, 1e12)
    assert found["images_per_second"] == pytest.approx(90 / 5)
    flops = 30 * per_image["pretrain"] + 60 * per_image["gan"]
    assert found["flops_per_second"] == pytest.approx(flops / 5)
    assert found["share_of_matrix_rate"] == pytest.approx(flops / 5 / 1e12)
    assert found["phases"]["gan"]["images_per_second"] == pytest.approx(15)


def test_matrix_rate() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32) < 1e14
