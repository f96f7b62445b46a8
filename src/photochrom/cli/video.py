"""`photochrom video`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from photochrom.cli.extras import need
from photochrom.cli.rendering_options import device_option, model_option, rendering_options
from photochrom.cli.text import as_usage, printable
from photochrom.path_types import PATH

if TYPE_CHECKING:
    from photochrom.video.pipeline import VideoResult


@click.command()
@click.argument("path", metavar="IN", type=PATH)
@click.argument("target", metavar="[OUT]", type=PATH, required=False)
@model_option
@rendering_options
@click.option(
    "--codec",
    type=click.Choice(["h264", "hevc", "vp9", "ffv1", "prores"]),
    help="Default: vp9 for .webm, else h264.",
)
@click.option(
    "--quality",
    type=int,
    metavar="CRF",
    help="Smaller values are better and make larger files. Default: depends on the codec.",
)
@click.option(
    "--steady/--no-steady",
    default=True,
    show_default=True,
    help="Use one set of colours for each shot, or colorize each frame independently.",
)
@device_option
@click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1),
    metavar="N",
    help="Number of processes. Default: one per core.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    help="Refuse larger frames. Default: 36 million.",
)
@click.option(
    "--field",
    type=click.Choice(["progressive", "tff", "bff", "telecine"]),
    help="What the frames are: progressive, interlaced with the top (tff) or bottom (bff) field "
    "first, or telecined. Default: found from the pictures.",
)
@click.option(
    "--hints",
    type=PATH,
    metavar="FILE",
    help="Colours of places in JSON, each from a time until the next cut.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="FILE@TIME",
    help="A frame in colour, which gives its shot its colours. May be repeated.",
)
@click.option(
    "--shots",
    type=PATH,
    metavar="FILE",
    help="The list of shots in JSON: written unless it exists; edit it and run again.",
)
@click.option(
    "--start", metavar="T", help="Colorize the frames from this time on: h:mm:ss.s, or seconds."
)
@click.option("--end", metavar="T", help="Colorize the frames that begin before this time.")
@click.option(
    "--sheet",
    type=PATH,
    metavar="FILE",
    help="Save a contact sheet as PNG or JPEG: one frame of each shot, in colour.",
)
@click.option("--recolor", is_flag=True, help="Colorize shots that are in colour already too.")
@click.option(
    "--rate",
    metavar="R",
    help="Frames per second of an image sequence, such as 16, 23.976 or 24000/1001. Default: 24.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--restart", is_flag=True, help="Discard the checkpoint of an interrupted run.")
@click.pass_context
def video(
    ctx: click.Context,
    /,
    path: Path,
    target: Path | None,
    max_pixels: int | None,
    rate: str | None,
    hints: Path | None,
    sheet: Path | None,
    shots: Path | None,
    start: str | None,
    end: str | None,
    **options: Any,
) -> None:
    """Colorize a video.

    OUT has to end in .mp4, .m4v, .mov, .mkv or .webm. Audio, subtitles, timestamps and the
    aspect ratio are kept. IN and OUT can also be image sequences of TIFF, PNG or DPX, such as
    scan/reel_%06d.tif, and IN a folder with one. After an interruption, the same command resumes
    from the checkpoint in OUT.partial. Without OUT, only a contact sheet or a list of shots is
    made.
    """
    if target is None:
        _refuse_unused(ctx, sheet)
    need("video")
    from photochrom.video.colors.checkpoint import checkpoint_folder
    from photochrom.video.pipeline import colorize_video, list_shots, preview_video
    from photochrom.video.reading.sequences import parse_rate
    from photochrom.video.shots.hints import read_timed_hints
    from photochrom.video.shots.parts import TimeRange
    from photochrom.video.shots.references import parse_reference
    from photochrom.video.shots.times import parse_time

    if hints is not None:
        options["hints"] = read_timed_hints(hints)
    source: dict[str, Any] = {}
    with as_usage():
        options["references"] = [parse_reference(text) for text in options["references"]]
        source["part"] = TimeRange(
            parse_time(start or 0, "--start"), None if end is None else parse_time(end, "--end")
        )
        if rate is not None:
            source["rate"] = parse_rate(rate)
    if max_pixels is not None:
        source["max_pixels"] = max_pixels
    bars = _Bars()
    try:
        if target is not None:
            options |= {"sheet": sheet, "shots": shots} | source
            result = colorize_video(path, target, progress=bars, notify=bars.notify, **options)
        elif sheet is not None:
            del options["codec"], options["quality"], options["steady"], options["restart"]
            options |= {"sheet": sheet, "shots": shots} | source
            preview_video(path, progress=bars, notify=bars.notify, **options)
        else:
            assert shots is not None
            source["field"] = options["field"]
            count = list_shots(path, shots, progress=bars, notify=bars.notify, **source)
            bars.notify(f"{shots}: {count} shots")
    except KeyboardInterrupt:
        has_checkpoint = target is not None and checkpoint_folder(target).exists()
        message = "the same command resumes from here" if has_checkpoint else "no work was saved"
        click.echo(f"\nstopped; {message}", err=True)
        ctx.exit(130)
    finally:
        bars.close()
    if target is not None:
        _print_result(target, result)


_ONLY_WITH_OUT = {"codec", "quality", "steady", "restart"}
_OF_LIST = {"path", "shots", "start", "end", "rate", "max_pixels", "field"}


def _refuse_unused(ctx: click.Context, sheet: Path | None) -> None:
    """Refuse options that have no effect without OUT.

    Raises:
        click.UsageError: If there are some, or neither a sheet nor a list is asked for.
    """
    given = [
        parameter
        for parameter in ctx.command.params
        if ctx.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
    ]
    names = {parameter.name for parameter in given}
    if sheet is None and "shots" not in names:
        raise click.UsageError("give OUT, or --sheet or --shots for a preview without OUT")
    unused = names & _ONLY_WITH_OUT if sheet is not None else names - _OF_LIST
    for parameter in given:
        if parameter.name in unused:
            option = (parameter.secondary_opts or parameter.opts)[0]
            needed = "OUT" if sheet is not None else "OUT or --sheet"
            raise click.UsageError(
                f"{option} has no effect without {needed}; give it, or leave {option} out"
            )


def _print_result(target: Path, result: "VideoResult") -> None:
    for stream in result.left_out:
        click.echo(printable(f"left out {stream}: {target.suffix} cannot hold it"), err=True)
    for note in result.notes:
        click.echo(printable(note), err=True)
    for hint in result.hints:
        click.echo(f"hint {hint}", err=True)
    for reference in result.references:
        click.echo(printable(f"reference {reference}"), err=True)
    if result.checkpoint is not None:
        click.echo(
            printable(
                f"kept {result.checkpoint}, so that after a change of the shots only these are "
                "colorized again; remove it when the video is done"
            ),
            err=True,
        )
    click.echo(printable(f"{target}: {result.frames} frames, {result.shots} shots"), err=True)


class _Bars:
    """A progress bar for each stage of `colorize_video`."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        from photochrom.progress import progress_bar

        if stage != self._stage:
            self.close()
            unit = "shot" if stage == "sheet" else "frame"
            # Frames of an earlier run (`initial`) do not count for the time left.
            self._bar = progress_bar(total=total, initial=done, desc=stage, unit=unit, smoothing=0)
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def notify(self, message: str) -> None:
        """Print a message below the bar of the current stage, which has ended."""
        self.close()
        click.echo(printable(message), err=True)

    def close(self) -> None:
        """Close the bar of the current stage."""
        if self._bar is not None:
            self._bar.close()
