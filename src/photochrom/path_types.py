"""The types of arguments and options that are paths."""

import os
from pathlib import Path
from typing import Any

import click


class _PathType(click.Path):
    """A path with a name: the empty text, as of an unset variable, would be the current folder."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Return the path."""
        if not os.fspath(value):
            self.fail("it is empty; give a path, such as . for the current folder", param, ctx)
        return super().convert(value, param, ctx)


PATH = _PathType()
DIRECTORY = _PathType(file_okay=False)
FILE = _PathType(dir_okay=False)
