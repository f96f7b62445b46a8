"""What people said, as the report reads it."""

from dataclasses import dataclass

from photochrom.study.design import OBVIOUS, REAL, Kind, Protocol


@dataclass(frozen=True)
class Answer:
    """One answer of one person."""

    person: str
    """A random id, all that is known of them."""
    number: int
    """Of the trial among this person's, from 0 on."""
    protocol: Protocol
    kind: Kind
    item: str
    """The id of the photo."""
    shown: tuple[str, ...]
    """Systems in the order shown: one of `single` and `timed`, two of `pair` and `preference`."""
    chosen: str
    """`single`, `timed`: "real" or "generated". `pair`: the system, `REAL` among them, that was
    called generated. `preference`: the system that was preferred."""
    exposure_ms: float | None
    """How long the picture was on the screen, `timed` alone; None: as long as wanted or as set."""
    asked_ms: float | None
    """What was asked for of `timed`: the level of the staircase."""
    reaction_ms: float | None
    """From the question to the answer, measured in the browser; None: a reload came between."""
    answered: str
    """ISO 8601, UTC."""

    @property
    def system(self) -> str:
        """Which system is asked about: not `REAL` where the other picture is generated.

        Of `preference` it is the first shown; `shown` has both.
        """
        if self.protocol == "pair":
            return next(name for name in self.shown if name != REAL)
        return self.shown[0]

    @property
    def fooled(self) -> bool:
        """Whether something generated was taken for real; of `preference` it means nothing."""
        if self.protocol == "pair":
            return self.chosen == REAL
        return self.system != REAL and self.chosen == REAL

    @property
    def right(self) -> bool:
        """Whether the answer is true; of `preference` it means nothing."""
        if self.protocol == "pair":
            return self.chosen != REAL
        return (self.chosen == REAL) == (self.system == REAL)

    @property
    def missed(self) -> bool:
        """Whether this is a check that was got wrong: an obvious fake was not seen."""
        return self.kind == "check" and OBVIOUS in self.shown and not self.right
