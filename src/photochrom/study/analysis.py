"""What came out of a study: from its answers to every number of the report, without any files."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from photochrom.study.answers import Answer
from photochrom.study.design import REAL, Item, Protocol, Study
from photochrom.study.exclusion import (
    check_answers,
    counted_answers,
    exclusion_rule,
    grouped,
    judge_people,
)
from photochrom.study.results import (
    AcrossSystems,
    Analysis,
    Correlation,
    Difference,
    Error,
    Evaluated,
    FoolingResult,
    Judged,
    PersonShare,
    PhotoResult,
    Preference,
    PreferenceResult,
    Reaction,
    Scores,
    Share,
    SystemResult,
    Threshold,
)
from photochrom.study.statistics import (
    Interval,
    Term,
    binomial_p,
    clustered,
    clustered_mean,
    modal_level,
    nominal_alpha,
    settled_mean,
    side_of_half,
    spearman,
    spearman_interval,
    wilson,
)

LEAST_SYSTEMS = 3
"""Fewer systems have no rank correlation that could say anything."""


def analyse(
    study: Study,
    answers: Sequence[Answer],
    *,
    scores: Scores | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
) -> Analysis:
    """Return every number of the report.

    Args:
        study: What was asked.
        answers: All that were given, of every kind, in any order.
        scores: What the metrics say of pictures; None: they were not measured.
        measured: What `photochrom evaluate` measured of systems, by name and metric; None: nothing.

    Raises:
        DataError: As `check_answers`.
    """
    check_answers(study, answers)
    people = judge_people(study, answers)
    kept = counted_answers(people, answers)
    order = [protocol for protocol in study.protocols if protocol != "preference"]
    fooling = tuple(
        _fooling(study, protocol, of, scores or {})
        for protocol in order
        if (of := [answer for answer in kept if answer.protocol == protocol])
    )
    preferences = [answer for answer in kept if answer.protocol == "preference"]
    times = sorted(answer.answered for answer in answers if answer.kind == "test")
    return Analysis(
        title=study.title,
        first_answer=times[0],
        last_answer=times[-1],
        rule=exclusion_rule(study),
        people=people,
        counted=sum(person.excluded is None for person in people),
        fooling=fooling,
        preference=_preference(study, preferences) if preferences else None,
        across=None if measured is None else _across(study, fooling, measured),
    )


def _term(
    answers: Iterable[Answer],
    hit: Callable[[Answer], bool],
    persons: Sequence[str],
    weight: float = 1.0,
) -> Term:
    """Return hits and numbers of answers of each person."""
    by_person = grouped(answers, lambda a: a.person)
    given = [by_person.get(person, []) for person in persons]
    hits = [sum(map(hit, some)) for some in given]
    return Term(hits, [len(some) for some in given], weight)


def _share(answers: Sequence[Answer], hit: Callable[[Answer], bool], *, half: bool = True) -> Share:
    """Return the share of hits; `half` says whether 1/2 is what guessing gives."""
    persons = sorted({answer.person for answer in answers})
    interval = clustered(_term(answers, hit, persons))
    hits, n, share, independent = _rate(answers, hit)
    return Share(
        hits,
        n,
        len(persons),
        share,
        independent,
        interval,
        side_of_half(interval) if half else None,
        binomial_p(hits, n) if half else None,
    )


def _rate(
    answers: Sequence[Answer], hit: Callable[[Answer], bool]
) -> tuple[int, int, float, Interval]:
    """Return hits, number, share and Wilson's interval of one answer or more."""
    hits, n = sum(map(hit, answers)), len(answers)
    interval = wilson(hits, n)
    assert interval is not None, "there are answers"
    return hits, n, hits / n, interval


def _fooled(answer: Answer) -> bool:
    return answer.fooled


def _wrong(answer: Answer) -> bool:
    return not answer.right


def _fooling(
    study: Study, protocol: Protocol, answers: Sequence[Answer], scores: Scores
) -> FoolingResult:
    persons = sorted({answer.person for answer in answers})
    by_system = grouped(answers, lambda a: a.system)
    real = by_system.get(REAL, [])
    judged = [system for system in study.systems if system in by_system]
    # The staircase of `timed` holds errors near 25 %, so 1/2 says nothing there.
    half = protocol != "timed"
    photos = _photos({item.id: item for item in study.items}, answers)
    return FoolingResult(
        protocol=protocol,
        answers=len(answers),
        persons=len(persons),
        systems=tuple(
            SystemResult(
                system=system,
                fooled=_share(by_system[system], _fooled, half=half),
                by_person=_by_person(by_system[system]),
                error=_error(by_system[system], real, half=half),
                threshold=_threshold(by_system[system], answers) if protocol == "timed" else None,
                agreement=_agreement(by_system[system]),
            )
            for system in judged
        ),
        false_alarms=_share(real, _wrong, half=half) if real else None,
        differences=tuple(
            _difference(one, other, by_system, persons) for one, other in combinations(judged, 2)
        ),
        first_chosen=_share(answers, lambda a: a.chosen == a.shown[0])
        if protocol == "pair"
        else None,
        agreement=_agreement(answers),
        reactions=tuple(
            found
            for system in (*judged, REAL)
            if (found := _reaction(system, by_system.get(system, [])))
        ),
        photos=photos,
        correlations=tuple(_correlations(photos, judged, scores)),
    )


def _by_person(answers: Sequence[Answer]) -> tuple[PersonShare, ...]:
    by_person = grouped(answers, lambda a: a.person)
    return tuple(PersonShare(person, *_rate(given, _fooled)) for person, given in by_person.items())


def _error(generated: Sequence[Answer], reals: Iterable[Answer], *, half: bool) -> Error | None:
    """Return wrong answers about one system's pictures and real ones, of those who judged both."""
    persons = sorted({answer.person for answer in generated})
    real = [answer for answer in reals if answer.person in persons]
    if not real:
        return None
    interval = clustered(_term(generated, _fooled, persons, 0.5), _term(real, _wrong, persons, 0.5))
    share = (sum(map(_fooled, generated)) / len(generated) + sum(map(_wrong, real)) / len(real)) / 2
    return Error(share, interval, side_of_half(interval) if half else None)


def _difference(
    one: str, other: str, by_system: Mapping[str, Sequence[Answer]], persons: Sequence[str]
) -> Difference:
    first, second = by_system[one], by_system[other]
    interval = clustered(_term(first, _fooled, persons), _term(second, _fooled, persons, -1.0))
    shares = [sum(map(_fooled, of)) / len(of) for of in (first, second)]
    return Difference(one, other, shares[0] - shares[1], interval)


def _threshold(generated: Iterable[Answer], answers: Iterable[Answer]) -> Threshold:
    """Return the threshold of one system: of those who saw its pictures, real ones between them.

    One person has one staircase, with the pictures of one system.
    """
    persons = {answer.person for answer in generated}
    modal, mean, unsettled = [], [], 0
    of = (answer for answer in answers if answer.person in persons)
    for given in grouped(of, lambda a: a.person).values():
        levels = [answer.asked_ms for answer in given if answer.asked_ms is not None]
        settled = settled_mean(levels)
        if settled is None:
            unsettled += 1
        else:
            mean.append(settled)
            modal.append(modal_level(levels))
    return Threshold(
        persons=len(mean),
        unsettled=unsettled,
        modal=float(np.mean(modal)) if modal else None,
        modal_interval=clustered_mean(modal),
        mean=float(np.mean(mean)) if mean else None,
        mean_interval=clustered_mean(mean),
    )


def _agreement(answers: Iterable[Answer]) -> float | None:
    """Return Krippendorff's alpha of what was said of each picture: fooled or not, right or not.

    Of one picture being right is as good as naming what was said, as its truth is always the same;
    over several, what was said of a real photo is the opposite of what was said of a fake.
    """
    said: dict[Judged, Counter[bool]] = {}
    for answer in answers:
        called_real = answer.right == (answer.system == REAL)
        said.setdefault((answer.item, answer.system), Counter())[called_real] += 1
    return nominal_alpha([[count[True], count[False]] for count in said.values()])


def _quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


def _reaction(system: str, answers: Iterable[Answer]) -> Reaction | None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for answer in answers:
        if answer.reaction_ms is not None:
            times[answer.right].append(answer.reaction_ms)
    both = times[True] + times[False]
    if not both:
        return None
    right, wrong = (float(np.median(of)) if of else None for of in (times[True], times[False]))
    return Reaction(system, len(both), _quartiles(both), right, wrong)


def _photos(items: Mapping[str, Item], answers: Iterable[Answer]) -> tuple[PhotoResult, ...]:
    found = []
    generated = (answer for answer in answers if answer.system != REAL)
    for (item, system), given in grouped(generated, lambda a: (a.item, a.system)).items():
        found.append(PhotoResult(item, items[item].name, system, *_rate(given, _fooled)))
    # By what is sure of each: one answer alone puts no picture at the top.
    return tuple(sorted(found, key=lambda p: (-p.wilson[0], -p.share, p.name, p.item, p.system)))


def extremes(
    photos: Sequence[PhotoResult], shown: int
) -> tuple[list[PhotoResult], list[PhotoResult]]:
    """Return the pictures that fooled most and least, none in both.

    Args:
        photos: As of `FoolingResult.photos`.
        shown: At most so many of each.

    Returns:
        The most by the lower end of Wilson's interval, the least by the upper end.
    """
    most = list(photos[: min(shown, (len(photos) + 1) // 2)])
    rest = [photo for photo in photos if photo not in most]
    rest.sort(key=lambda p: (p.wilson[1], p.share, p.name, p.item, p.system))
    return most, rest[: min(shown, len(photos) // 2)]


def _correlations(
    photos: Sequence[PhotoResult], systems: Sequence[str], scores: Scores
) -> Iterable[Correlation]:
    """Yield a correlation for each metric, of all systems together and, if several, of each."""
    metrics = dict.fromkeys(metric for values in scores.values() for metric in values)
    for metric in metrics:
        for system in (None, *(systems if len(systems) > 1 else ())):
            points = [
                (photo.item, scores[photo.item, photo.system][metric], photo.share)
                for photo in sorted(photos, key=lambda p: (p.item, p.system))
                if system in (None, photo.system)
                and metric in scores.get((photo.item, photo.system), {})
            ]
            if not points:
                continue
            of, score, share = zip(*points, strict=True)
            rho = spearman(score, share)
            interval = None if rho is None else spearman_interval(score, share, of)
            yield Correlation(metric, system, len(points), rho, interval)


def _preference(study: Study, answers: Sequence[Answer]) -> PreferenceResult:
    pairs = []
    by_pair = grouped(answers, lambda a: frozenset(a.shown))
    for first, second in combinations((*study.systems, REAL), 2):
        given = by_pair.get(frozenset((first, second)))
        if not given:
            continue
        said = grouped(given, lambda a: a.item).values()
        counts = [
            [sum(a.chosen == system for a in of) for system in (first, second)] for of in said
        ]
        preferred = _share(given, lambda a, first=first: a.chosen == first)  # type: ignore[misc]
        pairs.append(Preference(first, second, preferred, nominal_alpha(counts)))
    times = [answer.reaction_ms for answer in answers if answer.reaction_ms is not None]
    return PreferenceResult(
        answers=len(answers),
        persons=len({answer.person for answer in answers}),
        pairs=tuple(pairs),
        left_chosen=_share(answers, lambda a: a.chosen == a.shown[0]),
        reaction=_quartiles(times) if times else None,
    )


def _across(
    study: Study,
    fooling: Sequence[FoolingResult],
    measured: Mapping[str, Mapping[str, float]],
) -> AcrossSystems:
    realism: dict[str, dict[Protocol, float | None]] = {system: {} for system in study.systems}
    for result in fooling:
        for found in result.systems:
            threshold = found.threshold
            value = found.fooled.share if threshold is None else threshold.mean
            realism[found.system][result.protocol] = value
    systems = tuple(
        Evaluated(system, realism[system], dict(measured.get(system, {})))
        for system in study.systems
    )
    matched = sum(bool(found.measured) for found in systems)
    rho: dict[Protocol, dict[str, float | None]] = {}
    metrics = dict.fromkeys(metric for found in systems for metric in found.measured)
    for protocol in (result.protocol for result in fooling if matched >= LEAST_SYSTEMS):
        rho[protocol] = {}
        for metric in metrics:
            points = [
                (found.measured[metric], real)
                for found in systems
                if metric in found.measured and (real := found.realism.get(protocol)) is not None
            ]
            rho[protocol][metric] = spearman(*zip(*points, strict=True)) if points else None
    return AcrossSystems(systems, matched, rho)
