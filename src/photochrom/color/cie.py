"""CIE XYZ and the lightness curve f of CIELAB (CIE 1976, D65, 2 degree observer).

Matrix and white point are those of scikit-image, which the tests compare against.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

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
"""(6/29)^3: f(t) is linear below it, a cube root above."""
KAPPA = 7.787
"""(29/6)^2 / 3: f(t) = KAPPA t + 16/116 below EPSILON."""
F_EPSILON = np.float32(24 / 116)
"""f(EPSILON)."""


def f(t: FloatArray) -> FloatArray:
    """Apply f to XYZ relative to white."""
    return np.where(t > EPSILON, np.cbrt(t), np.float32(KAPPA) * t + np.float32(16 / 116))


def f_fast(t: FloatArray) -> FloatArray:
    """Apply f with OpenCV's power function: faster than `f`, equal but for rounding."""
    result: FloatArray = cv2.pow(t, 1 / 3).reshape(t.shape)
    dark = t <= EPSILON
    if dark.any():
        np.copyto(result, np.float32(KAPPA) * t + np.float32(16 / 116), where=dark)
    return result


def f_inverse(value: FloatArray) -> FloatArray:
    """Invert f. Its linear branch is the tangent of the cube where they meet."""
    bright = np.maximum(value, F_EPSILON)
    t: FloatArray = bright * bright
    t *= bright
    t += (value - bright) / np.float32(KAPPA)
    return t
