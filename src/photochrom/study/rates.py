"""Proportions of responses, with intervals over participants."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from photochrom.study.answers import Response
from photochrom.study.results import Proportion
from photochrom.study.statistics import (
    Interval,
    Term,
    binomial_p,
    clustered_interval,
    compare_with_half,
    wilson,
)


def participants_of(responses: Iterable[Response]) -> list[str]:
    """Return the participants who gave responses, sorted."""
    return sorted({response.person for response in responses})


def participant_of(response: Response) -> str:
    """Return the participant, as the cluster of a response."""
    return response.person


def photo_of(response: Response) -> str:
    """Return the photo, as the cluster of a response."""
    return response.item


def term_of(
    responses: Sequence[Response],
    is_hit: Callable[[Response], bool],
    clusters: Sequence[str],
    weight: float = 1.0,
    *,
    cluster_of: Callable[[Response], str] = participant_of,
) -> Term:
    """Return hits and responses of each cluster, with a weight, for `clustered_interval`."""
    hits = Counter(cluster_of(response) for response in responses if is_hit(response))
    n = Counter(map(cluster_of, responses))
    return Term([hits[c] for c in clusters], [n[c] for c in clusters], weight)


def proportion(
    responses: Sequence[Response], is_hit: Callable[[Response], bool], *, chance: bool = True
) -> Proportion:
    """Return the proportion of hits; `chance` tells whether 1/2 is chance level."""
    participants = participants_of(responses)
    interval = clustered_interval(term_of(responses, is_hit, participants))
    hits, n, share, independent = wilson_proportion(responses, is_hit)
    return Proportion(
        hits,
        n,
        len(participants),
        share,
        independent,
        interval,
        compare_with_half(interval) if chance else None,
        binomial_p(hits, n) if chance else None,
    )


def wilson_proportion(
    responses: Sequence[Response], is_hit: Callable[[Response], bool]
) -> tuple[int, int, float, Interval]:
    """Return hits, n, proportion and Wilson's interval."""
    hits, n = sum(map(is_hit, responses)), len(responses)
    return hits, n, hits / n, wilson(hits, n)


def is_fooled(response: Response) -> bool:
    """Return whether a generated image was called real."""
    return response.fooled


def is_incorrect(response: Response) -> bool:
    """Return whether real and generated were confused."""
    return not response.correct


def chose(system: str) -> Callable[[Response], bool]:
    """Return a function that tells whether a response chose the image of a system."""
    return lambda response: response.chosen == system


def share_of_hits(responses: Sequence[Response], is_hit: Callable[[Response], bool]) -> float:
    """Return the proportion of hits, of at least one response."""
    return sum(map(is_hit, responses)) / len(responses)


def quantiles(
    values: Sequence[float], lower: float = 0.25, upper: float = 0.75
) -> tuple[float, float, float]:
    """Return the lower quantile, the median and the upper quantile."""
    low, median, high = np.quantile(values, [lower, 0.5, upper])
    return float(low), float(median), float(high)
