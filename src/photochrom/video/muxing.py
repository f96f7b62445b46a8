"""One film of coloured pieces, and of all that the film has besides its pictures."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from photochrom.imagefile.atomic import open_atomic
from photochrom.video.analysis import Learned
from photochrom.video.codecs import Encoding, add_pictures
from photochrom.video.segment import BITEXACT, MARK
from photochrom.video.source import Film, FilmError, any_metadata, opened

_NOT_OURS = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration")
"""Metadata of the file that was read, which would be wrong of another."""
_CHAPTERS = "bin_data"
"""What a track is that has the names of chapters in MP4, of which a new one is made."""
_SILENCE = b"\0\0"
"""A subtitle of MP4 that stands for a pause: those are made anew, and would be there twice."""


def rehearse(film: Film, target: Path, encoding: Encoding) -> list[str]:
    """Find out whether a container can hold all that a film has, before any work is done.

    Returns:
        What it cannot hold and nobody misses, such as time codes, in words.

    Raises:
        FilmError: If it cannot hold the pictures' codec, a sound track, subtitles or a cover.
    """
    left_out = []
    with opened(film.path) as source:
        for stream in source.streams:
            if stream.index == film.stream or _fits(stream, encoding):
                continue
            if stream.type == "data" and source.chapters() and stream.name == _CHAPTERS:
                continue
            called = f"{stream.type} stream {stream.index} ({getattr(stream, 'name', None)})"
            if stream.type not in ("data", "unknown"):
                other = film.path.suffix if encoding.container == "matroska" else ".mkv"
                raise FilmError(
                    f"{target.suffix} cannot hold {called} of {film.path}; give a result that "
                    f"ends in {other}, or a film without it"
                )
            left_out.append(called)
    try:
        with av.open(BytesIO(), "w", format=encoding.container) as out:
            add_pictures(out, film, encoding)
            out.start_encoding()
    except (ValueError, av.error.FFmpegError) as error:
        raise FilmError(
            f"{encoding.codec} does not go into {target.suffix} for {film.path}: {error}; give "
            "another --codec, or a result that ends in .mkv"
        ) from error
    return left_out


def _fits(stream: Stream, encoding: Encoding) -> bool:
    try:
        with av.open(BytesIO(), "w", format=encoding.container) as out:
            _copied(out, stream, b"")
            out.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _copied(out: OutputContainer, stream: Stream, cover: bytes) -> Stream:
    """Add a stream like one that is read; a cover becomes an attachment where that is usual."""
    if stream.type == "video" and out.format.name == "matroska":
        names = {"filename": "cover.jpg", "mimetype": "image/jpeg"} | stream.metadata
        return out.add_attachment(names["filename"], names["mimetype"], cover)
    copy: Stream = out.add_stream_from_template(stream, opaque=True)
    _like(copy, stream)
    return copy


def _like(copy: Stream, stream: Stream) -> None:
    copy.metadata.update(
        {key: value for key, value in stream.metadata.items() if key.lower() not in _NOT_OURS}
    )
    if "name" in stream.metadata:  # what MP4 calls a title
        copy.metadata.setdefault("title", stream.metadata["name"])
    copy.disposition = stream.disposition


def join(
    film: Film,
    learned: Learned,
    files: Sequence[Path],
    target: Path,
    encoding: Encoding,
    *,
    overwrite: bool,
) -> None:
    """Write the film: packets of the pieces, and of the other streams as they were.

    Raises:
        FilmError: If a file of a piece is not what it was.
        FileExistsError: If there is a file and `overwrite` is not set.
        OSError: If the disk refuses.
    """
    options = {}
    if encoding.container in ("mp4", "mov") and film.time_base.numerator == 1:
        options["video_track_timescale"] = str(film.time_base.denominator)
    delay = _delay(files, len(learned.times))
    with (
        opened(film.path) as source,
        av.open(str(files[0])) as first,
        open_atomic(target, overwrite=overwrite) as file,
        av.open(
            *(file, "w", encoding.container),
            container_options=options,
            **any_metadata(),
        ) as out,
    ):
        out.flags |= BITEXACT
        streams = _streams(out, source, film, first, encoding)
        _say(out, source, first)
        says_durations = encoding.container in ("matroska", "webm")
        packets = _coloured(film, learned, files, delay, says_durations=says_durations)
        for packet in source.demux([source.streams[index] for index in streams]):
            if packet.dts is None and packet.size == 0:  # the end of a stream
                continue
            stream = streams[packet.stream_index]  # a coloured packet's index is its own file's
            if packet.stream_index == film.stream:  # so that all lie beside each other as before
                coloured = next(packets, None)
                if coloured is None:
                    continue
                packet = coloured
            elif _is_pause(packet):
                continue
            packet.stream = stream
            out.mux(packet)
        for packet in packets:
            packet.stream = streams[film.stream]
            out.mux(packet)


def _streams(
    out: OutputContainer,
    source: InputContainer,
    film: Film,
    first: InputContainer,
    encoding: Encoding,
) -> dict[int, Stream]:
    """Add all streams in their order, and return them by what they were, but for attachments."""
    streams: dict[int, Stream] = {}
    for stream in source.streams:
        if stream.index == film.stream:
            pictures = out.add_stream_from_template(first.streams.video[0], opaque=True)
            pictures.time_base = film.time_base
            pictures.codec_context.framerate = film.rate
            if film.aspect is not None:
                pictures.codec_context.sample_aspect_ratio = film.aspect
            pictures.set_display_matrix(film.display)
            _like(pictures, stream)
            streams[stream.index] = pictures
        elif _fits(stream, encoding):
            cover = _first_packet(film, stream) if stream.type == "video" else b""
            copy = _copied(out, stream, cover)
            if copy.type != "attachment":
                streams[stream.index] = copy
    return streams


def _is_pause(packet: "Packet[Any]") -> bool:
    return packet.size == 2 and packet.stream.type == "subtitle" and bytes(packet) == _SILENCE


def _first_packet(film: Film, stream: Stream) -> bytes:
    with opened(film.path) as source:
        return bytes(next(source.demux(source.streams[stream.index])))


def _say(out: OutputContainer, source: InputContainer, first: InputContainer) -> None:
    """Copy what the file says of itself, and add that colours were added."""
    for key, value in source.metadata.items():
        if key.lower() not in _NOT_OURS:
            out.metadata[key] = value
    mark = {key.lower(): value for key, value in first.metadata.items()}.get(MARK)
    if mark:
        said = [value for key, value in out.metadata.items() if key.lower() == MARK]
        for key in [key for key in out.metadata if key.lower() == MARK]:
            del out.metadata[key]
        out.metadata[MARK] = "; ".join([*said, mark])
    out.set_chapters(source.chapters())


def _delay(files: Sequence[Path], count: int) -> int:
    """Return how many packets come before their turn, at most.

    Raises:
        FilmError: If a file is not what it was, or frames are missing.
    """
    delay = found = 0
    for file in files:
        packets = [packet.pts for packet in _packets(file)]
        delay = max([delay, *(place - rank for place, rank in enumerate(_ranks(packets)))])
        found += len(packets)
    if found != count:
        raise FilmError(
            f"the files in {files[0].parent} hold {found} frames where {count} have to be; start "
            "again (--restart)"
        )
    return delay


def _packets(file: Path) -> Iterator["Packet[Any]"]:
    try:
        with av.open(str(file)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    yield packet
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise FilmError(f"{file} cannot be read; start again (--restart)") from error


def _ranks(times: list[int | None]) -> list[int]:
    places = {time: place for place, time in enumerate(sorted(time or 0 for time in times))}
    return [places[time or 0] for time in times]


def _coloured(
    film: Film, learned: Learned, files: Sequence[Path], delay: int, *, says_durations: bool
) -> Iterator["Packet[Any]"]:
    """Yield the packets of all pieces as they are decoded, with the times of the film.

    Args:
        film: The film.
        learned: From `learn`.
        files: Of the pieces.
        delay: From `_delay`.
        says_durations: Whether the container has a place for them; else the last packet's is what
            makes the sum right.
    """
    times = learned.times
    ahead = times[min(delay, len(times) - 1)] - times[0]
    start = decoded = 0
    for file in files:
        packets = list(_packets(file))
        for packet, rank in zip(packets, _ranks([p.pts for p in packets]), strict=True):
            shown, turn = start + rank, decoded - delay
            packet.time_base = film.time_base
            packet.pts = times[shown]
            packet.dts = times[turn] if turn >= 0 else times[decoded] - ahead
            packet.duration = learned.durations[shown]
            decoded += 1
            if decoded == len(times) and not says_durations:
                packet.duration = times[-1] + learned.durations[-1] - ahead - packet.dts
            yield packet
        start += len(packets)
