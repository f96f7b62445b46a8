"""Experiments at the scales of the protocols, and the selection of runs."""

from dataclasses import replace

import pytest

from photochrom.errors import RecipeError
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    PROTOCOLS,
    SYSTEMS,
    at_scale,
    select_runs,
)

SMOKE = PROTOCOLS["smoke"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_report_protocol_keeps_recipes(name: str) -> None:
    recipe = EXPERIMENTS[name].recipe
    scaled = at_scale(recipe, PROTOCOLS["report"], 0)
    assert replace(scaled, quoted=recipe.quoted) == recipe


def test_reduced_protocol_keeps_ratios() -> None:
    def scaled(name: str) -> Recipe:
        return at_scale(EXPERIMENTS[name].recipe, PROTOCOLS["reduced"], 3)

    unet, custom = scaled("unet-patchgan"), scaled("custom")
    assert (unet.image_size, unet.base_channels, unet.depth, unet.patch_depth) == (128, 16, 7, 2)
    assert (unet.epochs, unet.lambda_l1, unet.seed) == (20, 100, 3)
    assert (custom.depth, custom.dilations) == (4, (1,))  # sees 21 of 128 px: 37 of 256
    assert scaled("custom-dilated").dilations == (1, 4, 16, 8)  # 121 of 128 px: 241 of 256
    assert scaled("unet-narrow-d").discriminator_channels == 4
    assert scaled("unet-patchgan-l1pre").pretrain_epochs == 20
    assert "lambda_l1" in scaled("resnet18-unet-patchgan").quoted
    assert "image_size" not in unet.quoted
    report, reduced = PROTOCOLS["report"], PROTOCOLS["reduced"]
    assert report.train / report.held_out == reduced.train / reduced.held_out == 4


def test_resnet18_is_narrower_only_from_scratch() -> None:
    recipe = EXPERIMENTS["resnet18-lambda-10"].recipe
    pretrained = at_scale(recipe, PROTOCOLS["reduced"], 0)
    assert (pretrained.encoder, pretrained.encoder_channels) == ("resnet18", None)
    scratch = at_scale(recipe, PROTOCOLS["reduced"], 0, resnet18_weights="none")
    assert scratch.encoder_weights == "none"
    assert scratch.encoder_channels == (16, 32, 64, 128)
    assert scratch.decoder_channels == pretrained.decoder_channels == (64, 32, 16, 8, 4)
    assert at_scale(recipe, SMOKE, 0).epochs == 1


def test_select_runs_orders_experiments_and_seeds() -> None:
    everything = select_runs()
    assert [name for name, _ in everything] == list(EXPERIMENTS)
    assert {seed for _, seed in everything} == {0}
    more = select_runs(seeds=(0, 1, 2))
    assert len(more) == len(EXPERIMENTS) + 2 * len(SYSTEMS)
    assert more[-1] == (SYSTEMS[-1], 2)
    assert select_runs(("unet-l1", "grey"), (4, 5)) == [("unet-l1", 4), ("unet-l1", 5)]
    assert select_runs(("grey",)) == []


@pytest.mark.parametrize(
    ("only", "seeds", "message"),
    [
        (("unet-l2",), (0,), "unknown experiment 'unet-l2'; choose from grey, mean-ab, custom"),
        ((), (), "the seeds are none"),
        ((), (1, 1), "the seeds are 1,1; give different"),
        ((), (-1,), "the seeds are -1"),
    ],
)
def test_select_runs_refuses_unknown_experiments_and_invalid_seeds(
    only: tuple[str, ...], seeds: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        select_runs(only, seeds)
