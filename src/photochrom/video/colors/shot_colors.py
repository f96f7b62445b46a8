"""The colours of a shot: learned from some of its frames, and given to all of them.

The network sees only the keyframes of a shot: frames at most 24 apart, and closer where the picture
changes. (They are not the keyframes of the codec.) The ab of a keyframe is the mean of the
predictions for all keyframes of the shot along the optical flow, by a Kalman smoother for each
pixel: one filter forward in time, one backward, and the weighted mean of both (Fraser and Potter
1969). So what stays in the picture keeps its colours although the predictions differ. A frame
between two keyframes takes the ab of both, along the flow.
"""

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.imagefile.atomic import open_atomic
from photochrom.video.colors.motion import (
    GreyImage,
    Motion,
    blur,
    camera_motion,
    find_motion,
    no_motion,
    small_motion,
)

_MAX_DISTANCE = 24
"""Frames from a keyframe to the next."""
_CHECK_STEP = 3
"""Every third frame is compared with the keyframe before it."""
_UNEXPLAINED = 0.5
"""Similarity below which a keyframe is taken not to show what is at a pixel."""
_MAX_UNEXPLAINED = 0.1
"""Share of the pixels of a frame that the keyframe before it need not show."""
_MIN_SIMILARITY = 0.2
"""Colours are not carried to a place that is less similar."""
_MOTION_NOISE = 0.003
"""Variance of the process from a keyframe to the next where something moves; that of a prediction
is 1."""
_MIN_BACKGROUND_SIDE = 9
"""In px: sides of squares that have to look like the background to be taken for it."""
_REPLACEMENT_RATIO = 4.0
"""What covers a place is taken for the background there once it has this many times the weight."""
_FIXED_WEIGHT, _WEIGHT_BESIDE_FIXED = 1000.0, 0.02
"""Weight of a known ab, and of a prediction in a part of a shot that has one; elsewhere it is 1. A
prediction counts fully `_MAX_DISTANCE` frames after the keyframe before, and nearer to it less, in
proportion."""
_AGING = 1e-3
"""Variance of the process for each frame if several ab are known, so that each counts most near its
frame."""
_MAX_CHROMA_GAIN = 1.7
"""Against the loss of chroma in means of different hues."""
_MIN_WEIGHT = 1e-3
"""Of keyframes that do not show a pixel, so that it has colours in any case."""

_State = FloatArray
"""Mean a*, b* and chroma, and the weight of the mean, shape (4, h, w)."""


def learn(
    frames: Iterable[GreyImage],
    predict_ab: Callable[[int], FloatArray],
    path: Path,
    *,
    stops: Iterable[int],
    flashes: Collection[int] = (),
    fixed: Mapping[int, FloatArray] | None = None,
) -> None:
    """Learn the colours of a shot.

    Args:
        frames: Grey values of all frames of the shot, shape (h, w).
        predict_ab: Returns the ab of a frame, shape (2, h, w), given its index. It is called for
            keyframes only, before the next frame is taken.
        path: The file to write, for `ShotColors`.
        stops: The ends of parts that do not share colours; the last is the number of frames.
        flashes: Indices of frames that differ from the shot around them. They are no keyframes.
        fixed: Known ab of frames, by index. It counts more than the predictions for the part.

    Raises:
        OSError: If the file cannot be written.
    """
    fixed = fixed or {}
    numbered = enumerate(frames)
    with open_atomic(path) as target:
        for first, stop in pairwise([0, *stops]):
            count = sum(first <= index < stop for index in fixed)
            weight = _WEIGHT_BESIDE_FIXED if count else 1.0
            with TemporaryFile(dir=path.parent) as file:
                part = _Part(file, weight, _AGING if count > 1 else 0.0)
                chooser = _KeyframeChooser(first, stop, {*flashes}, {*fixed})
                for index, frame in islice(numbered, stop - first):
                    grey = blur(frame)
                    is_keyframe, motion = chooser.choose(index, grey)
                    if is_keyframe and index in fixed:
                        part.add(index, grey, fixed[index], motion, weight=_FIXED_WEIGHT)
                    elif is_keyframe:
                        part.add(index, grey, predict_ab(index), motion)
                part.finish(stop, target)


class _KeyframeChooser:
    """Chooses the keyframes of a part of a shot, frame by frame."""

    def __init__(self, first: int, stop: int, flashes: set[int], fixed: set[int]) -> None:
        allowed = [index for index in range(first, stop) if index not in flashes] or [first]
        # A flash takes the ab of the frame before it.
        before_flashes = {index for index in allowed if index + 1 in flashes}
        self._forced = {allowed[0], allowed[-1], *before_flashes, *fixed}
        self._excluded = {*range(first, stop)} - {*allowed} - fixed
        self._last: tuple[int, GreyImage] | None = None
        self._motion: Motion | None = None

    def choose(self, index: int, grey: GreyImage) -> tuple[bool, Motion | None]:
        """Return whether a frame is a keyframe, and its motion to the one before, if any."""
        if index in self._excluded:
            return False, None
        motion, is_keyframe = None, index in self._forced
        if self._last is not None:
            distance = index - self._last[0]
            is_keyframe = is_keyframe or distance >= _MAX_DISTANCE
            if is_keyframe or distance % _CHECK_STEP == 0:
                flow = None if self._motion is None else self._motion.flow
                motion = self._motion = find_motion(grey, self._last[1], flow)
                unexplained = float((motion.similarity < _UNEXPLAINED).mean())
                is_keyframe = is_keyframe or unexplained > _MAX_UNEXPLAINED
        if is_keyframe:
            self._last, self._motion = (index, grey), None
        return is_keyframe, motion


class _Part:
    """The keyframes of a part of a shot, in a temporary file."""

    def __init__(self, file: IO[bytes], weight: float, aging: float) -> None:
        self._file = file
        self._weight = weight
        self._aging = aging
        self._indices: list[int] = []
        self._records: _Records
        self._backgrounds: dict[int, _Background] = {}

    def add(
        self,
        index: int,
        grey: GreyImage,
        ab: FloatArray,
        motion: Motion | None,
        *,
        weight: float | None = None,
    ) -> None:
        """Add the next keyframe and its motion to the last; None: the first one."""
        if weight is None:
            frames = index - self._indices[-1] if self._indices else _MAX_DISTANCE // 2
            weight = self._weight * min(1.0, frames / _MAX_DISTANCE)
        weights = np.full(grey.shape, weight, np.float32)
        own = np.stack([*ab, np.hypot(*ab), weights])
        if not self._indices:
            state = ("f2", (4, *grey.shape))
            fields = [("grey", "u1", grey.shape), *((name, *state) for name in _STATES)]
            self._records = _Records(self._file, np.dtype(fields))
        self._indices.append(index)
        record = self._records.new()
        record["grey"], record["own"], record["forward"] = grey, own, own
        k = len(self._indices) - 1
        if motion is not None:
            record["forward"] = _merge(own, self._carry(k, record, -1, motion))
        self._records[k] = record

    def finish(self, stop: int, target: IO[bytes]) -> None:
        """Write the keyframes of the part, which ends at an index, to a file."""
        count = len(self._indices)
        for k in reversed(range(count)):
            record = self._records[k]
            own = record["own"].astype(np.float32)
            record["backward"] = own
            if k + 1 < count:
                motion = find_motion(record["grey"], self._records[k + 1]["grey"])
                carried = self._carry(k, record, 1, motion)
                record["backward"] = _merge(own, carried)
                record["forward"] = _merge(record["forward"].astype(np.float32), carried)
            self._records[k] = record
        for k, index in enumerate(self._indices):
            record = self._records[k]
            keyframe = np.zeros((), _keyframe_type(*record["grey"].shape))
            keyframe["index"], keyframe["stop"], keyframe["grey"] = index, stop, record["grey"]
            keyframe["ab"] = _restore_chroma(record["forward"].astype(np.float32))
            target.write(keyframe.tobytes())

    def _carry(self, k: int, record: Any, step: int, motion: Motion) -> _State:
        """Return what the keyframes on one side, -1 or 1, know of the colours of keyframe `k`."""
        there = self._records[k + step]
        state = there["forward" if step < 0 else "backward"].astype(np.float32)
        background = self._backgrounds.get(step)
        if background is None:
            background = self._backgrounds[step] = _Background(there["grey"], state)
        else:
            background.add(there["grey"], state)
        noise = self._aging * abs(self._indices[k + step] - self._indices[k])
        background.age(noise)
        background.move(motion)
        carried = _transport(_age(state, noise), motion)
        covered = background.state_of(record["grey"])
        is_uncovered = (motion.similarity < _UNEXPLAINED) & (covered[3] > carried[3])
        return np.where(is_uncovered, covered, carried)


_STATES = "own", "forward", "backward"


class _Background:
    """The best known state of each place, whose colours may be needed after it was covered."""

    def __init__(self, grey: GreyImage, state: _State) -> None:
        """Start from the first keyframe."""
        self._grey, self._state = grey, state
        self._has_moved = False
        self._is_visible: NDArray[np.bool_]

    def add(self, grey: GreyImage, state: _State) -> None:
        """Add the keyframe of the last `state_of`, where it knows more."""
        needed = np.where(self._is_visible, 1, _REPLACEMENT_RATIO) * self._state[3]
        is_better = state[3] >= needed
        self._grey = np.where(is_better, grey, self._grey)
        self._state = np.where(is_better, state, self._state)

    def age(self, noise: float) -> None:
        """Add noise of the process."""
        self._state = _age(self._state, noise)

    def move(self, motion: Motion) -> None:
        """Follow the camera to the next keyframe, given the motion from there."""
        matrix = camera_motion(motion)
        if matrix is None:
            return
        self._has_moved = True
        size, flags = self._grey.shape[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        self._grey = cv2.warpAffine(
            self._grey, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        pixels = np.ascontiguousarray(np.moveaxis(self._state, 0, -1))
        self._state = np.moveaxis(cv2.warpAffine(pixels, matrix, size, flags=flags), -1, 0)

    def state_of(self, grey: GreyImage) -> _State:
        """Return the state of what a keyframe shows of the background."""
        # A camera that moves causes parallax.
        compare = small_motion if self._has_moved else no_motion
        motion = compare(grey, self._grey)
        self._is_visible = motion.similarity >= _UNEXPLAINED
        # A small part of what covers the background may look like it by chance.
        similarity = cv2.erode(
            motion.similarity, np.ones((_MIN_BACKGROUND_SIDE, _MIN_BACKGROUND_SIDE))
        )
        return _transport(self._state, dataclasses.replace(motion, similarity=similarity))


class _Records:
    """Records of one type in a file."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any]) -> None:
        self._file, self._dtype = file, dtype

    def new(self) -> Any:
        """Return an empty record."""
        return np.zeros((), self._dtype)

    def __getitem__(self, k: int) -> Any:
        self._file.seek(k * self._dtype.itemsize)
        return np.frombuffer(bytearray(self._file.read(self._dtype.itemsize)), self._dtype)[0]

    def __setitem__(self, k: int, record: Any) -> None:
        self._file.seek(k * self._dtype.itemsize)
        self._file.write(record.tobytes())


def _keyframe_type(height: int, width: int) -> np.dtype[Any]:
    """Return the type of a keyframe in the file of a shot."""
    shape = height, width
    return np.dtype(
        [("index", "i4"), ("stop", "i4"), ("grey", "u1", shape), ("ab", "f2", (2, *shape))]
    )


def _transport(state: NDArray[Any], motion: Motion) -> _State:
    """Return the state of a keyframe as seen from another: the prediction step of the filter."""
    weight = np.maximum(motion.warp(state[3:])[0], 0)
    similarity = motion.similarity
    noise = 1 / np.maximum(similarity, np.float32(_MIN_SIMILARITY)) - 1
    noise += ~motion.is_static * np.float32(_MOTION_NOISE)
    weight = weight / (1 + weight * noise) * (similarity >= _MIN_SIMILARITY)
    return np.concatenate([motion.warp(state[:3], cv2.INTER_CUBIC), weight[None]])


def _age(state: _State, noise: float) -> _State:
    """Return a state after noise of the process was added."""
    weight = state[3:] / (1 + state[3:] * np.float32(noise))
    return np.concatenate([state[:3], weight])


def _merge(one: _State, other: _State) -> _State:
    """Return the weighted mean of two states: the update step of the filter."""
    weight = one[3] + other[3]
    mean = (one[:3] * one[3] + other[:3] * other[3]) / weight
    return np.concatenate([mean, weight[None]])


def _restore_chroma(state: _State) -> FloatArray:
    """Return the ab of a state, with the mean chroma instead of that of the mean."""
    ab = state[:2]
    chroma = np.maximum(np.hypot(*ab), np.float32(1e-3))
    restored: FloatArray = ab * np.clip(state[2] / chroma, 1, np.float32(_MAX_CHROMA_GAIN))
    return restored


class ShotColors:
    """The ab of the frames of a shot, from the file of `learn`."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        """Open a file of frames of this shape.

        Raises:
            OSError: If the file cannot be read.
        """
        self._path, self._type = path, _keyframe_type(height, width)
        keyframes = np.memmap(path, self._type, "r")
        self._indices: list[int] = keyframes["index"].tolist()
        self._stops: list[int] = keyframes["stop"].tolist()
        self._cache: dict[int, Any] = {}
        self._flows: dict[int, NDArray[np.float32]] = {}

    def ab(self, index: int, grey: GreyImage, *, is_flash: bool = False) -> FloatArray:
        """Return the ab of a frame, shape (2, h, w).

        It is fastest, and follows motion best, if called for one frame after the other.

        Args:
            index: Of the frame in the shot.
            grey: Its grey values, as of `learn`.
            is_flash: Whether it takes the ab of the frame before.
        """
        k = max(0, bisect_right(self._indices, index) - 1)
        if self._stops[k] <= index:  # a part of a shot that begins with a flash
            k += 1
        is_between = k + 1 < len(self._indices) and self._stops[k + 1] == self._stops[k]
        before = self._keyframe(k)
        if self._indices[k] >= index or is_flash or not is_between:
            return before["ab"].astype(np.float32)  # type: ignore[no-any-return]
        after = self._keyframe(k + 1)
        share = (index - before["index"]) / (after["index"] - before["index"])
        grey = blur(grey)
        total, weights = np.zeros(before["ab"].shape, np.float32), np.zeros(grey.shape, np.float32)
        for number, keyframe, near in ((k, before, 1 - share), (k + 1, after, share)):
            motion = find_motion(grey, keyframe["grey"], self._flows.get(number))
            self._flows[number] = motion.flow
            weight = (motion.similarity + np.float32(_MIN_WEIGHT)) * np.float32(near)
            total += motion.warp(keyframe["ab"]) * weight
            weights += weight
        total /= weights
        return total

    def _keyframe(self, k: int) -> Any:
        """Return a keyframe, and drop those before it."""
        for old in [number for number in self._cache if number < k - 1]:
            del self._cache[old]
            self._flows.pop(old, None)
        if k not in self._cache:
            offset = k * self._type.itemsize
            self._cache[k] = np.fromfile(self._path, self._type, 1, offset=offset)[0]
        return self._cache[k]
