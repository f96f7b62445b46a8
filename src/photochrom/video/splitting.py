"""Split shots into segments, the units of work of worker processes."""

import dataclasses
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

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
_MAX_DELAY = 64
"""Frames between a damaged one and those that depend on it."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a shot that one process colorizes, and context frames on both sides."""

    name: str
    """Digest of what decides its colours, in a run with the same settings."""
    start: int
    """Index in the video of the first context frame."""
    stamps: list[int | None]
    """Of all frames, context included, as `decode` yields them."""
    first: int
    """Index in `stamps` of the first frame after the context."""
    count: int
    """Number of frames without context."""
    flashes: list[int]
    """As indices in `stamps`."""
    keyframes: list[int]
    """Stamps of keyframes from which decoding can start, the best first."""
    checksums: list[int]
    """Of all frames."""
    is_damaged: bool
    """Whether frames may differ if decoding starts at a keyframe."""
    hints: list[HeldHint]
    """With indices in `stamps`."""
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


def frame_segment(analysis: VideoAnalysis, shot: Shot, index: int) -> Segment:
    """Return a segment of a single frame, without context."""
    alone = dataclasses.replace(shot, first=index, stop=index + 1)
    return _segment(analysis, alone, index, index + 1)


def _segment(analysis: VideoAnalysis, shot: Shot, first: int, stop: int) -> Segment:
    start, end = max(shot.first, first - CONTEXT_FRAMES), min(shot.stop, stop + CONTEXT_FRAMES)
    reachable = bisect_right(analysis.keyframes, start)
    keyframes = analysis.keyframes[max(0, reachable - _MAX_SEEKS) : reachable]
    stamps = [analysis.stamps[keyframe] for keyframe in reversed(keyframes)]
    earliest, latest = min([start, *keyframes]), end + _MAX_DELAY
    return Segment(
        _digest(shot, first, stop),
        start,
        analysis.stamps[start:end],
        first - start,
        stop - first,
        [flash - start for flash in shot.flashes if start <= flash < end],
        [stamp for stamp in stamps if stamp is not None],
        analysis.checksums[start:end],
        any(earliest <= index < latest for index in analysis.damaged),
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

    Seeking in a container is unreliable, so the first frame's checksum has to match; those of all
    frames, if some are damaged, as what FFmpeg conceals depends on the frames before.

    Raises:
        VideoError: If the video was changed since it was analysed.
    """
    for keyframe in segment.keyframes:
        if segment.is_damaged and not _is_reproduced(video, segment, keyframe):
            continue
        count = 0
        for frame in _matching_frames(segment, _decode_from(video, segment, keyframe)):
            yield frame
            count += 1
        if count == len(segment.stamps):
            return
        if count:
            raise _changed_error(video)
    frames = islice(decode(video), segment.start, None)
    count = 0
    for frame in _matching_frames(segment, frames):
        yield frame
        count += 1
    if count < len(segment.stamps):
        raise _changed_error(video)


def _changed_error(video: Video) -> VideoError:
    return VideoError(f"{video.path} was changed since it was analysed; start again with --restart")


def _matching_frames(segment: Segment, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield frames until one is not that of the segment."""
    for index, (stamp, frame) in enumerate(zip(segment.stamps, frames, strict=False)):
        if frame.pts != stamp or (index == 0 and not _matches_first(segment, frame)):
            return
        yield frame


def _matches_first(segment: Segment, frame: VideoFrame) -> bool:
    return frame.pts == segment.stamps[0] and checksum(frame) == segment.checksums[0]


def _is_reproduced(video: Video, segment: Segment, keyframe: int) -> bool:
    """Return whether all frames are the same if decoding starts at a keyframe."""
    frames = _matching_frames(segment, _decode_from(video, segment, keyframe))
    return [checksum(frame) for frame in frames] == segment.checksums


def _decode_from(video: Video, segment: Segment, keyframe: int) -> Iterator[VideoFrame]:
    """Decode from a keyframe, and yield frames from the first of a segment on."""
    later = 0
    frames = decode(video, keyframe)
    for frame in frames:
        if _matches_first(segment, frame):
            yield frame
            yield from frames
        later += (frame.pts or 0) > (segment.stamps[0] or 0)
        if later > _MAX_DELAY:
            return
