"""Read a source video: its properties and its frames."""

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from photochrom.errors import VideoError
from photochrom.video.reading.container import (
    Damage,
    DamageCallback,
    decode_stream,
    ignore_damage,
    open_container,
)
from photochrom.video.reading.fields import Fields, make_progressive
from photochrom.video.reading.sequences import DEFAULT_RATE, PictureSequence, find_sequence

MAX_PIXELS = 36_000_000
"""Default limit of pixels per frame; 8K has 33 million."""
LIMITED_RANGE, FULL_RANGE = 1, 2
"""FFmpeg's numbers of ranges of YUV (AVColorRange)."""

_ITU601, _ITU709 = 5, 1
_SWSCALE_MATRICES = {1: _ITU709, 4: 4, 5: _ITU601, 6: _ITU601, 7: 7}
"""swscale's number of each supported H.273 matrix."""
_RGB, _UNSPECIFIED = 0, 2
_RGB_TO_YUV_TAGS = {_ITU709: 1, _ITU601: 6}
"""H.273's number of the matrix of sources without one."""
_SRGB_TAGS = (1, 13)
"""Primaries and transfer."""
_WIDE_GAMUT_PRIMARIES = (9, 10, 11, 12)  # BT.2020, XYZ, P3
_HDR_TRANSFERS = (16, 18)  # PQ, HLG
_WIDE_GAMUT_MATRICES = (9, 10)  # BT.2020
_IMAGE_OR_TEXT_FORMATS = ("image2", "tty")
_VIEW_ID = 29
"""FFmpeg's number of side data with the view of a frame."""
_NO_TIMESTAMPS = 0x80
"""FFmpeg's flag of formats without a container."""
_MAX_OTHER_SIZE = 8
"""Consecutive frames of another size that may be damaged."""


@dataclass(frozen=True)
class Video:
    """A source video file and the properties of its video stream."""

    path: Path
    stream_index: int
    width: int
    """In px, before rotation."""
    height: int
    high_bit_depth: bool
    """Whether components have more than 8 bits."""
    matrix: int
    """swscale's number of the matrix between RGB and YUV."""
    full_range: bool
    color_tags: tuple[int, int, int, int]
    """Primaries, transfer and matrix of the output, as numbered in H.273, and its range, as
    numbered by FFmpeg."""
    quarter_turns: int
    """Counter-clockwise rotation applied by players."""
    display_matrix: tuple[int, ...] | None
    pixel_aspect: Fraction | None
    frame_rate: Fraction
    """Average frames per second."""
    time_base: Fraction
    estimated_frames: int
    """According to the container; 0 if unknown."""
    expected_end: float
    """In seconds, according to the container; 0 if unknown."""
    stores_durations: bool
    """Whether the container stores the duration of each frame."""
    stamp: Literal["pts", "dts", "pos"] = "pts"
    """Attribute of packets that identifies their frames: AVI stores only times of decoding, and
    streams without a container only have positions in bytes."""
    is_multiview: bool = False
    """Whether there are other views, as for stereoscopy, that FFmpeg does not decode by default."""
    sequence: PictureSequence | None = None
    """The source, if it is one file for each frame."""
    fields: Fields = field(default_factory=Fields)
    """How frames consist of fields; `decode` makes them progressive."""

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in px of a frame as of `to_photo`."""
        size = self.width, self.height
        return size[::-1] if self.quarter_turns % 2 else size

    def read_version(self) -> list[int | str]:
        """Return numbers that change if the source does."""
        if self.sequence is not None:
            return [self.sequence.fingerprint(), str(self.sequence.rate)]
        status = self.path.stat()
        return [status.st_size, status.st_mtime_ns]


def probe(path: Path, *, max_pixels: int = MAX_PIXELS, rate: Fraction | None = None) -> Video:
    """Return the properties of a video, from its container and its first frame.

    Args:
        path: A video, or the folder or pattern of an image sequence.
        max_pixels: Limit of pixels per frame.
        rate: Frames per second of a sequence; None: `DEFAULT_RATE`.

    Raises:
        VideoError: If the file is not a video or cannot be colorized correctly.
        PhotoError: If a sequence is not complete, or its first picture cannot be read.
    """
    sequence = find_sequence(path, rate or DEFAULT_RATE)
    if sequence is not None:
        return _describe_sequence(sequence, max_pixels)
    if rate is not None:
        raise VideoError(f"{path} is a video, which has its own rate; --rate is for sequences")
    with open_container(path) as container:
        name = container.format.name
        if name in _IMAGE_OR_TEXT_FORMATS or name.endswith("_pipe"):
            raise VideoError(
                f"{path} is an image or a text, not a video; use `photochrom colorize` for photos, "
                "or give an image sequence as a pattern such as reel_%06d.tif"
            )
        stream = _find_video_stream(path, container)
        frame = next(decode_stream(container, stream, _stamp(container), ignore_damage), None)
        if frame is None:
            raise VideoError(
                f"{path} has no frame that can be decoded, as it is damaged or encrypted; give "
                "another copy of it"
            )
        _check_frame(path, frame, max_pixels)
        return _describe(path, container, stream, frame)


def _find_video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the only video stream that is not a cover."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path} has no video stream; give a video file")
    if len(streams) > 1:
        raise VideoError(
            f"{path} has {len(streams)} video streams instead of one; select one first, for "
            f"example with `ffmpeg -i IN -map 0 -map -0:V -map 0:V:0 -dn -c copy OUT{path.suffix}`"
        )
    if streams[0].codec_context is None:
        raise VideoError(f"{path} has a video codec that FFmpeg does not know; give another copy")
    return streams[0]


def _check_frame(path: Path, frame: VideoFrame, max_pixels: int) -> None:
    _check_size(path, frame.width, frame.height, max_pixels)
    if (
        frame.color_trc in _HDR_TRANSFERS
        or frame.color_primaries in _WIDE_GAMUT_PRIMARIES
        or frame.colorspace in _WIDE_GAMUT_MATRICES
    ):
        convert = "zscale=p=bt709:t=bt709:m=bt709"
        if frame.color_trc in _HDR_TRANSFERS:
            convert = f"zscale=t=linear:npl=100,tonemap=hable,{convert},format=yuv420p10"
        raise VideoError(
            f"{path} is HDR or has a wider gamut than BT.709; convert it first, for example with "
            f"`ffmpeg -i IN -vf {convert} -c:a copy OUT.mkv`"
        )
    if frame.colorspace not in (*_SWSCALE_MATRICES, _RGB, _UNSPECIFIED):
        raise VideoError(
            f"{path} has the unsupported colour matrix {frame.colorspace} (H.273); convert it "
            "first, for example with `ffmpeg -i IN -vf zscale=m=bt709 -c:a copy OUT.mkv`"
        )


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise VideoError(
            f"{path} has frames of {width}x{height} pixels, more than the limit of {max_pixels}; "
            "scale it down first or raise --max-pixels"
        )


def _describe(
    path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame
) -> Video:
    stamp = _stamp(container)
    average, guessed = _fraction(stream.average_rate), _fraction(stream.guessed_rate)
    # Without stored times, the average is 25 or that of the unit of time, which is so in DV too.
    is_average = stamp == "pts" and average != 1 / Fraction(stream.time_base or 1)
    frame_rate = (average if is_average else None) or guessed or average or Fraction(25)
    seconds = container.duration / av.time_base if container.duration else 0
    is_rgb_or_grey = frame.format.is_rgb or len(frame.format.components) < 3
    matrix_tag = _UNSPECIFIED if is_rgb_or_grey else frame.colorspace
    matrix = _SWSCALE_MATRICES.get(matrix_tag, _default_matrix(frame.width, frame.height))
    if is_rgb_or_grey:
        matrix_tag = _RGB_TO_YUV_TAGS[matrix]
    full_range = not is_rgb_or_grey and (
        frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    )
    range_tag = FULL_RANGE if full_range else LIMITED_RANGE
    return Video(
        path=path,
        stream_index=stream.index,
        width=frame.width,
        height=frame.height,
        high_bit_depth=max(component.bits for component in frame.format.components) > 8,
        matrix=matrix,
        full_range=full_range,
        color_tags=(frame.color_primaries, frame.color_trc, matrix_tag, range_tag),
        quarter_turns=round(frame.rotation / 90) % 4,
        display_matrix=_display_matrix(frame),
        pixel_aspect=_fraction(stream.sample_aspect_ratio),
        frame_rate=frame_rate,
        time_base=_fraction(stream.time_base) or Fraction(1, 1000),
        estimated_frames=stream.frames or round(seconds * frame_rate),
        expected_end=_expected_end(container, stream),
        stores_durations="matroska" in container.format.name,
        stamp=stamp,
        is_multiview=_is_multiview(frame),
    )


def _stamp(container: InputContainer) -> Literal["pts", "dts", "pos"]:
    if container.format.flags & _NO_TIMESTAMPS:
        return "pos"
    return "dts" if container.format.name == "avi" else "pts"


def _is_multiview(frame: VideoFrame) -> bool:
    try:
        return frame.side_data.get("VIEW_ID") is not None
    except ValueError as error:  # of PyAV 18, which does not know it
        return str(error).startswith(f"{_VIEW_ID} ")


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """Return the matrix of a frame's rotation and flips; without flips if PyAV cannot read it."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # another kind of side data, such as a view of multi-view HEVC, is unknown
        if not frame.rotation:
            return None
        angle = math.radians(frame.rotation)
        cos, sin = (round(value * 65536) for value in (math.cos(angle), math.sin(angle)))
        return (cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30)
    return None if matrix is None else tuple(np.frombuffer(matrix, np.int32).tolist())


def _describe_sequence(sequence: PictureSequence, max_pixels: int) -> Video:
    path = Path(str(sequence.pattern))
    photo = sequence.read(sequence.first)
    width, height = photo.size
    _check_size(path, width, height, max_pixels)
    matrix = _default_matrix(width, height)
    return Video(
        path=path,
        stream_index=0,
        width=width,
        height=height,
        high_bit_depth=photo.pixels.itemsize > 1,
        matrix=matrix,
        full_range=False,
        color_tags=(*_SRGB_TAGS, _RGB_TO_YUV_TAGS[matrix], LIMITED_RANGE),
        quarter_turns=0,
        display_matrix=None,
        pixel_aspect=None,
        frame_rate=sequence.rate,
        time_base=sequence.time_base,
        estimated_frames=sequence.count,
        expected_end=0.0,
        stores_durations=True,
        sequence=sequence,
    )


def _default_matrix(width: int, height: int) -> int:
    """Return swscale's number of the matrix of untagged frames."""
    return _ITU709 if width >= 1280 or height > 576 else _ITU601


def _fraction(number: Any) -> Fraction | None:
    """Return a PyAV rational, which has its own type in PyAV 19; None if it is not set."""
    return Fraction(number) if number else None


def _expected_end(container: InputContainer, stream: VideoStream) -> float:
    """Return the time in seconds at which the video ends if it is not cut off; 0 if unknown."""
    if "matroska" in container.format.name:
        return _parse_duration(stream.metadata.get("DURATION", ""))
    time_base = _fraction(stream.time_base) or Fraction(0)
    if container.format.name == "avi":  # the duration would be that of what is there
        return float(stream.frames * time_base)
    if container.format.name == "flv":
        return (container.duration or 0) / av.time_base
    if "mov" in container.format.name:
        return float(((stream.start_time or 0) + (stream.duration or 0)) * time_base)
    return 0.0


def _parse_duration(text: str) -> float:
    """Return the seconds of a Matroska duration such as 00:00:03.200000000; 0 if there is none."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", text)
    if match is None:
        return 0.0
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def decode(
    video: Video, start: int | None = None, on_damage: DamageCallback = ignore_damage
) -> Iterator[VideoFrame]:
    """Decode progressive frames in presentation order, from the keyframe at stamp `start` on.

    If the video is interlaced, the first frames are left out after a seek: see `make_progressive`.

    Each frame's `pts` is its stamp, as of `Video.stamp`: it is the same wherever decoding starts,
    but need not ascend, and may be None. `mend_times` makes times of stamps.

    Raises:
        VideoError: If the file cannot be read, or its frames change size.
        PhotoError: If a picture of a sequence cannot be read, or has another size.
    """
    if video.sequence is not None:
        yield from video.sequence.decode(video.width, video.height, start)
        return
    with open_container(video.path) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1  # with more, FFmpeg does not report broken frames
        if start is not None:
            with suppress(av.error.FFmpegError):  # then decoding starts at the beginning
                is_position = video.stamp == "pos"
                container.seek(start, stream=stream, unsupported_byte_offset=is_position)
        frames = decode_stream(container, stream, video.stamp, on_damage)
        frames = _of_one_size(frames, video, on_damage)
        yield from make_progressive(frames, video.fields, is_sought=start is not None)


def _of_one_size(
    frames: Iterable[VideoFrame], video: Video, on_damage: DamageCallback
) -> Iterator[VideoFrame]:
    """Leave out single frames of another size, which are damaged."""
    others = count = 0
    for frame in frames:
        count += 1
        if (frame.width, frame.height) == (video.width, video.height):
            others = 0
            yield frame
            continue
        others += 1
        if others > _MAX_OTHER_SIZE:
            break
        on_damage(Damage(frame.pts))
    if others > 1:
        raise VideoError(
            f"{video.path} changes its frame size after {count - others} frames; scale it to one "
            f"size first, for example with `ffmpeg -i IN -vf scale={video.width}:{video.height} "
            "-c:a copy OUT.mkv`"
        )
