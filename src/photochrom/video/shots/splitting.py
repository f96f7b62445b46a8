"""Split shots into segments, the units of work of worker processes."""

import dataclasses
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from av.video.frame import VideoFrame

from photochrom.errors import VideoError
from photochrom.video.reading.source import Video, decode
from photochrom.video.shots.analysis import VideoAnalysis, checksum
from photochrom.video.shots.shot import Shot

_MAX_SEGMENT_FRAMES = 192
_MIN_SEGMENT_FRAMES = 32
_MIN_SEGMENTS = 16
"""Limits the length of segments, so that all cores have work until the end."""
_LARGE_FRAME = 500_000
"""In px. Segments of larger frames are shorter by the square root of the ratio."""
_MAX_LEAD = 24
"""Frames that may be decoded before a segment, without its border being moved."""
_MAX_SEEKS = 4
"""Keyframes tried before decoding from the beginning."""
_MAX_DELAY = 64
"""Frames between a damaged one and those that depend on it."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a shot that one process works on."""

    name: str
    """Digest of what decides its colours, in a run with the same settings."""
    shot_name: str
    """The same of the whole shot."""
    shot: Shot
    first: int
    """Index of the first frame in the video."""
    stamps: list[int | None]
    """Of all its frames, as `decode` yields them."""
    keyframes: list[int]
    """Stamps of keyframes from which decoding can start, the best first."""
    checksums: list[int]
    """Of all its frames."""
    is_damaged: bool
    """Whether frames may differ if decoding starts at a keyframe."""
    seek: int | None = None
    """Stamp from which all frames can be decoded; None: the beginning."""
    lead: int = 0
    """Number of frames between there and the first that was analysed."""

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.stamps)


def split(video: Video, analysis: VideoAnalysis, shots: Iterable[Shot]) -> Iterator[Segment]:
    """Split shots into segments of similar length.

    The result does not depend on the number of processes.
    """
    shrink = max(1.0, video.width * video.height / _LARGE_FRAME) ** 0.5
    length = min(round(_MAX_SEGMENT_FRAMES / shrink), -(-len(analysis.timestamps) // _MIN_SEGMENTS))
    length = max(_MIN_SEGMENT_FRAMES, length)
    for shot in shots:
        frames = shot.stop - shot.first
        parts = -(-frames // length)
        inner = (shot.first + frames * part // parts for part in range(1, parts))
        moved = (_near_keyframe(analysis, border, frames // parts // 3) for border in inner)
        for first, stop in pairwise([shot.first, *moved, shot.stop]):
            yield _segment(analysis, shot, first, stop)


def _near_keyframe(analysis: VideoAnalysis, border: int, limit: int) -> int:
    """Move a border to a keyframe up to a limit away, if decoding would start long before it."""
    position = bisect_right(analysis.keyframes, border)
    around = analysis.keyframes[max(0, position - 1) : position + 1]
    nearest = min(around, key=lambda keyframe: abs(keyframe - border), default=border)
    is_far = not around or border - around[0] > _MAX_LEAD
    return nearest if is_far and abs(nearest - border) <= limit else border


def shot_segment(analysis: VideoAnalysis, shot: Shot) -> Segment:
    """Return a segment of all frames of a shot."""
    return _segment(analysis, shot, shot.first, shot.stop)


def frame_segment(analysis: VideoAnalysis, shot: Shot, index: int) -> Segment:
    """Return a segment of a single frame."""
    alone = dataclasses.replace(shot, first=index, stop=index + 1)
    return _segment(analysis, alone, index, index + 1)


def _segment(analysis: VideoAnalysis, shot: Shot, first: int, stop: int) -> Segment:
    reachable = bisect_right(analysis.keyframes, first - analysis.seek_loss)
    keyframes = analysis.keyframes[max(0, reachable - _MAX_SEEKS) : reachable]
    stamps = [analysis.stamps[keyframe] for keyframe in reversed(keyframes)]
    earliest, latest = min([first, *keyframes]) - analysis.seek_loss, stop + _MAX_DELAY
    return Segment(
        _digest(shot, first, stop),
        _digest(shot, shot.first, shot.stop),
        shot,
        first,
        analysis.stamps[first:stop],
        [stamp for stamp in stamps if stamp is not None],
        analysis.checksums[first:stop],
        any(earliest <= index < latest for index in analysis.damaged),
        analysis.seek,
        analysis.lead,
    )


def _digest(shot: Shot, first: int, stop: int) -> str:
    values = dataclasses.asdict(shot)
    for reference in values["references"]:
        del reference["path"]  # its checksum counts
    decisive = json.dumps([values, first, stop])
    return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def decode_segment(video: Video, segment: Segment) -> Iterator[VideoFrame]:
    """Decode the frames of a segment.

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
    frames = islice(decode(video, segment.seek), segment.lead + segment.first, None)
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
