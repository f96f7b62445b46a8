"""Motion between two frames of a shot, and how well it explains them."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.video.shots.cuts import optical_flow, source_positions

GreyImage = NDArray[np.uint8]

_BLUR = 1.2
"""Sigma in px of the blur before frames are compared, against grain."""
_WINDOW = 2.0
"""Sigma in px of the window over which differences are averaged."""
_MIN_IMPROVEMENT = 0.5
"""Of 100, by which flow has to reduce the difference; else it is taken as zero."""
_NEIGHBORHOOD = 21
"""In px."""
_MIN_TOLERANCE, _MAX_TOLERANCE = 1.0, 4.0
"""Of 100. Differences up to twice their median are grain, within these limits."""
_SCALE = 3.0
"""Of 100, beyond the tolerance at which the similarity falls to 1/e."""
_MAX_GAIN = 2.0
"""Largest difference of contrast that is flicker or a change of exposure."""
_MAX_OFFSET = 40.0
"""The same of brightness, of 100."""
_SMALL_MOTION = 0.02
"""Of the short side."""
_FIT_ROUNDS = 3
_FIT_STEP = 4
"""In px; the fit of brightness and contrast takes every fourth pixel of every fourth row."""

_MIN_POINTS = 20
"""Of which the motion of the camera is computed."""
_MIN_CAMERA_MOTION = 1e-3
"""In px, of most points."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the pixels of a frame are in another one."""

    x: FloatArray
    """Of each pixel in the other frame, shape (h, w)."""
    y: FloatArray
    similarity: FloatArray
    """From 0, the other frame does not show what is here, to 1; shape (h, w)."""
    is_static: NDArray[np.bool_]
    """Whether a pixel is taken to be at the same place, shape (h, w)."""
    flow: NDArray[np.float32]
    """As computed, to start from for the next frame; shape (h, w, 2)."""

    def warp(self, planes: NDArray[Any], interpolation: int = cv2.INTER_LINEAR) -> FloatArray:
        """Return planes of the other frame, shape (n, h, w), as seen from this one."""
        pixels = np.ascontiguousarray(np.moveaxis(planes, 0, -1), np.float32)
        border = cv2.BORDER_REPLICATE
        warped = cv2.remap(pixels, self.x, self.y, interpolation, borderMode=border)
        return np.moveaxis(np.atleast_3d(warped), -1, 0)


def blur(grey: GreyImage) -> GreyImage:
    """Return grey values, shape (h, w), as `find_motion` takes them."""
    blurred: GreyImage = cv2.GaussianBlur(grey, (0, 0), _BLUR)
    return blurred


def find_motion(
    target: GreyImage, source: GreyImage, initial: NDArray[np.float32] | None = None
) -> Motion:
    """Find each pixel of `target` in `source`.

    Frames are compared after brightness and contrast of `source` are matched to `target`.

    Args:
        target: Grey values of a frame, shape (h, w), from `blur`.
        source: The same of another frame of this size.
        initial: A flow to start from, such as `Motion.flow` of the frame before.
    """
    return _compare(target, source, optical_flow(target, source, initial))


def no_motion(target: GreyImage, source: GreyImage) -> Motion:
    """Return the motion of a still camera in a still scene; arguments: see `find_motion`."""
    return _compare(target, source, np.zeros((*target.shape, 2), np.float32))


def small_motion(target: GreyImage, source: GreyImage) -> Motion:
    """Find the motion where it is small, and take the rest as still; see `find_motion`."""
    flow = optical_flow(target, source)
    flow[np.hypot(flow[..., 0], flow[..., 1]) > _SMALL_MOTION * min(target.shape)] = 0
    return _compare(target, source, flow)


def camera_motion(motion: Motion) -> NDArray[np.float64] | None:
    """Return the affine matrix, shape (2, 3), from pixels to where most are in the other frame.

    None if there is none, or it is the identity.
    """
    every = slice(_FIT_STEP, None, 2 * _FIT_STEP)
    height, width = motion.x.shape
    columns, rows = (np.arange(side, dtype=np.float32)[every] for side in (width, height))
    here = np.stack(np.meshgrid(columns, rows), -1)
    there = np.stack([motion.x[every, every], motion.y[every, every]], -1)
    is_similar = motion.similarity[every, every] > 0.5
    here, there = (points[is_similar] for points in (here, there))
    if len(here) < _MIN_POINTS or np.median(np.abs(there - here)) < _MIN_CAMERA_MOTION:
        return None
    matrix, _ = cv2.estimateAffine2D(here, there, ransacReprojThreshold=1.0)
    return matrix  # type: ignore[no-any-return]


def _compare(target: GreyImage, source: GreyImage, flow: NDArray[np.float32]) -> Motion:
    x, y = source_positions(flow)
    here, there = (image.astype(np.float32) * np.float32(100 / 255) for image in (target, source))
    warped = cv2.remap(there, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gain, offset = _match_exposure(warped, here)
    here -= offset
    moved, unmoved = (_local_difference(here, image * gain) for image in (warped, there))
    improvement = unmoved - moved
    # Where both explain a pixel equally well, it moves as what is around it.
    around = cv2.blur(improvement, (_NEIGHBORHOOD, _NEIGHBORHOOD))
    limit = np.float32(_MIN_IMPROVEMENT)
    is_static = (improvement <= limit) & ((around <= limit) | (improvement <= -limit))
    difference = np.where(is_static, unmoved, moved)
    height, width = here.shape
    x = np.where(is_static, np.arange(width, dtype=np.float32), x)
    y = np.where(is_static, np.arange(height, dtype=np.float32)[:, None], y)
    is_inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    typical = 2 * float(np.median(difference[::_FIT_STEP, ::_FIT_STEP]))
    tolerance = np.float32(np.clip(typical, _MIN_TOLERANCE, _MAX_TOLERANCE))
    excess = np.maximum(difference - tolerance, 0) / np.float32(_SCALE)
    return Motion(x, y, cv2.exp(-excess * excess) * is_inside, is_static, flow)


def _match_exposure(source: FloatArray, target: FloatArray) -> tuple[np.float32, np.float32]:
    """Return gain and offset that take grey values of `source` to that of `target`.

    Iteratively reweighted least squares: what moved or was covered does not count.
    """
    a, b = (image[::_FIT_STEP, ::_FIT_STEP].ravel() for image in (source, target))
    gain, offset = 1.0, float(np.median(b - a))
    for _ in range(_FIT_ROUNDS):
        error = b - (a * np.float32(gain) + np.float32(offset))
        scale = max(1.0, 2 * float(np.median(np.abs(error))))
        weights = 1 / (1 + np.square(error / np.float32(scale)))
        weights /= weights.sum()
        mean_a, mean_b = float(weights @ a), float(weights @ b)
        variance = float(weights @ np.square(a - mean_a))
        covariance = float(weights @ ((a - mean_a) * (b - mean_b)))
        gain = float(np.clip((covariance + 1) / (variance + 1), 1 / _MAX_GAIN, _MAX_GAIN))
        offset = float(np.clip(mean_b - gain * mean_a, -_MAX_OFFSET, _MAX_OFFSET))
    return np.float32(gain), np.float32(offset)


def _local_difference(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the root mean square of a - b around each pixel."""
    difference = a - b
    difference *= difference
    mean: FloatArray = cv2.sqrt(cv2.GaussianBlur(difference, (0, 0), _WINDOW))
    return mean
