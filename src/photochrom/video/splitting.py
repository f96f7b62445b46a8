"""Split shots into segments, the units of work of worker processes."""

import dataclasses
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from av.video.frame import VideoFrame

from photochrom.video.analysis import VideoAnalysis, checksum
from photochrom.video.shots import HeldHint, Shot
from photochrom.video.source import Video, VideoError, decode

CONTEXT_FRAMES = 10
"""Frames of the same shot, on each side of a segment, that influence its colours."""
_MAX_SEGMENT_FRAMES = 192
_MIN_SEGMENT_FRAMES = 32
_MIN_SEGMENTS = 16
"""Limits the length of segments, so that all cores have work until the end."""
_LARGE_FRAME = 500_000
"""In px. Segments of larger frames are shorter by the square root of the ratio."""
_MAX_SEEKS = 4
"""Keyframes tried before decoding from the beginning."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a shot that one process colorizes, and context frames on both sides."""

    name: str
    """Digest of what decides its colours, in a run with the same settings."""
    timestamps: list[int]
    """Of all frames, context included."""
    first: int
    """Index in `timestamps` of the first frame after the context."""
    count: int
    """Number of frames without context."""
    flashes: list[int]
    """As indices in `timestamps`."""
    keyframes: list[int]
    """Timestamps from which decoding can start, the best first."""
    checksum: int
    """Of the first context frame."""
    hints: list[HeldHint]
    """With indices in `timestamps`."""
    is_colored: bool = False
    """Whether it keeps its own colours."""


def split(
    video: Video, analysis: VideoAnalysis, shots: Iterable[Shot], max_frames: int
) -> Iterator[Segment]:
    """Split shots into segments of at most `max_frames` and similar length.

    The result does not depend on the number of processes.
    """
    shrink = max(1.0, video.width * video.height / _LARGE_FRAME) ** 0.5
    length = min(round(_MAX_SEGMENT_FRAMES / shrink), -(-len(analysis.timestamps) // _MIN_SEGMENTS))
    length = min(max(_MIN_SEGMENT_FRAMES, length), max_frames)
    for shot in shots:
        frames = shot.stop - shot.first
        parts = -(-frames // length)
        borders = [shot.first + frames * part // parts for part in range(parts + 1)]
        for part in range(parts):
            yield _segment(analysis, shot, borders[part], borders[part + 1])


def _segment(analysis: VideoAnalysis, shot: Shot, first: int, stop: int) -> Segment:
    start, end = max(shot.first, first - CONTEXT_FRAMES), min(shot.stop, stop + CONTEXT_FRAMES)
    reachable = bisect_right(analysis.keyframes, start)
    keyframes = analysis.keyframes[max(0, reachable - _MAX_SEEKS) : reachable]
    return Segment(
        _digest(shot, first, stop),
        analysis.timestamps[start:end],
        first - start,
        stop - first,
        [flash - start for flash in shot.flashes if start <= flash < end],
        [analysis.timestamps[keyframe] for keyframe in reversed(keyframes)],
        analysis.checksums[start],
        [
            HeldHint(held.hint, max(held.first - start, 0), min(held.stop, end) - start)
            for held in shot.hints
            if held.first < end and held.stop > start
        ],
        shot.is_colored,
    )


def _digest(shot: Shot, first: int, stop: int) -> str:
    decisive = json.dumps([dataclasses.asdict(shot), first, stop])
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def decode_segment(video: Video, segment: Segment) -> Iterator[VideoFrame]:
    """Decode the frames of a segment and its context.

    Seeking in a container is unreliable, so the first frame's checksum has to match.

    Raises:
        VideoError: If the video was changed since it was analysed.
    """
    for keyframe in (*segment.keyframes, None):
        index = 0
        for frame in _decode_from(video, keyframe, segment.timestamps[0]):
            if frame.pts != segment.timestamps[index]:
                break
            if index == 0 and checksum(frame) != segment.checksum:
                break
            yield frame
            index += 1
            if index == len(segment.timestamps):
                return
        if index:
            break
    raise VideoError(f"{video.path} was changed since it was analysed; start again with --restart")


def _decode_from(video: Video, keyframe: int | None, first: int) -> Iterator[VideoFrame]:
    """Decode frames from timestamp `first` on; none if decoding fails between a keyframe and it."""
    started = False
    try:
        for frame in decode(video, keyframe):
            started = started or (frame.pts or 0) >= first
            if started:
                yield frame
    except VideoError:
        if started or keyframe is None:
            raise
