"""Confidence intervals over photos: bootstrap and jackknife."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Estimate = tuple[float, float | None, float | None]
"""A value and the ends of its 95 % confidence interval; None where there is no interval."""

Statistic = Callable[[NDArray[np.intp]], float]
"""A function of the indices of the photos in a resample."""


def bootstrap(statistic: Statistic, n: int, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Return a statistic of `n` photos with its percentile bootstrap interval.

    The same seed draws the same resamples, so the intervals of several metrics and models are
    paired.

    Reference:
        Efron 1979.
    """
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.quantile(values, [0.025, 0.975])
    return statistic(np.arange(n)), float(low), float(high)


def bootstrap_mean(values: NDArray[np.float64]) -> Estimate:
    """Return the mean over photos with its bootstrap interval."""
    return bootstrap(lambda drawn: float(values[drawn].mean()), len(values))


def bootstrap_ratio(values: NDArray[np.float64], originals: NDArray[np.float64]) -> Estimate:
    """Return the ratio of two means over the same photos with its bootstrap interval.

    A resample whose denominator is 0 counts as 0.
    """

    def ratio(drawn: NDArray[np.intp]) -> float:
        total = float(originals[drawn].sum())
        return float(values[drawn].sum()) / total if total > 0 else 0.0

    return bootstrap(ratio, len(values))


def jackknife(statistic: Statistic, n: int, *, groups: int = 20, seed: int = 0) -> Estimate:
    """Return a statistic of `n` photos with its jackknife interval: 1.96 standard errors each way.

    For FID and KID, which a bootstrap biases: both penalize a photo that is drawn twice.

    Args:
        statistic: Gets at least two indices.
        n: Number of photos. There is no interval for fewer than 4.
        groups: Number of groups that are left out in turn; at most `n`.
        seed: Of the split into groups. The same seed makes the intervals of several models paired.

    Reference:
        Shao and Wu 1989, the delete-d jackknife with disjoint groups: the variance is (g - 1) / g
        times the sum of the squared differences from the mean.
    """
    everything = np.arange(n)
    value = statistic(everything)
    if n < 4:
        return value, None, None
    groups = min(groups, n)
    parts = np.array_split(np.random.default_rng(seed).permutation(n), groups)
    values = np.array([statistic(np.setdiff1d(everything, part)) for part in parts])
    error = np.sqrt((groups - 1) / groups * np.square(values - values.mean()).sum())
    return value, float(value - 1.96 * error), float(value + 1.96 * error)
