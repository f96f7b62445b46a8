"""Describe the damage of a video: where it is, and how many frames it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from photochrom.errors import VideoError
from photochrom.video.reading.source import Video
from photochrom.video.reading.timestamps import format_time

_MAX_SHARE = 0.05
"""Share of frames that may be lost or damaged."""
_MAX_PLACES = 10
"""Number of places that are described."""
_PLACE_SECONDS = 1.0
"""Damage that is nearer than this is one place."""
_MIN_GAP = 1.9
"""Of the usual time between frames."""
_MAX_VARIATION = 0.5
"""Of the usual time, in a video with a constant frame rate."""
_MIN_CONSTANT = 0.9
"""Share of frames of such a video that vary less."""


@dataclass(frozen=True)
class DamagedFrame:
    """A frame that is damaged or was lost, by its time."""

    seconds: float
    """From the first frame."""
    is_lost: bool


def check_damage(video: Video, damaged: Sequence[DamagedFrame], frames: int) -> None:
    """Raise an error if more than a twentieth of the frames, and more than one, are affected.

    Raises:
        VideoError: If so.
    """
    lost = sum(frame.is_lost for frame in damaged)
    if len(damaged) > max(1, _MAX_SHARE * (frames + lost)):
        raise VideoError(
            f"{video.path} is damaged or encrypted: {_count(damaged)}, of {frames + lost}, the "
            f"first at {format_time(damaged[0].seconds)}; give another copy or repair it first"
        )


def describe_damage(damaged: Sequence[DamagedFrame]) -> list[str]:
    """Return a line for each place, ordered by time, and one for those that are too many."""
    ordered = sorted(damaged, key=lambda frame: frame.seconds)
    far = [
        index
        for index, (a, b) in enumerate(pairwise(ordered), 1)
        if b.seconds - a.seconds > _PLACE_SECONDS
    ]
    places = [ordered[a:b] for a, b in pairwise(sorted({0, *far, len(ordered)}))]
    lines = [_describe_place(place) for place in places[:_MAX_PLACES]]
    if len(places) > _MAX_PLACES:
        rest = [frame for place in places[_MAX_PLACES:] for frame in place]
        lines.append(f"at {len(places) - _MAX_PLACES} more places, {_count(rest)}")
    return lines


def describe_gaps(times: Sequence[float], damaged: Sequence[DamagedFrame]) -> list[str]:
    """Return a line for each place where a file has no frames, as some formats skip damage.

    Args:
        times: Of the frames, in seconds.
        damaged: Damage that is described already.

    Returns:
        The lines; none if the frame rate is variable.
    """
    steps = list(pairwise(times))
    usual = median(b - a for a, b in steps) if steps else 0
    gaps = [
        (a, b)
        for a, b in steps
        if b - a > _MIN_GAP * usual and not any(a <= frame.seconds <= b for frame in damaged)
    ]
    regular = sum(abs(b - a - usual) < _MAX_VARIATION * usual for a, b in steps)
    if len(gaps) > _MAX_PLACES or regular < _MIN_CONSTANT * len(steps):
        return []
    return [f"at {format_time(a)}, the file has no frame for {b - a:.2f} s" for a, b in gaps]


def _describe_place(place: Sequence[DamagedFrame]) -> str:
    first, last = (format_time(frame.seconds) for frame in (place[0], place[-1]))
    return (
        f"at {first}, {_count(place)}" if first == last else f"{first} to {last}, {_count(place)}"
    )


def _count(damaged: Sequence[DamagedFrame]) -> str:
    lost = sum(frame.is_lost for frame in damaged)
    counts = ((lost, "lost"), (len(damaged) - lost, "damaged"))
    return " and ".join(
        f"{count} frame{'s are' if count > 1 else ' is'} {what}" for count, what in counts if count
    )
