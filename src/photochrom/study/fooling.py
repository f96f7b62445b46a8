"""The results of the protocols that ask whether an image is real."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from photochrom.study.answers import Response
from photochrom.study.design import REAL, Protocol, Study
from photochrom.study.exclusion import group_by
from photochrom.study.rates import (
    is_fooled,
    is_incorrect,
    participant_of,
    participants_of,
    photo_of,
    proportion,
    quantiles,
    share_of_hits,
    term_of,
    wilson_proportion,
)
from photochrom.study.results import (
    Correlation,
    Difference,
    ErrorRate,
    FoolingResult,
    ImageKey,
    ImageResult,
    MetricsComparison,
    ParticipantProportion,
    ResponseTimes,
    Scores,
    SystemComparison,
    SystemResult,
    Threshold,
)
from photochrom.study.statistics import (
    clustered_interval,
    compare_with_half,
    converged_mean,
    mean_interval,
    modal_level,
    nominal_alpha,
    spearman,
    spearman_interval,
)

MIN_RESPONSES = 5
"""Default for the minimum number of responses to an image that is listed."""
MIN_SYSTEMS = 3
"""Minimum number of systems for a rank correlation over systems."""


def analyse_fooling(
    study: Study,
    protocol: Protocol,
    responses: Sequence[Response],
    test_responses: Sequence[Response],
    scores: Scores,
) -> FoolingResult:
    """Compute the results of a protocol.

    Args:
        study: The study.
        protocol: The protocol.
        responses: Those of the protocol.
        test_responses: Responses of included participants to test trials of all protocols, early
            ones too: they moved the staircases.
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
        n_responses=len(responses),
        n_participants=len(participants_of(responses)),
        systems=tuple(
            SystemResult(
                system=system,
                fooled=proportion(by_system[system], is_fooled, chance=chance),
                by_participant=tuple(
                    ParticipantProportion(participant, *wilson_proportion(given, is_fooled))
                    for participant, given in group_by(
                        by_system[system], lambda r: r.person
                    ).items()
                ),
                error=_error_rate(by_system[system], real, chance=chance),
                threshold=measure_threshold(by_system[system], test_responses)
                if protocol == "timed"
                else None,
                agreement=_agreement(by_system[system]),
            )
            for system in systems
        ),
        false_alarms=proportion(real, is_incorrect, chance=chance) if real else None,
        differences=tuple(
            _difference(first, second, by_system) for first, second in combinations(systems, 2)
        ),
        first_chosen=proportion(responses, lambda r: r.chosen == r.shown[0])
        if protocol == "pair"
        else None,
        agreement=_agreement(responses),
        reactions=tuple(
            times
            for system in (*systems, REAL)
            if (times := _response_times(system, by_system.get(system, [])))
        ),
        images=images,
        correlations=tuple(_correlations(images, systems, scores)),
    )


def _error_rate(
    generated: Sequence[Response], real: Iterable[Response], *, chance: bool
) -> ErrorRate | None:
    """Return the HYPE-infinity score, over participants with responses to both."""
    participants = participants_of(generated)
    real = [response for response in real if response.person in participants]
    if not real:
        return None
    interval = clustered_interval(
        term_of(generated, is_fooled, participants, 0.5),
        term_of(real, is_incorrect, participants, 0.5),
    )
    fooling_rate = share_of_hits(generated, is_fooled)
    false_alarm_rate = share_of_hits(real, is_incorrect)
    side = compare_with_half(interval) if chance else None
    return ErrorRate((fooling_rate + false_alarm_rate) / 2, interval, side)


def _difference(first: str, second: str, by_system: Mapping[str, Sequence[Response]]) -> Difference:
    a, b = by_system[first], by_system[second]
    by_participant, by_photo = (
        clustered_interval(
            term_of(a, is_fooled, clusters, cluster_of=cluster_of),
            term_of(b, is_fooled, clusters, -1.0, cluster_of=cluster_of),
        )
        for cluster_of in (participant_of, photo_of)
        for clusters in [sorted(set(map(cluster_of, [*a, *b])))]
    )
    difference = share_of_hits(a, is_fooled) - share_of_hits(b, is_fooled)
    return Difference(first, second, difference, by_participant, by_photo)


def measure_threshold(
    generated: Iterable[Response], test_responses: Iterable[Response]
) -> Threshold:
    """Return the threshold of a system.

    A participant has one staircase, over images of one system and real ones.

    Args:
        generated: Responses to generated images of the system.
        test_responses: As of `analyse_fooling`.
    """
    participants = {response.person for response in generated}
    modes, means, not_converged = [], [], 0
    relevant = (
        response
        for response in test_responses
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
        n_participants=len(means),
        not_converged=not_converged,
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


def _response_times(system: str, responses: Iterable[Response]) -> ResponseTimes | None:
    times: dict[bool, list[float]] = {True: [], False: []}
    for response in responses:
        if response.reaction_ms is not None:
            times[response.correct].append(response.reaction_ms)
    every = times[True] + times[False]
    if not every:
        return None
    correct, incorrect = (quantiles(t)[1] if t else None for t in (times[True], times[False]))
    return ResponseTimes(system, len(every), quantiles(every), correct, incorrect)


def _image_results(study: Study, responses: Iterable[Response]) -> tuple[ImageResult, ...]:
    names = {item.id: item.name for item in study.items}
    generated = (response for response in responses if response.system != REAL)
    images = [
        ImageResult(item, names[item], system, *wilson_proportion(given, is_fooled))
        for (item, system), given in group_by(generated, lambda r: (r.item, r.system)).items()
    ]
    # By the lower end, so that an image with a single response is not first.
    return tuple(sorted(images, key=lambda i: (-i.wilson[0], -i.share, i.name, i.item, i.system)))


def select_extremes(
    images: Sequence[ImageResult], limit: int, least_responses: int = MIN_RESPONSES
) -> tuple[list[ImageResult], list[ImageResult]]:
    """Return the images with the highest and the lowest fooling rates, without overlap.

    Args:
        images: `FoolingResult.images`, in order.
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


def compare_with_metrics(
    study: Study,
    fooling: Sequence[FoolingResult],
    system_metrics: Mapping[str, Mapping[str, float]],
) -> MetricsComparison:
    """Compare how often systems fool participants with metrics of the systems."""
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
