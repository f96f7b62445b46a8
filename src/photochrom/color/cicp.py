"""Coding-independent code points: colours named by numbers, in PNG, AVIF, HEIF and video.

Follows ITU-T H.273, sections 8.1 (primaries) and 8.2 (transfer curves).
"""

import numpy as np

from photochrom.color import icc
from photochrom.color.cie import FloatArray
from photochrom.color.spaces import srgb_to_linear

UNSPECIFIED = 2
_BT709, _SRGB = 1, 13
_C, _D65 = (0.310, 0.316), (0.3127, 0.3290)
_SMPTE170 = icc.Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
_PRIMARIES = {
    _BT709: icc.BT709,
    4: icc.Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: icc.Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: _SMPTE170,
    7: _SMPTE170,
    8: icc.Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: icc.Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: icc.Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: icc.Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: icc.Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_TRANSFER_NAMES = {
    9: "logarithmic",
    10: "logarithmic",
    16: "PQ (HDR)",
    17: "SMPTE ST 428",
    18: "HLG (HDR)",
}


def cicp_profile(primaries: int, transfer: int, *, is_grey: bool = False) -> bytes | None:
    """Return an ICC profile of RGB, or of grey, with these code points; None if they are sRGB's.

    `UNSPECIFIED` primaries are BT.709's, an unspecified curve is sRGB's.

    Raises:
        ProfileError: If the curve is one of HDR, or a code point is unknown.
    """
    primaries = _BT709 if primaries == UNSPECIFIED else primaries
    transfer = _SRGB if transfer == UNSPECIFIED else transfer
    curve = transfer_curve(transfer)
    if not is_grey and primaries not in _PRIMARIES:
        raise icc.ProfileError(
            f"its primaries, number {primaries} of H.273, cannot be used; convert it to sRGB, "
            "Display P3 or Adobe RGB, with 16 bits"
        )
    if transfer == _SRGB and (is_grey or primaries == _BT709):
        return None
    return icc.build_profile(curve, None if is_grey else _PRIMARIES[primaries])


def transfer_curve(transfer: int) -> float | FloatArray:
    """Return linear values as `icc.build_profile` takes them.

    Raises:
        ProfileError: If the curve is one of HDR, or unknown.
    """
    values = np.linspace(0, 1, 4096, dtype=np.float32)
    if transfer in (_BT709, 6, 11, 12, 14, 15):
        return _two_part_curve(values, 0.099, 4.5, 0.081)
    if transfer == 7:
        return _two_part_curve(values, 0.1115, 4.0, 0.0913)
    if transfer == _SRGB:
        return srgb_to_linear(values)
    exponents = {4: 2.2, 5: 2.8, 8: 1.0}
    if transfer not in exponents:
        name = _TRANSFER_NAMES.get(transfer, f"number {transfer} of H.273")
        raise icc.ProfileError(
            f"its transfer curve, {name}, cannot be used; convert it to sRGB, Display P3 or "
            "Adobe RGB, with 16 bits"
        )
    return exponents[transfer]


def _two_part_curve(values: FloatArray, offset: float, slope: float, end: float) -> FloatArray:
    """Invert a power of 0.45 with an offset; up to `end` it is a straight line."""
    power = ((values + offset) / (1 + offset)) ** (1 / 0.45)
    curve: FloatArray = np.where(values < end, values / slope, power).astype(np.float32)
    return curve
