"""JPEG XL: codestreams, and files of boxes around them.

Follows ISO/IEC 18181-2 (boxes). libjxl decodes: by imagecodecs, and by pillow-jxl-plugin where an
ICC profile is embedded, which only that returns.
"""

import dataclasses
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photochrom.color import cicp, icc
from photochrom.color.cie import FloatArray
from photochrom.errors import PhotoError
from photochrom.imagefile import exif
from photochrom.imagefile.codecs.boxes import iterate_boxes
from photochrom.imagefile.codecs.jpegxl_header import (
    ALPHA,
    BLACK,
    GREY,
    RGB,
    SIGNATURE,
    ColorEncoding,
    JpegXlHeader,
    parse_header,
)
from photochrom.imagefile.decoding import DamagedError, check_size, finish, reader_errors
from photochrom.imagefile.metadata import DAMAGED_EXIF, Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.samples import from_unit_range, to_photo
from photochrom.imagefile.xmp.container import drop_contained

_MAX_BROTLI_SIZE = 1 << 26
_WHITES = {1: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""By code points of ISO/IEC 18181-1, annex D."""
_D65, _SRGB_PRIMARIES, _SRGB_TRANSFER = 1, 1, 13
_UNKNOWN_TRANSFER, _DCI_TRANSFER = 2, 17
_DCI_EXPONENT = 2.6
_GAIN_MAP = b"jhgm"
_OVERSHOOT = 0.05
"""Of floating-point samples after lossy compression."""


def reconstruct_jpeg(data: bytes, name: str, max_pixels: int) -> bytes | None:
    """Return the JPEG that a file was made from, byte for byte; None: there is none.

    Raises:
        PhotoError: If it is too large or damaged.
    """
    boxes = _read_boxes(data)
    if not any(kind == b"jbrd" for kind, _ in boxes):
        return None
    header = _read_header(data, boxes, name)
    check_size(header.width, header.height, name, max_pixels)
    import imagecodecs  # slow to import

    with reader_errors(name):
        return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a JPEG XL file or codestream.

    Args:
        data: The file.
        name: Names it in errors.
        max_pixels: A larger image is refused before it is decoded.

    Raises:
        PhotoError: If it is damaged, or of a kind that cannot be read.
    """
    boxes = _read_boxes(data)
    header = _read_header(data, boxes, name)
    color = header.color
    with reader_errors(name):
        _check_kind(header)
        profile = None if color.has_profile else _make_profile(color)
    check_size(header.width, header.height, name, max_pixels)
    with reader_errors(name):
        metadata = _read_metadata(boxes)
        if color.has_profile:
            samples, profile = _decode_with_profile(data, header)
        else:
            samples = _decode(data)
        photo, metadata = _to_photo(samples, header, metadata)
        return finish(
            photo,
            dataclasses.replace(metadata, icc=profile),
            Encoding("JXL"),
            is_upright=True,  # by libjxl; the orientation of EXIF is void
            orientation=header.orientation,
        )


def _read_boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    return [] if data.startswith(SIGNATURE) else list(iterate_boxes(data))


def _read_header(data: bytes, boxes: list[tuple[bytes, bytes]], name: str) -> JpegXlHeader:
    """Parse the header of the codestream, in jxlc or in jxlp, which start with their number."""
    parts = [
        content if kind == b"jxlc" else content[4:]
        for kind, content in boxes
        if kind in (b"jxlc", b"jxlp")
    ]
    try:
        return parse_header(b"".join(parts) if boxes else data)
    except ValueError as error:
        raise DamagedError(f"{name} is a JPEG XL that is damaged or cut off: {error}") from error


def _check_kind(header: JpegXlHeader) -> None:
    if header.is_animation:
        raise PhotoError("it is an animation; give its frames one by one")
    if header.is_float and header.bits not in (16, 32):
        raise PhotoError(f"it has floating-point samples of {header.bits} bits; give 16 or 32")
    if BLACK in header.extra_channels:
        raise PhotoError("it is CMYK; convert it to RGB with a colour profile")
    if header.color.space not in (RGB, GREY):
        raise PhotoError("its colour space is unknown; convert it to RGB with a colour profile")


def _read_metadata(boxes: list[tuple[bytes, bytes]]) -> Metadata:
    """Read EXIF and XMP, and say what else is dropped."""
    metadata = Metadata()
    has_gain_map = False
    for kind, content in boxes:
        if kind == b"brob":
            kind, inflated = content[:4], _inflate(content[4:])
            if inflated is None:
                name = kind.decode("latin-1").strip()
                metadata = metadata.with_warning(f"the damaged box {name} is dropped")
                continue
            content = inflated
        if kind == b"Exif":
            start = 4 + int.from_bytes(content[:4])
            # pillow-jxl-plugin writes no offset.
            candidates = (content[start:], content[4:].removeprefix(exif.PREFIX), content)
            block = next(filter(exif.is_valid, candidates), None)
            metadata = dataclasses.replace(metadata, exif=metadata.exif or block)
            if block is None:
                metadata = metadata.with_warning(DAMAGED_EXIF)
        elif kind == b"xml " and b"adobe:ns:meta/" in content:
            metadata = dataclasses.replace(metadata, xmp=metadata.xmp or content)
        elif kind == b"xml ":
            text = content.decode(errors="surrogateescape")
            metadata = dataclasses.replace(metadata, comments=(*metadata.comments, text))
            metadata = metadata.with_warning("XML of the JPEG XL file is kept as a comment")
        elif kind == _GAIN_MAP:
            has_gain_map = True
            metadata = metadata.with_warning("the gain map is dropped")
        elif kind == b"jumb":
            metadata = metadata.with_warning(
                "the box jumb, such as Content Credentials, is dropped"
            )
    if metadata.xmp is not None and has_gain_map:
        packet = drop_contained(metadata.xmp, images=True, video=False)
        metadata = dataclasses.replace(metadata, xmp=packet)
    return metadata


def _inflate(data: bytes) -> bytes | None:
    """Return what Brotli (RFC 7932) compressed; None if it is damaged or too large."""
    import imagecodecs  # slow to import

    try:
        return bytes(imagecodecs.brotli_decode(data, out=_MAX_BROTLI_SIZE))
    except (RuntimeError, ValueError):
        return None


def _decode(data: bytes) -> NDArray[Any]:
    import imagecodecs  # slow to import

    samples: NDArray[Any] = imagecodecs.jpegxl_decode(data)
    return samples


def _decode_with_profile(data: bytes, header: JpegXlHeader) -> tuple[NDArray[Any], bytes]:
    """Return samples and the ICC profile that they have after decoding."""
    if find_spec("pillow_jxl") is None:
        raise PhotoError(
            "it has an ICC profile, for which the package pillow-jxl-plugin is needed; install "
            "photochrom[formats]"
        )
    from pillow_jxl import Decoder

    samples = _decode(data)
    is_jpeg, _, content, profile, _ = Decoder(num_threads=1)(data)
    if not is_jpeg:
        # Two builds of libjxl: samples and profile have to be of the same colours.
        depth = np.uint8 if len(content) == samples.size else np.uint16
        expected = np.frombuffer(content, depth)
        if expected.size != samples.size or _difference(samples, header.bits, expected) > 0.01:
            raise PhotoError("its ICC profile cannot be used; convert it to sRGB, with 16 bits")
    return samples, bytes(profile)


def _difference(samples: NDArray[Any], bits: int, expected: NDArray[Any]) -> float:
    """Return the mean difference in [0, 1] of samples from those of 8 or 16 bits."""
    values = samples.ravel() / np.float32((1 << bits) - 1)
    return float(np.abs(values - expected / np.float32(np.iinfo(expected.dtype).max)).mean())


def _make_profile(color: ColorEncoding) -> bytes | None:
    """Return a profile of the code points; None: sRGB.

    Raises:
        PhotoError: If they name colours that cannot be used, such as those of HDR.
    """
    is_grey = color.space == GREY
    is_srgb = is_grey or (color.white, color.primaries) == (_D65, _SRGB_PRIMARIES)
    transfer = _SRGB_TRANSFER if color.transfer == _UNKNOWN_TRANSFER else color.transfer
    if is_srgb and transfer == _SRGB_TRANSFER:
        return None
    try:
        curve: float | FloatArray
        if isinstance(transfer, float):
            curve = 1 / transfer if transfer > 0 else 0.0
        else:
            is_dci = transfer == _DCI_TRANSFER
            curve = _DCI_EXPONENT if is_dci else cicp.transfer_curve(transfer)
        if is_grey:
            return icc.build_profile(curve, None)
        white, primaries = color.white, color.primaries
        red, green, blue = _PRIMARIES[primaries] if isinstance(primaries, int) else primaries
        xy = _WHITES[white] if isinstance(white, int) else white
        return icc.build_profile(curve, icc.Primaries(red, green, blue, xy))
    except (icc.ProfileError, KeyError) as error:
        unknown = "its primaries or white are unknown; convert it to sRGB, with 16 bits"
        raise PhotoError(str(error) if isinstance(error, icc.ProfileError) else unknown) from error


def _to_photo(
    samples: NDArray[Any], header: JpegXlHeader, metadata: Metadata
) -> tuple[Photo, Metadata]:
    """Scale samples; extra channels that are not the opacity are dropped and said."""
    kinds = header.extra_channels
    if header.color.space == GREY and kinds and ALPHA not in kinds:
        samples = samples[0]  # imagecodecs returns these by planes
    extra = len(kinds) - (ALPHA in kinds)
    if extra:
        metadata = metadata.with_warning(
            f"{extra} extra channel{'s are' if extra > 1 else ' is'} dropped"
        )
    bits = header.bits
    if samples.dtype.kind == "f":  # of integers of more than 16 bits, too
        lowest, highest = float(samples.min()), float(samples.max())
        if not -_OVERSHOOT <= lowest <= highest <= 1 + _OVERSHOOT:  # also if NaN
            raise PhotoError(
                f"it has floating-point samples from {lowest:g} to {highest:g}; only those from 0, "
                "black, to 1, white, can be read"
            )
        kind = "floating-point samples" if header.is_float else f"samples of {bits} bits"
        metadata = metadata.with_warning(f"{kind} are reduced to 16 bits")
        samples, bits = from_unit_range(samples.astype(np.float32), 16), 16
    return to_photo(samples, bits, is_premultiplied=header.is_premultiplied), metadata
