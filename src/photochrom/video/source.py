"""Read a source video: its properties, its frames, and frames as photos."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from photochrom.color import Pixels
from photochrom.errors import PhotochromError
from photochrom.imagefile.photo import Photo

MAX_PIXELS = 36_000_000
"""Default limit of pixels per frame; 8K has 33 million."""

_ITU601, _ITU709 = 5, 1
_SWSCALE_MATRICES = {1: _ITU709, 4: 4, 5: _ITU601, 6: _ITU601, 7: 7}
"""swscale's number of each supported H.273 matrix."""
_RGB, _UNSPECIFIED = 0, 2
_WIDE_GAMUT_PRIMARIES = (9, 10, 11, 12)  # BT.2020, XYZ, P3
_HDR_TRANSFERS = (16, 18)  # PQ, HLG
_WIDE_GAMUT_MATRICES = (9, 10)  # BT.2020
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_INTERPOLATION = int(
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
)
_IMAGE_OR_TEXT_FORMATS = ("image2", "tty")


class VideoError(PhotochromError):
    """A video cannot be read, colorized or written."""


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
    """Primaries, transfer, matrix and range of the output, as numbered in H.273."""
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

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in px of a frame as of `to_photo`."""
        size = self.width, self.height
        return size[::-1] if self.quarter_turns % 2 else size


def metadata_error_options() -> dict[str, Any]:
    """Return the keywords of `av.open` that allow metadata other than UTF-8; none in PyAV 19."""
    return {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a video file; references to URLs or other protocols are not followed.

    Raises:
        VideoError: If the file is missing or not a video.
    """
    if not path.exists():
        raise VideoError(f"there is no file {path}; give a video file")
    if not path.is_file():
        raise VideoError(f"{path} is not a file; give a video file")
    local = {"protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=local, **metadata_error_options())
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{path} cannot be read as a video: {_reason(error)}") from error
    with container:
        yield container


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> Video:
    """Return the properties of a video, from its container and its first frame.

    Raises:
        VideoError: If the file is not a video or cannot be colorized correctly.
    """
    with open_container(path) as container:
        name = container.format.name
        if name in _IMAGE_OR_TEXT_FORMATS or name.endswith("_pipe"):
            raise VideoError(
                f"{path} is an image or a text, not a video; use `photochrom colorize` for photos"
            )
        stream = _find_video_stream(path, container)
        frame = next(_decode_stream(path, container, stream), None)
        if frame is None:
            raise VideoError(f"{path} has no frame that can be decoded; give another copy of it")
        _check_frame(path, frame, max_pixels)
        return _describe(path, container, stream, frame)


def _find_video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the only video stream that is not a cover."""
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if len(streams) != 1:
        hint = "; select one with `ffmpeg -i IN -map 0:v:0 -map 0:a -c copy OUT`" if streams else ""
        raise VideoError(f"{path} has {len(streams)} video streams instead of one{hint}")
    if streams[0].codec_context is None:
        raise VideoError(f"{path} has an unknown video codec; convert it first")
    return streams[0]


def _check_frame(path: Path, frame: VideoFrame, max_pixels: int) -> None:
    if frame.width * frame.height > max_pixels:
        raise VideoError(
            f"{path} has frames of {frame.width}x{frame.height} pixels, more than the limit of "
            f"{max_pixels}; scale it down first or raise --max-pixels"
        )
    if (
        frame.color_trc in _HDR_TRANSFERS
        or frame.color_primaries in _WIDE_GAMUT_PRIMARIES
        or frame.colorspace in _WIDE_GAMUT_MATRICES
    ):
        raise VideoError(f"{path} is HDR or has a wider gamut than BT.709; convert it to BT.709")
    if frame.colorspace not in (*_SWSCALE_MATRICES, _RGB, _UNSPECIFIED):
        raise VideoError(
            f"{path} has the unsupported colour matrix {frame.colorspace} (H.273); convert it to "
            "BT.709"
        )


def _describe(
    path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame
) -> Video:
    frame_rate = _fraction(stream.average_rate) or _fraction(stream.guessed_rate) or Fraction(25)
    seconds = container.duration / av.time_base if container.duration else 0
    is_rgb_or_grey = frame.format.is_rgb or len(frame.format.components) < 3
    matrix_tag = _UNSPECIFIED if is_rgb_or_grey else frame.colorspace
    is_hd = frame.width >= 1280 or frame.height > 576
    matrix = _SWSCALE_MATRICES.get(matrix_tag, _ITU709 if is_hd else _ITU601)
    if is_rgb_or_grey:
        matrix_tag = {_ITU709: 1, _ITU601: 6}[matrix]
    full_range = not is_rgb_or_grey and (
        frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    )
    range_tag = _FULL_RANGE if full_range else _LIMITED_RANGE
    display_matrix: Any = frame.side_data.get("DISPLAYMATRIX")
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
        display_matrix=None
        if display_matrix is None
        else tuple(np.frombuffer(display_matrix, np.int32).tolist()),
        pixel_aspect=_fraction(stream.sample_aspect_ratio),
        frame_rate=frame_rate,
        time_base=_fraction(stream.time_base) or Fraction(1, 1000),
        estimated_frames=stream.frames or round(seconds * frame_rate),
        expected_end=_parse_duration(stream.metadata.get("DURATION", "")),
        stores_durations="matroska" in container.format.name,
    )


def _fraction(number: Any) -> Fraction | None:
    """Return a PyAV rational, which has its own type in PyAV 19; None if it is not set."""
    return Fraction(number) if number else None


def _parse_duration(text: str) -> float:
    """Return the seconds of a Matroska duration such as 00:00:03.200000000; 0 if there is none."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", text)
    if match is None:
        return 0.0
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def decode(video: Video, start: int | None = None) -> Iterator[VideoFrame]:
    """Decode frames in presentation order, from the keyframe at timestamp `start` on.

    Raises:
        VideoError: If the file or a frame is damaged.
    """
    with open_container(video.path) as container:
        stream = container.streams[video.stream_index]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1  # with more, FFmpeg does not report broken frames
        if start is not None:
            container.seek(start, stream=stream)
        yield from _decode_stream(video.path, container, stream)


def _decode_stream(
    path: Path, container: InputContainer, stream: VideoStream
) -> Iterator[VideoFrame]:
    seconds = 0.0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise damage_error(path, seconds, "the next packet is corrupt")
            for frame in packet.decode():
                seconds = frame.time or seconds
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        raise damage_error(path, seconds, _reason(error)) from error


def damage_error(path: Path, seconds: float, reason: str) -> VideoError:
    """Return the error for a video that is damaged at a time."""
    return VideoError(
        f"{path} is damaged or encrypted at {format_time(seconds)}: {reason}; give another copy or "
        "repair it first"
    )


def format_time(seconds: float) -> str:
    """Return a time as h:mm:ss.ss."""
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def to_photo(frame: VideoFrame, video: Video) -> Photo:
    """Return a frame as an upright photo, with one channel if it has no colours (faster)."""
    if _is_grey(frame):
        pixel_format = "gray16le" if video.high_bit_depth else "gray"
    else:
        pixel_format = "rgb48le" if video.high_bit_depth else "rgb24"
    pixels: Pixels = frame.reformat(
        format=pixel_format,
        src_colorspace=video.matrix,
        src_color_range=_FULL_RANGE if video.full_range else _LIMITED_RANGE,
        dst_color_range=_FULL_RANGE,
        interpolation=_INTERPOLATION,
        threads=1,
    ).to_ndarray()  # type: ignore[assignment]
    return Photo(np.ascontiguousarray(np.rot90(np.atleast_3d(pixels), video.quarter_turns)))


def to_frame(photo: Photo, video: Video, pixel_format: str) -> VideoFrame:
    """Return an RGB photo as a frame, with the rotation of `to_photo` undone."""
    pixels: Any = np.ascontiguousarray(np.rot90(photo.pixels, -video.quarter_turns))
    rgb_format = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
    return VideoFrame.from_ndarray(pixels, format=rgb_format).reformat(
        format=pixel_format,
        dst_colorspace=video.matrix,
        src_color_range=_FULL_RANGE,
        dst_color_range=_FULL_RANGE if video.full_range else _LIMITED_RANGE,
        interpolation=_INTERPOLATION,
        threads=1,
    )


def convert(frame: VideoFrame, video: Video, pixel_format: str) -> VideoFrame:
    """Return a frame with its own colours in another pixel format, ready to be encoded."""
    range_ = _FULL_RANGE if video.full_range else _LIMITED_RANGE
    converted = frame.reformat(
        format=pixel_format,
        src_colorspace=video.matrix,
        dst_colorspace=video.matrix,
        src_color_range=range_,
        dst_color_range=range_,
        interpolation=_INTERPOLATION,
        threads=1,
    )
    converted.pict_type = PictureType.NONE  # else the encoder would follow the source's
    return converted


def _is_grey(frame: VideoFrame) -> bool:
    """Return whether a frame has a grey format or neutral chroma everywhere."""
    components = frame.format.components
    if len(components) < 3:
        return True
    if not frame.format.is_planar or frame.format.is_rgb or len(frame.planes) != 3:
        return False
    dtype = np.uint8 if components[1].bits <= 8 else np.uint16
    neutral = 1 << (components[1].bits - 1)
    for plane in frame.planes[1:]:
        rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        if (rows[:, : plane.width] != neutral).any():
            return False
    return True
