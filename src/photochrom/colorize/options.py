"""Options of a photo in colour, declared once for library, command line, API and web page."""

from dataclasses import dataclass
from typing import Any, Literal

from photochrom.errors import UsageError

MIN_SIDE = 16
"""The smallest side in px of a network's input."""
MAX_SIZE = 4096
"""The largest short side in px of a network's input."""


@dataclass(frozen=True)
class Option:
    """A keyword of `Colorizer.__call__`, or of `colorize_file`."""

    name: str
    kind: Literal["number", "integer", "flag", "choice", "rectangle"]
    """A rectangle is left, top, width and height in px."""
    default: float | bool | None
    help: str
    minimum: float = 0
    maximum: float = 1
    step: float = 1
    """Of the slider."""
    choices: tuple[int | str, ...] = ()


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
    Option("mark", "flag", True, "Record in the metadata that colours were added."),
)
"""How colours are made, of photos and videos."""

GEOMETRY_OPTIONS = (
    Option(
        "turn",
        "choice",
        0,
        "Turn the photo clockwise before it is colorized, by 90, 180 or 270 degrees.",
        choices=(0, 90, 180, 270),
    ),
    Option(
        "straighten",
        "number",
        0.0,
        "Then rotate it clockwise by some degrees, and cut off the empty corners.",
        minimum=-45,
        maximum=45,
        step=0.1,
    ),
    Option(
        "crop",
        "rectangle",
        None,
        "Then keep this part of it: left,top,width,height in px.",
    ),
)
"""The fields of `Geometry`, of photos."""

FILE_OPTIONS = (
    Option(
        "format",
        "choice",
        None,
        "Save as JPEG: of quality 95 and 4:4:4, or that of a photo that is one. Default: the "
        "photo's own format, or PNG or TIFF.",
        choices=("jpeg",),
    ),
    Option(
        "truncated",
        "flag",
        False,
        "Colorize what can be decoded of a JPEG, PNG or TIFF that is cut off; the rest is white.",
    ),
)
"""Further keywords of `colorize_file`."""


def check_options(**options: Any) -> None:
    """Check that values are in range; options that are not given have their defaults.

    Raises:
        UsageError: If one is not.
    """
    from photochrom.imagefile.geometry import Geometry  # slow to import

    geometry: dict[str, Any] = {o.name: options.get(o.name, o.default) for o in GEOMETRY_OPTIONS}
    Geometry(**geometry)
    for option in FILE_OPTIONS:
        chosen = options.get(option.name, option.default)
        if option.choices and chosen is not None and chosen not in option.choices:
            allowed = " or ".join(map(str, option.choices))
            raise UsageError(
                f"{option.name} is {str(chosen)[:40]!r}; it has to be {allowed}, or left out"
            )
    for option in OPTIONS:
        value: Any = options.get(option.name, option.default)
        if option.kind == "flag" or (value is None and option.default is None):
            continue
        if not option.minimum <= value <= option.maximum:
            raise UsageError(
                f"{option.name} is {value}; it has to be from {option.minimum} to {option.maximum}"
            )
