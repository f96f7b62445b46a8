"""Parts of a video between two times."""

from bisect import bisect_left
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from math import ceil

from photochrom.errors import VideoError
from photochrom.video.reading.container import open_container
from photochrom.video.reading.sequences import PictureSequence
from photochrom.video.reading.source import Video, decode
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import (
    ProgressCallback,
    VideoAnalysis,
    Window,
    analyse,
    find_times,
)
from photochrom.video.shots.times import ROUNDING

_FORMATS_WITH_TIMES = ("matroska", "mov", "mpegts", "asf", "flv")
"""FFmpeg's names of containers that store a time for each frame; MPEG-PS, for one, does not."""
_SEEK_SECONDS = (0, 10, 60)
"""Tried before decoding from the beginning, as seeking may lead to a later frame."""
_FIRST_FRAMES = 17
"""Frames among which the earliest is, as codecs reorder no more than 16."""


@dataclass(frozen=True)
class TimeRange:
    """A part of a video, in seconds from its first frame.

    Raises:
        VideoError: If it is empty.
    """

    start: Fraction = Fraction(0)
    end: Fraction | None = None
    """A frame that begins here is left out; None: the end of the video."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.end is not None and self.end <= self.start:
            start, end = (format_time(float(time)) for time in (self.start, self.end))
            raise VideoError(
                f"the part ends at {end}, not after its start at {start}; give a later end"
            )

    def __str__(self) -> str:
        """Return start and end."""
        end = "the end" if self.end is None else format_time(float(self.end))
        return f"{format_time(float(self.start))} to {end}"


WHOLE = TimeRange()


def analyse_part(video: Video, part: TimeRange, progress: ProgressCallback) -> VideoAnalysis:
    """Analyse the frames of a part; those before it are not decoded if the video can be sought.

    Raises:
        VideoError: As `analyse`, or if the part has no frame.
    """
    if part == WHOLE:
        return analyse(video, progress)
    stamps = [frame.pts for frame in islice(decode(video), _FIRST_FRAMES)]
    origin = find_times(video, stamps)[0][0]
    start = origin + _units(video, part.start)
    end = None if part.end is None else origin + _units(video, part.end)
    seek = _find_seek(video, origin, start)
    analysis = analyse(video, progress, Window(origin, start, end, seek))
    first = bisect_left(analysis.timestamps, start)
    stop = len(analysis.timestamps) if end is None else bisect_left(analysis.timestamps, end)
    if first >= stop:
        last = format_time(float((analysis.timestamps[-1] - origin) * video.time_base))
        raise VideoError(
            f"{video.path} has no frame from {part}; choose other times, its last frame is at "
            f"{last}"
        )
    return replace(_cut_out(analysis, first, stop), origin=origin, is_part=True, seek=seek)


def cut_sequence(sequence: PictureSequence, part: TimeRange) -> PictureSequence:
    """Return the pictures of a part."""
    start = ceil((part.start - ROUNDING) * sequence.rate)
    stop = None if part.end is None else ceil((part.end - ROUNDING) * sequence.rate)
    numbers = sequence.numbers[max(start, 0) : stop]
    return replace(sequence, first=numbers.start, count=len(numbers))


def _units(video: Video, time: Fraction) -> int:
    """Return a time in the unit of timestamps, such that a rounded one is that of its frame."""
    return ceil((time - ROUNDING) / video.time_base)


def _find_seek(video: Video, origin: int, start: int) -> int | None:
    """Return a stamp from which decoding reaches the frame at `start`; None: the beginning."""
    if video.stamp != "pts" or not _keeps_times(video):
        return None
    for seconds in _SEEK_SECONDS:
        stamp = start - round(seconds / video.time_base)
        if stamp <= origin:
            return None
        frame = next(decode(video, stamp), None)
        if frame is not None and frame.pts is not None and frame.pts <= start:
            return stamp
    return None


def _keeps_times(video: Video) -> bool:
    """Return whether frames have the same times wherever reading starts."""
    if video.sequence is not None:
        return True
    with open_container(video.path) as container:
        return container.format.name.partition(",")[0] in _FORMATS_WITH_TIMES


def _cut_out(analysis: VideoAnalysis, first: int, stop: int) -> VideoAnalysis:
    def cut(indices: list[int]) -> list[int]:
        return [index - first for index in indices if first <= index < stop]

    return replace(
        analysis,
        timestamps=analysis.timestamps[first:stop],
        durations=analysis.durations[first:stop],
        checksums=analysis.checksums[first:stop],
        keyframes=cut(analysis.keyframes),
        cuts=sorted({0, *cut(analysis.cuts)}),
        flashes=cut(analysis.flashes),
        colored=cut(analysis.colored),
        stamps=analysis.stamps[first:stop],
        damaged=cut(analysis.damaged),
        lead=first,
    )
