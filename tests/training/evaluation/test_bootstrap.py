"""Confidence intervals against those of the normal distribution, and their coverage."""

import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom.training.evaluation.bootstrap import bootstrap, bootstrap_ratio, jackknife
from photochrom.training.evaluation.feature_distances import fid, kid


def test_bootstrap_interval_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    estimate = bootstrap(lambda drawn: float(values[drawn].mean()), 400)
    half = 1.96 * values.std() / 20
    expected = (values.mean(), values.mean() - half, values.mean() + half)
    assert estimate == pytest.approx(expected, abs=0.05)
    assert bootstrap(lambda drawn: float(values[drawn].mean()), 400) == estimate
    assert bootstrap(lambda drawn: 7.0, 1) == (7, 7, 7)


def test_bootstrap_ratio_is_of_paired_means() -> None:
    originals = np.array([10.0, 20.0, 60.0])
    assert bootstrap_ratio(originals / 2, originals) == pytest.approx((0.5, 0.5, 0.5))


def test_jackknife_interval_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    mean, low, high = jackknife(lambda kept: float(values[kept].mean()), 400)
    assert mean == (low + high) / 2 == pytest.approx(values.mean())
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
