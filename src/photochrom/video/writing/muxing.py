"""Mux the colorized segments with the other streams of the source."""

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from photochrom.errors import VideoError
from photochrom.imagefile.atomic import open_atomic
from photochrom.video.reading.container import metadata_error_options, open_container, read_packets
from photochrom.video.reading.source import Video
from photochrom.video.reading.timecode import advance_timecode
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.writing.codecs import BITEXACT, VideoEncoding
from photochrom.video.writing.time_span import TimeSpan, find_span

_FILE_METADATA = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")
"""Metadata keys that describe the source file and are not copied."""
_CHAPTER_CODEC = "bin_data"
"""Codec of the track with chapter names in MP4; FFmpeg writes a new one."""
_MARK_KEY = "comment"
"""Metadata key of the note that colours were added."""
_MAX_PACKETS_READ = 2000
"""Packets read to find the first of each stream."""
_EMPTY_SUBTITLE = b"\0\0"
"""Packet of a pause between MP4 subtitles; FFmpeg writes new ones."""


@dataclass(frozen=True)
class _FirstPacket:
    """The first packet of a stream."""

    content: bytes
    pts: int | None
    dts: int | None
    duration: int
    time_base: Fraction

    def copy(self, stream: Stream) -> "Packet[Any]":
        """Return it as a packet of another stream."""
        packet: Packet[Any] = Packet(self.content)
        packet.stream, packet.time_base = stream, self.time_base
        packet.pts, packet.dts, packet.duration = self.pts, self.dts, self.duration
        packet.is_keyframe = True
        return packet


def find_streams(
    source: InputContainer,
    video: Video,
    encoding: VideoEncoding,
    open_segment: Callable[[], AbstractContextManager[InputContainer]],
) -> tuple[list[int], list[int]]:
    """Return the indices of the streams that the output can hold together, and of those it cannot.

    It is tried: a file with the first packet of each stream is written to memory.

    Args:
        source: The source; of an image sequence: a segment.
        video: Its properties.
        encoding: Of the output.
        open_segment: Opens a file with encoded video.

    Raises:
        ValueError: If it cannot hold the video.
        av.error.FFmpegError: The same.
    """
    packets = {} if video.sequence else _first_packets(video)

    def error_of(indices: list[int]) -> Exception | None:
        file = BytesIO()
        try:
            with (
                open_segment() as first,
                av.open(file, "w", encoding.container, **metadata_error_options()) as out,
            ):
                streams = _add_streams(out, source, video, first, indices)
                _write_metadata(out, source, None, None)
                frame: Packet[Any] = next(p for p in first.demux(video=0) if p.size)
                frame.stream = streams[video.stream_index]
                out.mux(frame)
                for index, stream in streams.items():
                    if index in packets and index != video.stream_index:
                        out.mux(packets[index].copy(stream))
            expected = Counter(source.streams[index].type for index in indices)
            file.seek(0)
            with av.open(file, "r", **metadata_error_options()) as written:
                lost = expected - Counter(stream.type for stream in written.streams)
            if lost:  # MOV drops covers silently
                return ValueError(f"it drops {', '.join(lost)} streams")
        except (ValueError, av.error.FFmpegError) as error:
            return error
        return None

    others = [
        stream.index
        for stream in source.streams
        if stream.index != video.stream_index and not _is_rewritten(stream, source, encoding)
    ]
    kept = [video.stream_index]
    refused: list[int] = []
    if error_of([*kept, *others]) is None:
        return [*kept, *others], []
    error = error_of(kept)
    if error is not None:
        raise error
    for index in others:
        (kept if error_of([*kept, index]) is None else refused).append(index)
    return kept, refused


def _first_packets(video: Video) -> dict[int, _FirstPacket]:
    """Return the first packet of each stream that has one near the beginning."""
    found: dict[int, _FirstPacket] = {}
    with open_container(video.path) as source:
        streams = [stream for stream in source.streams if stream.type != "attachment"]
        for packet in islice(read_packets(source, streams), _MAX_PACKETS_READ):
            if packet.size and packet.stream_index not in found:
                found[packet.stream_index] = _FirstPacket(
                    bytes(packet),
                    packet.pts,
                    packet.dts if packet.dts is not None else packet.pts,
                    packet.duration or 0,
                    Fraction(packet.time_base),
                )
            if len(found) == len(streams):
                break
    return found


def _is_rewritten(stream: Stream, source: InputContainer, encoding: VideoEncoding) -> bool:
    """Return whether FFmpeg writes a new stream in its place, from metadata that are copied."""
    if stream.type != "data":
        return False
    is_timecode = "timecode" in stream.metadata and encoding.container in ("mov", "mp4")
    return is_timecode or (bool(source.chapters()) and stream.name == _CHAPTER_CODEC)


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
) -> list[str]:
    """Write the output: the packets of all segments, and those of the other streams.

    Args:
        video: The source.
        analysis: Of the source.
        files: The segments.
        target: The output.
        encoding: Of the output.
        mark: The note that colours were added, for the comment; None: none.
        overwrite: Whether to replace an existing output.

    Returns:
        Sentences on damaged packets that are left out.

    Raises:
        VideoError: If a segment's file is damaged, or the output cannot hold a packet.
        FileExistsError: If the output exists and `overwrite` is not set.
        OSError: If it cannot be written.
    """
    options = {}
    if encoding.container in ("mp4", "mov") and video.time_base.numerator == 1:
        options["video_track_timescale"] = str(video.time_base.denominator)
    delay = _reordering_delay(files, len(analysis.timestamps))
    with (
        _explained_errors(target),
        # A sequence has no other streams, and the first segment stands for it.
        open_container(files[0] if video.sequence else video.path) as source,
        open_container(files[0]) as first,
        open_atomic(target, overwrite=overwrite) as file,
        av.open(
            *(file, "w", encoding.container),
            container_options=options,
            **metadata_error_options(),
        ) as out,
    ):
        out.flags |= BITEXACT
        indices, _ = find_streams(source, video, encoding, partial(open_container, files[0]))
        streams = _add_streams(out, source, video, first, indices)
        span = find_span(video, analysis)
        _write_metadata(out, source, mark, span)
        if analysis.is_part:
            _advance_timecodes(out, video, analysis)
        stores_durations = encoding.container in ("matroska", "webm")
        packets = _video_packets(video, analysis, files, delay, stores_durations=stores_durations)
        continuing = {s.index for s in source.streams if s.type in ("audio", "video")} & {*streams}
        latest: dict[int, int] = {}
        damaged: Counter[int] = Counter()
        for packet in read_packets(source, [source.streams[index] for index in streams]):
            if packet.dts is None and packet.size == 0:  # the end of a stream
                continue
            if span is not None:
                if span.is_past(packet):
                    continuing.discard(packet.stream_index)
                    if not continuing:
                        break
                if not span.cut_packet(packet):
                    continue
            index = packet.stream_index
            if index == video.stream_index:  # keeps the order of streams in the file
                video_packet = next(packets, None)
                if video_packet is None:
                    continue
                packet = video_packet
            elif packet.stream.type == "subtitle" and bytes(packet) == _EMPTY_SUBTITLE:
                continue
            elif packet.stream.type == "audio":
                _mend_dts(packet, latest, is_strict=not stores_durations)
            packet.stream = streams[index]
            try:
                out.mux(packet)
            except av.error.InvalidDataError:
                if index == video.stream_index:
                    raise
                damaged[index] += 1
        for packet in packets:
            packet.stream = streams[video.stream_index]
            out.mux(packet)
    return [
        f"damage in stream {index}, packets that are left out: {count}"
        for index, count in sorted(damaged.items())
    ]


@contextmanager
def _explained_errors(target: Path) -> Iterator[None]:
    """Raise a `VideoError` for errors of FFmpeg, but those of the operating system."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise VideoError(
            f"{target} cannot be written, as FFmpeg refuses a packet of the source ({error}); "
            "choose another kind of output, such as .mkv, or repair the source first"
        ) from error


def _mend_dts(packet: "Packet[Any]", latest: dict[int, int], *, is_strict: bool) -> None:
    """Give a packet of sound a decoding time that does not descend.

    Args:
        packet: The packet.
        latest: The times before, by stream.
        is_strict: Whether they have to ascend, by a sample at least.
    """
    stream = packet.stream
    assert isinstance(stream, AudioStream)
    sample = max(1, ceil(1 / (stream.codec_context.sample_rate or 48000) / packet.time_base))
    before = latest.get(stream.index)
    if packet.dts is None:
        packet.dts = packet.pts if packet.pts is not None else (before or 0) + sample
    if before is not None and packet.dts < before + sample * is_strict:
        packet.dts = before + sample
    if packet.pts is None or packet.pts < packet.dts:
        packet.pts = packet.dts
    latest[stream.index] = packet.dts


def _add_streams(
    out: OutputContainer,
    source: InputContainer,
    video: Video,
    first: InputContainer,
    indices: Container[int],
) -> dict[int, Stream]:
    """Add streams in the order of the source; return those with packets by source index."""
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
        elif stream.index in indices:
            cover = _read_cover(video, stream) if stream.type == "video" else b""
            copy = _add_copy(out, stream, cover)
            if copy.type != "attachment":
                streams[stream.index] = copy
    return streams


def _read_cover(video: Video, stream: Stream) -> bytes:
    with open_container(video.path) as source:
        return bytes(next(read_packets(source, source.streams[stream.index])))


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


def _advance_timecodes(out: OutputContainer, video: Video, analysis: VideoAnalysis) -> None:
    """Make timecodes, which are of the source's first frame, those of the output's."""
    seconds = (analysis.timestamps[0] - analysis.origin) * video.time_base
    for metadata in (out.metadata, *(stream.metadata for stream in out.streams)):
        for key in [key for key in metadata if key.lower() == "timecode"]:
            frames = round(seconds * video.frame_rate)
            metadata[key] = advance_timecode(metadata[key], frames, video.frame_rate)


def _reordering_delay(files: Sequence[Path], frame_count: int) -> int:
    """Return the largest distance of a packet from its presentation order, due to B-frames."""
    delay = packet_count = 0
    for file in files:
        ranks = _presentation_ranks(list(_segment_packets(file)))
        delay = max([delay, *(index - rank for index, rank in enumerate(ranks))])
        packet_count += len(ranks)
    if packet_count != frame_count:
        raise VideoError(
            f"the segments in {files[0].parent} have {packet_count} frames instead of "
            f"{frame_count}; start again with --restart"
        )
    return delay


def _segment_packets(file: Path) -> "Iterator[Packet[Any]]":
    try:
        with open_container(file) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    yield packet
    except (VideoError, av.error.FFmpegError, OSError, IndexError) as error:
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
        packets = list(_segment_packets(file))
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
