"""What lies behind the end of a JPEG's image: further images, a video, trailers of programs.

Trailers are found from the end of the file, as exiftool does. They are kept byte for byte if
nothing in them counts from the start of the file.
"""

import json
import re
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from photochrom.imagefile.jpeg.segments import find_image_end
from photochrom.imagefile.xmp.container import GAIN_MAP_NAMESPACES

ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496"

_PADDING = b"\0\xff \r\n"
_PADDING_RUN = re.compile(rb"(?:[\0 \r\n]|\xff(?!\xd8))*")
_HEADER_SIZE = 1 << 16  # of a gain map
_MIE_END = (
    rb"(?s)~\0\x04\0zmie~\0\0"
    rb"(?:\x06(?P<short>.{4})[\x10\x18]\x04|\x0a(?P<long>.{8})[\x10\x18]\x08)\Z"
)
_VIVO_END = b"\xff\xff\xff\xff\x1b*9HWfu\x84\x93\xa2\xb1"
_PHOTO_MECHANIC_CROPS = {*range(209, 215), *range(216, 221), *range(236, 240)}


@dataclass(frozen=True)
class Trailers:
    """What lies behind an image."""

    kept: bytes = b""
    """To be written behind the end of another image."""
    iptc: bytes | None = None
    """IPTC records of a trailer."""
    iptc_is_kept: bool = True
    """Whether `kept` has them too."""
    has_images: bool = False
    """Whether further images are dropped."""
    has_video: bool = False
    """Whether a video is dropped."""
    dropped: tuple[str, ...] = ()
    """Phrases."""


@dataclass(frozen=True)
class _Part:
    """A trailer, or a part of one."""

    start: int
    kept: bytes
    iptc: bytes | None = None
    has_images: bool = False
    has_video: bool = False
    dropped: tuple[str, ...] = ()


def read_trailers(
    data: bytes, start: int, *, previews: Collection[int] = (), is_turned: bool = False
) -> Trailers:
    """Read what follows the image that ends at `start`.

    Args:
        data: The file.
        start: From `find_image_end`.
        previews: Where images start that show the photo smaller.
        is_turned: Whether the photo is turned, to which crops do not fit then.
    """
    parts: list[_Part] = []
    end = len(data)
    while end > start:
        part = _read_last(data, start, end, is_turned=is_turned)
        if part is None:
            stripped = start + len(data[start:end].rstrip(_PADDING)) if end == len(data) else end
            part = _read_last(data, start, stripped, is_turned=is_turned)
        if part is None:
            break
        parts.insert(0, part)
        end = part.start
    behind = b"".join(part.kept for part in parts)
    # The positions of a video count from the end of the file.
    front = _read_front(data, start, end, previews, keeps_video=data[end:] == behind)
    iptc = next((part.iptc for part in parts if part.iptc), None)
    return Trailers(
        front.kept + behind,
        iptc,
        any(part.iptc == iptc and part.kept for part in parts),
        front.has_images,
        front.has_video,
        (*front.dropped, *(phrase for part in parts for phrase in part.dropped)),
    )


def find_program(data: bytes) -> str | None:
    """Return whose trailer a file of any format ends with; None: there is none, or of others."""
    if data.endswith(b"cbipcbbl"):
        return "Photo Mechanic"
    if data.endswith(b"\xa1\xb2\xc3\xd4"):
        return "FotoStation"
    if data[-12:-8] in (b"AXS!", b"AXS*"):
        return "AFCP"
    if b"CANON OPTIONAL DATA\0" in (data[-64:-44], data[-20:]):
        return "Canon's DPP"
    return "MIE" if re.search(_MIE_END, data[-32:]) else None


def _read_last(data: bytes, start: int, end: int, *, is_turned: bool) -> _Part | None:
    """Read the trailer that ends at `end`."""
    if end - start < 12:
        return None
    for read in _READERS:
        try:
            part = read(data, start, end, is_turned)
        except (struct.error, IndexError, KeyError, TypeError, ValueError):  # it is damaged
            continue
        if part is not None and start <= part.start < end:
            return part
    return None


def _read_front(
    data: bytes, start: int, end: int, previews: Collection[int], *, keeps_video: bool
) -> _Part:
    """Read images and a video that follow each other. A video reaches up to the trailers."""
    gain_maps = pictures = 0
    while start < end:
        if not data.startswith(b"ftyp", start + 4):
            start = _skip_padding(data, start, end)
        if data.startswith(b"\xff\xd8\xff", start):
            stop = min(find_image_end(data, start), end)
            if _is_gain_map(data[start : min(stop, start + _HEADER_SIZE)]):
                gain_maps += 1
            elif start not in previews:
                pictures += 1
            start = stop
        else:
            break
    dropped = []
    if gain_maps:
        dropped.append("the gain map is dropped")
    if pictures:
        which = "a further picture" if pictures == 1 else f"{pictures} further pictures"
        dropped.append(f"{which} behind the image {'is' if pictures == 1 else 'are'} dropped")
    is_video = data.startswith(b"ftyp", start + 4)
    kept = data[start:end] if is_video and keeps_video else b""
    if is_video and not kept:
        dropped.append("the video behind the image is dropped")
    elif not kept and (unknown := len(data[start:end].rstrip(_PADDING))):
        what = "1 byte" if unknown == 1 else f"{unknown} bytes"
        verb = "is" if unknown == 1 else "are"
        dropped.append(f"{what} behind the end of the image {verb} dropped")
    return _Part(
        start,
        kept,
        has_images=gain_maps + pictures > 0,
        has_video=is_video and not kept,
        dropped=tuple(dropped),
    )


def _skip_padding(data: bytes, start: int, end: int) -> int:
    """Return where padding ends; the size of a video starts with zeros as well."""
    match = _PADDING_RUN.match(data, start, end)
    stop = match.end() if match else start
    behind = (stop - count for count in (3, 2, 1) if stop - count >= start)
    return next((at for at in behind if data.startswith(b"ftyp", at + 4)), stop)


def _is_gain_map(header: bytes) -> bool:
    return any(name in header for name in (ISO_GAIN_MAP, *GAIN_MAP_NAMESPACES))


def _read_afcp(data: bytes, start: int, end: int, _is_turned: bool) -> _Part | None:
    """AXS File Concatenation Protocol: IPTC, text and previews, at offsets from the file's start.

    The offsets may be wrong by as much as that of the trailer itself.
    """
    signature = data[end - 12 : end - 8]
    if signature not in (b"AXS!", b"AXS*"):
        return None
    order = ">" if signature == b"AXS!" else "<"
    (claimed,) = struct.unpack_from(order + "I", data, end - 8)
    is_right = start <= claimed and data.startswith(signature, claimed)
    first = claimed if is_right else data.find(signature, start, end - 12)
    (count,) = struct.unpack_from(order + "H", data, first + 6)
    iptc, dropped = None, []
    for number in range(count):
        tag, size, offset = struct.unpack_from(order + "4sII", data, first + 12 + 12 * number)
        position = offset - claimed + first
        content = data[position : position + size] if position > first else b""
        if tag == b"IPTC":
            iptc = content or None
        elif tag not in (b"Nail", b"PrVw"):  # pictures of the photo before
            name = tag.decode("ascii", "replace").strip()
            dropped.append(f"{name} of the AFCP trailer is dropped")
    return _Part(first, b"", iptc, dropped=tuple(dropped))


def _read_foto_station(data: bytes, start: int, end: int, is_turned: bool) -> _Part | None:
    """FotoWare FotoStation: records, each followed by its tag and size."""
    tag, size, signature = struct.unpack_from(">HII", data, end - 10)
    if signature != 0xA1B2C3D4 or size < 10:
        return None
    record = data[end - size : end]
    if tag in (3, 4):  # pictures of the photo before
        return _Part(end - size, b"")
    if tag == 2 and is_turned:
        return _Part(end - size, b"", dropped=("the crop of FotoStation is dropped",))
    return _Part(end - size, record, record[:-10] or None if tag == 1 else None)


def _read_photo_mechanic(data: bytes, start: int, end: int, is_turned: bool) -> _Part | None:
    """Photo Mechanic: records as of IPTC, classes and crops."""
    if data[end - 8 : end] != b"cbipcbbl":
        return None
    (size,) = struct.unpack_from(">I", data, end - 12)
    first = end - 12 - size
    records = data[first : end - 12]
    if not is_turned or first < start:
        return _Part(first, data[first:end])
    kept, position = [], 0
    while records[position : position + 1] == b"\x1c":
        length = 5 + int.from_bytes(records[position + 3 : position + 5])
        if records[position + 2] not in _PHOTO_MECHANIC_CROPS:
            kept.append(records[position : position + length])
        position += length
    records = b"".join(kept).ljust(size, b"\0")
    dropped = ("the crop of Photo Mechanic is dropped",)
    return _Part(first, records + data[end - 12 : end], dropped=dropped)


def _read_samsung(data: bytes, start: int, end: int, _is_turned: bool) -> _Part | None:
    """Samsung: sound, video and others, at offsets from the directory between SEFH and SEFT.

    QDIO, with the offset of the sound from the start of the file, is left out.
    """
    stop = end - 30 if data[end - 6 : end] == b"QDIOBS" else end
    if data[stop - 4 : stop] != b"SEFT":
        return None
    (length,) = struct.unpack_from("<I", data, stop - 8)
    directory = stop - 8 - length
    if not data.startswith(b"SEFH", max(0, directory)):
        return None
    (count,) = struct.unpack_from("<I", data, directory + 8)
    if 12 + 12 * count > length:
        return None
    first = directory - max(
        struct.unpack_from("<I", data, directory + 16 + 12 * number)[0] for number in range(count)
    )
    return _Part(first, data[first:stop])


def _read_mie(data: bytes, start: int, end: int, _is_turned: bool) -> _Part | None:
    """MIE of exiftool: groups of metadata."""
    match = re.search(_MIE_END, data[max(start, end - 32) : end])
    if match is None:
        return None
    order = "little" if data[end - 2] == 0x18 else "big"
    first = end - int.from_bytes(match["short"] or match["long"], order)  # type: ignore[arg-type]
    return _Part(first, data[first:end])


def _read_vivo(data: bytes, start: int, end: int, _is_turned: bool) -> _Part | None:
    """Vivo: an HDR image of the photo before, and JSON."""
    if not data.endswith(_VIVO_END, start, end):
        return None
    first = data.find(b'vivo{"', start, end)
    image = data.find(b"streamdata", start, end if first < 0 else first)
    if image < 0:
        return _Part(first, data[first:end]) if first >= 0 else None
    kept = data[first:end] if first >= 0 else b""
    return _Part(image, kept, dropped=("the HDR image of Vivo is dropped",))


def _read_oneplus(data: bytes, start: int, end: int, _is_turned: bool) -> _Part | None:
    """OnePlus: contents at offsets from JSON about them."""
    if data[end - 8 : end - 4] != b"jxrs" or data[end - 1]:
        return None
    size = int.from_bytes(data[end - 4 : end], "little")
    entries = json.loads(data[end - size : end - 8].rstrip(b"\0"))
    first = end - size - max((int(entry["offset"]) for entry in entries), default=0)
    return _Part(first, data[first:end])


def _read_sized(
    magic: bytes, name: str, footer: int, format_: str, added: int = 0
) -> Callable[[bytes, int, int, bool], _Part | None]:
    """Return a reader of trailers whose footer has a signature and the size.

    Args:
        magic: At the start of the footer, or else at the end of the file.
        name: Of edits that do not fit a turned photo; empty: others.
        footer: Bytes of it, up to the end.
        format_: Of the size, with the bytes before it in the footer.
        added: To the size, for that of the trailer.
    """

    def read(data: bytes, start: int, end: int, is_turned: bool) -> _Part | None:
        if end - footer < start or magic not in (
            data[end - footer :][: len(magic)],
            data[end - len(magic) : end],
        ):
            return None
        first = end - struct.unpack_from(format_, data, end - footer)[0] - added
        if is_turned and name:
            return _Part(first, b"", dropped=(f"{name} are dropped",))
        return _Part(first, data[first:end])

    return read


_READERS: Sequence[Callable[[bytes, int, int, bool], _Part | None]] = (
    _read_afcp,
    _read_foto_station,
    _read_photo_mechanic,
    _read_samsung,
    _read_mie,
    _read_vivo,
    _read_oneplus,
    _read_sized(b"CANON OPTIONAL DATA\0", "the edits of Canon's DPP", 64, ">20xI", 0x5C),
    _read_sized(b"\0\0\0\0\0\0/NIKON APP", "the edits of NX MobileAir", 20, ">I"),
    _read_sized(b"8db42d694ccc418790edff439fe026bf", "", 78, "<38xI"),  # Insta360
)
