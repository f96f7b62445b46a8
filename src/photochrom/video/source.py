"""A film that is read: what its file says of its pictures, its frames, and frames as photos."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from photochrom.color import Pixels
from photochrom.errors import PhotochromError
from photochrom.imagefile.photo import Photo

MAX_PIXELS = 36_000_000
"""A film of larger frames is refused: 8K has 33 million."""

_ITU601, _ITU709 = 5, 1
_MATRICES = {1: _ITU709, 4: 4, 5: _ITU601, 6: _ITU601, 7: 7}
"""From H.273's matrix coefficients to swscale's; all that are not here are refused or guessed."""
_RGB, _UNKNOWN = 0, 2
_WIDE = (9, 10, 11, 12)  # primaries: BT.2020, XYZ, P3
_HDR = (16, 18)  # transfer: PQ, HLG
LIMITED, FULL = 1, 2
EXACT = int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)
_NO_FILMS = ("image2", "tty")


class FilmError(PhotochromError):
    """A file that is not a film which can be coloured, or one that cannot be written."""


@dataclass(frozen=True)
class Film:
    """What a file says of its pictures."""

    path: Path
    stream: int
    """Which of the file's streams the pictures are."""
    width: int
    """In px, as stored: `turn` comes after."""
    height: int
    deep: bool
    """Whether there are more than 8 bits to a value."""
    matrix: int
    """swscale's number of the matrix between RGB and YUV."""
    full: bool
    """Whether black is 0 in YUV, not 16."""
    tags: tuple[int, int, int, int]
    """Primaries, transfer, matrix and range that the result is to say, as H.273 numbers them."""
    turn: int
    """Quarter turns to the left that a player makes."""
    display: tuple[int, ...] | None
    """The display matrix that asks for it."""
    aspect: Fraction | None
    """Width of a pixel over its height."""
    rate: Fraction
    """Frames a second on average."""
    time_base: Fraction
    """Seconds."""
    expected: int
    """How many frames there are by what the file says, or about; 0: it does not say."""
    ends: float
    """In seconds, when the pictures end by what the file says; 0: it does not say."""


def any_metadata() -> dict[str, Any]:
    """Return the keywords of `av.open` that allow metadata which is not UTF-8; PyAV 19 has none."""
    return {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a film's file; nothing that it names elsewhere is fetched.

    Raises:
        FilmError: If it is missing or not a film.
    """
    if not path.exists():
        raise FilmError(f"there is no file {path}; give a film")
    if not path.is_file():
        raise FilmError(f"{path} is not a file; give a film")
    local = {"protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=local, **any_metadata())
    except (av.error.FFmpegError, OSError) as error:
        raise FilmError(
            f"{path} cannot be read as a film: {_reason(error)}; give one that plays elsewhere"
        ) from error
    with container:
        yield container


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> Film:
    """Read what a file says, and its first frame.

    Raises:
        FilmError: If it is not a film, or one that cannot be coloured rightly.
    """
    with opened(path) as container:
        if container.format.name in _NO_FILMS or container.format.name.endswith("_pipe"):
            raise FilmError(
                f"{path} is a picture or a text, not a film; `photochrom colorize` takes photos"
            )
        stream = _pictures(path, container)
        frame = next(decoded(path, container, stream), None)
        if frame is None:
            raise FilmError(f"{path} has no frame that can be decoded; give another copy of it")
        _check(path, stream, frame, max_pixels)
        rate = _fraction(stream.average_rate) or _fraction(stream.guessed_rate) or Fraction(25)
        seconds = container.duration / av.time_base if container.duration else 0
        return _film(path, stream, frame, rate, stream.frames or round(seconds * rate))


def _pictures(path: Path, container: InputContainer) -> VideoStream:
    """Return the one stream that is not a cover."""
    found = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if len(found) != 1:
        raise FilmError(
            f"{path} has {len(found)} video streams; give a film with one"
            + (", such as `ffmpeg -i IN -map 0:v:0 -map 0:a -c copy OUT` makes" if found else "")
        )
    if found[0].codec_context is None:
        raise FilmError(f"{path} has pictures in a codec that is not known; give another copy")
    return found[0]


def _check(path: Path, stream: VideoStream, frame: VideoFrame, max_pixels: int) -> None:
    if frame.width * frame.height > max_pixels:
        raise FilmError(
            f"{path} has frames of {frame.width}x{frame.height} pixels, more than the limit of "
            f"{max_pixels}; give a smaller film"
        )
    if frame.color_trc in _HDR or frame.color_primaries in _WIDE or frame.colorspace in (9, 10):
        raise FilmError(
            f"{path} is HDR or has colours beyond BT.709, which cannot be coloured; convert it to "
            "BT.709 first"
        )
    if frame.colorspace not in (*_MATRICES, _RGB, _UNKNOWN):
        raise FilmError(
            f"{path} has the colour matrix {frame.colorspace} of H.273, which is not known; "
            "convert it to BT.709 first"
        )


def _film(path: Path, stream: VideoStream, frame: VideoFrame, rate: Fraction, count: int) -> Film:
    large = frame.width >= 1280 or frame.height > 576
    grey = len(frame.format.components) < 3
    rgb = frame.format.is_rgb or grey  # numbers that are not YUV
    said = _UNKNOWN if rgb else frame.colorspace
    matrix = _MATRICES.get(said, _ITU709 if large else _ITU601)
    full = not rgb and (frame.color_range == FULL or frame.format.name.startswith("yuvj"))
    matrix_tag = {_ITU709: 1, _ITU601: 6}[matrix] if rgb else said
    display: Any = frame.side_data.get("DISPLAYMATRIX")
    return Film(
        path,
        stream.index,
        frame.width,
        frame.height,
        max(component.bits for component in frame.format.components) > 8,
        matrix,
        full,
        (frame.color_primaries, frame.color_trc, matrix_tag, FULL if full else LIMITED),
        round(frame.rotation / 90) % 4,
        None if display is None else tuple(np.frombuffer(display, np.int32).tolist()),
        _fraction(stream.sample_aspect_ratio),
        rate,
        _fraction(stream.time_base) or Fraction(1, 1000),
        count,
        _seconds(stream.metadata.get("DURATION", "")),
    )


def _fraction(number: Any) -> Fraction | None:
    """Return a rational number of PyAV, which 19 has a type of its own for; None: it is not set."""
    return Fraction(number) if number else None


def _seconds(text: str) -> float:
    """Return the seconds of what Matroska writes as 00:00:03.200000000, or 0."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", text)
    if found is None:
        return 0.0
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def pictures(film: Film, container: InputContainer) -> VideoStream:
    """Return the stream of a film's pictures."""
    stream = container.streams[film.stream]
    assert isinstance(stream, VideoStream)
    return stream


def decoded(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode a stream's frames, from where the container is.

    Raises:
        FilmError: If the file or a frame is damaged.
    """
    place = 0.0
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise damaged(path, place, "what follows is not whole")
            for frame in packet.decode():
                place = frame.time or place
                yield frame
    except (av.error.FFmpegError, OSError) as error:
        raise damaged(path, place, _reason(error)) from error


def damaged(path: Path, seconds: float, reason: str) -> FilmError:
    """Return the refusal of a film that is broken somewhere."""
    return FilmError(
        f"{path} is damaged or encrypted at {clock(seconds)}: {reason}; give another copy, or one "
        "that was repaired"
    )


def clock(seconds: float) -> str:
    """Return a time as people read it."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:05.2f}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def to_photo(frame: VideoFrame, film: Film) -> Photo:
    """Return a frame as an upright photo: of grey if it has no colours, which is faster."""
    source = FULL if film.full else LIMITED
    kind = ("gray16le" if film.deep else "gray") if _is_grey(frame) else None
    kind = kind or ("rgb48le" if film.deep else "rgb24")
    pixels: Pixels = frame.reformat(
        format=kind,
        src_colorspace=film.matrix,
        src_color_range=source,
        dst_color_range=FULL,
        interpolation=EXACT,
        threads=1,
    ).to_ndarray()  # type: ignore[assignment]
    return Photo(np.ascontiguousarray(np.rot90(np.atleast_3d(pixels), film.turn)))


def to_frame(photo: Photo, film: Film, pixel_format: str) -> VideoFrame:
    """Return a photo in colour as a frame, turned back again."""
    pixels: Any = np.ascontiguousarray(np.rot90(photo.pixels, -film.turn))
    kind = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
    return VideoFrame.from_ndarray(pixels, format=kind).reformat(
        format=pixel_format,
        dst_colorspace=film.matrix,
        src_color_range=FULL,
        dst_color_range=FULL if film.full else LIMITED,
        interpolation=EXACT,
        threads=1,
    )


def _is_grey(frame: VideoFrame) -> bool:
    """Tell whether a frame is of grey alone, by its format or because both its colours are 0."""
    if len(frame.format.components) < 3:
        return True
    if not frame.format.is_planar or frame.format.is_rgb or len(frame.planes) != 3:
        return False
    bits = frame.format.components[1].bits
    return all((_values(frame, index) == 1 << (bits - 1)).all() for index in (1, 2))


def _values(frame: VideoFrame, index: int) -> Pixels:
    plane = frame.planes[index]
    kind = np.uint8 if frame.format.components[index].bits <= 8 else np.uint16
    rows: Any = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)
    values: Pixels = rows[:, : plane.width]
    return values
