"""Metadata of JPEG 2000: boxes uuid, xml and res, and comments of the codestream.

Follows ISO/IEC 15444-1, sections A.9.2 (COM), I.5.3.7 (res), I.7.1 (xml) and I.7.2 (uuid).
"""

import dataclasses
import struct
from collections.abc import Iterator

from photochrom.imagefile import exif
from photochrom.imagefile.codecs.boxes import UUID_XMP, find_box, iterate_boxes
from photochrom.imagefile.metadata import Density, Metadata

_UUID_EXIF = (b"JpgTiffExif->JP2", bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e"))
_UUID_IPTC = (
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"),
    bytes.fromhex("09a14e97c0b442e0bebf36df6f0ce36f"),
)
_UUID_PHOTOSHOP = bytes.fromhex("2c4c0100850440b9a03e562148d6dfeb")
_UUID_GEO = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
_SMALLEST_SAID = 8
"""Bytes of a private box; Adobe writes some of fewer that say nothing."""
_XMP_NAMESPACE = b"adobe:ns:meta/"
_DROPPED = {
    b"asoc": "associated data such as GML (asoc) are dropped",
    b"jp2i": "the rights (jp2i) are dropped",
    b"jumb": "the box jumb, such as Content Credentials, is dropped",
    b"uinf": "links (uinf) are dropped",
}
_SOT, _COM = 0xFF90, 0xFF64
_LATIN = 1


def read_metadata(data: bytes, header: bytes, codestream: bytes) -> Metadata:
    """Read the metadata of a JPEG 2000 file, all but the profile.

    Args:
        data: The file; empty if it is a bare codestream.
        header: Content of its box jp2h.
        codestream: Content of its box jp2c.
    """
    metadata = Metadata(density=_read_density(header))
    comments = list(_read_comments(codestream))
    images = 0
    for kind, content in iterate_boxes(data):
        images += kind == b"jp2c"
        if kind == b"uuid":
            metadata = _add_uuid(metadata, content[:16], content[16:])
        elif kind == b"xml " and _XMP_NAMESPACE in content:
            metadata = dataclasses.replace(metadata, xmp=metadata.xmp or content)
        elif kind == b"xml ":
            comments.append(content.decode(errors="surrogateescape"))
            metadata = metadata.with_warning("XML of the JPEG 2000 file is kept as a comment")
        elif kind in _DROPPED:
            metadata = metadata.with_warning(_DROPPED[kind])
    if images > 1:
        metadata = metadata.with_warning("the images after the first are dropped")
    return dataclasses.replace(metadata, comments=tuple(comments))


def _add_uuid(metadata: Metadata, uuid: bytes, content: bytes) -> Metadata:
    if uuid in _UUID_EXIF:
        block = content.removeprefix(exif.PREFIX)
        if metadata.exif is None and exif.is_valid(block):
            return dataclasses.replace(metadata, exif=block)
        return metadata.with_warning("an EXIF block that is damaged or not the first is dropped")
    if uuid in _UUID_IPTC:
        return dataclasses.replace(metadata, iptc=metadata.iptc or content or None)
    if uuid == UUID_XMP:
        return dataclasses.replace(metadata, xmp=metadata.xmp or content or None)
    if uuid == _UUID_PHOTOSHOP:
        return dataclasses.replace(metadata, photoshop=metadata.photoshop or content or None)
    if uuid == _UUID_GEO:
        return metadata.with_warning("the position on the map (GeoJP2) is dropped")
    if len(content) < _SMALLEST_SAID:
        return metadata
    return metadata.with_warning(f"a private box (UUID {uuid.hex()}) is dropped")


def _read_density(header: bytes) -> Density | None:
    """Return the resolution of capture, else of display."""
    resolutions = find_box(header, b"res ") or b""
    content = find_box(resolutions, b"resc") or find_box(resolutions, b"resd") or b""
    if len(content) < 10:
        return None
    down, down_divisor, across, across_divisor, *exponents = struct.unpack_from(">4H2b", content)
    if not (down and down_divisor and across and across_divisor and max(exponents) < 10):
        return None
    return (
        across / across_divisor * 10.0 ** exponents[1],
        down / down_divisor * 10.0 ** exponents[0],
        "m",
    )


def _read_comments(codestream: bytes) -> Iterator[str]:
    """Yield the texts in the main header of a codestream."""
    start = 2
    while start + 6 <= len(codestream):
        marker, length, kind = struct.unpack_from(">3H", codestream, start)
        if marker == _SOT or length < 2:
            return
        if marker == _COM and kind == _LATIN:
            yield codestream[start + 6 : start + 2 + length].decode("latin-1")
        start += 2 + length
