"""Verdicts on the claims, at and around their thresholds."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from photochrom.training.recipes.recipe import override
from photochrom.training.reproduction import claims
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    LAMBDAS,
    SYSTEMS,
    lambda_run,
)
from photochrom.training.reproduction.results import Run
from support.results import make_epochs, make_log_line, make_results, make_run

GREY, GREY_WITHOUT_L1, COLOURFUL, CLOSE, LAMBDA_100, LAMBDA_1, STEPS, WORST_MSE, WORST_SSIM = range(
    9
)
HOLDS, FAILS = "reproduced at this scale", "not reproduced at this scale"


def test_every_claim_and_lambda_has_an_experiment() -> None:
    assert {name for claim in claims.CLAIMS for name in claim.requires} <= EXPERIMENTS.keys()
    values = {
        value: EXPERIMENTS[lambda_run(value)].recipe.objective["l1"].weight for value in LAMBDAS
    }
    assert all(key == value for key, value in values.items())


CONTROL_RUNS = make_run("unet-patchgan"), make_run("unet-l1", colorfulness_ratio=0.2, psnr=25.0)
"""They show the differences between the U-Net with and without the PatchGAN that are known."""


def verdict(number: int, *runs: Run, **options: object) -> claims.Verdict:
    return claims.CLAIMS[number].conclude(make_results(*runs, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", [GREY, GREY_WITHOUT_L1, LAMBDA_100])
@pytest.mark.parametrize(
    ("ratio", "control", "outcome", "message"),
    [
        (0.1, 0.5, HOLDS, "0.10 [0.10, 0.10]"),
        (0.1, 0.15, "open", "so grey may come from the protocol"),
        (0.2, 0.5, "open", "the intervals do not decide"),
        (0.5, 0.5, FAILS, "0.50 [0.49, 0.51]"),
        (0.5, 0.15, FAILS, "0.50 [0.49, 0.51]"),
    ],
)
def test_grey_needs_a_control_that_is_not_grey(
    claim: int, ratio: float, control: float, outcome: str, message: str
) -> None:
    name, other = claims.CLAIMS[claim].requires
    runs = make_run(name, colorfulness_ratio=ratio), make_run(other, colorfulness_ratio=control)
    found = verdict(claim, *runs)
    assert found.outcome == outcome
    assert message in found.message


def test_verdict_is_open_if_every_system_is_grey() -> None:
    runs = [make_run(name, colorfulness_ratio=0.05) for name in EXPERIMENTS]
    assert {verdict(claim, *runs).outcome for claim in (GREY, GREY_WITHOUT_L1, LAMBDA_100)} == {
        "open"
    }


@pytest.mark.parametrize(
    ("claim", "metric", "factor"),
    [
        (COLOURFUL, "colorfulness_ratio", 1),
        (CLOSE, "psnr", 40),
        (LAMBDA_1, "colorfulness_ratio", 1),
    ],
)
@pytest.mark.parametrize(
    ("value", "base", "outcome"), [(0.5, 0.4, HOLDS), (0.5, 0.49, "open"), (0.4, 0.5, FAILS)]
)
def test_verdict_on_a_difference(
    claim: int, metric: str, factor: float, value: float, base: float, outcome: str
) -> None:
    names = claims.CLAIMS[claim].requires
    runs = [
        make_run(name, **{metric: factor * x}) for name, x in zip(names, (value, base), strict=True)
    ]
    found = verdict(claim, *runs, *CONTROL_RUNS)
    assert found.outcome == outcome
    assert ("the intervals do not decide" in found.message) == (outcome == "open")


def test_verdict_is_open_unless_the_control_of_its_metric_is_met() -> None:
    runs = make_run(lambda_run(1), colorfulness_ratio=0.8), make_run(lambda_run(100))
    found = verdict(LAMBDA_1, *runs)
    assert found.outcome == "open"
    assert "the control is not met that the PatchGAN makes the U-Net" in found.message
    assert verdict(LAMBDA_1, *runs, *CONTROL_RUNS).outcome == HOLDS
    # A measure that takes the mean colour for colourful cannot refute grey.
    pair = make_run("custom"), make_run("unet-patchgan")
    for ratio, outcome in ((0.1, FAILS), (0.4, "open")):
        baselines = {"mean-ab": {"colorfulness_ratio": ratio}}
        assert verdict(GREY, *pair, baselines=baselines).outcome == outcome


def test_confirmed_and_refuted_need_the_reports_scale() -> None:
    control = make_run("unet-patchgan")
    for ratio, outcome, elsewhere in ((0.1, "confirmed", HOLDS), (0.5, "refuted", FAILS)):
        runs = make_run("custom", colorfulness_ratio=ratio), control
        assert verdict(GREY, *runs, protocol="report", coco=True).outcome == outcome
        assert verdict(GREY, *runs, protocol="report", coco=False).outcome == elsewhere
        assert verdict(GREY, *runs, protocol="reduced", coco=True).outcome == elsewhere


def test_resnet18_from_scratch_is_not_the_reports_scale() -> None:
    runs = [make_run(lambda_run(100)), make_run(lambda_run(1))]
    report = {"protocol": "report", "coco": True}
    assert verdict(LAMBDA_100, *runs, **report).outcome == "refuted"
    runs[1] = replace(
        runs[1], recipe=override(runs[1].recipe, {"generator.encoder_weights": "none"})
    )
    found = verdict(LAMBDA_100, *runs, **report)
    assert found.outcome == FAILS
    assert "ResNet18 started from scratch" in found.message


def make_curves(name: str, *, reached: Sequence[int], first: str = "gan") -> list[Run]:
    """Return a run for each seed that has its final PSNR from a certain epoch of 12 on."""
    return [
        make_run(
            name,
            [make_log_line(1, first)]
            + [make_log_line(i, "gan", psnr=20.0 if i < epoch else 22.0) for i in range(2, 13)],
            seed=seed,
        )
        for seed, epoch in enumerate(reached)
    ]


@pytest.mark.parametrize(
    ("reached", "outcome"),
    [((2, 2, 3), HOLDS), ((2, 3, 5), "open"), ((6, 7, 8), FAILS), ((99, 99, 99), FAILS)],
)
def test_verdict_on_pretraining(reached: tuple[int, ...], outcome: str) -> None:
    plain = make_curves("unet-patchgan", reached=(4, 4, 5))
    pretrained = make_curves("unet-patchgan-l1pre", reached=reached, first="l1")
    found = verdict(STEPS, *plain, *pretrained)
    assert found.outcome == outcome
    assert "the plain ones after 80, 80, 90" in found.message
    assert ("after never, never, never" in found.message) == (reached[0] == 99)
    assert "takes 120 generator steps, a plain one 120" in found.message


def test_verdict_on_pretraining_needs_three_seeds() -> None:
    plain = make_curves("unet-patchgan", reached=(4, 4, 5))
    pretrained = make_curves("unet-patchgan-l1pre", reached=(2, 2), first="l1")
    found = verdict(STEPS, *plain, *pretrained)
    assert found.outcome == "open"
    assert "3 seeds of unet-patchgan-l1pre are needed" in found.message


def test_curves_are_compared_with_values_of_the_same_photos() -> None:
    plain = [
        replace(run, epochs=make_epochs(psnr=23.0))  # the test photos are easier by 1 dB
        for run in make_curves("unet-patchgan", reached=(4, 4, 5))
    ]
    pretrained = make_curves("unet-patchgan-l1pre", reached=(2, 2, 3), first="l1")
    found = verdict(STEPS, *plain, *pretrained)
    assert found.outcome == HOLDS
    assert "PSNR 22.00 dB and 0.50" in found.message


def make_systems(seeds: int = 3, **best: float) -> list[Run]:
    """Return seeds of the four systems, which vary; one has the best FID, and some values."""
    values = {"mse": 0.01, "ssim": 0.9, "fid": 50.0}
    return [
        make_run(
            name,
            seed=seed,
            **{
                metric: (1 + 0.01 * seed) * value
                for metric, value in (
                    values | ({"fid": 10.0, **best} if name == "custom" else {})
                ).items()
            },
        )
        for name in SYSTEMS
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("values", "mse", "ssim"),
    [
        ({"mse": 0.02, "ssim": 0.7}, HOLDS, HOLDS),
        ({"mse": 0.02, "ssim": 0.95}, HOLDS, FAILS),
        ({"mse": 0.009}, FAILS, "open"),
        ({"fid": 50.0}, "open", "open"),
    ],
)
def test_verdict_on_best_images_and_worst_scores(
    values: dict[str, float], mse: str, ssim: str
) -> None:
    runs = make_systems(**values)
    assert verdict(WORST_MSE, *runs).outcome == mse
    assert verdict(WORST_SSIM, *runs).outcome == ssim


def test_verdict_on_best_images_needs_three_seeds() -> None:
    found = verdict(WORST_MSE, *make_systems(seeds=2, mse=0.02))
    assert found.outcome == "open"
    assert "3 seeds of custom are needed; there are 2" in found.message


def test_verdict_is_open_without_runs() -> None:
    found = verdict(GREY, make_run("custom"))
    assert (found.outcome, found.message) == ("open", "not run: unet-patchgan")


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (make_run("unet-hinge", colorfulness_ratio=0.8), "more colourful, PSNR unclear"),
        (make_run("unet-hinge", colorfulness_ratio=0.2, psnr=25), "less colourful, higher PSNR"),
        (make_run("unet-hinge", psnr=15.0), "colourfulness unclear, lower PSNR"),
        (
            make_run("unet-hinge", psnr=9.0, epochs=make_epochs(2, psnr=9.0)),
            "colourfulness unclear, PSNR unclear",
        ),
    ],
)
def test_describe_difference(run: Run, expected: str) -> None:
    results = make_results(make_run("unet-patchgan"), run)
    assert claims.describe_difference(results, "unet-hinge", "unet-patchgan") == expected
