"""A video's container: its packets and their frames, past damaged places."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from photochrom.errors import MissingVideoError, VideoError

_MAX_FAILURES = 100
"""Consecutive errors of a container after which it is taken to have ended."""
_MAX_DELAY = 64
"""Packets after which a frame that was not decoded is lost."""
_MAX_LEADING = 32
"""Packets at the beginning of a stream whose references may be missing."""
_MAX_EMPTY_PACKET = 32
"""Size in bytes of a packet that may stand for a repeated frame, which FFmpeg leaves out."""


def metadata_error_options() -> dict[str, Any]:
    """Return the keywords of `av.open` that allow metadata other than UTF-8; none in PyAV 19."""
    return {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a video file; references to URLs or other protocols are not followed.

    Raises:
        MissingVideoError: If there is no file.
        VideoError: If it is not a video.
    """
    if not path.exists():
        raise MissingVideoError(f"there is no file {path}; give a video file")
    if not path.is_file():
        raise VideoError(f"{path} is not a file; give a video file")
    local = {"protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", container_options=local, **metadata_error_options())
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path} cannot be read as a video: {describe_error(error)}; give another copy"
        ) from error
    with container:
        yield container


@dataclass(frozen=True)
class Damage:
    """A frame that was lost or is damaged."""

    stamp: int | None
    """Of the frame, as of `decode`; None if unknown."""
    is_lost: bool = True
    """False: the frame is there, with what FFmpeg put in the place of damaged parts."""


DamageCallback = Callable[[Damage], None]


def ignore_damage(_: Damage) -> None:
    """Do nothing."""


def decode_stream(
    container: InputContainer, stream: VideoStream, stamp: str, on_damage: DamageCallback
) -> Iterator[VideoFrame]:
    """Decode the frames of a stream.

    Args:
        container: The container.
        stream: A stream of it.
        stamp: `Video.stamp`.
        on_damage: Is given each frame that is lost or damaged.
    """
    # Stamps of packets without a frame so far, and whether they are keyframes.
    undecoded: dict[int | None, bool] = {}
    first: int | None = None  # those before it are left out if the stream was cut
    is_interlaced = False  # then fields have packets of their own

    def report_lost(stamps: Iterable[int | None]) -> None:
        for lost in stamps:
            if first is not None and lost is not None and lost > first and not is_interlaced:
                on_damage(Damage(lost))
            del undecoded[lost]

    for number, packet in enumerate(read_packets(container, stream, on_damage)):
        if stamp != "pts":
            packet.pts, packet.dts = getattr(packet, stamp), None
        if packet.size > _MAX_EMPTY_PACKET and not packet.is_discard:
            undecoded[packet.pts] = packet.is_keyframe
        if stamp == "pos" and number < _MAX_LEADING:
            first = packet.pts
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            undecoded.pop(packet.pts, None)
            on_damage(Damage(packet.pts))
            continue
        for frame in frames:
            first = frame.pts if first is None else first
            is_interlaced = is_interlaced or frame.interlaced_frame
            is_keyframe = undecoded.pop(frame.pts, False)
            if is_keyframe and frame.pict_type in (PictureType.NONE, PictureType.I):
                # Some decoders do not say so, as that of QuickTime Animation.
                frame.key_frame = True  # type: ignore[misc]  # of the stubs only
            if frame.is_corrupt:
                on_damage(Damage(frame.pts, is_lost=False))
            yield frame
        report_lost(list(undecoded)[: max(0, len(undecoded) - _MAX_DELAY)])
    report_lost(list(undecoded))


def read_packets(
    container: InputContainer,
    streams: Stream | Sequence[Stream],
    on_damage: DamageCallback = ignore_damage,
) -> "Iterator[Packet[Any]]":
    """Yield the packets of streams, past damaged places; an empty one ends each stream."""
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(streams):
                failures = 0
                yield packet
            return
        except IndexError:  # a packet of a stream that PyAV does not know, as it begins later
            continue
        except av.error.FFmpegError:
            if failures == 0:
                on_damage(Damage(None))
            failures += 1
    for stream in streams if isinstance(streams, Sequence) else [streams]:
        end: Packet[Any] = Packet()
        end.stream = stream
        yield end


def describe_error(error: Exception) -> str:
    """Return what FFmpeg says of an error."""
    return getattr(error, "strerror", None) or str(error)
