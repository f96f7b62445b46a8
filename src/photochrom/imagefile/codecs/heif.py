"""AVIF and HEIC: pixels, colours and metadata.

Follows ISO/IEC 23008-12 (HEIF), 23000-22 (MIAF) and AV1 Image File Format. Pillow decodes AVIF of 8
bits, imagecodecs that of more; pillow-heif decodes HEIC.
"""

import dataclasses
import struct
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO

import numpy as np

from photochrom.color import cicp, icc
from photochrom.errors import PhotoError
from photochrom.imagefile import exif
from photochrom.imagefile.codecs.av1 import read_code_points
from photochrom.imagefile.codecs.boxes import find_box
from photochrom.imagefile.codecs.heif_items import HeifError, HeifItems, Item, parse_meta
from photochrom.imagefile.decoding import (
    DamagedError,
    check_size,
    finish,
    open_image,
    reader_errors,
)
from photochrom.imagefile.metadata import DAMAGED_EXIF, Metadata
from photochrom.imagefile.photo import Encoding, Photo, decode_pixels
from photochrom.imagefile.samples import to_photo
from photochrom.imagefile.xmp.container import drop_contained

_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_AUXILIARY_NAMES = {
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth": "the depth image",
    b"urn:mpeg:hevc:2015:auxid:2": "the depth image",
}
_APPLE_GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"
_IMAGE_KINDS = (b"av01", b"hvc1", b"grid", b"iovl", b"iden", b"jpeg", b"j2k1", b"unci", b"vvc1")
_HEIC_KINDS = {b"hvc1", b"grid", b"iovl", b"iden"}
"""Items that pillow-heif decodes: HEVC, and images put together from others."""
_KIND_NAMES = {
    b"av01": "AV1",
    b"avc1": "H.264",
    b"vvc1": "VVC",
    b"evc1": "EVC",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
    b"unci": "values without compression",
}
_METADATA_KINDS = (b"Exif", b"mime")
_TONE_MAP = b"tmap"
"""Item that applies a gain map (ISO/IEC 23008-12, tone map derived image)."""
_ORIENTATIONS: dict[tuple[int, int | None], int] = {
    **{(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6},
    **{(0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7},
    **{(0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5},
}
"""Quarters of a turn to the left (irot), then mirroring (imir), to orientations of EXIF."""


def read_avif(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read an AVIF; more than 8 bits become 16.

    Args:
        data: The file.
        name: Names it in errors.
        max_pixels: A larger image is refused before it is decoded.

    Raises:
        PhotoError: If it is damaged, or of a kind that cannot be read, such as HDR.
    """
    heif, metadata = _read_header(data, "an AVIF", name)
    image = open_image(BytesIO(data), name, max_pixels)
    bits = heif.bit_depth()
    if bits > 8:
        metadata = metadata.with_warning(f"{bits} bits are kept in a PNG or TIFF of 16 bits only")
    with reader_errors(name):
        if bits > 8:
            import imagecodecs  # slow to import

            photo = to_photo(imagecodecs.avif_decode(data), bits)
        else:
            image.load()
            photo = decode_pixels(image)
        photo, metadata = _crop(photo, metadata, heif.items[heif.primary])
    return _finish(photo, metadata, heif, name, "AVIF")


def read_heic(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a HEIC as `read_avif` reads an AVIF."""
    if find_spec("pillow_heif") is None:
        raise PhotoError(
            f"{name} is a HEIC, which needs the package pillow-heif; install photochrom[formats]"
        )
    import pillow_heif

    heif, metadata = _read_header(data, "a HEIC", name)
    kinds = {item.kind for item in heif.parts()}
    if not_decoded := sorted(kinds - _HEIC_KINDS):
        found = " and ".join(_KIND_NAMES.get(kind, repr(kind)) for kind in not_decoded)
        raise PhotoError(
            f"{name} is a HEIF of {found}, where HEVC can be read; save it as a TIFF or PNG of as "
            "many bits"
        )
    with reader_errors(name):
        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = file[file.primary_index]
    width, height = image.size
    check_size(width, height, name, max_pixels)
    with reader_errors(name):
        mode, _, depth = image.mode.partition(";")
        samples = np.asarray(image)[:height, :width]
        photo = to_photo(samples, int(depth or 8), is_premultiplied=mode == "RGBa")
    return _finish(photo, metadata, heif, name, "HEIF", is_upright=True)  # and cropped, by libheif


def _read_header(data: bytes, kind: str, name: str) -> tuple[HeifItems, Metadata]:
    """Return items, and metadata with the profile; `kind` names the format with its article."""
    meta = find_box(data, b"meta")
    has_sequence = find_box(data, b"moov") is not None
    if meta is None and has_sequence:
        raise PhotoError(
            f"{name} is {kind} with a sequence of images and no still image; give its frames one "
            "by one"
        )
    if meta is None:
        raise DamagedError(f"{name} is {kind} that is damaged or cut off")
    try:
        heif = parse_meta(meta)
    except HeifError as error:
        raise DamagedError(f"{name} is {kind} that is damaged or cut off: {error}") from error
    metadata = _read_metadata(data, heif)
    if has_sequence:
        metadata = metadata.with_warning("the sequence of images beside the photo is dropped")
    with reader_errors(name):
        return heif, dataclasses.replace(metadata, icc=_read_profile(data, heif))


def _read_profile(data: bytes, heif: HeifItems) -> bytes | None:
    """Return the profile of the primary image, or one of its code points; None: sRGB.

    Code points are those of nclx; without, those in an AV1 bitstream (AVIF, section 2.2.1).

    Raises:
        PhotoError: If the code points name colours that cannot be used, such as those of HDR.
    """
    profile = code_points = None
    parts = heif.parts()
    for content in next(filter(None, (item.all_properties(b"colr") for item in parts)), []):
        if content[:4] in (b"prof", b"rICC"):
            profile = profile or content[4:]
        elif content[:4] == b"nclx" and len(content) >= 8:
            code_points = struct.unpack_from(">2H", content, 4)
    if code_points is None and profile is None:
        obus = (heif.read(item, data) for item in parts if item.kind == b"av01")
        code_points = next(filter(None, map(read_code_points, obus)), None)
    if code_points is None:
        return profile
    try:
        # HDR is refused with a profile, too: that is one of tone mapping.
        described = cicp.cicp_profile(*code_points, is_grey=heif.is_grey())
    except icc.ProfileError as error:
        raise PhotoError(str(error)) from error
    return profile or described


def _read_metadata(data: bytes, heif: HeifItems) -> Metadata:
    """Read EXIF and XMP of the primary image, and say what is dropped beside it."""
    block = packet = None
    warnings = []
    for item in heif.referring(b"cdsc", heif.primary):
        if item.kind == b"Exif" and block is None:
            content = heif.read(item, data)
            start = 4 + int.from_bytes(content[:4])  # ISO/IEC 23008-12, annex A.2.1
            candidates = (content[start:], content[4:].removeprefix(exif.PREFIX))
            block = next(filter(exif.is_valid, candidates), None)
            warnings += [DAMAGED_EXIF] if block is None else []
        elif item.content_type == b"application/rdf+xml" and packet is None:
            packet = heif.read(item, data) or None
        elif item.kind in _METADATA_KINDS:
            kind = (item.content_type or item.kind).decode("latin-1")
            warnings.append(f"metadata of the type {kind} are dropped")
    has_gain_map = any(item.kind == _TONE_MAP for item in heif.items.values())
    for item in heif.referring(b"auxl", heif.primary):
        name = next(iter(item.all_properties(b"auxC")), b"")[4:].split(b"\0")[0]
        if name == _APPLE_GAIN_MAP:
            has_gain_map = True
        elif name not in _ALPHA:
            unknown = f"an auxiliary image ({name.decode('latin-1')})"
            warnings.append(f"{_AUXILIARY_NAMES.get(name, unknown)} is dropped")
    if has_gain_map:
        warnings.append("the gain map is dropped")
    others = _count_other_images(heif)
    if others:
        warnings.append(f"{others} further image{'s are' if others > 1 else ' is'} dropped")
    if packet is not None and has_gain_map:
        packet = drop_contained(packet, images=True, video=False)
    metadata = Metadata(block, packet)
    for warning in warnings:
        metadata = metadata.with_warning(warning)
    return metadata


def _count_other_images(heif: HeifItems) -> int:
    """Count the images that are neither primary nor hidden, auxiliary, thumbnails or tiles."""
    tiles = {
        target
        for item in heif.items.values()
        for kind, targets in item.references
        for target in targets
        if kind == b"dimg"
    }
    return sum(
        number not in tiles | {heif.primary}
        and item.kind in _IMAGE_KINDS
        and not item.is_hidden
        and not any(kind in (b"auxl", b"thmb") for kind, _ in item.references)
        for number, item in heif.items.items()
    )


def _crop(photo: Photo, metadata: Metadata, item: Item) -> tuple[Photo, Metadata]:
    """Crop to the clean aperture (ISO/IEC 14496-12, section 12.1.4)."""
    for aperture in item.all_properties(b"clap"):
        width, height = photo.size
        across, down = (
            _aperture_range(size, aperture[8 * axis :][:8], aperture[16 + 8 * axis :][:8])
            for axis, size in enumerate((width, height))
        )
        if across is None or down is None:
            return photo, metadata.with_warning("a crop (clap) that is not valid is ignored")
        alpha = None if photo.alpha is None else photo.alpha[down, across].copy()
        pixels = photo.pixels[down, across].copy()
        photo = dataclasses.replace(photo, pixels=pixels, alpha=alpha)
    return photo, metadata


def _aperture_range(size: int, length: bytes, offset: bytes) -> slice | None:
    """Return the range of an axis; None if it is empty, out of the image or damaged."""
    if len(length) < 8 or len(offset) < 8:
        return None
    numerator, denominator = struct.unpack(">2I", length)
    shift, divisor = struct.unpack(">iI", offset)
    if not denominator or not divisor:
        return None
    cropped = Fraction(numerator, denominator)
    start = Fraction(shift, divisor) + (size - cropped) / 2
    part = slice(int(start), int(start) + int(cropped))
    return part if start >= 0 and part.stop > part.start and part.stop <= size else None


def _finish(
    photo: Photo,
    metadata: Metadata,
    heif: HeifItems,
    name: str,
    format_: str,
    *,
    is_upright: bool = False,
) -> Photo:
    """Apply colours and orientation; that of EXIF is void (ISO/IEC 23008-12, section 6.5.10)."""
    item = heif.items[heif.primary]
    turns = next(iter(item.all_properties(b"irot")), b"\0")[:1]
    mirror = next(iter(item.all_properties(b"imir")), b"")[:1]
    orientation = _ORIENTATIONS[turns[0] & 3 if turns else 0, mirror[0] & 1 if mirror else None]
    with reader_errors(name):
        return finish(
            photo,
            metadata,
            Encoding(format_),
            is_upright=is_upright,
            orientation=orientation,
        )
