"""EXIF blocks: read the orientation, and make upright in place. Other bytes stay as they are."""

from collections.abc import Sequence
from io import BytesIO
from typing import Literal

from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff import Directory, Field, Tiff, TiffError
from photochrom.imagefile.turning import Turn

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
    return bytes(output)


def _write_numbers(output: bytearray, tiff: Tiff, field: Field, numbers: Sequence[int]) -> None:
    """Replace the values of a field of unsigned integers by as many others that fit."""
    size = field.size // field.count
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
