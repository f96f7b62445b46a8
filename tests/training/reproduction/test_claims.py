"""Verdicts on the claims, at and around their thresholds."""

from dataclasses import replace

import pytest

from photochrom.training.evaluation.results import Evaluation
from photochrom.training.reproduction import claims
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    LAMBDAS,
    SYSTEMS,
    lambda_run,
)
from photochrom.training.reproduction.results import Run
from support.results import make_log_line, make_results, make_run


def test_every_claim_and_lambda_has_an_experiment() -> None:
    known = {"grey", "mean-ab", *EXPERIMENTS}
    assert {name for claim in claims.CLAIMS for name in claim.requires} <= known
    values = {value: EXPERIMENTS[lambda_run(value)].recipe.lambda_l1 for value in LAMBDAS}
    assert all(key == value for key, value in values.items())


def verdict(number: int, *runs: Run) -> claims.Verdict:
    return claims.CLAIMS[number].conclude(make_results(*runs))


@pytest.mark.parametrize(
    ("with_l1", "without", "outcome"),
    [(0.1, 0.19, "confirmed"), (0.1, 0.3, "partly"), (0.2, 0.3, "refuted")],
)
def test_verdict_on_grey(with_l1: float, without: float, outcome: str) -> None:
    found = verdict(
        0,
        make_run("custom", colorfulness_ratio=with_l1),
        make_run("custom-no-l1", colorfulness_ratio=without),
    )
    assert found.outcome == outcome
    assert f"{with_l1:.2f} [" in found.message


@pytest.mark.parametrize(
    ("dilated", "distance", "outcome"),
    [(0.4, 8.0, "confirmed"), (0.4, 10.0, "partly"), (0.2, 8.0, "partly"), (0.2, 12.0, "refuted")],
)
def test_verdict_on_receptive_field(dilated: float, distance: float, outcome: str) -> None:
    plain = make_run("custom", colorfulness_ratio=0.2)
    other = make_run("custom-dilated", colorfulness_ratio=dilated, ciede2000=distance)
    assert verdict(1, plain, other).outcome == outcome


@pytest.mark.parametrize(
    ("at_1", "at_100", "outcome"),
    [(0.5, 0.1, "confirmed"), (0.5, 0.3, "partly"), (0.1, 0.1, "partly"), (0.3, 0.5, "refuted")],
)
def test_verdict_on_lambda(at_1: float, at_100: float, outcome: str) -> None:
    ratios = {1: at_1, 100: at_100}
    runs = [make_run(lambda_run(v), colorfulness_ratio=ratios.get(v, 0.4)) for v in LAMBDAS]
    found = verdict(2, *runs)
    assert found.outcome == outcome
    assert "30: 0.40 at 0.0100" in found.message


def test_verdict_on_pretraining() -> None:
    plain = make_run("unet-patchgan", [make_log_line(i, "gan", psnr=18.0 + i) for i in (1, 2, 3)])
    first = make_log_line(1, "l1", psnr=25.0)  # L1 alone does not count
    sooner = [first, make_log_line(2, "gan", psnr=21.0), make_log_line(3, "gan")]
    found = verdict(3, plain, make_run("unet-patchgan-l1pre", sooner))
    assert found.outcome == "confirmed"
    assert "after 10 generator steps with the PatchGAN, the plain one after 30" in found.message
    assert "took 30 and 30 generator steps" in found.message
    later = [first, *(make_log_line(i, "gan", psnr=18.0 + i - 1) for i in (2, 3, 4))]
    assert verdict(3, plain, make_run("unet-patchgan-l1pre", later)).outcome == "refuted"
    never = [first, make_log_line(2, "gan", psnr=25.0, colorfulness_ratio=0.1)]
    found = verdict(3, plain, make_run("unet-patchgan-l1pre", never))
    assert found.outcome == "refuted"
    assert "never reached" in found.message


@pytest.mark.parametrize(
    ("mse", "ssim", "outcome"),
    [(0.02, 0.7, "confirmed"), (0.02, 0.95, "partly"), (0.009, 0.95, "refuted")],
)
def test_verdict_on_best_images_and_worst_scores(mse: float, ssim: float, outcome: str) -> None:
    runs = [make_run(name) for name in SYSTEMS if name != "unet-patchgan"]
    runs.append(make_run("unet-patchgan", fid=10.0, mse=mse, ssim=ssim))
    found = verdict(4, *runs)
    assert found.outcome == outcome
    assert "unet-patchgan has the best FID, 10.0" in found.message


def test_verdict_is_open_without_runs_or_fid() -> None:
    found = verdict(0, make_run("custom"))
    assert (found.outcome, found.message) == ("open", "not run: custom-no-l1")
    runs = [make_run(name) for name in SYSTEMS]
    values = {k: v for k, v in runs[0].evaluation.values.items() if k != "fid"}
    runs[0] = replace(runs[0], evaluation=Evaluation("custom", 10, values))
    assert "FID was not measured" in verdict(4, *runs).message


@pytest.mark.parametrize(
    ("ratio", "distance", "expected"),
    [
        (0.8, 10.0, "more colourful, as close to the original"),
        (0.2, 12.0, "less colourful, farther from the original"),
        (0.51, 8.0, "as colourful, closer to the original"),
    ],
)
def test_compare(ratio: float, distance: float, expected: str) -> None:
    other = make_run("unet-hinge", colorfulness_ratio=ratio, ciede2000=distance)
    results = make_results(make_run("unet-patchgan"), other)
    assert claims.compare(results, "unet-hinge", "unet-patchgan") == expected
