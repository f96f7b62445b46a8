"""What came out of a study: from its answers to every number of the report, without any files."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np

from photochrom.errors import DataError
from photochrom.study.answers import Answer
from photochrom.study.design import REAL, Item, Protocol, Study
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

Judged = tuple[str, str]
"""The id of a photo and the system that colorized it: one picture that people judged."""
Scores = Mapping[Judged, Mapping[str, float]]
"""Of pictures, by the names of `photochrom.darkroom.metrics.METRICS`."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Person:
    """One who took part, and whether the answers count."""

    person: str
    tests: int
    checks: int
    missed: int
    excluded: str | None
    """Why the answers do not count; None: they do."""


@dataclass(frozen=True)
class Share:
    """A share of answers."""

    hits: int
    n: int
    persons: int
    share: float
    wilson: Interval
    """As if all answers were independent."""
    clustered: Interval | None
    """With persons as clusters: the interval that counts. None for too few persons."""
    half: str | None
    """Where the clustered interval lies: `below` 1/2, `above`, or `undecided`; None without one, or
    where 1/2 means nothing."""
    p: float | None
    """Exact binomial against 1/2, as if all answers were independent; None where 1/2 means nothing.
    """


@dataclass(frozen=True)
class PersonShare:
    """A share of the answers of one person about one system."""

    person: str
    hits: int
    n: int
    share: float
    wilson: Interval


@dataclass(frozen=True)
class Error:
    """Wrong answers about real and generated pictures: the HYPE-infinity score."""

    share: float
    """The mean of the share of generated pictures called real and of real ones called generated."""
    clustered: Interval | None
    half: str | None


@dataclass(frozen=True)
class Threshold:
    """How long pictures have to be seen until 75 % of the answers are right, in ms."""

    persons: int
    """Whose staircases have settled."""
    unsettled: int
    """Whose have not, so that they do not count."""
    modal: float | None
    """The mean over persons of the level that a person was at most often, as HYPE-time has it."""
    modal_interval: Interval | None
    mean: float | None
    """The mean over persons of the mean level after a person's first turns."""
    mean_interval: Interval | None


@dataclass(frozen=True)
class Reaction:
    """Times from the question to the answer, in ms."""

    system: str
    """`REAL` among them."""
    n: int
    quartiles: tuple[float, float, float]
    right: float | None
    """Median where the answer was true; None: there was none such."""
    wrong: float | None


@dataclass(frozen=True)
class SystemResult:
    """What one protocol says of one system."""

    system: str
    fooled: Share
    """Fooling rate: generated pictures that were called real, of all that were judged."""
    by_person: tuple[PersonShare, ...]
    error: Error | None
    """Of `single` and `timed`, where real photos were judged too."""
    threshold: Threshold | None
    """Of `timed`."""
    agreement: float | None
    """Krippendorff's alpha over this system's pictures: whether the same ones fool everybody."""


@dataclass(frozen=True)
class Difference:
    """How much more often the first system fooled people than the second."""

    first: str
    second: str
    difference: float
    clustered: Interval | None


@dataclass(frozen=True)
class PhotoResult:
    """How often one picture fooled people."""

    item: str
    name: str
    system: str
    hits: int
    n: int
    share: float
    wilson: Interval


@dataclass(frozen=True)
class Correlation:
    """Whether pictures that score well fool people."""

    metric: str
    system: str | None
    """None: the pictures of all systems together."""
    pictures: int
    rho: float | None
    """Spearman's; None: undefined."""
    interval: Interval | None
    """Over photos."""


@dataclass(frozen=True)
class FoolingResult:
    """What came out of `pair`, `single` or `timed`."""

    protocol: Protocol
    answers: int
    persons: int
    systems: tuple[SystemResult, ...]
    """In the study's order, without those that nobody judged."""
    false_alarms: Share | None
    """Of `single` and `timed`: real photos that were called generated."""
    differences: tuple[Difference, ...]
    first_chosen: Share | None
    """Of `pair`: how often the one shown first was called generated."""
    agreement: float | None
    """Krippendorff's alpha over all pictures, real ones among them."""
    reactions: tuple[Reaction, ...]
    photos: tuple[PhotoResult, ...]
    """Of every picture that was judged; those that fooled most, as far as can be known, first."""
    correlations: tuple[Correlation, ...]


@dataclass(frozen=True)
class Preference:
    """How often the first of two systems was preferred."""

    first: str
    second: str
    preferred: Share
    agreement: float | None
    """Krippendorff's alpha over photos."""


@dataclass(frozen=True)
class PreferenceResult:
    """What came out of `preference`."""

    answers: int
    persons: int
    pairs: tuple[Preference, ...]
    left_chosen: Share
    """How often the one on the left was preferred, whichever it was."""
    reaction: tuple[float, float, float] | None
    """Quartiles in ms; None: no times."""


@dataclass(frozen=True)
class Evaluated:
    """A system beside what `photochrom evaluate` measured of it."""

    system: str
    realism: dict[Protocol, float | None]
    """The fooling rate; of `timed`, whose rates the staircase holds, the threshold in ms."""
    measured: dict[str, float]
    """By metric; empty where metrics.json does not have the system."""


@dataclass(frozen=True)
class AcrossSystems:
    """Fooling rates of systems beside the metrics that `photochrom evaluate` measured of them."""

    systems: tuple[Evaluated, ...]
    matched: int
    """How many systems metrics.json has by name."""
    rho: dict[Protocol, dict[str, float | None]]
    """Spearman's over systems, by metric; empty for fewer than `LEAST_SYSTEMS`."""


@dataclass(frozen=True)
class Analysis:
    """All that the report says."""

    title: str
    first_answer: str
    """ISO 8601."""
    last_answer: str
    rule: str
    """Who is excluded, in words."""
    people: tuple[Person, ...]
    counted: int
    """How many are not excluded."""
    fooling: tuple[FoolingResult, ...]
    preference: PreferenceResult | None
    across: AcrossSystems | None
    """None: no metrics.json was given."""


LEAST_SYSTEMS = 3
"""Fewer systems have no rank correlation that could say anything."""


def exclusion_rule(study: Study) -> str:
    """Return who does not count, as a sentence."""
    least = f"answered fewer than {_counted(study.least_trials, 'test')}"
    if not study.checks:
        return f"Who {least} does not count."
    misses = f"more than {study.allowed_misses}" if study.allowed_misses else "any"
    return (
        f"Who got {misses} of the checks wrong (an obvious fake among the trials), or {least}, "
        "does not count."
    )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def numbered(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers with numbers for ids, in the order in which people began: 01, 02, ...

    A person's id is the cookie with which the study goes on, so nothing that is passed on has it.
    """
    given = sorted(answers, key=lambda a: (a.answered, a.person, a.number))
    ids = list(dict.fromkeys(answer.person for answer in given))
    digits = len(str(len(ids)))
    names = {person: f"{i:0{digits}}" for i, person in enumerate(ids, 1)}
    return [replace(answer, person=names[answer.person]) for answer in given]


def judge_people(study: Study, answers: Iterable[Answer]) -> tuple[Person, ...]:
    """Return everybody who answered anything, by id, and whether the answers count."""
    people = []
    for person, given in sorted(_grouped(answers, lambda a: a.person).items()):
        tests = sum(answer.kind == "test" for answer in given)
        checks = sum(answer.kind == "check" for answer in given)
        missed = sum(answer.missed for answer in given)
        reasons = []
        if missed > study.allowed_misses:
            reasons.append(f"missed {missed} of {_counted(checks, 'check')}")
        if tests < study.least_trials:
            reasons.append(f"answered {_counted(tests, 'test')}")
        people.append(Person(person, tests, checks, missed, " and ".join(reasons) or None))
    return tuple(people)


def counted_answers(people: Iterable[Person], answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers that are analysed: the tests of those who are not excluded, in order."""
    count = {person.person for person in people if person.excluded is None}
    kept = [a for a in answers if a.kind == "test" and a.person in count]
    return sorted(kept, key=lambda a: (a.person, a.number))


def judged_pictures(answers: Iterable[Answer]) -> list[Judged]:
    """Return the generated pictures that people called real or generated, in order."""
    kept = (a for a in answers if a.protocol != "preference" and a.system != REAL)
    return sorted({(a.item, a.system) for a in kept})


def check_answers(study: Study, answers: Iterable[Answer]) -> None:
    """Refuse answers of which there is nothing to report.

    Raises:
        DataError: If nobody has answered a test yet, or an answer is about a photo or a system that
            the study does not have.
    """
    tests = [answer for answer in answers if answer.kind == "test"]
    if not tests:
        raise DataError(
            f"nobody has answered a test of {study.title!r} yet; serve the study, let people take "
            "part, and ask for the report then"
        )
    pictures = {item.id: item.pictures for item in study.items}
    for answer in tests:
        if not set(answer.shown) <= pictures.get(answer.item, {}).keys():
            raise DataError(
                f"an answer is about photo {answer.item} by {' and '.join(answer.shown)}, which "
                f"{study.title!r} does not have; give the folder of the study that was answered"
            )


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


def _grouped(answers: Iterable[Answer], key: Callable[[Answer], Key]) -> dict[Key, list[Answer]]:
    """Return the answers by key, keys and answers in the order in which they come."""
    groups: dict[Key, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return groups


def _term(
    answers: Iterable[Answer],
    hit: Callable[[Answer], bool],
    persons: Sequence[str],
    weight: float = 1.0,
) -> Term:
    """Return hits and numbers of answers of each person."""
    by_person = _grouped(answers, lambda a: a.person)
    given = [by_person.get(person, []) for person in persons]
    hits = [sum(map(hit, some)) for some in given]
    return Term(hits, [len(some) for some in given], weight)


def _share(answers: Sequence[Answer], hit: Callable[[Answer], bool], *, half: bool = True) -> Share:
    """Return the share of hits; `half` says whether 1/2 is what guessing gives."""
    persons = sorted({answer.person for answer in answers})
    hits, n = sum(map(hit, answers)), len(answers)
    interval = clustered(_term(answers, hit, persons))
    independent = wilson(hits, n)
    assert independent is not None, "a share has answers"
    return Share(
        hits,
        n,
        len(persons),
        hits / n,
        independent,
        interval,
        side_of_half(interval) if half else None,
        binomial_p(hits, n) if half else None,
    )


def _fooled(answer: Answer) -> bool:
    return answer.fooled


def _wrong(answer: Answer) -> bool:
    return not answer.right


def _fooling(
    study: Study, protocol: Protocol, answers: Sequence[Answer], scores: Scores
) -> FoolingResult:
    persons = sorted({answer.person for answer in answers})
    by_system = _grouped(answers, lambda a: a.system)
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
    found = []
    for person, given in _grouped(answers, lambda a: a.person).items():
        hits, n = sum(map(_fooled, given)), len(given)
        interval = wilson(hits, n)
        assert interval is not None, "a group has answers"
        found.append(PersonShare(person, hits, n, hits / n, interval))
    return tuple(found)


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
    for given in _grouped(of, lambda a: a.person).values():
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
    for (item, system), given in _grouped(generated, lambda a: (a.item, a.system)).items():
        hits, n = sum(map(_fooled, given)), len(given)
        interval = wilson(hits, n)
        assert interval is not None, "a group has answers"
        name = items[item].name
        found.append(PhotoResult(item, name, system, hits, n, hits / n, interval))
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
    by_pair = _grouped(answers, lambda a: frozenset(a.shown))
    for first, second in combinations((*study.systems, REAL), 2):
        given = by_pair.get(frozenset((first, second)))
        if not given:
            continue
        said = _grouped(given, lambda a: a.item).values()
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
