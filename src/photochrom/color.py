"""Colour on arrays: sRGB to CIELAB and back, with every constant that this takes.

sRGB follows IEC 61966-2-1, CIELAB is CIE 1976 under D65 and the 2 degree observer, with the matrix
and white point of scikit-image, against which the tests compare. Everything is float32 and works
on any leading shape. `photochrom.darkroom.tensors` is the same on tensors.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

L_SCALE = 50.0
"""A network sees L = L*/L_SCALE - 1, in [-1, 1]."""
AB_SCALE = 110.0
"""A network predicts ab = (a*, b*)/AB_SCALE; sRGB spans -86.2..98.3 and -107.9..94.5."""

RGB_TO_XYZ: FloatArray = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    dtype=np.float32,
)
"""Linear sRGB to CIE XYZ."""
XYZ_TO_RGB: FloatArray = np.linalg.inv(RGB_TO_XYZ.astype(np.float64)).astype(np.float32)
WHITE: FloatArray = np.array([0.95047, 1.0, 1.08883], dtype=np.float32)
"""CIE XYZ of D65."""

_EPSILON = 0.008856  # (6/29)^3: below it CIELAB is linear
_KAPPA = 7.787  # (29/6)^2 / 3


def _linear(srgb: FloatArray) -> FloatArray:
    """Undo the sRGB transfer curve, values in [0, 1]."""
    low = srgb / np.float32(12.92)
    high = ((srgb + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(srgb > 0.04045, high, low)


def _encoded(linear: FloatArray) -> FloatArray:
    """Apply the sRGB transfer curve, values in [0, 1]."""
    low = linear * np.float32(12.92)
    high = np.float32(1.055) * np.maximum(linear, 0) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear > 0.0031308, high, low)


_ENCODED: FloatArray = _encoded(np.linspace(0, 1, 65536, dtype=np.float32))
"""sRGB of 65536 linear values: a look-up is off by 1e-4 at most and spares a slow power."""


@functools.cache
def _linear_table(dtype: np.dtype[Any]) -> FloatArray:
    """Return the linear value of every value that an unsigned integer type can hold."""
    largest = np.iinfo(dtype).max
    return _linear(np.arange(largest + 1, dtype=np.float32) / np.float32(largest))


def _f(xyz: FloatArray) -> FloatArray:
    """Apply the lightness curve of CIELAB to XYZ over white."""
    return np.where(xyz > _EPSILON, np.cbrt(xyz), np.float32(_KAPPA) * xyz + np.float32(16 / 116))


def rgb_to_lab(rgb: FloatArray) -> FloatArray:
    """Return CIELAB of sRGB.

    Args:
        rgb: Shape (..., 3), in [0, 1].

    Returns:
        Shape (..., 3): L* in 0..100, a* and b* in CIELAB units.
    """
    f = _f(_linear(rgb.astype(np.float32, copy=False)) @ (RGB_TO_XYZ.T / WHITE))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lightness(pixels: FloatArray | NDArray[np.uint8] | NDArray[np.uint16]) -> FloatArray:
    """Return L* of sRGB pixels as they lie in a file: what `rgb_to_lab` gives, without a* and b*.

    Args:
        pixels: Shape (..., 3), or (..., 1) where all three channels are the same; floats in
            [0, 1], or unsigned integers of which the largest is white.

    Returns:
        Shape (...): L* in 0..100.
    """
    if pixels.dtype.kind == "u":
        linear = _linear_table(pixels.dtype)[pixels]
    else:
        linear = _linear(pixels.astype(np.float32, copy=False))
    Y = linear[..., 0] if pixels.shape[-1] == 1 else linear @ RGB_TO_XYZ[1]
    return (116 * _f(Y) - 16).astype(np.float32, copy=False)


def _lab_to_linear(L: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Return linear sRGB, (3, n), of CIELAB in planes of n; outside [0, 1] where sRGB has none."""
    f = np.empty((3, L.size), np.float32)
    np.multiply(L + np.float32(16), np.float32(1 / 116), out=f[1])
    np.add(f[1], a * np.float32(1 / 500), out=f[0])
    np.subtract(f[1], b * np.float32(1 / 200), out=f[2])
    xyz = f * f * f
    low = xyz <= _EPSILON
    if low.any():
        xyz[low] = (f[low] - np.float32(16 / 116)) / np.float32(_KAPPA)
    return (XYZ_TO_RGB * WHITE) @ xyz


def _outside(linear: FloatArray) -> NDArray[np.bool_]:
    """Tell which columns of (3, n) are outside sRGB by more than rounding.

    White itself is 8e-5 too bright, as matrix and white point are rounded. Below, where 1e-4 is
    a third of a level of 8 bits, black would show a tint.
    """
    outside: NDArray[np.bool_] = (linear.min(axis=0) < -1e-5) | (linear.max(axis=0) > 1 + 1e-4)
    return outside


def lab_to_rgb(lab: FloatArray) -> FloatArray:
    """Return sRGB of CIELAB; a colour outside sRGB loses chroma, never lightness or hue.

    Clipping each channel would shift L*, which is the photograph itself. Instead a* and b* of such
    a colour are scaled by the largest factor in [0, 1] that brings it into the gamut, found by
    bisection.

    Args:
        lab: Shape (..., 3), L* in 0..100.

    Returns:
        Shape (..., 3), in [0, 1].
    """
    # Planes, not pixels, inside: numpy is several times faster on contiguous memory.
    L, a, b = np.ascontiguousarray(lab.reshape(-1, 3).T, dtype=np.float32)
    linear = _lab_to_linear(L, a, b)
    wrong = np.flatnonzero(_outside(linear))
    if wrong.size:
        L, a, b = L[wrong], a[wrong], b[wrong]
        inside = np.zeros(wrong.size, np.float32)
        step = np.float32(0.5)
        for _ in range(10):  # to 1/1024 of the chroma, under a tenth of a CIELAB unit
            middle = inside + step
            inside = np.where(_outside(_lab_to_linear(L, a * middle, b * middle)), inside, middle)
            step /= 2
        linear[:, wrong] = _lab_to_linear(L, a * inside, b * inside)
    indices = np.clip(linear * np.float32(65535) + np.float32(0.5), 0, 65535).astype(np.uint16)
    return np.ascontiguousarray(_ENCODED[indices].T).reshape(lab.shape)
