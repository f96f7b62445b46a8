"""What of a PNG or JPEG file is the picture, and what only speaks about it.

A decoder refuses a file whose colour profile or comment is broken, though the picture is whole.
"""

import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_JPEG_DROPPED = {0xFE, *range(0xE0, 0xF0)} - {0xE1, 0xEE}
"""Comments and application segments, but for EXIF (orientation) and Adobe's (colour transform)."""

_SIGNATURES = {
    "PNG": (_PNG,),
    "JPEG": (_JPEG,),
    "TIFF": (b"II*\0", b"MM\0*"),
    "BMP": (b"BM",),
}


def format_of(data: bytes) -> str | None:
    """Return the format that the first bytes of a file claim, None if it is none of ours."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    return next((name for name, starts in _SIGNATURES.items() if data.startswith(starts)), None)


def without_metadata(data: bytes) -> bytes | None:
    """Return a file without what its pixels do not need, None if it is no PNG or JPEG.

    Orientation stays, in a PNG if its checksum is right. What is cut off stays cut off.
    """
    if data.startswith(_PNG):
        return _bare_png(data)
    if data.startswith(_JPEG):
        return _bare_jpeg(data)
    return None


def _bare_png(data: bytes) -> bytes:
    """Keep the chunks of the picture: each is length, name, content and checksum."""
    kept = [_PNG]
    start = len(_PNG)
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        chunk = data[start : start + length + 12]
        right = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if name in _PNG_KEPT or (name == b"eXIf" and right):
            kept.append(chunk)
        start += length + 12
    return b"".join(kept)


def _bare_jpeg(data: bytes) -> bytes:
    """Keep the segments of the picture: each is a marker, the length with itself, and content."""
    kept = [data[:2]]
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker, length = data[start + 1], int.from_bytes(data[start + 2 : start + 4])
        if marker == 0xDA:  # from here on it is the picture
            break
        adobe_cut_off = marker == 0xEE and length < 14
        if marker not in _JPEG_DROPPED and not adobe_cut_off:
            kept.append(data[start : start + 2 + length])
        start += 2 + length
    return b"".join([*kept, data[start:]])
