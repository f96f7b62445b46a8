"""What a person may choose of a photo's look: declared once, for library, command line and page."""

from dataclasses import dataclass
from typing import Any, Literal

from photochrom.errors import PhotochromError

MIN_SIDE = 16
"""No network is fed less than this many px."""
MAX_SIZE = 4096
"""The largest short side in px that a network may be fed."""


@dataclass(frozen=True)
class Option:
    """One keyword of `Colorizer.__call__`."""

    name: str
    kind: Literal["number", "integer", "flag"]
    default: float | bool | None
    label: str
    """For people, on the page."""
    help: str
    """One sentence."""
    minimum: float = 0
    maximum: float = 1
    step: float = 1
    """Of a slider."""


OPTIONS = (
    Option(
        *("saturation", "number", 1.0, "Saturation", "How strong the new colours are."),
        maximum=4,
        step=0.05,
    ),
    Option(
        *("strength", "number", 1.0, "Strength"),
        "From 0, the photo's own colours, to 1, new ones alone.",
        step=0.05,
    ),
    Option(
        *("size", "integer", None, "Detail the network sees"),
        "Short side in px at which the network sees a photo; the model's own if not given.",
        minimum=MIN_SIDE,
        maximum=MAX_SIZE,
    ),
    Option(
        *("mark", "flag", True, "Say in the file that colours were added"),
        "Say in the result's XMP that colours were added.",
    ),
)


def check_options(**look: Any) -> None:
    """Refuse what is no saturation, strength, size or mark.

    Raises:
        PhotochromError: If one of them is not allowed.
    """
    for option in OPTIONS:
        value: Any = look.get(option.name, option.default)
        if option.kind == "flag" or (value is None and option.default is None):
            continue
        if not option.minimum <= value <= option.maximum:
            raise PhotochromError(
                f"{option.name} is {value}; it has to be from {option.minimum} to {option.maximum}"
            )
