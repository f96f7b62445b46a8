"""Pages of TIFF files: read one by one, extracted, and written one after the other."""

import struct
from collections.abc import Iterable, Set
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import numpy as np
from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotoError
from photochrom.imagefile import maker_notes
from photochrom.imagefile.metadata import Density, Metadata, to_exif
from photochrom.imagefile.tiff.structure import (
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SIGNATURES,
    UNDEFINED,
    UNITS,
    Directory,
    Tiff,
    TiffError,
    Tree,
    pack_directory,
    swap_byte_order,
)

_HEADER_SIZE = 8
_MAX_OFFSET = 2**32 - 1
_TOO_LARGE = (
    "the pages make more than 4 GB, which a TIFF cannot hold; write them to several files, or as "
    "JPEG or PNG"
)
_STRIPS = (Tag.StripOffsets, Tag.StripByteCounts)
_TILES = (Tag.TileOffsets, Tag.TileByteCounts)
_OLD_JPEG = 6
_RGB = 2
ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = ALPHAS = 1, 2
"""Values of ExtraSamples that are opacity."""
SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
"""Photometric interpretation to its number of samples, without extra samples."""
BLOCKS = frozenset((Tag.XMLPacket, Tag.IPTCNAA, Tag.ImageResources, Tag.InterColorProfile))

PIXEL_TAGS = frozenset(
    [
        *range(255, 260),  # size, bits, compression
        *(262, 266, 277, 278, 284, 292, 293, 317, 320, 332, 334, 336, 338, 339, 340, 341, 347),
        *(*_STRIPS, *_TILES, 322, 323),
        *range(529, 533),  # YCbCr
        *(32995, 32996),  # former numbers of 338 and 339
    ]
)
"""Needed to decode the pixels."""
NOT_EXIF = frozenset(
    [
        *(*PIXEL_TAGS, *BLOCKS),
        *(Tag.NewSubfileType, Tag.SubIFDs, 400),  # relations to other pages, other directories
        *(263, 264, 265, 280, 281, 288, 289, 290, 291, 300, 333, 342),
        *(326, 327, 328, 343, 344, 345, 346, 351, 433, 434, 559, 34016),  # fax, paths, print
        *range(401, 406),  # fax profiles
        *range(512, 522),  # old-style JPEG; in EXIF the thumbnail
        *(32997, 32998, 33300, 33301, 37439, 50674),  # sizes and encodings of single programs
        37724,  # Photoshop layers, which would be shown instead of our pixels
        *(Tag.DNGVersion, Tag.DNGVersion + 1),
    ]
)
"""Wrong on a page with other pixels, or kept in other fields of `Metadata`."""


@dataclass(frozen=True)
class Page:
    """A page of a TIFF that has to stay open: values are read on access."""

    tiff: Tiff
    directory: Directory

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag of unsigned integers, () if the page has none."""
        return self.tiff.read_numbers(self.directory.fields.get(tag))

    @property
    def extra_samples(self) -> tuple[int, ...]:
        """The meaning of each extra sample; RGB with a fourth one of no meaning has opacity."""
        extra = self.numbers(Tag.ExtraSamples)
        is_rgba = (
            self.numbers(Tag.PhotometricInterpretation) == (_RGB,)
            and self.numbers(Tag.SamplesPerPixel) == (4,)
            and Tag.ExtraSamples not in self.directory.fields
        )
        return (_UNASSOCIATED_ALPHA,) if is_rgba else extra

    def fractions(self, tag: int) -> tuple[float, ...]:
        """Return the values of a tag of unsigned fractions, () if the page has none."""
        field = self.directory.fields.get(tag)
        if field is None or field.kind != RATIONAL:
            return ()
        numbers = self.tiff.unpack(f"{2 * field.count}I", field.offset)
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        return tuple(over / under if under else 0.0 for over, under in pairs)

    def read_metadata(self, *, excluded: Set[int] = frozenset()) -> Metadata:
        """Return the metadata of the page, without what is damaged and without excluded tags."""
        order = self.tiff.order
        tree = self.tiff.read_tree(self.directory, NOT_EXIF | excluded)
        exif, offset, is_moved = None, maker_notes.find_offset(self.tiff, self.directory), False
        if tree:
            exif, is_moved = maker_notes.pack_exif(tree, order, offset)
        xmp, icc, photoshop, iptc = map(
            self.read_block,
            (Tag.XMLPacket, Tag.InterColorProfile, Tag.ImageResources, Tag.IPTCNAA),
        )
        return Metadata(
            exif,
            xmp,
            icc,
            photoshop,
            iptc,
            self._read_density(),
            note_offset=offset if is_moved else None,
        )

    def read_block(self, tag: int) -> bytes | None:
        """Return the bytes of a tag, None if the page has none."""
        field = self.directory.fields.get(tag)
        return None if field is None else self.tiff.read(field.offset, field.size)

    def _read_density(self) -> Density | None:
        both = [self.fractions(tag) for tag in (Tag.XResolution, Tag.YResolution)]
        (unit,) = self.numbers(Tag.ResolutionUnit)[:1] or (2,)
        if [len(numbers) for numbers in both] != [1, 1] or unit not in UNITS:
            return None
        (x,), (y,) = both
        return (x, y, UNITS[unit]) if x and y else None


def read_pages(stream: IO[bytes]) -> list[Page]:
    """Return the pages of a seekable TIFF or BigTIFF in order, at least one.

    Raises:
        TiffError: If it is not a TIFF, or the directory of a page is missing.
    """
    pages: list[Page] = []
    add_pages(stream, pages)
    return pages


def add_pages(stream: IO[bytes], pages: list[Page]) -> None:
    """Append the pages of a TIFF to a list, which has those before an error.

    Raises:
        TiffError: As `read_pages`.
    """
    tiff = Tiff(stream)
    visited = {0}
    offset, budget = tiff.first_offset, tiff.size
    while offset not in visited:  # a chain that leads back ends there
        visited.add(offset)
        directory = tiff.read_directory(offset)
        budget -= directory.link_offset - offset
        if budget < 0:
            raise TiffError("its directories overlap")
        pages.append(Page(tiff, directory))
        offset = directory.next_offset
    if not pages:
        raise TiffError("it has no pages")


def is_raw(page: Page) -> bool:
    """Tell by the first page whether a file is a camera's raw photo: DNG, CR2, NEF, ARW..."""
    fields = page.directory.fields
    is_preview = any(number & 1 for number in page.numbers(Tag.NewSubfileType))
    return (
        Tag.DNGVersion in fields
        or (
            page.tiff.size > 11
            and page.tiff.read(8, 3) == b"CR\x02"
            and page.tiff.first_offset == 16
        )
        or (is_preview and Tag.SubIFDs in fields and Tag.Make in fields)
    )


def extract_page(page: Page, changed: Tree | None = None) -> bytes:
    """Return a TIFF of one page with its pixels, without any other tags.

    Args:
        page: The page.
        changed: Fields that replace those of the page.

    Raises:
        TiffError: If pixels are missing, or compressed as old-style JPEG, whose parts cannot be
            located reliably.
        PhotoError: If it is larger than 4 GB.
    """
    if page.numbers(Tag.Compression) == (_OLD_JPEG,):
        raise TiffError("it is compressed as old-style JPEG")
    stream = BytesIO()
    PageWriter(stream).copy_pixels(page, changed or {})
    return stream.getvalue()


class PageWriter:
    """Writes pages one after the other; the file is complete after each."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Start an empty, seekable file."""
        self._stream = stream
        self._order = ""
        self._link_offset = 4
        """Where the offset of the next page is written."""
        self._end = _HEADER_SIZE
        """Of what is written, but for what is reserved."""
        self._reserved: list[range] = []
        """Offsets of maker notes."""

    def choose_order(self, metadata: Metadata) -> str:
        """Return the byte order, as of `struct`, that the parts of the next page should have.

        It is that of the pages before, else of a maker note that depends on it.
        """
        tree, order, _ = _read_exif(metadata)
        return self._order or (order if maker_notes.get_note(tree) is not None else "<")

    def add(self, parts: Iterable[bytes], metadata: Metadata) -> list[str]:
        """Append a page, with its maker note where it was if possible.

        Args:
            parts: TIFFs of one byte order, whose pixels are stacked vertically. All but the last
                have full strips of the same height.
            metadata: Without segments of a JPEG and chunks of a PNG.

        Returns:
            What is different about the metadata in the file, each a phrase.

        Raises:
            PhotoError: If the file becomes larger than a TIFF can be.
        """
        exif, exif_order, offset = _read_exif(metadata)
        note = maker_notes.get_note(exif)
        note_offset = None if note is None else self._reserve(offset, len(note))
        first: Page | None = None
        locations: list[tuple[int, int]] = []
        height = 0
        for part in parts:
            page = read_pages(BytesIO(part))[0]
            first = first or page
            locations += self._write_pixels(page)
            height += page.numbers(Tag.ImageLength)[0]
        assert first is not None
        order = first.tiff.order
        if exif_order not in ("", order):
            exif = swap_byte_order(exif)
        tree = _metadata_tree(metadata, exif, order)
        tree[Tag.ImageLength] = LONG, struct.pack(order + "I", height)
        if (
            first.numbers(Tag.SamplesPerPixel) == (4,)
            and Tag.ExtraSamples not in first.directory.fields
        ):
            # OpenCV does not tag the fourth sample as alpha.
            tree[Tag.ExtraSamples] = SHORT, struct.pack(order + "H", 2)
        if note_offset is not None and note is not None:
            self._write_at(note_offset, note)
        self._write_directory(first, PIXEL_TAGS, tree, locations, note_offset)
        if note is None:
            return []
        moved = [maker_notes.MOVED] if note_offset is None else []
        return moved + ([maker_notes.OTHER_ORDER] if exif_order != order else [])

    def copy_pixels(self, page: Page, changed: Tree) -> None:
        """Append the pixels of a page of another file, without its metadata.

        Fields in `changed` replace those of the page.

        Raises:
            TiffError: If pixels are missing, or the byte order differs from that of earlier pages.
            PhotoError: If the file becomes larger than a TIFF can be.
        """
        self._write_directory(page, PIXEL_TAGS, changed, self._write_pixels(page))

    def _write_pixels(self, page: Page) -> list[tuple[int, int]]:
        """Append a page's strips or tiles, and return their new offsets and sizes."""
        tiff, order = page.tiff, page.tiff.order
        if self._order not in ("", order):
            raise TiffError("its byte order is not that of the pages before")
        starts, counts = map(page.numbers, _location_tags(page))
        if not counts or len(starts) != len(counts) or 0 in counts or sum(counts) > tiff.size:
            raise TiffError("the location of its pixels is missing or wrong")
        if max(map(sum, zip(starts, counts, strict=True))) > tiff.size:
            raise TiffError("its pixels lie outside of the file")
        if not self._order:
            self._order = order
            self._write_at(0, SIGNATURES[order] + bytes(4))
        return [
            (self._append(tiff.read(start, count)), count)
            for start, count in zip(starts, counts, strict=True)
        ]

    def _reserve(self, offset: int | None, size: int) -> int | None:
        """Reserve bytes at an offset and return it; None if it is taken, or out of reach."""
        if offset is None or offset < self._end or offset + size > _MAX_OFFSET:
            return None
        if any(offset < taken.stop and taken.start < offset + size for taken in self._reserved):
            return None
        self._reserved.append(range(offset, offset + size))
        return offset

    def _append(self, data: bytes) -> int:
        """Write behind everything, but for what is reserved, and return the offset."""
        offset = self._allocate(len(data))
        self._write_at(offset, data)
        return offset

    def _allocate(self, size: int) -> int:
        """Return the even offset of free bytes."""
        for taken in sorted(self._reserved, key=lambda taken: taken.start):
            if self._end < taken.stop and taken.start < self._end + size:
                self._end = taken.stop + taken.stop % 2
        offset = self._end
        self._end += size + size % 2
        if self._end > _MAX_OFFSET:
            raise PhotoError(_TOO_LARGE)
        return offset

    def _write_at(self, offset: int, data: bytes) -> None:
        """Write at an offset; a gap before it becomes zeros."""
        self._stream.seek(offset)
        self._stream.write(data)

    def _write_directory(
        self,
        page: Page,
        kept: Set[int],
        added: Tree,
        locations: list[tuple[int, int]],
        note_offset: int | None = None,
    ) -> None:
        """Append a directory of kept and added fields for pixels that are written.

        A maker note is written at `note_offset` already, unless it is None.
        """
        order = self._order
        if _location_tags(page) == _STRIPS and Tag.RowsPerStrip in page.directory.fields:
            kept = kept - {Tag.TileWidth, Tag.TileLength}
        tree = page.tiff.read_tree(page.directory, page.directory.fields.keys() - kept) | added
        for tag, numbers in zip(_location_tags(page), zip(*locations, strict=True), strict=True):
            tree[tag] = LONG, np.array(numbers).astype(f"{order}u4").tobytes()
        start = self._allocate(len(pack_directory(tree, order, 0, note_offset)))
        self._write_at(start, pack_directory(tree, order, start, note_offset))
        # Linked last, so that the chain has complete pages only.
        self._write_at(self._link_offset, struct.pack(order + "I", start))
        self._link_offset = start + 2 + 12 * len(tree)


def _location_tags(page: Page) -> tuple[int, int]:
    """Return the tags of offsets and sizes of a page's strips or tiles."""
    return _TILES if _TILES[0] in page.directory.fields else _STRIPS


def _read_exif(metadata: Metadata) -> tuple[Tree, str, int | None]:
    """Return EXIF as fields of a page, its byte order, and the offset of its maker note."""
    try:
        tiff = Tiff(BytesIO(to_exif(metadata) or b""))
        directory = tiff.read_directory(tiff.first_offset)
    except TiffError:  # damaged EXIF is dropped
        return {}, "", None
    offset = metadata.note_offset
    if offset is None:
        offset = maker_notes.find_offset(tiff, directory)
    return tiff.read_tree(directory, NOT_EXIF), tiff.order, offset


def _metadata_tree(metadata: Metadata, exif: Tree, order: str) -> Tree:
    """Return metadata as fields of a page, with those of EXIF in its byte order."""
    tree = dict(exif)
    for tag, kind, data in (
        (Tag.XMLPacket, BYTE, metadata.xmp),
        (Tag.IPTCNAA, UNDEFINED, metadata.iptc),
        (Tag.ImageResources, BYTE, metadata.photoshop),
        (Tag.InterColorProfile, UNDEFINED, metadata.icc),
    ):
        if data:
            tree[tag] = kind, data
    return tree
