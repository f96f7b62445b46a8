"""Tell photos that are in colour already from grey and toned ones."""

import cv2
import numpy as np

from photochrom import color
from photochrom.color import FloatArray, Pixels
from photochrom.imagefile.photo import Photo

_SIDE = 64
"""Short side in px of the copy that is examined."""
_OVERSAMPLING = 6
_MARGIN = 1 / 8
"""Of each side, not examined: mounts, colour targets, captions."""
_TONE_LEVELS = 16
_PERCENTILE = 90
"""Of the pixels, which is compared with the limits."""
_MAX_DISTANCE = 8.0
"""In a*b*, from the tone of the same lightness."""
_MAX_HUE_SPREAD = 2.0
"""The same, across the hue in which the distances are largest: a stain has one hue."""


def is_colored(photo: Photo) -> bool:
    """Tell whether a photo is in colour: by our own mark, or by its pixels.

    A toned, stained or faded photo is not: a* and b* follow from L*, or differ along one hue. A
    photo in colour of one hue, such as grass, is taken for toned.
    """
    if photo.metadata.mark is not None:
        return True
    if photo.pixels.shape[2] == 1:
        return False
    L, ab = _examined_lab(photo)
    if len(L) < _TONE_LEVELS:
        return False
    distances = ab - _tone_of(L, ab)
    if np.percentile(np.hypot(*distances.T), _PERCENTILE) <= _MAX_DISTANCE:
        return False
    _, axes = np.linalg.eigh(distances.T @ distances)  # of the smallest variance first
    return bool(np.percentile(np.abs(distances @ axes[:, 0]), _PERCENTILE) > _MAX_HUE_SPREAD)


def _examined_lab(photo: Photo) -> tuple[FloatArray, FloatArray]:
    """Return L*, shape (n,), and a*b*, shape (n, 2), of a small copy without its margins."""
    height, width = photo.pixels.shape[:2]
    step = max(1, min(height, width) // (_SIDE * _OVERSAMPLING))
    pixels: Pixels = photo.pixels[::step, ::step].copy()
    scale = _SIDE / min(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape[:2]
    y, x = round(height * _MARGIN), round(width * _MARGIN)
    values = pixels[y : height - y, x : width - x].reshape(-1, 3)
    a, b = color.scaled_ab(values, photo.space)
    return color.lightness(values, photo.space), np.stack([a * 500, b * 200], axis=1)


def _tone_of(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Return for each pixel the median a*b* of the pixels that are about as light, shape (n, 2)."""
    tones = np.empty_like(ab)
    for level in np.array_split(np.argsort(L, kind="stable"), _TONE_LEVELS):
        tones[level] = np.median(ab[level], axis=0)
    return tones
