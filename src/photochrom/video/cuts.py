"""Where a film cuts from one scene to another, found from small grey copies of its frames.

Two frames are of one scene if the one, bent to the other by what moved between them, looks like it,
however bright each is. So grain, pans and flicker are no cuts; nor is a flash, after which the old
scene goes on.
"""

from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Short side in px of the copies."""
_UNLIKE = 0.5
"""What is left of a frame's contrast, as a share, from which on two frames are of two scenes."""
_FACTOR = 3.0
"""And it has to be so many times what is usual around it: a storm of motion is one scene."""
_FAINT = 8.0
"""Levels of 255: a frame's contrast counts as at least this, or grain in the dark would be all."""
_GAIN = 2.0
"""A frame may be so many times as contrasted as the one before."""
_FLASH = 2
"""Frames that a flash lasts at most."""
_AROUND = 4
"""Frames on each side that say what is usual."""

Copy = NDArray[np.uint8]


class Cuts:
    """Is shown copies of a film's frames one after another, and finds its cuts."""

    def __init__(self) -> None:
        """Begin with a scene at the first frame."""
        self.cuts: list[int] = [0]
        """The first frame of each scene."""
        self.flashes: list[int] = []
        """Frames that show something else than the scene around them."""
        self._copies: dict[int, Copy] = {}
        self._unlike: list[float] = []
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def add(self, copy: Copy) -> None:
        """Look at the next frame's copy, of uint8, shape (h, w)."""
        number = len(self._unlike)
        before = self._copies.get(number - 1)
        self._unlike.append(0.0 if before is None else self.unlike(before, copy))
        self._copies[number] = copy
        self._decide(number - _AROUND)
        self._copies.pop(number - _AROUND - 1, None)

    def finish(self) -> None:
        """Decide about the last frames."""
        for number in range(max(0, len(self._unlike) - _AROUND), len(self._unlike)):
            self._decide(number)

    def unlike(self, one: Copy, other: Copy) -> float:
        """Return how much of a frame is not explained by another, as a share of their contrast."""
        a, b = (copy.astype(np.float32) for copy in (one, other))
        gain = float(np.clip((b.std() + 1) / (a.std() + 1), 1 / _GAIN, _GAIN))
        a = (a - a.mean()) * gain + b.mean()
        bent = bend(a, self._flow.calc(other, np.clip(a, 0, 255).astype(np.uint8), None))
        contrast = (np.abs(a - a.mean()).mean() + np.abs(b - b.mean()).mean()) / 2
        return float(np.abs(b - bent).mean() / max(contrast, _FAINT))

    def _decide(self, number: int) -> None:
        """Decide whether a scene begins with a frame, now that those after it are known."""
        if number < 1 or (self.flashes and self.flashes[-1] == number - 1):
            return
        around = range(max(1, number - _AROUND), min(number + _AROUND + 1, len(self._unlike)))
        usual = median([self._unlike[other] for other in around if other != number] or [0.0])
        bar = max(_UNLIKE, _FACTOR * usual)
        if self._unlike[number] < bar:
            return
        for length in range(1, _FLASH + 1):
            after = self._copies.get(number + length)
            if after is not None and self.unlike(self._copies[number - 1], after) < _UNLIKE:
                self.flashes.extend(range(number, number + length))
                return
        self.cuts.append(number)


def bend(picture: NDArray[Any], flow: NDArray[np.float32]) -> NDArray[Any]:
    """Return a picture bent by a flow: at each place what lies `flow` away in it."""
    bent: NDArray[Any] = cv2.remap(
        picture, *sources(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return bent


def sources(flow: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return from where a flow of shape (h, w, 2) brings each place: x and y in px, (h, w) each."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x, y
