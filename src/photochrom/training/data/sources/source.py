"""`Source`: a kind of source of photos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click


@dataclass(frozen=True)
class Source:
    """A command of `photochrom data`."""

    help: str
    """Help text of the command; its argument DEST is the folder of the data set."""
    find: Callable[..., Mapping[str, Path]]
    """Returns photos by their names in the manifest, which must be the same on every machine.

    Its keywords are the values of `params`, and `dest` and `seed` of the data set. Heavy modules
    are imported in its body, so that `photochrom --help` is fast.
    """
    params: Sequence[click.Parameter]
    """Its own arguments and options. One of them is `--count`, the number of photos that the data
    set gets; None: all that are usable."""
    extra: str | None = None
    """The extra of pyproject.toml that it needs."""
