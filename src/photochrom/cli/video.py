"""`photochrom video`."""

from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.rendering_options import look_options, model_option
from photochrom.cli.text import printable

_STAGES = {"learned": "looking for cuts", "coloured": "colouring"}


@click.command()
@click.argument("path", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@model_option
@look_options
@click.option("--codec", metavar="C", help="h264, hevc, vp9, ffv1 or prores; else by ending.")
@click.option(
    "--quality",
    type=int,
    metavar="CRF",
    help="Less is better and larger; the codec's if not given.",
)
@click.option(
    "--steady/--no-steady",
    default=True,
    show_default=True,
    help="Keep colours still over time; or colour each frame for itself.",
)
@click.option("--device", metavar="D", default="auto", help="auto, cpu, cuda, coreml or directml.")
@click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1),
    metavar="N",
    help="Processes; one for each core if not given.",
)
@click.option("--max-pixels", type=click.IntRange(1), metavar="N", help="Refuse larger frames.")
@click.option("--overwrite", is_flag=True, help="Replace a result that is there.")
@click.option("--restart", is_flag=True, help="Throw away work that was begun on this result.")
@click.pass_context
def video(
    ctx: click.Context, /, path: Path, target: Path, max_pixels: int | None, **options: Any
) -> None:
    """Colour the film IN into OUT: .mp4, .m4v, .mov, .mkv or .webm.

    Sound, subtitles, times and the shape of the picture stay as they are. Work that was cut off
    lies in OUT.partial, and the same command goes on with it.
    """
    need("video")
    from photochrom.video.checkpoint import beside
    from photochrom.video.pipeline import colorize_film

    if max_pixels is not None:
        options["max_pixels"] = max_pixels
    bar = _Bars()
    try:
        done = colorize_film(path, target, progress=bar, **options)
    except KeyboardInterrupt:
        kept = beside(target).exists()
        message = "the same command goes on from here" if kept else "nothing was done yet"
        click.echo(f"\nstopped; {message}", err=True)
        ctx.exit(130)
    finally:
        bar.close()
    for stream in done.left_out:
        click.echo(printable(f"{target.suffix} cannot hold {stream}, left out"), err=True)
    click.echo(printable(f"{target}: {done.frames} frames, {done.scenes} scenes"), err=True)


class _Bars:
    """A bar for each stage of `colorize_film`."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        from photochrom.progress import progress_bar

        if stage != self._stage:
            self.close()
            # Frames of an earlier run (`initial`) do not count for the time left.
            self._bar = progress_bar(
                total=total, initial=done, desc=_STAGES[stage], unit="frame", smoothing=0
            )
            self._stage = stage
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Close the bar of the current stage."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
