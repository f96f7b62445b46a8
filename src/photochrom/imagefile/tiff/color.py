"""Colours of a TIFF page without a profile: tags of white, primaries and transfer become one."""

import dataclasses

import numpy as np
from PIL.ExifTags import Base as Tag

from photochrom.color import SRGB, icc
from photochrom.color.cie import FloatArray
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.tiff.pages import Page

_GREYS = (0, 1)
_RGBS = (2, 3, 6)
"""RGB, palette and YCbCr."""
_COLOR_TAGS = frozenset((Tag.TransferFunction, Tag.WhitePoint, Tag.PrimaryChromaticities))
_CURVE_POINTS = 4096


def wrong_color_tags(page: Page) -> frozenset[int]:
    """Return tags of white, primaries and transfer that are wrong on the page once it is read.

    They hold for RGB that stays in its space; grey, CMYK and Lab become sRGB, as does RGB with a
    profile of tables.
    """
    if page.numbers(Tag.PhotometricInterpretation)[:1] not in [(color,) for color in _RGBS]:
        return _COLOR_TAGS
    profile = page.read_block(Tag.InterColorProfile)
    if profile is not None:
        try:
            icc.read_profile(profile)
        except icc.ProfileError:
            return _COLOR_TAGS
    keeps_bits = set(page.numbers(Tag.BitsPerSample)) in ({8}, {16})
    return frozenset() if keeps_bits else frozenset((Tag.TransferFunction,))


def with_color_profile(page: Page, metadata: Metadata) -> Metadata:
    """Return metadata with the profile that the tags of a page without one describe, if they do.

    Follows TIFF 6.0, section 20. Without `TransferFunction`, the curve is sRGB's.
    """
    color = page.numbers(Tag.PhotometricInterpretation)[:1]
    is_grey = color in [(grey,) for grey in _GREYS]
    if metadata.icc is not None or not (is_grey or color in [(rgb,) for rgb in _RGBS]):
        return metadata
    primaries, curve = _read_primaries(page), _read_transfer_function(page)
    try:
        if curve is None:
            profile = icc.calibrated_profile(None, primaries, is_grey=is_grey)
        else:
            profile = icc.build_profile(curve, None if is_grey else primaries or icc.BT709)
            if icc.read_profile(profile) is SRGB:
                profile = None
    except icc.ProfileError:
        return metadata.with_warning(
            "white point, primaries and transfer function are not plausible and are not used"
        )
    return metadata if profile is None else dataclasses.replace(metadata, icc=profile)


def _read_primaries(page: Page) -> icc.Primaries | None:
    white, colors = map(page.fractions, (Tag.WhitePoint, Tag.PrimaryChromaticities))
    if len(white) != 2 or len(colors) != 6:
        return None
    red, green, blue = ((colors[i], colors[i + 1]) for i in (0, 2, 4))
    return icc.Primaries(red, green, blue, (white[0], white[1]))


def _read_transfer_function(page: Page) -> FloatArray | None:
    """Return linear values of equally spaced pixel values, shape (n,) or (3, n)."""
    numbers = np.array(page.numbers(Tag.TransferFunction), np.float32) / 65535
    count = 1 << (page.numbers(Tag.BitsPerSample)[:1] or (1,))[0]
    if len(numbers) not in (count, 3 * count) or count == 1:
        return None
    curves = numbers.reshape(-1, count)
    if curves[0, 0] > curves[0, -1]:  # of grey whose 0 is white
        curves = curves[:, ::-1]
    points = np.linspace(0, 1, min(count, _CURVE_POINTS))
    values = np.linspace(0, 1, count)
    resampled: FloatArray = np.array([np.interp(points, values, curve) for curve in curves])
    return resampled.astype(np.float32).squeeze()
