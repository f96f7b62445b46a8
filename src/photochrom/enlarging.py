"""Enlarging ab so that colours end where L* has its edges, not where small pixels do."""

import cv2
import numpy as np

from photochrom.color import FloatArray

_EDGE = 50.0  # (L*)^2: a luminance edge well below its root, 7 L*, counts as texture or grain
_RADIUS = 1  # px, of the windows in which lines are fitted
ZOOM = 3
"""A middle copy of a photo is at most so many times as large as what the network saw."""
_STEP = 2.0  # L* from a pixel of the middle copy to the next: colours hardly cross more
_RATE = 0.4  # the share of a difference that flows at a time; below a half, or it oscillates
_SWEEPS = 2  # flows along rows and columns between two corrections
_ROUNDS = 4  # corrections but one; the constants are chosen on photos of the training set


def lines(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Find ab = slope * L* + offset for every place of a photo, so that ab follows the edges of L*.

    Args:
        L: L* of the middle copy, shape (zoom * h, zoom * w); zoom is a whole number.
        ab: What the network said of the small one, shape (h, w, 2).

    Returns:
        The slopes of a* and b*, then their offsets, to be enlarged bilinearly: shape
        (zoom * h, zoom * w, 4).
    """
    if L.shape != ab.shape[:2]:
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
        ab: Shape (h, w, 2).

    Returns:
        Shape (zoom * h, zoom * w, 2).
    """
    (h, w), (height, width) = ab.shape[:2], L.shape
    lines = _local_lines(cv2.resize(L, (w, h), interpolation=cv2.INTER_AREA), ab)
    lines = cv2.resize(lines, (width, height), interpolation=cv2.INTER_LINEAR)
    # A plane at a time, as rows on end: then to be beside or below is to be so many values later.
    beside, below = _openness(L.ravel(), 1), _openness(L.ravel(), width)
    beside[width - 1 :: width] = 0
    result = np.empty((height, width, 2), np.float32)
    flow = np.empty(L.size, np.float32)
    for channel in range(2):
        goal = ab[..., channel]
        plane = lines[..., channel] * L + lines[..., 2 + channel]
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
        result[..., channel] = plane
    return result


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
        ab: Shape (h, w, 2).

    Returns:
        Shape (h, w, 4): the slopes of a* and b*, then their offsets.
    """
    L = L[..., None]
    mean_L, mean_ab = _box(L), _box(ab)
    covariance = _box(ab * L) - mean_ab * mean_L
    variance = np.maximum(_box(L * L) - mean_L * mean_L, 0)
    slope = _box(np.divide(covariance, variance + np.float32(_EDGE)))
    return np.concatenate([slope, ab - slope * L], axis=-1)


def _box(x: FloatArray) -> FloatArray:
    """Return the mean around every pixel; shape (h, w, C)."""
    side = 2 * _RADIUS + 1
    mean: FloatArray = cv2.blur(x, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean.reshape(x.shape)
