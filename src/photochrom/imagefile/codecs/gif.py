"""GIF: comments, XMP and a profile in extension blocks.

Follows the GIF89a specification, section 24 (comments) and 26 (application extensions), and Adobe's
XMP Specification Part 3, section 1.1.2.
"""

from collections.abc import Iterator
from io import BytesIO

from photochrom.imagefile.decoding import finish, open_image, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo, decode_pixels

_IMAGE, _EXTENSION = 0x2C, 0x21
_COMMENT, _APPLICATION = 0xFE, 0xFF
_XMP, _PROFILE = b"XMP DataXMP", b"ICCRGBG1012"
_XMP_TRAILER_SIZE = 258
"""Bytes that lead a reader, which takes the packet for sub-blocks, to its end."""


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a GIF of one picture, with its metadata.

    Raises:
        PhotoError: If it is an animation, or has too many pixels.
        DamagedError: If it is damaged or cut off.
    """
    image = open_image(BytesIO(data), name, max_pixels)
    with reader_errors(name):
        metadata = read_metadata(data)
        image.load()
        return finish(decode_pixels(image), metadata, Encoding("GIF"), image=image)


def read_metadata(data: bytes) -> Metadata:
    """Read comments, XMP and profile; what is behind a damaged block is missing."""
    packet = icc = None
    comments: list[str] = []
    for label, content in _iterate_extensions(data):
        if label == _COMMENT:
            comments.append(_join(content).decode(errors="surrogateescape"))
        elif label == _APPLICATION and content[1:].startswith(_XMP):
            start = 1 + len(_XMP)
            packet = packet or content[start:-_XMP_TRAILER_SIZE]
        elif label == _APPLICATION and content[1:].startswith(_PROFILE):
            icc = icc or _join(content)[len(_PROFILE) :]
    return Metadata(xmp=packet or None, icc=icc or None, comments=tuple(filter(None, comments)))


def _iterate_extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield label and sub-blocks, with their sizes, of each extension."""
    offset = 13 + _palette_size(data[10:11])
    while offset + 2 < len(data):
        kind, label = data[offset], data[offset + 1]
        if kind == _EXTENSION:
            start = offset + 2
        elif kind == _IMAGE:
            start = offset + 11 + _palette_size(data[offset + 9 : offset + 10])
        else:
            return
        offset = _sub_blocks_end(data, start)
        if kind == _EXTENSION:
            yield label, data[start:offset]


def _palette_size(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _sub_blocks_end(data: bytes, offset: int) -> int:
    """Return the offset behind the empty block that ends a sequence."""
    while offset < len(data) and data[offset]:
        offset += 1 + data[offset]
    return offset + 1


def _join(content: bytes) -> bytes:
    """Return the content of sub-blocks."""
    parts, offset = [], 0
    while offset < len(content) and content[offset]:
        parts.append(content[offset + 1 : offset + 1 + content[offset]])
        offset += 1 + content[offset]
    return b"".join(parts)
