"""Rendering options, declared once for library, command line, API and web page."""

from dataclasses import dataclass
from typing import Any, Literal

from photochrom.errors import PhotochromError

MIN_SIDE = 16
"""The smallest side in px of a network's input."""
MAX_SIZE = 4096
"""The largest short side in px of a network's input."""


@dataclass(frozen=True)
class Option:
    """A keyword of `Colorizer.__call__`."""

    name: str
    kind: Literal["number", "integer", "flag"]
    default: float | bool | None
    help: str
    minimum: float = 0
    maximum: float = 1
    step: float = 1
    """Of the slider."""


OPTIONS = (
    Option("saturation", "number", 1.0, "How strong the new colours are.", maximum=4, step=0.05),
    Option(
        "strength",
        "number",
        1.0,
        "0 keeps the photo's own colours, 1 replaces them.",
        step=0.05,
    ),
    Option(
        "size",
        "integer",
        None,
        "Short side in px of the network's input. Default: the model's.",
        minimum=MIN_SIDE,
        maximum=MAX_SIZE,
    ),
    Option("mark", "flag", True, "Record in the XMP metadata that colours were added."),
)


def check_options(**options: Any) -> None:
    """Check that numbers are in range; options that are not given have their defaults.

    Raises:
        PhotochromError: If one is not.
    """
    for option in OPTIONS:
        value: Any = options.get(option.name, option.default)
        if option.kind == "flag" or (value is None and option.default is None):
            continue
        if not option.minimum <= value <= option.maximum:
            raise PhotochromError(
                f"{option.name} is {value}; it has to be from {option.minimum} to {option.maximum}"
            )
