"""Text for the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from photochrom.errors import PhotochromError


def printable(message: object) -> str:
    """Return a message with control characters and undecodable bytes escaped."""
    text = str(message)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def as_usage() -> Iterator[None]:
    """Take refused values of options for wrong usage, with exit code 2.

    Raises:
        click.UsageError: In place of a PhotochromError.
    """
    try:
        yield
    except PhotochromError as error:
        raise click.UsageError(printable(error)) from error
