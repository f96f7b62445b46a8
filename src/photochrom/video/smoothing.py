"""Temporal smoothing of predicted ab: a motion-compensated exponential moving average.

The ab of a frame is averaged with that of the frames before and after it in the same shot, warped
by the optical flow of L* between them. Weights decay exponentially with the distance in time and
with the squared difference in L* between a pixel and its warped counterpart. So uncovered areas
keep their own colours, and moving objects leave no trail.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.video.cuts import optical_flow, source_positions, warp

_DECAY = 0.75
"""Weight of a frame relative to the one nearer in time."""
_LIGHTNESS_SCALE = 5.0
"""L* difference at which the weight falls to 1/e."""
_MIN_IMPROVEMENT = 0.5
"""L* by which flow has to reduce the difference; else it is taken as zero."""
_BLUR = 1.5
"""Sigma in px of the blur before L* is compared, against grain."""
_DEFLICKER_SIGMA = 3.0
"""In frames."""
_DEFLICKER_RADIUS = 5
_MAX_GAIN = 1.5
"""Largest change of contrast against flicker."""

HalfArray = NDArray[np.float16]
BYTES_PER_PIXEL = 20
"""Memory for each pixel of a network input, while a shot is smoothed."""


def smooth(
    inputs: Sequence[FloatArray | HalfArray],
    predict_ab: Callable[[FloatArray, int], FloatArray],
    cuts: Iterable[int],
    flashes: Iterable[int],
) -> list[HalfArray]:
    """Predict the ab of consecutive frames and smooth them over time.

    Args:
        inputs: The network input of each frame: L*, shape (h, w).
        predict_ab: Returns the ab of an input, shape (2, h, w), given its index as well.
        cuts: Indices of the first frames of shots; 0 need not be among them.
        flashes: Indices of frames that take the ab of the frame before, and are not averaged.

    Returns:
        The ab of each frame, shape (2, h, w).
    """
    excluded = set(flashes)
    smoothed: list[HalfArray] = []
    for start, stop in pairwise(sorted({0, len(inputs), *cuts})):
        shot = [index for index in range(start, stop) if index not in excluded] or [start]
        frames: list[_Frame] = []
        predictions: list[HalfArray] = []
        for index, L in zip(shot, _deflicker([inputs[i] for i in shot]), strict=True):
            frames.append(_Frame(L))
            predictions.append(predict_ab(L, index).astype(np.float16))
        by_index = dict(zip(shot, _average(frames, predictions), strict=True))
        ab = by_index[shot[0]]
        for index in range(start, stop):
            ab = by_index.get(index, ab)
            smoothed.append(ab)
    return smoothed


def _deflicker(shot: Sequence[FloatArray | HalfArray]) -> Iterator[FloatArray]:
    """Yield the L* of a shot's frames with mean and contrast smoothed over time."""
    means, deviations = (
        np.array([[float(statistic(L, dtype=np.float32)) for L in shot]], np.float32)
        for statistic in (np.mean, np.std)
    )
    window = (2 * _DEFLICKER_RADIUS + 1, 1)
    smooth_means, smooth_deviations = (
        cv2.GaussianBlur(values, window, _DEFLICKER_SIGMA, borderType=cv2.BORDER_REPLICATE)
        for values in (means, deviations)
    )
    gains = np.clip((smooth_deviations + 1) / (deviations + 1), 1 / _MAX_GAIN, _MAX_GAIN)
    for L, mean, gain, new_mean in zip(shot, means[0], gains[0], smooth_means[0], strict=True):
        yield np.clip((np.asarray(L, np.float32) - mean) * gain + new_mean, 0, 100)


class _Frame:
    """The lightness of a frame, for optical flow and for comparison."""

    def __init__(self, L: FloatArray) -> None:
        self.flow_input = (cv2.GaussianBlur(L, (0, 0), 1.0) * np.float32(2.55)).astype(np.uint8)
        self.blurred: HalfArray = cv2.GaussianBlur(L, (0, 0), _BLUR).astype(np.float16)


def _average(frames: "list[_Frame]", predictions: list[HalfArray]) -> list[HalfArray]:
    """Return the ab of each frame averaged over its shot."""
    past = [
        (mean.astype(np.float16), weight.astype(np.float16))
        for mean, weight in _past_means(frames, predictions)
    ]
    # The same backwards in time. It is not stored, to save memory.
    future = _past_means(frames[::-1], predictions[::-1])
    averages = [
        _weighted_mean(ab, before, after)[0].astype(np.float16)
        for ab, before, after in zip(predictions[::-1], past[::-1], future, strict=True)
    ]
    return averages[::-1]


def _past_means(
    frames: "list[_Frame]", predictions: list[HalfArray]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield for each frame the mean ab of the frames before it, and its weight, shape (h, w)."""
    mean = np.zeros(predictions[0].shape, np.float32)
    weight = np.zeros(mean.shape[1:], np.float32)
    for index, ab in enumerate(predictions):
        if index > 0:
            mean, weight = _warp_mean(frames[index - 1], frames[index], mean, weight)
        yield mean, weight
        mean, weight = _weighted_mean(ab, (mean, weight))


def _weighted_mean(
    ab: HalfArray, *others: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of `ab`, with weight 1, and others with their weights; and the weight sum."""
    total = ab.astype(np.float32)
    weights = np.ones(ab.shape[1:], np.float32)
    for other, weight in others:
        total += other * weight.astype(np.float32)
        weights += weight
    return total / weights, weights


def _warp_mean(
    source: _Frame, target: _Frame, mean: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Warp a mean ab and its weight from one frame to the next, and reduce the weight."""
    flow = optical_flow(target.flow_input, source.flow_input)
    L, source_L = target.blurred.astype(np.float32), source.blurred.astype(np.float32)
    difference, unwarped_difference = np.abs(L - warp(source_L, flow)), np.abs(L - source_L)
    static = unwarped_difference <= difference + np.float32(_MIN_IMPROVEMENT)
    flow[static] = 0
    difference[static] = unwarped_difference[static]
    height, width = L.shape
    x, y = source_positions(flow)
    is_inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    similarity = cv2.exp(-np.square(difference / np.float32(_LIGHTNESS_SCALE)))
    a, b, weight = (warp(plane, flow) for plane in (*mean, weight))
    return np.stack([a, b]), weight * (similarity * is_inside * np.float32(_DECAY))
