"""Intervals of systems, and when a difference counts."""

from dataclasses import replace

import pytest
from scipy.stats import ttest_1samp

from photochrom.training.reproduction.comparison import (
    MissingDataError,
    compare,
    compare_colorfulness,
    compare_epochs,
    estimate,
)
from photochrom.training.reproduction.results import Results
from support.results import make_epochs, make_results, make_run, make_scores


def with_ratios(*ratios: float) -> list[dict[str, float]]:
    """Return epochs that have these shares of the original's colourfulness."""
    pairs = zip(make_epochs(len(ratios)), ratios, strict=True)
    return [{**epoch, "colorfulness_ratio": ratio} for epoch, ratio in pairs]


def test_one_seed_has_the_range_of_its_last_epochs() -> None:
    results = make_results(make_run("custom", epochs=with_ratios(0.5, 0.7, 0.4, 0.6, 0.8)))
    assert estimate(results, "custom", "colorfulness_ratio") == (pytest.approx(0.6), 0.4, 0.8)


def test_a_phase_of_two_epochs_is_too_short() -> None:
    results = make_results(make_run("custom", epochs=make_epochs(2)))
    with pytest.raises(MissingDataError, match="the last phase of custom has 2 of the 3 epochs"):
        estimate(results, "custom", "psnr")


def test_three_seeds_have_the_interval_of_students_t_over_their_means() -> None:
    values = (0.4, 0.5, 0.75)
    runs = [make_run("custom", seed=i, colorfulness_ratio=v) for i, v in enumerate(values)]
    found = estimate(make_results(*runs), "custom", "colorfulness_ratio")
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert found == pytest.approx((0.55, *expected))


def test_fid_needs_three_seeds() -> None:
    runs = [make_run("custom", seed=i, fid=50.0 + i) for i in range(3)]
    value, low, high = estimate(make_results(*runs), "custom", "fid")
    assert low is not None
    assert high is not None
    assert low < value == 51.0 < high
    with pytest.raises(MissingDataError, match="3 seeds of custom are needed; there is 1"):
        estimate(make_results(runs[0]), "custom", "fid")


def test_metric_that_was_not_measured_is_missing() -> None:
    run = make_run("custom")
    values = {k: v for k, v in run.evaluation.values.items() if k != "fid"}
    run = replace(run, evaluation=replace(run.evaluation, values=values))
    with pytest.raises(MissingDataError, match="the FID of custom was not measured"):
        estimate(make_results(run), "custom", "fid")


@pytest.mark.parametrize(
    ("epochs", "evaluated", "expected"),
    [(0.1, 0.1, "below"), (0.1, 0.3, "unclear"), (0.3, 0.1, "unclear"), (0.3, 0.3, "above")],
)
def test_threshold_needs_the_epochs_and_the_photos(
    epochs: float, evaluated: float, expected: str
) -> None:
    run = make_run(
        "custom", epochs=make_epochs(colorfulness_ratio=epochs), colorfulness_ratio=evaluated
    )
    assert compare_colorfulness(make_results(run), "custom", 0.2) == expected


def test_systems_differ_if_epochs_and_photos_agree() -> None:
    base = make_run("custom", colorfulness_ratio=0.5)

    def order(of_epochs: float, of_photos: float) -> str:
        scores = make_scores(colorfulness=40 * of_photos)
        epochs = make_epochs(colorfulness_ratio=of_epochs)
        run = make_run("unet-l1", scores=scores, epochs=epochs)
        return compare(make_results(base, run), "unet-l1", "custom", "colorfulness_ratio")

    assert order(0.6, 0.6) == "above"
    assert order(0.4, 0.4) == "below"
    assert order(0.6, 0.4) == "unclear"
    assert order(0.505, 0.6) == "unclear"


def test_an_interval_over_photos_is_no_evidence_if_the_epochs_wander() -> None:
    epochs = with_ratios(0.3, 0.7, 0.4, 0.8, 0.6)
    wandering = make_run("unet-l1", epochs=epochs, colorfulness_ratio=0.6)
    results = make_results(make_run("custom", colorfulness_ratio=0.5), wandering)
    assert compare(results, "unet-l1", "custom", "colorfulness_ratio") == "unclear"


def test_three_seeds_are_compared_by_welchs_interval() -> None:
    names, metric = ("custom", "unet-l1"), "colorfulness_ratio"

    def make(shift: float) -> Results:
        spread = ((0.4, 0.5, 0.6), (0.4 + shift, 0.5 + shift, 0.6 + shift))
        pairs = zip(names, spread, strict=True)
        return make_results(
            *(
                make_run(name, seed=i, colorfulness_ratio=value)
                for name, values in pairs
                for i, value in enumerate(values)
            )
        )

    # Half the width of Welch's interval is t(0.975, 4) * 0.1 * sqrt(2 / 3) = 0.227.
    assert compare_epochs(make(0.22), "unet-l1", "custom", metric) == "unclear"
    assert compare_epochs(make(0.23), "unet-l1", "custom", metric) == "above"
    assert compare_epochs(make(0.23), "custom", "unet-l1", metric) == "below"


def test_difference_over_seeds() -> None:
    runs = [make_run("custom", seed=i, psnr=20.0 + 0.1 * i) for i in range(3)]
    runs += [make_run("unet-l1", seed=i, psnr=22.0 + 0.1 * i) for i in range(3)]
    assert compare(make_results(*runs), "unet-l1", "custom", "psnr") == "above"
    runs[3] = make_run("unet-l1", seed=0, psnr=18.0)
    assert compare(make_results(*runs), "unet-l1", "custom", "psnr") == "unclear"
