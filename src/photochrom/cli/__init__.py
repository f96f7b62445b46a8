"""The command line: parse arguments, call the library, print.

Commands import heavy modules in their bodies, so that --help is fast.
"""

import errno
import os
import sys
from typing import Any

import click

from photochrom.cli.colorize import colorize
from photochrom.cli.data import data
from photochrom.cli.evaluation import compare, evaluate, table
from photochrom.cli.hub import hub
from photochrom.cli.reproduce import reproduce
from photochrom.cli.site import site
from photochrom.cli.study import study
from photochrom.cli.text import printable
from photochrom.cli.training import export, recipes, train
from photochrom.cli.video import video
from photochrom.cli.web import web
from photochrom.errors import PhotochromError, UsageError
from photochrom.safe_path import safe_path
from photochrom.version import __version__


class _Main(click.Group):
    """Prints errors as one line on stderr, with exit code 1, or 2 for wrong usage."""

    def invoke(self, ctx: click.Context) -> Any:
        _open_streams()
        try:
            with safe_path():
                return super().invoke(ctx)
        except UsageError as error:
            raise click.UsageError(printable(error)) from error
        except PhotochromError as error:
            raise click.ClickException(printable(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # from `| head`; click exits quietly
                raise
            path = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(printable(f"{path}{error.strerror or error}")) from error


def _open_streams() -> None:
    """Replace streams that a scheduler has closed, so that printing does not fail."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (never closed)
            setattr(sys, name, stream)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="photochrom")
def main() -> None:
    """Colorize black-and-white photos and videos; train and evaluate the networks."""


for _command in (
    colorize,
    video,
    web,
    site,
    study,
    data,
    recipes,
    train,
    evaluate,
    compare,
    table,
    export,
    hub,
    reproduce,
):
    main.add_command(_command)
