"""Photos in folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from photochrom.path_types import DIRECTORY
from photochrom.training.data.sources.source import Source


def _find(sources: tuple[Path, ...], **_: Any) -> Mapping[str, Path]:
    from photochrom.batch.folders import find_photos

    return find_photos(sources)


FOLDER = Source(
    "Sample, check and resize the photos in the folders SRC, and pack them into DEST.",
    _find,
    (
        click.Argument(
            ["sources"],
            nargs=-1,
            required=True,
            metavar="SRC...",
            type=DIRECTORY,
        ),
        click.Option(["--count"], type=int, help="Number of photos. Default: all usable ones."),
    ),
)
