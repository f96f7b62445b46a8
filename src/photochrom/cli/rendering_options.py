"""Options shared by the commands that colorize."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from photochrom.colorize.options import OPTIONS

model_option = click.option(
    "--model",
    metavar="M",
    type=click.Path(path_type=Path),
    help="An ONNX file from `photochrom export`. Default: the built-in model.",
)
device_option = click.option(
    "--device",
    metavar="D",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, coreml or directml.",
)


def rendering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each of `OPTIONS`."""
    types = {"number": float, "integer": int, "flag": bool}
    for option in reversed(OPTIONS):
        name = f"--{option.name}"
        command = click.option(
            f"{name}/--no-{option.name}" if option.kind == "flag" else name,
            type=types[option.kind],
            default=option.default,
            show_default=option.default is not None,
            help=option.help,
        )(command)
    return command
