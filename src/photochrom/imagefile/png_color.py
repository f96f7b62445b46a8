"""Colours of a PNG without a profile: its chunks cICP, gAMA and cHRM become one."""

import dataclasses
import struct

import numpy as np

from photochrom.color import cicp, icc
from photochrom.color.cie import FloatArray
from photochrom.color.spaces import srgb_to_linear
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata

_CICP_RGB, _CICP_FULL_RANGE = 0, 1
_GAMMA_TOLERANCE = 0.05
"""Within it, a gamma of 1/2.2 stands for sRGB's curve, as in libpng."""
_CHROMATICITY_TOLERANCE = 0.01
_MAX_EXPONENT = 10
_PRIMARY_CHUNKS = (b"cHRM", b"cICP")


def with_color_profile(metadata: Metadata, *, is_grey: bool) -> Metadata:
    """Return the metadata of a PNG with the profile that its chunks describe, if they do.

    cICP comes before a profile, sRGB and a profile before gAMA and cHRM (PNG, third edition,
    section 4.3).

    Raises:
        PhotoError: If cICP names colours that cannot be used, such as those of HDR.
    """
    chunks = {chunk[4:8]: chunk[8:-4] for chunk in metadata.png_chunks}
    try:
        code_points = chunks.get(b"cICP", b"")
        if len(code_points) == 4:
            primaries, transfer, matrix, value_range = code_points
            if (matrix, value_range) != (_CICP_RGB, _CICP_FULL_RANGE):
                raise PhotoError("its chunk cICP says YCbCr or video range; give full-range RGB")
            if (primaries, transfer) != (cicp.UNSPECIFIED, cicp.UNSPECIFIED):
                profile = cicp.cicp_profile(primaries, transfer, is_grey=is_grey)
                return _replace_profile(metadata, profile, is_grey=is_grey)
    except icc.ProfileError as error:
        raise PhotoError(str(error)) from error
    if metadata.icc is not None or b"sRGB" in chunks:
        return metadata
    try:
        profile = _calibrated_profile(chunks.get(b"gAMA"), chunks.get(b"cHRM"), is_grey=is_grey)
    except (icc.ProfileError, struct.error):
        return metadata.with_profile(None).with_warning(
            "the colours in gAMA and cHRM are not plausible and are dropped"
        )
    return _replace_profile(metadata, profile, is_grey=is_grey)


def _replace_profile(metadata: Metadata, profile: bytes | None, *, is_grey: bool) -> Metadata:
    """Set the profile; grey loses the chunks of primaries, which its colours will not have."""
    chunks = tuple(c for c in metadata.png_chunks if not is_grey or c[4:8] not in _PRIMARY_CHUNKS)
    return dataclasses.replace(metadata, icc=profile, png_chunks=chunks)


def _calibrated_profile(
    gamma: bytes | None, colors: bytes | None, *, is_grey: bool
) -> bytes | None:
    """Return a profile by gAMA and cHRM (sections 11.3.2.1 and 11.3.2.2); None: they are sRGB's.

    Raises:
        icc.ProfileError: If they are not plausible.
        struct.error: If they have a wrong length.
    """
    curve: float | FloatArray = srgb_to_linear(np.linspace(0, 1, 4096, dtype=np.float32))
    primaries = icc.BT709
    has_srgb_curve = has_srgb_primaries = True
    if gamma is not None and any(gamma):  # 0 has no meaning
        exponent = 100_000 / struct.unpack(">I", gamma)[0]
        if not 1 / _MAX_EXPONENT < exponent < _MAX_EXPONENT:
            raise icc.ProfileError("the gamma is not plausible")
        curve = exponent
        has_srgb_curve = abs(exponent / 2.2 - 1) < _GAMMA_TOLERANCE
    if colors is not None and not is_grey:
        x_y = np.array(struct.unpack(">8I", colors)) / 100_000
        white, red, green, blue = ((float(x), float(y)) for x, y in x_y.reshape(4, 2))
        primaries = icc.Primaries(red, green, blue, white)
        expected = (*icc.BT709.white, *icc.BT709.red, *icc.BT709.green, *icc.BT709.blue)
        has_srgb_primaries = bool(np.abs(x_y - expected).max() < _CHROMATICITY_TOLERANCE)
    if has_srgb_curve and has_srgb_primaries:
        return None
    return icc.build_profile(curve, None if is_grey else primaries)
