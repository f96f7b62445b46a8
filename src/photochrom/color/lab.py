"""sRGB to CIELAB and back, on float32 arrays. `photochrom.training.tensors` does it on tensors."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.color.cie import RGB_TO_XYZ, WHITE, FloatArray, f, f_inverse
from photochrom.color.gamut import lab_to_linear
from photochrom.color.spaces import SRGB, linear_to_srgb, srgb_to_linear

L_SCALE = 50.0
"""Networks get L = L*/L_SCALE - 1, in [-1, 1]."""
AB_SCALE = 110.0
"""Networks predict ab = (a*, b*)/AB_SCALE; sRGB spans -86.2..98.3 and -107.9..94.5."""


def rgb_to_lab(rgb: FloatArray) -> FloatArray:
    """Convert sRGB in [0, 1] to L* in 0..100, a* and b*, both of shape (..., 3)."""
    xyz_f = f(srgb_to_linear(rgb.astype(np.float32, copy=False)) @ (RGB_TO_XYZ.T / WHITE))
    x, y, z = xyz_f[..., 0], xyz_f[..., 1], xyz_f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lab_to_rgb(lab: FloatArray) -> FloatArray:
    """Convert CIELAB to sRGB in [0, 1], both of shape (..., 3).

    A colour outside sRGB loses chroma, not lightness or hue.
    """
    # Planes, as numpy is several times faster on contiguous memory.
    L, a, b = np.ascontiguousarray(lab.reshape(-1, 3).T, dtype=np.float32)
    y = (L + np.float32(16)) / np.float32(116)
    x, z = y + a / np.float32(500), y - b / np.float32(200)
    linear = np.clip(lab_to_linear(SRGB, x, y, z, f_inverse(y)), 0, 1)
    rgb = np.clip(linear_to_srgb(linear), 0, 1)
    return np.ascontiguousarray(rgb.T).reshape(lab.shape)


def lab_to_hex(L: float, a: float, b: float) -> str:
    """Return a colour of CIELAB in sRGB, as #rrggbb, as of `lab_to_rgb`."""
    rgb = lab_to_rgb(np.array([L, a, b], np.float32))
    red, green, blue = np.rint(rgb * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def mean_chroma(pixels: NDArray[np.uint8]) -> float:
    """Return the mean chroma, sqrt(a*^2 + b*^2), of a 64x64 copy of an sRGB photo.

    Args:
        pixels: sRGB, shape (H, W, 3).
    """
    small = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX)
    lab = rgb_to_lab(np.asarray(small, dtype=np.float32) / np.float32(255))
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())
