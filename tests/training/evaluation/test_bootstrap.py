"""Confidence intervals against those of the normal distribution, and their coverage."""

import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom.training.evaluation.bootstrap import (
    bootstrap,
    jackknife,
    mean,
    paired_difference,
    ratio,
)
from photochrom.training.evaluation.feature_distances import fid, kid


def test_bootstrap_interval_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    estimate = bootstrap(mean, [values])
    half = 1.96 * values.std() / 20
    expected = (values.mean(), values.mean() - half, values.mean() + half)
    assert estimate == pytest.approx(expected, abs=0.05)
    assert bootstrap(mean, [values]) == estimate
    assert bootstrap(mean, [np.full(5, 7.0)]) == (7, 7, 7)
    assert bootstrap(mean, [np.full(4, 7.0)]) == (7, None, None)  # too few photos


@pytest.mark.parametrize(("n", "most"), [(5, 26), (8, 20)])
def test_intervals_of_few_photos_leave_out_the_mean_in_about_5_of_100(n: int, most: int) -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap(mean, [rng.normal(0, 1, n)])[1:] for _ in range(200)]
    wrong = sum(low is None or high is None or low > 0 or high < 0 for low, high in intervals)
    assert wrong <= most  # of 200; plain percentiles leave it out in 38 and 28


def test_paired_difference_leaves_out_what_photos_have_in_common() -> None:
    rng = np.random.default_rng(0)
    photos, noise = rng.normal(20, 5, 400), rng.normal(0.3, 1, 400)
    value, low, high = paired_difference(mean, [photos + noise], [photos])
    assert value == pytest.approx(noise.mean())
    assert high - low == pytest.approx(2 * 1.96 * noise.std() / 20, rel=0.1)
    assert low > 0
    _, low, high = bootstrap(mean, [photos])
    assert high - low > 0.9  # what unpaired intervals would compare
    assert paired_difference(mean, [photos], [photos]) == (0, 0, 0)


def test_paired_difference_of_ratios_to_the_originals() -> None:
    originals = np.array([10.0, 20.0, 60.0, 30.0, 80.0])
    difference = paired_difference(ratio, [originals * 0.75, originals], [originals / 2, originals])
    assert difference == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    ("seeds", "spread"),
    [(2, 0.1), (3, 0.1), (3, 0.0)],  # the last: all runs are alike, only photos differ
)
def test_interval_over_seeds_covers_the_expected_difference(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(0)
    inside, widths = 0, []
    for _ in range(60):
        a, b = rng.normal(0, spread, (2, seeds, 1)) + rng.normal(0, 0.01, (2, seeds, 50))
        difference = paired_difference(mean, [a + rng.normal(0.5, 0.3, 50)], [b])
        assert difference[1] is not None
        assert difference[2] is not None
        inside += difference[1] <= 0.5 <= difference[2]
        widths.append(difference[2] - difference[1])
    assert inside >= 53  # of 57 expected
    if spread == 0:
        assert np.mean(widths) == pytest.approx(2 * 2.01 * 0.3 / 50**0.5, rel=0.1)


def test_runs_of_one_system_are_drawn_together() -> None:
    """Two scores of a run that cancel out have no variance over runs."""
    runs = np.repeat(np.array([[1.0], [5.0], [9.0]]), 5, axis=1)
    value, low, high = bootstrap(lambda x, y: float((x - y).mean()), [runs, runs - 2])
    assert (value, low, high) == (2, 2, 2)
    _, low, high = bootstrap(lambda x, y: float((x - y).mean()), [runs], [runs - 2])
    assert low < -5
    assert high > 9


def test_one_run_in_two_dimensions_is_one_run() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 1, 30))
    assert paired_difference(mean, [a], [b]) == paired_difference(mean, [a[0]], [b[0]])


def test_ratio_is_of_paired_means() -> None:
    originals = np.array([10.0, 20.0, 60.0, 30.0, 80.0])
    assert bootstrap(ratio, [originals / 2, originals]) == pytest.approx((0.5, 0.5, 0.5))


def test_jackknife_interval_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    value, low, high = jackknife(lambda kept: float(values[kept].mean()), 400)
    assert value == (low + high) / 2 == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.3)
    _, low, high = jackknife(lambda kept: float(values[kept].mean()), 400, groups=400)
    assert high - low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=1e-6)
    assert jackknife(lambda kept: 1.0, 3) == (1, None, None)


def test_jackknife_intervals_of_fid_and_kid_cover_the_expected_values() -> None:
    rng = np.random.default_rng(0)

    def draw() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = rng.normal(size=(100, 8))
        return x, 0.8 * x + 0.6 * rng.normal(size=x.shape) + 0.4

    for statistic in (fid, lambda x, y: kid(x, y, paired=True)):
        expected = np.mean([statistic(*draw()) for _ in range(200)])
        inside = 0
        for _ in range(40):
            x, y = draw()
            _, low, high = jackknife(lambda kept: statistic(x[kept], y[kept]), 100)  # noqa: B023
            inside += low <= expected <= high
        assert inside >= 33
