"""Options shared by the commands that colorize."""

from collections.abc import Callable
from typing import Any

import click

from photochrom.colorize.options import FILE_OPTIONS, GEOMETRY_OPTIONS, OPTIONS, Option
from photochrom.path_types import PATH

model_option = click.option(
    "--model",
    metavar="M",
    type=PATH,
    help="An ONNX file from `photochrom export`. Default: the default model of photochrom.",
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "coreml", "directml"]),
    default="auto",
    show_default=True,
    help="What runs the network.",
)


class Rectangle(click.ParamType[tuple[int, ...]]):
    """Left, top, width and height in px, such as 10,20,300,400."""

    name = "left,top,width,height"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the four numbers; their range is checked with the other options."""
        try:
            left, top, width, height = map(int, str(value).split(","))
        except ValueError:
            self.fail(
                f"{value!r} has to be four whole numbers: left,top,width,height in px, such as "
                "10,20,300,400",
                param,
                ctx,
            )
        return left, top, width, height


def rendering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each of `OPTIONS`."""
    return _add_options(command, OPTIONS)


def photo_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each of `GEOMETRY_OPTIONS` and `FILE_OPTIONS`."""
    return _add_options(command, (*GEOMETRY_OPTIONS, *FILE_OPTIONS))


def _add_options(command: Callable[..., Any], options: tuple[Option, ...]) -> Callable[..., Any]:
    types = {"number": float, "integer": int, "flag": bool, "choice": int}
    for option in reversed(options):
        name = f"--{option.name}"
        type_: Any = types.get(option.kind)
        if option.kind == "rectangle":
            type_ = Rectangle()
        elif option.choices and isinstance(option.choices[0], str):
            type_ = click.Choice(option.choices)
        command = click.option(
            f"{name}/--no-{option.name}" if option.kind == "flag" and option.default else name,
            type=type_,
            is_flag=option.kind == "flag",
            metavar="L,T,W,H" if option.kind == "rectangle" else None,
            default=option.default,
            show_default=option.default is not None,
            help=option.help,
        )(command)
    return command
