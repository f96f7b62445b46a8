"""Frames as photos, and photos as frames."""

from typing import Any

import numpy as np
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from photochrom.color import Pixels
from photochrom.imagefile.photo import Photo
from photochrom.video.reading.source import FULL_RANGE, LIMITED_RANGE, Video

_INTERPOLATION = int(
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
)


def to_photo(frame: VideoFrame, video: Video) -> Photo:
    """Return a frame as an upright photo, with one channel if it has no colours (faster)."""
    if isinstance(frame.opaque, Photo):  # of a sequence
        return frame.opaque
    if _is_grey(frame):
        pixel_format = "gray16le" if video.high_bit_depth else "gray"
    else:
        pixel_format = "rgb48le" if video.high_bit_depth else "rgb24"
    pixels: Pixels = frame.reformat(
        format=pixel_format,
        src_colorspace=video.matrix,
        src_color_range=FULL_RANGE if video.full_range else LIMITED_RANGE,
        dst_color_range=FULL_RANGE,
        interpolation=_INTERPOLATION,
        threads=1,
    ).to_ndarray()  # type: ignore[assignment]
    return Photo(np.ascontiguousarray(np.rot90(np.atleast_3d(pixels), video.quarter_turns)))


def to_grey(frame: VideoFrame, video: Video, height: int, width: int) -> NDArray[np.uint8]:
    """Return grey values of a frame as an upright picture of a size, to find motion in."""
    size = (height, width) if video.quarter_turns % 2 else (width, height)
    small = frame.reformat(*size, format="gray", interpolation=Interpolation.AREA, threads=1)
    return np.ascontiguousarray(np.rot90(small.to_ndarray(), video.quarter_turns), np.uint8)


def to_frame(photo: Photo, video: Video, pixel_format: str) -> VideoFrame:
    """Return an RGB photo as a frame in sRGB, with the rotation of `to_photo` undone."""
    srgb = photo.to_srgb(keep_bits=True)
    pixels: Any = np.ascontiguousarray(np.rot90(srgb, -video.quarter_turns))
    rgb_format = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
    return VideoFrame.from_ndarray(pixels, format=rgb_format).reformat(
        format=pixel_format,
        dst_colorspace=video.matrix,
        src_color_range=FULL_RANGE,
        dst_color_range=FULL_RANGE if video.full_range else LIMITED_RANGE,
        interpolation=_INTERPOLATION,
        threads=1,
    )


def convert(frame: VideoFrame, video: Video, pixel_format: str) -> VideoFrame:
    """Return a frame with its own colours in another pixel format, ready to be encoded."""
    if isinstance(frame.opaque, Photo):
        return to_frame(frame.opaque, video, pixel_format)
    range_ = FULL_RANGE if video.full_range else LIMITED_RANGE
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
