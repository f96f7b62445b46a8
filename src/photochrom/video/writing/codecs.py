"""Codecs and containers of the output."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.container import OutputContainer
from av.video.stream import VideoStream

from photochrom.errors import UsageError, VideoError
from photochrom.video.reading.sequences import EXAMPLE, Pattern
from photochrom.video.reading.source import Video

BITEXACT = 0x400
"""FFmpeg's flag for deterministic output, without random numbers and dates."""
MAX_FRAME_RATE = 200
"""Highest frame rate given to an encoder; the container has the source's."""


@dataclass(frozen=True)
class Codec:
    """An FFmpeg encoder and its parameters."""

    encoder: str
    pixel_format: str = "yuv420p"
    high_bit_depth_format: str | None = "yuv420p10le"
    """Pixel format of sources with more than 8 bits; None: they are refused."""
    default_crf: int | None = None
    """None: the encoder has no CRF."""
    max_crf: int = 51
    needs_even_size: bool = False
    stores_pixel_aspect: bool = True
    """False: only MP4 and MOV store it."""
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "h264": Codec(
        "libx264",
        default_crf=18,
        needs_even_size=True,
        # With AVX-512, x264 is not deterministic.
        options={"preset": "faster", "x264-params": "cpu-independent=1"},
    ),
    "hevc": Codec(
        "libx265",
        default_crf=20,
        needs_even_size=True,
        options={"preset": "fast", "x265-params": "pools=none:frame-threads=1:log-level=none"},
    ),
    "vp9": Codec(
        "libvpx-vp9",
        high_bit_depth_format=None,  # PyAV's wheels have an 8-bit libvpx
        default_crf=24,
        max_crf=63,
        stores_pixel_aspect=False,
        options={"b": "0", "cpu-used": "4"},
    ),
    "ffv1": Codec("ffv1", stores_pixel_aspect=False, options={"level": "3", "slicecrc": "1"}),
    "prores": Codec(
        "prores_ks",
        "yuv422p10le",
        "yuv422p10le",
        needs_even_size=True,
        stores_pixel_aspect=False,
    ),
}

CONTAINERS = {
    ".mkv": ("matroska", ("h264", "hevc", "vp9", "ffv1", "prores")),
    ".mp4": ("mp4", ("h264", "hevc", "vp9", "ffv1")),
    ".m4v": ("mp4", ("h264", "hevc", "vp9", "ffv1")),
    ".mov": ("mov", ("h264", "hevc", "prores")),
    ".webm": ("webm", ("vp9",)),
}
"""FFmpeg's name of the container and the codecs, the default first, by suffix."""


_PICTURES = "pictures"


@dataclass(frozen=True)
class VideoEncoding:
    """How the output is encoded."""

    container: str
    codec: str
    """A key of `CODECS`, or the suffix of pictures."""
    crf: int | None
    pixel_format: str

    @property
    def is_pictures(self) -> bool:
        """Whether the output is an image sequence."""
        return self.container == _PICTURES


def choose_picture_encoding(pattern: Pattern, codec: str | None, crf: int | None) -> VideoEncoding:
    """Return the encoding of an image sequence.

    Raises:
        UsageError: If a codec or a quality is given.
    """
    if codec is not None or crf is not None:
        raise UsageError(f"{pattern} is an image sequence; --codec and --quality are for videos")
    return VideoEncoding(_PICTURES, pattern.path(0).suffix.lower(), None, "")


def choose_encoding(
    target: Path, codec: str | None, crf: int | None, video: Video
) -> VideoEncoding:
    """Return the encoding of an output file, by its suffix and with defaults for None.

    Raises:
        UsageError: If the codec or the CRF is invalid.
        VideoError: If the suffix is invalid, or the codec does not support the source's size, bit
            depth or pixel aspect.
    """
    suffix = target.suffix.lower()
    if suffix not in CONTAINERS:
        allowed = ", ".join(sorted(CONTAINERS))
        raise VideoError(
            f"{target} has to end in {allowed}, of which .mkv supports most codecs; for an image "
            f"sequence, give a pattern such as {target.parent / EXAMPLE}"
        )
    container, codecs = CONTAINERS[suffix]
    name = codec or codecs[0]
    if name not in CODECS:
        raise UsageError(f"there is no codec {name!r}; it has to be {', '.join(sorted(CODECS))}")
    chosen = CODECS[name]
    if crf is not None and chosen.default_crf is None:
        raise UsageError(f"quality is {crf}, but {name} has none")
    if crf is not None and not 0 <= crf <= chosen.max_crf:
        raise UsageError(f"quality is {crf}, but {name} takes 0 (best) to {chosen.max_crf}")
    problem = _problem(video, suffix, name)
    if problem is not None:
        raise VideoError(f"{problem}; {_advice(video, suffix, codec)}")
    return VideoEncoding(
        container,
        name,
        chosen.default_crf if crf is None else crf,
        (video.high_bit_depth and chosen.high_bit_depth_format) or chosen.pixel_format,
    )


def _problem(video: Video, suffix: str, name: str) -> str | None:
    """Return why frames of a video cannot be stored with a codec; None if they can."""
    container, codecs = CONTAINERS[suffix]
    codec = CODECS[name]
    if name not in codecs:
        return f"{suffix} does not support {name}"
    if video.high_bit_depth and codec.high_bit_depth_format is None:
        return f"{video.path} has more than 8 bits per component, which {name} does not support"
    if codec.needs_even_size and (video.width % 2 or video.height % 2):
        size = f"{video.width}x{video.height}"
        return f"{video.path} has frames of {size}, but {name} needs an even width and height"
    loses_aspect = not codec.stores_pixel_aspect and container in ("matroska", "webm")
    if loses_aspect and video.pixel_aspect not in (None, 1):
        return f"{video.path} has non-square pixels, which {name} in {suffix} does not store"
    return None


def _advice(video: Video, suffix: str, codec: str | None) -> str:
    """Return which codec and container can store the frames of a video.

    Args:
        video: The video.
        suffix: Of the output that cannot.
        codec: That was asked for; None: the default, also in another container.
    """
    others = [other for other in CONTAINERS if other != ".webm"]  # it holds few kinds of sound
    wanted = [(other, codec) for other in others if codec is not None]
    here = [(suffix, name) for name in CONTAINERS[suffix][1]]
    elsewhere = [(other, name) for other in others for name in CONTAINERS[other][1]]
    for other, name in (*wanted, *here, *elsewhere):
        if _problem(video, other, name) is None:
            is_default = name == (codec or CONTAINERS[other][1][0])
            parts = [] if is_default else [f"use --codec {name}"]
            parts += [] if other == suffix else [f"choose an output that ends in {other}"]
            return " and ".join(parts)
    raise AssertionError("FFV1 in MP4 stores all frames")


def add_video_stream(out: OutputContainer, video: Video, encoding: VideoEncoding) -> VideoStream:
    """Add the stream to encode frames into, on one thread."""
    codec = CODECS[encoding.codec]
    options = dict(codec.options)
    if encoding.crf is not None:
        options["crf"] = str(encoding.crf)
    rate = min(video.frame_rate, Fraction(MAX_FRAME_RATE))
    stream = out.add_stream(codec.encoder, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = video.width, video.height
    stream.pix_fmt = encoding.pixel_format
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = 1
    if video.pixel_aspect is not None:
        context.sample_aspect_ratio = video.pixel_aspect
    primaries, transfer, matrix, range_ = video.color_tags
    context.color_primaries, context.color_trc = primaries, transfer
    context.colorspace, context.color_range = matrix, range_
    return stream
