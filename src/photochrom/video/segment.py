"""Colorize one segment into a file."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import place_hints
from photochrom.errors import PhotochromError
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.geometry import Geometry
from photochrom.video.checkpoint import segment_path
from photochrom.video.codecs import MAX_FRAME_RATE, VideoEncoding, add_video_stream
from photochrom.video.smoothing import HalfArray, smooth
from photochrom.video.source import Video, convert, to_frame, to_photo
from photochrom.video.splitting import Segment, decode_segment

MARK_KEY = "comment"
"""Metadata key of the note that colours were added."""
BITEXACT = 0x400
"""FFmpeg's flag for deterministic output, without random numbers and dates."""


@dataclass(frozen=True)
class SegmentSettings:
    """How to colorize segments."""

    video: Video
    folder: Path
    """The checkpoint folder."""
    encoding: VideoEncoding
    model: Path
    device: str = "auto"
    steady: bool = True
    """Whether ab is smoothed over time."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keywords of `Colorizer.__call__`."""
    hint_count: int = 0
    """Of the whole video."""

    def load_model(self, on_frame: Callable[[], None]) -> Callable[[Segment], str | None]:
        """Load the model, with one thread as each core has a process.

        Args:
            on_frame: Called after each frame.

        Returns:
            A function that writes the file of a segment, and returns an error message or None.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        cv2.setNumThreads(1)
        colorizer = Colorizer(self.model, device=self.device, threads=1)

        def colorize(segment: Segment) -> str | None:
            try:
                _colorize(segment, colorizer, self, on_frame)
            except PhotochromError as error:
                return str(error)
            except OSError as error:
                path = segment_path(self.folder, segment)
                return f"cannot write {path}: {error.strerror or error}"
            except MemoryError:
                return f"{self.video.path} is too large for this computer's memory"
            return None

        return colorize


def _colorize(
    segment: Segment,
    colorizer: Colorizer,
    settings: SegmentSettings,
    on_frame: Callable[[], None],
) -> None:
    """Colorize a segment, decoding it twice: to predict ab, and to render.

    This way only the small network inputs are in memory.
    """
    video, options = settings.video, dict(settings.options)
    size = options.pop("size", None)
    pixel_format = settings.encoding.pixel_format
    all_ab = () if segment.is_colored else _predict(segment, colorizer, settings, size)
    time_base = 1 / min(video.frame_rate, Fraction(MAX_FRAME_RATE))
    with (
        open_atomic(segment_path(settings.folder, segment)) as file,
        av.open(file, "w", format="matroska") as out,
    ):
        out.flags |= BITEXACT
        stream = add_video_stream(out, video, settings.encoding)
        for index, frame in enumerate(decode_segment(video, segment), -segment.first):
            if index < 0:
                continue
            if segment.is_colored:
                output_frame = convert(frame, video, pixel_format)
            else:
                photo, ab = to_photo(frame, video), all_ab[index].astype(np.float32)
                prediction = colorizer.predict(photo, size=size, ab=ab)
                prediction = dataclasses.replace(prediction, hint_count=settings.hint_count)
                output = prediction.render(**options)
                if index == 0 and output.metadata.mark:
                    out.metadata[MARK_KEY] = output.metadata.mark
                output_frame = to_frame(output, video, pixel_format)
            output_frame.pts, output_frame.time_base = index, time_base
            out.mux(stream.encode(output_frame))
            on_frame()
            if index + 1 == segment.count:
                break
        out.mux(stream.encode(None))


def _predict(
    segment: Segment, colorizer: Colorizer, settings: SegmentSettings, size: int | None
) -> Sequence[FloatArray | HalfArray]:
    """Return the ab of each frame without context, shape (2, h, w)."""
    frames = slice(segment.first, segment.first + segment.count)
    photos = (to_photo(frame, settings.video) for frame in decode_segment(settings.video, segment))
    inputs = [colorizer.network_input(photo, size=size).astype(np.float16) for photo in photos]

    def predict_ab(L: FloatArray, index: int) -> FloatArray:
        hints = [held.hint for held in segment.hints if held.first <= index < held.stop]
        placed = place_hints(hints, settings.video.upright_size, Geometry())
        return colorizer.predict_with_hints(L, placed)

    if settings.steady:
        # Colours with a hint are not averaged with those before it.
        starts = {held.first for held in segment.hints}
        return smooth(inputs, predict_ab, starts, segment.flashes)[frames]
    return [
        predict_ab(inputs[index].astype(np.float32), index)
        for index in range(frames.start, frames.stop)
    ]
