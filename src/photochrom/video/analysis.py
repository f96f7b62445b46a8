"""Analyse a source video in one pass."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from photochrom.colorize.colorizer import network_size
from photochrom.colorize.detection import is_colored
from photochrom.video.cuts import THUMBNAIL_SIDE, CutDetector, Thumbnail
from photochrom.video.source import Video, VideoError, damage_error, decode, format_time, to_photo

SAMPLE_INTERVAL = 3
"""Every so many frames, it is examined whether the film is in colour."""
_SAMPLE_SIDE = 128
"""Short side in px of the copy that is examined."""

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
    colored: list[int]
    """Indices of frames that are in colour already, of those that are multiples of
    `SAMPLE_INTERVAL`."""


def analyse(video: Video, progress: ProgressCallback) -> VideoAnalysis:
    """Decode a video, detect its cuts, and examine which frames are in colour.

    Raises:
        VideoError: If the video is damaged or interlaced, or its frames change size or have no
            ascending timestamps.
    """
    timestamps: list[int] = []
    durations: list[int] = []
    checksums: list[int] = []
    keyframes: list[int] = []
    colored: list[int] = []
    detector = CutDetector()
    for frame in decode(video):
        _check_frame(video, frame, timestamps)
        thumbnail = _thumbnail(frame)
        detector.add(thumbnail)
        if frame.key_frame:
            keyframes.append(len(timestamps))
        if len(timestamps) % SAMPLE_INTERVAL == 0 and _is_colored(frame, video):
            colored.append(len(timestamps))
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
        timestamps, durations, checksums, keyframes, detector.cuts, detector.flashes, colored
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


def checksum(frame: VideoFrame) -> int:
    """Return the CRC-32 of a frame's thumbnail."""
    return zlib.crc32(_thumbnail(frame).tobytes())


def _is_colored(frame: VideoFrame, video: Video) -> bool:
    height, width = network_size(frame.height, frame.width, _SAMPLE_SIDE)
    small = frame.reformat(width=width, height=height, interpolation=Interpolation.AREA, threads=1)
    return is_colored(to_photo(small, video))


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
