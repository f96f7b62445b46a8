"""Keeping colours still over time: what a network says of each frame, joined with its neighbours.

Every place of a frame takes the mean of what was said of it and of the same place in the frames
before and after, found again by the flow of lightness between them; each frame further away counts
less. Where the lightness there is another, as something new has come into view, what lies beyond
does not count. So means never reach over a cut, and nothing trails behind what moves.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.video.cuts import bend, sources

_KEEP = 0.75
"""What a frame one further away counts, as a share."""
_ALIKE = 5.0
"""L*: so far apart, places count 1/e of what they would."""
_STILL = 0.5
"""L*: a flow that explains no more than this is none."""
_BLUR = 1.5
"""px: deviation of the blur before lightness is compared, for grain to be none."""
_BRIGHT = 3.0
"""Frames: deviation of the window in which brightness is made even."""
_BRIGHT_REACH = 5
_GAIN = 1.5
"""Contrast is changed by this factor at most."""

Half = NDArray[np.float16]
"""What is kept of many frames at a time."""
BYTES = 20
"""Of memory that a frame takes for each px of its small copy."""


def steady(
    seen: Sequence[FloatArray | Half],
    guess: Callable[[FloatArray], FloatArray],
    cuts: Iterable[int],
    flashes: Iterable[int],
) -> list[Half]:
    """Guess the colours of frames that follow one another, and keep them still.

    Args:
        seen: L* of each frame's small copy, shape (h, w).
        guess: Asks the network about one of them; it returns ab, shape (2, h, w).
        cuts: Places in `seen` where scenes begin; the first frame begins one anyway.
        flashes: Places of frames that show something else than the scene: they take its colours,
            and it does not take theirs.

    Returns:
        The ab of each frame, shape (2, h, w).
    """
    odd = set(flashes)
    borders = sorted({0, len(seen), *cuts})
    result: list[Half] = []
    for start, stop in pairwise(borders):
        scene = [place for place in range(start, stop) if place not in odd] or [start]
        found: list[_Seen] = []
        guessed: list[Half] = []
        for L in _evenly_bright([seen[place] for place in scene]):
            found.append(_Seen(L))
            guessed.append(guess(L).astype(np.float16))
        colours = dict(zip(scene, _joined(found, guessed), strict=True))
        last = colours[scene[0]]
        for place in range(start, stop):
            last = colours.get(place, last)
            result.append(last)
    return result


def _evenly_bright(scene: Sequence[FloatArray | Half]) -> Iterator[FloatArray]:
    """Return L* of a scene's frames without the flicker of their brightness and contrast."""
    means, spreads = (
        np.array([[float(measure(L, dtype=np.float32)) for L in scene]], np.float32)
        for measure in (np.mean, np.std)
    )
    wanted, wide = (_smooth(values) for values in (means, spreads))
    gains = np.clip((wide + 1) / (spreads + 1), 1 / _GAIN, _GAIN)
    for L, mean, gain, want in zip(scene, means[0], gains[0], wanted[0], strict=True):
        yield np.clip((np.asarray(L, np.float32) - mean) * gain + want, 0, 100)


def _smooth(values: FloatArray) -> FloatArray:
    """Return values of frame after frame, shape (1, n), without what does not last."""
    window = (2 * _BRIGHT_REACH + 1, 1)
    smooth: FloatArray = cv2.GaussianBlur(values, window, _BRIGHT, borderType=cv2.BORDER_REPLICATE)
    return smooth


def _joined(found: "list[_Seen]", guessed: list[Half]) -> list[Half]:
    """Join what was said of the frames of a scene.

    The mean over the frames up to one, and their weight, come from the mean up to the one before;
    likewise from the last frame back; both together are the mean over all, each counted by how far
    away it is and how well it is found again.
    """
    past: list[tuple[Half, Half]] = []
    before: tuple[FloatArray, FloatArray] | None = None
    for place, own in enumerate(guessed):
        mean, weight = _none(own)
        if before is not None:
            mean, weight = _carried(found[place - 1], found[place], *before)
        past.append((mean.astype(np.float16), weight.astype(np.float16)))
        before = _mean(own, (mean, weight))
    after: tuple[FloatArray, FloatArray] | None = None
    result: list[Half] = []
    for place in reversed(range(len(found))):
        own = guessed[place]
        later = _none(own)
        if after is not None:
            later = _carried(found[place + 1], found[place], *after)
        joined, _ = _mean(own, past[place], later)
        result.append(joined.astype(np.float16))
        after = _mean(own, later)
    return result[::-1]


def _none(own: Half) -> tuple[FloatArray, FloatArray]:
    return np.zeros(own.shape, np.float32), np.zeros(own.shape[1:], np.float32)


def _mean(own: Half, *others: tuple[NDArray[Any], NDArray[Any]]) -> tuple[FloatArray, FloatArray]:
    """Return the mean of a frame's own ab, which counts 1, and others, and the sum of weights."""
    total = own.astype(np.float32)
    weights = np.ones(own.shape[1:], np.float32)
    for ab, weight in others:
        total += ab * weight.astype(np.float32)
        weights += weight
    return total / weights, weights


class _Seen:
    """The lightness of a frame, as it is compared and followed."""

    def __init__(self, L: FloatArray) -> None:
        self.plain = (cv2.GaussianBlur(L, (0, 0), 1.0) * np.float32(2.55)).astype(np.uint8)
        self.blurred: Half = cv2.GaussianBlur(L, (0, 0), _BLUR).astype(np.float16)


_FLOW = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)


def _carried(
    there: _Seen, here: _Seen, mean: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Bring ab and its weight from one frame to the next, or to the one before.

    Returns:
        The ab where it is found here, and what it counts: less, as it is further away, and next to
        nothing where the lightness that it had there is another one.
    """
    flow = _FLOW.calc(here.plain, there.plain, None)
    now, then = here.blurred.astype(np.float32), there.blurred.astype(np.float32)
    off, unmoved = np.abs(now - bend(then, flow)), np.abs(now - then)
    still = unmoved <= off + np.float32(_STILL)
    flow[still] = 0
    off[still] = unmoved[still]
    height, width = off.shape
    x, y = sources(flow)
    inside = (x > -1) & (x < width) & (y > -1) & (y < height)
    alike = cv2.exp(-np.square(off / np.float32(_ALIKE))) * inside * np.float32(_KEEP)
    a, b, weight = (bend(plane, flow) for plane in (*mean, weight))
    return np.stack([a, b]), weight * alike
