"""Analyse a source video in one pass."""

import math
import zlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from photochrom.colorize.colorizer import network_size
from photochrom.colorize.detection import is_colored
from photochrom.errors import VideoError
from photochrom.video.reading.container import Damage
from photochrom.video.reading.damage import (
    DamagedFrame,
    check_damage,
    describe_damage,
    describe_gaps,
)
from photochrom.video.reading.frames import to_photo
from photochrom.video.reading.source import Video, decode
from photochrom.video.reading.timestamps import format_time, mend_times
from photochrom.video.shots.cuts import THUMBNAIL_SIDE, CutDetector, Thumbnail

SAMPLE_INTERVAL = 3
"""Every so many frames, it is examined whether the video is in colour."""
_FRAMES_AFTER = 16
"""Frames after a window that are examined too, for cuts and reordered times."""
_MAX_MISSING_SECONDS = 0.5
"""Time at the end without frames of a video that is not cut off."""
_SAMPLE_SIDE = 128
"""Short side in px of the copy that is examined."""

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage, the number done and the total: of frames in the stages `analysing` and
`colorizing`, of shots in the stage `sheet`."""


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
    """Indices of examined frames that are in colour already; a frame is examined if its index plus
    `lead` is a multiple of `SAMPLE_INTERVAL`."""
    stamps: list[int | None] = field(default_factory=list)
    """`pts` of the frames as `decode` yields them."""
    damaged: list[int] = field(default_factory=list)
    """Indices of frames that are damaged, or near to which others were lost."""
    seek_loss: int = 0
    """Number of frames from a keyframe on that are left out if decoding starts there."""
    notes: list[str] = field(default_factory=list)
    """Sentences on damage, and on times that were mended."""
    origin: int = 0
    """Timestamp of the first frame of the whole video."""
    is_part: bool = False
    """Whether these are not all frames of the video."""
    seek: int | None = None
    """Stamp at which decoding started; None: the beginning."""
    lead: int = 0
    """Number of frames that were decoded before the first."""


@dataclass(frozen=True)
class Window:
    """What is examined of a video, in timestamps."""

    origin: int
    """Of the first frame of the whole video."""
    start: int
    end: int | None
    """A frame that begins here is outside; None: the end of the video."""
    seek: int | None
    """Stamp of the keyframe at which decoding starts; None: the beginning."""


def analyse(
    video: Video, progress: ProgressCallback, window: Window | None = None
) -> VideoAnalysis:
    """Decode a video, detect its cuts, mend its times, and examine which frames are in colour.

    Args:
        video: The source.
        progress: Called after each frame.
        window: What is examined; None: all. The result has some frames more on both sides.

    Raises:
        VideoError: If too much of the video is damaged, or its frames change size, or their times
            cannot be known.
    """
    stamps: list[int | None] = []
    durations: list[int] = []
    checksums: list[int] = []
    keyframes: list[int] = []
    colored: list[int] = []
    damage: list[tuple[int, Damage]] = []
    detector = CutDetector()
    later = 0
    seek = None if window is None else window.seek
    with ThreadPoolExecutor(1) as worker:  # finds cuts while the next frame is decoded
        added = worker.submit(lambda: None)
        for frame in decode(video, seek, on_damage=lambda one: damage.append((len(stamps), one))):
            thumbnail = _thumbnail(frame)
            added.result()
            added = worker.submit(detector.add, thumbnail)
            if frame.key_frame:
                keyframes.append(len(stamps))
            if len(stamps) % SAMPLE_INTERVAL == 0 and _is_colored(frame, video):
                colored.append(len(stamps))
            checksums.append(zlib.crc32(thumbnail.tobytes()))
            stamps.append(frame.pts)
            durations.append(frame.duration or 0)
            progress("analysing", len(stamps), max(_estimate_frames(video, window), len(stamps)))
            later += _is_later(video, window, stamps)
            if later > _FRAMES_AFTER:
                break
        added.result()
    detector.finish()
    timestamps, notes = find_times(video, stamps)
    if video.is_multiview:
        notes.append(f"{video.path} has several views, of which OUT has the first only")
    damage = _locate(damage, stamps)
    damaged_frames = _find_damaged(video, damage, stamps, timestamps, window)
    check_damage(video, damaged_frames, len(stamps))
    notes += [f"damage {line}" for line in describe_damage(damaged_frames)]
    start = timestamps[0] if window is None else window.origin
    inside = [time for time in timestamps if _is_inside(time, window)]
    seconds = [float((time - start) * video.time_base) for time in inside]
    notes += describe_gaps(seconds, damaged_frames)
    end = float(timestamps[-1] * video.time_base)
    if later <= _FRAMES_AFTER and end + _MAX_MISSING_SECONDS < video.expected_end:
        notes.append(
            f"the video ends at {format_time(end)}, not at {format_time(video.expected_end)} as "
            "its file says: it may be cut off"
        )
    if timestamps != stamps or not video.stores_durations:  # those are in decoding order
        durations = [*(b - a for a, b in pairwise(timestamps)), durations[-1]]
    return VideoAnalysis(
        *(timestamps, durations, checksums, keyframes, detector.cuts, detector.flashes, colored),
        stamps=stamps,
        origin=timestamps[0],
        damaged=sorted({index for index, _ in damage}),
        seek_loss=video.fields.seek_loss,
        notes=notes,
    )


def _is_inside(time: int, window: Window | None) -> bool:
    return window is None or window.start <= time < (math.inf if window.end is None else window.end)


def _estimate_frames(video: Video, window: Window | None) -> int:
    """Return how many frames will be decoded, 0 if that is unknown."""
    if window is None:
        return video.estimated_frames
    first = 0 if window.seek is None else window.seek - window.origin
    skipped = round(first * video.time_base * video.frame_rate)
    if window.end is None:
        return max(0, video.estimated_frames - skipped)
    stop = round((window.end - window.origin) * video.time_base * video.frame_rate)
    return min(stop, video.estimated_frames or stop) - skipped


def _is_later(video: Video, window: Window | None, stamps: Sequence[int | None]) -> bool:
    """Return whether the last of the frames is after the window, as far as its stamp says."""
    if window is None or window.end is None:
        return False
    if video.stamp == "pos":
        return len(stamps) / video.frame_rate / video.time_base > window.end - window.origin
    return (stamps[-1] or window.origin) >= window.end


def find_times(video: Video, stamps: list[int | None]) -> tuple[list[int], list[str]]:
    """Return the presentation times of frames, and notes of what was mended.

    Raises:
        VideoError: If times start again or repeat too often.
    """
    period = 1 / video.frame_rate / video.time_base
    rate = f"{float(video.frame_rate):.6g} frames a second"
    if video.stamp == "pos":
        times = mend_times([None] * len(stamps), period)
        notes = [f"{video.path} stores no times: it has {rate}"]
    else:
        times = mend_times(stamps, period)
        notes = []
    if times is None:
        raise VideoError(
            f"{video.path} has timestamps that start again or repeat too often; mend them first, "
            "for example with `ffmpeg -fflags +genpts -i IN -map 0 -c copy OUT.mkv`"
        )
    changed = sum(a != b for a, b in zip(times, stamps, strict=True))
    if changed and video.stamp == "dts":
        notes.append(f"{video.path} stores times of decoding only: frames have them in their order")
    elif changed and not notes:
        notes.append(f"{changed} frames had no time, or one out of order, and were given one")
    return times, notes


def _locate(
    damage: Sequence[tuple[int, Damage]], stamps: Sequence[int | None]
) -> list[tuple[int, Damage]]:
    """Replace the number of frames before damage was noticed by the index where it is."""
    ordered = sorted(stamp for stamp in stamps if stamp is not None)
    return [
        (min(count if one.stamp is None else bisect_left(ordered, one.stamp), len(stamps) - 1), one)
        for count, one in damage
    ]


def _find_damaged(
    video: Video,
    damage: list[tuple[int, Damage]],
    stamps: list[int | None],
    timestamps: list[int],
    window: Window | None,
) -> list[DamagedFrame]:
    """Return the frames of the window that are damaged or lost."""
    has_times = video.stamp != "pos" and stamps == timestamps
    damaged = []
    for index, one in damage:
        known = one.stamp if has_times else None
        time = timestamps[index] if known is None else known
        if not _is_inside(time, window):
            continue
        origin = timestamps[0] if window is None else window.origin
        damaged.append(DamagedFrame(float((time - origin) * video.time_base), one.is_lost))
    return damaged


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
