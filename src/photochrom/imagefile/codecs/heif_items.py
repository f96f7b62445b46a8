"""Items of HEIF files, of which AVIF and HEIC are kinds: images, their properties and metadata.

Follows ISO/IEC 14496-12, section 8.11 (MetaBox), and ISO/IEC 23008-12, sections 6 and 9.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from photochrom.imagefile.codecs.boxes import find_box, iterate_boxes, read_box
from photochrom.imagefile.formats import detect_format

_MAX_ENTRIES = 100_000
"""Of one table; damaged files claim more."""
_MAX_META_SIZE = 1 << 20


class HeifError(ValueError):
    """A HEIF file whose items cannot be read."""


@dataclass(frozen=True)
class Item:
    """An image, or metadata."""

    kind: bytes
    """Such as `av01`, `hvc1`, `grid`, `Exif`, `mime`."""
    content_type: bytes = b""
    """The MIME type of a `mime`."""
    is_hidden: bool = False
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Kind and content, in order."""
    references: list[tuple[bytes, list[int]]] = field(default_factory=list)
    """Kinds such as `auxl`, `cdsc`, `dimg`, `thmb`, and the items that are referred to."""
    extents: list[tuple[int, int, int]] = field(default_factory=list)
    """Parts of the content: construction method, offset, length; length 0 is up to the end."""

    def all_properties(self, kind: bytes) -> list[bytes]:
        """Return the contents of the properties of a kind."""
        return [content for name, content in self.properties if name == kind]


@dataclass(frozen=True)
class HeifItems:
    """The items of a file by their numbers."""

    primary: int
    items: dict[int, Item]
    idat: bytes
    """Where extents of construction method 1 are."""

    def referring(self, kind: bytes, number: int) -> list[Item]:
        """Return the items that refer to an item, such as its metadata."""
        return [
            item
            for item in self.items.values()
            if any(name == kind and number in targets for name, targets in item.references)
        ]

    def referred(self, kind: bytes, number: int) -> list[Item]:
        """Return the items that an item refers to, such as the tiles of a grid."""
        return [
            self.items[target]
            for name, targets in self.items[number].references
            for target in targets
            if name == kind and target in self.items
        ]

    def read(self, item: Item, data: bytes) -> bytes:
        """Return the content of an item of the file `data`; what is beyond its end is missing."""
        sources = {0: data, 1: self.idat}
        parts = []
        for method, offset, length in item.extents:
            source = sources.get(method, b"")
            parts.append(source[offset : offset + length if length else None])
        return b"".join(parts)

    def parts(self) -> list[Item]:
        """Return the primary image, and the images that it is put together from."""
        return [self.items[self.primary], *self.referred(b"dimg", self.primary)]

    def bit_depth(self) -> int:
        """Return the bits per channel of the primary image, or of its tiles; 0 if unknown."""
        return max(map(_bit_depth, self.parts()))

    def is_grey(self) -> bool:
        """Tell whether the primary image, or a tile of it, is monochrome."""
        return any(map(_is_grey, self.parts()))


def needs_png(path: Path) -> bool:
    """Tell whether a file is an AVIF of more than 8 bits, which becomes a PNG of 16 bits.

    Only its boxes are read, not its pixels. False for a file that cannot be read.
    """
    try:
        with path.open("rb") as stream:
            if detect_format(stream.read(64)) != "AVIF":
                return False
            stream.seek(0)
            meta = read_box(stream, b"meta", _MAX_META_SIZE)
        return meta is not None and parse_meta(meta).bit_depth() > 8
    except (OSError, HeifError):
        return False


def parse_meta(meta: bytes) -> HeifItems:
    """Parse the content of a MetaBox.

    Raises:
        HeifError: If it is damaged, or there is no primary image.
    """
    boxes = dict(reversed(list(iterate_boxes(meta, 4))))  # the first one of each kind
    try:
        primary = _Numbers(boxes[b"pitm"])
        number = primary.read(4 if primary.version else 2)
        items = _read_infos(boxes[b"iinf"])
        if number not in items:
            raise HeifError("it has no primary image")
        _read_properties(items, boxes.get(b"iprp", b""))
        if b"iref" in boxes:
            _read_references(items, boxes[b"iref"])
        if b"iloc" in boxes:
            _read_locations(items, _Numbers(boxes[b"iloc"]))
    except (KeyError, IndexError, struct.error) as error:
        raise HeifError("its items are damaged") from error
    return HeifItems(number, items, boxes.get(b"idat", b""))


class _Numbers:
    """Reads big-endian numbers of a full box, after version and flags.

    Raises `IndexError` at its end.
    """

    def __init__(self, content: bytes) -> None:
        self.version, self.flags = content[0], int.from_bytes(content[1:4])
        self.content, self.offset = content, 4

    def read(self, size: int) -> int:
        """Return the number of the next `size` bytes; 0 for no bytes."""
        end = self.offset + size
        if end > len(self.content):
            raise IndexError("the box is cut off")
        number = int.from_bytes(self.content[self.offset : end])
        self.offset = end
        return number

    def read_count(self, size: int) -> range:
        """Return a range of the count that follows."""
        return range(min(self.read(size), _MAX_ENTRIES))


def _read_infos(iinf: bytes) -> dict[int, Item]:
    """Read the ItemInfoBox (section 8.11.6)."""
    items = {}
    for kind, content in iterate_boxes(iinf, 8 if iinf[0] else 6):
        if kind == b"infe" and content and content[0] >= 2:
            numbers = _Numbers(content)
            number = numbers.read(2 if numbers.version == 2 else 4)
            numbers.read(2)  # protection
            item_kind = numbers.read(4).to_bytes(4)
            _, content_type, *_ = [*content[numbers.offset :].split(b"\0", 2), b"", b""]
            items[number] = Item(item_kind, content_type, is_hidden=bool(numbers.flags & 1))
    return items


def _read_properties(items: dict[int, Item], iprp: bytes) -> None:
    """Read the ItemPropertiesBox (ISO/IEC 23008-12, section 9.3)."""
    properties = list(iterate_boxes(find_box(iprp, b"ipco") or b""))
    for kind, content in iterate_boxes(iprp):
        if kind != b"ipma":
            continue
        numbers = _Numbers(content)
        for _ in numbers.read_count(4):
            item = items.get(numbers.read(4 if numbers.version else 2))
            for _ in numbers.read_count(1):
                # The highest bit says that the property is essential; 0 is no property.
                index = numbers.read(2) & 0x7FFF if numbers.flags & 1 else numbers.read(1) & 0x7F
                if item is not None and 0 < index <= len(properties):
                    item.properties.append(properties[index - 1])


def _read_references(items: dict[int, Item], iref: bytes) -> None:
    """Read the ItemReferenceBox (section 8.11.12)."""
    size = 4 if iref[0] else 2
    for kind, content in iterate_boxes(iref, 4):
        numbers = _Numbers(bytes(4) + content)
        source = items.get(numbers.read(size))
        targets = [numbers.read(size) for _ in numbers.read_count(2)]
        if source is not None:
            source.references.append((kind, targets))


def _read_locations(items: dict[int, Item], numbers: _Numbers) -> None:
    """Read the ItemLocationBox (section 8.11.3)."""
    sizes = numbers.read(2)
    offset_size, length_size, base_size, index_size = (sizes >> n & 15 for n in (12, 8, 4, 0))
    for _ in numbers.read_count(4 if numbers.version == 2 else 2):
        item = items.get(numbers.read(4 if numbers.version == 2 else 2))
        method = numbers.read(2) & 15 if numbers.version else 0
        is_other_file = numbers.read(2) != 0
        base = numbers.read(base_size)
        for _ in numbers.read_count(2):
            numbers.read(index_size if numbers.version else 0)
            offset, length = base + numbers.read(offset_size), numbers.read(length_size)
            if item is not None and not is_other_file:
                item.extents.append((method, offset, length))


def _bit_depth(item: Item) -> int:
    """Return the bits of the channels of an image, by its configuration or PixelInformation."""
    depths = [0]
    for kind, content in item.properties:
        if kind == b"av1C" and len(content) >= 3:  # AV1 in ISOBMFF, section 2.3
            depths.append((8, 8, 10, 12)[content[2] >> 5 & 3])
        elif kind == b"hvcC" and len(content) >= 19:  # ISO/IEC 14496-15, section 8.3.3.1
            depths += [8 + (content[17] & 7), 8 + (content[18] & 7)]
        elif kind == b"pixi":
            depths += content[5:]
    return max(depths)


def _is_grey(item: Item) -> bool:
    for kind, content in item.properties:
        if kind == b"av1C" and len(content) >= 3:
            return bool(content[2] & 0x10)
        if kind == b"hvcC" and len(content) >= 17:
            return content[16] & 3 == 0
    return False
