"""Maker notes of cameras, of which most are only readable at their own offset.

Values in them are addressed by offsets that count from the start of the file in most kinds.

The kinds are those of exiftool's MakerNotes.pm.
"""

import struct

from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff.structure import SIGNATURES, Directory, Tiff, Tree, pack_directory

MOVED = "the maker notes are moved, so that programs may not read all of their values"
OTHER_ORDER = "the maker notes keep their byte order, which is no longer that of the file"
_RELOCATABLE = (
    b"Apple iOS\0",
    b"FUJIFILM",
    b"GENERALE",
    b"KDK",
    b"Nikon\0\2",
    b"OLYMPUS\0",
    b"OM SYSTEM\0",
    b"PENTAX \0",
    b"RICOH\0II",
    b"RICOH\0MM",
    b"SAMSUNG",
    b"STMN",
)
"""Starts of notes whose offsets count from their own start, and that tell their byte order."""
MAX_JPEG_EXIF = 65_527
"""Bytes of EXIF in one segment of a JPEG."""
_START = 8
"""Of a TIFF's first directory, behind its header."""


def get_note(tree: Tree) -> bytes | None:
    """Return the maker note that depends on its offset; None if there is none."""
    subtree = tree.get(Tag.ExifOffset)
    value = subtree.get(Tag.MakerNote) if isinstance(subtree, dict) else None
    if not isinstance(value, tuple) or len(value[1]) <= 4 or value[1].startswith(_RELOCATABLE):
        return None
    return value[1]


def find_offset(tiff: Tiff, directory: Directory) -> int | None:
    """Return the offset of the maker note of a page or an EXIF block, None if it has none."""
    try:
        (offset,) = tiff.read_numbers(directory.fields.get(Tag.ExifOffset))
        return tiff.read_directory(offset).fields[Tag.MakerNote].offset
    except (ValueError, KeyError):  # there is no Exif directory, or it is damaged
        return None


def pack_exif(tree: Tree, order: str, offset: int | None) -> tuple[bytes, bool]:
    """Return an EXIF block, with the maker note at its offset if the block stays short enough.

    Args:
        tree: Values in byte order `order`.
        order: As of `struct`.
        offset: Of the maker note in its file.

    Returns:
        The block, and whether the maker note is moved although it depends on its offset.
    """
    note = get_note(tree)
    block = _pack_header(order, _START) + pack_directory(tree, order, _START)
    if note is None or offset is None:
        return block, False
    packed = pack_directory(tree, order, _START, offset)
    end = offset + len(note)
    if offset < _START or end > MAX_JPEG_EXIF:
        return block, True
    if _START + len(packed) <= offset:
        placed = (_pack_header(order, _START) + packed).ljust(offset, b"\0") + note
    else:
        start = end + end % 2
        placed = (_pack_header(order, start).ljust(offset, b"\0") + note).ljust(start, b"\0")
        placed += pack_directory(tree, order, start, offset)
    return (block, True) if len(placed) > MAX_JPEG_EXIF else (placed, False)


def _pack_header(order: str, first: int) -> bytes:
    return SIGNATURES[order] + struct.pack(order + "I", first)
