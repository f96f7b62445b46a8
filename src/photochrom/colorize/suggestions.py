"""Colours to suggest for a place in a photo."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from photochrom import color
from photochrom.color import FloatArray
from photochrom.color.difference import difference_at_equal_lightness
from photochrom.colorize.colorizer import PreparedPhoto

COUNT = 6
Kind = Literal["model", "hue", "skin", "hair", "sky", "foliage", "wood", "stone", "cloth"]

_MIN_DIFFERENCE = 8.0
"""CIEDE2000 between any two suggestions, where the L* has room for it."""
_SIDE = 7
"""Side in px, at the network's size, of the square whose colour is the place's."""
_PAINTS: dict[Kind, list[tuple[float, float, float, float]]] = {
    "skin": [(30, 90, 17, 19), (15, 70, 14, 16)],
    "hair": [(5, 60, 6, 14), (25, 85, 5, 24)],
    "sky": [(45, 95, -5, -24)],
    "foliage": [(10, 85, -16, 26), (10, 70, -8, 20)],
    "wood": [(10, 80, 14, 28)],
    "stone": [(20, 100, 1, 6)],
    "cloth": [(5, 75, 8, -34), (5, 75, 42, 22), (10, 85, -24, 8), (10, 75, 24, -18)],
}
"""Kind to the colours it is usually painted: lowest and highest L*, a*, b*."""


@dataclass(frozen=True)
class Suggestion:
    """A colour for a place."""

    color: str
    """In sRGB, as #rrggbb, with the L* of the place."""
    kind: Kind
    """Why it is suggested: `model` is the model's own colour there, `hue` a neighbour of it in hue,
    others what is often there."""


def suggest_colors(prepared: PreparedPhoto, ab: FloatArray, x: float, y: float) -> list[Suggestion]:
    """Return `COUNT` different colours for a place, the model's own first.

    Args:
        prepared: The photo.
        ab: The model's guess, of any size, shape (2, h, w), such as of `PreparedPhoto.ab`.
        x: Place as a fraction of the width, 0 to 1.
        y: Place as a fraction of the height, 0 to 1.
    """
    height, width = prepared.small_L.shape
    ab = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in ab])
    rows, columns = (
        slice(max(0, int(place * count) - _SIDE // 2), int(place * count) + _SIDE // 2 + 1)
        for place, count in ((y, height), (x, width))
    )
    L = float(np.median(prepared.small_L[rows, columns]))
    guess = ab[:, rows, columns].mean((1, 2))
    chroma, hue = max(float(np.hypot(*guess)), 12.0), float(np.arctan2(guess[1], guess[0]))
    candidates: list[tuple[Kind, FloatArray]] = [("model", guess)]
    for turn in (40, -40, 80, -80):
        angle = hue + np.radians(turn)
        near = np.array([np.cos(angle), np.sin(angle)], np.float32) * np.float32(chroma)
        candidates.append(("hue", near))
    paints: list[tuple[Kind, FloatArray]] = [
        (kind, np.array([a, b], np.float32))
        for kind, colors in _PAINTS.items()
        for low, high, a, b in colors
        if low <= L <= high
    ]
    paints.sort(key=lambda paint: float(np.hypot(*(paint[1] - guess))))
    candidates = [candidates[0], *candidates[1:3], *paints, *candidates[3:]]
    return _choose(L, candidates)


def _choose(L: float, candidates: list[tuple[Kind, FloatArray]]) -> list[Suggestion]:
    """Return the first candidates that differ enough, less where there are too few of them."""
    hues = np.radians(np.arange(0, 360, 30))
    for chroma in (30, 60, 100):
        candidates += [
            ("hue", np.array([np.cos(h), np.sin(h)], np.float32) * np.float32(chroma)) for h in hues
        ]
    stacked = np.stack([ab for _, ab in candidates], axis=1)
    stacked = color.limit_chroma(color.SRGB, np.full(len(candidates), L, np.float32), stacked)
    colors = np.ascontiguousarray(stacked.T)
    differences = difference_at_equal_lightness(colors[:, None], colors)
    limit = _MIN_DIFFERENCE
    while True:
        chosen: list[int] = []
        for index in range(len(candidates)):
            if len(chosen) < COUNT and (differences[index, chosen] >= limit).all():
                chosen.append(index)
        if len(chosen) == COUNT:
            break
        limit = limit / 2 if limit > 0.01 else -1
    return [Suggestion(_to_hex(L, colors[i]), candidates[i][0]) for i in chosen]


def _to_hex(L: float, ab: FloatArray) -> str:
    lab = np.array([L, *ab], np.float32)
    red, green, blue = np.rint(color.lab_to_rgb(lab[None, None])[0, 0] * 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"
