"""The results of a study. The fields of these classes are the keys of report.json.

`n` and `n_responses` are numbers of responses, `n_participants` of participants, `n_images` of
images. `participants` and `images` are lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from photochrom.study.answers import ColorVision
from photochrom.study.design import Protocol
from photochrom.study.statistics import Interval

Criterion = Literal["checks", "trials", "color_vision"]
"""An exclusion criterion: too many failed attention checks, too few test trials, a reported
colour-vision deficiency."""
ImageKey = tuple[str, str]
"""Item id and system of a generated image."""
Scores = Mapping[ImageKey, Mapping[str, float]]
"""Metrics of images, by the names of `photochrom.training.evaluation.metrics.photo_metrics`."""


@dataclass(frozen=True)
class Participant:
    """The number of a participant's responses, and whether they are excluded."""

    participant: str
    """Participant id."""
    tests: int
    """Without those answered too early."""
    checks: int
    failed_checks: int
    """Number of failed attention checks."""
    excluded: str | None
    """Reason for exclusion; None if included."""
    criteria: tuple[Criterion, ...]
    """The exclusion criteria that are met."""
    early: int
    """Number of responses to test trials that came too early."""
    color_vision: ColorVision | None
    """As reported; None if not asked."""


@dataclass(frozen=True)
class ExclusionCount:
    """How many participants meet an exclusion criterion; one may meet several."""

    criterion: str
    n_participants: int


@dataclass(frozen=True)
class Flow:
    """Participants from consent to analysis, as in the CONSORT statement's diagram."""

    consented: int
    withdrawn: int
    """Those who had their responses deleted."""
    no_response: int
    """Those who left before their first response."""
    began: int
    """Those with a response to any trial, practice included."""
    unfinished: int
    """Of those who began; some may be in the middle of the study."""
    excluded: int
    criteria: tuple[ExclusionCount, ...]
    analysed: int


@dataclass(frozen=True)
class TrialCounts:
    """Test trials of all participants in a protocol, by what became of them."""

    protocol: Protocol
    answered: int
    repeated: int
    """Of the answered ones, those whose images were shown again after a reload."""
    void: int
    """Trials that a reload or a hidden page interrupted."""
    unanswered: int
    """Trials of participants who left before, or who are not so far."""
    early: int
    """Of the answered ones, those left out because the response came too early."""


@dataclass(frozen=True)
class Exposure:
    """Measured minus requested exposures of an image, in ms, over analysed responses."""

    protocol: Protocol
    image: int
    """1 for the first image of a trial, 2 for the second."""
    n: int
    unmeasured: int
    """Number of responses without a measurement."""
    quantiles: tuple[float, float, float] | None
    """2.5 %, median and 97.5 %; None without a measurement."""
    largest: float | None
    """The difference with the largest absolute value."""


@dataclass(frozen=True)
class ParticipantDisplay:
    """How a participant saw the images, over analysed responses that recorded it."""

    participant: str
    n: int
    viewports: tuple[tuple[float, float], ...]
    """Different widths and heights in CSS px, in order."""
    pixel_ratios: tuple[float, ...]
    """Different numbers of screen pixels per CSS px, in order."""
    scale: tuple[float, float]
    """Smallest and largest number of screen pixels per pixel of an image, along a side."""


ScalingName = Literal["reduced", "unscaled", "enlarged"]


@dataclass(frozen=True)
class Scaling:
    """How many analysed responses are to images that were `reduced`, `unscaled` or `enlarged`."""

    scaling: ScalingName
    n: int
    n_participants: int


@dataclass(frozen=True)
class Estimate:
    """A result with its interval, participants as clusters."""

    value: float | None
    n: int
    clustered: Interval | None


@dataclass(frozen=True)
class ColorVisionEffect:
    """A result with and without participants who reported a colour-vision deficiency.

    It is a fooling rate, in `timed` the mean threshold in ms, in `preference` the proportion that
    preferred `system` to `other`.
    """

    protocol: Protocol
    system: str
    other: str | None
    everybody: Estimate
    without: Estimate


@dataclass(frozen=True)
class ColorVisionResult:
    """What participants with a response reported, and what it changes."""

    counts: dict[str, int]
    """Number of participants by `ColorVision`, or `unanswered`."""
    effects: tuple[ColorVisionEffect, ...]
    """Of participants whom no other criterion excludes; empty if none of them reported it."""


@dataclass(frozen=True)
class PhotoCounts:
    """What became of the photos at creation."""

    tests: int
    """Photos with true colours in test trials."""
    obvious: int
    """The photos with the highest chroma, for practice trials and attention checks."""
    historic: int
    skipped: dict[str, int] | None
    """Number of photos left out, by reason; None if it was not recorded."""


@dataclass(frozen=True)
class Proportion:
    """A proportion of responses, with intervals."""

    hits: int
    n: int
    n_participants: int
    share: float
    wilson: Interval
    """Assumes independent responses."""
    clustered: Interval | None
    """Participants as clusters; None for too few participants."""
    half: str | None
    """Position of `clustered` relative to 1/2: `below`, `above` or `undecided`; None without
    `clustered`, or if 1/2 is not chance level."""
    p: float | None
    """Exact binomial test against 1/2, for independent responses; None if 1/2 is not chance level.
    """


@dataclass(frozen=True)
class ParticipantProportion:
    """The fooling rate of one system for one participant."""

    participant: str
    hits: int
    n: int
    share: float
    wilson: Interval


@dataclass(frozen=True)
class ErrorRate:
    """The HYPE-infinity score.

    `share` is the mean of the proportion of generated images called real, and of real ones called
    generated.
    """

    share: float
    clustered: Interval | None
    half: str | None


@dataclass(frozen=True)
class Threshold:
    """The exposure at which 75 % of the responses are correct, in ms."""

    n_participants: int
    """Number of participants whose staircase converged."""
    not_converged: int
    """Number of participants whose staircase did not converge; they are left out."""
    modal: float | None
    """Mean over participants of the modal level, as in HYPE-time."""
    modal_interval: Interval | None
    mean: float | None
    """Mean over participants of the mean level after the first reversals."""
    mean_interval: Interval | None


@dataclass(frozen=True)
class ResponseTimes:
    """Response times in ms; `system` may be `REAL`."""

    system: str
    n: int
    quartiles: tuple[float, float, float]
    correct: float | None
    """Median of correct responses."""
    incorrect: float | None
    """Median of incorrect responses."""


@dataclass(frozen=True)
class SystemResult:
    """The results of one system in one protocol."""

    system: str
    fooled: Proportion
    """Fooling rate: the proportion of generated images called real."""
    by_participant: tuple[ParticipantProportion, ...]
    error: ErrorRate | None
    """None in `pair`, or without responses to real images."""
    threshold: Threshold | None
    """None except in `timed`."""
    agreement: float | None
    """Krippendorff's alpha over the images of this system."""


@dataclass(frozen=True)
class Difference:
    """The fooling rate of the first system minus that of the second."""

    first: str
    second: str
    difference: float
    clustered: Interval | None
    """Participants as clusters."""
    by_photo: Interval | None
    """Photos as clusters, each with the responses to both systems; None for too few photos."""


@dataclass(frozen=True)
class ImageResult:
    """The fooling rate of one image."""

    item: str
    name: str
    system: str
    hits: int
    n: int
    share: float
    wilson: Interval


@dataclass(frozen=True)
class Correlation:
    """Spearman's correlation of a metric and the fooling rate, over images."""

    metric: str
    system: str | None
    """None: images of all systems."""
    n_images: int
    rho: float | None
    interval: Interval | None
    """Items as clusters."""


@dataclass(frozen=True)
class FoolingResult:
    """The results of `pair`, `single` or `timed`."""

    protocol: Protocol
    n_responses: int
    n_participants: int
    systems: tuple[SystemResult, ...]
    """In the order of the study, without systems that have no responses."""
    false_alarms: Proportion | None
    """Proportion of real images called generated; None in `pair`."""
    differences: tuple[Difference, ...]
    first_chosen: Proportion | None
    """Proportion of pairs whose first image was called generated; None except in `pair`."""
    agreement: float | None
    """Krippendorff's alpha over all images, real ones included."""
    reactions: tuple[ResponseTimes, ...]
    images: tuple[ImageResult, ...]
    """By descending lower end of Wilson's interval."""
    correlations: tuple[Correlation, ...]


@dataclass(frozen=True)
class PairPreference:
    """The proportion of responses that preferred the first of two systems."""

    first: str
    second: str
    preferred: Proportion
    by_photo: Interval | None
    """Of `preferred`, with photos as clusters; None for too few photos."""
    agreement: float | None
    """Krippendorff's alpha over items."""


@dataclass(frozen=True)
class PreferenceResult:
    """The results of `preference`."""

    n_responses: int
    n_participants: int
    pairs: tuple[PairPreference, ...]
    left_chosen: Proportion
    """Proportion of responses that preferred the left image."""
    reaction: tuple[float, float, float] | None
    """Quartiles of the response times in ms."""


@dataclass(frozen=True)
class SystemComparison:
    """The realism of a system and its metrics from `photochrom evaluate`."""

    system: str
    realism: dict[Protocol, float | None]
    """Fooling rate; in `timed`, the threshold in ms."""
    measured: dict[str, float]
    """Metric to mean; empty if metrics.json lacks the system."""


@dataclass(frozen=True)
class MetricsComparison:
    """The realism of all systems compared with metrics from `photochrom evaluate`."""

    systems: tuple[SystemComparison, ...]
    matched: int
    """Number of systems found in metrics.json by name."""
    rho: dict[Protocol, dict[str, float | None]]
    """Spearman's correlation over systems, by metric; empty for fewer than `MIN_SYSTEMS`."""


@dataclass(frozen=True)
class Analysis:
    """All results of a study."""

    title: str
    first_response: str
    """Time of the first response to a test trial: ISO 8601, UTC."""
    last_response: str
    rule: str
    """The exclusion criteria as a text."""
    participants: tuple[Participant, ...]
    counted: int
    """Number of participants who are not excluded."""
    flow: Flow | None
    """None without an `Enrolment`."""
    trials: tuple[TrialCounts, ...]
    """In the order of the study; empty without an `Enrolment`."""
    photo_counts: PhotoCounts
    exposures: tuple[Exposure, ...]
    displays: tuple[ParticipantDisplay, ...]
    scalings: tuple[Scaling, ...]
    color_vision: ColorVisionResult | None
    """None if participants are not asked."""
    fooling: tuple[FoolingResult, ...]
    preference: PreferenceResult | None
    across: MetricsComparison | None
    """None without metrics.json."""
