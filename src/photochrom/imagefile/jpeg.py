"""JPEG segments, and the metadata in them."""

import struct
from collections.abc import Iterator, Mapping

from photochrom.errors import PhotoError
from photochrom.imagefile import exif
from photochrom.imagefile.metadata import (
    IPTC_RESOURCE,
    Density,
    Metadata,
    convert_density,
    iterate_resources,
)

_APP0, _APP1, _APP2, _APP8, _APP11, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xE8, 0xEB, 0xED, 0xEE
_SOS, _COM = 0xDA, 0xFE
_METADATA_MARKERS = {_COM, *range(0xE0, 0xF0)} - {_APP14}
"""Comments and application segments, without Adobe's, which names the colour transform."""

_JFIF = b"JFIF\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_DROPPED = {
    _APP0: (_JFIF, b"JFXX\0", b"AVI1"),
    _APP1: (exif.PREFIX[:5], _XMP),
    _APP2: (_ICC, b"MPF\0", b"urn:iso:std:iso:ts:21496"),  # further images in the file
    _APP8: (b"SPIFF\0",),
    _APP11: (b"",),  # JPEG XT layers, signatures of the original pixels
    _APP13: (_PHOTOSHOP,),
}
"""Marker to prefixes of segments that are parsed, or would be wrong with other pixels."""
_MAX_CONTENT = 65533
_MAX_XMP = 65502  # by Adobe's specification
_UNITS = ("", "inch", "cm")


def iterate_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and bytes (marker, length, content) of each segment.

    The last item is the rest of the file: from the start of the scan on (marker 0xDA), or from
    where the data are damaged (0). Any segment may be cut off.
    """
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != _SOS:
        marker, length = data[start + 1], int.from_bytes(data[start + 2 : start + 4])
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        yield marker, data[start : start + 2 + length]
        start += 2 + length
    yield _SOS if data[start : start + 2] == b"\xff\xda" else 0, data[start:]


def make_segment(marker: int, content: bytes) -> bytes:
    """Return the bytes of a segment; `content` has at most 65533."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def strip_metadata(data: bytes) -> bytes:
    """Return a JPEG without metadata but EXIF and XMP.

    With them, a JPEG that is damaged further on is still recognized as a JPEG.
    """
    segments = [
        segment
        for marker, segment in iterate_segments(data)
        if marker not in _METADATA_MARKERS - {_APP1}
        and not (marker == _APP14 and len(segment) < 16)  # cut off
    ]
    return b"".join([data[:2], *segments])


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a JPEG; of several images in the file, the first."""
    block = packet = density = None
    profile: dict[bytes, bytes] = {}
    photoshop: list[bytes] = []
    comments: list[str] = []
    others: list[bytes] = []
    for marker, segment in iterate_segments(data):
        content = segment[4:]
        if marker not in _METADATA_MARKERS or len(content) + 2 != int.from_bytes(segment[2:4]):
            continue
        if marker == _APP0 and content.startswith(_JFIF) and len(content) > 11:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            # A ratio of 1:1 is what encoders write by default.
            if unit < len(_UNITS) and x and y and (unit, x, y) != (0, 1, 1):
                density = (x, y, _UNITS[unit])
        elif marker == _APP1 and content.startswith(exif.PREFIX[:5]):
            if block is None and exif.is_valid(content[6:]):
                block = content[6:]
        elif marker == _APP1 and content.startswith(_XMP):
            packet = packet or content[len(_XMP) :]
        elif marker == _APP2 and content.startswith(_ICC):
            start = len(_ICC) + 2
            profile.setdefault(content[start - 2 : start], content[start:])
        elif marker == _APP13 and content.startswith(_PHOTOSHOP):
            photoshop.append(content[len(_PHOTOSHOP) :])
        elif marker == _COM:
            comments.append(content.decode(errors="surrogateescape"))
        elif not content.startswith(_DROPPED.get(marker, ())):
            others.append(segment)
    resources = b"".join(photoshop)
    iptc = next(
        (content for number, _, content in iterate_resources(resources) if number == IPTC_RESOURCE),
        None,
    )
    return Metadata(
        block,
        packet or None,
        _join_profile(profile) or None,
        resources or None,
        iptc or None,
        density,
        tuple(comments),
        jpeg_segments=tuple(others),
    )


def write_metadata(data: bytes, metadata: Metadata) -> bytes:
    """Return a JPEG with its metadata replaced.

    Raises:
        PhotoError: If one of them is longer than a JPEG can hold.
    """
    jfif: list[bytes] = []
    image: list[bytes] = []
    for marker, segment in iterate_segments(data):
        if marker == _APP0 and segment[4:].startswith(_JFIF):
            jfif = [_set_density(segment, metadata.density)]
        elif marker not in _METADATA_MARKERS:
            image.append(segment)
    added: list[bytes] = []
    if metadata.exif is not None:
        block = _check_length("EXIF", metadata.exif, _MAX_CONTENT - len(exif.PREFIX))
        added.append(make_segment(_APP1, exif.PREFIX + block))
    if metadata.xmp is not None:
        packet = metadata.xmp
        if len(packet) > _MAX_XMP:  # remove the padding
            start, end, rest = packet.rpartition(b"<?xpacket end")
            packet = start.rstrip() + end + rest
        added.append(make_segment(_APP1, _XMP + _check_length("XMP", packet, _MAX_XMP)))
    if metadata.icc is not None:
        size = _MAX_CONTENT - len(_ICC) - 2
        parts = _split(_check_length("colour profile", metadata.icc, 255 * size), size)
        for number, part in enumerate(parts, 1):
            added.append(make_segment(_APP2, _ICC + bytes((number, len(parts))) + part))
    for part in _split(_resources_with_iptc(metadata), _MAX_CONTENT - len(_PHOTOSHOP)):
        added.append(make_segment(_APP13, _PHOTOSHOP + part))
    added += metadata.jpeg_segments
    for comment in metadata.comments:
        parts = _split(comment.encode(errors="surrogateescape"), _MAX_CONTENT)
        added += (make_segment(_COM, part) for part in parts)
    return b"".join([data[:2], *jfif, *added, *image])


def _join_profile(parts: Mapping[bytes, bytes]) -> bytes | None:
    """Join the parts of a profile by (number, count); None if they are not complete."""
    count = min(len(parts), 255)
    expected = {bytes((number, count)) for number in range(1, count + 1)}
    return b"".join(parts[key] for key in sorted(parts)) if expected == set(parts) else None


def _resources_with_iptc(metadata: Metadata) -> bytes:
    """Return image resource blocks that contain the IPTC."""
    resources, iptc = metadata.photoshop or b"", metadata.iptc
    if iptc is None or any(number == IPTC_RESOURCE for number, *_ in iterate_resources(resources)):
        return resources
    head = struct.pack(">4sHHI", b"8BIM", IPTC_RESOURCE, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2) + resources


def _set_density(jfif: bytes, density: Density | None) -> bytes:
    converted = convert_density(density, "cm" if density and density[2] == "cm" else "inch", 65535)
    if converted is None:
        return jfif
    x, y, unit = converted
    return jfif[:11] + struct.pack(">BHH", _UNITS.index(unit), x, y) + jfif[16:]


def _check_length(what: str, data: bytes, maximum: int) -> bytes:
    """Return the data if they fit into a JPEG.

    Raises:
        PhotoError: If they do not.
    """
    if len(data) > maximum:
        raise PhotoError(
            f"the photo's {what} is {len(data)} bytes long and a JPEG holds {maximum}; write a PNG "
            "or TIFF, or if the mark made it too long, give --no-mark"
        )
    return data


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
