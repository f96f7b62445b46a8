"""Cut detection: find where shots begin, from grey thumbnails of the frames.

Two frames belong to the same shot if one, warped by the optical flow between them and adjusted in
brightness and contrast, resembles the other. So grain, pans, flicker and flashes are no cuts.
"""

from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_SIDE = 64
"""Short side of the thumbnails in px."""
_MIN_DIFFERENCE = 0.5
"""Smallest difference at a cut, as a share of contrast."""
_MIN_RATIO = 3.0
"""Smallest ratio at a cut to the median difference nearby, so that fast motion is no cut."""
_MIN_CONTRAST = 8.0
"""Of 255. Contrast counts as at least this, so that grain in dark frames is no cut."""
_MAX_GAIN = 2.0
"""Largest adjustment of contrast between two frames."""
_MAX_FLASH_FRAMES = 2
_NEARBY = 4
"""Frames on each side that are nearby."""

Thumbnail = NDArray[np.uint8]


class CutDetector:
    """Finds cuts and flashes in a sequence of thumbnails."""

    def __init__(self) -> None:
        self.cuts: list[int] = [0]
        """Index of the first frame of each shot."""
        self.flashes: list[int] = []
        """Indices of frames that differ from the shot around them."""
        self._thumbnails: dict[int, Thumbnail] = {}
        self._differences: list[float] = []

    def add(self, thumbnail: Thumbnail) -> None:
        """Add the thumbnail of the next frame, shape (h, w)."""
        index = len(self._differences)
        previous = self._thumbnails.get(index - 1)
        self._differences.append(0.0 if previous is None else self._difference(previous, thumbnail))
        self._thumbnails[index] = thumbnail
        self._classify(index - _NEARBY)
        self._thumbnails.pop(index - _NEARBY - 1, None)

    def finish(self) -> None:
        """Classify the last frames."""
        for index in range(max(0, len(self._differences) - _NEARBY), len(self._differences)):
            self._classify(index)

    def _difference(self, first: Thumbnail, second: Thumbnail) -> float:
        """Return the difference that motion and brightness do not explain, relative to contrast."""
        a, b = (thumbnail.astype(np.float32) for thumbnail in (first, second))
        gain = float(np.clip((b.std() + 1) / (a.std() + 1), 1 / _MAX_GAIN, _MAX_GAIN))
        a = (a - a.mean()) * gain + b.mean()
        warped = warp(a, optical_flow(second, np.clip(a, 0, 255).astype(np.uint8)))
        contrast = (np.abs(a - a.mean()).mean() + np.abs(b - b.mean()).mean()) / 2
        return float(np.abs(b - warped).mean() / max(contrast, _MIN_CONTRAST))

    def _classify(self, index: int) -> None:
        """Record whether a frame begins a shot or a flash, given the frames after it."""
        if index < 1 or (self.flashes and index <= self.flashes[-1] + 1):
            return
        nearby = range(max(1, index - _NEARBY), min(index + _NEARBY + 1, len(self._differences)))
        usual = median([self._differences[i] for i in nearby if i != index] or [0.0])
        if self._differences[index] < max(_MIN_DIFFERENCE, _MIN_RATIO * usual):
            return
        for length in range(1, _MAX_FLASH_FRAMES + 1):
            after = self._thumbnails.get(index + length)
            if after is None:
                continue
            if self._difference(self._thumbnails[index - 1], after) < _MIN_DIFFERENCE:
                self.flashes.extend(range(index, index + length))
                return
        self.cuts.append(index)


_MIN_FLOW_SIDE = 32
"""In px. OpenCV crashes where a side is smaller."""


def optical_flow(
    target: Thumbnail, source: Thumbnail, initial: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return where in `source` each pixel of `target` is: x and y relative to it, (h, w, 2).

    This is dense inverse search (Kroeger et al. 2016), from the flow `initial` on, if it is given.
    """
    height, width = target.shape
    bottom, right = max(0, _MIN_FLOW_SIDE - height), max(0, _MIN_FLOW_SIDE - width)
    target, source = (
        cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        for image in (target, source)
    )
    if initial is not None:
        initial = np.pad(initial, [(0, bottom), (0, right), (0, 0)])
    # A new object for each call: in OpenCV 5.0.0 a second call depends on the first.
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: NDArray[np.float32] = search.calc(target, source, initial)
    return flow[:height, :width]


def warp(image: NDArray[Any], flow: NDArray[np.float32]) -> NDArray[Any]:
    """Return `image` sampled at each pixel's position plus `flow`, shape (h, w, 2)."""
    warped: NDArray[Any] = cv2.remap(
        image, *source_positions(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped


def source_positions(flow: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the x and y, each (h, w), that `warp` samples for a flow of shape (h, w, 2)."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y
