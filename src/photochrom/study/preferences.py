"""The results of the protocol that asks which of two images is better."""

from collections.abc import Sequence
from itertools import combinations

from photochrom.study.answers import Response
from photochrom.study.design import REAL, Study
from photochrom.study.exclusion import group_by
from photochrom.study.rates import chose, participants_of, photo_of, proportion, quantiles, term_of
from photochrom.study.results import PairPreference, PreferenceResult
from photochrom.study.statistics import clustered_interval, nominal_alpha


def analyse_preference(study: Study, responses: Sequence[Response]) -> PreferenceResult:
    """Return how often each system was preferred to each other one."""
    pairs = []
    by_pair = group_by(responses, lambda r: frozenset(r.shown))
    for first, second in combinations((*study.systems, REAL), 2):
        given = by_pair.get(frozenset((first, second)))
        if not given:
            continue
        counts = [
            [sum(r.chosen == system for r in of_item) for system in (first, second)]
            for of_item in group_by(given, lambda r: r.item).values()
        ]
        is_hit = chose(first)
        photos = sorted(set(map(photo_of, given)))
        by_photo = clustered_interval(term_of(given, is_hit, photos, cluster_of=photo_of))
        preferred = proportion(given, is_hit)
        pairs.append(PairPreference(first, second, preferred, by_photo, nominal_alpha(counts)))
    times = [response.reaction_ms for response in responses if response.reaction_ms is not None]
    return PreferenceResult(
        n_responses=len(responses),
        n_participants=len(participants_of(responses)),
        pairs=tuple(pairs),
        left_chosen=proportion(responses, lambda r: r.chosen == r.shown[0]),
        reaction=quantiles(times) if times else None,
    )
