"""Find out from the pictures whether a video is interlaced or telecined."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import get_args

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from photochrom.errors import VideoError
from photochrom.video.reading.fields import FieldKind, Fields
from photochrom.video.reading.source import Video, decode

_MIN_LINES, _MAX_LINES = 16, 1088
"""There is no interlaced format with fewer or more."""
_SAMPLES, _SAMPLE_FRAMES = 10, 40
_SHRINK = 4
"""Horizontally: grain is averaged, combing is not."""
_MAX_WIDTH = 240
"""In px, of frames that are measured."""
_NOISE = 6
"""Combing in levels of 255 that is not counted."""
_RATIO = 1.4
"""Between the combing of fields of different times, and of the same or closer times."""
_MIN_DIFFERENCE = 0.005
"""Between them, in levels; less is no movement."""
_GRAIN_VARIANCE, _GRAIN_SIGMAS = 4.0, 4.0
"""Variance of the combing by grain, of an area of one px and relative to its mean, and the standard
deviations of it that are no difference."""
_MIN_SHARE = 0.05
"""Of the moving frames that have to be interlaced, so that a video is."""
_MIN_INTERLACED_SHARE = 0.8
"""Of the moving frames, for a video in which all are taken as interlaced."""

_Luma = NDArray[np.int16]


def detect_fields(video: Video, kind: FieldKind | None = None) -> Fields:
    """Return how the frames of a video consist of fields, from samples of its frames.

    Flags in the file are often wrong, so they are not used.

    Args:
        video: The source.
        kind: What the frames are, if it is known.

    Raises:
        VideoError: If there is no such kind, or the source are pictures.
    """
    if kind is not None and kind not in get_args(FieldKind):
        known = ", ".join(get_args(FieldKind))
        raise VideoError(f"there is no field {kind!r}; choose one of {known}")
    if video.sequence is not None:
        if kind not in (None, "progressive"):
            raise VideoError(f"{video.path} are pictures, which are progressive; leave out --field")
        return Fields()
    if kind in ("progressive", "tff", "bff"):
        return Fields(kind, top_first=kind != "bff")
    if video.height < _MIN_LINES or (kind is None and video.height > _MAX_LINES):
        return Fields(kind or "progressive")
    area = _narrow(video.width) * video.height
    counts = sum(_count(_measure(sample), area) for sample in _sample(video))
    found = _decide(np.asarray(counts))
    return found if kind is None else replace(found, kind=kind)


def _sample(video: Video) -> Iterator[Iterable[VideoFrame]]:
    """Yield runs of frames from all parts of a video, or its first frames if it is short."""
    raw = replace(video, fields=Fields())
    if video.estimated_frames <= _SAMPLES * _SAMPLE_FRAMES or video.stamp == "pos":
        yield islice(decode(raw), _SAMPLES * _SAMPLE_FRAMES)
        return
    first = next(decode(raw)).pts or 0
    length = video.estimated_frames / video.frame_rate / video.time_base
    for index in range(_SAMPLES):
        yield islice(decode(raw, first + round(length * index / _SAMPLES)), _SAMPLE_FRAMES)


def _measure(frames: Iterable[VideoFrame]) -> NDArray[np.float64]:
    """Measure the combing of fields that are woven into a frame.

    Returns:
        For each frame: of its own fields; of its top field with the bottom field before; of its
        bottom field with the top field before. Shape (n, 3).
    """
    rows: list[tuple[float, float, float]] = []
    before: _Luma | None = None
    for frame in frames:
        luma = _shrink(frame)
        if before is None or before.shape != luma.shape:
            before = luma
        rows.append(
            (
                _combing(luma[::2], luma[1::2]),
                _combing(luma[::2], before[1::2]),
                _combing(before[::2], luma[1::2]),
            )
        )
        before = luma
    return np.array(rows).reshape(-1, 3)


def _shrink(frame: VideoFrame) -> _Luma:
    """Return the luma, narrower and with an even number of rows."""
    grey = frame.reformat(
        width=_narrow(frame.width),
        height=frame.height,
        format="gray",
        interpolation=Interpolation.AREA,
        threads=1,
    )
    luma = grey.to_ndarray().astype(np.int16)
    return luma[: len(luma) // 2 * 2]


def _narrow(width: int) -> int:
    return max(16, min(width // _SHRINK, _MAX_WIDTH))


def _combing(top: _Luma, bottom: _Luma) -> float:
    """Return by how much rows differ from both neighbours in the same direction, on average."""
    frame = np.stack([top, bottom], axis=1).reshape(-1, top.shape[1])
    upper, lower = frame[1:-1] - frame[:-2], frame[1:-1] - frame[2:]
    excess = np.maximum(np.minimum(upper, lower), -np.maximum(upper, lower)) - _NOISE
    return float(np.maximum(excess, 0).mean())


def _count(combing: NDArray[np.float64], area: int) -> NDArray[np.intp]:
    """Count the frames of which it is clear what they are, similar to FFmpeg's idet.

    Args:
        combing: From `_measure`. Fields of different times are more combed the more they differ.
        area: In px, of the frames that were measured.

    Returns:
        Number of frames that are progressive; interlaced, top and bottom field first; and combed,
        with both fields matching those of neighbours if the top and the bottom field is first.
    """

    def is_less(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
        grain = _GRAIN_SIGMAS * np.sqrt(_GRAIN_VARIANCE * b / area)
        return _RATIO * a + _MIN_DIFFERENCE + grain < b

    own = combing[1:-1, 0]
    tff = np.stack([combing[1:-1, 1], combing[2:, 1]])  # pairs that are close if it is top first
    bff = np.stack([combing[1:-1, 2], combing[2:, 2]])
    is_tff = is_less(np.maximum(tff.max(0), own), bff.min(0))
    is_bff = is_less(np.maximum(bff.max(0), own), tff.min(0))
    is_progressive = is_less(own, np.minimum(tff.min(0), bff.min(0))) & ~is_tff & ~is_bff
    is_matched = is_less(tff.max(0), own), is_less(bff.max(0), own)
    clear = np.array([is_progressive, is_tff, is_bff, *is_matched])
    return np.asarray(clear.sum(axis=1), np.intp)


def _decide(counts: NDArray[np.intp]) -> Fields:
    _, tff, bff, tff_matched, bff_matched = counts
    interlaced, matched = tff + bff, tff_matched + bff_matched
    if interlaced + matched <= _MIN_SHARE * counts.sum():
        return Fields()
    top_first = bool(tff + tff_matched >= bff + bff_matched)
    if interlaced < _MIN_INTERLACED_SHARE * counts.sum():
        return Fields("telecine", top_first)
    return Fields("tff" if top_first else "bff", top_first)
