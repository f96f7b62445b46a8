"""Boxes, of which JPEG 2000, JPEG XL, AVIF and HEIF files consist.

Follows ISO/IEC 14496-12, section 4.2, and ISO/IEC 15444-1, section I.4.
"""

from collections.abc import Iterator
from typing import IO

UUID_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Start of the box `uuid` that has an XMP packet (XMP specification, part 3)."""


def iterate_boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box; the last one may be cut off.

    Args:
        data: Boxes one after the other.
        start: Where the first one starts.
    """
    while start + 8 <= len(data):
        kind, header, size = _read_header(data[start : start + 16])
        end = start + size if size else len(data)
        if end < start + header:
            return
        yield kind, data[start + header : end]
        start = end


def find_box(data: bytes, *kinds: bytes) -> bytes | None:
    """Return the content of the first box of a kind, or of one in it by a path of kinds."""
    content: bytes | None = data
    for kind in kinds:
        if content is None:
            return None
        content = next((found for name, found in iterate_boxes(content) if name == kind), None)
    return content


def read_box(stream: IO[bytes], kind: bytes, limit: int) -> bytes | None:
    """Return the content of a box of a file, passing over those before it without reading them.

    Args:
        stream: At the start of a box.
        kind: Of the box.
        limit: Bytes of its content that are read at most.
    """
    for _ in range(1000):
        start = stream.tell()
        first = stream.read(16)
        if len(first) < 8:
            return None
        found, header, size = _read_header(first)
        if found == kind:
            stream.seek(start + header)
            return stream.read(limit if not size else max(0, min(limit, size - header)))
        if size < header:  # damaged, or the last box
            return None
        stream.seek(start + size)
    return None


def _read_header(data: bytes) -> tuple[bytes, int, int]:
    """Return kind, length of the header, and of the box with it; 0 if it reaches to the end."""
    size = int.from_bytes(data[:4])
    if size == 1:
        return data[4:8], 16, int.from_bytes(data[8:16]) or 1
    return data[4:8], 8, size
