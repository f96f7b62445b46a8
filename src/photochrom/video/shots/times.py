"""Times in a video, in seconds from its first frame."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from photochrom.errors import PhotochromError
from photochrom.video.reading.source import Video
from photochrom.video.shots.analysis import VideoAnalysis

ROUNDING = Fraction(1, 1000)
"""In seconds, of times that a player or a list shows: 1 ms more or less is the same frame."""
_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,2}):)?(\d{1,7}(?:\.\d{1,9})?)", re.ASCII)


def parse_time(value: Any, name: str = "the time") -> Fraction:
    """Return seconds of a number of seconds, or a text [[hours:]minutes:]seconds.

    Args:
        value: The number or text.
        name: What it is, for errors.

    Raises:
        PhotochromError: If it is another value.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match = _TIME.fullmatch(str(value)) if is_number or isinstance(value, str) else None
    if match is not None:
        hours, minutes, seconds = (Fraction(text or 0) for text in match.groups())
        if max(minutes, seconds) < 60 or match[2] is None:
            return hours * 3600 + minutes * 60 + seconds
    raise PhotochromError(
        f"{name} is {str(value)[:40]!r}; it has to be hours:minutes:seconds such as "
        "00:01:02.5, or seconds"
    )


def frame_times(video: Video, analysis: VideoAnalysis) -> list[Fraction]:
    """Return the times of all frames, and that of the end."""
    times = [(stamp - analysis.origin) * video.time_base for stamp in analysis.timestamps]
    return [*times, times[-1] + (analysis.durations[-1] * video.time_base or 1 / video.frame_rate)]


def is_between(time: Fraction, start: Fraction, end: Fraction) -> bool:
    """Return whether a time, rounded or not, is that of a frame from `start` until before `end`."""
    return start <= time + ROUNDING < end


def nearest_frame(times: Sequence[Fraction], time: Fraction) -> int | None:
    """Return the index of the frame that begins nearest to a time; None at the end or beyond it.

    Args:
        times: From `frame_times`.
        time: In seconds, 0 or more.
    """
    if time >= times[-1]:
        return None
    before = max(bisect_right(times, time) - 1, 0)
    is_after_middle = 2 * time > times[before] + times[before + 1]
    return before + 1 if is_after_middle and before + 2 < len(times) else before


def format_frame_time(times: Sequence[Fraction], index: int) -> str:
    """Return a time as h:mm:ss.sss, with more decimals if these do not lead back to its frame.

    Args:
        times: From `frame_times`.
        index: Of a frame, or of the end.
    """
    for digits in (3, 6, 9):
        units = 10**digits
        seconds, rest = divmod(round(times[index] * units), units)
        is_end = index + 1 == len(times)
        if is_end or nearest_frame(times, seconds + Fraction(rest, units)) == index:
            break
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}.{rest:0{digits}}"
