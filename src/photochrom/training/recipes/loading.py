"""Recipes from files: the named ones in `named/`, and those of users, in TOML or JSON.

A TOML file may have a `base`, the name of a recipe; it then has only the values that differ.
"""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomli_w

from photochrom.errors import RecipeError
from photochrom.training.recipes.recipe import Recipe, derive

_FOLDER = files("photochrom.training.recipes") / "named"


@cache
def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _FOLDER.iterdir()))


@cache
def named_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        RecipeError: If there is none.
    """
    if name not in recipe_names():
        raise RecipeError(
            f"unknown recipe {name!r}; choose from {', '.join(recipe_names())}, or give a .toml or "
            ".json file"
        )
    return _parse_toml((_FOLDER / f"{name}.toml").read_text("utf-8"), name)


def read_source(name: str) -> str:
    """Return the `source` of a named recipe; unlike `named_recipe`, this imports no torch."""
    return str(tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))["source"])


def load_recipe(name_or_path: str) -> Recipe:
    """Return the recipe of a name, or of a .toml or .json file.

    Raises:
        RecipeError: If there is none, the file cannot be read, or the recipe is invalid.
    """
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json"):
        return named_recipe(name_or_path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise RecipeError(f"cannot read the recipe {path}: {reason}") from error
    if path.suffix == ".json":
        return Recipe.from_json(text)
    return _parse_toml(text, str(path))


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML, with all values except None, which TOML does not have."""
    return tomli_w.dumps(_without_none(recipe.to_dict()))


def _parse_toml(text: str, name: str) -> Recipe:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{name} is not TOML: {error}") from None
    base = values.pop("base", None)
    return Recipe.from_dict(values) if base is None else derive(named_recipe(base), values)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
