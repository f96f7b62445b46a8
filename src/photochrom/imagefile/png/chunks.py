"""Chunks of a PNG: their layout, text in them, and those about pixels made right for new pixels.

Follows PNG, third edition, and its register of extensions.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from photochrom.imagefile.turning import Turn

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 3, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
"""Colour type to the channels that sBIT counts."""
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_KEPT = (*COLOR_CHUNKS, *TEXT_CHUNKS, b"tIME", b"sCAL", b"sTER")
_MAX_INFLATED = 1 << 26
"""Bytes of a compressed profile or text."""
_RAW_PROFILE = "raw profile type "
_HEX_LINE = 72


class Header(NamedTuple):
    """The chunk IHDR, and the palette."""

    width: int
    height: int
    depth: int
    color_type: int
    palette: bytes = b""


class Text(NamedTuple):
    """The content of tEXt, zTXt or iTXt."""

    keyword: str
    data: bytes
    is_utf8: bool
    """Otherwise Latin-1."""
    is_translated: bool = False
    """It names a language."""


def iterate_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes (length, name, content, checksum) of each chunk, the last maybe cut.

    What follows the chunk IEND is yielded with the name b"".
    """
    start = len(SIGNATURE)
    name = b""
    while start + 8 <= len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, start)
        yield name, data[start : start + length + 12]
        start += length + 12
    if start < len(data):
        yield b"", data[start:]


def make_chunk(name: bytes, content: bytes) -> bytes:
    """Return the bytes of a chunk."""
    return struct.pack(">I", len(content)) + name + content + zlib.crc32(name + content).to_bytes(4)


def is_intact(chunk: bytes) -> bool:
    """Tell whether a chunk is complete and has the right checksum."""
    length = int.from_bytes(chunk[:4])
    return len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def inflate(data: bytes) -> bytes | None:
    """Decompress; None if the data are damaged, empty or too long."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, _MAX_INFLATED)
    except zlib.error:
        return None
    return inflated if stream.eof and inflated else None


def read_header(data: bytes) -> Header:
    """Read IHDR, the first chunk, and the palette."""
    content = data[16:26].ljust(10, b"\0")
    width, height, depth, color_type = struct.unpack(">IIBB", content)
    palette = b""
    if color_type == _PALETTE:
        palette = next((c[8:-4] for name, c in iterate_chunks(data) if name == b"PLTE"), b"")
    return Header(width, height, depth, color_type, palette)


def read_text(chunk: bytes) -> Text | None:
    """Return the content of a text chunk, None of others and of damaged ones."""
    name, (keyword, _, rest) = chunk[4:8], chunk[8:-4].partition(b"\0")
    key = keyword.decode("latin-1")
    if name == b"tEXt":
        return Text(key, rest, is_utf8=False)
    if name == b"zTXt":
        data = inflate(rest[1:])
        return None if data is None else Text(key, data, is_utf8=False)
    if name == b"iTXt" and rest.count(b"\0", 2) >= 2:
        language, translated, text = rest[2:].split(b"\0", 2)
        data = inflate(text) if rest[:1] == b"\1" else text
        if data is not None:
            return Text(key, data, is_utf8=True, is_translated=bool(language + translated))
    return None


def make_text(keyword: str, text: str) -> bytes:
    """Return a text chunk: tEXt if the text is Latin-1, else iTXt."""
    key = keyword.encode("latin-1")
    try:
        return make_chunk(b"tEXt", key + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return make_chunk(b"iTXt", key + bytes(5) + text.encode())


def read_raw_profile(text: Text) -> tuple[str, bytes] | None:
    """Return kind and content of a profile in ImageMagick's form, None if it is none or damaged."""
    if not text.keyword.lower().startswith(_RAW_PROFILE):
        return None
    try:
        _, _, length, digits = text.data.split(b"\n", 3)
        content = bytes.fromhex(digits.decode("ascii"))
        is_whole = len(content) == int(length)
    except ValueError:
        return None
    return (text.keyword[len(_RAW_PROFILE) :].lower(), content) if is_whole else None


def make_raw_profile(kind: str, content: bytes) -> bytes:
    """Return a zTXt with a profile in ImageMagick's form: kind, length and hexadecimal digits."""
    digits = content.hex()
    lines = (digits[start : start + _HEX_LINE] for start in range(0, len(digits), _HEX_LINE))
    text = "\n".join(["", kind, f"{len(content):8}", *lines, ""])
    keyword = f"Raw profile type {kind}\0\0"
    return make_chunk(b"zTXt", keyword.encode() + zlib.compress(text.encode()))


def adapt_chunk(chunk: bytes, header: Header) -> bytes | None:
    """Return an ancillary chunk for pixels in any colours; None if it is about the old ones alone.

    sBIT gets four channels, and bKGD becomes RGB of 16 bits. `fit_chunk` makes them right for a
    file.
    """
    name, content = chunk[4:8], chunk[8:-4]
    if name in _KEPT or name[0] & name[3] & 0x20:  # ancillary and safe to copy
        return chunk
    if name == b"sBIT":
        count = _CHANNELS.get(header.color_type)
        maximum = 8 if header.color_type == _PALETTE else header.depth
        if len(content) == count and all(1 <= bits <= maximum for bits in content):
            colors = content[:3] if count >= 3 else content[:1] * 3
            alpha = content[-1:] if count in (2, 4) else b"\0"
            return make_chunk(b"sBIT", colors + alpha)
    if name == b"bKGD":
        scale = 65535 // ((1 << header.depth) - 1 or 1)
        values: tuple[int, ...] = ()
        if header.color_type == _PALETTE and len(content) == 1:
            start = 3 * content[0]
            values = tuple(257 * value for value in header.palette[start : start + 3])
        elif header.color_type != _PALETTE and len(content) in (2, 6):
            values = tuple(scale * v for v in struct.unpack(f">{len(content) // 2}H", content))
        values *= 3 if len(values) == 1 else 1
        if len(values) == 3 and max(values) <= 65535:
            return make_chunk(b"bKGD", struct.pack(">3H", *values))
    return None


def fit_chunk(chunk: bytes, header: Header) -> bytes:
    """Return a chunk from `adapt_chunk` for a file without palette."""
    name, content = chunk[4:8], chunk[8:-4]
    is_grey = header.color_type in (_GREY, _GREY_ALPHA)
    if name == b"sBIT":
        colors = bytes([max(content[:3])]) if is_grey else content[:3]
        alpha = bytes([content[3] or header.depth]) if header.color_type & 4 else b""
        return make_chunk(name, bytes(min(bits, header.depth) for bits in colors + alpha))
    if name == b"bKGD":
        values = [value >> 16 - header.depth for value in struct.unpack(">3H", content)]
        count = 1 if is_grey else 3
        return make_chunk(name, struct.pack(f">{count}H", *values[:count]))
    return chunk


def turn_chunks(chunks: Iterable[bytes], turn: Turn) -> Iterator[bytes]:
    """Yield chunks for the upright photo: width and height of a pixel are exchanged."""
    for chunk in chunks:
        if chunk[4:8] == b"sCAL" and turn.swaps_sides:
            unit, (width, _, height) = chunk[8:9], chunk[9:-4].partition(b"\0")
            chunk = make_chunk(b"sCAL", unit + height + b"\0" + width)
        yield chunk


def describe_chunks(chunks: Iterable[bytes]) -> list[str]:
    """Return names of chunks to a reader, each once: the keyword of a text, or the chunk's name."""
    texts = ((chunk, read_text(chunk)) for chunk in chunks)
    names = (
        chunk[4:8].decode("latin-1") if text is None else f'text "{text.keyword}"'
        for chunk, text in texts
    )
    return list(dict.fromkeys(names))
