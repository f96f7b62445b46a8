"""Experiments at the scales of the protocols, and the selection of runs."""

from dataclasses import replace

import pytest

from photochrom.errors import RecipeError
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    LAMBDAS,
    PROTOCOLS,
    SYSTEMS,
    at_scale,
    lambda_run,
    select_runs,
)

SMOKE = PROTOCOLS["smoke"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_report_protocol_keeps_recipes(name: str) -> None:
    recipe = EXPERIMENTS[name].recipe
    scaled = at_scale(recipe, PROTOCOLS["report"], 0)
    assert override(scaled, {"quoted": recipe.quoted}) == recipe


def test_reduced_protocol_keeps_ratios() -> None:
    def scaled(name: str) -> Recipe:
        return at_scale(EXPERIMENTS[name].recipe, PROTOCOLS["reduced"], 3)

    unet, custom = scaled("unet-patchgan"), scaled("custom")
    assert unet.discriminator is not None
    assert unet.data.image_size == 128
    assert (unet.generator.settings["base_channels"], unet.generator.settings["depth"]) == (16, 7)
    assert unet.discriminator.settings == {"base_channels": 16, "depth": 2}
    assert (unet.schedule.epochs, unet.objective["l1"].weight, unet.seed) == (20, 100, 3)
    # It sees 21 of 128 px, the report's 37 of 256; with dilations 121 of 128, or 241 of 256.
    assert custom.generator.settings == {"channels": 16, "blocks": 4, "dilations": (1,)}
    assert scaled("custom-dilated").generator.settings["dilations"] == (1, 4, 16, 8)
    narrow = scaled("unet-narrow-d").discriminator
    assert narrow is not None
    assert narrow.settings["base_channels"] == 4
    assert scaled("unet-patchgan-l1pre").schedule.pretrain_epochs == 20
    assert "objective.l1.weight" in scaled("resnet18-unet-patchgan").quoted
    assert "data.image_size" not in unet.quoted
    report, reduced = PROTOCOLS["report"], PROTOCOLS["reduced"]
    assert report.train / report.test == reduced.train / reduced.test == 4


def test_resnet18_is_narrower_only_from_scratch() -> None:
    recipe = EXPERIMENTS["resnet18-lambda-10"].recipe
    pretrained = at_scale(recipe, PROTOCOLS["reduced"], 0)
    expected = {
        "encoder": "resnet18",
        "encoder_weights": "imagenet",
        "encoder_channels": None,
        "decoder_channels": (64, 32, 16, 8, 4),
    }
    assert pretrained.generator.settings.items() >= expected.items()
    scratch = at_scale(recipe, PROTOCOLS["reduced"], 0, resnet18_weights="none")
    expected |= {
        "encoder": "tu-resnet18",
        "encoder_weights": "none",
        "encoder_channels": (16, 32, 64, 128),
    }
    assert scratch.generator.settings.items() >= expected.items()
    assert at_scale(recipe, SMOKE, 0).schedule.epochs == 1


def test_half_protocol_has_the_reports_numbers_of_photos_and_half_its_widths() -> None:
    half, report = PROTOCOLS["half"], PROTOCOLS["report"]
    assert (half.train, half.test, half.batch_size) == (report.train, report.test, 16)

    def scaled(name: str) -> Recipe:
        experiment = EXPERIMENTS[name]
        weights, full_width = {"resnet18_weights": "none"}, experiment.full_width
        return at_scale(experiment.recipe, half, 0, **weights, full_width=full_width)

    for name in EXPERIMENTS:
        expected = EXPERIMENTS[name].recipe
        assert scaled(name).schedule == expected.schedule
        assert scaled(name).objective == expected.objective
    assert scaled("custom").generator.settings == {"channels": 32, "blocks": 4, "dilations": (1,)}
    assert scaled("unet-patchgan").generator.settings["base_channels"] == 32
    full = scaled("unet-patchgan-full")
    assert full.generator.settings["base_channels"] == 64
    assert full.discriminator is not None
    assert full.discriminator.settings["base_channels"] == 64
    resnet18 = scaled("resnet18-unet-patchgan").generator.settings
    assert resnet18["encoder_channels"] == (64, 128, 256, 512)
    assert resnet18["decoder_channels"] == (128, 64, 32, 16, 8)


def test_next_steps_are_planned_with_what_they_are_compared_with() -> None:
    protocol = PROTOCOLS["next-steps"]
    assert replace(protocol, planned=(), stem="results", shown=SMOKE.shown) == PROTOCOLS["reduced"]
    steps = [name for name, experiment in EXPERIMENTS.items() if experiment.part == "next step"]
    assert protocol.covers("unet-patchgan", *steps)
    assert protocol.covers(*(lambda_run(value) for value in LAMBDAS))
    assert not protocol.covers(*SYSTEMS)
    assert {name for name, _ in protocol.planned} <= EXPERIMENTS.keys()
    assert PROTOCOLS["half"].covers(*SYSTEMS)
    assert PROTOCOLS["report"].covers(*EXPERIMENTS)


def test_planned_runs_are_those_of_the_protocol() -> None:
    planned = PROTOCOLS["half"].planned
    assert select_runs(planned=planned) == list(planned)
    assert {name for name, _ in planned} <= EXPERIMENTS.keys()
    for name in SYSTEMS:
        assert sorted(select_runs((name,), planned=planned)) == [(name, seed) for seed in range(3)]
    assert select_runs(("unet-l1", "unet-rgb"), planned=planned) == [
        ("unet-l1", 0),
        ("unet-rgb", 0),
    ]
    assert select_runs(("unet-l1",), (1,), planned) == [("unet-l1", 1)]


def test_select_runs_orders_experiments_and_seeds() -> None:
    everything = select_runs()
    names = [name for name in EXPERIMENTS if name != "unet-patchgan-full"]
    assert [name for name, _ in everything] == names
    assert {seed for _, seed in everything} == {0}
    more = select_runs(seeds=(0, 1, 2))
    assert len(more) == len(names) + 2 * len(SYSTEMS)
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
