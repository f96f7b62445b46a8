"""PNG chunks, and the metadata in them."""

import struct
import zlib
from collections.abc import Iterator

from photochrom.imagefile import exif
from photochrom.imagefile.metadata import PNG_COLOR_CHUNKS, Metadata, convert_density

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IMAGE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_KEPT_CHUNKS = (*PNG_COLOR_CHUNKS, b"tEXt", b"zTXt", b"iTXt", b"tIME")
_XMP = b"XML:com.adobe.xmp\0"
_COMMENT = b"Comment\0"
_MAX_INFLATED = 1 << 26
"""Bytes of a compressed profile or packet."""


def iterate_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes (length, name, content, checksum) of each chunk, the last maybe cut."""
    start = len(_SIGNATURE)
    while start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        yield name, data[start : start + length + 12]
        start += length + 12


def make_chunk(name: bytes, content: bytes) -> bytes:
    """Return the bytes of a chunk."""
    return struct.pack(">I", len(content)) + name + content + zlib.crc32(name + content).to_bytes(4)


def is_grey(data: bytes) -> bool:
    """Tell whether a PNG is grey, with alpha or without, by its colour type."""
    return not data[25] & 2


def strip_metadata(data: bytes) -> bytes:
    """Return a PNG without metadata but intact EXIF."""
    chunks = [
        chunk
        for name, chunk in iterate_chunks(data)
        if name in _IMAGE_CHUNKS or (name == b"eXIf" and _is_intact(chunk))
    ]
    return b"".join([_SIGNATURE, *chunks])


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a PNG; chunks with a wrong checksum are ignored."""
    block = packet = icc = density = None
    comments: list[str] = []
    others: list[bytes] = []
    for name, chunk in iterate_chunks(data):
        content = chunk[8:-4]
        if name in _IMAGE_CHUNKS or not _is_intact(chunk):
            continue
        if name == b"eXIf":
            content = content.removeprefix(exif.PREFIX)
            if block is None and exif.is_valid(content):
                block = content
        elif name == b"iCCP":
            icc = icc or _inflate(content.partition(b"\0")[2][1:])
        elif name == b"pHYs" and len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            if x and y and unit < 2:
                density = (x, y, "m" if unit else "")
        elif name == b"iTXt" and content.startswith(_XMP):
            packet = packet or _read_international(content)[1]
        elif (comment := _read_comment(name, content)) is not None:
            comments.append(comment)
        elif name in _KEPT_CHUNKS or (name[0] & name[3] & 0x20 and name != b"pHYs"):
            others.append(chunk)  # ancillary and safe to copy
    return Metadata(
        block,
        packet,
        icc,
        density=density,
        comments=tuple(comments),
        png_chunks=tuple(others),
    )


def write_metadata(data: bytes, metadata: Metadata) -> bytes:
    """Return a PNG with its metadata replaced."""
    added: list[bytes] = []
    icc, density = metadata.icc, convert_density(metadata.density, "m", 2**31 - 1)
    if icc is not None:
        added.append(make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if density is not None:
        x, y, unit = density
        added.append(make_chunk(b"pHYs", struct.pack(">IIB", x, y, unit == "m")))
    if metadata.exif is not None:
        added.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        added.append(make_chunk(b"iTXt", _XMP + bytes(4) + metadata.xmp))
    added += filter(None, map(_make_comment, metadata.comments))
    # A PNG must not have both sRGB and iCCP.
    added += [c for c in metadata.png_chunks if icc is None or c[4:8] != b"sRGB"]
    header, *image = (chunk for name, chunk in iterate_chunks(data) if name in _IMAGE_CHUNKS)
    return b"".join([_SIGNATURE, header, *added, *image])


def _is_intact(chunk: bytes) -> bool:
    """Tell whether a chunk is complete and has the right checksum."""
    length = int.from_bytes(chunk[:4])
    return len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _inflate(data: bytes) -> bytes | None:
    """Decompress; None if the data are damaged, empty or too long."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, _MAX_INFLATED)
    except zlib.error:
        return None
    return inflated if stream.eof and inflated else None


def _read_international(content: bytes) -> tuple[bytes, bytes | None]:
    """Return language and translated keyword, and text, of an `iTXt`; None if it is damaged."""
    _, _, rest = content.partition(b"\0")
    language, translated, text, *_ = *rest[2:].split(b"\0", 2), b"", b"", b""
    return language + translated, (_inflate(text) if rest[:1] == b"\1" else text) or None


def _read_comment(name: bytes, content: bytes) -> str | None:
    """Return the text of a chunk of the keyword `Comment`, None of others."""
    if not content.startswith(_COMMENT):
        return None
    text = content[len(_COMMENT) :]
    if name == b"tEXt":
        return text.decode("latin-1")
    if name == b"zTXt":
        inflated = _inflate(text[1:])
        return None if inflated is None else inflated.decode("latin-1")
    if name == b"iTXt":
        language, packet = _read_international(content)
        return None if packet is None or language else packet.decode(errors="replace")
    return None


def _make_comment(comment: str) -> bytes:
    """Return a text chunk of the keyword `Comment`, empty for a comment without text."""
    data = comment.rstrip("\0").replace("\0", " ").encode(errors="surrogateescape")
    try:
        text = data.decode()
    except UnicodeDecodeError:  # of a JPEG that has no UTF-8
        text = data.decode("latin-1")
    if not text:
        return b""
    try:
        return make_chunk(b"tEXt", _COMMENT + text.encode("latin-1"))
    except UnicodeEncodeError:
        return make_chunk(b"iTXt", _COMMENT + bytes(4) + text.encode())
