"""TIFF structure: directories of tagged values, in TIFF and BigTIFF files and in EXIF blocks."""

import struct
from collections.abc import Set
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import numpy as np
from PIL.ExifTags import Base as Tag

from photochrom.imagefile.formats import detect_format

SIGNATURES = {"<": b"II*\0", ">": b"MM\0*"}
"""Byte order, as of `struct`, to the first bytes of a TIFF."""
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
UNITS = {1: "", 2: "inch", 3: "cm"}
"""ResolutionUnit to the unit of a resolution; `""`: a ratio."""
KIND_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Field type to bytes of a value, without directory offsets and the types of BigTIFF."""
_ALL_KIND_SIZES = KIND_SIZES | {13: 4, 16: 8, 17: 8, 18: 8}
_UNSIGNED_KINDS = (1, 3, 4, 13, 16, 18)
_NARROWED_KINDS = {16: (4, "u4"), 17: (9, "i4")}
"""BigTIFF type of 64 bits to the type of 32 bits and its dtype."""
_FRACTION_KINDS = (5, 10)
_SUBDIRECTORIES = {
    0: (Tag.ExifOffset, Tag.GPSInfo),
    Tag.ExifOffset: (Tag.ExifInteroperabilityOffset,),
}
"""Tag of a directory, 0 for that of a page, to tags of the directories that it contains."""

Tree = dict[int, "tuple[int, bytes] | Tree"]
"""Tag to type and values, or to a subdirectory."""


class TiffError(ValueError):
    """A TIFF that is damaged."""


@dataclass(frozen=True)
class Field:
    """An entry of a directory."""

    kind: int
    """TIFF's field type."""
    count: int
    entry_offset: int
    offset: int
    """Of the values."""

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return self.count * _ALL_KIND_SIZES[self.kind]


@dataclass(frozen=True)
class Directory:
    """A directory; of a duplicate tag, the first entry counts."""

    fields: dict[int, Field]
    """By tag; without those that lie outside of the file."""
    link_offset: int
    """Where `next_offset` is stored."""
    next_offset: int
    """Of the next directory; 0: this is the last."""
    damaged: frozenset[int] = frozenset()
    """Tags of fields that lie outside of the file, or have an unknown type."""


class Tiff:
    """A TIFF or BigTIFF of either byte order, or an EXIF block.

    Offsets and counts are checked against the size of the file before anything is read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read the header.

        Raises:
            TiffError: If it is not one of a TIFF.
        """
        self._stream = stream
        self.size = stream.seek(0, 2)
        start = self.read(0, 4)
        if detect_format(start) != "TIFF":
            raise TiffError("it does not start as a TIFF")
        self.order = "<" if start.startswith(b"II") else ">"
        """Byte order, as of `struct`."""
        self.offset_size = 8 if b"+" in start else 4
        self._offset_format = "Q" if self.offset_size == 8 else "I"
        (self.first_offset,) = self.unpack(self._offset_format, self.offset_size)
        """Of the first directory."""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the file.

        Raises:
            TiffError: If they are not all there.
        """
        data = b""
        if offset + size <= self.size:
            self._stream.seek(offset)
            data = self._stream.read(size)
        if len(data) < size:
            raise TiffError("it is cut off, or points outside of itself")
        return data

    def unpack(self, format_: str, offset: int) -> tuple[Any, ...]:
        """Return numbers of the file, by a format of `struct` without byte order."""
        format_ = self.order + format_
        return struct.unpack(format_, self.read(offset, struct.calcsize(format_)))

    def read_directory(self, offset: int) -> Directory:
        """Read a directory without values; entries that are cut off or invalid are left out.

        Raises:
            TiffError: If there is no directory.
        """
        is_big = self.offset_size == 8
        count_size, entry_size = (8, 20) if is_big else (2, 12)
        (count,) = self.unpack("Q" if is_big else "H", offset)
        if count > 65535:
            raise TiffError("a directory has more entries than a TIFF can have")
        start = offset + count_size
        complete = min(count, (self.size - start) // entry_size)
        fields: dict[int, Field] = {}
        damaged: set[int] = set()
        entries = struct.iter_unpack(
            self.order + ("HHQ8s" if is_big else "HHI4s"), self.read(start, complete * entry_size)
        )
        for index, (tag, kind, value_count, value) in enumerate(entries):
            entry_offset = start + index * entry_size
            size = value_count * _ALL_KIND_SIZES.get(kind, 0)
            value_offset = entry_offset + entry_size - self.offset_size
            if size > self.offset_size:
                (value_offset,) = struct.unpack(self.order + self._offset_format, value)
            if 0 < size <= self.size - value_offset:
                fields.setdefault(tag, Field(kind, value_count, entry_offset, value_offset))
            elif value_count:
                damaged.add(tag)
        link = start + complete * entry_size
        is_cut_off = complete < count or link + self.offset_size > self.size
        return Directory(
            fields,
            link,
            0 if is_cut_off else self.unpack(self._offset_format, link)[0],
            frozenset(damaged - fields.keys()),
        )

    def read_numbers(self, field: Field | None) -> tuple[int, ...]:
        """Return the values of a field of unsigned integers, () of another."""
        if field is None or field.kind not in _UNSIGNED_KINDS:
            return ()
        data = self.read(field.offset, field.size)
        return tuple(np.frombuffer(data, f"{self.order}u{_ALL_KIND_SIZES[field.kind]}").tolist())

    def read_tree(self, directory: Directory, excluded: Set[int], parent: int = 0) -> Tree:
        """Read the values of a directory and of its Exif, GPS and Interoperability directories.

        Excluded tags, damaged and other directories, and 64-bit values that need more than 32 bits,
        are left out. `parent` is the tag that points to the directory, 0 for that of a page.

        Returns:
            Values in the file's byte order, of the types in `KIND_SIZES`.
        """
        tree: Tree = {}
        budget = self.size  # fields that share their values could add up to far more
        for tag, field in directory.fields.items():
            if tag in excluded:
                continue
            if tag in _SUBDIRECTORIES.get(parent, ()):
                try:
                    (offset,) = self.read_numbers(field)
                    tree[tag] = self.read_tree(self.read_directory(offset), frozenset(), tag)
                except ValueError:  # also raised if there is not exactly one number
                    continue
            elif field.size <= budget:
                budget -= field.size
                value = self._read_narrowed(field)
                if value is not None:
                    tree[tag] = value
        return tree

    def find_damaged(self, directory: Directory, parent: int = 0) -> set[int]:
        """Return the tags of damaged fields of a directory and of those that `read_tree` reads."""
        damaged = set(directory.damaged)
        for tag in _SUBDIRECTORIES.get(parent, ()):
            if tag in directory.fields:
                try:
                    (offset,) = self.read_numbers(directory.fields[tag])
                    damaged |= self.find_damaged(self.read_directory(offset), tag)
                except ValueError:
                    damaged.add(tag)
        return damaged

    def _read_narrowed(self, field: Field) -> tuple[int, bytes] | None:
        """Return type and values of a field for a TIFF of 32 bits, None if that cannot hold it."""
        data = self.read(field.offset, field.size)
        if field.kind in KIND_SIZES:
            return field.kind, data
        if field.kind not in _NARROWED_KINDS:
            return None
        kind, dtype = _NARROWED_KINDS[field.kind]
        wide = np.frombuffer(data, f"{self.order}{dtype[0]}8")
        narrow = wide.astype(f"{self.order}{dtype}")
        return (kind, narrow.tobytes()) if (narrow == wide).all() else None


def density_fields(x: float, y: float, unit: str) -> Tree:
    """Return fields of a resolution per `inch`, `cm` or `m`, or `""`, in little-endian order."""
    divisor = 100 if unit == "m" else 1  # TIFF has no metres
    fields: Tree = {Tag.ResolutionUnit: (SHORT, struct.pack("<H", {"": 1, "inch": 2}.get(unit, 3)))}
    for tag, number in ((Tag.XResolution, x), (Tag.YResolution, y)):
        ratio = Fraction(number).limit_denominator(10000) / divisor
        numbers = (min(part, 2**32 - 1) for part in ratio.as_integer_ratio())
        fields[tag] = RATIONAL, struct.pack("<II", *numbers)
    return fields


def swap_byte_order(tree: Tree) -> Tree:
    """Return a tree in the other byte order."""
    swapped: Tree = {}
    for tag, value in tree.items():
        if isinstance(value, dict):
            swapped[tag] = swap_byte_order(value)
        else:
            kind, data = value
            size = 4 if kind in _FRACTION_KINDS else KIND_SIZES[kind]
            swapped[tag] = kind, np.frombuffer(data, f"u{size}").byteswap().tobytes()
    return swapped


def pack_directory(tree: Tree, order: str, offset: int, note_offset: int | None = None) -> bytes:
    """Return the bytes of a last directory at an offset, with its values and subdirectories.

    With `note_offset`, a maker note is left out: the directory points to it there.
    """
    entries, values = bytearray(), bytearray()
    values_offset = offset + 2 + 12 * len(tree) + 4
    for tag, value in sorted(tree.items()):
        value_offset = values_offset + len(values)
        if isinstance(value, dict):
            kind, count, data = LONG, 1, struct.pack(order + "I", value_offset)
            values += pack_directory(value, order, value_offset, note_offset)
        else:
            kind, data = value
            count = len(data) // KIND_SIZES[kind]
            if tag == Tag.MakerNote and note_offset is not None:
                data = struct.pack(order + "I", note_offset)
            elif len(data) > 4:
                values += data + bytes(len(data) % 2)
                data = struct.pack(order + "I", value_offset)
        entries += struct.pack(order + "HHI4s", tag, kind, count, data)
    return struct.pack(order + "H", len(tree)) + entries + bytes(4) + values
