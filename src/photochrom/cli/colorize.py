"""`photochrom colorize`."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.text import printable
from photochrom.options import OPTIONS, check_look

if TYPE_CHECKING:
    from tqdm import tqdm

    from photochrom.batch import Result, Settings


def _look_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a photo's look, as `OPTIONS` declares them."""
    types = {"number": float, "whole": int}
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
@_look_options
@click.option(
    "--max-pixels", type=int, metavar="N", help="Refuse a photo of more; 200 million if not given."
)
@click.option("--device", metavar="D", default="auto", help="auto, cpu, cuda, coreml or directml.")
@click.option(
    "-j", "--jobs", type=int, metavar="N", help="Processes; one for each core if not given."
)
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each photo.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the same objects, one on a line, to a new file.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Leave out what this report says is done, and add to it.",
)
@click.pass_context
def colorize(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    out: Path | None,
    report: Path | None,
    resume: Path | None,
    as_json: bool,
    jobs: int | None,
    **options: Any,
) -> None:
    """Colorize photos: files, folders with all that is in them, or patterns.

    A result keeps what the photo's file says besides its pixels, and its bits; the photos stay as
    they are. Exit code: 0 all done, 1 some failed, 2 wrong usage.
    """
    from photochrom.batch import colorize_all, done_before, report_to, without_done
    from photochrom.errors import ModelError, PhotochromError
    from photochrom.plan import plan

    if report and resume:
        raise click.UsageError("--resume adds to its own file; leave out --report")
    if jobs is not None and jobs < 1:
        raise click.UsageError(f"--jobs {jobs}: give the number of processes, 1 or more")
    if options["max_pixels"] is not None and options["max_pixels"] < 1:
        raise click.UsageError(f"--max-pixels {options['max_pixels']}: give 1 or more")
    try:
        planned = plan(inputs, out)
        if resume:
            planned = without_done(planned, done_before(resume))
        settings = _settings(**options)
    except PhotochromError as error:
        raise click.UsageError(printable(error)) from error
    counts = {"done": 0, "skipped": 0, "failed": 0}
    path = report or resume
    # Everything for people goes to stderr, so that stdout is JSON or nothing.
    try:
        with ExitStack() as stack:
            add = stack.enter_context(report_to(path, go_on=path == resume)) if path else None
            bar = stack.enter_context(_progress(len(planned)))
            for result in colorize_all(planned, settings, processes=jobs):
                counts[result.status] += 1
                if add:
                    add(result)
                with bar.external_write_mode() if bar else nullcontext():
                    if result.status != "done":
                        click.echo(_line(result), err=True)
                    if as_json:
                        click.echo(result.to_json())
                if bar:
                    bar.update()
    except ModelError as error:  # it could not be loaded; what it does to one photo is a result
        raise click.UsageError(printable(error)) from error
    finally:  # also after Ctrl-C
        click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    if counts["failed"]:
        ctx.exit(1)


def _progress(count: int) -> "AbstractContextManager[tqdm[Any] | None]":
    """Return a bar, or nothing where nobody would see it."""
    if count < 2 or not sys.stderr.isatty():
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=count, unit="photo", file=sys.stderr)


def _settings(
    model: Path | None,
    device: str,
    max_pixels: int | None,
    overwrite: bool,
    **look: Any,
) -> "Settings":
    from photochrom.batch import Settings
    from photochrom.reading import MAX_PIXELS

    check_look(**look)
    return Settings(
        model=model,
        device=device,
        look=look,
        max_pixels=max_pixels or MAX_PIXELS,
        overwrite=overwrite,
    )


def _line(result: "Result") -> str:
    reason = result.error or f"{result.output} exists"
    return printable(f"{result.status} {result.input}: {reason}")
