"""Computes the results of a study from its responses."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from photochrom.study.answers import Response
from photochrom.study.design import OBVIOUS, REAL, Protocol, Study
from photochrom.study.exclusion import (
    apply_exclusion,
    check_responses,
    describe_exclusion,
    exclusion_criteria,
    group_by,
    is_early,
    select_responses,
)
from photochrom.study.results import (
    Analysis,
    ColorVisionEffect,
    ColorVisionResult,
    Correlation,
    Difference,
    Display,
    ErrorRate,
    Estimate,
    ExclusionCount,
    Exposure,
    Flow,
    FoolingResult,
    ImageKey,
    ImageResult,
    MetricsComparison,
    PairPreference,
    Participant,
    ParticipantProportion,
    PhotoCounts,
    PreferenceResult,
    Proportion,
    ResponseTimes,
    Scaling,
    ScalingName,
    Scores,
    SystemComparison,
    SystemResult,
    Threshold,
    TrialCounts,
)
from photochrom.study.statistics import (
    Interval,
    Term,
    binomial_p,
    clustered_interval,
    compare_with_half,
    converged_mean,
    mean_interval,
    modal_level,
    nominal_alpha,
    spearman,
    spearman_interval,
    wilson,
)
from photochrom.study.store import Enrolment

MIN_RESPONSES = 5
"""Default for the minimum number of responses to an image that is listed."""
SCALE_TOLERANCE = 0.01
"""Relative tolerance of an image shown at its own pixels."""
MIN_SYSTEMS = 3
"""Minimum number of systems for a rank correlation over systems."""


def analyse(
    study: Study,
    responses: Sequence[Response],
    *,
    enrolment: Enrolment | None = None,
    scores: Scores | None = None,
    system_metrics: Mapping[str, Mapping[str, float]] | None = None,
) -> Analysis:
    """Compute all results.

    Args:
        study: The study.
        responses: All responses, practice trials and attention checks included.
        enrolment: The numbers of participants and trials, from the same moment.
        scores: Metrics of images.
        system_metrics: Means from `photochrom evaluate`, by system and metric.

    Raises:
        DataError: As `check_responses`.
    """
    check_responses(study, responses)
    participants = apply_exclusion(study, responses)
    staircases = select_responses(participants, responses)
    included = [response for response in staircases if not is_early(study, response)]
    by_protocol = group_by(included, lambda r: r.protocol)
    fooling = tuple(
        _analyse_fooling(study, protocol, by_protocol[protocol], staircases, scores or {})
        for protocol in study.protocols
        if protocol in by_protocol and protocol != "preference"
    )
    preferences = by_protocol.get("preference")
    times = [response.answered for response in responses if response.kind == "test"]
    return Analysis(
        title=study.title,
        first_answer=min(times),
        last_answer=max(times),
        rule=describe_exclusion(study),
        people=participants,
        counted=sum(participant.excluded is None for participant in participants),
        flow=None if enrolment is None else _flow(study, participants, enrolment),
        trials=() if enrolment is None else tuple(_trial_counts(study, enrolment, responses)),
        pictures=_photo_counts(study),
        exposures=tuple(_exposures(study, by_protocol)),
        displays=tuple(_displays(study, included)),
        scalings=tuple(_scalings(study, included)),
        color_vision=_analyse_color_vision(study, participants, responses),
        fooling=fooling,
        preference=_analyse_preference(study, preferences) if preferences else None,
        across=None
        if system_metrics is None
        else _compare_with_metrics(study, fooling, system_metrics),
    )


def _flow(study: Study, participants: Sequence[Participant], enrolment: Enrolment) -> Flow:
    began = len(participants)
    analysed = sum(participant.excluded is None for participant in participants)
    return Flow(
        consented=enrolment.consented,
        withdrawn=enrolment.withdrawn,
        silent=enrolment.consented - enrolment.withdrawn - began,
        began=began,
        unfinished=began - enrolment.finished,
        excluded=began - analysed,
        criteria=tuple(
            ExclusionCount(text, sum(criterion in p.criteria for p in participants))
            for criterion, text in exclusion_criteria(study).items()
        ),
        analysed=analysed,
    )


def _trial_counts(
    study: Study, enrolment: Enrolment, responses: Iterable[Response]
) -> Iterable[TrialCounts]:
    early = Counter(response.protocol for response in responses if is_early(study, response))
    for protocol in study.protocols:
        answered, void, unanswered = (
            enrolment.trials.get((protocol, outcome), 0)
            for outcome in ("answered", "void", "unanswered")
        )
        repeated = enrolment.repeated.get(protocol, 0)
        yield TrialCounts(protocol, answered, repeated, void, unanswered, early[protocol])


def _photo_counts(study: Study) -> PhotoCounts:
    real = [item.pictures for item in study.items if REAL in item.pictures]
    obvious = sum(OBVIOUS in pictures for pictures in real)
    skipped = None if study.skipped is None else dict(study.skipped)
    return PhotoCounts(len(real) - obvious, obvious, len(study.items) - len(real), skipped)


def _exposures(
    study: Study, by_protocol: Mapping[Protocol, Sequence[Response]]
) -> Iterable[Exposure]:
    asked = 1000 * study.seconds
    pairs, timed = by_protocol.get("pair", ()), by_protocol.get("timed", ())
    times: tuple[tuple[Protocol, int, list[tuple[float | None, float | None]]], ...] = (
        ("pair", 1, [(r.exposure_ms, asked) for r in pairs]),
        ("pair", 2, [(r.second_exposure_ms, asked) for r in pairs]),
        ("timed", 1, [(r.exposure_ms, r.asked_ms) for r in timed]),
    )
    for protocol, image, exposures in times:
        errors = [a - b for a, b in exposures if a is not None and b is not None]
        if exposures:
            yield Exposure(
                protocol,
                image,
                len(errors),
                len(exposures) - len(errors),
                _quantiles(errors, 0.025, 0.975) if errors else None,
                max(errors, key=abs, default=None),
            )


def _scales(study: Study, responses: Iterable[Response]) -> Iterable[tuple[Response, float]]:
    """Yield responses with the number of screen pixels per pixel of the image."""
    widths = {item.id: item.width for item in study.items}
    for response in responses:
        if response.image_width is not None and response.pixel_ratio is not None:
            yield response, response.image_width * response.pixel_ratio / widths[response.item]


def _displays(study: Study, responses: Iterable[Response]) -> Iterable[Display]:
    scales = list(_scales(study, responses))
    for person in _participants(response for response, _ in scales):
        own = [(response, scale) for response, scale in scales if response.person == person]
        viewports = [(r.viewport_width or 0, r.viewport_height or 0) for r, _ in own]
        yield Display(
            person,
            len(own),
            tuple(dict.fromkeys(viewports)),
            tuple(dict.fromkeys(r.pixel_ratio or 0 for r, _ in own)),
            (min(scale for _, scale in own), max(scale for _, scale in own)),
        )


def _scalings(study: Study, responses: Iterable[Response]) -> Iterable[Scaling]:
    scales = list(_scales(study, responses))
    low, high = 1 - SCALE_TOLERANCE, 1 + SCALE_TOLERANCE
    ranges: dict[ScalingName, tuple[float, float]] = {
        "reduced": (0, low),
        "unscaled": (low, high),
        "enlarged": (high, np.inf),
    }
    for scaling, (low, high) in ranges.items():
        own = [response for response, scale in scales if low <= scale < high]
        yield Scaling(scaling, len(own), len(_participants(own)))


def _analyse_color_vision(
    study: Study, participants: Sequence[Participant], responses: Sequence[Response]
) -> ColorVisionResult | None:
    if study.color_vision == "unasked":
        return None
    answers = Counter(participant.color_vision or "unanswered" for participant in participants)
    # Whom only a deficiency excludes counts as included here.
    attentive = [
        replace(p, excluded=None) for p in participants if set(p.criteria) <= {"color_vision"}
    ]
    normal = [p for p in attentive if p.color_vision != "deficient"]
    effects = []
    if len(normal) < len(attentive):
        everybody = _estimates(study, select_responses(attentive, responses))
        without = _estimates(study, select_responses(normal, responses))
        effects = [
            ColorVisionEffect(*key, estimate, without.get(key, Estimate(None, 0, None)))
            for key, estimate in everybody.items()
        ]
    return ColorVisionResult(dict(sorted(answers.items())), tuple(effects))


def _estimates(
    study: Study, staircases: Sequence[Response]
) -> dict[tuple[Protocol, str, str | None], Estimate]:
    """Return the main result of each system, by protocol, system and the other system."""
    estimates: dict[tuple[Protocol, str, str | None], Estimate] = {}
    included = [response for response in staircases if not is_early(study, response)]
    for protocol, given in group_by(included, lambda r: r.protocol).items():
        if protocol == "preference":
            for pair in _analyse_preference(study, given).pairs:
                rate = pair.preferred
                estimate = Estimate(rate.share, rate.n, rate.clustered)
                estimates[protocol, pair.first, pair.second] = estimate
            continue
        by_system = group_by(given, lambda r: r.system)
        for system in (system for system in study.systems if system in by_system):
            own = by_system[system]
            if protocol == "timed":
                threshold = _threshold(own, staircases)
                estimate = Estimate(threshold.mean, len(own), threshold.mean_interval)
            else:
                rate = _proportion(own, _fooled)
                estimate = Estimate(rate.share, rate.n, rate.clustered)
            estimates[protocol, system, None] = estimate
    return estimates


def _participants(responses: Iterable[Response]) -> list[str]:
    return sorted({response.person for response in responses})


def _participant(response: Response) -> str:
    return response.person


def _photo(response: Response) -> str:
    return response.item


def _term(
    responses: Sequence[Response],
    is_hit: Callable[[Response], bool],
    clusters: Sequence[str],
    weight: float = 1.0,
    *,
    cluster_of: Callable[[Response], str] = _participant,
) -> Term:
    hits = Counter(cluster_of(response) for response in responses if is_hit(response))
    n = Counter(map(cluster_of, responses))
    return Term([hits[c] for c in clusters], [n[c] for c in clusters], weight)


def _proportion(
    responses: Sequence[Response], is_hit: Callable[[Response], bool], *, chance: bool = True
) -> Proportion:
    """Return the proportion of hits; `chance` tells whether 1/2 is chance level."""
    participants = _participants(responses)
    interval = clustered_interval(_term(responses, is_hit, participants))
    hits, n, share, independent = _wilson_proportion(responses, is_hit)
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


def _wilson_proportion(
    responses: Sequence[Response], is_hit: Callable[[Response], bool]
) -> tuple[int, int, float, Interval]:
    """Return hits, n, proportion and Wilson's interval."""
    hits, n = sum(map(is_hit, responses)), len(responses)
    return hits, n, hits / n, wilson(hits, n)


def _fooled(response: Response) -> bool:
    return response.fooled


def _incorrect(response: Response) -> bool:
    return not response.correct


def _chose(system: str) -> Callable[[Response], bool]:
    return lambda response: response.chosen == system


def _analyse_fooling(
    study: Study,
    protocol: Protocol,
    responses: Sequence[Response],
    staircases: Sequence[Response],
    scores: Scores,
) -> FoolingResult:
    """Compute the results of a protocol.

    Args:
        study: The study.
        protocol: The protocol.
        responses: Those of the protocol.
        staircases: Those of the included participants, early ones as well, as these moved the
            staircases too.
        scores: Metrics of images.
    """
    by_system = group_by(responses, lambda r: r.system)
    real = by_system.get(REAL, [])
    systems = [system for system in study.systems if system in by_system]
    # The staircase of `timed` keeps errors near 25 %, so 1/2 is not chance level.
    chance = protocol != "timed"
    images = _image_results(study, responses)
    return FoolingResult(
        protocol=protocol,
        answers=len(responses),
        persons=len(_participants(responses)),
        systems=tuple(
            SystemResult(
                system=system,
                fooled=_proportion(by_system[system], _fooled, chance=chance),
                by_person=tuple(
                    ParticipantProportion(participant, *_wilson_proportion(given, _fooled))
                    for participant, given in group_by(
                        by_system[system], lambda r: r.person
                    ).items()
                ),
                error=_error_rate(by_system[system], real, chance=chance),
                threshold=_threshold(by_system[system], staircases)
                if protocol == "timed"
                else None,
                agreement=_agreement(by_system[system]),
            )
            for system in systems
        ),
        false_alarms=_proportion(real, _incorrect, chance=chance) if real else None,
        differences=tuple(
            _difference(first, second, by_system) for first, second in combinations(systems, 2)
        ),
        first_chosen=_proportion(responses, lambda r: r.chosen == r.shown[0])
        if protocol == "pair"
        else None,
        agreement=_agreement(responses),
        reactions=tuple(
            times
            for system in (*systems, REAL)
            if (times := _response_times(system, by_system.get(system, [])))
        ),
        photos=images,
        correlations=tuple(_correlations(images, systems, scores)),
    )


def _error_rate(
    generated: Sequence[Response], real: Iterable[Response], *, chance: bool
) -> ErrorRate | None:
    """Return the HYPE-infinity score, over participants with responses to both."""
    participants = _participants(generated)
    real = [response for response in real if response.person in participants]
    if not real:
        return None
    interval = clustered_interval(
        _term(generated, _fooled, participants, 0.5), _term(real, _incorrect, participants, 0.5)
    )
    fooling_rate, false_alarm_rate = _mean(generated, _fooled), _mean(real, _incorrect)
    side = compare_with_half(interval) if chance else None
    return ErrorRate((fooling_rate + false_alarm_rate) / 2, interval, side)


def _mean(responses: Sequence[Response], is_hit: Callable[[Response], bool]) -> float:
    return sum(map(is_hit, responses)) / len(responses)


def _difference(first: str, second: str, by_system: Mapping[str, Sequence[Response]]) -> Difference:
    a, b = by_system[first], by_system[second]
    by_participant, by_photo = (
        clustered_interval(
            _term(a, _fooled, clusters, cluster_of=cluster_of),
            _term(b, _fooled, clusters, -1.0, cluster_of=cluster_of),
        )
        for cluster_of in (_participant, _photo)
        for clusters in [sorted(set(map(cluster_of, [*a, *b])))]
    )
    difference = _mean(a, _fooled) - _mean(b, _fooled)
    return Difference(first, second, difference, by_participant, by_photo)


def _threshold(generated: Iterable[Response], staircases: Iterable[Response]) -> Threshold:
    """Return the threshold of a system.

    A participant has one staircase, over images of one system and real ones.
    """
    participants = {response.person for response in generated}
    modes, means, not_converged = [], [], 0
    relevant = (
        response
        for response in staircases
        if response.protocol == "timed" and response.person in participants
    )
    for staircase in group_by(relevant, lambda r: r.person).values():
        levels = [response.asked_ms for response in staircase if response.asked_ms is not None]
        mean = converged_mean(levels)
        if mean is None:
            not_converged += 1
        else:
            means.append(mean)
            modes.append(modal_level(levels))
    return Threshold(
        persons=len(means),
        unsettled=not_converged,
        modal=float(np.mean(modes)) if modes else None,
        modal_interval=mean_interval(modes),
        mean=float(np.mean(means)) if means else None,
        mean_interval=mean_interval(means),
    )


def _agreement(responses: Iterable[Response]) -> float | None:
    """Return Krippendorff's alpha of calling each image real or generated."""
    counts: dict[ImageKey, Counter[bool]] = {}
    for response in responses:
        called_real = response.correct == (response.system == REAL)
        counts.setdefault((response.item, response.system), Counter())[called_real] += 1
    return nominal_alpha([[count[True], count[False]] for count in counts.values()])


def _quantiles(
    values: Sequence[float], lower: float = 0.25, upper: float = 0.75
) -> tuple[float, float, float]:
    """Return the lower quantile, the median and the upper quantile."""
    low, median, high = np.quantile(values, [lower, 0.5, upper])
    return float(low), float(median), float(high)


def _response_times(system: str, responses: Iterable[Response]) -> ResponseTimes | None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for response in responses:
        if response.reaction_ms is not None:
            times[response.correct].append(response.reaction_ms)
    every = times[True] + times[False]
    if not every:
        return None
    correct, incorrect = (float(np.median(t)) if t else None for t in (times[True], times[False]))
    return ResponseTimes(system, len(every), _quantiles(every), correct, incorrect)


def _image_results(study: Study, responses: Iterable[Response]) -> tuple[ImageResult, ...]:
    names = {item.id: item.name for item in study.items}
    generated = (response for response in responses if response.system != REAL)
    images = [
        ImageResult(item, names[item], system, *_wilson_proportion(given, _fooled))
        for (item, system), given in group_by(generated, lambda r: (r.item, r.system)).items()
    ]
    # By the lower end, so that an image with a single response is not first.
    return tuple(sorted(images, key=lambda i: (-i.wilson[0], -i.share, i.name, i.item, i.system)))


def select_extremes(
    images: Sequence[ImageResult], limit: int, least_responses: int = MIN_RESPONSES
) -> tuple[list[ImageResult], list[ImageResult]]:
    """Return the images with the highest and the lowest fooling rates, without overlap.

    Args:
        images: `FoolingResult.photos`, in order.
        limit: Maximum length of each list.
        least_responses: Leave out images with fewer responses.

    Returns:
        The highest by the lower end of Wilson's interval, without images that fooled nobody; the
        lowest by the upper end.
    """
    images = [image for image in images if image.n >= least_responses]
    highest = [image for image in images[: min(limit, (len(images) + 1) // 2)] if image.hits]
    rest = [image for image in images if image not in highest]
    rest.sort(key=lambda i: (i.wilson[1], i.share, i.name, i.item, i.system))
    return highest, rest[: min(limit, len(images) // 2)]


def _correlations(
    images: Sequence[ImageResult], systems: Sequence[str], scores: Scores
) -> Iterable[Correlation]:
    """Yield the correlation of each metric over all systems and, if several, for each system."""
    metrics = dict.fromkeys(metric for values in scores.values() for metric in values)
    for metric in metrics:
        for system in (None, *(systems if len(systems) > 1 else ())):
            points = [
                (image.item, scores[image.item, image.system][metric], image.share)
                for image in sorted(images, key=lambda i: (i.item, i.system))
                if system in (None, image.system)
                and metric in scores.get((image.item, image.system), {})
            ]
            if not points:
                continue
            items, values, rates = zip(*points, strict=True)
            rho = spearman(values, rates)
            interval = None if rho is None else spearman_interval(values, rates, items)
            yield Correlation(metric, system, len(points), rho, interval)


def _analyse_preference(study: Study, responses: Sequence[Response]) -> PreferenceResult:
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
        is_hit = _chose(first)
        photos = sorted(set(map(_photo, given)))
        by_photo = clustered_interval(_term(given, is_hit, photos, cluster_of=_photo))
        preferred = _proportion(given, is_hit)
        pairs.append(PairPreference(first, second, preferred, by_photo, nominal_alpha(counts)))
    times = [response.reaction_ms for response in responses if response.reaction_ms is not None]
    return PreferenceResult(
        answers=len(responses),
        persons=len(_participants(responses)),
        pairs=tuple(pairs),
        left_chosen=_proportion(responses, lambda r: r.chosen == r.shown[0]),
        reaction=_quantiles(times) if times else None,
    )


def _compare_with_metrics(
    study: Study,
    fooling: Sequence[FoolingResult],
    system_metrics: Mapping[str, Mapping[str, float]],
) -> MetricsComparison:
    realism: dict[str, dict[Protocol, float | None]] = {system: {} for system in study.systems}
    for result in fooling:
        for of_system in result.systems:
            threshold = of_system.threshold
            value = of_system.fooled.share if threshold is None else threshold.mean
            realism[of_system.system][result.protocol] = value
    systems = tuple(
        SystemComparison(system, realism[system], dict(system_metrics.get(system, {})))
        for system in study.systems
    )
    matched = sum(bool(system.measured) for system in systems)
    rho: dict[Protocol, dict[str, float | None]] = {}
    metrics = dict.fromkeys(metric for system in systems for metric in system.measured)
    for protocol in (result.protocol for result in fooling if matched >= MIN_SYSTEMS):
        rho[protocol] = {}
        for metric in metrics:
            points = [
                (system.measured[metric], value)
                for system in systems
                if metric in system.measured and (value := system.realism.get(protocol)) is not None
            ]
            rho[protocol][metric] = spearman(*zip(*points, strict=True)) if points else None
    return MetricsComparison(systems, matched, rho)
