"""`photochrom colorize`."""

import dataclasses
import json
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.extras import need
from photochrom.cli.rendering_options import (
    device_option,
    model_option,
    photo_options,
    rendering_options,
)
from photochrom.cli.text import as_usage, printable
from photochrom.colorize.options import check_options
from photochrom.path_types import FILE

if TYPE_CHECKING:
    from photochrom.batch.dry_run import DryRun
    from photochrom.batch.report import Result


@click.command()
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--out",
    metavar="OUT",
    help="Folder or URL for the results, which have the names of the photos. Default: beside each "
    "photo, as NAME-color.",
)
@model_option
@rendering_options
@photo_options
@click.option(
    "--hint",
    "hint_texts",
    multiple=True,
    metavar="X,Y,COLOUR",
    help="The colour of a place in a photo, in px: a CSS name, a hex colour, original or neutral. "
    "For one photo; repeat it for more places.",
)
@click.option(
    "--hints",
    metavar="FILE",
    help="Such hints in JSON, for one photo, or a folder of files NAME.EXT.hints.json; a path or "
    "a URL.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse larger photos. Default: 200 million.",
)
@device_option
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="This computer, or a Ray cluster.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Address of a Ray cluster: HOST:PORT or auto. Default: start one on this computer.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of processes. Default: one per core.",
)
@click.option(
    "--recolor",
    is_flag=True,
    help="Colorize photos that are in colour already too. Default: leave them out of a batch, and "
    "colorize a single one with a warning.",
)
@click.option("--times", is_flag=True, help="Give results the times of their photos.")
@click.option(
    "--sidecar",
    is_flag=True,
    help="Write the XMP of a result beside it as well, as RESULT.xmp.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="List each photo with its result, what is refused, and the time and disk needed; write "
    "nothing.",
)
@click.option("--overwrite", is_flag=True, help="Replace existing results.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per photo.")
@click.option(
    "--report",
    type=FILE,
    metavar="FILE",
    help="Write the same objects to a new file, one per line.",
)
@click.option(
    "--resume",
    type=FILE,
    metavar="FILE",
    help="Skip photos that this report lists as done, unless they have changed; append to it.",
)
@click.option(
    "--checksum",
    is_flag=True,
    help="Put the SHA-256 of photos and results into the report, and let --resume compare them.",
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
    model: Path | None,
    device: str,
    max_pixels: int | None,
    recolor: bool,
    times: bool,
    sidecar: bool,
    dry_run: bool,
    overwrite: bool,
    checksum: bool,
    format: str | None,
    truncated: bool,
    hint_texts: tuple[str, ...],
    hints: str | None,
    **options: Any,
) -> None:
    """Colorize photos: files, folders including subfolders, or patterns; paths or URLs (s3://).

    A result has the metadata and the bit depth of its photo. Photos are never changed. Exit code:
    0 all done, 1 some failed or the work cannot begin, 2 wrong usage.
    """
    from photochrom.batch.dry_run import DryRun
    from photochrom.batch.hints import give_hints
    from photochrom.batch.planning import plan
    from photochrom.batch.resuming import read_finished, skip_finished
    from photochrom.batch.runner import Settings, colorize_all
    from photochrom.colorize.hints import parse_hint
    from photochrom.imagefile.reading import MAX_PIXELS

    _check_usage(
        (*inputs, out or ""),
        report,
        resume,
        dry_run=dry_run,
        engine=engine,
        address=address,
        paths_only={"--sidecar": sidecar, "--times": times},
    )
    check_options(**options)
    with as_usage():
        single_hints = tuple(map(parse_hint, hint_texts))
    if engine == "ray":
        need("ray")
    settings = Settings(
        model=model,
        device=device,
        options=options,
        max_pixels=max_pixels or MAX_PIXELS,
        overwrite=overwrite,
        checksum=checksum,
        recolor=recolor or None,
        keep_times=times,
        sidecar=sidecar,
        format=format,
        truncated=truncated,
    )
    finished = read_finished(resume) if resume else {}
    without_hints = hints is None and not single_hints
    if without_hints and not overwrite and any(r.hints for r in finished.values()):
        raise click.UsageError(
            f"{resume} has photos with hints; give their --hints again, or colorize them "
            "without by --overwrite"
        )
    planned = plan(inputs, out, format=format)
    settings = settings.for_batch(len(planned.jobs))
    planned = skip_finished(
        give_hints(planned, hints, single_hints),
        finished,
        checksum=checksum,
        overwrite=overwrite,
        recolor=recolor,
    )
    if any(job.hints for job in planned.jobs):
        settings.check_takes_hints()
    known, count = planned.results, len(planned.jobs)
    results: Generator[Result, None, None]
    preview: DryRun | None = None
    if dry_run:
        preview = DryRun(planned.jobs, settings, processes=jobs)
        results = preview.run()
    elif engine == "ray":
        from photochrom.batch.ray.engine import colorize_on_ray

        results = colorize_on_ray(planned.jobs, settings, address=address, actors=jobs)
    else:
        results = colorize_all(planned.jobs, settings, processes=jobs)
    counts = Counter({"planned" if dry_run else "done": 0, "skipped": 0, "failed": 0})
    is_quiet = False
    try:
        _report(
            known,
            results,
            count,
            counts,
            file=None if dry_run else report or resume,
            append=bool(resume),
            as_json=as_json,
            preview=preview,
        )
    except BrokenPipeError:  # of `| head`
        is_quiet = True
        raise
    finally:  # also after Ctrl-C
        if not is_quiet:
            line = ", ".join(f"{count} {status}" for status, count in counts.items())
            click.echo(line, err=True)
    if counts["failed"]:
        ctx.exit(1)


def _check_usage(
    locations: Sequence[str],
    report: Path | None,
    resume: Path | None,
    *,
    dry_run: bool,
    engine: str,
    address: str | None,
    paths_only: dict[str, bool],
) -> None:
    """Check that options go together, and with the locations of photos and results.

    Raises:
        UsageError: If they do not.
    """
    from photochrom.batch.locations import is_url

    if report and resume:
        raise click.UsageError("--resume appends to its own file; leave out --report")
    if dry_run and (report or engine == "ray"):
        raise click.UsageError("--dry-run writes no --report and needs --engine local")
    if address is not None and engine != "ray":
        raise click.UsageError("--address needs --engine ray; add it, or leave out --address")
    for url in filter(is_url, locations):
        for option, is_given in paths_only.items():
            if is_given:
                raise click.UsageError(f"{option} needs paths; leave it out for {url}")
        if url.startswith("memory://"):
            raise click.UsageError(f"{url} is in the memory of one process; give a path or s3://")
    for file in filter(None, (report, resume)):
        if is_url(file.as_posix().replace(":/", "://", 1)):  # a Path has one slash
            raise click.UsageError(f"a report is a file on this computer; give a path, not {file}")


def _report(
    known: Sequence["Result"],
    results: Generator["Result", None, None],
    total: int,
    counts: Counter[str],
    *,
    file: Path | None,
    append: bool,
    as_json: bool,
    preview: "DryRun | None",
) -> None:
    """Print results, write them to a report, and count them by their status.

    Args:
        known: Results that needed no work.
        results: Results of the work, which ends when this function does.
        total: Number of `results`.
        counts: Gets the number of results of each status.
        file: The report, if any.
        append: Whether the report exists.
        as_json: Whether results are printed in JSON on stdout. Messages go to stderr.
        preview: The dry run whose results these are, if they are.
    """
    from photochrom.batch.report import open_report
    from photochrom.progress import progress_bar

    with ExitStack() as stack:
        stack.enter_context(closing(results))  # kills the worker processes after Ctrl-C
        write = stack.enter_context(open_report(file, append=append)) if file else None
        bar = stack.enter_context(progress_bar(total=total, unit="photo", disable=total < 2))
        for number, result in enumerate(chain(known, results)):
            counts[result.status] += 1
            if write:
                write(result)
            with bar.external_write_mode():
                _print_messages(result)
                if as_json or preview is not None:
                    try:
                        _print_result(result, as_json=as_json)
                    except BrokenPipeError:
                        bar.disable = True
                        raise
            if number >= len(known):
                bar.update()
    estimate = preview.estimate() if preview is not None else None
    if estimate is not None and as_json:
        click.echo(json.dumps({"estimate": dataclasses.asdict(estimate)}, default=str))
    elif estimate is not None:
        for line in estimate.describe():
            click.echo(printable(line), err=True)


def _print_result(result: "Result", *, as_json: bool) -> None:
    """Print a result on stdout: as JSON, or of a dry run as a line that says what becomes what."""
    if as_json:
        click.echo(result.to_json())
    elif result.status == "planned":
        click.echo(printable(f"{result.input} -> {result.output}"))


def _print_messages(result: "Result") -> None:
    """Print on stderr why a photo or hints were not used, and what was lost of a photo."""
    from photochrom.batch.folders import has_photo_suffix
    from photochrom.colorize.hints import is_hints_file

    name = str(result.input)
    # Other ignored files, which are no photos by their names, are counted only.
    is_named = result.output is not None or has_photo_suffix(name) or is_hints_file(name)
    if result.status in ("skipped", "failed") or (result.status == "ignored" and is_named):
        reason = result.error or result.reason
        click.echo(printable(f"{result.status} {result.input}: {reason}"), err=True)
    if result.warnings:
        line = f"warning {result.input}: {'; '.join(result.warnings)}"
        click.echo(printable(line), err=True)
