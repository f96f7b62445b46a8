"""Shots: the frames between two cuts, and what is known of their colours."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from photochrom.colorize.hints import Hint
from photochrom.video.analysis import VideoAnalysis


@dataclass(frozen=True)
class HeldHint:
    """A hint for consecutive frames of a shot."""

    hint: Hint
    first: int
    """Index of the first frame."""
    stop: int
    """Index after the last frame."""


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


def find_shots(analysis: VideoAnalysis, cuts: Iterable[int] | None = None) -> list[Shot]:
    """Return the shots of a video.

    Args:
        analysis: Of the video.
        cuts: Indices of the first frames of shots, ascending from 0; None: those that were found.
    """
    cuts = analysis.cuts if cuts is None else cuts
    return [
        Shot(first, stop, [flash for flash in analysis.flashes if first <= flash < stop])
        for first, stop in pairwise([*cuts, len(analysis.timestamps)])
    ]


def give_hints(shots: Iterable[Shot], held: Iterable[HeldHint]) -> list[Shot]:
    """Return the shots, each with its hints."""
    held = list(held)
    return [
        dataclasses.replace(shot, hints=[h for h in held if shot.first <= h.first < shot.stop])
        for shot in shots
    ]
