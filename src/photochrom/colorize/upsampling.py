"""Edge-aware upsampling of ab: colours end at the edges of L*, not of low-resolution pixels."""

import cv2
import numpy as np

from photochrom.color import FloatArray

ZOOM = 3
"""L* for upsampling has at most this many times the sides of the network's input."""
# The constants below were chosen on photos of the training set.
_EPSILON = 50.0  # (L*)^2: regularization of the guided filter; edges well below 7 L* are texture
_RADIUS = 1  # px, of the windows of the guided filter
_SIGMA = 1.7  # L*: diffusion nearly stops at larger differences between neighbours
_RATE = 0.45  # of diffusion; from 0.5 on it oscillates
_SWEEPS = 3  # diffusion steps along rows and columns between two corrections
_ROUNDS = 4  # corrections, not counting the last


def fit_lines(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Upsample ab, as local lines ab = slope * L* + offset that follow the edges of L*.

    Args:
        L: L* of the photo, shape (zoom * h, zoom * w) with an integer zoom.
        ab: The network's output, shape (2, h, w).

    Returns:
        Slopes of a* and b*, then offsets, shape (4, zoom * h, zoom * w). They can be enlarged
        further bilinearly.
    """
    if L.shape != ab.shape[1:]:
        ab = _upsample(L, ab)
    return _guided_filter(L, ab)


def resize_planes(
    planes: FloatArray, width: int, height: int, interpolation: int = cv2.INTER_AREA
) -> FloatArray:
    """Resize planes such as ab, shape (n, h, w), to (n, height, width), usually to shrink them."""
    size = width, height
    return np.stack([cv2.resize(plane, size, interpolation=interpolation) for plane in planes])


def _upsample(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Enlarge ab to the size of L* by diffusion within areas of similar L*.

    A low-resolution pixel on an edge has the mean of two colours. Diffusion alternates with
    back-projection (Irani and Peleg 1991), which restores the mean of ab over each low-resolution
    pixel. So the mean separates into the two colours. Grain adds no colour, it only slows down
    diffusion.
    """
    (height, width), (h, w) = L.shape, ab.shape[1:]
    small_L = cv2.resize(L, (w, h), interpolation=cv2.INTER_AREA)
    lines = _guided_filter(small_L, ab)
    lines = np.stack(
        [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in lines]
    )
    # In flattened rows, the right neighbour is the next value, the lower one `width` values later.
    right, below = _diffusivity(L.ravel(), 1), _diffusivity(L.ravel(), width)
    right[width - 1 :: width] = 0
    result = lines[:2] * L + lines[2:]
    flow = np.empty(L.size, np.float32)
    for plane, target in zip(result, ab, strict=True):
        values = plane.reshape(-1)
        for remaining in reversed(range(_ROUNDS + 1)):
            error = target - cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA)
            plane += cv2.resize(error, (width, height), interpolation=cv2.INTER_LINEAR)
            for step, diffusivity in [(1, right), (width, below)] * (_SWEEPS if remaining else 0):
                here, neighbor = values[:-step], values[step:]
                change = np.subtract(neighbor, here, out=flow[: len(here)])
                change *= diffusivity
                here += change
                neighbor -= change
    return result


def _diffusivity(L: FloatArray, step: int) -> FloatArray:
    """Return the share of a difference in ab that flows between pixels `step` apart."""
    difference = L[step:] - L[:-step]
    difference *= difference
    difference *= np.float32(-0.5 / _SIGMA**2)
    share: FloatArray = cv2.exp(difference).reshape(-1)
    share *= np.float32(_RATE)
    return share


def _guided_filter(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Fit ab = slope * L* + offset around every pixel.

    This is the fast guided filter (He and Sun 2015) with one change: the offset is not blurred, but
    chosen such that each line goes through its own pixel. The published filter blurs ab: where ab
    was reduced 2 to 4 times, its error is larger than that of bilinear interpolation.

    Returns:
        Slopes of a* and b*, then offsets, shape (4, h, w).
    """
    mean_L = _box_filter(L)
    variance = np.maximum(_box_filter(L * L) - mean_L * mean_L, 0)
    weight = np.reciprocal(variance + np.float32(_EPSILON))
    slopes = [
        _box_filter((_box_filter(plane * L) - _box_filter(plane) * mean_L) * weight) for plane in ab
    ]
    offsets = [plane - slope * L for plane, slope in zip(ab, slopes, strict=True)]
    return np.stack([*slopes, *offsets])


def _box_filter(plane: FloatArray) -> FloatArray:
    side = 2 * _RADIUS + 1
    mean: FloatArray = cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean
