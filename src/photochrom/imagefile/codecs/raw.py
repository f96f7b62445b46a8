"""Camera raw: the values of a sensor, developed by LibRaw (the package rawpy).

A photo is developed as it was exposed: white balance of the camera, no automatic brightness, 16
bits in sRGB.
"""

import struct
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from typing import IO, Any

import numpy as np
from PIL.ExifTags import Base as Tag

from photochrom.color import icc
from photochrom.errors import PhotoError
from photochrom.imagefile.codecs.boxes import UUID_XMP, iterate_boxes
from photochrom.imagefile.decoding import DamagedError, check_size, finish
from photochrom.imagefile.formats import CR3
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.tiff.pages import Page
from photochrom.imagefile.tiff.structure import SIGNATURES, Tiff, TiffError, Tree, pack_directory

_PANASONIC = b"IIU\0"
_PANASONIC_OFFSET = 280
"""Tag of the offset of the pixels."""
_TIFF_SIGNATURES = (_PANASONIC, b"IIRO", b"IIRS", b"MMOR")
_CR3_BOXES = {b"CMT1": 0, b"CMT2": Tag.ExifOffset, b"CMT4": Tag.GPSInfo}
"""Boxes of a CR3, each a TIFF of one directory, to the tag that points to it; 0: the first."""
_CR3_HEADER_SIZE = 1 << 18
_DNG_TAGS = range(Tag.DNGVersion, 52600)
_KEPT_DNG_TAGS = {50708, 50735, 50736, 50827}  # camera, its serial number, lens, original name
_RAW_TAGS = frozenset(
    [
        *(33421, 33422, 33424, 34310, 37398, 46275),  # colour filters, makers' raw data
        *(tag for tag in _DNG_TAGS if tag not in _KEPT_DNG_TAGS),
    ]
)
"""Of a directory: they describe the values of the sensor, or point into the file."""


def develop(stream: IO[bytes], kind: str, name: str, max_pixels: int) -> Photo:
    """Develop a raw photo: upright, of 16 bits in sRGB.

    Args:
        stream: The file.
        kind: As of `formats.detect_raw`.
        name: Of the file, for errors.
        max_pixels: A larger photo is refused before it is decoded.

    Raises:
        PhotoError: If rawpy is not installed, or LibRaw cannot read the file.
    """
    if find_spec("rawpy") is None:
        raise PhotoError(
            f"{name} is a {kind}, which needs the package rawpy; install photochrom[formats], or "
            "develop it to a TIFF of 16 bits"
        )
    import rawpy

    stream.seek(0)
    data = stream.read()
    tiff = _open_tiff(data)
    if tiff is not None and not _is_complete(tiff):
        raise DamagedError(f"{name} is a {kind} that is damaged or cut off: pixels are missing")
    try:
        with rawpy.imread(BytesIO(data)) as raw:
            check_size(raw.sizes.width, raw.sizes.height, name, max_pixels)
            metadata = _read_metadata(data, tiff, raw)
            pixels = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),
                output_bps=16,
            )
    except rawpy.LibRawFileUnsupportedError as error:
        raise PhotoError(
            f"{name} is a {kind} that is damaged or of a camera that LibRaw "
            f"{'.'.join(map(str, rawpy.libraw_version))} cannot read; develop it to a TIFF of 16 "
            "bits"
        ) from error
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise DamagedError(f"{name} is a {kind} that is damaged or cut off: {reason}") from error
    photo = Photo(np.atleast_3d(pixels))
    profile = None if photo.pixels.shape[2] == 1 else icc.srgb_profile()
    # LibRaw applies the orientation.
    return finish(photo, metadata.with_profile(profile), Encoding("raw"), is_upright=True)


def _open_tiff(data: bytes) -> Tiff | None:
    """Open a raw photo as a TIFF, which most are but for their first bytes."""
    if data.startswith(_TIFF_SIGNATURES):
        data = SIGNATURES["<" if data.startswith(b"II") else ">"] + data[4:]
    try:
        return Tiff(BytesIO(data))
    except TiffError:
        return None


def _is_complete(tiff: Tiff) -> bool:
    """Tell whether all pixels are in the file, which LibRaw does not notice of every format."""
    with suppress(TiffError):
        offsets = [tiff.first_offset]
        for offset in offsets:
            page = Page(tiff, tiff.read_directory(offset))
            following = (*page.numbers(Tag.SubIFDs), page.directory.next_offset)
            offsets += [other for other in following if other and other not in offsets]
            tile_starts = page.numbers(Tag.TileOffsets)
            starts = page.numbers(_PANASONIC_OFFSET) or page.numbers(Tag.StripOffsets)
            counts = page.numbers(Tag.TileByteCounts) or page.numbers(Tag.StripByteCounts)
            ends = map(sum, zip(tile_starts or starts, counts, strict=False))
            if max(ends, default=0) > tiff.size:
                return False
            tags = Tag.ImageWidth, Tag.TileWidth, Tag.ImageLength, Tag.TileLength
            sides = [page.numbers(tag)[:1] for tag in tags]
            if tile_starts and all(sides):
                (width,), (across,), (height,), (down,) = sides
                if len(tile_starts) * across * down < width * height:
                    return False
    return True


def _read_metadata(data: bytes, tiff: Tiff | None, raw: Any) -> Metadata:
    """Return the metadata of the file, else those of the JPEG that it contains."""
    metadata = Metadata()
    with suppress(TiffError):
        if data[4:12] == CR3:
            metadata = Metadata(_read_cr3_exif(data), _read_cr3_xmp(data))
        elif tiff is not None and not data.startswith(_PANASONIC):  # which numbers tags anew
            page = Page(tiff, tiff.read_directory(tiff.first_offset))
            metadata = page.read_metadata(excluded=_RAW_TAGS)
    if metadata.exif is None:
        metadata = _read_preview(raw)
    if metadata.exif is None:
        metadata = metadata.with_warning("EXIF of the raw photo is lost")
    return metadata


def _read_cr3_exif(data: bytes) -> bytes:
    """Return the EXIF of a CR3, joined from three boxes.

    Raises:
        TiffError: If one is missing or damaged.
    """
    tree: Tree = {}
    order = ""
    for box, pointer in _CR3_BOXES.items():
        start = data.find(box, 0, _CR3_HEADER_SIZE)
        size = int.from_bytes(data[max(0, start - 4) : max(0, start)])
        tiff = Tiff(BytesIO(data[start + 4 : start - 4 + size]))
        if tiff.order != (order or tiff.order):
            raise TiffError("its boxes differ in byte order")
        order = tiff.order
        part = tiff.read_tree(tiff.read_directory(tiff.first_offset), frozenset(), pointer)
        if pointer:
            tree[pointer] = part
        else:
            tree |= part
    header = SIGNATURES[order] + struct.pack(order + "I", 8)
    return header + pack_directory(tree, order, len(header))


def _read_cr3_xmp(data: bytes) -> bytes | None:
    """Return the XMP packet of a CR3, None if it has none."""
    contents = (content for kind, content in iterate_boxes(data) if kind == b"uuid")
    packets = (c.removeprefix(UUID_XMP) for c in contents if c.startswith(UUID_XMP))
    return next(packets, None) or None


def _read_preview(raw: Any) -> Metadata:
    """Return EXIF, XMP and IPTC of the JPEG in a raw photo, none if there is no JPEG."""
    import rawpy

    with suppress(rawpy.LibRawError):
        preview = raw.extract_thumb()
        if preview.format == rawpy.ThumbFormat.JPEG:
            found = jpeg.read_metadata(preview.data)
            return Metadata(found.exif, found.xmp, photoshop=found.photoshop, iptc=found.iptc)
    return Metadata()
