"""What can be decoded of a TIFF page whose last strips are cut off."""

import struct
from dataclasses import dataclass, field

from PIL.ExifTags import Base as Tag

from photochrom.imagefile.tiff.pages import Page, extract_page
from photochrom.imagefile.tiff.structure import LONG, TiffError, Tree
from photochrom.imagefile.truncation import Part

_UNCOMPRESSED = 1
_INTERLEAVED = 1
_SINGLE = (Tag.ImageLength, Tag.RowsPerStrip)


@dataclass(frozen=True)
class _Shortened(Page):
    """A page with other values of some tags."""

    changed: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag, changed or not."""
        return self.changed[tag] if tag in self.changed else super().numbers(tag)


def find_part(page: Page) -> Part | None:
    """Return a TIFF of the rows of a page that are there.

    None: The page is not cut off, or has tiles, separate planes, or no whole strip.
    """
    height, starts, counts, rows, compression, planes, samples = (
        page.numbers(tag)
        for tag in (
            Tag.ImageLength,
            Tag.StripOffsets,
            Tag.StripByteCounts,
            Tag.RowsPerStrip,
            Tag.Compression,
            Tag.PlanarConfiguration,
            Tag.SamplesPerPixel,
        )
    )
    is_interleaved = planes in ((), (_INTERLEAVED,)) or samples in ((), (1,))
    if len(height) != 1 or not starts or len(starts) != len(counts) or not is_interleaved:
        return None
    per_strip = min(rows[0] if rows else height[0], height[0])
    if not per_strip or -(-height[0] // per_strip) != len(starts):
        return None
    there = [start + count <= page.tiff.size for start, count in zip(starts, counts, strict=True)]
    if all(there):
        return None
    whole = there.index(False)
    found = whole * per_strip
    sizes = list(counts[:whole])
    if compression in ((), (_UNCOMPRESSED,)):
        row_size = counts[whole] // min(per_strip, height[0] - found)
        more = max(0, page.tiff.size - starts[whole]) // row_size if row_size else 0
        if more:
            found += more
            sizes.append(more * row_size)
    if not found:
        return None
    changed: dict[int, tuple[int, ...]] = {
        Tag.ImageLength: (found,),
        Tag.RowsPerStrip: (per_strip,),
        Tag.StripOffsets: starts[: len(sizes)],
        Tag.StripByteCounts: tuple(sizes),
    }
    pack = struct.Struct(page.tiff.order + "I").pack
    fields: Tree = {tag: (LONG, pack(changed[tag][0])) for tag in _SINGLE}
    try:
        data = extract_page(_Shortened(page.tiff, page.directory, changed), fields)
    except TiffError:
        return None
    return Part(data, height[0], found)
