"""Small videos for the tests, and the contents of video files."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
RATE = 25


def still_shot(count: int, seed: int = 0, *, grain: float = 6.0, size: tuple[int, int] = (96, 64)):
    """Return frames of a random still image with grain; the image depends on `seed`."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.uniform(20, 235, (4, 6)), size, interpolation=cv2.INTER_CUBIC)
    return [
        np.clip(image + grain * random.normal(size=image.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def write_video(
    path: Path,
    frames: Iterable[Frame],
    *,
    timestamps: list[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    aspect: Fraction | None = None,
    rotation: int = 0,
    audio: str | None = None,
    subtitles: str | None = None,
    **options: str,
) -> Path:
    """Write a video with a time base of 1/12800 s; optionally with audio and two subtitles."""
    frames = list(frames)
    options = {"g": "12"} | options
    if codec == "libx264" and pixel_format == "yuv420p":
        options = {"qp": "0"} | options  # lossless
    time_base = Fraction(1, RATE) if codec.startswith("mpeg") else Fraction(1, 12800)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pixel_format, time_base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        stream.metadata["language"] = "deu"
        packets: list[Any] = []
        sound = out.add_stream(audio, rate=48000) if audio else None
        text = out.add_mux_stream(subtitles) if subtitles else None
        if sound is not None:
            sound.metadata.update(language="fra", title="Ton")
        out.metadata.update(title="A video", comment="mine")
        start = int(0.2 / time_base)
        for number, values in enumerate(frames):
            grey = av.VideoFrame.from_ndarray(
                values, format="gray" if values.ndim == 2 else "rgb24"
            )
            frame = grey.reformat(format=pixel_format)
            frame.time_base, frame.pts = time_base, number * start // 5
            if timestamps is not None:
                frame.pts = timestamps[number]
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if sound is not None:
            for number in range(int(48 * len(frames) / RATE)):
                silence = np.zeros((1, 960), np.float32)
                chunk = av.AudioFrame.from_ndarray(silence + number / 99, "fltp", "mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = (
                    48000,
                    number * 960,
                    Fraction(1, 48000),
                )
                packets += sound.encode(chunk)
            packets += sound.encode(None)
        if text is not None:
            out.set_chapters(
                [
                    {
                        **{"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000)},
                        "metadata": {"title": "One"},
                    }
                ]
            )
            for start, words in ((50, b"Hello"), (200, b"World")):
                prefix = len(words).to_bytes(2, "big") if subtitles == "mov_text" else b""
                packet = av.Packet(prefix + words)
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = start
                packet.duration = 100
                packets.append(packet)
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            out.mux(packet)
    return path


def read_frames(path: Path, format_: str = "rgb24") -> list[NDArray[Any]]:
    """Return the decoded frames of a video."""
    with av.open(str(path)) as container:
        stream = next(
            s for s in container.streams.video if not s.disposition & s.disposition.attached_pic
        )
        return [frame.to_ndarray(format=format_) for frame in container.decode(stream)]


def read_preserved(path: Path) -> dict[str, Any]:
    """Return everything that has to be the same in the colorized video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets: dict[int, list[tuple[Any, ...]]] = {}
        for packet in container.demux():
            if packet.size and packet.stream.type != "video":
                time = (packet.pts, packet.duration, packet.time_base)
                packets.setdefault(packet.stream_index, []).append((*time, bytes(packet)))
        facts = {
            "time_base": stream.time_base,
            "rate": stream.average_rate,
            "aspect": stream.sample_aspect_ratio,
            "start": container.start_time,
            "chapters": [(c["start"], c["end"], c["metadata"]) for c in container.chapters()],
            "title": container.metadata["title"],
            "streams": [
                (s.type, s.language, s.disposition, s.metadata.get("title", s.metadata.get("name")))
                for s in container.streams
            ],
            "packets": packets,
        }
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        facts["frames"] = [(frame.pts, frame.rotation) for frame in frames]
        if "matroska" in container.format.name:  # others do not store durations
            facts["durations"] = [frame.duration for frame in frames]
    return facts
