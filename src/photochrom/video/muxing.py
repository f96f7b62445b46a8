"""Mux the colorized segments with the other streams of the source."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from photochrom.imagefile.atomic import open_atomic
from photochrom.video.analysis import VideoAnalysis
from photochrom.video.codecs import VideoEncoding, add_video_stream
from photochrom.video.segment import BITEXACT
from photochrom.video.source import Video, VideoError, metadata_error_options, open_container
from photochrom.video.time_span import TimeSpan, find_span

_FILE_METADATA = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")
"""Metadata keys that describe the source file and are not copied."""
_CHAPTER_CODEC = "bin_data"
"""Codec of the track with chapter names in MP4; FFmpeg writes a new one."""
_MARK_KEY = "comment"
"""Metadata key of the note that colours were added."""
_EMPTY_SUBTITLE = b"\0\0"
"""Packet of a pause between MP4 subtitles; FFmpeg writes new ones."""


def check_container(video: Video, target: Path, encoding: VideoEncoding) -> list[str]:
    """Check that the output container supports all streams of the source.

    Returns:
        Descriptions of data streams, such as timecodes, that it does not support.

    Raises:
        VideoError: If it does not support the video codec, or an audio, subtitle, cover or
            attachment stream.
    """
    left_out = _check_streams(video, target, encoding) if video.sequence is None else []
    if encoding.is_pictures:
        if video.pixel_aspect not in (None, 1):
            left_out.append(f"the pixel aspect ratio {video.pixel_aspect}")
        return left_out
    try:
        with av.open(BytesIO(), "w", format=encoding.container) as out:
            add_video_stream(out, video, encoding)
            out.start_encoding()
    except (ValueError, av.error.FFmpegError) as error:
        raise VideoError(
            f"{target.suffix} does not support {encoding.codec} for {video.path}: {error}; choose "
            "another --codec, or an output that ends in .mkv"
        ) from error
    return left_out


def _check_streams(video: Video, target: Path, encoding: VideoEncoding) -> list[str]:
    left_out = []
    with open_container(video.path) as source:
        for stream in source.streams:
            if stream.index == video.stream_index:
                continue
            if not encoding.is_pictures and _is_supported(stream, encoding):
                continue
            if stream.type == "data" and source.chapters() and stream.name == _CHAPTER_CODEC:
                continue
            name = f"{stream.type} stream {stream.index} ({getattr(stream, 'name', None)})"
            if stream.type not in ("data", "unknown") and not encoding.is_pictures:
                other = video.path.suffix if encoding.container == "matroska" else ".mkv"
                raise VideoError(
                    f"{target.suffix} cannot hold {name} of {video.path}; choose an output that "
                    f"ends in {other}, or remove the stream first"
                )
            left_out.append(name)
    return left_out


def _is_supported(stream: Stream, encoding: VideoEncoding) -> bool:
    try:
        with av.open(BytesIO(), "w", format=encoding.container) as out:
            _add_copy(out, stream, b"")
            out.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _add_copy(out: OutputContainer, stream: Stream, cover: bytes) -> Stream:
    """Add a stream with the same codec; in Matroska, a cover becomes an attachment."""
    if stream.type == "video" and out.format.name == "matroska":
        names = {"filename": "cover.jpg", "mimetype": "image/jpeg"} | stream.metadata
        return out.add_attachment(names["filename"], names["mimetype"], cover)
    copy: Stream = out.add_stream_from_template(stream, opaque=True)
    _copy_metadata(stream, copy)
    return copy


def _copy_metadata(stream: Stream, copy: Stream) -> None:
    for key, value in stream.metadata.items():
        if key.lower() not in _FILE_METADATA:
            copy.metadata[key] = value
    if "name" in stream.metadata:  # the title in MP4
        copy.metadata.setdefault("title", stream.metadata["name"])
    copy.disposition = stream.disposition


def mux(
    video: Video,
    analysis: VideoAnalysis,
    files: Sequence[Path],
    target: Path,
    encoding: VideoEncoding,
    *,
    mark: str | None,
    overwrite: bool,
) -> None:
    """Write the output: the packets of all segments, and those of the other streams.

    Args:
        video: The source.
        analysis: Of the source.
        files: The segments.
        target: The output.
        encoding: Of the output.
        mark: The note that colours were added, for the comment; None: none.
        overwrite: Whether to replace an existing output.

    Raises:
        VideoError: If a segment's file is damaged.
        FileExistsError: If the output exists and `overwrite` is not set.
        OSError: If it cannot be written.
    """
    options = {}
    if encoding.container in ("mp4", "mov") and video.time_base.numerator == 1:
        options["video_track_timescale"] = str(video.time_base.denominator)
    delay = _reordering_delay(files, len(analysis.timestamps))
    with (
        # A sequence has no other streams, and the first segment stands for it.
        open_container(files[0] if video.sequence else video.path) as source,
        av.open(str(files[0])) as first,
        open_atomic(target, overwrite=overwrite) as file,
        av.open(
            *(file, "w", encoding.container),
            container_options=options,
            **metadata_error_options(),
        ) as out,
    ):
        out.flags |= BITEXACT
        streams = _add_streams(out, source, video, first, encoding)
        span = find_span(video, analysis)
        _write_metadata(out, source, mark, span)
        stores_durations = encoding.container in ("matroska", "webm")
        packets = _video_packets(video, analysis, files, delay, stores_durations=stores_durations)
        continuing = {s.index for s in source.streams if s.type in ("audio", "video")} & {*streams}
        for packet in source.demux([source.streams[index] for index in streams]):
            if packet.dts is None and packet.size == 0:  # the end of a stream
                continue
            if span is not None:
                if span.is_past(packet):
                    continuing.discard(packet.stream_index)
                    if not continuing:
                        break
                if not span.cut_packet(packet):
                    continue
            stream = streams[packet.stream_index]
            if packet.stream_index == video.stream_index:  # keeps the order of streams in the file
                video_packet = next(packets, None)
                if video_packet is None:
                    continue
                packet = video_packet
            elif packet.stream.type == "subtitle" and bytes(packet) == _EMPTY_SUBTITLE:
                continue
            packet.stream = stream
            out.mux(packet)
        for packet in packets:
            packet.stream = streams[video.stream_index]
            out.mux(packet)


def _add_streams(
    out: OutputContainer,
    source: InputContainer,
    video: Video,
    first: InputContainer,
    encoding: VideoEncoding,
) -> dict[int, Stream]:
    """Add all streams in the order of the source; return those with packets by source index."""
    streams: dict[int, Stream] = {}
    for stream in source.streams:
        if stream.index == video.stream_index:
            video_stream = out.add_stream_from_template(first.streams.video[0], opaque=True)
            video_stream.time_base = video.time_base
            video_stream.codec_context.framerate = video.frame_rate
            if video.pixel_aspect is not None:
                video_stream.codec_context.sample_aspect_ratio = video.pixel_aspect
            video_stream.set_display_matrix(video.display_matrix)
            _copy_metadata(stream, video_stream)
            streams[stream.index] = video_stream
        elif _is_supported(stream, encoding):
            cover = _read_cover(video, stream) if stream.type == "video" else b""
            copy = _add_copy(out, stream, cover)
            if copy.type != "attachment":
                streams[stream.index] = copy
    return streams


def _read_cover(video: Video, stream: Stream) -> bytes:
    with open_container(video.path) as source:
        return bytes(next(source.demux(source.streams[stream.index])))


def _write_metadata(
    out: OutputContainer, source: InputContainer, mark: str | None, span: TimeSpan | None
) -> None:
    """Copy metadata and chapters of the source, and append the note that colours were added."""
    for key, value in source.metadata.items():
        if key.lower() not in _FILE_METADATA:
            out.metadata[key] = value
    if mark:
        keys = [key for key in out.metadata if key.lower() == _MARK_KEY]
        comments = [out.metadata.pop(key) for key in keys]
        out.metadata[_MARK_KEY] = "; ".join(dict.fromkeys([*comments, mark]))
    chapters = source.chapters()
    out.set_chapters(chapters if span is None else span.cut_chapters(chapters))


def _reordering_delay(files: Sequence[Path], frame_count: int) -> int:
    """Return the largest distance of a packet from its presentation order, due to B-frames."""
    delay = packet_count = 0
    for file in files:
        ranks = _presentation_ranks(list(_read_packets(file)))
        delay = max([delay, *(index - rank for index, rank in enumerate(ranks))])
        packet_count += len(ranks)
    if packet_count != frame_count:
        raise VideoError(
            f"the segments in {files[0].parent} have {packet_count} frames instead of "
            f"{frame_count}; start again with --restart"
        )
    return delay


def _read_packets(file: Path) -> "Iterator[Packet[Any]]":
    try:
        with av.open(str(file)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    yield packet
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise VideoError(f"{file} cannot be read; start again with --restart") from error


def _presentation_ranks(packets: "list[Packet[Any]]") -> list[int]:
    """Return the position of each packet in presentation order."""
    timestamps = [packet.pts or 0 for packet in packets]
    ranks = {timestamp: rank for rank, timestamp in enumerate(sorted(timestamps))}
    return [ranks[timestamp] for timestamp in timestamps]


def _video_packets(
    video: Video,
    analysis: VideoAnalysis,
    files: Sequence[Path],
    delay: int,
    *,
    stores_durations: bool,
) -> "Iterator[Packet[Any]]":
    """Yield the packets of all segments in decoding order, with the source's timestamps.

    If the container does not store durations, the last packet's makes the total correct.
    """
    start_time = analysis.timestamps[0] if analysis.is_part else 0
    timestamps = [timestamp - start_time for timestamp in analysis.timestamps]
    lead = timestamps[min(delay, len(timestamps) - 1)] - timestamps[0]
    start = decoded = 0
    for file in files:
        packets = list(_read_packets(file))
        for packet, rank in zip(packets, _presentation_ranks(packets), strict=True):
            packet.time_base = video.time_base
            packet.pts = timestamps[start + rank]
            packet.dts = (
                timestamps[decoded - delay] if decoded >= delay else timestamps[decoded] - lead
            )
            packet.duration = analysis.durations[start + rank]
            decoded += 1
            if decoded == len(timestamps) and not stores_durations:
                packet.duration = timestamps[-1] + analysis.durations[-1] - lead - packet.dts
            yield packet
        start += len(packets)
