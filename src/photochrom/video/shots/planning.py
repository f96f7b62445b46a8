"""Find the shots of a video, and what a person says of their colours."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from photochrom.errors import VideoError
from photochrom.video.reading.source import Video
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.hints import SNAP, TimedHint, hold_hints
from photochrom.video.shots.references import TimedReference, place_references
from photochrom.video.shots.shot import (
    HeldHint,
    Shot,
    describe_colored,
    find_shots,
    give_hints,
    give_references,
    replace_colors,
)
from photochrom.video.shots.shot_list import ShotList
from photochrom.video.shots.times import format_frame_time, frame_times, is_between

_Timed = TypeVar("_Timed", TimedHint, TimedReference)


def plan_shots(
    video: Video,
    analysis: VideoAnalysis,
    listed: ShotList | None,
    hints: Sequence[TimedHint],
    references: Sequence[TimedReference],
    *,
    recolor: bool,
    notify: Callable[[str], None],
) -> tuple[list[Shot], list[HeldHint]]:
    """Return the shots, and the frames that each hint is for.

    Args:
        video: The source.
        analysis: Of the video.
        listed: The list of shots; None: those that were found.
        hints: Known colours of places.
        references: Frames in colour.
        recolor: Whether shots that are in colour already get new colours too.
        notify: Called with sentences for the user.

    Raises:
        VideoError: If the list, a hint or a reference is not for this video, a shot has both hints
            and references, or no shot gets new colours.
    """
    times = frame_times(video, analysis)
    if analysis.is_part:
        hints = _inside(hints, times, "hints", notify)
        references = _inside(references, times, "references", notify)
    shots = find_shots(analysis) if listed is None else listed.find_shots(video, analysis)
    held = hold_hints(hints, video, analysis, shots)
    placed = place_references(references, video, analysis, shots)
    shots = give_references(give_hints(shots, held), placed)
    for shot in shots:
        if shot.hints and shot.references:
            raise VideoError(
                f"the shot at {format_frame_time(times, shot.first)} has hints and a reference; "
                "give one of them, or give the reference the colours of the hints"
            )
    shots = replace_colors(shots, everywhere=recolor)
    if all(shot.is_colored for shot in shots):
        raise VideoError(
            f"{video.path} is in colour already; colorize it nevertheless with --recolor"
        )
    for line in describe_colored(shots, times):
        notify(line)
    return shots, held


def _inside(
    timed: Sequence[_Timed], times: Sequence[Fraction], name: str, notify: Callable[[str], None]
) -> list[_Timed]:
    """Return those hints or references whose time lies in the part that is colorized."""
    inside = [one for one in timed if is_between(one.time, times[0] - SNAP, times[-1])]
    if len(inside) < len(timed):
        notify(f"{len(timed) - len(inside)} of {len(timed)} {name} lie outside of the part")
    return inside
