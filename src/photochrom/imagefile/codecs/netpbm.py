"""Netpbm's formats: PBM, PGM and PPM, plain and binary, and PAM.

Follows the manual pages pbm(5), pgm(5), ppm(5) and pam(5) of Netpbm. Values are scaled from the
largest one, `maxval`, to 8 bits, or to 16 bits if it is above 255.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from photochrom.color import Pixels
from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import check_size, finish, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

_PLAIN = (b"P1", b"P2", b"P3")
_BITMAPS = (b"P1", b"P4")
_CHANNELS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3}
_PAM_TUPLES = {b"BLACKANDWHITE": 1, b"GRAYSCALE": 1, b"RGB": 3}
_COMMENT = re.compile(rb"#([^\r\n]*)")
_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*)*(\d{1,10})")
_RASTER_START = re.compile(rb"(?:#[^\r\n]*[\r\n])*\s")
_PAM_END = re.compile(rb"^ENDHDR[^\n]*\n", re.MULTILINE)
_NEXT_IMAGE = re.compile(rb"\s*P[1-7]\s")
_MAX_PAM_HEADER = 1 << 20


class _Header(NamedTuple):
    width: int
    height: int
    channels: int
    """With alpha."""
    maxval: int
    raster: int
    """Offset of the values."""


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read the first image of a file, with its comments.

    Raises:
        PhotoError: If it has too many pixels, or is of a kind that cannot be used.
        DamagedError: If it is damaged or cut off.
    """
    magic = data[:2]
    with reader_errors(name):
        header = _read_pam_header(data) if magic == b"P7" else _read_header(data, magic)
        if min(header[:4]) < 1 or header.maxval > 65535:
            raise ValueError("a number of the header is out of range")
    check_size(header.width, header.height, name, max_pixels)
    with reader_errors(name):
        metadata = Metadata(comments=_read_comments(data[: header.raster]))
        if magic in _PLAIN:
            values = _read_plain(data[header.raster :], magic, header)
        else:
            values, end = _read_binary(data, magic, header)
            if _NEXT_IMAGE.match(data, end):
                metadata = metadata.with_warning("further images of the file are dropped")
        if magic in _BITMAPS:  # 1 is black
            values = values ^ 1
        pixels = _scale(values.reshape(header.height, header.width, -1), header.maxval)
        alpha = None
        if header.channels in (2, 4):
            pixels, alpha = pixels[..., :-1].copy(), pixels[..., -1].copy()
        return finish(Photo(pixels, alpha), metadata, Encoding("PPM"))


def _read_header(data: bytes, magic: bytes) -> _Header:
    if magic in (b"PF", b"Pf"):
        raise PhotoError(
            "the floating-point values of a PFM (HDR) have no defined white; convert it to a TIFF "
            "or PNG of 16 bits"
        )
    numbers, offset = [], len(magic)
    for _ in range(2 if magic in _BITMAPS else 3):
        number = _NUMBER.match(data, offset)
        if number is None:
            raise ValueError("a number of the header is missing")
        numbers.append(int(number[1]))
        offset = number.end()
    start = _RASTER_START.match(data, offset)
    if start is None:
        raise ValueError("the pixels are missing")
    width, height, maxval = [*numbers, 1][:3]
    return _Header(width, height, _CHANNELS[magic], maxval, start.end())


def _read_pam_header(data: bytes) -> _Header:
    end = _PAM_END.search(data, 0, _MAX_PAM_HEADER)
    if end is None:
        raise ValueError("the header has no end")
    lines = (line.split(None, 1) for line in data[2 : end.start()].splitlines())
    fields = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    width, height, channels, maxval = (
        int(fields.get(key, b"0")) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    kind = fields.get(b"TUPLTYPE", b"RGB" if channels > 2 else b"GRAYSCALE")
    has_alpha = kind.endswith(b"_ALPHA") or (b"TUPLTYPE" not in fields and channels in (2, 4))
    expected = _PAM_TUPLES.get(kind.removesuffix(b"_ALPHA"))
    if expected is None or channels != expected + has_alpha:
        raise PhotoError(
            f"a PAM of {channels} channels of {kind.decode(errors='replace')} cannot be read; "
            "convert it to RGB or GRAYSCALE with the same maxval"
        )
    return _Header(width, height, channels, maxval, end.end())


def _read_comments(header: bytes) -> tuple[str, ...]:
    """Return the comments, lines that follow each other as one."""
    lines = b"\n".join(line.strip() for line in _COMMENT.findall(header))
    return (lines.decode(errors="surrogateescape"),) if lines.strip() else ()


def _read_plain(raster: bytes, magic: bytes, header: _Header) -> NDArray[Any]:
    """Read values in decimal digits; those of a bitmap need no space between."""
    count = header.width * header.height * header.channels
    raster = _COMMENT.sub(b"", raster)
    if magic == b"P1":
        digits = np.frombuffer(b"".join(raster.split())[:count], np.uint8).astype(np.int64)
        values = digits - ord("0")
    else:
        # It fails or ends where it meets anything but digits and space.
        values = np.fromstring(raster.strip(), np.int64, sep=" ")[:count]
    if len(values) < count:
        raise ValueError("pixels are missing")
    return values


def _read_binary(data: bytes, magic: bytes, header: _Header) -> tuple[NDArray[Any], int]:
    """Return values and the offset of their end."""
    row = header.width * header.channels
    kind = np.dtype(">u2" if header.maxval > 255 else "u1")
    size = header.height * ((row + 7) // 8 if magic == b"P4" else row * kind.itemsize)
    end = header.raster + size
    raster = np.frombuffer(data[header.raster : end], np.uint8)
    if len(raster) < size:
        raise ValueError("pixels are missing")
    if magic == b"P4":
        values = np.unpackbits(raster.reshape(header.height, -1), axis=1, count=row).ravel()
    else:
        values = raster.view(kind)
    return values, end


def _scale(values: NDArray[Any], maxval: int) -> Pixels:
    """Scale values from 0 to `maxval` to 8 bits, or to 16.

    Raises:
        ValueError: If one is out of range.
    """
    if values.min() < 0 or values.max() > maxval:
        raise ValueError("a value is above the largest one that the header says")
    dtype: type[Any] = np.uint8 if maxval <= 255 else np.uint16
    white = np.iinfo(dtype).max
    if maxval == white:
        return values.astype(dtype)
    table: Pixels = np.rint(np.arange(maxval + 1) * (white / maxval)).astype(dtype)
    return table.take(values)
