"""A participant's response to a trial."""

from dataclasses import dataclass

from photochrom.study.design import OBVIOUS, REAL, Kind, Protocol


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
    """Measured exposure of the image in `timed`; otherwise None."""
    asked_ms: float | None
    """Requested exposure in `timed`, the level of the staircase; otherwise None."""
    reaction_ms: float | None
    """Response time from the question on, measured in the browser; None after a reload."""
    answered: str
    """Time of the response: ISO 8601, UTC."""

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
