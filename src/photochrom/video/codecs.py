"""How a coloured film is encoded, and what it may be called."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.container import OutputContainer
from av.video.stream import VideoStream

from photochrom.video.source import Film, FilmError

MOST_RATE = 200
"""Frames a second that an encoder is told at most; what the film has is written beside it."""


@dataclass(frozen=True)
class Codec:
    """An encoder, with what it is told."""

    encoder: str
    """FFmpeg's name of it."""
    plain: str = "yuv420p"
    """Its pixels for films of 8 bits,"""
    deep: str | None = "yuv420p10le"
    """and of more; None: it has none."""
    quality: int | None = None
    """Its CRF if none is asked for; None: it has no such number."""
    worst: int = 51
    """The largest CRF."""
    even: bool = False
    """Whether width and height have to be even."""
    square: bool = False
    """Whether it does not say what shape its pixels have, which MP4 and MOV alone then do."""
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "h264": Codec(
        "libx264",
        quality=18,
        even=True,
        # Else x264 with AVX-512 makes now and then another film of the same frames.
        options={"preset": "faster", "x264-params": "cpu-independent=1"},
    ),
    "hevc": Codec(
        "libx265",
        quality=20,
        even=True,
        options={"preset": "fast", "x265-params": "pools=none:frame-threads=1:log-level=none"},
    ),
    "vp9": Codec(
        "libvpx-vp9",
        deep=None,  # PyAV's wheels have a libvpx of 8 bits
        quality=24,
        worst=63,
        square=True,
        options={"b": "0", "cpu-used": "4"},
    ),
    "ffv1": Codec("ffv1", square=True, options={"level": "3", "slicecrc": "1"}),
    "prores": Codec("prores_ks", "yuv422p10le", "yuv422p10le", even=True, square=True),
}
"""By the name that a person gives."""

ENDINGS = {
    ".mkv": ("matroska", "h264"),
    ".mov": ("mov", "h264"),
    ".mp4": ("mp4", "h264"),
    ".m4v": ("mp4", "h264"),
    ".webm": ("webm", "vp9"),
}
"""FFmpeg's name of the container, and the codec if none is asked for."""


@dataclass(frozen=True)
class Encoding:
    """A choice of container, codec and quality."""

    container: str
    codec: str
    quality: int | None
    """CRF: less is better and larger."""


def chosen(target: Path, codec: str | None, quality: int | None, film: Film) -> Encoding:
    """Decide how a film is encoded.

    Args:
        target: What it is to be called.
        codec: One of `CODECS`; None: what goes with the ending.
        quality: CRF; None: the codec's own.
        film: What is encoded.

    Raises:
        FilmError: If there is no such ending, codec or quality, or the film's size does not do.
    """
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise FilmError(f"{target} has to end in {', '.join(sorted(ENDINGS))}; .mkv holds the most")
    container, usual = ENDINGS[ending]
    name = codec or usual
    if name not in CODECS:
        raise FilmError(f"there is no codec {name!r}; it has to be {', '.join(sorted(CODECS))}")
    told = CODECS[name]
    if quality is not None and (told.quality is None or not 0 <= quality <= told.worst):
        allowed = "has none" if told.quality is None else f"takes 0 (best) to {told.worst}"
        raise FilmError(f"quality is {quality}, but {name} {allowed}")
    if film.deep and told.deep is None:
        raise FilmError(
            f"{film.path} has more than 8 bits to a value, which {name} cannot keep; ask for "
            "--codec h264 or hevc"
        )
    if told.even and (film.width % 2 or film.height % 2):
        raise FilmError(
            f"{film.path} has frames of {film.width}x{film.height}, but {name} takes even numbers "
            "alone; ask for --codec ffv1 or vp9, into .mkv"
        )
    if told.square and container in ("matroska", "webm") and film.aspect not in (None, 1):
        raise FilmError(
            f"{film.path} has pixels that are not square, which {name} in {ending} would not say; "
            "ask for --codec h264 or hevc"
        )
    return Encoding(container, name, told.quality if quality is None else quality)


def add_pictures(out: OutputContainer, film: Film, encoding: Encoding) -> VideoStream:
    """Add the stream that a film's frames are encoded into, on one thread."""
    codec = CODECS[encoding.codec]
    options = dict(codec.options)
    if encoding.quality is not None:
        options["crf"] = str(encoding.quality)
    rate = min(film.rate, Fraction(MOST_RATE))
    stream = out.add_stream(codec.encoder, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = film.width, film.height
    stream.pix_fmt = pixel_format(film, encoding)
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = 1
    if film.aspect is not None:
        context.sample_aspect_ratio = film.aspect
    primaries, transfer, matrix, range_ = film.tags
    context.color_primaries, context.color_trc = primaries, transfer
    context.colorspace, context.color_range = matrix, range_
    return stream


def pixel_format(film: Film, encoding: Encoding) -> str:
    """Return FFmpeg's name of the pixels that are encoded: as many bits as the film has, or 10."""
    codec = CODECS[encoding.codec]
    return codec.deep if film.deep and codec.deep else codec.plain
