"""Strips and tiles of a TIFF, checked before they are decoded: a few bytes can claim gigapixels."""

import math
import struct
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.imagefile.codecs import jpegxl_header
from photochrom.imagefile.jpeg.segments import iterate_segments
from photochrom.imagefile.tiff.pages import Page
from photochrom.imagefile.tiff.structure import TiffError

if TYPE_CHECKING:
    import tifffile

EMBEDDED_FORMATS = {
    **dict.fromkeys((7, 34892), "JPEG"),
    **dict.fromkeys((33003, 33005, 34712), "JPEG2000"),
    **dict.fromkeys((34927, 50001), "WEBP"),
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    34933: "PNG",
    34887: "LERC",
}
"""Compressions whose segments are images that tell their own size."""
_MAX_SEGMENT = 1 << 24
"""Pixels of a tile of a smaller page."""
_PADDING = 16
"""Rows and columns that a segment may have more, blocks of a JPEG."""
_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def check_segments(page: "tifffile.TiffPage", data: bytes) -> None:
    """Raise `TiffError` if strips or tiles are missing, or larger than they should be.

    Args:
        page: Of the file in `data`.
        data: The whole file.
    """
    if len(page.dataoffsets) != math.prod(page.chunked) or 0 in page.databytecounts:
        raise TiffError("strips or tiles are missing")
    _check_area(page.tilewidth * page.tilelength, page.imagewidth * page.imagelength)
    width, height = (
        (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    )
    format_ = EMBEDDED_FORMATS.get(page.compression)
    if format_ is None:
        return
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        across, down = _read_size(data[offset : offset + count], format_, page)
        if across > width + _PADDING or down > height + _PADDING:
            raise TiffError("a strip or tile is larger than it should be")


def check_tile_size(page: Page) -> None:
    """Raise `TiffError` if tiles are far larger than the page."""
    sides, tile = (
        [*page.numbers(first)[:1], *page.numbers(second)[:1]]
        for first, second in ((Tag.ImageWidth, Tag.ImageLength), (Tag.TileWidth, Tag.TileLength))
    )
    _check_area(math.prod(tile), math.prod(sides))


def _check_area(tile: int, page: int) -> None:
    if tile > max(page, _MAX_SEGMENT):
        raise TiffError("its tiles are far larger than the page")


def _read_size(segment: bytes, format_: str, page: "tifffile.TiffPage") -> tuple[int, int]:
    """Return width and height of an image."""
    if format_ == "LERC":
        return _read_lerc_size(segment, page.samplesperpixel)
    if format_ == "JPEG XL":
        header = jpegxl_header.parse_header(
            segment[max(0, segment.find(jpegxl_header.SIGNATURE)) :]
        )
        return header.width, header.height
    if format_ == "JPEG":
        return _read_jpeg_size(segment, page.bitspersample)
    with Image.open(BytesIO(segment), formats=[format_]) as image:
        return image.size


def _read_jpeg_size(segment: bytes, bits: object) -> tuple[int, int]:
    """Return the size in the frame header (ITU-T T.81, section B.2.2); Pillow knows 8 bits only."""
    for marker, content in iterate_segments(segment):
        if marker in _FRAME_MARKERS:
            precision, height, width = struct.unpack_from(">BHH", content, 4)
            if precision != bits:
                raise TiffError(f"its JPEG has {precision} bits, not {bits}")
            return width, height
    raise TiffError("its JPEG is damaged")


def _read_lerc_size(segment: bytes, samples: int) -> tuple[int, int]:
    """Follow the LERC specification, "Lerc2" and "CntZImage"."""
    if segment.startswith(b"Lerc2 "):
        (version,) = struct.unpack_from("<i", segment, 6)
        start = 14 if version >= 3 else 10
        height, width = struct.unpack_from("<2i", segment, start)
        if version >= 4 and struct.unpack_from("<i", segment, start + 8)[0] > samples:
            raise TiffError("its LERC has more samples than it should have")
    elif segment.startswith(b"CntZImage "):
        height, width = struct.unpack_from("<2i", segment, 18)
    else:
        raise TiffError("its LERC is damaged, or compressed a second time")
    return width, height
