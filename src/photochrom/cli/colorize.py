"""`photochrom colorize`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from photochrom.cli.text import printable

if TYPE_CHECKING:
    from photochrom.batch import Result


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Folder for the results, which keep the photos' names; else beside each as NAME-color.",
)
@click.option(
    "--model",
    metavar="M",
    type=click.Path(path_type=Path),
    help="An ONNX file from `photochrom export`; else the model that comes with photochrom.",
)
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each photo.")
@click.pass_context
def colorize(
    ctx: click.Context,
    inputs: tuple[str, ...],
    out: Path | None,
    model: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Colorize photos: files, folders with all that is in them, or patterns.

    The photos stay as they are. Exit code: 0 all done, 1 some failed, 2 wrong usage.
    """
    from tqdm import tqdm

    from photochrom.batch import colorize_all, plan
    from photochrom.colorizer import Colorizer
    from photochrom.errors import PhotochromError

    try:
        jobs = plan(inputs, out)
        colorizer = Colorizer(model)
    except PhotochromError as error:
        raise click.UsageError(printable(error)) from error
    counts = {"done": 0, "skipped": 0, "failed": 0}
    # Everything for people goes to stderr, so that stdout is JSON or nothing.
    try:
        with tqdm(total=len(jobs), unit="photo", file=sys.stderr, disable=None) as bar:
            for result in colorize_all(jobs, colorizer, overwrite=overwrite):
                counts[result.status] += 1
                if result.status != "done":
                    bar.write(_line(result), file=sys.stderr)
                if as_json:
                    bar.write(_json(result), file=sys.stdout)
                bar.update()
    finally:  # also after Ctrl-C
        click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    if counts["failed"]:
        ctx.exit(1)


def _line(result: "Result") -> str:
    reason = result.error or f"{result.output} exists"
    return printable(f"{result.status} {result.input}: {reason}")


def _json(result: "Result") -> str:
    import dataclasses
    import json

    return json.dumps(dataclasses.asdict(result), default=str)
