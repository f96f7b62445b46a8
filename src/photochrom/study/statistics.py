"""Statistics of a study.

Responses of one participant are correlated, so the intervals of the report take participants as
clusters. Wilson intervals, which assume independent responses, are given for comparison.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import krippendorff
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm, t

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""
Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""Maps weights of clusters, shape (samples, clusters), to one value for each sample, or NaN."""

CONFIDENCE_LEVEL = 0.95
BOOTSTRAP_SAMPLES = 10_000
MIN_CLUSTERS = 5
"""With fewer clusters, a bootstrap cannot estimate how they vary."""
MIN_REVERSALS = 8
"""Reversals after which a staircase counts as converged."""
_BATCH_SIZE = 1000  # bootstrap samples in memory at a time


def wilson(hits: int, n: int) -> Interval:
    """Return Wilson's score interval of a proportion of `n` > 0 independent responses.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = hits/n and z = 1.96 (Wilson 1927),
    without continuity correction.
    """
    interval = binomtest(hits, n).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def binomial_p(hits: int, n: int) -> float:
    """Return the exact two-sided p-value of a proportion against 1/2, for independent responses."""
    return float(binomtest(hits, n).pvalue)


def cluster_bootstrap(
    statistic: Statistic, clusters: int, *, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> Interval | None:
    """Return the expanded percentile interval of a statistic; clusters are resampled.

    The percentile interval of few clusters is too narrow: the bootstrap's variance is (n - 1)/n of
    the unbiased one, and it ignores Student's t. So the tails are Φ(-√(n/(n - 1)) t) instead of
    2.5 %, with t the 97.5 % quantile for n - 1 degrees of freedom: 0.1 % for 5 clusters, 2.0 % for
    40. The same seed resamples the same clusters, so intervals over the same participants are
    paired.

    Returns:
        None for fewer than `MIN_CLUSTERS`, or if the statistic of most samples is NaN.

    Reference:
        Efron 1979; Hesterberg 2015, "What Teachers Should Know About the Bootstrap".
    """
    if clusters < MIN_CLUSTERS:
        return None
    rng = np.random.default_rng(seed)
    uniform = np.full(clusters, 1.0 / clusters)
    batches = []
    for start in range(0, samples, _BATCH_SIZE):
        weights = rng.multinomial(clusters, uniform, min(_BATCH_SIZE, samples - start))
        batches.append(statistic(weights.astype(np.float64)))
    values = np.concatenate(batches)
    values = values[np.isfinite(values)]
    if 2 * len(values) < samples:
        return None
    quantile = float(t.ppf((1 + CONFIDENCE_LEVEL) / 2, clusters - 1))
    tail = float(norm.cdf(-sqrt(clusters / (clusters - 1)) * quantile))
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Term:
    """A proportion in a weighted sum of proportions."""

    hits: ArrayLike
    """For each cluster, shape (clusters,)."""
    n: ArrayLike
    """Number of responses of each cluster; may be 0."""
    weight: float = 1.0


def clustered_interval(
    *terms: Term, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> Interval | None:
    """Return the interval of Σ weight (Σ hits / Σ n) over clusters: participants or photos.

    It is the cluster bootstrap, but never narrower than the interval of as many independent
    responses: otherwise clusters that happen to agree would give an interval of width 0. For
    one term, that is Wilson's interval; for several, MOVER: the distance of each end is the root
    of the summed squares of the weighted distances of Wilson's ends (Zou and Donner 2008).

    Args:
        terms: Of the same clusters in the same order. Weights 1/2 and 1/2 give a mean
            (HYPE-infinity), 1 and -1 a difference.
        samples: Bootstrap samples.
        seed: Bootstrap seed.

    Returns:
        None if a term has responses of fewer than `MIN_CLUSTERS` clusters.
    """
    hits = np.array([term.hits for term in terms], np.int64)
    n = np.array([term.n for term in terms], np.int64)
    weights = np.array([term.weight for term in terms])
    if np.count_nonzero(n, axis=1).min() < MIN_CLUSTERS:
        return None
    responded = n.any(axis=0)
    hits, n = hits[:, responded], n[:, responded]

    def statistic(cluster_weights: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            sums: Values = (cluster_weights @ hits.T) / (cluster_weights @ n.T) @ weights
        return sums

    bootstrap = cluster_bootstrap(statistic, int(responded.sum()), samples=samples, seed=seed)
    if bootstrap is None:
        return None
    totals = [(int(k), int(of)) for k, of in zip(hits.sum(axis=1), n.sum(axis=1), strict=True)]
    proportions = np.array([k / of for k, of in totals])
    distances = np.array([wilson(*total) for total in totals]) - proportions[:, None]
    ends = np.sort(weights[:, None] * distances, axis=1)  # a negative weight swaps the ends
    down, up = np.sqrt(np.square(ends).sum(axis=0))
    estimate = float(weights @ proportions)
    return min(bootstrap[0], estimate - float(down)), max(bootstrap[1], estimate + float(up))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the bootstrap interval of the mean of one value per participant."""
    return cluster_bootstrap(lambda weights: weights @ values / len(values), len(values))


def compare_with_half(interval: Interval | None) -> str | None:
    """Return whether an interval is `below` or `above` 1/2, or `undecided`."""
    if interval is None:
        return None
    if interval[1] < 0.5:
        return "below"
    return "above" if interval[0] > 0.5 else "undecided"


def nominal_alpha(counts: ArrayLike) -> float | None:
    """Return Krippendorff's alpha of nominal responses: 1 - observed / expected disagreement.

    Args:
        counts: Responses of each category to each image, shape (images, categories).

    Returns:
        1 for agreement, 0 for agreement by chance, negative for less; None if no image has two
        responses, or all responses to such images are the same.

    Reference:
        Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
    """
    table = np.asarray(counts, np.int64)
    table = table[table.sum(axis=1) > 1] if table.size else np.zeros((0, 2), np.int64)
    if np.count_nonzero(table.sum(axis=0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=table, level_of_measurement="nominal"))


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three points or a constant."""
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(first) < 3:
        return None
    (rho,) = _weighted_spearman(first, second, np.ones((1, len(first))))
    return float(rho) if np.isfinite(rho) else None


def spearman_interval(x: ArrayLike, y: ArrayLike, items: Sequence[str]) -> Interval | None:
    """Return the bootstrap interval of Spearman's correlation over images; items are resampled.

    Args:
        x: Shape (images,).
        y: Shape (images,).
        items: The item of each image; images of one item are resampled together.

    Returns:
        None for fewer than `MIN_CLUSTERS` items.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _, index = np.unique(items, return_inverse=True)
    return cluster_bootstrap(
        lambda weights: _weighted_spearman(first, second, weights[:, index]),
        int(index.max(initial=-1)) + 1,
    )


def _weighted_spearman(x: Values, y: Values, weights: Values) -> Values:
    """Return Spearman's correlation of points that occur several times.

    scipy has no vectorized form for 10 000 bootstrap samples.

    Args:
        x: Shape (points,).
        y: Shape (points,).
        weights: How often each point occurs, shape (samples, points).

    Returns:
        Shape (samples,); NaN where x or y is constant.
    """
    n = weights.sum(axis=1, keepdims=True)
    a, b = (_mean_ranks(values, weights) - (n + 1) / 2 for values in (x, y))
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Values = (weights * a * b).sum(axis=1) / spread
    return np.clip(rho, -1.0, 1.0)


def _mean_ranks(values: Values, weights: Values) -> Values:
    """Return the mean rank, from 1, of each point in each sample, shape (samples, points)."""
    distinct, index = np.unique(values, return_inverse=True)
    counts = weights @ (index[:, None] == np.arange(len(distinct)))
    ranks: Values = (np.cumsum(counts, axis=1) - counts / 2 + 0.5)[:, index]
    return ranks


def modal_level(levels: Sequence[float]) -> float:
    """Return the most frequent level of a staircase, the threshold estimate of HYPE-time.

    The mean of several modes; Zhou et al. 2019, section 2.1, does not define ties.
    """
    values, counts = np.unique(np.asarray(levels, np.float64), return_counts=True)
    return float(values[counts == counts.max()].mean())


def converged_mean(levels: Sequence[float], reversals: int = MIN_REVERSALS) -> float | None:
    """Return the mean level of a staircase after a number of reversals.

    The weighted staircase (Kaernbach 1991) balances where 75 % of the responses are correct. The
    mean uses all levels there, so it varies less than the mode.

    Args:
        levels: In order of presentation.
        reversals: Number of reversals to skip: changes of direction, and repetitions of a level,
            which occur only at the limits.

    Returns:
        None if there are fewer reversals: the staircase has not converged.
    """
    count, last_move = 0, 0.0
    for i, move in enumerate(np.sign(np.diff(np.asarray(levels, np.float64)))):
        count += bool(move == 0 or move * last_move < 0)
        last_move = move or last_move
        if count == reversals:
            return float(np.mean(levels[i:]))
    return None
