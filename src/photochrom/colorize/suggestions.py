"""Colours to suggest for a place in a photo."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from photochrom import color
from photochrom.color import FloatArray
from photochrom.color.difference import difference_at_equal_lightness
from photochrom.colorize.colorizer import PreparedPhoto
from photochrom.colorize.upsampling import resize_planes

COUNT = 6
Kind = Literal["model", "hue", "skin", "hair", "sky", "foliage", "wood", "stone", "cloth"]

_MIN_DIFFERENCE = 8.0
"""CIEDE2000 between any two suggestions, where the gamut at an L* has room for it."""
_REACH = 3
"""In px at the network's size: pixels whose mean colour is that of the place."""
_MAX_STEP = 10.0
"""L*: pixels that differ more belong to something else."""
_NEIGHBORS = (40, -40, 80, -80)
"""Degrees of hue from the model's colour."""
_MIN_CHROMA = 12.0
"""Of the neighbours in hue, where the model sees grey."""
_CHROMA = 40.0
"""Of any hue, where the others do not differ enough."""
_PAINTS: dict[Kind, list[tuple[float, float, float, float]]] = {
    "skin": [(12, 32, 10, 12), (32, 62, 16, 20), (62, 95, 13, 17)],
    "hair": [(5, 60, 6, 14), (25, 85, 5, 24)],
    "sky": [(45, 95, -5, -24)],
    "foliage": [(10, 85, -16, 26), (10, 70, -8, 20)],
    "wood": [(10, 80, 14, 28)],
    "stone": [(20, 100, 1, 6)],
    "cloth": [(5, 75, 8, -34), (5, 75, 42, 22), (10, 85, -24, 8), (10, 75, 20, -16)],
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

    Near black and white there are fewer colours, and they differ less; those of black itself are
    all black.

    Args:
        prepared: The photo.
        ab: The model's own, of any size, shape (2, h, w), such as of `PreparedPhoto.ab`.
        x: Place as a fraction of the width, 0 to 1.
        y: Place as a fraction of the height, 0 to 1.
    """
    height, width = prepared.small_L.shape
    ab = resize_planes(ab, width, height)
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    part = tuple(slice(max(0, i - _REACH), i + _REACH + 1) for i in (row, column))
    L = float(prepared.small_L[row, column])
    own = ab[:, *part][:, np.abs(prepared.small_L[part] - L) < _MAX_STEP].mean(1)
    chroma, hue = max(float(np.hypot(*own)), _MIN_CHROMA), float(np.arctan2(own[1], own[0]))
    near = [_from_hue(chroma, hue + np.radians(turn)) for turn in _NEIGHBORS]
    paints: list[tuple[Kind, FloatArray]] = [
        (kind, np.array([a, b], np.float32))
        for kind, colors in _PAINTS.items()
        for low, high, a, b in colors
        if low <= L <= high
    ]
    paints.sort(key=lambda paint: float(np.hypot(*(paint[1] - own))))
    hues = [_from_hue(_CHROMA, angle) for angle in np.radians(np.arange(0, 360, 30))]
    candidates: list[tuple[Kind, FloatArray]] = [
        ("model", own),
        *(("hue", color) for color in near),
        *paints,
        *(("hue", color) for color in hues),
    ]
    stacked = np.stack([ab for _, ab in candidates], axis=1)
    stacked = color.limit_chroma(color.SRGB, np.full(len(candidates), L, np.float32), stacked)
    colors = np.ascontiguousarray(stacked.T)
    first, last = 1 + len(near), 1 + len(near) + len(paints)
    chosen = _choose(colors, range(1, first), range(first, last))
    return [Suggestion(color.lab_to_hex(L, *colors[i]), candidates[i][0]) for i in chosen]


def _from_hue(chroma: float, hue: float) -> FloatArray:
    """Return ab of a hue in radians."""
    return np.array([chroma * np.cos(hue), chroma * np.sin(hue)], np.float32)


def _choose(colors: FloatArray, near: range, paints: range) -> list[int]:
    """Return the model's colour, two neighbours in hue, the likeliest paint, and what differs most.

    Args:
        colors: ab, shape (n, 2), the model's own first.
        near: Indices of neighbours in hue.
        paints: Indices of what is often there, the most similar to the model's colour first.
    """
    differences = difference_at_equal_lightness(colors[:, None], colors)
    chosen = [0]
    for group, stop in ((near, 3), (paints, 4)):
        for index in group:
            if len(chosen) < stop and differences[index, chosen].min() >= _MIN_DIFFERENCE:
                chosen.append(index)
    while len(chosen) < COUNT:
        apart = differences[:, chosen].min(axis=1)
        apart[chosen] = -1  # in black all are equal
        best = max(paints, key=apart.__getitem__, default=0)
        chosen.append(best if apart[best] >= _MIN_DIFFERENCE else int(apart.argmax()))
    return chosen
