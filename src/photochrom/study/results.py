"""What a report says: every number, and what it is of."""

from collections.abc import Mapping
from dataclasses import dataclass

from photochrom.study.design import Protocol
from photochrom.study.statistics import Interval

Judged = tuple[str, str]
"""The id of a photo and the system that colorized it: one picture that people judged."""
Scores = Mapping[Judged, Mapping[str, float]]
"""Of pictures, by the names of `photochrom.training.evaluation.metrics.METRICS`."""


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
