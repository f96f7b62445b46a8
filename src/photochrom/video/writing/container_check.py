"""Check before the work that an output can hold all streams of a source."""

from functools import partial
from io import BytesIO
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame

from photochrom.errors import VideoError
from photochrom.video.reading.container import open_container
from photochrom.video.reading.source import Video
from photochrom.video.writing.codecs import VideoEncoding, add_video_stream, choose_encoding
from photochrom.video.writing.muxing import find_streams

_OPTIONAL = ("data", "unknown")
"""Kinds of streams that may be left out."""


def check_container(video: Video, target: Path, encoding: VideoEncoding) -> list[str]:
    """Check that the output can hold all streams of the source, by writing a short one to memory.

    Returns:
        Descriptions of data streams, such as timecodes, that it cannot hold.

    Raises:
        VideoError: If it does not support the video codec, or cannot hold an audio, subtitle,
            cover or attachment stream.
    """
    if encoding.is_pictures:
        return _left_out_of_pictures(video)
    try:
        open_frame = partial(_open_bytes, _encode_frame(video, encoding))
        with open_frame() if video.sequence else open_container(video.path) as source:
            _, refused = find_streams(source, video, encoding, open_frame)
            streams = [source.streams[index] for index in refused]
            names = [_name(stream) for stream in streams]
            needed = [number for number, s in enumerate(streams) if s.type not in _OPTIONAL]
            advice = _advice(source, video, streams[needed[0]]) if needed else ""
    except VideoError:
        raise
    except (ValueError, av.error.FFmpegError) as error:
        raise VideoError(
            f"{target.suffix} does not support {encoding.codec} for {video.path}: {error}; "
            "choose another --codec, or an output that ends in .mkv"
        ) from error
    if needed:
        name = names[needed[0]]
        raise VideoError(f"{target.suffix} cannot hold {name} of {video.path}; {advice}")
    return names


def _left_out_of_pictures(video: Video) -> list[str]:
    left_out = []
    if video.sequence is None:
        with open_container(video.path) as source:
            left_out = [_name(s) for s in source.streams if s.index != video.stream_index]
    if video.pixel_aspect not in (None, 1):
        left_out.append(f"the pixel aspect ratio {video.pixel_aspect}")
    return left_out


def _encode_frame(video: Video, encoding: VideoEncoding) -> bytes:
    """Return a Matroska file with one black frame."""
    file = BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = add_video_stream(out, video, encoding)
        frame = VideoFrame(video.width, video.height, encoding.pixel_format)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = 0, stream.codec_context.time_base
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def _open_bytes(content: bytes) -> InputContainer:
    return av.open(BytesIO(content), "r")


def _name(stream: Stream) -> str:
    kind = "timecode" if "timecode" in stream.metadata else getattr(stream, "name", None)
    return f"{stream.type} stream {stream.index} ({kind})"


def _advice(source: InputContainer, video: Video, stream: Stream) -> str:
    """Return what to do about a stream that the output cannot hold."""
    for suffix in (".mkv", ".mp4", ".mov"):
        if _holds_all(source, video, suffix):
            return f"choose an output that ends in {suffix}"
    if stream.type == "audio":
        return (
            "convert the sound first, for example with `ffmpeg -i IN -map 0:V -map 0:a -c:v ffv1 "
            "-c:a flac OUT.mkv`"
        )
    return (
        f"leave it out first, with `ffmpeg -i IN -map 0 -map -0:{stream.index} -c copy "
        f"OUT{video.path.suffix}`"
    )


def _holds_all(source: InputContainer, video: Video, suffix: str) -> bool:
    try:
        encoding = choose_encoding(Path("out" + suffix), None, None, video)
        open_frame = partial(_open_bytes, _encode_frame(video, encoding))
        _, refused = find_streams(source, video, encoding, open_frame)
    except (ValueError, av.error.FFmpegError):
        return False
    return all(source.streams[index].type in _OPTIONAL for index in refused)
