"""What is lost of a photo's metadata in a file of another format."""

from PIL.ExifTags import Base as Tag

from photochrom.imagefile import exif
from photochrom.imagefile.jpeg.segments import describe_segment
from photochrom.imagefile.maker_notes import MAX_JPEG_EXIF, MOVED
from photochrom.imagefile.metadata import (
    Metadata,
    clean_comment,
    convert_density,
)
from photochrom.imagefile.photoshop import IPTC, find_iptc, iterate_resources
from photochrom.imagefile.png.chunks import COLOR_CHUNKS, describe_chunks
from photochrom.imagefile.xmp import packet as xmp

_HAVE_EXIF_AND_XMP = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")
_HAVE_IPTC = ("JPEG", "PNG", "TIFF")
_HAVE_COMMENTS = ("JPEG", "PNG")
_MAX_DENSITIES = {"JPEG": ("inch", 65535), "PNG": ("m", 2**31 - 1), "BMP": ("inch", 100_000)}
"""Format to unit and maximum of a resolution."""
_ENCODING_SEGMENTS = (b"Ducky",)
"""Start of segments that say how the JPEG was encoded."""


def lost_metadata(metadata: Metadata, format_: str) -> list[str]:
    """Return what a format, by Pillow's name, cannot hold of the metadata, each a phrase."""
    return [
        *(f"{what} is lost: a {format_} cannot hold it" for what in _lost_kinds(metadata, format_)),
        *_lost_density(metadata, format_),
        *_lost_in_jpeg(metadata, format_),
        *_lost_of_jpeg(metadata, format_),
        *_lost_of_png(metadata, format_),
        *_moved_notes(metadata, format_),
    ]


def _lost_kinds(metadata: Metadata, format_: str) -> list[str]:
    """Return the kinds of metadata that a format cannot hold."""
    lost = []
    if format_ not in _HAVE_EXIF_AND_XMP:
        lost += ["EXIF"] if metadata.exif else []
        if metadata.xmp:
            lost.append("the mark" if _is_mark(metadata.xmp) else "XMP")
    if format_ not in _HAVE_IPTC:
        resources = metadata.photoshop or b""
        lost += ["IPTC"] if metadata.iptc or find_iptc(resources) else []
        if any(number not in (IPTC, -1) for number, *_ in iterate_resources(resources)):
            lost.append("what Photoshop stored (image resources)")
    if any(map(clean_comment, metadata.comments)) and not _has_comments(metadata, format_):
        lost.append("the comment")
    return lost


def _is_mark(packet: bytes) -> bool:
    """Tell whether a packet has nothing but the mark."""
    return packet == xmp.set_mark(xmp.EMPTY_PACKET, xmp.read_mark(packet) or "")


def _lost_density(metadata: Metadata, format_: str) -> list[str]:
    if metadata.density is None or format_ not in _MAX_DENSITIES:  # others have EXIF
        return []
    unit, maximum = _MAX_DENSITIES[format_]
    converted = convert_density(metadata.density, unit, maximum)
    if converted is None:
        return [f"the resolution is lost: a {format_} holds 1 to {maximum} pixels per {unit}"]
    if format_ == "BMP" and not converted[2]:
        return ["the resolution is lost: a BMP cannot hold a ratio without unit"]
    return []


def _has_comments(metadata: Metadata, format_: str) -> bool:
    """Tell whether comments are kept, elsewhere as the only description in EXIF."""
    if format_ in _HAVE_COMMENTS:
        return True
    if format_ not in _HAVE_EXIF_AND_XMP:
        return False
    values = exif.read_values(metadata.exif or b"", [Tag.ImageDescription])
    description = values.get(Tag.ImageDescription)
    texts = (clean_comment(comment).encode() for comment in metadata.comments)
    return description is None or all(text in description for text in texts)


def _lost_in_jpeg(metadata: Metadata, format_: str) -> list[str]:
    """Return what is different about the metadata of other formats in a JPEG."""
    if format_ == "JPEG" and len(metadata.exif or b"") > MAX_JPEG_EXIF:
        return ["EXIF takes several segments of the JPEG, of which many programs read one"]
    return []


def _lost_of_jpeg(metadata: Metadata, format_: str) -> list[str]:
    """Return what of a JPEG no other format can hold."""
    if format_ == "JPEG":
        return []
    lost = ["what lies behind the end of the JPEG is lost"] if metadata.jpeg_trailer else []
    names = dict.fromkeys(
        describe_segment(segment)
        for segment in metadata.jpeg_segments
        if not segment[4:].startswith(_ENCODING_SEGMENTS)
    )
    return [*lost, f"segments of the JPEG are lost: {', '.join(names)}"] if names else lost


def _lost_of_png(metadata: Metadata, format_: str) -> list[str]:
    """Return what of a PNG no other format can hold; its colours become a profile."""
    if format_ == "PNG":
        return []
    chunks = [chunk for chunk in metadata.png_chunks if chunk[4:8] not in COLOR_CHUNKS]
    names = ", ".join(describe_chunks(chunks))
    return [f"chunks of the PNG are lost: {names}"] if names else []


def _moved_notes(metadata: Metadata, format_: str) -> list[str]:
    """Return that maker notes are moved; `PageWriter` tells it for a TIFF."""
    is_moved = metadata.note_offset is not None and format_ in _HAVE_EXIF_AND_XMP
    return [MOVED] if is_moved and format_ != "TIFF" else []
