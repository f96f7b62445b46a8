"""Shots: the frames between two cuts, and what is known of their colours."""

import dataclasses
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path

from photochrom.colorize.hints import Hint
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import SAMPLE_INTERVAL, VideoAnalysis


@dataclass(frozen=True)
class HeldHint:
    """A hint for consecutive frames of a shot."""

    hint: Hint
    first: int
    """Index of the first frame."""
    stop: int
    """Index after the last frame."""


@dataclass(frozen=True)
class Reference:
    """A frame in colour, which gives its shot its colours."""

    index: int
    """Index of the frame."""
    path: Path
    """A photo of the frame in colour."""
    checksum: str
    """SHA-256 of the photo's file."""


@dataclass(frozen=True)
class Shot:
    """Consecutive frames of one scene. Its colours depend on nothing outside of it."""

    first: int
    """Index of the first frame."""
    stop: int
    """Index after the last frame."""
    flashes: list[int] = field(default_factory=list)
    """Indices of frames that differ from those around them."""
    hints: list[HeldHint] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    is_colored: bool = False
    """Whether it is in colour already and keeps its colours."""

    def hints_at(self, index: int) -> list[Hint]:
        """Return the hints for the frame of an index."""
        return [held.hint for held in self.hints if held.first <= index < held.stop]


def find_shots(analysis: VideoAnalysis, cuts: Iterable[int] | None = None) -> list[Shot]:
    """Return the shots of a video.

    Args:
        analysis: Of the video.
        cuts: Indices of the first frames of shots, ascending from 0; None: those that were found.
    """
    cuts = analysis.cuts if cuts is None else cuts
    return [
        Shot(
            first,
            stop,
            [flash for flash in analysis.flashes if first <= flash < stop],
            is_colored=_is_colored(analysis, first, stop),
        )
        for first, stop in pairwise([*cuts, len(analysis.timestamps)])
    ]


def _is_colored(analysis: VideoAnalysis, first: int, stop: int) -> bool:
    """Return whether most of the frames that were examined are in colour.

    In a shot of one or two frames, none may be; it is in colour if those on both sides of it are.
    """
    offset = -analysis.lead % SAMPLE_INTERVAL
    examined = range(first + (offset - first) % SAMPLE_INTERVAL, stop, SAMPLE_INTERVAL)
    if not examined:
        after = examined.start
        around = [after - SAMPLE_INTERVAL, after]
        existing = [index for index in around if 0 <= index < len(analysis.timestamps)]
        return bool(existing) and all(index in analysis.colored for index in existing)
    colored = bisect_left(analysis.colored, stop) - bisect_left(analysis.colored, first)
    return 2 * colored > len(examined)


def replace_colors(shots: Iterable[Shot], *, everywhere: bool) -> list[Shot]:
    """Return the shots, without those colours of their own that are to be replaced.

    Args:
        shots: With their hints and references.
        everywhere: Whether all shots get new colours; else only those with hints or references.
    """
    return [
        dataclasses.replace(shot, is_colored=False)
        if everywhere or shot.hints or shot.references
        else shot
        for shot in shots
    ]


def describe_colored(shots: Iterable[Shot], times: Sequence[Fraction]) -> list[str]:
    """Return a line for each run of shots that are in colour already.

    Args:
        shots: All shots of a video.
        times: From `times.frame_times`.
    """
    lines = []
    for is_colored, run in groupby(enumerate(shots, 1), key=lambda shot: shot[1].is_colored):
        if not is_colored:
            continue
        numbered = list(run)
        (number, first), (last_number, last) = numbered[0], numbered[-1]
        start, end = (format_time(float(times[index])) for index in (first.first, last.stop))
        if len(numbered) == 1:
            name, rest = (
                f"shot {number}",
                "is in colour already: left as it is; --recolor colorizes it",
            )
        else:
            name = f"shots {number} to {last_number}"
            rest = "are in colour already: left as they are; --recolor colorizes them"
        lines.append(f"{name} ({start} to {end}) {rest}")
    return lines


def give_hints(shots: Iterable[Shot], held: Iterable[HeldHint]) -> list[Shot]:
    """Return the shots, each with its hints."""
    held = list(held)
    return [
        dataclasses.replace(shot, hints=[h for h in held if shot.first <= h.first < shot.stop])
        for shot in shots
    ]


def give_references(shots: Iterable[Shot], references: Iterable[Reference]) -> list[Shot]:
    """Return the shots, each with its references."""
    references = list(references)
    return [
        dataclasses.replace(
            shot, references=[r for r in references if shot.first <= r.index < shot.stop]
        )
        for shot in shots
    ]
