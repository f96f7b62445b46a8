"""Metadata of a photo: read, kept byte for byte, made upright, and written again.

Damaged metadata are dropped; they never stop an image that is intact.
"""

import dataclasses
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from photochrom.imagefile import exif, xmp
from photochrom.imagefile.turning import Turn

Density = tuple[float, float, str]

PNG_COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
IPTC_RESOURCE = 0x0404
_THUMBNAIL_RESOURCES = (0x0409, 0x040C)
_PATH_RESOURCES, _GUIDES = range(2000, 2998), 1032
_MAX_JPEG_EXIF = 65527
"""Bytes of a block in one segment."""
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
    """Pixels horizontally and vertically per `inch`, `cm` or `m`; unit ``: their ratio alone."""
    comments: tuple[str, ...] = ()
    """Text comments of the file. Bytes of a JPEG that are not UTF-8 are surrogate escapes."""
    jpeg_segments: tuple[bytes, ...] = ()
    """Further segments, which only a JPEG can hold; without comments."""
    jpeg_trailer: bytes = b""
    """What follows the end of a JPEG's image, which only a JPEG can hold."""
    png_chunks: tuple[bytes, ...] = ()
    """Further chunks, which only a PNG can hold; without comments."""
    warnings: tuple[str, ...] = ()
    """What of the file could not be kept, each a phrase such as "the gain map is dropped"."""

    @property
    def orientation(self) -> int | None:
        """Orientation by EXIF, else by XMP, 1 (upright) to 8; None if there is no valid one."""
        orientation = exif.read_orientation(self.exif or b"")
        return xmp.read_orientation(self.xmp or b"") if orientation is None else orientation

    def make_upright(self, turn: Turn) -> "Metadata":
        """Return the metadata of the photo after its orientation was applied.

        Faces, other regions and sizes are turned. Offsets in EXIF stay, as maker notes depend on
        them. Thumbnails, which show the photo before, are dropped; EXIF's is unlinked.
        """
        density, photoshop = self.density, self.photoshop
        turned = self
        if density is not None and turn.swaps_sides:
            density = (density[1], density[0], density[2])
        if photoshop is not None:
            resources = list(iterate_resources(photoshop))
            photoshop = b"".join(
                block for number, block, _ in resources if number not in _THUMBNAIL_RESOURCES
            )
            if turn.orientation > 1 and any(
                _has_positions(n, content) for n, _, content in resources
            ):
                turned = self.with_warning("paths and guides of Photoshop are not turned")
        return dataclasses.replace(
            turned,
            exif=exif.make_upright(self.exif, turn) if self.exif else None,
            xmp=xmp.make_upright(self.xmp, turn) if self.xmp else None,
            density=density,
            photoshop=photoshop or None,
        )

    def with_warning(self, text: str) -> "Metadata":
        """Return a copy with one more warning, unless it is there."""
        warnings = self.warnings if text in self.warnings else (*self.warnings, text)
        return dataclasses.replace(self, warnings=warnings)

    def with_profile(self, icc: bytes | None) -> "Metadata":
        """Return a copy with another colour profile, and without a PNG's colour chunks."""
        chunks = tuple(chunk for chunk in self.png_chunks if chunk[4:8] not in PNG_COLOR_CHUNKS)
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


def iterate_resources(photoshop: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, block and content of image resources; a damaged rest has number -1."""
    offset = 0
    while offset + 12 <= len(photoshop):
        (number, name_length) = struct.unpack_from(">HB", photoshop, offset + 4)
        start = offset + 6 + name_length + 2 - name_length % 2 + 4
        size = int.from_bytes(photoshop[start - 4 : start])
        end = start + size + size % 2
        if start + size > len(photoshop):
            break
        yield number, photoshop[offset:end], photoshop[start : start + size]
        offset = end
    yield -1, photoshop[offset:], b""


def _has_positions(number: int, content: bytes) -> bool:
    """Tell whether an image resource has paths, or guides (Photoshop File Formats, 2019)."""
    return number in _PATH_RESOURCES or (number == _GUIDES and any(content[12:16]))


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
    density = None
    try:
        x, y = map(float, info["dpi"])
        if 0.01 < min(x, y) <= max(x, y) < 100_000:  # excludes NaN
            density = (x, y, "inch")
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass
    return Metadata(
        block if isinstance(block, bytes) and exif.is_valid(block) else None,
        packet if isinstance(packet, bytes) and packet else None,
        icc if isinstance(icc, bytes) and icc else None,
        density=density,
    )


def to_pillow_options(metadata: Metadata, format_: str) -> dict[str, Any]:
    """Return arguments of Pillow's `save`; none for JPEG, PNG and TIFF, whose metadata we write."""
    if format_ in ("WEBP", "AVIF"):
        options = {"exif": metadata.exif, "xmp": metadata.xmp, "icc_profile": metadata.icc}
        return {key: value for key, value in options.items() if value is not None}
    density = convert_density(metadata.density, "inch", 100_000)
    return {"dpi": density[:2]} if format_ == "BMP" and density and density[2] else {}


def lost_metadata(metadata: Metadata, format_: str) -> list[str]:
    """Return what a format, by Pillow's name, cannot hold of the metadata, each a phrase."""
    kinds = {
        "EXIF": metadata.exif,
        "XMP": metadata.xmp,
        "the colour profile": metadata.icc,
        "IPTC": metadata.iptc,
        "resolution": metadata.density,
        "comment": metadata.comments or None,
    }
    kept = {
        "JPEG": kinds.keys(),
        "PNG": kinds.keys() - {"IPTC"},
        "TIFF": kinds.keys() - {"comment"},
        "WEBP": {"EXIF", "XMP", "the colour profile"},
        "AVIF": {"EXIF", "XMP", "the colour profile"},
        "BMP": {"the colour profile", "resolution"},
    }
    lost = [
        f"{kind} is lost: a {format_} cannot hold it"
        for kind, value in kinds.items()
        if value is not None and kind not in kept[format_]
    ]
    return lost + (_lost_in_jpeg(metadata) if format_ == "JPEG" else _lost_of_jpeg(metadata))


def _lost_in_jpeg(metadata: Metadata) -> list[str]:
    """Return what is different about the metadata of other formats in a JPEG, each a phrase."""
    lost = []
    if metadata.density and convert_density(metadata.density, "inch", 65535) is None:
        lost.append("the resolution is lost: a JPEG holds 1 to 65535 pixels per inch")
    if len(metadata.exif or b"") > _MAX_JPEG_EXIF:
        lost.append("EXIF takes several segments of the JPEG, of which many programs read one")
    return lost


def _lost_of_jpeg(metadata: Metadata) -> list[str]:
    """Return what of a JPEG no other format can hold, each a phrase."""
    lost = []
    if metadata.jpeg_trailer:
        lost.append("what lies behind the end of the JPEG is lost")
    names = {
        f"APP{segment[1] - 0xE0}" for segment in metadata.jpeg_segments if segment[4:9] != b"Ducky"
    }
    if names:
        lost.append(f"segments of the JPEG are lost: {', '.join(sorted(names))}")
    return lost
