"""What can be decoded of a file that is cut off: JPEG and PNG; `tiff.truncation` has TIFF.

The file is ended so that a decoder takes it, and the rows that it does not have become white: white
takes no colour, and cannot be mistaken for a part of the photo.
"""

import dataclasses
import re
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from photochrom.color import Pixels
from photochrom.errors import TruncatedError
from photochrom.imagefile.jpeg.segments import locate_segments
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.png.chunks import (
    is_intact,
    iterate_chunks,
    make_chunk,
    read_header,
)

_EOI = b"\xff\xd9"
_SOI, _SOS = 0xD8, 0xDA
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = (0xC0, 0xC1, *_PROGRESSIVE, 0xC9)
_BLOCK = 8
_SMOOTHED_ROWS = 2
"""Rows of blocks that libjpeg fills from their neighbours, in a progressive JPEG."""
_GREY = 128
"""What libjpeg writes where data are missing."""
_PADDING = 1024
"""Bytes of zeros at the end of a file from which they are no data, but what a program reserved."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_INTERLACED = 28
"""Offset of IHDR's last byte, the interlace method."""
_STEP = 1 << 12
_SIDES = {3: "at the top", 4: "at the top", 5: "on the right", 8: "on the right"} | dict.fromkeys(
    (6, 7), "on the left"
)
"""Orientation to where the last rows of the file are in the upright photo, else at the bottom."""


@dataclass
class Part:
    """A file that is cut off, ended."""

    data: bytes
    height: int
    """Of the image, in px."""
    rows: int | None = None
    """Rows that are whole; None: not known until it is decoded."""
    row_height: int = 1
    """Pixels that are encoded together."""
    unsure_rows: int = 0
    """Further rows of `row_height` that may hold what a decoder made up."""

    def find_rows(self, image: Image.Image) -> None:
        """Find the rows that are whole in a decoded JPEG: those before the grey at its end.

        The row of blocks before the grey counts as missing, as its end may be.
        """
        values = np.atleast_3d(np.asarray(image))
        last = values[-1, -1]
        is_grey = (values == last).all(axis=2)
        last_row = (self.height - 1) // self.row_height
        # Colours of the row above reach into the first half.
        inner = min(last_row * self.row_height + self.row_height // 2, self.height - 1)
        if np.abs(last.astype(int) - _GREY).max() > 1 or not is_grey[inner:, -_BLOCK // 2 :].all():
            self.rows = self.height
            return
        rows = np.flatnonzero(~is_grey.all(axis=1))
        start = int(rows[-1]) + 1 if len(rows) else 0
        row = last_row if start == self.height else start // self.row_height - 1
        self.rows = max(0, row - self.unsure_rows) * self.row_height

    def fill(self, photo: Photo) -> Photo:
        """Return the photo of the file, before its orientation, with white where it is missing."""
        if self.rows is None or self.rows >= self.height:
            return photo
        alpha = None if photo.alpha is None else self._fill_with_white(photo.alpha)
        return dataclasses.replace(photo, pixels=self._fill_with_white(photo.pixels), alpha=alpha)

    def fill_inks(self, image: Image.Image) -> Image.Image:
        """Return an image of CMYK without ink where it is missing; any other one as it is."""
        if image.mode != "CMYK" or self.rows is None or self.rows >= self.height:
            return image
        filled = Image.new("CMYK", (image.width, self.height))
        filled.paste(image.crop((0, 0, image.width, self.rows)))
        return filled

    def _fill_with_white(self, values: Pixels) -> Pixels:
        filled = np.full((self.height, *values.shape[1:]), np.iinfo(values.dtype).max, values.dtype)
        filled[: self.rows] = values[: self.rows]
        return filled

    @property
    def share(self) -> float:
        """Share of the rows that are whole."""
        return (self.rows or 0) / self.height

    def describe(self, orientation: int) -> str:
        """Return what is missing, a phrase."""
        if self.rows is None or self.rows >= self.height:
            return "the file is cut off: fine detail may be missing"
        return (
            f"the file is cut off: {100 * (1 - self.share):.0f} % of the photo, "
            f"{_SIDES.get(orientation, 'at the bottom')}, are missing and left white"
        )


def find_part(data: bytes, format_: str, max_pixels: int) -> Part | None:
    """Return what can be decoded of a file; None if it is not cut off, or nothing can be."""
    if format_ == "JPEG":
        return _find_jpeg(data)
    return _find_png(data, max_pixels) if format_ == "PNG" else None


def truncated_error(name: str, part: Part) -> TruncatedError:
    """Return the error for a file of which a part can be decoded."""
    found = f"the first {100 * part.share:.0f} %" if part.share < 1 else "all but fine detail"
    return TruncatedError(
        f"{name} is cut off: {found} can be decoded; give the whole file, or colorize what is "
        "there with --truncated",
        part.share,
    )


def is_padded(data: bytes, format_: str) -> bool:
    """Tell whether a JPEG ends in zeros in place of its data, which a decoder would accept."""
    return format_ == "JPEG" and data.endswith(bytes(_PADDING)) and _find_jpeg(data) is not None


def _without_padding(data: bytes) -> bytes:
    return data.rstrip(b"\0") if data.endswith(bytes(_PADDING)) else data


def _find_jpeg(data: bytes) -> Part | None:
    """End a JPEG without EOI behind its last data."""
    data = _without_padding(data)
    *segments, (marker, position, _) = locate_segments(data)
    frame = next((data[start:end] for m, start, end in segments if m in _FRAMES), b"")
    if marker != _SOS or len(frame) < 12 or len(frame) < 10 + 3 * frame[9]:
        return None
    end = len(data)
    while match := _MARKER.search(data, position):
        marker = match[1][0]
        length = int.from_bytes(data[match.end() : match.end() + 2])
        position = match.end() + length
        if marker == _EOI[1]:
            return None
        if marker == _SOI or position > len(data):  # another image, or a segment that is cut off
            end = match.start()
            break
    samplings = [value & 15 for value in frame[11 : 10 + 3 * frame[9] : 3]]
    return Part(
        data[:end] + _EOI,
        int.from_bytes(frame[5:7]),
        row_height=_BLOCK * max(samplings if len(samplings) > 1 else (1,)),
        unsure_rows=_SMOOTHED_ROWS if frame[1] in _PROGRESSIVE else 0,
    )


def _find_png(data: bytes, max_pixels: int) -> Part | None:
    """Write a PNG of the rows that are there, and of zeros, which are filled later."""
    data = _without_padding(data)
    header = read_header(data)
    if data[12:16] != b"IHDR" or len(data) <= _INTERLACED or data[_INTERLACED]:
        return None
    if header.width * header.height > max_pixels:
        return None
    before: list[bytes] = []
    content: list[bytes] = []
    for name, chunk in iterate_chunks(data):
        if name == b"IEND" and is_intact(chunk):
            return None
        if name == b"IDAT":
            content.append(chunk[8 : 8 + int.from_bytes(chunk[:4])])
        elif not content and is_intact(chunk):
            before.append(chunk)
    stride = 1 + (header.width * header.depth * _PNG_CHANNELS.get(header.color_type, 0) + 7) // 8
    found = _inflate(b"".join(content), stride * header.height)
    rows = len(found) // stride
    if not rows:
        return None
    whole = found[: rows * stride].ljust(stride * header.height, b"\0")
    chunks = [*before, make_chunk(b"IDAT", zlib.compress(whole, 1)), make_chunk(b"IEND", b"")]
    return Part(data[:8] + b"".join(chunks), header.height, rows)


def _inflate(data: bytes, size: int) -> bytes:
    """Decompress up to a size, as far as possible."""
    stream = zlib.decompressobj()
    found = bytearray()
    try:
        for start in range(0, len(data), _STEP):
            found += stream.decompress(data[start : start + _STEP], max(1, size - len(found)))
            if len(found) >= size:
                break
    except zlib.error:
        pass
    return bytes(found[:size])
