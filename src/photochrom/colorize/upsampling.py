"""Enlarging ab so that colours end where L* has its edges, not where small pixels do."""

import cv2
import numpy as np

from photochrom.color import FloatArray

_EDGE = 50.0  # (L*)^2: a luminance edge well below its root, 7 L*, counts as texture or grain
_RADIUS = 1  # px, of the windows in which lines are fitted
ZOOM = 3
"""A middle copy of a photo is at most so many times as large as what the network saw."""
_STEP = 1.7  # L* from a pixel of the middle copy to the next: colours hardly cross more
_RATE = 0.45  # the share of a difference that flows at a time; below a half, or it oscillates
_SWEEPS = 3  # flows along rows and columns between two corrections
_ROUNDS = 4  # corrections but one; the constants are chosen on photos of the training set


def lines(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Find ab = slope * L* + offset for every place of a photo, so that ab follows the edges of L*.

    Args:
        L: L* of the middle copy, shape (zoom * h, zoom * w); zoom is a whole number.
        ab: What the network said of the small one, shape (2, h, w).

    Returns:
        The slopes of a* and b*, then their offsets, to be enlarged bilinearly: shape
        (4, zoom * h, zoom * w).
    """
    if L.shape != ab.shape[1:]:
        ab = _refined(L, ab)
    return _local_lines(L, ab)


def _refined(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Enlarge ab to the size of a larger copy of L*, with colours that end at the edges of L*.

    A pixel of the small ab that lies on an edge has the mean of two colours. Here ab flows within
    areas of like L*, and not across edges, and after some flowing is corrected such that its mean
    over every pixel of the small copy is again what the network said (as in back-projection, Irani
    and Peleg 1991). So the mean parts into the two colours. No colour comes from grain: it only
    slows the flow.

    Args:
        L: Shape (zoom * h, zoom * w).
        ab: Shape (2, h, w).

    Returns:
        Shape (2, zoom * h, zoom * w).
    """
    (height, width), (h, w) = L.shape, ab.shape[1:]
    small = cv2.resize(L, (w, h), interpolation=cv2.INTER_AREA)
    start = _enlarged(_local_lines(small, ab), width, height)
    # As rows on end: to be beside or below is then to be so many values later.
    beside, below = _openness(L.ravel(), 1), _openness(L.ravel(), width)
    beside[width - 1 :: width] = 0
    refined = start[:2] * L + start[2:]
    flow = np.empty(L.size, np.float32)
    for plane, goal in zip(refined, ab, strict=True):
        values = plane.reshape(-1)
        for left in reversed(range(_ROUNDS + 1)):
            off = goal - cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA)
            plane += cv2.resize(off, (width, height), interpolation=cv2.INTER_LINEAR)
            for step, openness in [(1, beside), (width, below)] * (_SWEEPS if left else 0):
                there, here = values[step:], values[:-step]
                passed = np.subtract(there, here, out=flow[: len(here)])
                passed *= openness
                here += passed
                there -= passed
    return refined


def _enlarged(planes: FloatArray, width: int, height: int) -> FloatArray:
    size = (width, height)
    return np.stack([cv2.resize(p, size, interpolation=cv2.INTER_LINEAR) for p in planes])


def _openness(L: FloatArray, step: int) -> FloatArray:
    """Return the share of a difference in ab that may flow between pixels `step` apart."""
    off = L[step:] - L[:-step]
    off *= off
    off *= np.float32(-0.5 / _STEP**2)
    share: FloatArray = cv2.exp(off).reshape(-1)
    share *= np.float32(_RATE)
    return share


def _local_lines(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Fit ab = slope * L* + offset around every pixel, so that ab can follow the edges of L*.

    This is the fast guided filter (He and Sun 2015), with one change: the offset is not blurred,
    but such that each line goes through its own pixel. Where L* has no detail beyond the small
    copy, that is bilinear enlarging. The filter as published blurs ab itself: on photos whose ab
    was reduced 2 to 4 times it is further from the truth than bilinear, and this is nearer.

    Args:
        L: Shape (h, w).
        ab: Shape (2, h, w).

    Returns:
        Shape (4, h, w): the slopes of a* and b*, then their offsets.
    """
    mean_L = _box(L)
    variance = np.maximum(_box(L * L) - mean_L * mean_L, 0)
    weight = np.reciprocal(variance + np.float32(_EDGE))
    slopes = [_box((_box(plane * L) - _box(plane) * mean_L) * weight) for plane in ab]
    return np.stack(
        [*slopes, *(plane - slope * L for plane, slope in zip(ab, slopes, strict=True))]
    )


def _box(plane: FloatArray) -> FloatArray:
    """Return the mean around every pixel, shape (h, w)."""
    side = 2 * _RADIUS + 1
    mean: FloatArray = cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean
