"""Photos of COCO, downloaded."""

from collections.abc import Mapping
from pathlib import Path

import click

from photochrom.training.data.sources.source import Source


def _find(dest: Path, seed: int, count: int, split: str, workers: int) -> Mapping[str, Path]:
    from photochrom.training.data.coco import fetch

    folder = dest.with_name(dest.name + "-photos")
    paths = fetch(folder, count=count, split=split, seed=seed, workers=workers)
    return {path.name: path for path in paths}


COCO = Source(
    """Download photos of COCO and pack them into DEST.

    Downloads are kept in DEST-photos; the same command resumes an interrupted download.""",
    _find,
    (
        click.Option(["--count"], default=8000, show_default=True, help="Number of photos."),
        click.Option(
            ["--split"],
            default="train2017",
            show_default=True,
            help="Split of COCO: train2017 or val2017.",
        ),
        click.Option(
            ["--workers"], default=8, show_default=True, help="Number of parallel downloads."
        ),
    ),
    extra="train",
)
