"""`photochrom colorize`."""

from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.extras import need
from photochrom.cli.rendering_options import model_option, rendering_options
from photochrom.cli.text import printable
from photochrom.colorize.options import check_options

if TYPE_CHECKING:
    from photochrom.batch.runner import Result, Settings


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    help="Folder for the results, which keep the photos' names; else beside each as NAME-color.",
)
@model_option
@rendering_options
@click.option(
    "--max-pixels", type=int, metavar="N", help="Refuse a photo of more; 200 million if not given."
)
@click.option("--device", metavar="D", default="auto", help="auto, cpu, cuda, coreml or directml.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="This computer, or a Ray cluster, for which INPUT and OUT may be URLs such as s3://.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Of a Ray cluster: HOST:PORT or auto; else one is started on this computer.",
)
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
    out: str | None,
    report: Path | None,
    resume: Path | None,
    as_json: bool,
    engine: str,
    address: str | None,
    jobs: int | None,
    **options: Any,
) -> None:
    """Colorize photos: files, folders with all that is in them, or patterns.

    A result keeps what the photo's file says besides its pixels, and its bits; the photos stay as
    they are. Exit code: 0 all done, 1 some failed, 2 wrong usage.
    """
    from photochrom.batch.ray import ClusterError
    from photochrom.batch.runner import done_before, report_to
    from photochrom.errors import ModelError, PhotochromError
    from photochrom.progress import progress_bar

    if report and resume:
        raise click.UsageError("--resume adds to its own file; leave out --report")
    if jobs is not None and jobs < 1:
        raise click.UsageError(f"--jobs {jobs}: give the number of processes, 1 or more")
    if address is not None and engine != "ray":
        raise click.UsageError("--address is of a Ray cluster; add --engine ray")
    if options["max_pixels"] is not None and options["max_pixels"] < 1:
        raise click.UsageError(f"--max-pixels {options['max_pixels']}: give 1 or more")
    try:
        settings = _settings(**options)
        done = done_before(resume) if resume else set()
        if engine == "ray":
            count, results = _on_ray(inputs, out, done, settings, address, jobs)
        else:
            count, results = _here(inputs, out, done, settings, jobs)
    except PhotochromError as error:
        raise click.UsageError(printable(error)) from error
    counts = {"done": 0, "skipped": 0, "failed": 0}
    path = report or resume
    # Everything for people goes to stderr, so that stdout is JSON or nothing.
    try:
        with ExitStack() as stack:
            stack.enter_context(closing(results))  # ends the worker processes, also after Ctrl-C
            add = stack.enter_context(report_to(path, go_on=path == resume)) if path else None
            bar = stack.enter_context(progress_bar(total=count, unit="photo", disable=count < 2))
            for result in results:
                counts[result.status] += 1
                if add:
                    add(result)
                with bar.external_write_mode():
                    if result.status != "done":
                        click.echo(_line(result), err=True)
                    if as_json:
                        click.echo(result.to_json())
                bar.update()
    except (ClusterError, ModelError) as error:  # what a model does to one photo is a result
        raise click.UsageError(printable(error)) from error
    finally:  # also after Ctrl-C
        click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    if counts["failed"]:
        ctx.exit(1)


def _here(
    inputs: tuple[str, ...],
    out: str | None,
    done: set[tuple[str, str]],
    settings: "Settings",
    jobs: int | None,
) -> "tuple[int, Generator[Result, None, None]]":
    """Plan the work on this computer; it is done as the results are asked for."""
    from photochrom.batch.planning import plan
    from photochrom.batch.ray.storage import is_url
    from photochrom.batch.runner import colorize_all, without_done

    for place in (*inputs, *([out] if out else [])):
        if is_url(place):
            raise click.UsageError(f"{place} is a URL; give a path, or --engine ray")
    planned = without_done(plan(inputs, Path(out) if out is not None else None), done)
    return len(planned), colorize_all(planned, settings, processes=jobs)


def _on_ray(
    inputs: tuple[str, ...],
    out: str | None,
    done: set[tuple[str, str]],
    settings: "Settings",
    address: str | None,
    jobs: int | None,
) -> "tuple[int, Generator[Result, None, None]]":
    """Plan the work on a cluster, as `_here`."""
    need("ray")
    from photochrom.batch.ray.engine import colorize_on_ray
    from photochrom.batch.ray.tasks import open_tasks, plan_tasks

    planned = open_tasks(plan_tasks(inputs, out), done)
    return len(planned), colorize_on_ray(planned, settings, address=address, actors=jobs)


def _settings(
    model: Path | None,
    device: str,
    max_pixels: int | None,
    overwrite: bool,
    **look: Any,
) -> "Settings":
    from photochrom.batch.runner import Settings
    from photochrom.imagefile.reading import MAX_PIXELS

    check_options(**look)
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
