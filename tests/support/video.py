"""Small films for the tests, and what a file holds."""

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


def scene(count: int, seed: int = 0, *, grain: float = 6.0, size: tuple[int, int] = (96, 64)):
    """Return a still picture, of frames with different grain; each seed another."""
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.uniform(20, 235, (4, 6)), size, interpolation=cv2.INTER_CUBIC)
    return [
        np.clip(picture + grain * random.normal(size=picture.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def write_film(
    path: Path,
    frames: Iterable[Frame],
    *,
    times: list[int] | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    aspect: Fraction | None = None,
    turn: int = 0,
    sound: str | None = None,
    subtitles: str | None = None,
    **options: str,
) -> Path:
    """Write a film, in units of 1/12800 s, with a tone and two subtitles if asked for."""
    frames = list(frames)
    options = {"g": "12", **({"qp": "0"} if codec == "libx264" and pixels == "yuv420p" else {})} | {
        name.replace("_", "-"): value for name, value in options.items()
    }
    unit = Fraction(1, RATE) if codec.startswith("mpeg") else Fraction(1, 12800)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pixels, unit
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        stream.metadata["language"] = "deu"
        packets: list[Any] = []
        tone = out.add_stream(sound, rate=48000) if sound else None
        text = out.add_mux_stream(subtitles) if subtitles else None
        if tone is not None:
            tone.metadata.update(language="fra", title="Ton")
        out.metadata.update(title="A film", comment="mine")
        start = int(0.2 / unit)
        for number, values in enumerate(frames):
            grey = av.VideoFrame.from_ndarray(
                values, format="gray" if values.ndim == 2 else "rgb24"
            )
            frame = grey.reformat(format=pixels)
            frame.time_base, frame.pts = unit, number * start // 5
            if times is not None:
                frame.pts = times[number]
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if tone is not None:
            for number in range(int(48 * len(frames) / RATE)):
                silence = np.zeros((1, 960), np.float32)
                chunk = av.AudioFrame.from_ndarray(silence + number / 99, "fltp", "mono")
                chunk.sample_rate, chunk.pts, chunk.time_base = (
                    48000,
                    number * 960,
                    Fraction(1, 48000),
                )
                packets += tone.encode(chunk)
            packets += tone.encode(None)
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


def decoded(path: Path, format_: str = "rgb24") -> list[NDArray[Any]]:
    """Return a film's frames."""
    with av.open(str(path)) as container:
        stream = next(
            s for s in container.streams.video if not s.disposition & s.disposition.attached_pic
        )
        return [frame.to_ndarray(format=format_) for frame in container.decode(stream)]


def held(path: Path) -> dict[str, Any]:
    """Return what is to be the same in a coloured film."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets: dict[int, list[tuple[Any, ...]]] = {}
        for packet in container.demux():
            if packet.size and packet.stream.type != "video":
                time = (packet.pts, packet.duration, packet.time_base)
                packets.setdefault(packet.stream_index, []).append((*time, bytes(packet)))
        facts = {
            "unit": stream.time_base,
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
        if "matroska" in container.format.name:  # others say how long decoding may take
            facts["durations"] = [frame.duration for frame in frames]
    return facts
