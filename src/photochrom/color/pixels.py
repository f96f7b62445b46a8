"""Pixels of 8 or 16 bits in any colour space to CIELAB and back, by look-up tables.

Y is Y/Yn; x, y and z are CIELAB's f of X/Xn, Y/Yn and Z/Zn:
x = y + a*/500, y = (L* + 16)/116, z = y - b*/200.
"""

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color.cie import RGB_TO_XYZ, FloatArray, f, f_fast
from photochrom.color.gamut import lab_to_linear
from photochrom.color.spaces import CACHE_SIZE, SRGB, ColorSpace, xyz_to_linear

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def to_linear(pixels: Pixels, space: ColorSpace = SRGB) -> FloatArray:
    """Return linear values in [0, 1], shape (3, n), of RGB pixels, shape (n, 3)."""
    tables, _ = _linear_tables(space, pixels.dtype)
    linear = np.empty((3, len(pixels)), np.float32)
    for channel, table in enumerate(tables):
        linear[channel] = _look_up(table, pixels[:, channel].copy())
    return linear


def luminance(pixels: Pixels, space: ColorSpace = SRGB) -> tuple[FloatArray, FloatArray]:
    """Return Y in [0, 1] and y, shape (n,) each, of RGB or grey pixels, shape (n, 3) or (n, 1)."""
    if pixels.shape[1] == 1:
        linear, grey_f = _linear_tables(space, pixels.dtype)
        grey = pixels[:, 0]
        return _look_up(linear[0], grey), _look_up(grey_f, grey)
    assert space.matrix is not None
    Y = (RGB_TO_XYZ[1] @ space.matrix) @ to_linear(pixels, space)
    return Y, f_fast(Y)


def lightness(pixels: Pixels, space: ColorSpace = SRGB) -> FloatArray:
    """Return L* in 0..100, shape (...), of RGB or grey pixels, shape (..., 3) or (..., 1)."""
    _, y = luminance(pixels.reshape(-1, pixels.shape[-1]), space)
    return (y * np.float32(116) - np.float32(16)).reshape(pixels.shape[:-1])


def scaled_ab(pixels: Pixels, space: ColorSpace = SRGB) -> tuple[FloatArray, FloatArray]:
    """Return a*/500 and b*/200, shape (n,) each, of RGB pixels, shape (n, 3)."""
    linear = to_linear(pixels, space)
    x, y, z = f_fast(np.linalg.inv(xyz_to_linear(space)).astype(np.float32) @ linear)
    return x - y, y - z


def encode_pixels(
    space: ColorSpace, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray, out: Pixels
) -> None:
    """Convert CIELAB, shape (n,) each, to pixels of an RGB space, mapped into its gamut.

    They are written to `out`, shape (n, 1, 3), contiguous.
    """
    linear = lab_to_linear(space, x, y, z, Y)
    tables = _pixel_tables(space, out.dtype)
    if _is_indexed_by_root(space, out.dtype):
        np.sqrt(np.clip(linear, 0, 1, out=linear), out=linear)
    if out.dtype == np.uint8:
        indices = cv2.multiply(linear, 65535.0, dtype=cv2.CV_16U)  # saturates
        planes = [cv2.LUT(*pair) for pair in zip(indices, tables, strict=True)]
    else:
        linear *= np.float32(tables.shape[1] - 1)
        indices = (linear + np.float32(0.5)).astype(np.int32)
        planes = [table.take(index) for table, index in zip(tables, indices, strict=True)]
    cv2.merge([plane.reshape(-1, 1) for plane in planes], out)


@functools.lru_cache(maxsize=CACHE_SIZE)
def _linear_tables(space: ColorSpace, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
    """Return the linear value of each pixel value, (1 or 3, n), and f of the first row, (n,)."""
    linear = np.ascontiguousarray(space.curves[:, :: 257 if dtype == np.uint8 else 1])
    return linear, f(linear[0])


def _look_up(table: FloatArray, values: Pixels) -> FloatArray:
    if values.dtype == np.uint8:  # OpenCV is several times faster, for 8 bits
        result: FloatArray = cv2.LUT(values, table).ravel()
        return result
    return table.take(values)


@functools.lru_cache(maxsize=CACHE_SIZE)
def _pixel_tables(space: ColorSpace, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixel values by linear value.

    Returns:
        Shape (3, n): index i is the linear value i / (n - 1), or its square root.
    """
    count = 1 << 16 if dtype == np.uint8 else 1 << 19
    linear = np.arange(count) / (count - 1)
    if _is_indexed_by_root(space, dtype):
        linear **= 2
    values = np.linspace(0, 1, space.curves.shape[1])
    largest = np.iinfo(dtype).max
    tables = [np.interp(linear, curve, values) * largest + 0.5 for curve in space.curves]
    return np.array(tables).astype(dtype)


def _is_indexed_by_root(space: ColorSpace, dtype: np.dtype[Any]) -> bool:
    """Tell whether `_pixel_tables` is indexed by square roots, which resolve steep blacks.

    8 bits of sRGB, whose curve starts linearly, do without.
    """
    return space is not SRGB or dtype != np.uint8
