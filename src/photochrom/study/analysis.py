"""Computes the results of a study from its responses."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from photochrom.study.answers import Response
from photochrom.study.design import OBVIOUS, REAL, Protocol, Study
from photochrom.study.displays import count_scalings, describe_displays, measure_exposures
from photochrom.study.exclusion import (
    apply_exclusion,
    check_responses,
    describe_exclusion,
    exclusion_criteria,
    group_by,
    is_early,
    select_responses,
)
from photochrom.study.fooling import analyse_fooling, compare_with_metrics, measure_threshold
from photochrom.study.preferences import analyse_preference
from photochrom.study.rates import is_fooled, proportion
from photochrom.study.results import (
    Analysis,
    ColorVisionEffect,
    ColorVisionResult,
    Estimate,
    ExclusionCount,
    Flow,
    Participant,
    PhotoCounts,
    Scores,
    TrialCounts,
)
from photochrom.study.store import Enrolment


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
    test_responses = select_responses(participants, responses)
    included = [response for response in test_responses if not is_early(study, response)]
    by_protocol = group_by(included, lambda r: r.protocol)
    fooling = tuple(
        analyse_fooling(study, protocol, by_protocol[protocol], test_responses, scores or {})
        for protocol in study.protocols
        if protocol in by_protocol and protocol != "preference"
    )
    preferences = by_protocol.get("preference")
    times = [response.answered for response in responses if response.kind == "test"]
    return Analysis(
        title=study.title,
        first_response=min(times),
        last_response=max(times),
        rule=describe_exclusion(study),
        participants=participants,
        counted=sum(participant.excluded is None for participant in participants),
        flow=None if enrolment is None else _flow(study, participants, enrolment),
        trials=() if enrolment is None else tuple(_trial_counts(study, enrolment, responses)),
        photo_counts=_photo_counts(study),
        exposures=tuple(measure_exposures(study, by_protocol)),
        displays=tuple(describe_displays(study, included)),
        scalings=tuple(count_scalings(study, included)),
        color_vision=_analyse_color_vision(study, participants, responses),
        fooling=fooling,
        preference=analyse_preference(study, preferences) if preferences else None,
        across=None
        if system_metrics is None
        else compare_with_metrics(study, fooling, system_metrics),
    )


def _flow(study: Study, participants: Sequence[Participant], enrolment: Enrolment) -> Flow:
    began = len(participants)
    analysed = sum(participant.excluded is None for participant in participants)
    return Flow(
        consented=enrolment.consented,
        withdrawn=enrolment.withdrawn,
        no_response=enrolment.consented - enrolment.withdrawn - began,
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
    obvious = sum(OBVIOUS in images for images in real)
    skipped = None if study.skipped is None else dict(study.skipped)
    return PhotoCounts(len(real) - obvious, obvious, len(study.items) - len(real), skipped)


def _analyse_color_vision(
    study: Study, participants: Sequence[Participant], responses: Sequence[Response]
) -> ColorVisionResult | None:
    if study.color_vision == "unasked":
        return None
    counts = Counter(participant.color_vision or "unanswered" for participant in participants)
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
    return ColorVisionResult(dict(sorted(counts.items())), tuple(effects))


def _estimates(
    study: Study, test_responses: Sequence[Response]
) -> dict[tuple[Protocol, str, str | None], Estimate]:
    """Return the main result of each system, by protocol, system and the other system."""
    estimates: dict[tuple[Protocol, str, str | None], Estimate] = {}
    included = [response for response in test_responses if not is_early(study, response)]
    for protocol, given in group_by(included, lambda r: r.protocol).items():
        if protocol == "preference":
            for pair in analyse_preference(study, given).pairs:
                rate = pair.preferred
                estimate = Estimate(rate.share, rate.n, rate.clustered)
                estimates[protocol, pair.first, pair.second] = estimate
            continue
        by_system = group_by(given, lambda r: r.system)
        for system in (system for system in study.systems if system in by_system):
            own = by_system[system]
            if protocol == "timed":
                threshold = measure_threshold(own, test_responses)
                estimate = Estimate(threshold.mean, len(own), threshold.mean_interval)
            else:
                rate = proportion(own, is_fooled)
                estimate = Estimate(rate.share, rate.n, rate.clustered)
            estimates[protocol, system, None] = estimate
    return estimates
