"""Colour spaces of pixels: transfer curves and a matrix to linear sRGB."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from photochrom.color.cie import WHITE, XYZ_TO_RGB, FloatArray

CACHE_SIZE = 16
"""Number of spaces whose tables are cached."""


def srgb_to_linear(srgb: FloatArray) -> FloatArray:
    """Undo the sRGB transfer curve (IEC 61966-2-1), values in [0, 1]."""
    low = srgb / np.float32(12.92)
    high = ((srgb + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(srgb > 0.04045, high, low)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Apply the sRGB transfer curve, values in [0, 1]."""
    low = linear * np.float32(12.92)
    high = np.float32(1.055) * np.maximum(linear, 0) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear > 0.0031308, high, low)


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """An RGB space of transfer curves and a matrix, or a grey space of one curve."""

    curves: FloatArray
    """Linear values of equally spaced pixel values: shape (3, 65536), or (1, 65536) of grey."""
    matrix: FloatArray | None
    """Linear values to linear sRGB, shape (3, 3), white to white; None: grey."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Unpickle sRGB as `SRGB` itself: it is compared by identity."""
        return "SRGB" if self is SRGB else (ColorSpace, (self.curves, self.matrix))


SRGB = ColorSpace(
    np.repeat(srgb_to_linear(np.linspace(0, 1, 65536, dtype=np.float32))[None], 3, axis=0),
    np.eye(3, dtype=np.float32),
)


@functools.lru_cache(maxsize=CACHE_SIZE)
def xyz_to_linear(space: ColorSpace) -> FloatArray:
    """Return the matrix from XYZ relative to white to linear values of an RGB space.

    Rows are scaled so that white stays 1. As matrix and white point are rounded, it would else be
    8e-5 too bright, three levels of 16 bits.
    """
    assert space.matrix is not None
    matrix = np.linalg.inv(space.matrix.astype(np.float64)) @ (XYZ_TO_RGB * WHITE)
    scaled: FloatArray = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled
