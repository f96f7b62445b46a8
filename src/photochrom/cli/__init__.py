"""The command line: it reads arguments, calls the library and prints.

Help has to appear at once, so commands import what is heavy in their own bodies.
"""

import errno
import os
import sys
from typing import Any

import click

from photochrom.cli.colorize import colorize
from photochrom.cli.study import study
from photochrom.cli.text import printable
from photochrom.cli.training import COMMANDS
from photochrom.cli.video import video
from photochrom.cli.web import web
from photochrom.errors import PhotochromError
from photochrom.version import __version__


class _Main(click.Group):
    """The one place where refusals become a line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        _open_streams()
        try:
            return super().invoke(ctx)
        except PhotochromError as error:
            raise click.ClickException(printable(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` was content; click ends quietly
                raise
            where = f"{error.filename}: " if error.filename else ""
            message = printable(f"{where}{error.strerror or error}")
            raise click.ClickException(message) from error


def _open_streams() -> None:
    """Let what is printed vanish where a scheduler has closed the streams, but do the work."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 (open to the end)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="photochrom")
def main() -> None:
    """Colorize black-and-white photographs; train and compare the networks that do it."""


for _command in (colorize, video, web, study, *COMMANDS):
    main.add_command(_command)
