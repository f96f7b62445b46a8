"""SGI images (.sgi, .rgb, .bw) of 8 and 16 bits.

Follows The SGI Image File Format, version 1.00 (Paul Haeberli).
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import check_size, finish, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

_HEADER_SIZE = 512


class _Header(NamedTuple):
    is_compressed: int
    sample_size: int
    """Bytes."""
    dimensions: int
    width: int
    height: int
    channels: int
    name: bytes
    color_map: int


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read an SGI image, with its name as a comment.

    Raises:
        PhotoError: If it has too many pixels, or obsolete colours.
        DamagedError: If it is damaged or cut off.
    """
    with reader_errors(name):
        header = _Header(*struct.unpack_from(">2xBBHHHH12x80sI", data))
        if header.color_map:
            raise PhotoError("an SGI image with a colour map or dithered colours cannot be read")
        height = header.height if header.dimensions > 1 else 1
        channels = header.channels if header.dimensions > 2 else 1
        if header.sample_size not in (1, 2) or min(header.width, height, channels) < 1:
            raise ValueError("a number of the header is out of range")
        if channels > 4:
            raise PhotoError(
                f"an SGI image of {channels} channels cannot be read; give RGB or grey"
            )
    check_size(header.width, height, name, max_pixels)
    with reader_errors(name):
        rows = channels * height
        decode = _decode_rows if header.is_compressed else _read_rows
        planes = decode(data, rows, header).reshape(channels, height, header.width)
        values = np.ascontiguousarray(np.moveaxis(planes[:, ::-1], 0, -1))  # from the bottom up
        alpha = None
        if channels in (2, 4):
            values, alpha = values[..., :-1].copy(), values[..., -1].copy()
        title = header.name.split(b"\0")[0].decode(errors="surrogateescape").strip()
        comments = (title,) if title and title != "no name" else ()
        return finish(Photo(values, alpha), Metadata(comments=comments), Encoding("SGI"))


def _read_rows(data: bytes, rows: int, header: _Header) -> NDArray[Any]:
    count = rows * header.width
    values = np.frombuffer(data, f">u{header.sample_size}", count, _HEADER_SIZE)
    return values.astype(f"u{header.sample_size}")


def _decode_rows(data: bytes, rows: int, header: _Header) -> NDArray[Any]:
    """Decode rows of runs; a table says where each one is."""
    places = np.frombuffer(data, ">u4", 2 * rows, _HEADER_SIZE).reshape(2, rows).T.tolist()
    output = np.empty((rows, header.width), f"u{header.sample_size}")
    for row, (start, size) in zip(output, places, strict=True):
        if start + size > len(data):
            raise ValueError("a row is cut off")
        packets = np.frombuffer(data[start : start + size], f">u{header.sample_size}")
        column = offset = 0
        while column < header.width:
            packet = int(packets[offset])  # raises an IndexError at the end
            count = packet & 0x7F
            if count == 0:
                raise ValueError("a row is too short")
            end = min(column + count, header.width)
            if packet & 0x80:
                literals = packets[offset + 1 : offset + 1 + end - column]
                if len(literals) < end - column:
                    raise ValueError("a row is too short")
                row[column:end] = literals
                offset += 1 + count
            else:
                row[column:end] = packets[offset + 1]
                offset += 2
            column = end
    return output
