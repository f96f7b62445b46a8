"""Boxes of JPEG 2000, JPEG XL, AVIF and HEIF files."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from photochrom.imagefile.codecs.boxes import find_box
from photochrom.imagefile.codecs.heif_items import parse_meta


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return a box."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def jp2(codestream: bytes, *header: bytes, after: bytes = b"") -> bytes:
    """Return a JP2 file.

    Args:
        codestream: A JPEG 2000 codestream.
        header: Boxes in jp2h, after ihdr.
        after: Boxes between jp2h and the codestream.
    """
    width, height = struct.unpack_from(">2I", codestream, 8)
    (count,) = struct.unpack_from(">H", codestream, 40)
    ihdr = box(b"ihdr", struct.pack(">2IH4B", height, width, count, codestream[42], 7, 0, 0))
    return b"".join(
        [
            box(b"jP  ", b"\r\n\x87\n"),
            box(b"ftyp", b"jp2 \0\0\0\0jp2 "),
            box(b"jp2h", ihdr, *header),
            after,
            box(b"jp2c", codestream),
        ]
    )


def enumerated(number: int) -> bytes:
    """Return a colr box of JPEG 2000."""
    return box(b"colr", b"\1\0\0", struct.pack(">I", number))


def profiled(icc: bytes) -> bytes:
    """Return a colr box of JPEG 2000."""
    return box(b"colr", b"\2\0\0", icc)


def channel_definitions(*definitions: tuple[int, int, int]) -> bytes:
    """Return a cdef box: channels, kinds (0 colour, 1 opacity, 2 premultiplied) and colours."""
    return box(
        b"cdef",
        struct.pack(">H", len(definitions)),
        *(struct.pack(">3H", *definition) for definition in definitions),
    )


@dataclass(frozen=True)
class HeifItem:
    """An item of a HEIF file that is added to its primary image."""

    kind: bytes
    content: bytes = b""
    content_type: bytes = b""
    reference: bytes = b""
    """The kind of its reference to the primary image."""
    properties: tuple[bytes, ...] = ()


def heif(data: bytes, *properties: bytes, items: Sequence[HeifItem] = ()) -> bytes:
    """Return an AVIF or HEIC with further properties of its primary image, and further items.

    `colr` replaces that of the file. A thumbnail, alpha or metadata of the file are left out.
    """
    parsed = parse_meta(find_box(data, b"meta") or b"")
    primary = parsed.items[parsed.primary]
    replaces_color = any(added[4:8] == b"colr" for added in properties)
    own = [box(*p) for p in primary.properties if p[0] != b"colr" or not replaces_color]
    image = HeifItem(primary.kind, parsed.read(primary, data), properties=(*own, *properties))
    entries = list(enumerate([image, *items], 1))
    every = [added for _, item in entries for added in item.properties]
    associations, first = b"", 1
    for number, item in entries:
        associations += struct.pack(">HB", number, len(item.properties))
        for index, added in enumerate(item.properties, first):
            is_essential = added[4:8] in (b"clap", b"irot", b"imir", b"av1C")
            associations += bytes([index | is_essential << 7])
        first += len(item.properties)
    infos = [
        box(
            *(b"infe", b"\2\0\0\0", struct.pack(">HH", number, 0), item.kind, b"\0"),
            item.content_type + b"\0" if item.kind == b"mime" else b"",
        )
        for number, item in entries
    ]
    references = [
        box(item.reference, struct.pack(">3H", number, 1, 1))
        for number, item in entries
        if item.reference
    ]

    def meta(offset: int) -> bytes:
        locations = b""
        for number, item in entries:
            length = len(item.content)
            locations += struct.pack(">3H2I", number, 0, 1, offset, length)
            offset += length
        count = struct.pack(">H", len(entries))
        return box(
            b"meta",
            bytes(4),
            box(b"hdlr", bytes(8), b"pict", bytes(13)),
            box(b"pitm", bytes(4), b"\0\1"),
            box(b"iloc", bytes(4), b"\x44\0", count, locations),
            box(b"iinf", bytes(4), count, *infos),
            *([box(b"iref", bytes(4), *references)] if references else []),
            box(
                b"iprp",
                box(b"ipco", *every),
                box(b"ipma", bytes(4), struct.pack(">I", len(entries)), associations),
            ),
        )

    start = box(b"ftyp", find_box(data, b"ftyp") or b"")
    contents = b"".join(item.content for _, item in entries)
    offset = len(start) + len(meta(0)) + 8
    return start + meta(offset) + box(b"mdat", contents)


def nclx(primaries: int, transfer: int, matrix: int) -> bytes:
    """Return a colr box of code points, in full range."""
    return box(b"colr", b"nclx", struct.pack(">3HB", primaries, transfer, matrix, 0x80))
