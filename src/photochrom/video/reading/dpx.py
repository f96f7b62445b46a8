"""DPX pictures (SMPTE ST 268-1) as photos. FFmpeg codes the pixels; the header is kept here."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.samples import to_photo

FORMAT = "DPX"
"""Of a photo's encoding, whose options are `bits` and `header`."""
_HEADER_SIZE = 2048
_GENERIC_SIZE = 1664
"""Bytes of the header that FFmpeg writes; those for film and television follow."""
_ORIENTATION, _TRANSFER, _COLORIMETRY = 768, 801, 802
_CREATOR, _CREATOR_SIZE = 160, 100
_FLIPS = {
    bits: (slice(None, None, -1 if bits & 2 else 1), slice(None, None, -1 if bits & 1 else 1))
    for bits in range(4)
}
"""Slices that make a picture of an orientation upright."""
_LOGARITHMIC = {1: "printing density", 3: "logarithmic"}
_LOGARITHMIC_WARNING = (
    "the header says {}, but the values are taken as encoded for a display; if they are "
    "logarithmic, convert them to BT.709 first"
)
_ITU709 = 6
_KEPT = {
    36: "100s24s100s200s200s",  # name of the file, time, creator, project, copyright
    1408: "6I100s24s32s32s4H2I28s",  # part of a larger picture, source, scanner, pixel aspect
    1664: "2s2s2s6s4s32s5I32s100s56s",  # film: edge code, number and rate of frames, slate
    1920: "2I4s10I76s",  # television: timecode, user bits, rate of frames
}
"""Fields of the header, by offset, that a result has from its source. Floats are copied as bits."""
_UNDEFINED = {1712: 20, 1920: 52}
"""Offsets and sizes of the numbers for film and television, which are ones if nothing is known."""
_PIXEL_FORMATS = {8: "rgb24", 10: "gbrp10", 12: "gbrp12", 16: "rgb48"}


def read(path: Path) -> Photo:
    """Read a picture of 8 to 16 bits, grey or RGB.

    It is taken as encoded for a display, as sRGB, with a warning if its header says printing
    density or logarithmic: many programs write the same header for everything.

    Raises:
        PhotoError: If it is damaged, or has another pixel format or orientation.
    """
    try:
        data = path.read_bytes()
        decoder = CodecContext.create("dpx", "r")
        assert isinstance(decoder, VideoCodecContext)
        frames = [*decoder.decode(Packet(data)), *decoder.decode(None)] if data else []
    except av.error.FFmpegError as error:
        raise PhotoError(f"{path} is not a DPX that can be read: {error.strerror}") from error
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror or error}") from error
    if not frames:
        raise PhotoError(f"{path} is not a DPX that can be read; give another copy")
    orientation = _unpack(data, _ORIENTATION, "H")[0]
    if orientation not in _FLIPS:
        raise PhotoError(f"{path} is stored turned; store its rows horizontally first")
    format_ = frames[0].format
    bits = format_.components[0].bits
    if format_.name.rstrip("lbe") not in (f"gray{bits}", "gray", _PIXEL_FORMATS.get(bits)):
        raise PhotoError(
            f"{path} has the pixel format {format_.name}; convert it to grey or RGB without alpha"
        )
    header_size = _unpack(data, 4, "I")[0]
    header = data[: _HEADER_SIZE if header_size >= _HEADER_SIZE else _GENERIC_SIZE]
    encoding = Encoding(FORMAT, {"bits": bits, "header": header})
    pixels: Any = to_photo(frames[0].to_ndarray(), bits).pixels[_FLIPS[orientation]]
    metadata = Metadata()
    if data[_TRANSFER] in _LOGARITHMIC:
        metadata = metadata.with_warning(_LOGARITHMIC_WARNING.format(_LOGARITHMIC[data[_TRANSFER]]))
    return Photo(np.ascontiguousarray(pixels), metadata=metadata, encoding=encoding)


def encode(photo: Photo) -> bytes:
    """Return the file of a photo in sRGB, with bits and header of the DPX that it was read from.

    Others have 8 or 16 bits, and BT.709 as transfer characteristic and colorimetry. The mark of the
    photo becomes the creator.

    Raises:
        PhotoError: If the photo has transparency.
    """
    if photo.alpha is not None:
        raise PhotoError("a DPX has no transparency and the picture has; choose .tif or .png")
    options = photo.encoding.options if photo.encoding.format == FORMAT else {}
    header: bytes = options.get("header", b"")
    order = "be" if _order(header) == ">" else "le"
    bits = options.get("bits", 8 * photo.pixels.itemsize)
    height, width, _ = photo.pixels.shape
    samples: Any = np.ascontiguousarray(photo.to_srgb(keep_bits=True))
    if bits in (10, 12):
        scale = ((1 << bits) - 1) / 65535
        samples = cv2.multiply(samples.reshape(height, -1), scale, dtype=cv2.CV_16U)  # rounds
        samples = samples.reshape(height, width, 3)
    format_ = _PIXEL_FORMATS[bits] + order * (bits > 8)
    data = bytearray(_encode_pixels(VideoFrame.from_ndarray(samples, format=format_)))
    data[_GENERIC_SIZE:_GENERIC_SIZE] = bytes(_HEADER_SIZE - _GENERIC_SIZE)
    for offset, value in ((4, _HEADER_SIZE), (16, len(data)), (28, 384), (808, _HEADER_SIZE)):
        _pack(data, offset, "I", value)
    for offset, size in _UNDEFINED.items():
        data[offset : offset + size] = b"\xff" * size
    data[_TRANSFER] = data[_COLORIMETRY] = _ITU709
    if header:
        for offset, fields in _KEPT.items():
            if offset < len(header):
                _pack(data, offset, fields, *_unpack(header, offset, fields))
        data[_TRANSFER : _COLORIMETRY + 1] = header[_TRANSFER : _COLORIMETRY + 1]
    if photo.metadata.mark:
        _pack(data, _CREATOR, f"{_CREATOR_SIZE}s", photo.metadata.mark.encode()[:_CREATOR_SIZE])
    return bytes(data)


def _encode_pixels(frame: VideoFrame) -> bytes:
    encoder = CodecContext.create("dpx", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt, encoder.time_base = frame.format.name, Fraction(1, 24)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _order(data: bytes | bytearray) -> str:
    return ">" if data[:4] == b"SDPX" else "<"


def _unpack(data: bytes, offset: int, fields: str) -> tuple[Any, ...]:
    return struct.unpack_from(_order(data) + fields, data, offset)


def _pack(data: bytearray, offset: int, fields: str, *values: Any) -> None:
    struct.pack_into(_order(data) + fields, data, offset, *values)
