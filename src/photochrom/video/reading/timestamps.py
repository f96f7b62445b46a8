"""Presentation times of frames whose file stores none, wrong or repeated ones."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

_MAX_REORDERING = 16
"""Frames by which coding order differs from presentation order at most, as in H.264."""
_MAX_MENDED = 0.05
"""Share of frames with a time that may descend."""


def mend_times(times: Sequence[int | None], period: Fraction) -> list[int] | None:
    """Return ascending times of frames in presentation order.

    Times in another order, as those of decoding, are sorted. Missing and repeated ones, and those
    that are not among the most that ascend, are spread evenly between their neighbours.

    Args:
        times: Those stored; None: unknown.
        period: The time from one frame to the next, for frames without neighbours.

    Returns:
        The times; None if they cannot be known, as too many descend, or there is no time between
        two for the frames in between.
    """
    stored = [time for time in times if time is not None]
    if not stored:
        return [round(index * period) for index in range(len(times))]
    if _is_reordered(stored, period):
        ordered = iter(sorted(stored))
        times = [None if time is None else next(ordered) for time in times]
    kept = _longest_ascent(times)
    right = {times[index] for index in kept}
    wrong = sum(time is not None and time not in right for time in times)
    if wrong > max(1, _MAX_MENDED * len(times)):
        return None
    return _interpolate(times, kept, period)


def _is_reordered(stored: Sequence[int], period: Fraction) -> bool:
    """Return whether times descend by no more than codecs reorder frames."""
    steps = [b - a for a, b in pairwise(sorted(set(stored)))]
    limit = _MAX_REORDERING * max(period, median(steps) if steps else 0)
    latest = stored[0]
    for time in stored:
        latest = max(latest, time)
        if latest - time > limit:
            return False
    return True


def _longest_ascent(times: Sequence[int | None]) -> list[int]:
    """Return the indices of the longest strictly ascending subsequence, without None."""
    ends: list[int] = []  # the smallest last time of an ascent, by its length
    indices: list[int] = []  # of these times
    before: dict[int, int] = {}
    for index, time in enumerate(times):
        if time is None:
            continue
        length = bisect_left(ends, time)
        if length < len(ends) and ends[length] == time:
            continue  # the first of repeated times is kept
        ends[length : length + 1] = [time]
        indices[length : length + 1] = [index]
        if length:
            before[index] = indices[length - 1]
    ascent = indices[-1:]
    while ascent[-1] in before:
        ascent.append(before[ascent[-1]])
    return ascent[::-1]


def _interpolate(
    times: Sequence[int | None], kept: Sequence[int], period: Fraction
) -> list[int] | None:
    """Return `times` at the indices `kept`, and times spread evenly at others; None: no room."""
    first, last = kept[0], kept[-1]
    known = {index: Fraction(times[index] or 0) for index in kept}
    known[-1] = known[first] - (first + 1) * period
    known[len(times)] = known[last] + (len(times) - last) * period
    mended: list[int] = []
    before = -1
    for after in (*kept, len(times)):
        step = (known[after] - known[before]) / (after - before)
        mended += [round(known[before] + k * step) for k in range(1, after - before)]
        if after < len(times):
            mended.append(int(known[after]))
        before = after
    if any(a >= b for a, b in pairwise(mended)):
        return None
    return mended


def format_time(seconds: float) -> str:
    """Return a time as h:mm:ss.ss."""
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}"
