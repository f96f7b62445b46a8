"""Analyse a source video in one pass, and split it into segments."""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from photochrom.colorize.colorizer import network_size
from photochrom.colorize.hints import Hint
from photochrom.video.cuts import THUMBNAIL_SIDE, CutDetector, Thumbnail
from photochrom.video.source import Video, VideoError, damage_error, decode, format_time

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

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage (`analysing` or `colorizing`), the number of frames done, and the total."""


@dataclass(frozen=True)
class VideoAnalysis:
    """Properties of all frames of a video."""

    timestamps: list[int]
    """Presentation timestamps in the video's `time_base`, ascending."""
    durations: list[int]
    """In the same unit; the last is 0 if unknown."""
    checksums: list[int]
    """CRC-32 of the thumbnails."""
    keyframes: list[int]
    """Indices of frames from which decoding can start."""
    cuts: list[int]
    """Indices of the first frames of shots."""
    flashes: list[int]
    """Indices of frames that differ from the shot around them."""


@dataclass(frozen=True)
class HeldHint:
    """A hint for consecutive frames."""

    hint: Hint
    first: int
    """Index of the first frame."""
    stop: int
    """Index after the last frame."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames that one process colorizes, and context frames on both sides."""

    index: int
    timestamps: list[int]
    """Of all frames, context included."""
    first: int
    """Index in `timestamps` of the first frame after the context."""
    count: int
    """Number of frames without context."""
    cuts: list[int]
    """First frames of shots, as indices in `timestamps`."""
    flashes: list[int]
    """As indices in `timestamps`."""
    keyframes: list[int]
    """Timestamps from which decoding can start, the best first."""
    checksum: int
    """Of the first context frame."""
    hints: list[HeldHint] = field(default_factory=list)
    """With indices in `timestamps`."""


def analyse(video: Video, progress: ProgressCallback) -> VideoAnalysis:
    """Decode a video and detect its cuts.

    Raises:
        VideoError: If the video is damaged or interlaced, or its frames change size or have no
            ascending timestamps.
    """
    timestamps: list[int] = []
    durations: list[int] = []
    checksums: list[int] = []
    keyframes: list[int] = []
    detector = CutDetector()
    for frame in decode(video):
        _check_frame(video, frame, timestamps)
        thumbnail = _thumbnail(frame)
        detector.add(thumbnail)
        if frame.key_frame:
            keyframes.append(len(timestamps))
        checksums.append(zlib.crc32(thumbnail.tobytes()))
        timestamps.append(frame.pts or 0)
        durations.append(frame.duration or 0)
        progress("analysing", len(timestamps), max(video.estimated_frames, len(timestamps)))
    end = float(timestamps[-1] * video.time_base)
    if end + 1 < video.expected_end:
        reason = f"the frames end here, not at {format_time(video.expected_end)}"
        raise damage_error(video.path, end, reason)
    detector.finish()
    if not video.stores_durations:  # those of the frames are in decoding order
        durations = [*(b - a for a, b in pairwise(timestamps)), durations[-1]]
    return VideoAnalysis(
        timestamps, durations, checksums, keyframes, detector.cuts, detector.flashes
    )


def _check_frame(video: Video, frame: VideoFrame, timestamps: list[int]) -> None:
    time = format_time(frame.time or 0.0)
    if frame.is_corrupt:
        raise damage_error(video.path, frame.time or 0.0, "a frame is corrupt")
    if (frame.width, frame.height) != (video.width, video.height):
        raise VideoError(f"{video.path} changes its frame size at {time}; scale it to one size")
    if frame.interlaced_frame:
        raise VideoError(
            f"{video.path} is interlaced at {time}; deinterlace it first, for example with "
            "`ffmpeg -i IN -vf bwdif -c:a copy OUT`"
        )
    if frame.pts is None or (timestamps and frame.pts <= timestamps[-1]):
        raise VideoError(
            f"{video.path} has missing or descending timestamps at {time}; remux it first, for "
            "example with `ffmpeg -i IN -c copy OUT.mkv`"
        )


def _thumbnail(frame: VideoFrame) -> Thumbnail:
    height, width = network_size(frame.height, frame.width, THUMBNAIL_SIDE)
    grey = frame.reformat(
        width=max(16, width),
        height=max(16, height),
        format="gray",
        interpolation=Interpolation.AREA,
        threads=1,
    )
    return np.ascontiguousarray(grey.to_ndarray(), np.uint8)


def split(
    video: Video, analysis: VideoAnalysis, max_frames: int, hints: Sequence[HeldHint] = ()
) -> Iterator[Segment]:
    """Split a video into segments of at most `max_frames`, at cuts where possible.

    The result does not depend on the number of processes.
    """
    count = len(analysis.timestamps)
    shrink = max(1.0, video.width * video.height / _LARGE_FRAME) ** 0.5
    length = min(round(_MAX_SEGMENT_FRAMES / shrink), -(-count // _MIN_SEGMENTS))
    length = max(1, min(max(_MIN_SEGMENT_FRAMES, length), max_frames * 3 // 4))
    first = index = 0
    while first < count:
        stop = first + length
        cuts = [
            cut for cut in (*analysis.cuts, count) if length / 3 <= cut - first <= length * 4 / 3
        ]
        stop = min(cuts, key=lambda cut: abs(cut - stop), default=min(stop, count))
        yield _segment(analysis, index, first, stop, hints)
        first, index = stop, index + 1


def _segment(
    analysis: VideoAnalysis, index: int, first: int, stop: int, hints: Sequence[HeldHint]
) -> Segment:
    cuts = [*analysis.cuts, len(analysis.timestamps)]
    shot_start = cuts[bisect_right(analysis.cuts, first) - 1]
    shot_end = cuts[bisect_left(analysis.cuts, stop)]
    start, end = max(shot_start, first - CONTEXT_FRAMES), min(shot_end, stop + CONTEXT_FRAMES)
    reachable = bisect_right(analysis.keyframes, start)
    keyframes = analysis.keyframes[max(0, reachable - _MAX_SEEKS) : reachable]
    return Segment(
        index,
        analysis.timestamps[start:end],
        first - start,
        stop - first,
        [max(cut - start, 0) for cut in analysis.cuts if shot_start <= cut < end],
        [flash - start for flash in analysis.flashes if start <= flash < end],
        [analysis.timestamps[keyframe] for keyframe in reversed(keyframes)],
        analysis.checksums[start],
        [
            HeldHint(held.hint, max(held.first - start, 0), min(held.stop, end) - start)
            for held in hints
            if held.first < end and held.stop > start
        ],
    )


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
            if index == 0 and zlib.crc32(_thumbnail(frame).tobytes()) != segment.checksum:
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
