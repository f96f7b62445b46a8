"""Metadata of a PNG: what its chunks hold."""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

from photochrom.imagefile import exif
from photochrom.imagefile.metadata import (
    Density,
    Metadata,
    clean_comment,
    convert_density,
)
from photochrom.imagefile.photoshop import IPTC, find_iptc, iterate_resources
from photochrom.imagefile.png.chunks import (
    SIGNATURE,
    TEXT_CHUNKS,
    Header,
    adapt_chunk,
    describe_chunks,
    fit_chunk,
    inflate,
    is_intact,
    iterate_chunks,
    make_chunk,
    make_raw_profile,
    make_text,
    read_header,
    read_raw_profile,
    read_text,
)
from photochrom.imagefile.xmp.tree import to_utf8

_IMAGE_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DECODER_HINTS = (b"iDOT",)
_XMP, _XMP_IN_JPEG = "XML:com.adobe.xmp", b"http://ns.adobe.com/xap/1.0/\0"
_COMMENT = "Comment"


def is_grey(data: bytes) -> bool:
    """Tell whether a PNG is grey, with alpha or without, by its colour type."""
    return not data[25] & 2


def scale_transparency(info: dict[str | tuple[int, int], Any], data: bytes) -> None:
    """Scale the transparent grey in the `info` of a Pillow image to 8 bits, as its pixels are."""
    header = read_header(data)
    if header.color_type == 0 and header.depth in (2, 4):  # Pillow leaves it as it is
        value = info.get("transparency")
        if isinstance(value, int):
            info["transparency"] = value * 255 // ((1 << header.depth) - 1)


def strip_metadata(data: bytes) -> bytes:
    """Return a PNG without metadata but intact EXIF."""
    chunks = [
        chunk
        for name, chunk in iterate_chunks(data)
        if name in _IMAGE_CHUNKS or (name == b"eXIf" and is_intact(chunk))
    ]
    return b"".join([SIGNATURE, *chunks])


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a PNG.

    Profiles in ImageMagick's form become EXIF, XMP, IPTC and Photoshop's resources.
    """
    found = _Found(read_header(data))
    for name, chunk in iterate_chunks(data):
        found.add(name, chunk)
    return found.metadata()


@dataclass
class _Found:
    """What is in the chunks of a PNG, in their order."""

    header: Header
    exif: list[bytes] = field(default_factory=list)
    xmp: list[bytes] = field(default_factory=list)
    icc: list[bytes] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    """Content of profiles in ImageMagick's form, by kind."""
    comments: list[str] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    density: Density | None = None
    dropped: list[bytes] = field(default_factory=list)
    """Chunks that are about the old pixels."""
    damaged: list[str] = field(default_factory=list)
    """Names of chunks."""
    warnings: list[str] = field(default_factory=list)

    def add(self, name: bytes, chunk: bytes) -> None:
        """Add a chunk."""
        content = chunk[8:-4]
        if name in (*_IMAGE_CHUNKS, *_DECODER_HINTS):
            return
        if not name:
            if chunk.strip(b"\0\r\n "):
                self.warnings.append("what lies behind the end of the PNG is dropped")
        elif not is_intact(chunk):
            self.damaged.append(name.decode("latin-1"))
        elif name == b"eXIf":
            self.exif.append(content)
        elif name == b"iCCP":
            profile = inflate(content.partition(b"\0")[2][1:])
            self.icc += [] if profile is None else [profile]
            self.damaged += ["iCCP"] if profile is None else []
        elif name == b"pHYs":
            self._add_density(content)
        elif name in TEXT_CHUNKS:
            self._add_text(chunk)
        elif name == b"caBX":
            self.warnings.append(
                "content credentials (C2PA) are dropped: they sign the original pixels"
            )
        elif (adapted := adapt_chunk(chunk, self.header)) is not None:
            self.others.append(adapted)
        else:
            self.dropped.append(chunk)

    def metadata(self) -> Metadata:
        """Return the metadata of all chunks, with warnings of what is dropped."""
        raw = self.raw
        blocks = [b.removeprefix(exif.PREFIX) for b in (*self.exif, raw.get("exif", b"")) if b]
        valid = [block for block in blocks if exif.is_valid(block)]
        if len(valid) < len(blocks):
            self.damaged.append("EXIF")
        packets = [packet for packet in (*self.xmp, raw.get("xmp", b"")) if packet]
        for kind, items in (("block of EXIF", valid), ("packet of XMP", packets)):
            if any(item != items[0] for item in items[1:]):
                self.warnings.append(f"a second {kind} is dropped")
        if self.damaged:
            names = ", ".join(dict.fromkeys(self.damaged))
            self.warnings.append(f"damaged metadata of the PNG are dropped: {names}")
        if self.dropped:
            names = ", ".join(describe_chunks(self.dropped))
            self.warnings.append(f"chunks about the original pixels are dropped: {names}")
        resources, iptc = raw.get("8bim", b""), raw.get("iptc", b"")
        if iptc.startswith(b"8BIM"):
            resources, iptc = resources or iptc, find_iptc(iptc) or b""
        return Metadata(
            valid[0] if valid else None,
            packets[0] if packets else None,
            self.icc[0] if self.icc else None,
            resources or None,
            iptc or find_iptc(resources),
            self.density,
            tuple(self.comments),
            png_chunks=tuple(self.others),
            warnings=tuple(dict.fromkeys(self.warnings)),
        )

    def _add_density(self, content: bytes) -> None:
        if len(content) == 9:
            x, y, unit = struct.unpack(">IIB", content)
            if x and y and unit < 2:
                self.density = (x, y, "m" if unit else "")
                return
        self.damaged.append("pHYs")

    def _add_text(self, chunk: bytes) -> None:
        text = read_text(chunk)
        if text is None:
            self.damaged.append(chunk[4:8].decode())
        elif text.keyword == _XMP:
            self.xmp += [text.data] if text.data else []
        elif text.keyword == _COMMENT and not text.is_translated:
            encoding = "utf-8" if text.is_utf8 else "latin-1"
            self.comments.append(text.data.decode(encoding, errors="replace"))
        elif (profile := read_raw_profile(text)) is not None:
            self._add_raw_profile(*profile, chunk)
        else:
            self.others.append(chunk)

    def _add_raw_profile(self, kind: str, content: bytes, chunk: bytes) -> None:
        if kind == "app1" and content.startswith(_XMP_IN_JPEG):
            kind, content = "xmp", content.removeprefix(_XMP_IN_JPEG)
        elif kind == "app1":
            kind = "exif"
        if kind in ("exif", "xmp", "iptc", "8bim"):
            self.raw.setdefault(kind, content)
        else:
            self.others.append(chunk)


def write_metadata(data: bytes, metadata: Metadata) -> bytes:
    """Return a PNG with its metadata replaced."""
    added: list[bytes] = []
    icc, density = metadata.icc, metadata.density
    if density is None or not density[2]:  # a ratio
        density = exif.read_density(metadata.exif or b"") or density
    density = convert_density(density, "m", 2**31 - 1)
    if icc is not None:
        added.append(make_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if density is not None:
        x, y, unit = density
        added.append(make_chunk(b"pHYs", struct.pack(">IIB", x, y, unit == "m")))
    if metadata.exif is not None:
        added.append(make_chunk(b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        packet = to_utf8(metadata.xmp).rstrip(b"\0")
        added.append(make_chunk(b"iTXt", _XMP.encode() + bytes(5) + packet))
    if metadata.iptc is not None:
        added.append(make_raw_profile("iptc", metadata.iptc))
    resources = _other_resources(metadata)
    if resources:
        added.append(make_raw_profile("8bim", resources))
    texts = map(clean_comment, metadata.comments)
    added += (make_text(_COMMENT, text) for text in texts if text)
    header = read_header(data)
    # A PNG must not have both sRGB and iCCP.
    added += (
        fit_chunk(chunk, header)
        for chunk in metadata.png_chunks
        if icc is None or chunk[4:8] != b"sRGB"
    )
    first, *image = (chunk for name, chunk in iterate_chunks(data) if name in _IMAGE_CHUNKS)
    return b"".join([SIGNATURE, first, *added, *image])


def _other_resources(metadata: Metadata) -> bytes:
    """Return Photoshop's resources without the IPTC that is written on its own."""
    return b"".join(
        block
        for number, block, content in iterate_resources(metadata.photoshop or b"")
        if number != IPTC or content != metadata.iptc
    )
