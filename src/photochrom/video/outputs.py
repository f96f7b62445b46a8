"""The output of a video: what it is, whether it can be written, and how it is made of segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from photochrom.errors import VideoError
from photochrom.file_names import is_refused
from photochrom.video.colors import checkpoint
from photochrom.video.colors.checkpoint import segment_path
from photochrom.video.reading.sequences import (
    EXAMPLE,
    Pattern,
    check_output,
    move_into_place,
    parse_pattern,
)
from photochrom.video.reading.source import Video
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.parts import TimeRange, cut_sequence
from photochrom.video.shots.splitting import Segment
from photochrom.video.writing.codecs import VideoEncoding, choose_encoding, choose_picture_encoding
from photochrom.video.writing.container_check import check_container
from photochrom.video.writing.muxing import mux


@dataclass(frozen=True)
class Output:
    """A video file, or an image sequence."""

    target: Path
    encoding: VideoEncoding
    overwrite: bool
    """Whether existing files may be replaced."""
    left_out: list[str]
    """Descriptions of streams of the source that it cannot hold."""
    pattern: Pattern | None = None
    """Of an image sequence; None: a video file."""
    first_number: int = 1
    """Of the first picture."""


def choose_output(
    video: Video,
    target: Path,
    part: TimeRange,
    *,
    codec: str | None,
    quality: int | None,
    overwrite: bool,
    restart: bool,
) -> Output:
    """Return the output of a video.

    Arguments are those of `pipeline.colorize_video`.

    Raises:
        VideoError: If it cannot be written, or not hold the streams of the source.
        PhotoError: If it is a sequence that cannot be written.
        OSError: If its folder cannot be read.
    """
    if is_refused(target.name):
        raise VideoError(
            f"{target} cannot be the name of a file on this system; choose one without "
            '<>:"/\\|?*, that does not end in a dot or a space, and is not that of a device'
        )
    pattern = parse_pattern(target)
    if pattern is None:
        _check_video(video.path, target, overwrite)
        encoding = choose_encoding(target, codec, quality, video)
        return Output(target, encoding, overwrite, check_container(video, target, encoding))
    is_moving = checkpoint.is_moving(checkpoint.checkpoint_folder(target))
    overwrite = overwrite or (not restart and is_moving)
    sequence = None if video.sequence is None else cut_sequence(video.sequence, part)
    check_output(pattern, sequence, overwrite=overwrite)
    encoding = choose_picture_encoding(pattern, codec, quality)
    left_out = check_container(video, target, encoding)
    first_number = 1 if sequence is None else sequence.first
    return Output(target, encoding, overwrite, left_out, pattern, first_number)


def _check_video(source: Path, target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise VideoError(f"there is no folder {target.parent}; create it, or choose another")
    if target.exists():
        if source.exists() and target.samefile(source):
            raise VideoError(f"{target} is the source itself; choose another output")
        if not target.is_file():
            raise VideoError(
                f"{target} is not a file; give one, or a pattern such as "
                f"{target / EXAMPLE} for an image sequence"
            )
        if not overwrite:
            raise VideoError(f"{target} exists already; use --overwrite, or choose another output")


def write_output(
    output: Output,
    video: Video,
    analysis: VideoAnalysis,
    segments: Sequence[Segment],
    folder: Path,
    *,
    mark: str | None,
    keep: bool,
) -> list[str]:
    """Write the output, given all its colorized segments.

    Args:
        output: From `choose_output`.
        video: The source.
        analysis: Of the source.
        segments: All segments, in order.
        folder: The checkpoint.
        mark: The text that says that colours were added, for the metadata of a video.
        keep: Whether the segments remain in the checkpoint.

    Returns:
        Sentences on damage of other streams.

    Raises:
        VideoError: If a segment's file is damaged.
        PhotoError: If a picture exists that may not be replaced, or one is missing.
        OSError: If the output cannot be written.
    """
    encoding, overwrite = output.encoding, output.overwrite
    files = [segment_path(folder, segment, encoding) for segment in segments]
    notes: list[str] = []
    if output.pattern is None:
        notes = mux(
            *(video, analysis, files, output.target, encoding), mark=mark, overwrite=overwrite
        )
    else:
        counts = [segment.count for segment in segments]
        with checkpoint.moving(folder):
            move_into_place(
                *(zip(files, counts, strict=True), output.pattern, output.first_number),
                overwrite=overwrite,
                keep=keep,
            )
    if keep:
        checkpoint.remove_others(folder, files)
    else:
        checkpoint.remove(folder)
    return notes
