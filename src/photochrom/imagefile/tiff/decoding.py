"""Decoding of TIFF pages of all kinds that Pillow and OpenCV do not decode, or not fully.

tifffile and imagecodecs decode the samples; here they become grey or RGB of 8 or 16 bits. Follows
TIFF 6.0, and Adobe's technical notes for Photoshop (ICCLab, floating point).
"""

import logging
import struct
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base as Tag

from photochrom.color import Pixels, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import convert_cmyk
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.samples import from_unit_range, to_full_range
from photochrom.imagefile.tiff.pages import ALPHAS, ASSOCIATED_ALPHA, SAMPLES, Page, extract_page
from photochrom.imagefile.tiff.segments import EMBEDDED_FORMATS, check_segments, check_tile_size
from photochrom.imagefile.tiff.structure import LONG, SHORT, TiffError, Tree

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_GREYS = (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
_CIELAB, _ITULAB = 8, 10
_LABS = (_CIELAB, 9, _ITULAB)
_OTHER_COLORS = {
    4: "that is a transparency mask",
    32803: "of a raw photo's colour filter array",
    32844: "of CIE log L",
    32845: "of CIE LogLuv",
    34892: "of a raw photo's linear samples",
}
_SIGNED_NAME = "of signed integers, whose black and white are not defined"
_PLANAR = 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED, _COMPLEX = 1, 2, 3, 4, {5, 6}
_OLD_JPEG, _JPEG = 6, 7
_PILLOW_COMPRESSIONS = {1, 2, 3, 4, 5, _OLD_JPEG, _JPEG, 8, 32771, 32773, 32946}
_OPENCV_COMPRESSIONS = {1, 5, 8, 32773, 32946}
_LIBTIFF_COMPRESSIONS = {32766, 32809, 32908, 32909, 34661}
"""NeXT, ThunderScan, PixarFilm, PixarLog and JBIG."""
_TIFFFILE_COMPRESSIONS = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, *EMBEDDED_FORMATS}
_FLOAT_TOLERANCE = 0.01
"""By which resampling may exceed black or white."""
_SAMPLE_BYTES = 16
"""Limit of bytes of the decoded samples for each pixel that is allowed."""
_BLOCK_ROWS = 256
_LAB_ZERO = 128 * 257
"""a* or b* of 0 in the encoding of `icc.lab_to_srgb`."""


def is_ordinary(page: Page) -> bool:
    """Tell whether Pillow or OpenCV decode a page completely: most with 1 to 8 or 16 bits."""
    color, compression, planar, samples = (
        (page.numbers(tag)[:1] or (default,))[0]
        for tag, default in (
            (Tag.PhotometricInterpretation, None),
            (Tag.Compression, 1),
            (Tag.PlanarConfiguration, 1),
            (Tag.SamplesPerPixel, 1),
        )
    )
    bits = set(page.numbers(Tag.BitsPerSample)) or {1}
    extra = page.extra_samples
    if compression == _OLD_JPEG:
        return True
    if set(page.numbers(Tag.SampleFormat)) - {_UNSIGNED, _UNDEFINED}:
        return False
    if color is None:
        return True
    if color == _YCBCR:
        return compression == _JPEG and bits == {8}
    if color == _PALETTE or bits <= {1, 2, 4}:
        is_single = samples == 1 and max(bits) <= 8 and color in (*_GREYS, _PALETTE)
        # Pillow takes the upper 8 bits of a palette.
        is_complete = color != _PALETTE or _has_upper_bits_only(page.numbers(Tag.ColorMap))
        return is_single and is_complete and compression in _PILLOW_COMPRESSIONS
    is_complete = samples == SAMPLES.get(color, 0) + len(extra)
    is_interleaved = planar != _PLANAR or samples == 1
    if bits == {8} and color in (*_GREYS, _RGB, _CMYK):
        is_alpha = len(extra) <= 1 and is_interleaved and color != _CMYK
        return compression in _PILLOW_COMPRESSIONS and is_complete and (not extra or is_alpha)
    return (
        bits == {16}
        and page.numbers(Tag.FillOrder) in ((), (1,))
        and compression in _OPENCV_COMPRESSIONS
        and is_interleaved
        and (samples == 1 if color in _GREYS else color == _RGB and len(extra) <= 1)
        and is_complete
    )


def decode_page(page: Page, metadata: Metadata, max_pixels: int) -> Photo:
    """Decode a page of any other kind to grey or RGB.

    CMYK and Lab become sRGB. 1 to 8 bits become 8; more, and floating point, become 16.

    Args:
        page: The page.
        metadata: Of the page.
        max_pixels: Limit of pixels; a page of many extra samples has to have fewer.

    Returns:
        A photo with metadata; a profile that they have is not applied yet.

    Raises:
        PhotoError: If it is of a kind that cannot be read.
        Exception: Of any type, if it is damaged.
    """
    color, compression = (
        (page.numbers(tag)[:1] or (1,))[0]
        for tag in (Tag.PhotometricInterpretation, Tag.Compression)
    )
    if compression in _LIBTIFF_COMPRESSIONS or (
        color == _YCBCR and compression not in EMBEDDED_FORMATS
    ):
        return Photo(_decode_by_libtiff(page, is_grey=color in _GREYS), metadata=metadata)
    _refuse_unsupported(page, color, compression)
    samples, bits = _decode_samples(page, max_pixels)
    colors = SAMPLES[color]
    if color in _LABS and samples.shape[2] < colors:  # L* alone
        colors = 1
    if samples.shape[2] < colors:
        raise PhotoError(f"it has {samples.shape[2]} samples for each pixel instead of {colors}")
    if bits == 32 and samples.dtype.kind in "iu" and 0 <= samples.min() <= samples.max() < 1 << 16:
        samples, bits = samples.astype(np.uint16), 16  # as Pillow and others write 16 bits
    if color == _PALETTE:
        if bits > 16:
            raise _unsupported(f"of a palette of {bits} bits")
        return _look_up(page, samples, bits, metadata)
    if samples.dtype.kind == "i" and color not in _LABS:
        raise _unsupported(_SIGNED_NAME)
    if samples.dtype.kind == "f":
        metadata = _describe_float(samples[..., :colors], metadata)
    elif bits > 16:
        metadata = metadata.with_warning(f"samples of {bits} bits are reduced to 16")
    values = _scale(samples[..., :colors], bits)
    alpha = _read_alpha(page, samples, bits)
    if alpha is not None and ASSOCIATED_ALPHA in page.extra_samples:
        values = _divide_by_alpha(values, alpha)
    return _to_rgb(values, alpha, color, metadata)


def _read_alpha(page: Page, samples: NDArray[Any], bits: int) -> Pixels | None:
    """Return the first extra sample that is opacity."""
    extra = page.extra_samples
    index = next((i for i, kind in enumerate(extra) if kind in ALPHAS), None)
    if index is None or samples.shape[2] <= len(extra):
        return None
    return _scale(samples[..., samples.shape[2] - len(extra) + index], bits)


def _look_up(page: Page, samples: NDArray[Any], bits: int, metadata: Metadata) -> Photo:
    """Return the colours of a palette (ColorMap), with 16 bits if it has more than 8."""
    palette: Pixels = np.array(page.numbers(Tag.ColorMap), np.uint16)
    if len(palette) != 3 << bits:
        raise TiffError("its palette is missing or has a wrong length")
    if palette.max() < 256:  # some writers do not scale 8 bits to the 16 of TIFF
        palette = palette.astype(np.uint8)
    elif _has_upper_bits_only(palette):
        palette = (palette >> 8).astype(np.uint8)
    colors = palette.reshape(3, -1).T.copy()[samples[..., 0]]
    alpha = _read_alpha(page, samples, bits)
    if alpha is not None:
        alpha = to_full_range(alpha, alpha.itemsize * 8, palette.itemsize * 8)
    return Photo(colors, alpha, metadata=metadata)


def _has_upper_bits_only(palette: Iterable[int]) -> bool:
    """Tell whether values of 16 bits are those of 8, scaled by 256 or 257."""
    return all(n % 256 == 0 for n in palette) or all(n % 257 == 0 for n in palette)


def _to_rgb(values: Pixels, alpha: Pixels | None, color: int, metadata: Metadata) -> Photo:
    """Return a photo of grey or RGB."""
    if color in _LABS:
        metadata = metadata.with_profile(None).with_warning("Lab is converted to sRGB")
        pixels = _lab_to_srgb(values, color)
        return Photo(pixels, alpha, metadata=metadata.with_profile(icc.srgb_profile()))
    if color == _CMYK:
        return convert_cmyk(values, alpha, metadata)
    return Photo(~values if color == _WHITE_IS_ZERO else values, alpha, metadata=metadata)


def _refuse_unsupported(page: Page, color: int, compression: int) -> None:
    name = None
    formats = set(page.numbers(Tag.SampleFormat))
    bits = page.numbers(Tag.BitsPerSample) or (1,)
    if color not in SAMPLES:
        name = _OTHER_COLORS.get(color, f"of photometric interpretation {color}")
    elif compression not in _TIFFFILE_COMPRESSIONS:
        name = f"of compression {compression} ({_name_compression(compression)})"
    elif color == _YCBCR and compression != _JPEG:
        name = f"of YCbCr in compression {compression}"
    elif _SIGNED in formats and color not in _LABS and {*bits} != {32}:
        name = _SIGNED_NAME
    elif formats & _COMPLEX:
        name = "of complex numbers"
    elif color == _CMYK and (page.numbers(Tag.InkSet) or (1,)) != (1,):
        name = "of inks other than CMYK"
    elif color in _LABS and {*bits} not in ({8}, {16}):
        name = f"of Lab with {max(bits)} bits, not 8 or 16"
    elif color == _ITULAB and (433 in page.directory.fields or {*bits} != {8}):
        name = "of ITULab with another range than the usual one of 8 bits"
    if name is not None:
        raise _unsupported(name)


def _name_compression(code: int) -> str:
    from tifffile import COMPRESSION

    return COMPRESSION(code).name if code in {*COMPRESSION} else "unknown"


def _unsupported(name: str) -> PhotoError:
    return PhotoError(
        f"it is a TIFF {name}, which is not supported; grey, RGB, CMYK and Lab are, with unsigned "
        "integers or floating point"
    )


def _decode_samples(page: Page, max_pixels: int) -> tuple[NDArray[Any], int]:
    """Return samples, shape (H, W, n), and their number of bits."""
    if set(page.numbers(Tag.BitsPerSample)) == {24} and _FLOAT not in page.numbers(
        Tag.SampleFormat
    ):
        return _decode_24_bits(page, max_pixels), 24
    return _decode_by_tifffile(extract_page(page), max_pixels)


def _decode_24_bits(page: Page, max_pixels: int) -> NDArray[Any]:
    """Decode integers of 24 bits, in the byte order of the file, as three bytes each."""
    (samples,) = page.numbers(Tag.SamplesPerPixel)[:1] or (1,)
    order = page.tiff.order
    changed: Tree = {Tag.BitsPerSample: (SHORT, struct.pack(order + "H", 8) * samples)}
    for tag in (Tag.ImageWidth, Tag.TileWidth):
        if tag in page.directory.fields:
            changed[tag] = LONG, struct.pack(order + "I", 3 * page.numbers(tag)[0])
    if page.numbers(Tag.Predictor) not in ((), (1,)):
        raise PhotoError("it is a TIFF of 24 bits with a predictor, which is not supported")
    encoded, _ = _decode_by_tifffile(extract_page(page, changed), max_pixels)
    height, width = len(encoded), encoded.shape[1] // 3
    if page.numbers(Tag.PlanarConfiguration) == (_PLANAR,):
        parts = np.moveaxis(encoded.reshape(height, width, 3, samples), 2, 0)
    else:
        parts = np.moveaxis(encoded.reshape(height, width, samples, 3), 3, 0)
    low, middle, high = parts if order == "<" else parts[::-1]
    joined: NDArray[np.uint32] = (
        (high.astype(np.uint32) << 16) | (middle.astype(np.uint32) << 8) | low
    )
    return joined


def _decode_by_tifffile(data: bytes, max_pixels: int) -> tuple[NDArray[Any], int]:
    """Return samples, shape (H, W, n), and their number of bits."""
    import tifffile  # 35 ms, which few photos need

    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints to stderr
    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        if page.dtype is None:
            raise PhotoError(
                f"it is a TIFF with samples of {page.bitspersample} bits of format "
                f"{page.sampleformat}, which is not supported"
            )
        if page.imagedepth != 1:
            raise PhotoError("it is a TIFF of a volume, which is not supported; give its slices")
        if page.size * page.dtype.itemsize > max_pixels * _SAMPLE_BYTES:
            raise PhotoError(
                f"it is too large: {page.imagewidth}x{page.imagelength} with "
                f"{page.samplesperpixel} samples for each pixel; allow more with --max-pixels"
            )
        check_segments(page, data)
        # Shape (planes, 1, H, W, samples of a plane)
        planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]
    samples = planes[0] if page.planarconfig != _PLANAR else np.moveaxis(planes[..., 0], 0, -1)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8
    return samples, bits


def _decode_by_libtiff(page: Page, *, is_grey: bool) -> NDArray[np.uint8]:
    """Decode 8 bits by libtiff's conversion to RGB, which knows subsampled YCbCr."""
    from imagecodecs import tiff_decode

    check_tile_size(page)
    if max(page.numbers(Tag.BitsPerSample), default=1) > 8:
        raise _unsupported("of YCbCr, or of an old compression, with more than 8 bits")
    rgba: NDArray[np.uint8] = tiff_decode(extract_page(page), asrgb=True)
    if rgba.shape[:2] != page.numbers(Tag.ImageLength)[:1] + page.numbers(Tag.ImageWidth)[:1]:
        raise TiffError("its size is not that of its pixels")
    return rgba[..., : 1 if is_grey else 3].copy()


def _describe_float(values: NDArray[Any], metadata: Metadata) -> Metadata:
    """Return metadata that say how floating-point values are read; refuse those out of range."""
    lowest, highest = float(values.min()), float(values.max())
    if not -_FLOAT_TOLERANCE <= lowest <= highest <= 1 + _FLOAT_TOLERANCE:  # also if NaN
        raise PhotoError(
            f"it is a TIFF of floating-point values from {lowest:g} to {highest:g}; only those "
            "from 0, black, to 1, white, can be read"
        )
    if metadata.icc is None:
        metadata = metadata.with_warning(
            "floating-point values are read as encoded by sRGB's curve, not as linear: there is "
            "no colour profile"
        )
    return metadata.with_warning("floating-point values are reduced to 16 bits")


def _scale(samples: NDArray[Any], bits: int) -> Pixels:
    """Return contiguous samples of 8 or 16 bits whose largest value is white."""
    if samples.dtype.kind != "f" and bits <= 16:
        unsigned = samples.astype(f"u{samples.dtype.itemsize}", copy=False)
        return to_full_range(np.ascontiguousarray(unsigned), bits)
    scaled = np.empty(samples.shape, np.uint16)
    for top in range(0, len(samples), _BLOCK_ROWS):
        rows = samples[top : top + _BLOCK_ROWS]
        scaled[top : top + _BLOCK_ROWS] = (
            from_unit_range(rows, 16) if samples.dtype.kind == "f" else rows >> (bits - 16)
        )
    return scaled


def _divide_by_alpha(values: Pixels, alpha: Pixels) -> Pixels:
    """Undo the multiplication by opacity."""
    largest = np.iinfo(values.dtype).max
    straight = np.empty_like(values)
    for row, out, opacity in zip(values, straight, alpha, strict=True):
        divided = row * np.float32(largest) / np.maximum(opacity, 1)[:, None]
        out[:] = np.minimum(divided + np.float32(0.5), largest)
    return straight


def _lab_to_srgb(values: Pixels, color: int) -> Pixels:
    """Convert Lab of a TIFF, shape (H, W, 3) or L* alone, to sRGB of as many bits.

    CIELab has signed a* and b*, ICCLab an offset and an L* of 100 at 0xFF00 of 16 bits (Adobe's
    technical note); the range of ITULab is that of ITU-T T.42, section 5.
    """
    dtype = values.dtype
    lab = np.full((*values.shape[:2], 3), _LAB_ZERO, np.uint16)
    for row, out in zip(values, lab, strict=True):
        encoded = row.astype(np.int64)
        if color == _CIELAB:
            ab = row[:, 1:].view(f"i{dtype.itemsize}").astype(np.int64)
            encoded[:, 1:] = ab + 128 if dtype == np.uint8 else ab + 32768
        if color == _ITULAB:
            encoded[:, 1:2] = (encoded[:, 1:2] - 128) * 170 / 255 * 257 + _LAB_ZERO
            encoded[:, 2:] = (encoded[:, 2:] - 96) * 200 / 255 * 257 + _LAB_ZERO
            encoded[:, :1] *= 257
        elif dtype == np.uint8:
            encoded *= 257
        else:  # 16 bits have steps of 1/256
            first = 1 if color == _CIELAB else 0
            encoded[:, first:] = (encoded[:, first:] * 257 + 128) // 256
        out[:, : row.shape[1]] = np.clip(encoded, 0, 65535)
    rgb = icc.lab_to_srgb(lab, dtype)
    return rgb if values.shape[2] == 3 else rgb[..., :1].copy()
