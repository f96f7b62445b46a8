"""A look: how one photo is made. The page sends it with every request, as JSON or as a query."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from photochrom.colorize.hints import Hint, check_hints, hints_from_json, parse_hint
from photochrom.colorize.options import (
    FILE_OPTIONS,
    GEOMETRY_OPTIONS,
    OPTIONS,
    check_options,
)
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry

_KINDS = {
    "saturation": "a number",
    "strength": "a number",
    "size": "a whole number, or none for the model's own",
    "mark": "true or false",
    "model": "the name of a model",
    "turn": "a whole number",
    "straighten": "a number",
    "crop": "left, top, width and height in whole pixels",
    "format": "jpeg, or none for the format of the photo",
    "truncated": "true or false",
}


def _split_crop(value: Any) -> Any:
    """Return "left,top,width,height" or a list of JSON as a tuple, anything else unchanged."""
    if isinstance(value, str):
        parts = value.split(",")
        return tuple(int(part) if part.strip("- ").isdecimal() else part for part in parts)
    return tuple(value) if isinstance(value, list) else value


def _parse_hints(value: Any) -> Any:
    """Return "x,y,color;x,y,color", a list of JSON or hints as hints.

    Raises:
        PhotochromError: If a value is not allowed for any photo.
    """
    if isinstance(value, str):
        return check_hints(parse_hint(part) for part in value.split(";"))
    if isinstance(value, tuple) and all(isinstance(hint, Hint) for hint in value):
        return value
    return hints_from_json(value)


class Look(BaseModel):
    """How one photo is made: the options of library, command line and API, and the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    saturation: float = 1.0
    strength: float = 1.0
    size: int | None = None
    mark: bool = True
    model: str = ""
    """A name; empty: the default model."""
    turn: int = 0
    straighten: float = 0.0
    crop: Annotated[tuple[int, int, int, int] | None, BeforeValidator(_split_crop)] = None
    format: str | None = None
    truncated: bool = False
    hints: Annotated[tuple[Hint, ...], BeforeValidator(_parse_hints)] = ()

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> "Look":
        """Parse a query; other keys are ignored, and missing or empty values are the defaults.

        Raises:
            PhotochromError: If a value has the wrong type, or a hint is not allowed for any photo.
        """
        values = {name: query[name] for name in cls.model_fields if query.get(name)}
        return _validate(values, strict=False)

    def changed(self, changes: Mapping[str, Any]) -> "Look":
        """Return this look with some values of JSON.

        Raises:
            PhotochromError: If a key is unknown, a value has the wrong type, or a hint is not
                allowed for any photo.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return _validate(values | dict(changes), strict=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of `colorize_file`."""
        options = (*OPTIONS, *GEOMETRY_OPTIONS, *FILE_OPTIONS)
        return {option.name: getattr(self, option.name) for option in options}

    @property
    def geometry(self) -> Geometry:
        """What happens to the photo before it is colorized.

        Raises:
            PhotochromError: If a value is out of range.
        """
        return Geometry(self.turn, self.straighten, self.crop)

    def check(self) -> None:
        """Check the ranges; the model is checked by the server, which knows them.

        Raises:
            PhotochromError: If a value is out of range.
        """
        check_options(**self.options)


def _validate(values: Mapping[str, Any], *, strict: bool) -> Look:
    try:
        return Look.model_validate(values, strict=strict)
    except ValidationError as error:
        details = error.errors()[0]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, PhotochromError):
        raise cause
    name = str(details["loc"][0])
    if name not in _KINDS:
        raise PhotochromError(
            f"there is no option {name[:40]!r}; it has to be one of {', '.join(Look.model_fields)}"
        )
    raise PhotochromError(f"{name} is {str(values[name])[:40]!r}; it has to be {_KINDS[name]}")
