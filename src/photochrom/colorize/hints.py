"""`Hint`: a place in a photo where a person says which colour it has."""

import functools
import json
import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import ImageColor

from photochrom.errors import PhotochromError

if TYPE_CHECKING:
    from photochrom.imagefile.geometry import Geometry

MAX_HINTS = 200
"""Of one photo."""
FILE_SUFFIX = ".hints.json"
"""Of a file with the hints of the photo `photo.jpg`: `photo.jpg.hints.json`."""
SPECIAL_COLORS = ("original", "neutral")
"""The photo's own colour at the place, and grey."""

_MAX_PLACE = 999_999_999
"""In px; more than any photo has."""
_COLORS = "a CSS name such as firebrick, a hex colour such as #b22222, original or neutral"
_FORM = '[{"x": 410, "y": 220, "color": "firebrick"}]'


@dataclass(frozen=True)
class Hint:
    """A colour at a place in a photo.

    Of the colour, hue and chroma count; the photo keeps its L*.

    Raises:
        PhotochromError: If a value is not allowed for any photo.
    """

    x: int
    """Column in px of the upright photo, before it is turned, straightened or cropped."""
    y: int
    """Row in px of the upright photo."""
    color: str
    """A CSS name, `#rgb`, `#rrggbb` or one of `SPECIAL_COLORS`."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("x", "y"):
            value = getattr(self, name)
            try:
                number = -1 if isinstance(value, bool) else operator.index(value)  # also of NumPy
            except TypeError:
                number = -1
            if not 0 <= number <= _MAX_PLACE:
                raise PhotochromError(
                    f"the hint's {name} is {repr(value)[:40]}; it has to be a whole number of "
                    f"pixels, from 0 to {_MAX_PLACE}"
                )
            object.__setattr__(self, name, number)
        if not isinstance(self.color, str) or not _is_color(self.color):
            raise PhotochromError(
                f"the hint's colour is {str(self.color)[:40]!r}; it has to be {_COLORS}"
            )
        object.__setattr__(self, "color", self.color.lower())

    @property
    def rgb(self) -> tuple[int, int, int] | None:
        """The colour in sRGB, 0 to 255 each; None for one of `SPECIAL_COLORS`."""
        if self.color in SPECIAL_COLORS:
            return None
        red, green, blue = ImageColor.getrgb(self.color)[:3]
        return red, green, blue

    def __str__(self) -> str:
        """Return the text of `parse_hint`."""
        return f"{self.x},{self.y},{self.color}"


@dataclass(frozen=True)
class PlacedHint:
    """A hint in a photo that was turned, straightened and cropped."""

    x: float
    """Place as a fraction of the width, 0 to 1."""
    y: float
    """Place as a fraction of the height, 0 to 1."""
    ab: tuple[float, float] | None
    """The colour's a* and b*, which the photo's L* may not allow; None: the photo's own."""


def place_hints(
    hints: Iterable[Hint], size: tuple[int, int], geometry: "Geometry"
) -> tuple[PlacedHint, ...]:
    """Return where hints come to lie, without those that are cropped away.

    Of several hints at one pixel, the last counts.

    Args:
        hints: Hints inside of the photo.
        size: Width and height in px of the upright photo.
        geometry: How it is turned, straightened and cropped.

    Raises:
        PhotochromError: If the crop reaches out of the photo.
    """
    width, height = geometry.size(*size)
    placed = []
    for hint in {(hint.x, hint.y): hint for hint in hints}.values():
        place = geometry.place(hint.x, hint.y, *size)
        if place is not None:
            placed.append(PlacedHint(place[0] / width, place[1] / height, _ab(hint)))
    return tuple(placed)


def _ab(hint: Hint) -> tuple[float, float] | None:
    if hint.color == "original":
        return None
    if hint.color == "neutral":
        return 0.0, 0.0
    import numpy as np  # both are slow to import

    from photochrom import color

    _, a, b = color.rgb_to_lab(np.array(hint.rgb, np.float32) / np.float32(255))
    return float(a), float(b)


def parse_hint(text: str) -> Hint:
    """Parse "x,y,color".

    Raises:
        PhotochromError: If it has another form, or a value is not allowed.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(re.fullmatch("[0-9]{1,9}", part) for part in parts[:2]):
        raise PhotochromError(
            f"the hint is {text[:60]!r}; it has to be x,y,colour such as 410,220,firebrick, with x "
            "and y in whole pixels"
        )
    return Hint(int(parts[0]), int(parts[1]), parts[2])


def hints_from_json(values: Any) -> tuple[Hint, ...]:
    """Return the hints of a list of objects with `x`, `y` and `color`.

    Raises:
        PhotochromError: If it has another form, there are too many, or a value is not allowed.
    """
    if not isinstance(values, list):
        raise PhotochromError(f"the hints have to be a list such as {_FORM}")
    _check_count(len(values))
    for value in values:
        if isinstance(value, dict) and "time" in value:
            raise PhotochromError(
                f"a hint is {json.dumps(value)[:60]}; a time is for hints of a video, leave it out"
            )
        if not isinstance(value, dict) or value.keys() != {"x", "y", "color"}:
            raise PhotochromError(
                f"a hint is {json.dumps(value)[:60]}; it has to have x, y and color, as in {_FORM}"
            )
    return check_hints(Hint(**value) for value in values)


def hints_to_json(hints: Iterable[Hint]) -> list[dict[str, Any]]:
    """Return the argument of `hints_from_json`."""
    return [{"x": hint.x, "y": hint.y, "color": hint.color} for hint in hints]


def format_hints(hints: Iterable[Hint]) -> str:
    """Return the content of a file of hints, with one on each line."""
    lines = ",\n".join(f"  {json.dumps(value)}" for value in hints_to_json(hints))
    return f"[\n{lines}\n]\n"


def is_hints_file(name: str) -> bool:
    """Tell whether a file has hints, by its name."""
    return name.lower().endswith(FILE_SUFFIX)


def read_hints(path: str | Path) -> tuple[Hint, ...]:
    """Read a file of hints.

    Raises:
        PhotochromError: If it cannot be read, is not JSON, or as `hints_from_json`.
    """
    return parse_hints(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a file of hints, unparsed.

    Raises:
        PhotochromError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PhotochromError(f"the hints {path} cannot be read: {error.strerror}") from None


def parse_hints(text: str | bytes, name: str) -> tuple[Hint, ...]:
    """Parse the JSON of `hints_from_json`.

    Args:
        text: The JSON.
        name: Of the file or field, for errors.

    Raises:
        PhotochromError: If it is not JSON, or as `hints_from_json`.
    """
    values = parse_json(text, name, _FORM)
    try:
        return hints_from_json(values)
    except PhotochromError as error:
        raise PhotochromError(f"{name}: {error}") from None


def parse_json(text: str | bytes, name: str, form: str) -> Any:
    """Parse JSON.

    Args:
        text: The JSON, which may begin with a byte order mark.
        name: Of the file or field, for errors.
        form: An example.

    Raises:
        PhotochromError: If it is not JSON, or an object has a key twice.
    """
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except PhotochromError as error:
        raise PhotochromError(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise PhotochromError(f"{name} is not JSON; it has to be a list such as {form}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise PhotochromError(f"a hint has {repeated[:40]!r} more than once; give it once")
    return values


def check_hints(
    hints: Iterable[Hint], size: tuple[int, int] | None = None, *, kind: str = "photo"
) -> tuple[Hint, ...]:
    """Return hints as a tuple.

    Args:
        hints: Hints of one photo.
        size: Width and height in px of the upright photo, if known.
        kind: What it is, for errors.

    Raises:
        PhotochromError: If there are more than `MAX_HINTS`, one is no `Hint`, or one lies outside
            the photo.
    """
    hints = tuple(hints)
    _check_count(len(hints), kind)
    for hint in hints:
        if not isinstance(hint, Hint):
            raise PhotochromError(
                f"a hint is {repr(hint)[:60]}; it has to be a Hint, such as "
                "Hint(410, 220, 'firebrick')"
            )
    if size is not None:
        width, height = size
        for hint in hints:
            if hint.x >= width or hint.y >= height:
                raise PhotochromError(
                    f"the hint {hint} lies outside the {kind} of {width}x{height} pixels; x has to "
                    f"be from 0 to {width - 1}, y from 0 to {height - 1}"
                )
    return hints


def find_upright_size(
    size: tuple[int, int], hints: Sequence[Hint], geometry: "Geometry"
) -> tuple[int, int]:
    """Return the size of a photo whose orientation is not known, once it is upright.

    Args:
        size: Width and height in px before it is made upright.
        hints: Hints of the photo.
        geometry: How it is turned, straightened and cropped.

    Returns:
        The size as it is, or with width and height exchanged if hints and crop fit only that.

    Raises:
        PhotochromError: If they fit neither; it names the size as it is.
    """
    errors = []
    for upright in (size, size[::-1]):
        try:
            geometry.size(*upright)
            check_hints(hints, upright)
        except PhotochromError as error:
            errors.append(error)
        else:
            return upright
    raise errors[0]


def _check_count(count: int, kind: str = "photo") -> None:
    if count > MAX_HINTS:
        raise PhotochromError(f"there are {count} hints; a {kind} takes up to {MAX_HINTS}")


@functools.lru_cache(maxsize=1000)
def _is_color(text: str) -> bool:
    text = text.lower()
    is_hex = re.fullmatch(r"#([0-9a-f]{3}|[0-9a-f]{6})", text)
    return bool(is_hex) or text in ImageColor.colormap or text in SPECIAL_COLORS
