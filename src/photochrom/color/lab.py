"""Colour on arrays: sRGB to CIELAB and back, with every constant that this takes.

sRGB follows IEC 61966-2-1, CIELAB is CIE 1976 under D65 and the 2 degree observer, with the matrix
and white point of scikit-image, against which the tests compare. Everything is float32 and works
on any leading shape. `photochrom.training.tensors` is the same on tensors.
"""

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

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

EPSILON = 0.008856
"""CIELAB's (6/29)^3: below it, f(t) is linear."""
KAPPA = 7.787
"""CIELAB's (29/6)^2 / 3: f(t) = KAPPA t + 16/116 there."""
_DARK = np.float32(24 / 116)  # the same after the curve
_BELOW, _ABOVE = 1e-5, 1e-4  # outside by rounding; below, more would be a tint of black
_REMAPPED = 32_000  # values that OpenCV looks up at a time, at most
_LEVELS, _HUES = 241, 270  # how finely the gamut's hull is known
_SPACES = 16  # of how many the tables are kept


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


@dataclass(frozen=True, eq=False)
class Space:
    """Which colours the numbers of a picture are: curves and a matrix, or one curve of grey."""

    curves: FloatArray
    """Linear values of numbers equally spaced in [0, 1]: (3, 65536), or (1, 65536) of grey."""
    matrix: FloatArray | None
    """Linear values to linear sRGB, shape (3, 3), white to white; None: grey."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Let sRGB be itself after a journey: tables are kept by identity, and it has fast ways."""
        return "SRGB" if self is SRGB else (Space, (self.curves, self.matrix))


SRGB = Space(
    np.repeat(_linear(np.linspace(0, 1, 65536, dtype=np.float32))[None], 3, axis=0),
    np.eye(3, dtype=np.float32),
)


def _f(xyz: FloatArray) -> FloatArray:
    """Apply the lightness curve of CIELAB to XYZ over white."""
    return np.where(xyz > EPSILON, np.cbrt(xyz), np.float32(KAPPA) * xyz + np.float32(16 / 116))


def _f_fast(xyz: FloatArray) -> FloatArray:
    """Apply the same without the slow cube root of numpy."""
    f: FloatArray = cv2.pow(xyz, 1 / 3).reshape(xyz.shape)
    dark = xyz <= EPSILON
    if dark.any():
        np.copyto(f, np.float32(KAPPA) * xyz + np.float32(16 / 116), where=dark)
    return f


def _f_inverse(f: FloatArray) -> FloatArray:
    """Undo `_f`, of which the dark branch is the tangent of the other where they meet."""
    bright = np.maximum(f, _DARK)
    xyz: FloatArray = bright * bright
    xyz *= bright
    xyz += (f - bright) / np.float32(KAPPA)
    return xyz


def from_lightness(L: FloatArray) -> FloatArray:
    """Return Y/Yn in [0, 1] of L* in 0..100, of any shape."""
    return _f_inverse((L + np.float32(16)) / np.float32(116))


def _xyz(space: Space, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray) -> FloatArray:
    """Return XYZ over white, shape (3, n), of f(X/Xn), f(Y/Yn), f(Z/Zn) and Y/Yn.

    For spaces without sRGB's straight start, whose blacks of 16 bits need more digits than f has,
    dark X and Z are told from Y: so they are equal where x and y are.
    """
    xyz = np.empty((3, Y.size), np.float32)
    xyz[1] = Y
    for plane, f in ((xyz[0], x), (xyz[2], z)):
        if f.min(initial=1) > _DARK:  # so are most strips of a photo
            np.multiply(f, f, out=plane)
            plane *= f
        elif space is SRGB:
            plane[:] = _f_inverse(f)
        else:
            plane[:] = Y + (_f_inverse(f) - _f_inverse(y))
    return xyz


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


def lab_to_rgb(lab: FloatArray) -> FloatArray:
    """Return sRGB of CIELAB; a colour outside sRGB loses chroma, never lightness or hue.

    Clipping each channel would shift L*, which is the photograph itself. Instead a* and b* of such
    a colour are scaled by the largest factor in [0, 1] that brings it into the gamut.

    Args:
        lab: Shape (..., 3), L* in 0..100.

    Returns:
        Shape (..., 3), in [0, 1].
    """
    # Planes, not pixels, inside: numpy is several times faster on contiguous memory.
    L, a, b = np.ascontiguousarray(lab.reshape(-1, 3).T, dtype=np.float32)
    y = (L + np.float32(16)) / np.float32(116)
    linear = _in_gamut(SRGB, y + a / np.float32(500), y, y - b / np.float32(200), _f_inverse(y))
    rgb = np.clip(_encoded(np.clip(linear, 0, 1)), 0, 1)
    return np.ascontiguousarray(rgb.T).reshape(lab.shape)


@functools.lru_cache(maxsize=_SPACES)
def _from_xyz(space: Space) -> FloatArray:
    """Return the matrix from XYZ over white to linear values of a space, such that 1 stays 1.

    As it stands white would be 8e-5 too bright, as matrix and white point are rounded: that is
    three levels of 16 bits.
    """
    assert space.matrix is not None
    matrix = np.linalg.inv(space.matrix.astype(np.float64)) @ (XYZ_TO_RGB * WHITE)
    whole: FloatArray = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)
    return whole


def _in_gamut(
    space: Space, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray
) -> FloatArray:
    """Return linear values of a space, of colours that it has.

    Args:
        space: Of colours, not grey.
        x: CIELAB's f(X/Xn), shape (n,), y and z likewise.
        y: f(Y/Yn).
        z: f(Z/Zn).
        Y: Y/Yn.

    Returns:
        Shape (3, n); beyond [0, 1] by no more than rounding.
    """
    matrix = _from_xyz(space)
    linear = matrix @ _xyz(space, x, y, z, Y)
    outside = np.False_
    if linear.min(initial=0) < -_BELOW:
        outside = linear.min(axis=0) < -_BELOW
    if linear.max(initial=0) > 1 + _ABOVE:
        outside = outside | (linear.max(axis=0) > 1 + _ABOVE)
    wrong = np.flatnonzero(outside)
    if wrong.size:
        y = y[wrong]
        a, b = x[wrong] - y, y - z[wrong]  # of which a* is 500 times, b* 200 times as much
        share = _share(space, y, a, b)
        linear[:, wrong] = matrix @ _xyz(space, y + a * share, y, y - b * share, Y[wrong])
    return linear


def _share(space: Space, y: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the largest factor in [0, 1] on a* and b* that brings each colour into a space."""
    chroma, hue = cv2.cartToPolar(a * np.float32(500), b * np.float32(200))
    across = hue * np.float32(_HUES / (2 * np.pi))
    down = (y * np.float32(116) - np.float32(16)) * np.float32((_LEVELS - 1) / 100)
    largest = np.empty_like(chroma)
    for start in range(0, len(chroma), _REMAPPED):
        part = slice(start, start + _REMAPPED)
        largest[part] = cv2.remap(
            _largest_chroma(space),
            across[part],
            down[part],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    share: FloatArray = np.minimum(largest / np.maximum(chroma, np.float32(1e-6)), 1).ravel()
    return share


@functools.lru_cache(maxsize=_SPACES)
def _largest_chroma(space: Space) -> FloatArray:
    """Return the largest chroma of a space for every lightness and hue, found by bisection.

    Returns:
        Shape (_LEVELS, _HUES + 2): L* from 0 to 100 by hue from 0 to a bit over 2 pi.
    """
    y = (np.linspace(0, 100, _LEVELS, dtype=np.float32)[:, None] + 16) / np.float32(116)
    hue = np.arange(_HUES + 2, dtype=np.float32) * np.float32(2 * np.pi / _HUES)
    y, hue = (plane.ravel() for plane in np.broadcast_arrays(y, hue))
    a, b, Y = np.cos(hue) / 500, np.sin(hue) / 200, _f_inverse(np.ascontiguousarray(y))
    chroma, step = np.zeros_like(y), np.float32(128)
    for _ in range(14):  # to 1/64 of a CIELAB unit
        more = chroma + step
        linear = _from_xyz(space) @ _xyz(space, y + a * more, y, y - b * more, Y)
        inside = (linear.min(axis=0) >= 0) & (linear.max(axis=0) <= 1)
        chroma = np.where(inside, more, chroma)
        step /= 2
    return chroma.reshape(_LEVELS, -1)


@functools.lru_cache(maxsize=_SPACES)
def _tables(space: Space, dtype: np.dtype[Any]) -> tuple[FloatArray, FloatArray]:
    """Return what each number of a type means: linear values, (1 or 3, n), and as grey f, (n,)."""
    linear = np.ascontiguousarray(space.curves[:, :: 257 if dtype == np.uint8 else 1])
    return linear, _f(linear[0])


def _look_up(table: FloatArray, numbers: Pixels) -> FloatArray:
    """Return the entry of each number, shape (n,)."""
    if numbers.dtype == np.uint8:  # OpenCV is several times faster, for 8 bits
        found: FloatArray = cv2.LUT(numbers, table).ravel()
        return found
    return table.take(numbers)


def to_linear(pixels: Pixels, space: Space = SRGB) -> FloatArray:
    """Return linear values of a space of colours.

    Args:
        pixels: Shape (n, 3).
        space: Which colours they are.

    Returns:
        Shape (3, n), in [0, 1].
    """
    tables, _ = _tables(space, pixels.dtype)
    linear = np.empty((3, len(pixels)), np.float32)
    for channel, table in enumerate(tables):
        linear[channel] = _look_up(table, pixels[:, channel].copy())
    return linear


def luminance(pixels: Pixels, space: Space = SRGB) -> tuple[FloatArray, FloatArray]:
    """Return how light pixels are as they lie in a file.

    Args:
        pixels: Shape (n, 3), or (n, 1) of grey.
        space: Which colours they are.

    Returns:
        Y/Yn in [0, 1] and CIELAB's f of it, (L* + 16) / 116, of shape (n,) each.
    """
    if pixels.shape[1] == 1:
        linear, f = _tables(space, pixels.dtype)
        grey = pixels[:, 0]
        return _look_up(linear[0], grey), _look_up(f, grey)
    assert space.matrix is not None
    Y = (RGB_TO_XYZ[1] @ space.matrix) @ to_linear(pixels, space)
    return Y, _f_fast(Y)


def lightness(pixels: Pixels, space: Space = SRGB) -> FloatArray:
    """Return L* of pixels as they lie in a file.

    Args:
        pixels: Shape (..., 3), or (..., 1) of grey; the largest number of their type is white.
        space: Which colours they are.

    Returns:
        Shape (...): L* in 0..100.
    """
    _, f = luminance(pixels.reshape(-1, pixels.shape[-1]), space)
    return (f * np.float32(116) - np.float32(16)).reshape(pixels.shape[:-1])


def scaled_ab(pixels: Pixels, space: Space = SRGB) -> tuple[FloatArray, FloatArray]:
    """Return the colours of pixels as they lie in a file.

    Args:
        pixels: Shape (n, 3).
        space: Which colours they are.

    Returns:
        a*/500 and b*/200, shape (n,) each.
    """
    linear = to_linear(pixels, space)
    x, y, z = _f_fast(np.linalg.inv(_from_xyz(space)).astype(np.float32) @ linear)
    return x - y, y - z


def encode_pixels(
    space: Space, x: FloatArray, y: FloatArray, z: FloatArray, Y: FloatArray, pixels: Pixels
) -> None:
    """Set pixels as they are to lie in a file; as with `lab_to_rgb`, lightness and hue stay.

    Args:
        space: Which colours they are to be.
        x: CIELAB's f(X/Xn), shape (n,); so y = (L* + 16) / 116, x = y + a*/500, z = y - b*/200.
        y: f(Y/Yn).
        z: f(Z/Zn).
        Y: Y/Yn.
        pixels: Where to, shape (n, 1, 3), contiguous.
    """
    linear = _in_gamut(space, x, y, z, Y)
    inks = _inks(space, pixels.dtype)
    if pixels.dtype == np.uint8:
        if _rooted(space):
            np.sqrt(np.maximum(linear, 0, out=linear), out=linear)
        places = cv2.multiply(linear, 65535.0, dtype=cv2.CV_16U)  # cut off at both ends
        planes = [cv2.LUT(*pair) for pair in zip(places, inks, strict=True)]
    else:
        np.sqrt(np.clip(linear, 0, 1, out=linear), out=linear)
        linear *= np.float32(inks.shape[1] - 1)
        places = (linear + np.float32(0.5)).astype(np.int32)
        planes = [ink.take(place) for ink, place in zip(inks, places, strict=True)]
    cv2.merge([plane.reshape(-1, 1) for plane in planes], pixels)


def _rooted(space: Space) -> bool:
    """Tell whether a space's curves start so steeply that blacks are looked up by their root.

    The curves of 8 bits in sRGB start straight, and the root is spared.
    """
    return space is not SRGB


@functools.lru_cache(maxsize=_SPACES)
def _inks(space: Space, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the number of each linear value, or of each root of one.

    Returns:
        Shape (3, n): at i that of i / (n - 1), of its square where roots are looked up.
    """
    count = 1 << 16 if dtype == np.uint8 else 1 << 19
    linear = np.arange(count) / (count - 1)
    if dtype != np.uint8 or _rooted(space):
        linear **= 2
    numbers = np.linspace(0, 1, space.curves.shape[1])
    largest = np.iinfo(dtype).max
    inks = [np.interp(linear, curve, numbers) * largest + 0.5 for curve in space.curves]
    return np.array(inks).astype(dtype)
