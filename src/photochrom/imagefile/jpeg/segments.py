"""Segments of a JPEG (ISO/IEC 10918-1, annex B), also of one with wrong lengths of segments."""

import re
import struct
from collections.abc import Iterator

APP0 = 0xE0
COM = 0xFE
APP14 = 0xEE
METADATA_MARKERS = {COM, *range(0xE0, 0xF0)} - {APP14}
"""Comments and application segments, without Adobe's, which names the colour transform."""
MAX_CONTENT = 65533
"""Bytes of one segment."""

_RESYNCHRONIZED = METADATA_MARKERS | {APP14}
_SOI, _EOI, _SOS, _FILL = 0xD8, 0xD9, 0xDA, 0xFF
_NO_SEGMENTS = {_FILL, *range(0xD0, 0xDA)}
_BETWEEN_SCANS = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, _SOS, COM, *range(0xE0, 0xF0)}
_AFTER_ENTROPY_CODED = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_POSSIBLE_SEGMENT = re.compile(rb"\xff(?:\xd8\xff|[\xc0-\xcf\xda-\xfe])")


def iterate_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and bytes (marker, length, content) of each segment.

    The last item is the rest of the file: from the start of the scan on (marker 0xDA), or from
    where the data are damaged (0). Segments that are damaged are not intact (`is_intact`).
    """
    for marker, start, end in locate_segments(data):
        yield marker, data[start:end]


def locate_segments(data: bytes, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the segments of the image that starts at `start`.

    As `iterate_segments`. A segment of metadata, or Adobe's, whose length leads to no further one
    ends where the next ones start.
    """
    position = start + 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        if marker == _SOS or not _can_have_segment(marker):
            break
        end = following = position + 2 + _length_at(data, position)
        if marker in _RESYNCHRONIZED and not _is_boundary(data, end):
            found = _find_segments(data, position + 4)
            if found is not None:
                is_padded = end <= found and not data[end:found].strip(b"\0\xff")
                end, following = end if is_padded else found, found
        yield marker, position, min(end, len(data))
        position = following
    is_scan = data[position : position + 2] == b"\xff\xda"
    yield _SOS if is_scan else 0, min(position, len(data)), len(data)


def is_intact(segment: bytes) -> bool:
    """Tell whether a segment has the length that it claims."""
    return len(segment) >= 4 and len(segment) == 2 + _length_at(segment, 0)


def make_segment(marker: int, content: bytes) -> bytes:
    """Return the bytes of a segment; `content` has at most `MAX_CONTENT`."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def describe_segment(segment: bytes) -> str:
    """Return a name of a segment to a reader, such as `APP12 (Ducky)`."""
    identifier = re.match(rb"[ -~]{2,40}", segment[4:])
    name = f"APP{segment[1] - APP0}"
    return name if identifier is None else f"{name} ({identifier[0].decode()})"


def find_image_end(data: bytes, start: int = 0) -> int:
    """Return where the image that starts at `start` ends, behind its EOI or at the end of `data`.

    Only the markers of its scans are read.
    """
    *_, (marker, position, _) = locate_segments(data, start)
    if marker != _SOS:
        return len(data)
    while match := _AFTER_ENTROPY_CODED.search(data, position):
        position = match.end()
        marker = data[position - 1]
        if marker == _EOI:
            return position
        if marker == _SOI:  # another image: this one is cut off
            return match.start()
        if marker in _BETWEEN_SCANS:
            position += _length_at(data, match.start())
    return len(data)


def _can_have_segment(marker: int) -> bool:
    return marker >= 0xC0 and marker not in _NO_SEGMENTS


def _length_at(data: bytes, position: int) -> int:
    """Return the length that a segment claims, which includes itself but not the marker."""
    return int.from_bytes(data[position + 2 : position + 4])


def _is_boundary(data: bytes, position: int) -> bool:
    """Tell whether a segment can end here."""
    if data[position : position + 1] != b"\xff" or position + 1 == len(data):
        return False
    return _can_have_segment(data[position + 1]) or data[position + 1] in (_FILL, _EOI)


def _find_segments(data: bytes, start: int) -> int | None:
    """Return where the next segments start, passing over images such as thumbnails."""
    limit = start + 2 * MAX_CONTENT
    while match := _POSSIBLE_SEGMENT.search(data, start, limit):
        if match.group() == b"\xff\xd8\xff":
            end = data.find(b"\xff\xd9", match.end(), limit)
            start = end + 2 if end >= 0 else match.end()
        elif _starts_segments(data, match.start()):
            return match.start()
        else:
            start = match.start() + 1
    return None


def _starts_segments(data: bytes, position: int) -> bool:
    """Tell whether three segments follow each other, or up to the start of a scan."""
    for _ in range(3):
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 4 > len(data) or data[position] != 0xFF:
            return False
        marker, length = data[position + 1], _length_at(data, position)
        if marker == _SOS:
            return length == 6 + 2 * data[position + 4 : position + 5].ljust(1, b"\0")[0]
        if not _can_have_segment(marker) or length < 2:
            return False
        position += 2 + length
    return True
