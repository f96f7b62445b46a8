"""Going through a film once: the time of each frame, its scenes, and what to do in one piece."""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from photochrom.colorize.colorizer import network_size
from photochrom.video.cuts import SIDE, Copy, Cuts
from photochrom.video.source import Film, FilmError, clock, damaged, decoded, opened, pictures

REACH = 10
"""Frames beyond a piece that have a say in its colours, on each side, within the same scene."""
_PIECE = 192
"""Frames in a piece at most,"""
_LEAST = 32
"""and at least, where the film is not shorter,"""
_PARTS = 16
"""and at most this share of the film, so that all cores have work to its end."""
_PIXELS = 500_000
"""Pieces of larger frames are shorter, by the root of how much larger."""
_BACK = 4
"""So many places to decode from are tried before the film's start."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many frames of it are, and of how many."""


@dataclass(frozen=True)
class Learned:
    """What one pass over a film found."""

    times: list[int]
    """Of each frame, in the film's `time_base`; rising."""
    durations: list[int]
    """How long each is to be seen, in the same unit; of the last one 0 if it is not known."""
    prints: list[int]
    """A checksum of a small copy of each frame."""
    keys: list[int]
    """Numbers of the frames from which decoding can start."""
    cuts: list[int]
    """Numbers of the first frames of scenes."""
    flashes: list[int]
    """Numbers of frames that show something else than their scene."""


@dataclass(frozen=True)
class Piece:
    """Frames that one process colours at a time, and those beside them that have a say."""

    number: int
    times: list[int]
    """Of all these frames."""
    before: int
    """How many of them come before the piece itself,"""
    count: int
    """and how many are the piece."""
    cuts: list[int]
    """First frames of scenes, as places in `times`."""
    flashes: list[int]
    starts: list[int]
    """Times of frames from which decoding can start, the best first."""
    print: int
    """The checksum of the first frame."""


def learn(film: Film, progress: Progress) -> Learned:
    """Decode a film and find its scenes.

    Raises:
        FilmError: If it is damaged, or its frames are interlaced, change their size or have no
            times that rise.
    """
    times: list[int] = []
    durations: list[int] = []
    prints: list[int] = []
    keys: list[int] = []
    cuts = Cuts()
    with opened(film.path) as container:
        says_durations = "matroska" in container.format.name  # others have those of decoding
        stream = pictures(film, container)
        stream.codec_context.thread_count = 1  # with more, FFmpeg says nothing of broken frames
        for frame in decoded(film.path, container, stream):
            _check(film, frame, times)
            copy = small(frame)
            cuts.add(copy)
            if frame.key_frame:
                keys.append(len(times))
            prints.append(zlib.crc32(copy.tobytes()))
            times.append(frame.pts or 0)
            durations.append(frame.duration or 0)
            progress("learned", len(times), max(film.expected, len(times)))
    place = float(times[-1] * film.time_base)
    if place + 1 < film.ends:
        raise damaged(film.path, place, f"its frames end here, not at {clock(film.ends)}")
    cuts.finish()
    if not says_durations:
        durations = [*(b - a for a, b in pairwise(times)), durations[-1]]
    return Learned(times, durations, prints, keys, cuts.cuts, cuts.flashes)


def _check(film: Film, frame: VideoFrame, times: list[int]) -> None:
    place = clock(frame.time or 0.0)
    if frame.is_corrupt:
        raise damaged(film.path, frame.time or 0.0, "a frame is not whole")
    if (frame.width, frame.height) != (film.width, film.height):
        raise FilmError(
            f"{film.path} changes the size of its frames at {place}; give a film of one size"
        )
    if frame.interlaced_frame:
        raise FilmError(
            f"{film.path} is interlaced at {place}: each frame holds two pictures; deinterlace it "
            "first, such as with `ffmpeg -i IN -vf bwdif -c:a copy OUT`"
        )
    if frame.pts is None or (times and frame.pts <= times[-1]):
        raise FilmError(
            f"{film.path} has frames without a time, or out of order, at {place}; write it anew "
            "first, such as with `ffmpeg -i IN -c copy OUT.mkv`"
        )


def small(frame: VideoFrame) -> Copy:
    """Return a small grey copy of a frame, to find cuts with and to know the frame again."""
    height, width = network_size(frame.height, frame.width, SIDE)
    copy = frame.reformat(
        width=max(16, width),
        height=max(16, height),
        format="gray",
        interpolation=Interpolation.AREA,
        threads=1,
    )
    return np.ascontiguousarray(copy.to_ndarray(), np.uint8)


def pieces(film: Film, learned: Learned, most: int) -> Iterator[Piece]:
    """Cut a film into pieces, where it cuts itself if that is possible.

    Neither the number of processes nor what is done already has a part in it.

    Args:
        film: The film.
        learned: From `learn`.
        most: Frames in a piece that memory allows.
    """
    count = len(learned.times)
    large = max(1.0, film.width * film.height / _PIXELS) ** 0.5
    length = max(_LEAST, min(round(_PIECE / large), -(-count // _PARTS)))
    length = max(1, min(length, most * 3 // 4))
    first = number = 0
    while first < count:
        stop = first + length
        fair = [
            cut for cut in (*learned.cuts, count) if length / 3 <= cut - first <= length * 4 / 3
        ]
        stop = min(fair, key=lambda cut: abs(cut - stop), default=min(stop, count))
        yield _piece(learned, number, first, stop)
        first, number = stop, number + 1


def _piece(learned: Learned, number: int, first: int, stop: int) -> Piece:
    cuts = learned.cuts
    scene = cuts[bisect_right(cuts, first) - 1]
    after = bisect_left(cuts, stop)
    end = cuts[after] if after < len(cuts) else len(learned.times)
    low, high = max(scene, first - REACH), min(end, stop + REACH)
    known = bisect_right(learned.keys, low)
    keys = learned.keys[max(0, known - _BACK) : known]
    return Piece(
        number,
        learned.times[low:high],
        first - low,
        stop - first,
        [max(cut - low, 0) for cut in cuts if scene <= cut < high],
        [flash - low for flash in learned.flashes if low <= flash < high],
        [learned.times[key] for key in reversed(keys)],
        learned.prints[low],
    )


def frames(film: Film, piece: Piece) -> Iterator[VideoFrame]:
    """Decode the frames of a piece, and those beside it.

    Where a file leads to is not trusted: the first frame has to be the one that was seen before.

    Raises:
        FilmError: If the film is not what it was when it was learned.
    """
    for start in (*piece.starts, None):
        with opened(film.path) as container:
            stream = pictures(film, container)
            stream.codec_context.thread_count = 1
            if start is not None:
                container.seek(start, stream=stream)
            place = 0
            for frame in _decoded(film, container, stream, piece.times[0], last=start is None):
                if frame.pts != piece.times[place]:
                    break
                if place == 0 and zlib.crc32(small(frame).tobytes()) != piece.print:
                    break
                yield frame
                place += 1
                if place == len(piece.times):
                    return
            if place:
                break
    raise FilmError(f"{film.path} is not the film any more that it was; start again (--restart)")


def _decoded(
    film: Film, container: InputContainer, stream: VideoStream, first: int, *, last: bool
) -> Iterator[VideoFrame]:
    """Decode from a frame on; where its decoding did not begin well, there are none."""
    begun = False
    try:
        for frame in decoded(film.path, container, stream):
            begun = begun or (frame.pts or 0) >= first
            if begun:
                yield frame
    except FilmError:
        if begun or last:
            raise
