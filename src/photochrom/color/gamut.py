"""Gamut mapping: reduce the chroma of a colour until its space contains it.

Clipping each channel would shift L*, which is the photograph itself. Scaling a* and b* by one
factor keeps lightness and hue.
"""

import functools

import cv2
import numpy as np

from photochrom.color.cie import F_EPSILON, FloatArray, f_inverse
from photochrom.color.spaces import CACHE_SIZE, SRGB, ColorSpace, xyz_to_linear

_MIN_LINEAR, _MAX_LINEAR = -1e-5, 1 + 1e-4  # rounding; a lower minimum would tint black
_L_STEPS, _HUE_STEPS = 241, 270  # resolution of the table of largest chroma
_MAX_REMAP_SIZE = 32_000  # cv2.remap takes fewer than 2^15 values


def lab_to_linear(
    space: ColorSpace, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray
) -> FloatArray:
    """Convert CIELAB, shape (n,) each, to linear values of an RGB space, mapped into its gamut.

    x = y + a*/500, y = (L* + 16)/116, z = y - b*/200.

    Returns:
        Shape (3, n), in [0, 1] but for rounding.
    """
    matrix = xyz_to_linear(space)
    linear = matrix @ _xyz(space, x, y, z, Y)
    outside = np.False_
    if linear.min(initial=0) < _MIN_LINEAR:
        outside = linear.min(axis=0) < _MIN_LINEAR
    if linear.max(initial=0) > _MAX_LINEAR:
        outside = outside | (linear.max(axis=0) > _MAX_LINEAR)
    indices = np.flatnonzero(outside)
    if indices.size:
        y = y[indices]
        a, b = x[indices] - y, y - z[indices]
        scale = _chroma_scale(space, y, a, b)
        linear[:, indices] = matrix @ _xyz(space, y + a * scale, y, y - b * scale, Y[indices])
    return linear


def limit_chroma(space: ColorSpace, L: FloatArray, ab: FloatArray) -> FloatArray:
    """Reduce the chroma of colours until a space contains them.

    Args:
        space: An RGB space.
        L: L*, shape (n,).
        ab: a* and b*, shape (2, n).

    Returns:
        Shape (2, n).
    """
    y = (L.astype(np.float32) + np.float32(16)) / np.float32(116)
    a, b = ab.astype(np.float32)
    scale = _chroma_scale(space, y, a / np.float32(500), b / np.float32(200))
    return np.stack([a * scale, b * scale])


def _xyz(
    space: ColorSpace, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray
) -> FloatArray:
    """Return XYZ relative to white, shape (3, n).

    Outside sRGB, whose curve starts linearly, the blacks of 16 bits need more digits than f has.
    Dark X and Z are therefore computed as differences from Y, so that greys stay exact.
    """
    xyz = np.empty((3, Y.size), np.float32)
    xyz[1] = Y
    for plane, value in ((xyz[0], x), (xyz[2], z)):
        if value.min(initial=1) > F_EPSILON:  # true of most strips of a photo
            np.multiply(value, value, out=plane)
            plane *= value
        elif space is SRGB:
            plane[:] = f_inverse(value)
        else:
            plane[:] = Y + (f_inverse(value) - f_inverse(y))
    return xyz


def _chroma_scale(space: ColorSpace, y: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the largest factor in [0, 1] on a*/500 and b*/200 that a space contains."""
    chroma, hue = cv2.cartToPolar(a * np.float32(500), b * np.float32(200))
    column = hue * np.float32(_HUE_STEPS / (2 * np.pi))
    row = (y * np.float32(116) - np.float32(16)) * np.float32((_L_STEPS - 1) / 100)
    largest = np.empty_like(chroma)
    for start in range(0, len(chroma), _MAX_REMAP_SIZE):
        part = slice(start, start + _MAX_REMAP_SIZE)
        largest[part] = cv2.remap(
            _largest_chroma(space),
            column[part],
            row[part],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    scale: FloatArray = np.minimum(largest / np.maximum(chroma, np.float32(1e-6)), 1).ravel()
    return scale


@functools.lru_cache(maxsize=CACHE_SIZE)
def _largest_chroma(space: ColorSpace) -> FloatArray:
    """Find the largest chroma of a space at every lightness and hue by bisection.

    Returns:
        Shape (_L_STEPS, _HUE_STEPS + 2): L* from 0 to 100 by hue from 0 to just over 2 pi.
    """
    y = (np.linspace(0, 100, _L_STEPS, dtype=np.float32)[:, None] + 16) / np.float32(116)
    hue = np.arange(_HUE_STEPS + 2, dtype=np.float32) * np.float32(2 * np.pi / _HUE_STEPS)
    y, hue = (plane.ravel() for plane in np.broadcast_arrays(y, hue))
    a, b, Y = np.cos(hue) / 500, np.sin(hue) / 200, f_inverse(np.ascontiguousarray(y))
    chroma, step = np.zeros_like(y), np.float32(128)
    for _ in range(14):  # to 1/64 of a CIELAB unit
        larger = chroma + step
        linear = xyz_to_linear(space) @ _xyz(space, y + a * larger, y, y - b * larger, Y)
        inside = (linear.min(axis=0) >= 0) & (linear.max(axis=0) <= 1)
        chroma = np.where(inside, larger, chroma)
        step /= 2
    return chroma.reshape(_L_STEPS, -1)
