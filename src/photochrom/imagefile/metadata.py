"""What a file says besides its pixels: read, kept, set right, and written again.

What is not set right stays as it is, byte for byte. What is broken is left out, and never stops a
picture that is whole.
"""

import dataclasses
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from photochrom.errors import PhotoError
from photochrom.imagefile import xmp
from photochrom.imagefile.containers import (
    JPEG_DESCRIPTIVE,
    PNG,
    PNG_PICTURE,
    Directory,
    Field,
    Tiff,
    TiffError,
    jpeg_segment,
    jpeg_segments,
    png_chunk,
    png_chunks,
    png_intact,
)

# Tags of EXIF.
_ORIENTATION = 0x0112
_EXIF = 0x8769
_WIDTH_AND_HEIGHT = ((0x0100, 0x0101), (0x011A, 0x011B))  # in px; in px an inch
_EXIF_WIDTH, _EXIF_HEIGHT = 0xA002, 0xA003

# How segments of a JPEG begin.
_JPEG_EXIF = b"Exif\0\0"
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_ICC = b"ICC_PROFILE\0"
_JPEG_PHOTOSHOP = b"Photoshop 3.0\0"
_JFIF = b"JFIF\0"
_NOT_OWN = {
    0xE0: (_JFIF, b"JFXX\0", b"AVI1"),
    0xE1: (b"Exif\0", _JPEG_XMP),
    0xE2: (_JPEG_ICC, b"MPF\0", b"urn:iso:std:iso:ts:21496"),  # other pictures in the file
    0xE8: (b"SPIFF\0",),
    0xEB: (b"",),  # JPEG XT's layers, signatures of the pixels as they were
    0xED: (_JPEG_PHOTOSHOP,),
}
"""By marker: what is read apart, or would be wrong of other pixels. All else is a JPEG's own."""
_SEGMENT = 65533
"""Bytes that a segment of a JPEG holds."""
_XMP_SEGMENT = 65502
"""Bytes of XMP that one holds, by Adobe's specification."""

_PNG_XMP = b"XML:com.adobe.xmp\0"
_PNG_COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_PNG_OWN = (*_PNG_COLOUR, b"tEXt", b"zTXt", b"iTXt", b"tIME")
_INFLATED = 1 << 26
"""Bytes that a compressed profile or packet may have."""

_JPEG_UNITS = ("", "inch", "cm")
_METRES = {"m": 1.0, "cm": 0.01, "inch": 0.0254}
_IPTC = 0x0404
_THUMBNAILS = (0x0409, 0x040C)


@dataclass(frozen=True)
class Metadata:
    """What a photo's file says besides its pixels; nothing by default."""

    exif: bytes | None = None
    """A TIFF block, as it lies in a JPEG after `Exif\\0\\0`."""
    xmp: bytes | None = None
    """An XMP packet."""
    icc: bytes | None = None
    """The colour profile of the pixels; None where they are sRGB without saying so."""
    photoshop: bytes | None = None
    """Image resource blocks (`8BIM`...), in which a JPEG has its IPTC."""
    iptc: bytes | None = None
    """IPTC records (IIM) as a TIFF has them."""
    density: tuple[float, float, str] | None = None
    """Pixels across and down for each `inch`, `cm` or `m`, or, with ``, their ratio alone."""
    own: tuple[bytes, ...] = ()
    """Segments of a JPEG or chunks of a PNG that only a file of that format can hold.

    Which of them is seen by the first byte: 0xFF of a segment, less than 0x80 of a chunk.
    """

    @property
    def orientation(self) -> int | None:
        """The turn that EXIF asks for, or else XMP: 1 (none) to 8; None: nothing that counts."""
        block = _block(self.exif)
        if block is not None:
            tiff, directory = block
            field = directory.fields.get(_ORIENTATION)
            if _is_orientation(tiff, field):
                return tiff.numbers(field)[0]
        return xmp.orientation(self.xmp or b"")

    def upright(self, *, swap: bool) -> "Metadata":
        """Return what is true once the pixels are turned as `orientation` asks, or need no turn.

        Everything keeps its place in EXIF. Thumbnails, which show the photo as it was, are not
        kept: EXIF's is unlinked.

        Args:
            swap: Whether the turn swaps width and height.
        """
        density, photoshop = self.density, self.photoshop
        if density is not None and swap:
            density = (density[1], density[0], density[2])
        if photoshop is not None:
            blocks = (
                whole for number, whole, _ in _resources(photoshop) if number not in _THUMBNAILS
            )
            photoshop = b"".join(blocks) or None
        return dataclasses.replace(
            self,
            exif=_upright(self.exif, swap) if self.exif else None,
            xmp=xmp.upright(self.xmp) if self.xmp else None,
            density=density,
            photoshop=photoshop,
        )

    def with_profile(self, icc: bytes | None) -> "Metadata":
        """Return the same with another colour profile, without what a PNG says of colours."""
        own = tuple(part for part in self.own if _chunk_name(part) not in _PNG_COLOUR)
        return dataclasses.replace(self, icc=icc, own=own)

    @property
    def mark(self) -> str | None:
        """What `marked` said, None if the photo has no such mark."""
        return xmp.mark(self.xmp or b"")

    def with_mark(self, text: str) -> "Metadata":
        """Return the same with a line in XMP that says that colours were added.

        Args:
            text: What to say; characters that XML cannot hold are left out.
        """
        return dataclasses.replace(self, xmp=xmp.marked(self.xmp or b"", text))


def read_jpeg(data: bytes) -> Metadata:
    """Read what a JPEG says; of several pictures in the file, the first."""
    exif = packet = density = None
    profile: dict[bytes, bytes] = {}
    photoshop: list[bytes] = []
    own: list[bytes] = []
    for marker, segment in jpeg_segments(data):
        content = segment[4:]
        if marker not in JPEG_DESCRIPTIVE or len(content) + 2 != int.from_bytes(segment[2:4]):
            continue
        if marker == 0xE0 and content.startswith(_JFIF) and len(content) > 11:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            # One to one is what a JPEG says that has nothing to say.
            if unit < len(_JPEG_UNITS) and x and y and (unit, x, y) != (0, 1, 1):
                density = (x, y, _JPEG_UNITS[unit])
        elif marker == 0xE1 and content.startswith(_JPEG_EXIF[:5]):
            exif = exif or _exif(content[6:])
        elif marker == 0xE1 and content.startswith(_JPEG_XMP):
            packet = packet or content[len(_JPEG_XMP) :]
        elif marker == 0xE2 and content.startswith(_JPEG_ICC):
            start = len(_JPEG_ICC) + 2
            profile.setdefault(content[start - 2 : start], content[start:])
        elif marker == 0xED and content.startswith(_JPEG_PHOTOSHOP):
            photoshop.append(content[len(_JPEG_PHOTOSHOP) :])
        elif not content.startswith(_NOT_OWN.get(marker, ())):
            own.append(segment)
    resources = b"".join(photoshop)
    iptc = next((content for number, _, content in _resources(resources) if number == _IPTC), None)
    return Metadata(
        exif,
        packet or None,
        _joined(profile) or None,
        resources or None,
        iptc or None,
        density,
        tuple(own),
    )


def read_png(data: bytes) -> Metadata:
    """Read what a PNG says; chunks with a wrong checksum say nothing."""
    exif = packet = icc = density = None
    own: list[bytes] = []
    for name, chunk in png_chunks(data):
        content = chunk[8:-4]
        if name in PNG_PICTURE or not png_intact(chunk):
            continue
        if name == b"eXIf":
            exif = exif or _exif(content.removeprefix(_JPEG_EXIF))
        elif name == b"iCCP":
            icc = icc or _inflated(content.partition(b"\0")[2][1:])
        elif name == b"pHYs" and len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            if x and y and unit < 2:
                density = (x, y, "m" if unit else "")
        elif name == b"iTXt" and content.startswith(_PNG_XMP):
            packet = packet or _png_xmp(content)
        elif name in _PNG_OWN or (name[0] & name[3] & 0x20 and name != b"pHYs"):
            own.append(chunk)  # both bits: a decoder does without, and other pixels may have it
    return Metadata(exif, packet, icc, density=density, own=tuple(own))


def from_info(info: Mapping[Any, Any]) -> Metadata:
    """Make metadata of the `info` of a picture that Pillow opened."""
    exif, packet, icc = (info.get(key) for key in ("exif", "xmp", "icc_profile"))
    if isinstance(packet, str):
        packet = packet.encode(errors="ignore")
    density = None
    try:
        x, y = map(float, info["dpi"])
        if 0.01 < min(x, y) <= max(x, y) < 100_000:  # no NaN either
            density = (x, y, "inch")
    except (KeyError, TypeError, ValueError, ArithmeticError):  # it can be anything
        pass
    return Metadata(
        _exif(exif.removeprefix(_JPEG_EXIF)) if isinstance(exif, bytes) else None,
        packet if isinstance(packet, bytes) and packet else None,
        icc if isinstance(icc, bytes) and icc else None,
        density=density,
    )


def write_jpeg(encoded: bytes, metadata: Metadata) -> bytes:
    """Return a JPEG with metadata in place of its own.

    Raises:
        PhotoError: If one of them is longer than a JPEG can hold.
    """
    jfif: list[bytes] = []
    picture: list[bytes] = []
    for marker, segment in jpeg_segments(encoded):
        if marker == 0xE0 and segment[4:].startswith(_JFIF):
            jfif = [_with_density(segment, metadata.density)]
        elif marker not in JPEG_DESCRIPTIVE:
            picture.append(segment)
    said: list[bytes] = []
    if metadata.exif is not None:
        room = _SEGMENT - len(_JPEG_EXIF)
        said.append(jpeg_segment(0xE1, _JPEG_EXIF + _fitting("EXIF", metadata.exif, room)))
    if metadata.xmp is not None:
        packet = metadata.xmp
        if len(packet) > _XMP_SEGMENT:  # it may be mostly white, for others to write in
            start, end, rest = packet.rpartition(b"<?xpacket end")
            packet = start.rstrip() + end + rest
        said.append(jpeg_segment(0xE1, _JPEG_XMP + _fitting("XMP", packet, _XMP_SEGMENT)))
    if metadata.icc is not None:
        room = _SEGMENT - len(_JPEG_ICC) - 2
        parts = _parts(_fitting("colour profile", metadata.icc, 255 * room), room)
        for number, part in enumerate(parts, 1):
            head = _JPEG_ICC + bytes((number, len(parts)))
            said.append(jpeg_segment(0xE2, head + part))
    for part in _parts(_with_iptc(metadata), _SEGMENT - len(_JPEG_PHOTOSHOP)):
        said.append(jpeg_segment(0xED, _JPEG_PHOTOSHOP + part))
    own = (part for part in metadata.own if _chunk_name(part) is None)
    return b"".join([encoded[:2], *jfif, *said, *own, *picture])


def write_png(encoded: bytes, metadata: Metadata) -> bytes:
    """Return a PNG with metadata in place of its own."""
    said: list[bytes] = []
    icc, density = metadata.icc, _whole(metadata.density, "m", 2**31 - 1)
    if icc is not None:
        said.append(png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if density is not None:
        x, y, unit = density
        said.append(png_chunk(b"pHYs", struct.pack(">IIB", x, y, unit == "m")))
    if metadata.exif is not None:
        said.append(png_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        said.append(png_chunk(b"iTXt", _PNG_XMP + bytes(4) + metadata.xmp))
    drop = (None, b"sRGB") if icc is not None else (None,)  # a PNG may not have it with a profile
    said += [part for part in metadata.own if _chunk_name(part) not in drop]
    kept = PNG_PICTURE if density is not None else (*PNG_PICTURE, b"pHYs")
    head, *rest = (chunk for name, chunk in png_chunks(encoded) if name in kept)
    return b"".join([PNG, head, *said, *rest])


def pillow_options(metadata: Metadata, format_: str) -> dict[str, Any]:
    """Return what Pillow's `save` is to be told: of JPEG, PNG and TIFF nothing, they are ours."""
    if format_ in ("WEBP", "AVIF"):
        options = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": metadata.icc}
        return {key: value for key, value in options.items() if value is not None}
    density = _whole(metadata.density, "inch", 100_000)
    return {"dpi": density[:2]} if format_ == "BMP" and density and density[2] else {}


def _block(exif: bytes | None) -> tuple[Tiff, Directory] | None:
    """Return EXIF as the TIFF that it is, and its first directory; None of what is none."""
    try:
        tiff = Tiff(BytesIO(exif or b""))
        return tiff, tiff.directory(tiff.first)
    except TiffError:
        return None


def _exif(block: bytes) -> bytes | None:
    return None if _block(block) is None else block


def _is_orientation(tiff: Tiff, field: Field | None) -> bool:
    return len(numbers := tiff.numbers(field)) == 1 and 1 <= numbers[0] <= 8


def _upright(exif: bytes, swap: bool) -> bytes:
    """Set orientation to 1, unlink the thumbnail and swap width and height, each in its place."""
    block = _block(exif)
    if block is None:
        return exif
    tiff, directory = block
    fields = directory.fields
    changed = bytearray(exif)
    turn = fields.get(_ORIENTATION)
    if turn is not None and _is_orientation(tiff, turn):
        one = (1).to_bytes(turn.size, "little") if tiff.order == "<" else (1).to_bytes(turn.size)
        changed[turn.at : turn.at + turn.size] = one
    if directory.next:
        changed[directory.link : directory.link + tiff.width] = bytes(tiff.width)
    if swap:
        pairs = [(fields.get(x), fields.get(y)) for x, y in _WIDTH_AND_HEIGHT]
        try:
            (at,) = tiff.numbers(fields.get(_EXIF))
            inner = tiff.directory(at).fields
            pairs.append((inner.get(_EXIF_WIDTH), inner.get(_EXIF_HEIGHT)))
        except ValueError:  # there is none, or it is broken
            pass
        for across, down in pairs:
            if across is not None and down is not None:
                length = 2 + 2 * tiff.width  # kind, count and values, or where they lie
                a, b = (slice(f.entry + 2, f.entry + 2 + length) for f in (across, down))
                changed[a], changed[b] = exif[b], exif[a]
    return bytes(changed)


def _resources(photoshop: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, bytes and content of image resources; what is left of broken ones as -1."""
    at = 0
    while at + 12 <= len(photoshop):
        (number, name_length) = struct.unpack_from(">HB", photoshop, at + 4)
        start = at + 6 + name_length + 2 - name_length % 2 + 4
        size = int.from_bytes(photoshop[start - 4 : start])
        end = start + size + size % 2
        if start + size > len(photoshop):
            break
        yield number, photoshop[at:end], photoshop[start : start + size]
        at = end
    yield -1, photoshop[at:], b""


def _with_iptc(metadata: Metadata) -> bytes:
    """Return the image resources of a JPEG, which have its IPTC among them."""
    resources, iptc = metadata.photoshop or b"", metadata.iptc
    if iptc is None or any(number == _IPTC for number, _, _ in _resources(resources)):
        return resources
    head = struct.pack(">4sHHI", b"8BIM", _IPTC, 0, len(iptc))
    return head + iptc + bytes(len(iptc) % 2) + resources


def _joined(profile: Mapping[bytes, bytes]) -> bytes | None:
    """Join the parts of a profile by their numbers, (own, all); None if they are not all there."""
    count = min(len(profile), 255)
    wanted = {bytes((number, count)) for number in range(1, count + 1)}
    return b"".join(profile[key] for key in sorted(profile)) if wanted == set(profile) else None


def _inflated(data: bytes) -> bytes | None:
    """Decompress; None of what is broken, or far too long."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, _INFLATED)
    except zlib.error:
        return None
    return inflated if stream.eof and inflated else None


def _png_xmp(content: bytes) -> bytes | None:
    """Return the text of an `iTXt`: after the keyword two bytes of compression, two more names."""
    packed = content[len(_PNG_XMP) :][:1] == b"\1"
    *names, text = content[len(_PNG_XMP) + 2 :].split(b"\0", 2)
    if len(names) < 2:
        return None
    return _inflated(text) if packed else text or None


def _chunk_name(part: bytes) -> bytes | None:
    """Return the name of a chunk of a PNG, None of a JPEG's segment."""
    return None if part.startswith(b"\xff") else part[4:8]


def _whole(
    density: tuple[float, float, str] | None, unit: str, largest: int
) -> tuple[int, int, str] | None:
    """Return a density in whole pixels for each `unit`, or as a ratio; None where there is none."""
    if density is None:
        return None
    x, y, given = density
    scale = _METRES[unit] / _METRES[given] if given else 1
    across, down = round(x * scale), round(y * scale)
    if min(across, down) < 1 or max(across, down) > largest:
        return None
    return across, down, unit if given else ""


def _with_density(jfif: bytes, density: tuple[float, float, str] | None) -> bytes:
    whole = _whole(density, "cm" if density and density[2] == "cm" else "inch", 65535)
    if whole is None:
        return jfif
    x, y, unit = whole
    return jfif[:11] + struct.pack(">BHH", _JPEG_UNITS.index(unit), x, y) + jfif[16:]


def _fitting(what: str, data: bytes, room: int) -> bytes:
    """Return data that fit into a JPEG.

    Raises:
        PhotoError: If they do not.
    """
    if len(data) > room:
        raise PhotoError(
            f"the photo's {what} is {len(data)} bytes long and a JPEG holds {room}; write a PNG or "
            "TIFF, or if the mark made it too long, give --no-mark"
        )
    return data


def _parts(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
