"""How PNG, JPEG and TIFF files are put together: chunks, segments and directories.

Nothing here knows what a photo's metadata mean. The parts of a PNG or JPEG that are the picture
are told from those that only speak about it: a decoder refuses a file whose colour profile or
comment is broken, though the picture is whole.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
PNG_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that a decoder needs."""
JPEG_DESCRIPTIVE = {0xFE, *range(0xE0, 0xF0)} - {0xEE}
"""Comments and application segments, but for Adobe's, which names the colour transform."""
_JPEG = b"\xff\xd8\xff"
_JPEG_EXIF = 0xE1

_SIGNATURES = {
    "PNG": (PNG,),
    "JPEG": (_JPEG,),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "BMP": (b"BM",),
}


def format_of(data: bytes) -> str | None:
    """Return the format that the first bytes of a file claim, None if it is none of ours."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return next((name for name, starts in _SIGNATURES.items() if data.startswith(starts)), None)


def without_metadata(data: bytes) -> bytes | None:
    """Return a file without what its pixels do not need, None if it is no PNG or JPEG.

    Orientation stays, in a PNG if its checksum is right. What is cut off stays cut off.
    """
    if data.startswith(PNG):
        kept = [
            chunk
            for name, chunk in png_chunks(data)
            if name in PNG_PICTURE or (name == b"eXIf" and png_intact(chunk))
        ]
        return b"".join([PNG, *kept])
    if data.startswith(_JPEG):
        kept = [
            segment
            for marker, segment in jpeg_segments(data)
            if marker not in JPEG_DESCRIPTIVE - {_JPEG_EXIF}
            and not (marker == 0xEE and len(segment) < 16)  # Adobe's, cut off
        ]
        return b"".join([data[:2], *kept])
    return None


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes of every chunk: length, name, content, checksum; the last may be cut."""
    start = len(PNG)
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        yield name, data[start : start + length + 12]
        start += length + 12


def png_intact(chunk: bytes) -> bool:
    """Tell whether a chunk is whole and has the right checksum."""
    length = int.from_bytes(chunk[:4])
    return len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return the bytes of a chunk."""
    return struct.pack(">I", len(content)) + name + content + zlib.crc32(name + content).to_bytes(4)


def webp_is_lossless(data: bytes) -> bool:
    """Tell whether the first picture of a WebP is stored without loss, whatever lies before it."""
    start = 12
    while start + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, start)
        if name in (b"VP8L", b"VP8 "):
            return bool(name == b"VP8L")
        start += 8 + length + length % 2
    return False


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and bytes of every segment: marker, length, content; the last may be cut off.

    The last is all from the start of the picture on (marker 0xDA), or from where order ends (0).
    """
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xDA:
        marker, length = data[start + 1], int.from_bytes(data[start + 2 : start + 4])
        if marker == 0xFF:  # a marker may be filled up with these
            start += 1
            continue
        yield marker, data[start : start + 2 + length]
        start += 2 + length
    yield 0xDA if data[start : start + 2] == b"\xff\xda" else 0, data[start:]


def jpeg_segment(marker: int, content: bytes) -> bytes:
    """Return the bytes of a segment; `content` has at most 65533."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


class TiffError(ValueError):
    """A TIFF, or a part of it, of which no sense can be made."""


KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value of each kind of field that every TIFF can have."""
_SIZES = KINDS | {13: 4, 16: 8, 17: 8, 18: 8}
"""With offsets of directories, and the kinds that only BigTIFF has."""
_COUNTING = (1, 3, 4, 13, 16, 18)
"""Kinds of unsigned integers."""
_NARROWED = {16: (4, "u4"), 17: (9, "i4")}
"""Kinds of 64 bits to those of 32."""
_CHILDREN = {0: (34665, 34853), 34665: (40965,)}
"""Tags of the directories in a page's directory (Exif and GPS), and of that in Exif (Interop)."""

Tree = dict[int, "tuple[int, bytes] | Tree"]
"""Tag to kind and values, or to a directory inside."""


@dataclass(frozen=True)
class Field:
    """An entry of a directory, at `entry`: `count` values of a kind, which lie at `at`."""

    kind: int
    count: int
    entry: int
    at: int

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return self.count * _SIZES[self.kind]


@dataclass(frozen=True)
class Directory:
    """A directory of a TIFF; of a tag that is there twice, the first counts."""

    fields: dict[int, Field]
    """Tag to field, all of which lie inside the file."""
    link: int
    """Where the offset of the next directory lies."""
    next: int
    """That offset, 0 at the end of the chain."""


class Tiff:
    """A TIFF or BigTIFF of either byte order, or the block of the same make that is EXIF.

    Whatever the offsets and counts in it claim, no more is read at once than the file has.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read the header.

        Raises:
            TiffError: If it is none.
        """
        self._stream = stream
        self.size = stream.seek(0, 2)
        start = self.read(0, 4)
        if format_of(start) != "TIFF":
            raise TiffError("it does not start as a TIFF")
        self.order = "<" if start.startswith(b"II") else ">"
        """As `struct` writes it."""
        self.width = 8 if b"+" in start else 4
        """Bytes of an offset."""
        self._offset = "Q" if self.width == 8 else "I"
        (self.first,) = self.unpack(self._offset, self.width)

    def read(self, at: int, size: int) -> bytes:
        """Return bytes of the file.

        Raises:
            TiffError: If they are not all there.
        """
        data = b""
        if at + size <= self.size:
            self._stream.seek(at)
            data = self._stream.read(size)
        if len(data) < size:
            raise TiffError("it is cut off, or points outside of itself")
        return data

    def unpack(self, form: str, at: int) -> tuple[Any, ...]:
        """Return numbers of the file, `form` as in `struct`, without the order."""
        form = self.order + form
        return struct.unpack(form, self.read(at, struct.calcsize(form)))

    def directory(self, at: int) -> Directory:
        """Read a directory without the values; what is cut off or senseless in it is left out.

        Raises:
            TiffError: If there is none.
        """
        form = self.order + ("HHQ8s" if self.width == 8 else "HHI4s")
        head, length = (8, 20) if self.width == 8 else (2, 12)
        (count,) = self.unpack("Q" if self.width == 8 else "H", at)
        if count > 65535:
            raise TiffError("a directory has more entries than a TIFF can have")
        whole = min(count, (self.size - at - head) // length)
        fields: dict[int, Field] = {}
        entries = struct.iter_unpack(form, self.read(at + head, whole * length))
        for entry, (tag, kind, number, place) in enumerate(entries):
            start = at + head + entry * length
            size = number * _SIZES.get(kind, 0)
            inside = start + length - self.width
            if size > self.width:
                (inside,) = struct.unpack(self.order + self._offset, place)
            if 0 < size <= self.size - inside:
                fields.setdefault(tag, Field(kind, number, start, inside))
        link = at + head + whole * length
        cut_off = whole < count or link + self.width > self.size
        return Directory(fields, link, 0 if cut_off else self.unpack(self._offset, link)[0])

    def numbers(self, field: Field | None) -> tuple[int, ...]:
        """Return the values of a field of unsigned integers, () of another."""
        if field is None or field.kind not in _COUNTING:
            return ()
        data = self.read(field.at, field.size)
        return tuple(np.frombuffer(data, f"{self.order}u{_SIZES[field.kind]}").tolist())

    def tree(self, directory: Directory, without: frozenset[int], parent: int = 0) -> Tree:
        """Read the values of a directory and of Exif, GPS and Interop in it.

        Left out are broken directories, offsets of others, and 64-bit values over 32 bits.

        Args:
            directory: Of this file.
            without: Tags to leave out.
            parent: The tag that pointed to the directory, 0 for a page's own.

        Returns:
            Tags and values in the file's byte order; of kinds that every TIFF can have.
        """
        tree: Tree = {}
        left = self.size  # directories that share their values could else name far more
        for tag, field in directory.fields.items():
            if tag in without:
                continue
            if tag in _CHILDREN.get(parent, ()):
                try:
                    (place,) = self.numbers(field)
                    tree[tag] = self.tree(self.directory(place), frozenset(), tag)
                except ValueError:  # also where there is not one number
                    continue
            elif field.size <= left:
                left -= field.size
                value = self._classic(field)
                if value is not None:
                    tree[tag] = value
        return tree

    def _classic(self, field: Field) -> tuple[int, bytes] | None:
        """Return kind and values for a TIFF that is no BigTIFF, None if it cannot hold them."""
        data = self.read(field.at, field.size)
        if field.kind in KINDS:
            return field.kind, data
        if field.kind not in _NARROWED:
            return None
        kind, form = _NARROWED[field.kind]
        wide = np.frombuffer(data, f"{self.order}{form[0]}8")
        narrow = wide.astype(f"{self.order}{form}")
        return (kind, narrow.tobytes()) if (narrow == wide).all() else None
