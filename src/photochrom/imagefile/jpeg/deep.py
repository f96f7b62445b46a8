"""JPEGs that Pillow does not decode: of more than 8 bits, lossless ones of them, and JPEG-LS.

Follows ISO/IEC 10918-1, section B.2.2 (frame header), and ISO/IEC 14495-1. libjpeg-turbo and CharLS
decode them.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np

from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import check_size, finish, reader_errors
from photochrom.imagefile.formats import detect_format
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.jpeg.segments import find_image_end
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.samples import to_full_range

_SOS, _FILL, _JPEG_LS = 0xDA, 0xFF, 0xF7
_FRAMES = {*range(0xC0, 0xD0), _JPEG_LS} - {0xC4, 0xC8, 0xCC}
_HIERARCHICAL = {*range(0xC5, 0xC8), *range(0xCD, 0xD0)}
_MAX_SEGMENTS = 10_000


@dataclass(frozen=True)
class Frame:
    """Header of an image."""

    marker: int
    bits: int
    height: int
    width: int
    channels: int

    @property
    def is_deep(self) -> bool:
        """Whether Pillow cannot decode it."""
        return self.bits > 8 or self.marker == _JPEG_LS or self.marker in _HIERARCHICAL


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read the header of a JPEG's image, passing over its metadata; None if there is none."""
    stream.seek(2)
    for _ in range(_MAX_SEGMENTS):
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == _SOS:
            return None
        if head[1] == _FILL:
            stream.seek(-3, 1)
        elif head[1] in _FRAMES:
            header = stream.read(6)
            return Frame(head[1], *struct.unpack(">BHHB", header)) if len(header) == 6 else None
        else:
            stream.seek(max(0, int.from_bytes(head[2:]) - 2), 1)
    return None


def needs_png(path: Path) -> bool:
    """Tell whether a file is a JPEG that becomes a PNG, as a JPEG does not hold its values.

    False for a file that cannot be read.
    """
    try:
        with path.open("rb") as stream:
            if detect_format(stream.read(64)) != "JPEG":
                return False
            frame = read_frame(stream)
    except OSError:
        return False
    return frame is not None and frame.is_deep


def read(data: bytes, name: str, max_pixels: int) -> Photo | None:
    """Read a JPEG that Pillow does not decode, None if it is another.

    Raises:
        PhotoError: If it is damaged, too large, or of a kind that is not supported.
    """
    frame = read_frame(BytesIO(data))
    if frame is None or not frame.is_deep:
        return None
    check_size(frame.width, frame.height, name, max_pixels)
    with reader_errors(name):
        if frame.marker in _HIERARCHICAL:
            raise PhotoError("it is a hierarchical JPEG, which is not read; save it as TIFF or PNG")
        if frame.channels not in (1, 3):
            raise PhotoError(
                f"it is a JPEG of {frame.bits} bits with {frame.channels} channels; grey and "
                "colours of three channels are read: save it as TIFF"
            )
        import imagecodecs

        if frame.marker == _JPEG_LS:
            decoded = imagecodecs.jpegls_decode(data)
        else:  # it accepts images that are cut off
            if data[: find_image_end(data)][-2:] != b"\xff\xd9":
                raise PhotoError("it is cut off: the end of the image is missing")
            decoded = imagecodecs.jpeg8_decode(data)
        pixels = to_full_range(np.atleast_3d(decoded), frame.bits)
        metadata = jpeg.read_metadata(data)
        if frame.bits > 8:
            metadata = metadata.with_warning(
                f"{frame.bits} bits are kept in a PNG or TIFF of 16 bits only"
            )
        return finish(Photo(pixels), metadata, Encoding())
