"""CIEDE2000, the difference of two colours as people see it; about 1 is just visible."""

import numpy as np
from numpy.typing import NDArray

from photochrom.color.cie import FloatArray


def difference_at_equal_lightness(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Return CIEDE2000 of colours of the same L*, on which it then does not depend.

    Args:
        first: a* and b*, shape (..., 2).
        second: Likewise; the shapes are broadcast.

    Reference:
        Sharma et al. 2005, "The CIEDE2000 color-difference formula", with the weights all 1.
    """
    a1, b1 = np.moveaxis(first.astype(np.float64), -1, 0)
    a2, b2 = np.moveaxis(second.astype(np.float64), -1, 0)
    seventh = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    chroma1, chroma2 = np.hypot(a1, b1), np.hypot(a2, b2)
    hue1, hue2 = np.arctan2(b1, a1), np.arctan2(b2, a2)
    turn = np.where(chroma1 * chroma2 == 0, 0, (hue2 - hue1 + np.pi) % (2 * np.pi) - np.pi)
    hue = np.where(chroma1 == 0, hue2, hue1 + turn / 2)
    weight = (
        1
        - 0.17 * np.cos(hue - np.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + np.radians(6))
        - 0.20 * np.cos(4 * hue - np.radians(63))
    )
    mean = (chroma1 + chroma2) / 2
    seventh = mean**7
    distance = (np.degrees(hue) % 360 - 275) / 25
    rotation = -np.sin(np.radians(60 * np.exp(-(distance**2))))
    rotation *= 2 * np.sqrt(seventh / (seventh + 25.0**7))
    by_chroma = (chroma2 - chroma1) / (1 + 0.045 * mean)
    by_hue = 2 * np.sqrt(chroma1 * chroma2) * np.sin(turn / 2) / (1 + 0.015 * mean * weight)
    result: NDArray[np.float64] = np.sqrt(by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue)
    return result
