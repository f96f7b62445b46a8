"""Metadata of a photo: read, kept byte for byte, made upright, and written again.

Damaged metadata are dropped; they never stop an image that is intact.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL.ExifTags import Base as Tag

from photochrom.imagefile import exif, photoshop
from photochrom.imagefile.png.chunks import COLOR_CHUNKS, turn_chunks
from photochrom.imagefile.tiff.structure import ASCII, Tree, density_fields
from photochrom.imagefile.turning import Crop, Turn
from photochrom.imagefile.xmp import packet as xmp

Density = tuple[float, float, str]

DAMAGED_EXIF = "damaged EXIF is dropped"
_METRES = {"m": 1.0, "cm": 0.01, "inch": 0.0254}


@dataclass(frozen=True)
class Metadata:
    """Everything in a photo's file besides its pixels."""

    exif: bytes | None = None
    """A TIFF block, without the prefix `Exif\\0\\0`."""
    xmp: bytes | None = None
    """An XMP packet."""
    icc: bytes | None = None
    """The colour profile of the pixels; None: sRGB, not tagged."""
    photoshop: bytes | None = None
    """Image resource blocks (`8BIM`...), which contain the IPTC of a JPEG."""
    iptc: bytes | None = None
    """IPTC records (IIM), as in a TIFF."""
    density: Density | None = None
    """Pixels horizontally and vertically per `inch`, `cm` or `m`; unit `""`: their ratio alone."""
    comments: tuple[str, ...] = ()
    """Text comments of the file. Bytes of a JPEG that are not UTF-8 are surrogate escapes."""
    jpeg_segments: tuple[bytes, ...] = ()
    """Further segments, which only a JPEG can hold; without comments."""
    jpeg_trailer: bytes = b""
    """What follows the end of a JPEG's image, which only a JPEG can hold."""
    png_chunks: tuple[bytes, ...] = ()
    """Further chunks, which only a PNG can hold; without comments, as of `adapt_chunk`."""
    note_offset: int | None = None
    """Offset in its file of the maker note, if `exif` has it at another; None: it has not."""
    warnings: tuple[str, ...] = ()
    """What of the file could not be kept, each a phrase such as "the gain map is dropped"."""

    @property
    def orientation(self) -> int | None:
        """Orientation by EXIF, else by XMP, 1 (upright) to 8; None if there is no valid one."""
        orientation = exif.read_orientation(self.exif or b"")
        return xmp.read_orientation(self.xmp or b"") if orientation is None else orientation

    def make_upright(self, turn: Turn) -> "Metadata":
        """Return the metadata of the photo after its orientation was applied.

        Faces, other regions, paths and sizes are turned. Offsets in EXIF stay, as maker notes
        depend on them. Thumbnails, which show the photo before, are dropped; EXIF's is unlinked.
        """
        density = self.density
        if density is not None and turn.swaps_sides:
            density = (density[1], density[0], density[2])
        return dataclasses.replace(
            self,
            exif=exif.make_upright(self.exif, turn) if self.exif else None,
            xmp=xmp.make_upright(self.xmp, turn) if self.xmp else None,
            density=density,
            photoshop=photoshop.make_upright(self.photoshop or b"", turn) or None,
            png_chunks=tuple(turn_chunks(self.png_chunks, turn)),
        )

    def crop(self, crop: Crop) -> "Metadata":
        """Return the metadata of a rectangle of the photo.

        Positions and sizes follow, and what is cut off is removed. What cannot follow is dropped
        with a warning.
        """
        packet, lost = xmp.crop(self.xmp, crop) if self.xmp else (None, [])
        resources, lost_resources = photoshop.crop(self.photoshop or b"", crop)
        metadata = dataclasses.replace(
            self,
            exif=exif.crop(self.exif, crop) if self.exif else None,
            xmp=packet,
            photoshop=resources or None,
        )
        for text in lost + lost_resources:
            metadata = metadata.with_warning(text)
        return metadata

    def with_warning(self, text: str) -> "Metadata":
        """Return a copy with one more warning, unless it is there."""
        warnings = self.warnings if text in self.warnings else (*self.warnings, text)
        return dataclasses.replace(self, warnings=warnings)

    def with_profile(self, icc: bytes | None) -> "Metadata":
        """Return a copy with another colour profile, and without a PNG's colour chunks."""
        chunks = tuple(chunk for chunk in self.png_chunks if chunk[4:8] not in COLOR_CHUNKS)
        return dataclasses.replace(self, icc=icc, png_chunks=chunks)

    @property
    def mark(self) -> str | None:
        """The text of `with_mark`, None if there is none."""
        return xmp.read_mark(self.xmp or b"")

    def with_mark(self, text: str) -> "Metadata":
        """Return a copy with XMP properties that say that colours were added."""
        packet = self.xmp or xmp.EMPTY_PACKET
        marked = xmp.set_mark(packet, text)
        if marked is not None:
            return dataclasses.replace(self, xmp=marked)
        replaced = dataclasses.replace(self, xmp=xmp.set_mark(xmp.EMPTY_PACKET, text))
        return replaced.with_warning("XMP is damaged, and replaced by the mark")


def convert_density(
    density: Density | None, unit: str, maximum: int
) -> tuple[int, int, str] | None:
    """Return a density in integers per unit, or as a ratio; None if there is none in range."""
    if density is None:
        return None
    x, y, old_unit = density
    scale = _METRES[unit] / _METRES[old_unit] if old_unit else 1
    across, down = round(x * scale), round(y * scale)
    if min(across, down) < 1 or max(across, down) > maximum:
        return None
    return across, down, unit if old_unit else ""


def from_pillow_info(info: Mapping[Any, Any]) -> Metadata:
    """Return the metadata in the `info` of a Pillow image, whose values can be anything."""
    block, packet, icc = (info.get(key) for key in ("exif", "xmp", "icc_profile"))
    if isinstance(packet, str):
        packet = packet.encode(errors="ignore")
    if isinstance(block, bytes):
        block = block.removeprefix(exif.PREFIX)
    comment = info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.decode(errors="surrogateescape")
    density = None
    try:
        x, y = map(float, info["dpi"])
        if 0.01 < min(x, y) <= max(x, y) < 100_000:  # excludes NaN
            density = (x, y, "inch")
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    is_damaged = bool(block) and not (isinstance(block, bytes) and exif.is_valid(block))
    return Metadata(
        None if is_damaged else block or None,
        packet if isinstance(packet, bytes) and packet else None,
        icc if isinstance(icc, bytes) and icc else None,
        density=density,
        comments=(comment,) if isinstance(comment, str) and comment else (),
        warnings=(DAMAGED_EXIF,) if is_damaged else (),
    )


def to_pillow_info(metadata: Metadata) -> dict[str, Any]:
    """Return what Pillow has in the `info` of an image with these metadata."""
    density = convert_density(metadata.density, "inch", 100_000)
    info = {
        "exif": metadata.exif and exif.PREFIX + metadata.exif,
        "xmp": metadata.xmp,
        "icc_profile": metadata.icc,
        "dpi": density[:2] if density and density[2] else None,
    }
    return {key: value for key, value in info.items() if value}


def clean_comment(comment: str) -> str:
    """Return a comment without NULs; bytes of it that are not UTF-8 are taken for Latin-1."""
    data = comment.rstrip("\0").replace("\0", " ").encode(errors="surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def to_exif(metadata: Metadata) -> bytes | None:
    """Return EXIF for a format that has no other place for resolution and comments.

    Those that EXIF has already are kept; `lost_metadata` tells of comments.
    """
    tags = (Tag.XResolution, Tag.YResolution, Tag.ImageDescription)
    present = exif.read_values(metadata.exif or b"", tags)
    fields: Tree = {}
    if metadata.density is not None and not {*tags[:2]} <= present.keys():
        fields |= density_fields(*metadata.density)
    text = "\n".join(map(clean_comment, metadata.comments))
    if text and Tag.ImageDescription not in present:
        fields[Tag.ImageDescription] = ASCII, text.encode() + b"\0"
    return exif.set_fields(metadata.exif, fields) if fields else metadata.exif


def to_pillow_options(metadata: Metadata, format_: str) -> dict[str, Any]:
    """Return arguments of Pillow's `save`; none for JPEG, PNG and TIFF, whose metadata we write."""
    if format_ in ("WEBP", "AVIF"):
        block = to_exif(metadata)
        if block is not None and format_ == "AVIF" and exif.read_orientation(block) == 1:
            # Pillow would pack it anew, and lose the offsets in maker notes.
            block = exif.remove_field(block, Tag.Orientation)
        options = {"exif": block, "xmp": metadata.xmp, "icc_profile": metadata.icc}
        return {key: value for key, value in options.items() if value is not None}
    density = convert_density(metadata.density, "inch", 100_000)
    return {"dpi": density[:2]} if format_ == "BMP" and density and density[2] else {}
