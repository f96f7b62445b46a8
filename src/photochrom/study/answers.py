"""A participant's response to a trial."""

from dataclasses import dataclass
from typing import Literal, TypedDict

from photochrom.study.design import OBVIOUS, REAL, Kind, Protocol

ColorVision = Literal["deficient", "normal", "unsure", "undisclosed"]
"""Whether a participant reports a colour-vision deficiency."""


class Display(TypedDict, total=False):
    """How large the page and its images are; see `Response`."""

    viewport_width: float | None
    viewport_height: float | None
    pixel_ratio: float | None
    image_width: float | None


class Measurements(Display, total=False):
    """What the browser measures in a trial; see `Response`."""

    exposure_ms: float | None
    reaction_ms: float | None
    second_exposure_ms: float | None
    since_onset_ms: float | None


@dataclass(frozen=True)
class Response:
    """A response to a trial. The fields are columns of answers.csv and of the database."""

    person: str
    """Participant id."""
    number: int
    """Index of the trial in the participant's sequence, from 0."""
    protocol: Protocol
    kind: Kind
    item: str
    """Item id."""
    shown: tuple[str, ...]
    """Systems in the order shown: one in `single` and `timed`, two in `pair` and `preference`."""
    chosen: str
    """`single`, `timed`: "real" or "generated". `pair`: the system called generated (may be
    `REAL`). `preference`: the preferred system."""
    exposure_ms: float | None
    """Measured exposure of the image in `timed`, of the first one in `pair`; otherwise None."""
    asked_ms: float | None
    """Requested exposure in `timed`, the level of the staircase; otherwise None."""
    reaction_ms: float | None
    """Response time from the question on, measured in the browser; None after a reload."""
    answered: str
    """Time of the response: ISO 8601, UTC."""
    second_exposure_ms: float | None = None
    """Measured exposure of the second image in `pair`; otherwise None."""
    since_onset_ms: float | None = None
    """Time from the onset of the last image to the response; None after a reload."""
    viewport_width: float | None = None
    """In CSS px, as the height. None, as are the next three, if it was not recorded."""
    viewport_height: float | None = None
    pixel_ratio: float | None = None
    """Number of screen pixels per CSS px."""
    image_width: float | None = None
    """Width of each image on the page in CSS px, enlarged by a pinch zoom."""
    color_vision: ColorVision | None = None
    """Of the participant; None if not asked."""

    @property
    def system(self) -> str:
        """The system under test: in `pair` the one beside `REAL`, otherwise the first shown."""
        if self.protocol == "pair":
            return next(name for name in self.shown if name != REAL)
        return self.shown[0]

    @property
    def fooled(self) -> bool:
        """Whether a generated image was called real; undefined for `preference`."""
        return self.system != REAL and self.chosen == REAL

    @property
    def correct(self) -> bool:
        """Whether real and generated were told apart; undefined for `preference`."""
        if self.protocol == "pair":
            return self.chosen != REAL
        return (self.chosen == REAL) == (self.system == REAL)

    @property
    def failed_check(self) -> bool:
        """Whether this is an attention check whose obvious fake was not recognized."""
        return self.kind == "check" and OBVIOUS in self.shown and not self.correct
