"""Confidence intervals over photos and seeds: bootstrap and jackknife."""

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Estimate = tuple[float, float | None, float | None]
"""A value and the ends of its 95 % confidence interval; None where there is no interval."""

MIN_PHOTOS = 5
"""With fewer photos, a bootstrap cannot estimate how they vary."""

Scores = NDArray[np.float64]
"""Scores of photos, shape (N,), or of S runs with different seeds, shape (S, N)."""


def bootstrap(
    statistic: Callable[..., float],
    *systems: Sequence[Scores],
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic of the scores of photos with its bootstrap interval.

    Photos are drawn once in each resample, for all systems: the intervals of differences are
    paired. The same seed draws the same photos, so intervals of several metrics are paired too.
    Where each system has one run, the interval is between expanded percentiles (`_tail`). There is
    none for fewer than `MIN_PHOTOS`.

    Of a system with several runs, S - 1 of the S are drawn with replacement, for each system on its
    own, and the scores of a photo are averaged over them. The bootstrap then has the variance of
    the unbiased estimate (over S - 1), where S draws would have (S - 1)/S of it. Percentiles of so
    few values are too close; the interval is that of Student's t with the bootstrap's standard
    error, and as many degrees of freedom as photos and runs give together.

    Args:
        statistic: A function of scores averaged over runs: an array (N,) for each of the scores of
            each system.
        systems: The scores of each, of the same photos in the same order. A system may have
            scores of S runs besides scores that are equal in all runs.
        resamples: Number of resamples.
        seed: Of the draws.

    Reference:
        Efron and Tibshirani 1993, chapters 12 and 13; Koehn 2004 for pairs of systems; Owen 2007
        for drawing rows and columns; Rao and Wu 1988 for S - 1 of S; Satterthwaite 1946 for the
        degrees of freedom; Hesterberg 2015 for expanded percentiles.
    """
    rng = np.random.default_rng(seed)
    tables = [[np.atleast_2d(scores) for scores in system] for system in systems]
    n = tables[0][0].shape[1]
    value = statistic(*(scores.mean(axis=0) for system in tables for scores in system))
    if n < MIN_PHOTOS:
        return value, None, None
    values = []
    for _ in range(resamples):
        photos = rng.integers(0, n, n)
        drawn = [scores[photos] for system in tables for scores in _draw_runs(system, rng)]
        values.append(statistic(*drawn))
    if max(_count_runs(system) for system in tables) == 1:
        low, high = np.quantile(values, [_tail(n), 1.0 - _tail(n)])
        return value, float(low), float(high)
    variance = float(np.var(values))
    half = sqrt(variance) * float(t.ppf(0.975, _degrees_of_freedom(statistic, tables, variance)))
    return value, value - half, value + half


def _tail(n: int) -> float:
    """Return the share of resamples beyond each end of a 95 % interval over `n` photos.

    Percentiles of few photos are too close: the bootstrap's variance is (n - 1)/n of the unbiased
    one, and it ignores Student's t. So it is Φ(-√(n/(n - 1)) t) instead of 2.5 %, with t the 97.5 %
    quantile for n - 1 degrees of freedom: 0.1 % for 5 photos, 2.4 % for 200.
    """
    return float(norm.cdf(-sqrt(n / (n - 1)) * float(t.ppf(0.975, n - 1))))


def _degrees_of_freedom(
    statistic: Callable[..., float], tables: Sequence[Sequence[Scores]], variance: float
) -> float:
    """Return the degrees of freedom of a variance over photos and runs, after Satterthwaite.

    variance^2 / sum of v^2 / (degrees of freedom of v), over the parts v of the variance: that of
    the mean over the S runs of each system, with S - 1, and the rest, of N photos, with N - 1.
    """
    parts = []
    for i, system in enumerate(tables):
        runs = _count_runs(system)
        if runs == 1:
            continue
        of_runs = []
        for run in range(runs):
            chosen = [[table[run % len(table)] for table in system]]
            means = [[table.mean(axis=0) for table in other] for other in tables]
            scores = [*means[:i], *chosen, *means[i + 1 :]]
            of_runs.append(statistic(*(x for of_system in scores for x in of_system)))
        parts.append((float(np.var(of_runs, ddof=1)) / runs, runs - 1))
    rest = max(variance - sum(part for part, _ in parts), 0.0)
    parts.append((rest, tables[0][0].shape[1] - 1))
    squares = sum(part**2 / max(degrees, 1) for part, degrees in parts)
    return variance**2 / squares if squares > 0 else 1.0


def _count_runs(tables: Sequence[Scores]) -> int:
    return max(len(table) for table in tables)


def _draw_runs(tables: Sequence[Scores], rng: np.random.Generator) -> list[Scores]:
    """Return scores (N,) that are averaged over drawn runs; `tables` are (S, N) or (1, N)."""
    runs = _count_runs(tables)
    drawn = rng.integers(0, runs, runs - 1) if runs > 1 else [0]
    return [table[0] if len(table) == 1 else table[drawn].mean(axis=0) for table in tables]


def paired_difference(
    statistic: Callable[..., float], a: Sequence[Scores], b: Sequence[Scores]
) -> Estimate:
    """Return the difference a - b of a statistic of scores with its paired bootstrap interval.

    If the interval excludes 0, the systems differ at the 5 % level, for one comparison.

    Args:
        statistic: As for `bootstrap`, of the scores of one system.
        a: Scores of a system, each (N,), or (S, N) of S runs.
        b: Scores of another on the same photos; it may have another number of runs.

    Reference:
        As `bootstrap`.
    """
    count = len(a)
    return bootstrap(lambda *scores: statistic(*scores[:count]) - statistic(*scores[count:]), a, b)


def mean(scores: NDArray[np.float64]) -> float:
    """Return the mean over photos."""
    return float(scores.mean())


def ratio(scores: NDArray[np.float64], originals: NDArray[np.float64]) -> float:
    """Return the ratio of two means over the same photos, and 0 if the denominator is 0."""
    total = float(originals.sum())
    return float(scores.sum()) / total if total > 0 else 0.0


def jackknife(
    statistic: Callable[[NDArray[np.intp]], float], n: int, *, groups: int = 20, seed: int = 0
) -> Estimate:
    """Return a statistic of `n` photos with its jackknife interval: 1.96 standard errors each way.

    For FID and KID, which a bootstrap biases: both penalize a photo that is drawn twice.

    Args:
        statistic: A function of the indices of the photos that are kept, at least two.
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
