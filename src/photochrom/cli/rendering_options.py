"""The options of how a picture comes out, which several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from photochrom.colorize.options import OPTIONS

model_option = click.option(
    "--model",
    metavar="M",
    type=click.Path(path_type=Path),
    help="An ONNX file from `photochrom export`; else the model that comes with photochrom.",
)


def look_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a picture's look, as `OPTIONS` declares them."""
    types = {"number": float, "integer": int}
    for option in reversed(OPTIONS):
        if option.kind == "flag":
            names = f"--{option.name}/--no-{option.name}"
            added = click.option(names, default=option.default, help=option.help, show_default=True)
        else:
            added = click.option(
                f"--{option.name}",
                type=types[option.kind],
                default=option.default,
                show_default=option.default is not None,
                help=option.help,
            )
        command = added(command)
    return command
