"""Versions of a photo that differ where the model is unsure, made by hinting those places."""

from collections.abc import Sequence

import cv2
import numpy as np

from photochrom import color
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer, PreparedPhoto
from photochrom.colorize.hints import MAX_HINTS, Hint
from photochrom.imagefile.geometry import Geometry

COUNT = 4
_PLACES = 3
_TURNS = (60, 150, 240)
"""Degrees of hue by which the versions after the first differ from it."""


def hint_versions(
    colorizer: Colorizer,
    prepared: PreparedPhoto,
    hints: Sequence[Hint],
    geometry: Geometry,
    size: tuple[int, int],
) -> list[tuple[Hint, ...]]:
    """Return hints of `COUNT` versions: those given, then those with others added.

    Args:
        colorizer: Its model takes hints.
        prepared: The photo, turned, straightened and cropped.
        hints: Of the photo as it is.
        geometry: How it was turned, straightened and cropped.
        size: Width and height in px of the upright photo.

    Raises:
        ModelError: As `Colorizer.predict_ab`.
    """
    L = prepared.small_L
    ab = colorizer.predict_ab(L)
    mirrored = colorizer.predict_ab(np.ascontiguousarray(L[:, ::-1]))[..., ::-1]
    doubt = cv2.GaussianBlur(np.hypot(*(ab - mirrored)), (0, 0), min(L.shape) / 24)
    places = _highest(doubt, _PLACES)
    return [
        tuple(hints),
        *(
            (*hints, *(_hint(prepared, ab, place, turn, geometry, size) for place in places))[
                :MAX_HINTS
            ]
            for turn in _TURNS
        ),
    ]


def _highest(values: FloatArray, count: int) -> list[tuple[int, int]]:
    """Return row and column of the highest values, apart from each other."""
    values = values.copy()
    radius = max(1, min(values.shape) // 5)
    places = []
    for _ in range(count):
        y, x = np.unravel_index(int(values.argmax()), values.shape)
        places.append((int(y), int(x)))
        values[max(0, y - radius) : y + radius, max(0, x - radius) : x + radius] = -1
    return places


def _hint(
    prepared: PreparedPhoto,
    ab: FloatArray,
    place: tuple[int, int],
    turn: float,
    geometry: Geometry,
    size: tuple[int, int],
) -> Hint:
    (y, x), (h, w) = place, prepared.small_L.shape
    a, b = ab[:, y, x]
    chroma, hue = max(np.hypot(a, b), 20), np.arctan2(b, a) + np.radians(turn)
    L = prepared.small_L[y, x]
    turned = np.array([[np.cos(hue)], [np.sin(hue)]]) * chroma
    lab = np.array([L, *color.limit_chroma(color.SRGB, L[None], turned).ravel()], np.float32)
    red, green, blue = np.rint(color.lab_to_rgb(lab[None, None])[0, 0] * 255).astype(int)
    width, height = prepared.size
    column, row = geometry.origin((x + 0.5) / w * width, (y + 0.5) / h * height, *size)
    return Hint(column, row, f"#{red:02x}{green:02x}{blue:02x}")
