"""Hints in a video: each holds from its time until the next cut."""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from photochrom.colorize.hints import MAX_HINTS, Hint, check_hints, parse_json, read_bytes
from photochrom.errors import PhotochromError, VideoError
from photochrom.video.reading.source import Video
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.shot import HeldHint, Shot
from photochrom.video.shots.times import ROUNDING, frame_times, parse_time

_FORM = '[{"time": "00:01:02.5", "x": 410, "y": 220, "color": "firebrick"}]'
SNAP = Fraction(1, 10)
"""In seconds. A hint so short before a cut is for the shot after it."""


@dataclass(frozen=True)
class TimedHint:
    """A hint that holds from its time until the next cut, at the same place.

    Raises:
        PhotochromError: If its time is negative, or its colour is `original`.
    """

    time: Fraction
    """In seconds from the first frame."""
    hint: Hint

    def __post_init__(self) -> None:
        """Check the values."""
        if self.time < 0:
            raise PhotochromError(f"the hint's time is {self.time}; it has to be 0 s or later")
        if self.hint.color == "original":
            raise PhotochromError(
                f"the hint {self.hint} asks for the original colour, which is for photos; give a "
                "colour, or neutral"
            )

    def __str__(self) -> str:
        """Return time, place and colour."""
        return f"{format_time(float(self.time))} {self.hint}"


def read_timed_hints(path: Path) -> tuple[TimedHint, ...]:
    """Read a file of hints: a list of objects with `time`, `x`, `y` and `color`, in JSON.

    Raises:
        PhotochromError: If it cannot be read, has another form, or a value is not allowed.
    """
    values = parse_json(read_bytes(path), str(path), _FORM)
    try:
        return _from_json(values)
    except PhotochromError as error:
        raise PhotochromError(f"{path}: {error}") from None


def _from_json(values: Any) -> tuple[TimedHint, ...]:
    if not isinstance(values, list):
        raise PhotochromError(f"the hints have to be a list such as {_FORM}")
    hints = []
    for value in values:
        if not isinstance(value, dict) or value.keys() != {"time", "x", "y", "color"}:
            raise PhotochromError(
                f"a hint is {json.dumps(value)[:60]}; it has to have time, x, y and color, as in "
                f"{_FORM}"
            )
        rest = {name: value[name] for name in ("x", "y", "color")}
        hints.append(TimedHint(parse_time(value["time"], "the hint's time"), Hint(**rest)))
    return tuple(hints)


def check_timed_hints(hints: Iterable[TimedHint], video: Video) -> None:
    """Check that hints lie in the frames.

    Raises:
        PhotochromError: If one does not.
    """
    for hint in hints:
        check_hints([hint.hint], video.upright_size, kind="frame")


def hold_hints(
    hints: Sequence[TimedHint], video: Video, analysis: VideoAnalysis, shots: Sequence[Shot]
) -> list[HeldHint]:
    """Return which frames the hints are for.

    Raises:
        VideoError: If one lies beyond the end, or too many hold at once.
    """
    *times, end = frame_times(video, analysis)
    cuts = [*(shot.first for shot in shots), len(times)]
    held = []
    for hint in hints:
        if hint.time >= end:
            raise VideoError(
                f"the hint {hint} lies beyond the end of {video.path} at "
                f"{format_time(float(end))}; give an earlier time"
            )
        first = max(bisect_right(times, hint.time + ROUNDING) - 1, 0)
        stop = cuts[bisect_right(cuts, first)]
        if stop < len(times) and times[stop] - hint.time <= SNAP:
            first, stop = stop, cuts[bisect_right(cuts, stop)]
        held.append(HeldHint(hint.hint, first, stop))
    # All that begin in a shot hold at its end.
    for stop, count in Counter(hint.stop for hint in held).items():
        if count > MAX_HINTS:
            raise VideoError(
                f"{count} hints hold at {format_time(float(times[stop - 1]))}; a frame takes up to "
                f"{MAX_HINTS}"
            )
    return held


def describe_hints(held: Iterable[HeldHint], video: Video, analysis: VideoAnalysis) -> list[str]:
    """Return a line for each hint that says when it holds."""
    times = [format_time(float(time)) for time in frame_times(video, analysis)]
    return [f"{one.hint} from {times[one.first]} to {times[one.stop]}" for one in held]
