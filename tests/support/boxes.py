"""Boxes of JPEG 2000, JPEG XL, AVIF and HEIF files."""

import struct


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
