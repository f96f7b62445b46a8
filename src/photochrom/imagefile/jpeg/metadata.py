"""Metadata of a JPEG: what its segments hold, and what lies behind its image."""

import dataclasses
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

from photochrom.errors import PhotoError
from photochrom.imagefile import exif
from photochrom.imagefile.jpeg.segments import (
    APP14,
    COM,
    MAX_CONTENT,
    METADATA_MARKERS,
    find_image_end,
    is_intact,
    iterate_segments,
    locate_segments,
    make_segment,
)
from photochrom.imagefile.jpeg.trailers import ISO_GAIN_MAP, Trailers, read_trailers
from photochrom.imagefile.metadata import (
    DAMAGED_EXIF,
    Density,
    Metadata,
    convert_density,
)
from photochrom.imagefile.photoshop import IPTC, find_iptc, iterate_resources
from photochrom.imagefile.tiff.structure import Tiff, TiffError
from photochrom.imagefile.xmp.container import drop_contained
from photochrom.imagefile.xmp.extension import cut_extension, join_packets, split_packet

_APP0, _APP1, _APP2, _APP8, _APP11, _APP13 = 0xE0, 0xE1, 0xE2, 0xE8, 0xEB, 0xED

_JFIF = b"JFIF\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_MPF = b"MPF\0"
_SPIFF = b"SPIFF\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_KINDS = (
    (_APP0, _JFIF, "JFIF"),
    (_APP0, b"JFXX\0", "JFXX"),  # a thumbnail
    (_APP1, exif.PREFIX[:5], "EXIF"),
    (_APP1, _XMP, "XMP"),
    (_APP1, _XMP_EXTENSION, "extended XMP"),
    (_APP2, _ICC, "colour profile"),
    (_APP2, _MPF, "MPF"),
    (_APP2, ISO_GAIN_MAP, "gain map"),
    (_APP8, _SPIFF, "SPIFF"),  # size, encoding and resolution
    (_APP8, b"\0\0\0\1\xff\xd8", "end of SPIFF"),
    (_APP8, b"mrfx", "mrfx"),  # the colour transform of a JPEG-LS
    (_APP11, b"JP", "JPEG XT"),
    (_APP11, b"HDR_RI", "JPEG-HDR"),
    (_APP13, _PHOTOSHOP, "Photoshop"),
    (_APP13, b"Adobe_Photoshop2.5:", "Photoshop"),
    (COM, b"", "comment"),
)
"""Marker and start of the segments that are parsed, or would be wrong with other pixels."""
_CREDENTIALS = (b"c2pa", b"cai\0")
"""Labels of C2PA, and of its predecessor."""
_PREVIEW_MARKERS = (0xE3, 0xE4, 0xE5)
_PREVIEW_PART = 60_000
"""Bytes of a segment of a preview that goes on in the next one."""
_MAX_XMP = 65502  # by Adobe's specification
_UNITS = ("", "inch", "cm")
_TIFF_STARTS = (b"II", b"MM")
_UNUSUAL_EXIF = re.compile(rb".{0,4}exif\0\0?(?=II|MM)", re.DOTALL | re.IGNORECASE)
"""Some cameras write one zero, or garbage before; exiftool reads the same."""
_MP_ENTRIES = 0xB002


def strip_metadata(data: bytes) -> bytes:
    """Return a JPEG without metadata but EXIF and XMP.

    With them, a JPEG that is damaged further on is still recognized as a JPEG.
    """
    segments = [
        # Adobe's has 12 bytes of content, whatever it claims.
        segment if marker != APP14 or is_intact(segment) else make_segment(APP14, segment[4:16])
        for marker, segment in iterate_segments(data)
        if marker not in METADATA_MARKERS - {_APP1}
        and (marker != _APP1 or is_intact(segment))
        and (marker != APP14 or len(segment) >= 16)  # not cut off
    ]
    return b"".join([data[:2], *segments])


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a JPEG; of several images in the file, the first."""
    found = _Found()
    for marker, start, end in locate_segments(data):
        if marker in METADATA_MARKERS:
            found.add(data, marker, start, end)
    metadata = found.metadata()
    trailers = read_trailers(
        data,
        find_image_end(data),
        previews=found.previews,
        is_turned=metadata.orientation not in (None, 1),
    )
    return _with_trailers(metadata, trailers)


@dataclass
class _Found:
    """What is in the segments of a JPEG, in their order."""

    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    xmp_extension: list[bytes] = field(default_factory=list)
    profile: dict[bytes, bytes] = field(default_factory=dict)
    photoshop: list[bytes] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    boxes: dict[bytes, list[bytes]] = field(default_factory=dict)
    """Segments of JPEG XT and JUMBF by number (ISO/IEC 18477-3, section 6.2)."""
    others: list[bytes] = field(default_factory=list)
    previews: list[int] = field(default_factory=list)
    """Where in the file images start that show the photo smaller."""
    in_preview: bool = False
    """Whether the last segment is of a picture of the photo, which may go on."""
    has_jfif: bool = False
    density: Density | None = None
    warnings: list[str] = field(default_factory=list)

    def add(self, data: bytes, marker: int, start: int, end: int) -> None:
        """Add a segment. A wrong length is corrected if more segments follow."""
        content = data[start + 4 : end]
        kind, prefix = next(
            (
                (name, prefix)
                for code, prefix, name in _KINDS
                if code == marker and content.startswith(prefix)
            ),
            ("", b""),
        )
        if marker == _APP1 and (match := _UNUSUAL_EXIF.match(content)):
            kind, prefix = "EXIF", match.group()
        is_preview = marker in _PREVIEW_MARKERS and (
            content.startswith(b"\xff\xd8\xff") or (self.in_preview and not kind)
        )
        self.in_preview = is_preview and len(content) > _PREVIEW_PART
        if is_preview:
            return
        if not is_intact(data[start:end]):
            name = kind or f"APP{marker - _APP0}"
            if end == len(data) or len(content) > MAX_CONTENT:
                self.warnings.append(f"a damaged segment ({name}) is dropped")
                return
            self.warnings.append(f"the wrong length of a segment ({name}) is corrected")
        if kind == "JFIF" and len(content) > 11:
            self.has_jfif = True
            self._add_density(*struct.unpack_from(">BHH", content, 7))
        elif kind == "SPIFF" and len(content) >= 30:
            unit, y, x = struct.unpack_from(">BII", content, 21)
            if self.has_jfif:
                self.warnings.append("the header of SPIFF is dropped: there is one of JFIF")
            else:
                self._add_density(unit, x, y)
        elif kind == "EXIF":
            block = content[len(prefix) :].removeprefix(b"\0")
            if self.exif and block and not block.startswith(_TIFF_STARTS):
                self.exif[-1] += block  # of more than a segment
            else:
                self.exif.append(block)
        elif kind == "XMP":
            self.xmp.append(content[len(prefix) :])
        elif kind == "extended XMP":
            self.xmp_extension.append(content[len(prefix) :])
        elif kind == "colour profile":
            numbers, part = content[len(prefix) :][:2], content[len(prefix) + 2 :]
            self.profile.setdefault(numbers, part)
        elif kind == "MPF":
            base = start + 4 + len(prefix)
            self.previews += (base + offset for offset in _find_previews(content[len(prefix) :]))
        elif kind == "JPEG XT":
            self.boxes.setdefault(content[2:4], []).append(make_segment(marker, content))
        elif kind == "JPEG-HDR":
            self.warnings.append("the layer of JPEG-HDR is dropped")
        elif kind == "Photoshop":
            self.photoshop.append(content[len(prefix) :])
        elif kind == "comment":
            self.comments.append(content.decode(errors="surrogateescape"))
        elif not kind:
            self.others.append(make_segment(marker, content))

    def metadata(self) -> Metadata:
        """Return the metadata of all segments, with warnings of what is dropped."""
        blocks = [block for block in self.exif if exif.is_valid(block)]
        if any(block.strip(b"\0") for block in self.exif if block not in blocks):
            self.warnings.append(DAMAGED_EXIF)
        if any(block != blocks[0] for block in blocks[1:]):
            self.warnings.append("a second block of EXIF is dropped")
        packets = [packet for packet in self.xmp if packet.strip(b"\0")]
        if any(packet != packets[0] for packet in packets[1:]):
            self.warnings.append("a second packet of XMP is dropped")
        packet = packets[0] if packets else None
        if self.xmp_extension:
            packet, is_complete = join_packets(packet or b"", self.xmp_extension)
            if not is_complete:
                self.warnings.append("extended XMP is incomplete and dropped")
        profile = _join_profile(self.profile)
        if self.profile and not profile:
            self.warnings.append("the colour profile is incomplete and dropped")
        resources = b"".join(self.photoshop)
        return Metadata(
            blocks[0] if blocks else None,
            packet or None,
            profile or None,
            resources or None,
            find_iptc(resources) or None,
            self.density,
            tuple(self.comments),
            jpeg_segments=(*self.others, *self._kept_boxes()),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def _add_density(self, unit: int, x: int, y: int) -> None:
        # A ratio of 1:1 is what encoders write by default.
        if x and y and (unit, x, y) != (0, 1, 1):
            if unit < len(_UNITS):
                self.density = (x, y, _UNITS[unit])
            else:
                self.warnings.append("the resolution is dropped: its unit is unknown")

    def _kept_boxes(self) -> list[bytes]:
        """Return the segments of boxes of JUMBF that are not about the original pixels."""
        kept: list[bytes] = []
        for segments in self.boxes.values():
            first = segments[0]
            if first[16:20] != b"jumb":
                self.warnings.append("the layers of JPEG XT are dropped")
            elif any(kind in first for kind in _CREDENTIALS):
                self.warnings.append(
                    "content credentials (C2PA) are dropped: they sign the original pixels"
                )
            else:
                kept += segments
        return kept


def _with_trailers(metadata: Metadata, trailers: Trailers) -> Metadata:
    """Return metadata with the IPTC of trailers, if they have none, and the trailers kept.

    XMP does not speak of images and a video that are dropped.
    """
    warnings = [*metadata.warnings, *trailers.dropped]
    if trailers.iptc and metadata.iptc not in (None, trailers.iptc) and not trailers.iptc_is_kept:
        warnings.append("the IPTC of the AFCP trailer is dropped: the photo has other IPTC")
    packet = metadata.xmp
    if packet and (trailers.has_images or trailers.has_video):
        packet = drop_contained(packet, images=trailers.has_images, video=trailers.has_video)
    return dataclasses.replace(
        metadata,
        xmp=packet,
        iptc=metadata.iptc or trailers.iptc,
        jpeg_trailer=trailers.kept,
        warnings=tuple(warnings),
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
        elif marker not in METADATA_MARKERS:
            image.append(segment)
    added: list[bytes] = []
    if metadata.exif is not None:
        for part in _split(metadata.exif, MAX_CONTENT - len(exif.PREFIX)):
            added.append(make_segment(_APP1, exif.PREFIX + part))
    if metadata.xmp is not None:
        packet, extension = split_packet(metadata.xmp, _MAX_XMP)
        added.append(make_segment(_APP1, _XMP + _check_length("XMP", packet, _MAX_XMP)))
        for part in cut_extension(extension or b"", MAX_CONTENT - len(_XMP_EXTENSION)):
            added.append(make_segment(_APP1, _XMP_EXTENSION + part))
    if metadata.icc is not None:
        size = MAX_CONTENT - len(_ICC) - 2
        parts = _split(_check_length("colour profile", metadata.icc, 255 * size), size)
        for number, part in enumerate(parts, 1):
            added.append(make_segment(_APP2, _ICC + bytes((number, len(parts))) + part))
    for part in _split(_resources_with_iptc(metadata), MAX_CONTENT - len(_PHOTOSHOP)):
        added.append(make_segment(_APP13, _PHOTOSHOP + part))
    added += metadata.jpeg_segments
    for comment in metadata.comments:
        parts = _split(comment.encode(errors="surrogateescape"), MAX_CONTENT)
        added += (make_segment(COM, part) for part in parts)
    return b"".join([data[:2], *jfif, *added, *image, metadata.jpeg_trailer])


def _join_profile(parts: Mapping[bytes, bytes]) -> bytes | None:
    """Join the parts of a profile by (number, count); None if they are not complete.

    The profile itself begins with its size, as some programs write other numbers and counts.
    """
    joined = b"".join(parts[key] for key in sorted(parts))
    count = min(len(parts), 255)
    is_numbered = {bytes((number, count)) for number in range(1, count + 1)} == set(parts)
    return joined if is_numbered or int.from_bytes(joined[:4]) == len(joined) else None


def _find_previews(block: bytes) -> list[int]:
    """Return the offsets in an MPF block of the images of type "large thumbnail".

    They follow CIPA DC-007, section 5.2.3.3.
    """
    try:
        tiff = Tiff(BytesIO(block))
        field_ = tiff.read_directory(tiff.first_offset).fields[_MP_ENTRIES]
        entries = tiff.read(field_.offset, field_.size)
    except (TiffError, KeyError):
        return []
    numbers = struct.iter_unpack(tiff.order + "III4x", entries[: len(entries) // 16 * 16])
    return [offset for attributes, _, offset in numbers if attributes >> 16 & 0xFF == 1]


def _resources_with_iptc(metadata: Metadata) -> bytes:
    """Return image resource blocks that contain the IPTC."""
    resources, iptc = metadata.photoshop or b"", metadata.iptc
    if iptc is None or any(number == IPTC for number, *_ in iterate_resources(resources)):
        return resources
    head = struct.pack(">4sHHI", b"8BIM", IPTC, 0, len(iptc))
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
