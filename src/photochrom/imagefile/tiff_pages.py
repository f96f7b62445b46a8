"""Pages of TIFF files: found, cut out one by one, and written one after the other."""

import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import IO

import numpy as np

from photochrom.errors import PhotoError
from photochrom.imagefile.containers import KINDS, Directory, Tiff, Tree
from photochrom.imagefile.containers import TiffError as TiffError
from photochrom.imagefile.metadata import Metadata

_LARGEST = 2**32 - 1
"""The last offset of a TIFF."""
_TOO_LARGE = (
    "the pages make more than 4 GB, which a TIFF cannot hold; write them to several files, or as "
    "JPEG or PNG"
)

# Tags, by their names in TIFF 6.0 and its supplements.
_SUBFILE_TYPE = 254
_COMPRESSION = 259
_MAKE = 271
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, counts of bytes
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_HEIGHT = 257
_SAMPLES, _EXTRA_SAMPLES = 277, 338
_SUB_IFDS = 330
_XMP, _IPTC, _PHOTOSHOP, _ICC = 700, 33723, 34377, 34675
_DNG_VERSION = 50706

_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_PAIRS = (5, 10)  # kinds of which a value is two numbers
_UNITS = {1: "", 2: "inch", 3: "cm"}
_OLD_JPEG = 6

_PIXELS = frozenset(
    [
        *range(255, 260),  # size, bits, compression
        *(262, 266, 277, 278, 284, 292, 293, 317, 320, 332, 334, 336, 338, 339, 340, 341, 347),
        *(*_STRIPS, *_TILES, 322, 323),
        *range(529, 533),  # YCbCr
        *(32995, 32996),  # what 338 and 339 were before
    ]
)
"""Without these a decoder cannot tell what the pixels are."""
_RESOLUTION = frozenset((_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT))
_NOT_DESCRIPTIVE = _PIXELS | frozenset(
    [
        *(_XMP, _IPTC, _PHOTOSHOP, _ICC),  # carried, but each on its own
        *(_SUBFILE_TYPE, _SUB_IFDS, 400),  # what the page is to others, and directories of others
        *(263, 264, 265, 280, 281, 288, 289, 290, 291, 300, 301, 318, 319, 321, 333, 342),
        *(326, 327, 328, 343, 344, 345, 346, 351, 433, 434, 559, 34016),  # faxes, paths, prints
        *range(401, 406),  # profiles of faxes
        *range(512, 522),  # JPEG as of old; in EXIF the thumbnail
        *(32997, 32998, 33300, 33301, 37439, 50674),  # sizes and encodings of single programs
        37724,  # Photoshop's layers: the grey photo once more, shown instead of ours
        *(_DNG_VERSION, _DNG_VERSION + 1),
    ]
)
"""Not to be copied to a page with other pixels."""


@dataclass(frozen=True)
class Page:
    """A page of a TIFF that is open; its values are read when they are asked for."""

    tiff: Tiff
    directory: Directory

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag of unsigned integers, () if the page has none."""
        return self.tiff.numbers(self.directory.fields.get(tag))

    @property
    def metadata(self) -> Metadata:
        """What the page says besides its pixels; what is broken is left out."""
        own = self.tiff.tree(self.directory, _NOT_DESCRIPTIVE)
        exif = None
        if own:
            start = b"II*\0" if self.tiff.order == "<" else b"MM\0*"
            head = start + struct.pack(self.tiff.order + "I", 8)
            exif = head + _packed(own, self.tiff.order, 8)
        xmp, icc, photoshop, iptc = map(self._bytes, (_XMP, _ICC, _PHOTOSHOP, _IPTC))
        return Metadata(exif, xmp, icc, photoshop, iptc, self._density())

    def _bytes(self, tag: int) -> bytes | None:
        field = self.directory.fields.get(tag)
        return None if field is None else self.tiff.read(field.at, field.size)

    def _density(self) -> tuple[float, float, str] | None:
        fields = self.directory.fields
        both = [fields[tag] for tag in (_X_RESOLUTION, _Y_RESOLUTION) if tag in fields]
        (unit,) = self.numbers(_RESOLUTION_UNIT)[:1] or (2,)
        if [(field.kind, field.count) for field in both] != [(_RATIONAL, 1)] * 2:
            return None
        (a, b), (c, d) = (self.tiff.unpack("II", field.at) for field in both)
        if not (a and b and c and d) or unit not in _UNITS:
            return None
        return a / b, c / d, _UNITS[unit]


def read(stream: IO[bytes]) -> list[Page]:
    """Find the pages of a TIFF; their pixels are not read.

    Args:
        stream: A TIFF or BigTIFF that can be rewound; the pages read from it later.

    Returns:
        The pages in order, at least one. A chain that bites its tail ends there.

    Raises:
        TiffError: If it is no TIFF, or the file ends before one of the pages that it announces.
    """
    tiff = Tiff(stream)
    pages: list[Page] = []
    seen = {0}
    at, room = tiff.first, tiff.size
    while at not in seen:
        seen.add(at)
        directory = tiff.directory(at)
        room -= directory.link - at
        if room < 0:
            raise TiffError("its directories overlap")
        pages.append(Page(tiff, directory))
        at = directory.next
    if not pages:
        raise TiffError("it has no pages")
    return pages


def is_raw(page: Page) -> bool:
    """Tell by the first page whether a file is a camera's raw photo: DNG, CR2, NEF, ARW..."""
    fields = page.directory.fields
    preview = any(number & 1 for number in page.numbers(_SUBFILE_TYPE))
    return (
        _DNG_VERSION in fields
        or (page.tiff.size > 11 and page.tiff.read(8, 3) == b"CR\x02" and page.tiff.first == 16)
        or (preview and _SUB_IFDS in fields and _MAKE in fields)
    )


def alone(page: Page) -> bytes:
    """Return a TIFF of one page that has its pixels and nothing to stumble over.

    Raises:
        TiffError: If its pixels are not all in the file, or are JPEG as TIFF 6.0 had it, of which
            nobody can tell where all of it lies.
        PhotoError: If it is larger than 4 GB.
    """
    if page.numbers(_COMPRESSION) == (_OLD_JPEG,):
        raise TiffError("its JPEG is of the old kind")
    stream = BytesIO()
    Writer(stream).copy(page)
    return stream.getvalue()


class Writer:
    """Writes pages one after the other; after each the file is whole."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Begin.

        Args:
            stream: An empty file, in which one can go back.
        """
        self._stream = stream
        self._order = ""
        self._link = 4
        """Where the offset of the next page has to go."""

    def add(self, parts: Iterable[bytes], metadata: Metadata) -> None:
        """Append a page.

        Args:
            parts: TIFFs of one byte order; the pixels of their first pages, one below the other,
                are those of the page. All but the last have whole strips, of the same height.
            metadata: What to say of it. A JPEG's and PNG's own parts have no place here.

        Raises:
            PhotoError: If the file would become larger than a TIFF can be.
        """
        first: Page | None = None
        places: list[int] = []
        sizes: list[int] = []
        height = 0
        for part in parts:
            page = read(BytesIO(part))[0]
            first = first or page
            self._pixels(page, places, sizes)
            height += page.numbers(_HEIGHT)[0]
        assert first is not None
        order = first.tiff.order
        more = _described(metadata, order)
        more[_HEIGHT] = _LONG, struct.pack(order + "I", height)
        if first.numbers(_SAMPLES) == (4,) and _EXTRA_SAMPLES not in first.directory.fields:
            # OpenCV does not say that the fourth is opacity.
            more[_EXTRA_SAMPLES] = _SHORT, struct.pack(order + "H", 2)
        kept = _PIXELS if _X_RESOLUTION in more else _PIXELS | _RESOLUTION
        self._directory(first, kept, more, places, sizes)

    def copy(self, page: Page) -> None:
        """Append the pixels of a page of another file, and nothing else of it.

        Raises:
            TiffError: If they are not all there, or in another byte order than before.
            PhotoError: If the file would become larger than a TIFF can be.
        """
        places: list[int] = []
        sizes: list[int] = []
        self._pixels(page, places, sizes)
        self._directory(page, _PIXELS, {}, places, sizes)

    def _pixels(self, page: Page, places: list[int], sizes: list[int]) -> None:
        """Append a page's strips or tiles, and to the lists where they are and their sizes."""
        tiff, order = page.tiff, page.tiff.order
        if self._order not in ("", order):
            raise TiffError("its byte order is not that of the pages before")
        offsets, counts = map(page.numbers, _tags(page))
        if not counts or len(offsets) != len(counts) or 0 in counts or sum(counts) > tiff.size:
            raise TiffError("where its pixels lie is not said, or wrong")
        if max(map(sum, zip(offsets, counts, strict=True))) > tiff.size:
            raise TiffError("its pixels lie outside of the file")
        if not self._order:
            self._order = order
            self._stream.write((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
        at = self._stream.seek(0, 2)
        if at + sum(counts) + len(counts) > _LARGEST:
            raise PhotoError(_TOO_LARGE)
        for offset, count in zip(offsets, counts, strict=True):
            places.append(at)
            sizes.append(count)
            at += self._stream.write(tiff.read(offset, count) + bytes(count % 2))

    def _directory(
        self, page: Page, kept: Iterable[int], more: Tree, places: list[int], sizes: list[int]
    ) -> None:
        """Append a directory of fields to keep and more, for pixels that were written."""
        order = self._order
        drop = frozenset(page.directory.fields).difference(kept)
        tree = page.tiff.tree(page.directory, drop) | more
        for tag, numbers in zip(_tags(page), (places, sizes), strict=True):
            tree[tag] = _LONG, np.array(numbers).astype(f"{order}u4").tobytes()
        at = self._stream.seek(0, 2)
        packed = _packed(tree, order, at)
        if at + len(packed) > _LARGEST:
            raise PhotoError(_TOO_LARGE)
        self._stream.write(packed)
        # Last, so that a page that is not all there is not in the chain.
        self._stream.seek(self._link)
        self._stream.write(struct.pack(order + "I", at))
        self._link = at + 2 + 12 * len(tree)


def _tags(page: Page) -> tuple[int, int]:
    """Return the tags that say where a page's pixels lie, and how long their pieces are."""
    return _TILES if _TILES[0] in page.directory.fields else _STRIPS


def _described(metadata: Metadata, order: str) -> Tree:
    """Return metadata as fields of a page."""
    tree: Tree = {}
    with suppress(TiffError):  # broken EXIF is worth nothing to anybody
        block = Tiff(BytesIO(metadata.exif or b""))
        tree = block.tree(block.directory(block.first), _NOT_DESCRIPTIVE)
        if block.order != order:
            tree = _swapped(tree)
    if metadata.density is not None and not {_X_RESOLUTION, _Y_RESOLUTION} <= tree.keys():
        x, y, unit = metadata.density
        parts = 100 if unit == "m" else 1  # TIFF has no metres
        for tag, number in ((_X_RESOLUTION, x), (_Y_RESOLUTION, y)):
            ratio = Fraction(number).limit_denominator(10000) / parts
            tree[tag] = _RATIONAL, struct.pack(order + "II", *ratio.as_integer_ratio())
        code = {"": 1, "inch": 2}.get(unit, 3)
        tree[_RESOLUTION_UNIT] = _SHORT, struct.pack(order + "H", code)
    blocks = {
        _XMP: (_BYTE, metadata.xmp),
        _IPTC: (_UNDEFINED, metadata.iptc),
        _PHOTOSHOP: (_BYTE, metadata.photoshop),
        _ICC: (_UNDEFINED, metadata.icc),
    }
    return tree | {tag: (kind, data) for tag, (kind, data) in blocks.items() if data}


def _swapped(tree: Tree) -> Tree:
    """Return fields in the other byte order."""
    swapped: Tree = {}
    for tag, value in tree.items():
        if isinstance(value, dict):
            swapped[tag] = _swapped(value)
        else:
            kind, data = value
            unit = 4 if kind in _PAIRS else KINDS[kind]
            swapped[tag] = kind, np.frombuffer(data, f"u{unit}").byteswap().tobytes()
    return swapped


def _packed(tree: Tree, order: str, at: int) -> bytes:
    """Return a directory that is to lie at `at`, last of its chain, and all that it points to."""
    entries, after = bytearray(), bytearray()
    end = at + 2 + 12 * len(tree) + 4
    for tag, value in sorted(tree.items()):
        place = end + len(after)
        if isinstance(value, dict):
            kind, count, data = _LONG, 1, struct.pack(order + "I", place)
            after += _packed(value, order, place)
        else:
            kind, data = value
            count = len(data) // KINDS[kind]
            if len(data) > 4:
                after += data + bytes(len(data) % 2)
                data = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI4s", tag, kind, count, data)
    return struct.pack(order + "H", len(tree)) + entries + bytes(4) + after
