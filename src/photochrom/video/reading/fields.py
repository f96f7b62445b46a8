"""Make the frames of interlaced and telecined videos progressive, one for one."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice, tee
from typing import Literal

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from photochrom.errors import PhotochromError

_Pair = tuple[VideoFrame, VideoFrame]
FieldKind = Literal["progressive", "tff", "bff", "telecine"]

_CONTEXT_FRAMES = 2
"""Frames before a frame that its pixels depend on."""
_MAX_LEADING_FRAMES = 64
"""Those before the keyframe from which a stream can be decoded."""
_MATCHING = {"mode": "pc_n", "combmatch": "full", "mchroma": "0", "cthresh": "12", "combpel": "20"}
"""Finds more combed frames than the defaults, and takes no more clean ones for combed."""


@dataclass(frozen=True)
class Fields:
    """How the frames of a video consist of fields, which are their even and odd rows."""

    kind: FieldKind = "progressive"
    """`tff` and `bff`: both fields of a frame have different times. `telecine`: fields of the same
    time are in neighbouring frames, or only a part of the frames is interlaced."""
    top_first: bool = True
    """Whether the even rows are the earlier field."""

    @property
    def seek_loss(self) -> int:
        """Number of frames from a keyframe on that `make_progressive` leaves out after a seek."""
        return 0 if self.kind == "progressive" else _CONTEXT_FRAMES

    def __str__(self) -> str:
        order = "top" if self.top_first else "bottom"
        return {
            "progressive": "progressive",
            "telecine": f"telecined or partly interlaced, {order} field first: fields matched",
        }.get(self.kind, f"interlaced, {order} field first: deinterlaced")


def make_progressive(
    frames: Iterable[VideoFrame], fields: Fields, *, is_sought: bool = False
) -> Iterator[VideoFrame]:
    """Yield one progressive frame for each frame, with its time.

    A frame's pixels do not depend on where decoding started: after a seek, the first frames are
    left out, as those before them are not known.

    Args:
        frames: In presentation order.
        fields: How they consist of fields; the pixels of progressive frames are kept.
        is_sought: Whether decoding did not start at the beginning.

    Raises:
        PhotochromError: If frames of their format cannot be filtered.
    """
    if fields.kind != "progressive":
        order = "tff" if fields.top_first else "bff"
        filter_all = _inverse_telecine if fields.kind == "telecine" else _deinterlace
        if is_sought:
            frames = islice(filter_all(_skip_leading(frames), order), fields.seek_loss, None)
        else:
            frames = filter_all(frames, order)
    # swscale scales the fields of a frame that is flagged as interlaced one by one.
    for is_flagged, group in groupby(frames, lambda frame: frame.interlaced_frame):
        if is_flagged:
            yield from (frame for _, frame in _filter(group, "setfield", mode="prog"))
        else:
            yield from group


def _skip_leading(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield frames from the first keyframe on; those before may be incomplete."""
    frames = iter(frames)
    for frame in islice(frames, _MAX_LEADING_FRAMES):
        if frame.key_frame:
            yield frame
            yield from frames


def _deinterlace(frames: Iterable[VideoFrame], order: str) -> Iterator[VideoFrame]:
    return (deinterlaced for _, deinterlaced in _bwdif(frames, order))


def _inverse_telecine(frames: Iterable[VideoFrame], order: str) -> Iterator[VideoFrame]:
    """Match fields; frames that are combed with every match are deinterlaced.

    bwdif could leave out the others itself, but then its first output depends on those before.
    """
    matches, copy = tee(_match_fields(frames, order))
    deinterlaced = _bwdif((frame for frame, _ in copy), order)
    for (matched, is_combed), (_, frame) in zip(matches, deinterlaced, strict=True):
        yield frame if is_combed else matched


def _bwdif(frames: Iterable[VideoFrame], order: str) -> Iterator[_Pair]:
    return _filter(frames, "bwdif", mode="send_frame", parity=order, deint="all")


def _match_fields(frames: Iterable[VideoFrame], order: str) -> Iterator[tuple[VideoFrame, bool]]:
    """Yield frames of fields that match, and whether they are combed nevertheless.

    fieldmatch takes only a few formats of 8 bits, so it only decides which fields match.
    """
    pairs, copy = tee((frame, frame.reformat(format="yuv420p", threads=1)) for frame in frames)
    decisions = _filter((reduced for _, reduced in copy), "fieldmatch", order=order, **_MATCHING)
    for window, (_, decision) in zip(_windows(pairs), decisions, strict=True):
        top, bottom = (
            next(
                frame
                for frame, reduced in window
                if np.array_equal(_luma(reduced)[row::2], _luma(decision)[row::2])
            )
            for row in range(2)
        )
        current = window[0][0]
        matched = current if top is bottom is current else _weave(top, bottom, current)
        yield matched, decision.interlaced_frame


def _windows(pairs: Iterable[_Pair]) -> Iterator[tuple[_Pair, _Pair, _Pair]]:
    """Yield each item, that before and that after it; at the ends, the item instead."""
    before = current = None
    for after in pairs:
        if current is not None:
            yield current, before or current, after
        before, current = current, after
    if current is not None:
        yield current, before or current, current


def _weave(top: VideoFrame, bottom: VideoFrame, current: VideoFrame) -> VideoFrame:
    """Return a frame of the even rows of one and the odd rows of another."""
    frame = VideoFrame(current.width, current.height, current.format.name)
    for plane, *fields in zip(frame.planes, top.planes, bottom.planes, strict=True):
        target = _rows(plane)
        for row, field in enumerate(_rows(one) for one in fields):
            length = min(target.shape[1], field.shape[1])  # with padding
            target[row::2, :length] = field[row::2, :length]
    frame.colorspace, frame.color_range = current.colorspace, current.color_range
    frame.key_frame = current.key_frame  # type: ignore[misc]
    return _with_time(frame, current)


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    return _rows(frame.planes[0])[:, : frame.width]


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)


def _filter(frames: Iterable[VideoFrame], name: str, **options: str) -> Iterator[_Pair]:
    """Yield each frame and its output, by a filter that needs at most the next frame."""
    for _, group in groupby(frames, lambda frame: (frame.width, frame.height, frame.format.name)):
        graph, waiting = None, deque[VideoFrame]()
        for frame in group:
            graph = graph or _open_graph(frame, name, options)
            waiting.append(frame)
            yield from _push(graph, frame, waiting)
        if graph is not None and waiting:  # the last frame is its own neighbour
            yield from _push(graph, frame, waiting)


def _push(graph: Graph, frame: VideoFrame, waiting: deque[VideoFrame]) -> Iterator[_Pair]:
    """Push a frame, and yield frames that waited with the outputs that follow."""
    graph.vpush(frame)
    with suppress(av.error.BlockingIOError):
        while True:
            output = graph.vpull()
            original = waiting.popleft()
            yield original, _with_time(output, original)


def _open_graph(frame: VideoFrame, name: str, options: dict[str, str]) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(frame.time_base or 1),
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    graph.link_nodes(source, graph.add(name, **options), graph.add("buffersink"))
    try:
        graph.configure()
    except (av.error.FFmpegError, OSError) as error:
        raise PhotochromError(
            f"frames of {frame.width}x{frame.height} px in {frame.format.name} cannot be "
            "deinterlaced; take them as they are with --field progressive"
        ) from error
    return graph


def _with_time(frame: VideoFrame, original: VideoFrame) -> VideoFrame:
    frame.pts, frame.time_base = original.pts, original.time_base
    frame.duration = original.duration
    return frame
