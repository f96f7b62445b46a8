"""Hints as a network's second input, and their colours in its output.

A network follows hints by about two thirds, also beyond the edges of what was hinted. So its output
is corrected: a colour is exact at its place, fills what belongs to the place, and ends where that
ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import ColorSpace, FloatArray
from photochrom.colorize.hints import PlacedHint
from photochrom.colorize.upsampling import resize_planes
from photochrom.errors import PhotochromError

PATCH_SIDE = 7
"""Side in px of the square of a hint in a network's input; it was trained with 1 to 9."""
# The constants below were chosen on validation photos; docs/hints.md has the figures.
_MAX_STEP = 10.0  # L*, from the centre: what differs more is something else than what was hinted
_SIDE = 96  # px, short side at which colours are spread
_SIGMA_L = 3.0  # L*: a walk rarely takes larger steps, after smoothing
_SIGMA_AB = 3.0  # likewise, of the network's ab without hints
_MIN_CONDUCTANCE = 1e-4  # across the strongest edge
_REACH = 0.8  # of the short side: how far a walk gets where there are no edges
_BELONGS = (0.2, 0.8)  # probability of arrival: from no fill to all of it
_FOLLOWS = (0.0, 0.3)  # likewise, for the network's own change
_FLATNESS = 0.6  # of the fill: the hinted colour itself; the rest keeps the network's detail
_PENALTY = 100.0  # of the conductance to a hint; others are at most 1


@dataclass(frozen=True, eq=False)
class DrawnHints:
    """Hints at the size of a network's input."""

    known: FloatArray
    """Its second input, shape (3, h, w): a*, b* and a mask, constant on each square."""
    ab: FloatArray
    """The colour that each pixel of a square is to get, shape (2, h, w)."""
    mask: NDArray[np.bool_]
    """Where `ab` holds, shape (h, w): pixels of a square that are about as light as its centre."""


def draw_hints(
    hints: Sequence[PlacedHint], L: FloatArray, own_ab: FloatArray | None, space: ColorSpace
) -> DrawnHints:
    """Return a square for each hint; where squares overlap, the nearest hint counts.

    Args:
        hints: Hints in the photo.
        L: L*, shape (h, w).
        own_ab: The photo's own ab, shape (2, h, w); None: it has none.
        space: An RGB space, to whose gamut colours are mapped at the photo's L*.

    Raises:
        PhotochromError: If a hint asks for the photo's own colour, and it has none.
    """
    height, width = L.shape
    drawn = DrawnHints(
        np.zeros((3, height, width), np.float32),
        np.zeros((2, height, width), np.float32),
        np.zeros((height, width), bool),
    )
    distances = np.full((height, width), np.inf, np.float32)
    for hint in hints:
        y, x = min(int(hint.y * height), height - 1), min(int(hint.x * width), width - 1)
        rows, columns = (
            slice(max(0, place - PATCH_SIDE // 2), place + PATCH_SIDE // 2 + 1) for place in (y, x)
        )
        part_L = L[rows, columns]
        is_alike = np.abs(part_L - L[y, x]) < _MAX_STEP
        if hint.ab is not None:
            asked = np.array(hint.ab, np.float32)
        elif own_ab is not None:
            asked = own_ab[:, rows, columns][:, is_alike].mean(1)
        else:
            raise no_original_error()
        ab = np.repeat(asked[:, None], part_L.size, axis=1)
        ab = color.limit_chroma(space, part_L.ravel(), ab).reshape(2, *part_L.shape)
        off_y, off_x = np.ogrid[rows, columns]
        distance = (off_y[: len(part_L)] - y) ** 2 + (off_x[:, : part_L.shape[1]] - x) ** 2
        is_nearest = distance <= distances[rows, columns]
        distances[rows, columns][is_nearest] = distance[is_nearest]
        mean = np.append(ab[:, is_alike].mean(1), 1)
        drawn.known[:, rows, columns][:, is_nearest] = mean[:, None]
        drawn.ab[:, rows, columns][:, is_nearest] = ab[:, is_nearest]
        drawn.mask[rows, columns][is_nearest] = is_alike[is_nearest]
    return drawn


def no_original_error() -> PhotochromError:
    """Return the error of a grey photo that is asked for its own colour."""
    return PhotochromError(
        "a hint asks for the photo's original colour, but this photo is grey and has none; give a "
        "colour, or neutral"
    )


def propagate_hints(
    L: FloatArray, unhinted_ab: FloatArray, hinted_ab: FloatArray, drawn: DrawnHints
) -> FloatArray:
    """Return ab that has the colours of hints at their places, and fills what belongs to them.

    What belongs to a hint is found by random walks, which hardly cross edges of L* or of the
    network's colours, and may end anywhere: by the probability that a walk from a pixel arrives at
    a hint. Where it is high, the pixel gets the mean colour of the hints at which walks arrive.
    Where it is low, it keeps the colour that it has without hints.

    Args:
        L: L*, shape (h, w).
        unhinted_ab: The network's ab without hints, shape (2, h, w).
        hinted_ab: Its ab with hints.
        drawn: The hints.

    Returns:
        Shape (2, h, w).

    Reference:
        Grady 2006, "Random Walks for Image Segmentation"; the walks that end are those of Levin et
        al. 2004, "Colorization using Optimization", with a cost on colours far away.
    """
    height, width = L.shape
    scale = max(1.0, min(height, width) / _SIDE)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    smooth_L = cv2.bilateralFilter(resize_planes(L[None], *size)[0], 5, 8.0, 1.5)
    features = np.stack([smooth_L / _SIGMA_L, *(resize_planes(unhinted_ab, *size) / _SIGMA_AB)])
    mask = drawn.mask.astype(np.float32)
    wanted = (drawn.ab - (1 - _FLATNESS) * hinted_ab) * mask
    sources = _PENALTY * resize_planes(np.stack([*wanted, mask]), *size).astype(np.float64)
    ends = sources[-1] + 1 / (_REACH * min(size)) ** 2
    solution = _walk(features, ends, sources)
    *fill, arrival = resize_planes(solution.astype(np.float32), width, height, cv2.INTER_LINEAR)
    fill = np.stack(fill) / np.maximum(arrival, np.float32(1e-9))
    ab = unhinted_ab + (hinted_ab - unhinted_ab) * _smooth_step(arrival, *_FOLLOWS)
    ab += (fill - _FLATNESS * hinted_ab) * _smooth_step(arrival, *_BELONGS)
    return np.where(drawn.mask, drawn.ab, ab).astype(np.float32)


def _walk(
    features: FloatArray, ends: NDArray[np.float64], sources: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return x of the random walk's linear system, which is sparse.

    At each pixel, (ends + sum of conductances) x - sum of conductances times neighbours' x =
    sources. It is solved exactly by elimination of one row of the shorter side after the other, so
    its cost depends on the size alone.

    Args:
        features: Shape (c, h, w); conductances fall with their differences.
        ends: Conductance to where a walk ends, shape (h, w).
        sources: Conductance to a value times the value, shape (n, h, w).

    Returns:
        Shape (n, h, w).
    """
    if features.shape[1] < features.shape[2]:
        swapped = _walk(features.swapaxes(1, 2), ends.T, sources.swapaxes(1, 2))
        return swapped.swapaxes(1, 2)
    below, right = (_conductance(np.diff(features, axis=axis)) for axis in (1, 2))
    diagonal = ends.copy()
    diagonal[:-1] += below
    diagonal[1:] += below
    diagonal[:, :-1] += right
    diagonal[:, 1:] += right
    count, side = diagonal.shape
    x = np.ascontiguousarray(sources.transpose(1, 2, 0))
    inverses = np.empty((count, side, side))
    index = np.arange(side)
    for row in range(count):
        block = np.zeros((side, side))
        if row:
            link = below[row - 1]
            block -= link[:, None] * inverses[row - 1] * link
            x[row] += link[:, None] * (inverses[row - 1] @ x[row - 1])
        block[index, index] += diagonal[row]
        block[index[1:], index[:-1]] -= right[row]
        block[index[:-1], index[1:]] -= right[row]
        inverses[row] = np.linalg.inv(block)
    x[-1] = inverses[-1] @ x[-1]
    for row in reversed(range(count - 1)):
        x[row] = inverses[row] @ (x[row] + below[row][:, None] * x[row + 1])
    return x.transpose(2, 0, 1)


def _conductance(differences: FloatArray) -> NDArray[np.float64]:
    squares = (differences.astype(np.float64) ** 2).sum(axis=0)
    conductance: NDArray[np.float64] = np.exp(-0.5 * squares) + _MIN_CONDUCTANCE
    return conductance


def _smooth_step(x: FloatArray, low: float, high: float) -> FloatArray:
    """Rise from 0 at `low` to 1 at `high`."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    result: FloatArray = t * t * (3 - 2 * t)
    return result
