"""Registries: the parts of a recipe that can be chosen by name, and their settings.

An entry of a registry is `module:name` of a class or function, imported when it is first used. Its
keyword-only parameters are its settings: their annotations say what is valid, their defaults are
the defaults of a recipe. A part that is not registered here is chosen by its own `module:name`,
which has to be importable, or by the name of an entry point of the registry's group.
"""

import contextlib
import importlib
import inspect
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticUserError,
    ValidationError,
    create_model,
    model_validator,
)

from photochrom.errors import RecipeError, first_line

_LARGEST = 1e35  # float32 ends at 3.4e38
Count = Annotated[int, Gt(0)]
NonNegative = Annotated[float, Ge(0), Lt(_LARGEST)]
Positive = Annotated[float, Gt(0), Lt(_LARGEST)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveFraction = Annotated[float, Gt(0), Le(1)]
Side = Annotated[int, Ge(16)]
"""In px."""


_imports_are_allowed = ContextVar("imports_are_allowed", default=True)


@contextlib.contextmanager
def without_imports() -> Iterator[None]:
    """Refuse parts that a recipe gives as `module:name`: importing them runs code, or calls it."""
    token = _imports_are_allowed.set(False)
    try:
        yield
    finally:
        _imports_are_allowed.reset(token)


class Settings(BaseModel):
    """Named values, which may be given as text, as in `--set KEY=VALUE`.

    The text `none` becomes None where None is allowed, and `1,2,3` becomes a tuple.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _convert_text(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        converted = dict(values)
        for key, value in values.items():
            if key in cls.model_fields and isinstance(value, str):
                kinds = _alternatives(cls.model_fields[key].annotation)
                if value.lower() == "none" and type(None) in kinds:
                    converted[key] = None
                elif any(typing.get_origin(kind) is tuple for kind in kinds):
                    converted[key] = [part.strip() for part in value.split(",") if part.strip()]
        return converted

    @classmethod
    def parse(cls, path: str, values: Any) -> typing.Self:
        """Validate values.

        Args:
            path: Dotted key of the section, for messages; empty for a whole recipe.
            values: A mapping.

        Raises:
            RecipeError: If they are invalid.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(_describe(error, path, cls)) from None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (UnionType, typing.Union):
        return typing.get_args(annotation)
    return (annotation,)


def _describe(error: ValidationError, path: str, model: type[BaseModel]) -> str:
    """Return one sentence about the first error."""
    first = error.errors()[0]
    if isinstance(first.get("ctx", {}).get("error"), RecipeError):
        return str(first["ctx"]["error"])
    *parents, name = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    where = ".".join(part for part in (path, *parents) if part)
    key = f"{where}.{name}".strip(".")
    if first["type"] == "extra_forbidden":
        for parent in parents:
            inner = model.model_fields[parent].annotation
            model = next(kind for kind in _alternatives(inner) if hasattr(kind, "model_fields"))
        return unknown_key(where, name, list(model.model_fields))
    if first["type"] == "missing":
        return f"{key} is missing; give it a value"
    return f"{key} is {first['input']!r}; it {_requirement(first['msg'])}"


def _requirement(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")


def unknown_key(section: str, name: str, known: list[str]) -> str:
    """Return the message about a key that a section does not have."""
    choice = f"its keys are {', '.join(known)}" if known else "it has no settings"
    return f"{section or 'a recipe'} has no key {name!r}; {choice}"


@dataclass(frozen=True)
class Component:
    """A part that was chosen by name, with its settings."""

    kind: str
    """The name."""
    settings: dict[str, Any]
    """All of them, by the names of the keyword-only parameters of `implementation`."""
    implementation: Callable[..., Any] = field(repr=False)
    members: tuple[str, ...] = ()
    """Attributes and methods that the result must have."""

    def build(self, *arguments: Any) -> Any:
        """Call the implementation with positional arguments and the settings.

        Raises:
            RecipeError: If the result lacks one of `members`.
        """
        part = self.implementation(*arguments, **self.settings)
        missing = [name for name in self.members if not hasattr(part, name)]
        if missing:
            raise RecipeError(
                f"{self.kind} makes {type(part).__name__} without {', '.join(missing)}; it needs "
                f"{', '.join(self.members)}"
            )
        return part

    def to_dict(self) -> dict[str, Any]:
        """Return what `Registry.parse` takes."""
        return {"kind": self.kind, **self.settings}


@dataclass(frozen=True)
class Term(Component):
    """A weighted term of a loss."""

    weight: float = 1.0

    def __call__(self, sample: Any) -> Any:
        """Return the term, unweighted, of a sample."""
        return self.implementation(sample, **self.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return what `Registry.parse_term` takes."""
        return {"kind": self.kind, "weight": self.weight, **self.settings}


class Registry:
    """The parts of one sort, by name.

    Args:
        what: What an entry is, for messages, such as `generator`; entry points are in the group
            `photochrom.WHAT`, with underscores for spaces.
        entries: Name to `module:name`.
        arguments: Names of the positional arguments that a part is called with.
        members: Attributes and methods that the result of the call must have.
    """

    def __init__(
        self,
        what: str,
        entries: Mapping[str, str],
        arguments: tuple[str, ...] = (),
        members: tuple[str, ...] = (),
    ) -> None:
        self.what = what
        self.arguments = arguments
        self.members = members
        self.group = f"photochrom.{what.replace(' ', '_')}"
        self._entries = dict(entries)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the registered names, without entry points."""
        return tuple(self._entries)

    def load(self, kind: str) -> Callable[..., Any]:
        """Import the class or function of a name.

        Raises:
            RecipeError: If there is none, it cannot be called with `arguments` and settings, or it
                is `module:name` within `without_imports`.
        """
        if ":" in kind and not _imports_are_allowed.get():
            raise RecipeError(
                f"the recipe imports the {self.what} {kind!r}, which is not part of photochrom; "
                "if you trust that code, install it and give --allow-imports"
            )
        address = kind if ":" in kind else self._entries.get(kind)
        if address is None:
            plugins = entry_points(group=self.group)
            if kind not in plugins.names:
                names = ", ".join([*self._entries, *sorted(plugins.names)])
                raise RecipeError(
                    f"unknown {self.what} {kind!r}; choose from {names}, or give module:name of "
                    "your own"
                )
            address = plugins[kind].value
        module, _, name = address.partition(":")
        try:
            implementation: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise RecipeError(
                f"cannot import the {self.what} {kind!r} ({error}); install it, or put its folder "
                "into PYTHONPATH"
            ) from error
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise RecipeError(
                f"cannot import the {self.what} {kind!r}: {type(error).__name__} "
                f"({error}) in {last.filename}, line {last.lineno}; mend it"
            ) from error
        self._check_call(kind, implementation)
        return implementation

    def _check_call(self, kind: str, implementation: Any) -> None:
        """Check that a class or function can be called with `arguments` and settings.

        Raises:
            RecipeError: If it cannot.
        """
        if not (inspect.isclass(implementation) or inspect.isroutine(implementation)):
            raise RecipeError(
                f"the {self.what} {kind!r} is {implementation!r}; give a class or a function"
            )
        try:
            signature = inspect.signature(implementation)
        except ValueError as error:
            raise RecipeError(
                f"the {self.what} {kind!r} has no signature; give a class or a function in Python"
            ) from error
        settings = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
        try:
            signature.bind(*self.arguments, **dict.fromkeys(settings))
        except TypeError as error:
            expected = ", ".join([*self.arguments, "*", "SETTING, ..."])
            raise RecipeError(
                f"the {self.what} {kind!r} takes {signature} ({error}); it is called as "
                f"({expected})"
            ) from None

    def parse(self, values: Any, path: str = "") -> Component:
        """Return the component of a mapping with `kind` and settings.

        Args:
            values: The mapping.
            path: Its dotted key, for messages; empty: `what`.

        Raises:
            RecipeError: If the kind is unknown, or a setting is unknown or invalid.
        """
        if isinstance(values, Component):
            return values
        path = path or self.what.replace(" ", "_")
        if not isinstance(values, Mapping) or not isinstance(values.get("kind"), str):
            raise RecipeError(
                f"{path} is {values!r}; give {path}.kind, one of {', '.join(self._entries)}, and "
                "its settings"
            )
        settings = {key: value for key, value in values.items() if key != "kind"}
        kind = values["kind"]
        implementation = self.load(kind)
        model = settings_of(implementation)
        for key in settings:
            if key not in model.model_fields:
                if key in inspect.signature(implementation).parameters:
                    raise RecipeError(
                        f"{key} of {kind} is no setting, as it is not keyword-only; put it after a "
                        "* in the signature"
                    )
                raise RecipeError(unknown_key(f"{path} ({kind})", key, list(model.model_fields)))
        parsed = model.parse(path, settings)
        complete = {name: getattr(parsed, name) for name in model.model_fields}
        return Component(kind, complete, implementation, self.members)

    def parse_term(self, name: str, values: Any, path: str) -> Term:
        """Return the term of a mapping with `weight`, settings, and `kind`, by default `name`.

        Raises:
            RecipeError: As `parse`, or if the weight is missing or invalid.
        """
        if isinstance(values, Term):
            return values
        if not isinstance(values, Mapping):
            raise RecipeError(f"{path} is {values!r}; give {path}.weight")
        weight = _Weight.parse(path, {k: v for k, v in values.items() if k == "weight"}).weight
        rest = {"kind": name, **{k: v for k, v in values.items() if k != "weight"}}
        component = self.parse(rest, path)
        return Term(component.kind, component.settings, component.implementation, weight=weight)


class _Weight(Settings):
    weight: NonNegative


class _OwnSettings(Settings):
    model_config = ConfigDict(validate_default=True)


@cache
def settings_of(implementation: Callable[..., Any]) -> type[Settings]:
    """Return the model of the keyword-only parameters of a class or function.

    Raises:
        RecipeError: If one has no annotation, an annotation that pydantic does not know, a default
            that its annotation does not allow, or a name that recipes use otherwise.
    """
    function = implementation.__init__ if inspect.isclass(implementation) else implementation
    where = getattr(implementation, "__qualname__", repr(implementation))
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    for parameter in parameters:
        if parameter.name in ("kind", "weight") or parameter.name.startswith("_"):
            raise RecipeError(
                f"the parameter {parameter.name} of {where} cannot be a setting; give it a name "
                "other than kind and weight, without an underscore before it"
            )
        if parameter.annotation is parameter.empty:
            raise RecipeError(
                f"the parameter {parameter.name} of {where} has no annotation; annotate what is "
                "valid, such as int"
            )
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {
            p.name: (hints[p.name], ... if p.default is p.empty else p.default) for p in parameters
        }
        model = create_model("Settings", __base__=_OwnSettings, **fields)
    except (NameError, TypeError, PydanticUserError) as error:
        raise RecipeError(
            f"the parameters of {where} cannot be settings ({first_line(error)}); annotate them "
            "with types that pydantic can check"
        ) from error
    try:
        model.model_validate({})
    except ValidationError as error:
        wrong = [entry for entry in error.errors() if entry["type"] != "missing"]
        if wrong:
            raise RecipeError(
                f"the default of {wrong[0]['loc'][0]} of {where} is {wrong[0]['input']!r}; it "
                f"{_requirement(wrong[0]['msg'])}"
            ) from None
    return model
