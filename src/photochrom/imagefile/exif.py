"""EXIF blocks, read and changed. Everything else stays as it is, and where it is."""

import struct
from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Literal

from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff.structure import (
    RATIONAL,
    SIGNATURES,
    UNITS,
    Directory,
    Field,
    Tiff,
    TiffError,
    Tree,
    pack_directory,
    swap_byte_order,
)
from photochrom.imagefile.turning import Crop, Turn

PREFIX = b"Exif\0\0"
"""What precedes the block in JPEG and WebP."""
_SIDES = ((Tag.ImageWidth, Tag.ImageLength), (Tag.XResolution, Tag.YResolution))
_EXIF_SIDES = (Tag.ExifImageWidth, Tag.ExifImageHeight)
_SUBJECTS = (Tag.SubjectLocation, 0x9214)  # the area


def is_valid(block: bytes) -> bool:
    """Tell whether a block, without `PREFIX`, has a header and a directory."""
    return _parse(block) is not None


def read_orientation(block: bytes) -> int | None:
    """Return the orientation, 1 to 8; None if it is missing or invalid."""
    parsed = _parse(block)
    if parsed is None:
        return None
    tiff, directory = parsed
    return _orientation_of(tiff, directory.fields.get(Tag.Orientation))


def make_upright(block: bytes, turn: Turn) -> bytes:
    """Set orientation to 1, unlink the thumbnail, and turn sizes and the place of the subject."""
    parsed = _parse(block)
    if parsed is None:
        return block
    tiff, directory = parsed
    fields = directory.fields
    output = bytearray(block)
    field = fields.get(Tag.Orientation)
    if field is not None and _orientation_of(tiff, field) is not None:
        _write_numbers(output, tiff, field, (1,))
    if directory.next_offset:
        output[directory.link_offset : directory.link_offset + tiff.offset_size] = bytes(
            tiff.offset_size
        )
    pairs = [tuple(map(fields.get, tags)) for tags in _SIDES]
    try:
        (offset,) = tiff.read_numbers(fields.get(Tag.ExifOffset))
        exif_fields = tiff.read_directory(offset).fields
        pairs.append(tuple(map(exif_fields.get, _EXIF_SIDES)))
        for subject in filter(None, map(exif_fields.get, _SUBJECTS)):
            numbers = tiff.read_numbers(subject)
            if 2 <= len(numbers) <= 4:
                _write_numbers(output, tiff, subject, turn.move_subject(numbers))
    except ValueError:  # there is no Exif directory, or it is damaged
        pass
    for width, height in pairs if turn.swaps_sides else ():
        if width is not None and height is not None:
            size = 2 + 2 * tiff.offset_size  # of an entry without its tag
            a, b = (slice(f.entry_offset + 2, f.entry_offset + 2 + size) for f in (width, height))
            output[a], output[b] = block[b], block[a]
            continue
        for field, side in ((width, turn.height), (height, turn.width)):
            is_count = len(tiff.read_numbers(field)) == 1  # of pixels, no resolution
            if field is not None and is_count:
                _write_numbers(output, tiff, field, (side,))
    return bytes(output)


def crop(block: bytes, crop: Crop) -> bytes:
    """Set sizes in px, and move the place of the subject; it is removed if it is cut off."""
    parsed = _parse(block)
    if parsed is None:
        return block
    tiff, directory = parsed
    output = bytearray(block)
    pairs = [tuple(map(directory.fields.get, _SIDES[0]))]
    offset, removed = 0, []
    try:
        (offset,) = tiff.read_numbers(directory.fields.get(Tag.ExifOffset))
        exif_fields = tiff.read_directory(offset).fields
        pairs.append(tuple(map(exif_fields.get, _EXIF_SIDES)))
        for tag in _SUBJECTS:
            field = exif_fields.get(tag)
            numbers = tiff.read_numbers(field)
            if field is None or not 2 <= len(numbers) <= 4:
                continue
            moved = crop.move_subject(numbers)
            if moved is None:
                removed.append(tag)
            else:
                _write_numbers(output, tiff, field, moved)
    except ValueError:  # there is no Exif directory, or it is damaged
        pass
    for pair in pairs:
        for field, side in zip(pair, (crop.new_width, crop.new_height), strict=True):
            is_count = len(tiff.read_numbers(field)) == 1
            if field is not None and is_count:
                _write_numbers(output, tiff, field, (side,))
    result = bytes(output)
    for tag in removed:
        result = _remove_entry(result, offset, tag)
    return result


def read_values(block: bytes, tags: Collection[int]) -> dict[int, bytes]:
    """Return the bytes of fields of the first directory, of those that it has."""
    parsed = _parse(block)
    if parsed is None:
        return {}
    tiff, directory = parsed
    fields = ((tag, directory.fields.get(tag)) for tag in tags)
    return {tag: tiff.read(field.offset, field.size) for tag, field in fields if field is not None}


def read_density(block: bytes) -> tuple[float, float, str] | None:
    """Return pixels per `inch` or `cm`, or the ratio `""`; None if they are missing or invalid."""
    parsed = _parse(block)
    if parsed is None:
        return None
    tiff, directory = parsed
    fields = [directory.fields.get(tag) for tag in (Tag.XResolution, Tag.YResolution)]
    (unit,) = tiff.read_numbers(directory.fields.get(Tag.ResolutionUnit))[:1] or (2,)
    if any(f is None or (f.kind, f.count) != (RATIONAL, 1) for f in fields) or unit not in UNITS:
        return None
    (a, b), (c, d) = (tiff.unpack("II", field.offset) for field in fields if field is not None)
    return (a / b, c / d, UNITS[unit]) if a and b and c and d else None


def set_fields(block: bytes | None, fields: Tree) -> bytes:
    """Return the block with fields, in little-endian order, set in its first directory.

    The directory moves behind the rest, which keeps its place. A damaged block is returned as it
    is; None stands for an empty one.
    """
    if block is None:
        header = SIGNATURES["<"] + struct.pack("<I", 8)
        return header + pack_directory(fields, "<", len(header))
    parsed = _parse(block)
    if parsed is None or parsed[0].offset_size != 4:
        return block
    tiff, directory = parsed
    kept = {
        tag: block[field.entry_offset : field.entry_offset + 12]
        for tag, field in directory.fields.items()
        if tag not in fields
    }
    added = fields if tiff.order == "<" else swap_byte_order(fields)
    start = len(block) + len(block) % 2
    packed = pack_directory(added, tiff.order, start + 12 * len(kept))
    entries = kept | {tag: packed[2 + 12 * index :][:12] for index, tag in enumerate(sorted(added))}
    output = bytearray(block.ljust(start, b"\0"))
    output += struct.pack(tiff.order + "H", len(entries))
    output += b"".join(entry for _, entry in sorted(entries.items()))
    output += struct.pack(tiff.order + "I", directory.next_offset)
    output += packed[2 + 12 * len(added) + 4 :]
    output[4:8] = struct.pack(tiff.order + "I", start)
    return bytes(output)


def remove_field(block: bytes, tag: int) -> bytes:
    """Return the block without a field of its first directory; all values keep their place."""
    parsed = _parse(block)
    return _remove_entry(block, parsed[0].first_offset, tag) if parsed else block


def _remove_entry(block: bytes, start: int, tag: int) -> bytes:
    """Return a valid block without a field of the directory at `start`."""
    tiff = Tiff(BytesIO(block))
    directory = tiff.read_directory(start)
    field = directory.fields.get(tag)
    size = 12 if tiff.offset_size == 4 else 20
    end = directory.link_offset + tiff.offset_size
    count_format = tiff.order + ("H" if size == 12 else "Q")
    if field is None or end > len(block):
        return block
    (count,) = struct.unpack_from(count_format, block, start)
    output = bytearray(block)
    output[field.entry_offset : end] = block[field.entry_offset + size : end] + bytes(size)
    struct.pack_into(count_format, output, start, count - 1)
    return bytes(output)


def _write_numbers(output: bytearray, tiff: Tiff, field: Field, numbers: Sequence[int]) -> None:
    """Replace the values of a field of unsigned integers by as many others, if all of them fit."""
    size = field.size // field.count
    if max(numbers) >= 1 << 8 * size:
        return
    order: Literal["little", "big"] = "little" if tiff.order == "<" else "big"
    data = b"".join(number.to_bytes(size, order) for number in numbers)
    output[field.offset : field.offset + field.size] = data


def _parse(block: bytes) -> tuple[Tiff, Directory] | None:
    try:
        tiff = Tiff(BytesIO(block))
        return tiff, tiff.read_directory(tiff.first_offset)
    except TiffError:
        return None


def _orientation_of(tiff: Tiff, field: Field | None) -> int | None:
    numbers = tiff.read_numbers(field)
    return numbers[0] if len(numbers) == 1 and 1 <= numbers[0] <= 8 else None
