"""EXIF blocks: read the orientation, and reset it in place. Every other byte stays as it is."""

from io import BytesIO

from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff import Directory, Field, Tiff, TiffError

PREFIX = b"Exif\0\0"
"""What precedes the block in JPEG and WebP."""
_SIDES = ((Tag.ImageWidth, Tag.ImageLength), (Tag.XResolution, Tag.YResolution))
_EXIF_SIDES = (Tag.ExifImageWidth, Tag.ExifImageHeight)


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


def make_upright(block: bytes, *, swap_sides: bool) -> bytes:
    """Set orientation to 1, unlink the thumbnail and swap width and height if asked to."""
    parsed = _parse(block)
    if parsed is None:
        return block
    tiff, directory = parsed
    fields = directory.fields
    output = bytearray(block)
    field = fields.get(Tag.Orientation)
    if field is not None and _orientation_of(tiff, field) is not None:
        one = (1).to_bytes(field.size, "little" if tiff.order == "<" else "big")
        output[field.offset : field.offset + field.size] = one
    if directory.next_offset:
        output[directory.link_offset : directory.link_offset + tiff.offset_size] = bytes(
            tiff.offset_size
        )
    if swap_sides:
        pairs = [tuple(map(fields.get, tags)) for tags in _SIDES]
        try:
            (offset,) = tiff.read_numbers(fields.get(Tag.ExifOffset))
            pairs.append(tuple(map(tiff.read_directory(offset).fields.get, _EXIF_SIDES)))
        except ValueError:  # there is no Exif directory, or it is damaged
            pass
        for width, height in pairs:
            if width is not None and height is not None:
                size = 2 + 2 * tiff.offset_size  # of an entry without its tag
                a, b = (
                    slice(f.entry_offset + 2, f.entry_offset + 2 + size) for f in (width, height)
                )
                output[a], output[b] = block[b], block[a]
    return bytes(output)


def _parse(block: bytes) -> tuple[Tiff, Directory] | None:
    try:
        tiff = Tiff(BytesIO(block))
        return tiff, tiff.read_directory(tiff.first_offset)
    except TiffError:
        return None


def _orientation_of(tiff: Tiff, field: Field | None) -> int | None:
    numbers = tiff.read_numbers(field)
    return numbers[0] if len(numbers) == 1 and 1 <= numbers[0] <= 8 else None
