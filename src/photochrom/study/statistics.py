"""The statistics of a human study: small functions of numbers, with their formulas and sources.

Answers of one person are more alike than those of several, so what counts is always the interval
that takes persons as clusters; Wilson's beside it treats all answers as independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import krippendorff
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest, norm, t

Interval = tuple[float, float]
"""The lower and the upper end, of 95 % where nothing else is said."""
Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""Gets how often each cluster was drawn, shape (draws, clusters); returns a number for each draw,
NaN where it has none."""

LEVEL = 0.95
DRAWS = 10_000
LEAST_CLUSTERS = 5
"""With fewer a bootstrap knows next to nothing of how clusters differ, so there is no interval."""
SETTLING = 8
"""Turns of a staircase before its levels count as settled."""
_AT_ONCE = 1000  # draws, so that the counts of many persons need not all be in memory


def wilson(hits: int, n: int) -> Interval | None:
    """Return Wilson's score interval of a share of independent answers.

    (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = hits/n and z = 1.96.

    Args:
        hits: 0..n.
        n: How many answers there are.

    Returns:
        Both ends in 0..1; None for no answers.

    Reference:
        Wilson 1927, without a correction for continuity, as in scipy.
    """
    if n == 0:
        return None
    found = binomtest(hits, n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def binomial_p(hits: int, n: int) -> float | None:
    """Return the exact two-sided probability of a share at least as far from 1/2, were it 1/2.

    It takes the answers for independent, which those of one person are not: it is often too small.

    Returns:
        In 0..1; None for no answers.
    """
    return float(binomtest(hits, n).pvalue) if n else None


def cluster_bootstrap(
    statistic: Statistic, clusters: int, *, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """Return the bootstrap interval of a statistic when whole clusters are drawn with replacement.

    Percentile intervals of few clusters are too narrow: the bootstrap's variance is (n - 1)/n of
    what it should be, and it knows no Student's t. So the tail that is cut off is not 2.5 % but
    Φ(-√(n/(n - 1)) t), with t the 97.5 % point of Student's distribution with n - 1 degrees of
    freedom: 0.1 % for 5 clusters, 2.0 % for 40. The same seed draws the same clusters, so that
    intervals of several systems over the same persons are paired.

    Args:
        statistic: Of weighted clusters.
        clusters: How many there are.
        draws: How often `clusters` clusters are drawn.
        seed: Of the draws.

    Returns:
        The ends; None for fewer than `LEAST_CLUSTERS`, or where most draws have no value.

    Reference:
        Efron 1979; for the tail, Hesterberg 2015, "What Teachers Should Know About the Bootstrap",
        the expanded percentile interval.
    """
    if clusters < LEAST_CLUSTERS:
        return None
    rng = np.random.default_rng(seed)
    even = np.full(clusters, 1.0 / clusters)
    found = []
    for start in range(0, draws, _AT_ONCE):
        drawn = rng.multinomial(clusters, even, min(_AT_ONCE, draws - start))
        found.append(statistic(drawn.astype(np.float64)))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if 2 * len(values) < draws:
        return None
    tail = _tail(clusters)
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def _tail(clusters: int) -> float:
    """Return the share that the expanded percentile interval leaves out at each end."""
    point = float(t.ppf((1 + LEVEL) / 2, clusters - 1))
    return float(norm.cdf(-sqrt(clusters / (clusters - 1)) * point))


def ratio(hits: ArrayLike, n: ArrayLike) -> Statistic:
    """Return the statistic Σ hits / Σ n over the clusters drawn.

    Args:
        hits: Of each cluster, shape (clusters,).
        n: Likewise; a cluster may have 0.
    """
    of, out_of = np.asarray(hits, np.float64), np.asarray(n, np.float64)

    def statistic(drawn: Values) -> Values:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Values = (drawn @ of) / (drawn @ out_of)
        return found

    return statistic


@dataclass(frozen=True)
class Term:
    """A share of answers, with what it is multiplied by in a sum of shares."""

    hits: ArrayLike
    """Of each person, shape (persons,)."""
    n: ArrayLike
    """Answers of each person, likewise; a person may have none."""
    weight: float = 1.0


def clustered(*terms: Term, draws: int = DRAWS, seed: int = 0) -> Interval | None:
    """Return the interval of a weighted sum of shares, with persons as clusters: what counts.

    One term is a share; two with weights 1/2 are a mean, as HYPE-infinity; 1 and -1 a difference.
    It is the cluster bootstrap of Σ weight (Σ hits / Σ n), but never narrower than the interval of
    as many independent answers: persons who happen to agree, or of whom none was ever fooled,
    would else pretend a certainty that even independent answers do not give. Of one term that is
    Wilson's interval; of several, each end is as far from the sum as the root of the summed squares
    of what Wilson's ends are away from their shares, times the weights.

    Args:
        terms: Of the same persons in the same order.
        draws: Of the bootstrap.
        seed: Of the draws.

    Returns:
        The ends; None where a term has answers of fewer than `LEAST_CLUSTERS` persons.

    Reference:
        Zou and Donner 2008 (MOVER) for the least width of several terms.
    """
    hits = np.array([term.hits for term in terms], np.int64)
    n = np.array([term.n for term in terms], np.int64)
    weights = np.array([term.weight for term in terms])
    if np.count_nonzero(n, axis=1).min() < LEAST_CLUSTERS:
        return None
    took_part = n.any(axis=0)
    hits, n = hits[:, took_part], n[:, took_part]
    ratios = [ratio(*pair) for pair in zip(hits, n, strict=True)]

    def statistic(drawn: Values) -> Values:
        shares: Values = np.array([share(drawn) for share in ratios])
        return weights @ shares

    drawn = cluster_bootstrap(statistic, int(took_part.sum()), draws=draws, seed=seed)
    if drawn is None:
        return None
    share = hits.sum(axis=1) / n.sum(axis=1)
    pairs = zip(hits.sum(axis=1), n.sum(axis=1), strict=True)
    away = np.array([wilson(int(k), int(of)) for k, of in pairs]) - share[:, None]
    ends = np.sort(weights[:, None] * away, axis=1)  # a negative weight swaps them
    down, up = np.sqrt(np.square(ends).sum(axis=0))
    middle = float(weights @ share)
    return min(drawn[0], middle - float(down)), max(drawn[1], middle + float(up))


def clustered_mean(values: Sequence[float], *, draws: int = DRAWS) -> Interval | None:
    """Return the bootstrap interval of the mean of one number a person; None for too few."""
    return cluster_bootstrap(ratio(values, np.ones(len(values))), len(values), draws=draws)


def side_of_half(interval: Interval | None) -> str | None:
    """Return whether an interval lies `below` or `above` 1/2, or is `undecided`; None for none."""
    if interval is None:
        return None
    if interval[1] < 0.5:
        return "below"
    return "above" if interval[0] > 0.5 else "undecided"


def nominal_alpha(counts: ArrayLike) -> float | None:
    """Return Krippendorff's alpha of nominal answers: 1 for agreement, 0 for what chance gives.

    1 - observed / expected disagreement; answers may be missing, persons need not have seen the
    same pictures.

    Args:
        counts: How many persons gave each answer to each picture, shape (pictures, answers).

    Returns:
        At most 1, below 0 for less agreement than by chance; None where no picture has two answers,
        or all that can be paired are the same, as there is nothing to agree about.

    Reference:
        Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; the package krippendorff.
    """
    table = np.asarray(counts, np.int64)
    table = table[table.sum(axis=1) > 1] if table.size else np.zeros((0, 2), np.int64)
    if np.count_nonzero(table.sum(axis=0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=table, level_of_measurement="nominal"))


def spearman(x: ArrayLike, y: ArrayLike) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank.

    Returns:
        -1..1; None for fewer than three points, or where either is the same everywhere.

    Reference:
        Spearman 1904: Pearson's correlation of the ranks.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(first) < 3:
        return None
    (rho,) = _correlated(first, second, np.ones((1, len(first))))
    return float(rho) if np.isfinite(rho) else None


def spearman_interval(
    x: ArrayLike, y: ArrayLike, photos: Sequence[str], *, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """Return the bootstrap interval of Spearman's correlation, photos drawn with replacement.

    Pictures of one photo by several systems are drawn together.

    Args:
        x: Shape (pictures,).
        y: Likewise.
        photos: Which photo each picture is of.
        draws: Of the bootstrap.
        seed: Of the draws.

    Returns:
        The ends in -1..1; None for fewer than `LEAST_CLUSTERS` photos.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _, of = np.unique(photos, return_inverse=True)
    return cluster_bootstrap(
        lambda drawn: _correlated(first, second, drawn[:, of]),
        int(of.max(initial=-1)) + 1,
        draws=draws,
        seed=seed,
    )


def _correlated(x: Values, y: Values, times: Values) -> Values:
    """Return Spearman's correlation where each point is there several times.

    Args:
        x: Shape (points,).
        y: Likewise.
        times: How often each point is there, shape (draws, points).

    Returns:
        Shape (draws,); NaN where either is the same everywhere.
    """
    n = times.sum(axis=1, keepdims=True)
    a, b = (_ranks(values, times) - (n + 1) / 2 for values in (x, y))
    spread = np.sqrt((times * a * a).sum(axis=1) * (times * b * b).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Values = (times * a * b).sum(axis=1) / spread
    return np.clip(found, -1.0, 1.0)


def _ranks(values: Values, times: Values) -> Values:
    """Return the mean rank of each value among all, from 1 on; arguments as of `_correlated`."""
    distinct, of = np.unique(values, return_inverse=True)
    there = times @ (of[:, None] == np.arange(len(distinct)))  # how often each value is there
    up_to = np.cumsum(there, axis=1)
    ranks: Values = (up_to - there / 2 + 0.5)[:, of]
    return ranks


def modal_level(levels: Sequence[float]) -> float:
    """Return the level that a staircase was at most often: the threshold as HYPE-time takes it.

    Args:
        levels: Of one staircase, in order, at least one.

    Returns:
        In the unit of the levels; the mean of those that were equally often the most frequent.

    Reference:
        Zhou et al. 2019, section 2.1, which says nothing of ties.
    """
    values, times = np.unique(np.asarray(levels, np.float64), return_counts=True)
    return float(values[times == times.max()].mean())


def settled_mean(levels: Sequence[float], turns: int = SETTLING) -> float | None:
    """Return the mean level of a staircase after its first turns.

    In balance the weighted staircase goes down by 10 ms three times as often as up by 30 ms, around
    the level where 75 % of the answers are right. The mean uses all of its levels there, the mode
    only how often one was met, so the mean varies less.

    Args:
        levels: Of one staircase, in order.
        turns: How many to leave out. A turn is where a staircase that fell rises, or one that rose
            falls; to stay at one level, which only the bounds make it do, counts as one too.

    Returns:
        In the unit of the levels; None where there are fewer turns: it has not settled.

    Reference:
        Kaernbach 1991 for the weighted staircase.
    """
    found, before = 0, 0.0
    for i, move in enumerate(np.sign(np.diff(np.asarray(levels, np.float64)))):
        found += bool(move == 0 or move * before < 0)
        before = move or before
        if found == turns:
            return float(np.mean(levels[i:]))
    return None
