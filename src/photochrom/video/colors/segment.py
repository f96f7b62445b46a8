"""Work on one shot or segment: learn the colours of a shot, or colorize a segment into a file."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
from av.video.frame import VideoFrame

from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import place_hints
from photochrom.errors import PhotochromError
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from photochrom.video.colors.checkpoint import colors_path, segment_path
from photochrom.video.colors.motion import GreyImage
from photochrom.video.colors.shot_colors import ShotColors, learn
from photochrom.video.reading.frames import convert, to_frame, to_grey, to_photo
from photochrom.video.reading.sequences import open_folder
from photochrom.video.reading.source import Video
from photochrom.video.shots.references import read_ab
from photochrom.video.shots.shot import Shot
from photochrom.video.shots.splitting import Segment, decode_segment
from photochrom.video.writing.codecs import (
    BITEXACT,
    MAX_FRAME_RATE,
    VideoEncoding,
    add_video_stream,
)


@dataclass(frozen=True)
class LearnColors:
    """The task to learn the colours of a shot."""

    frames: Segment
    """All frames of the shot."""


Task = LearnColors | Segment


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
    """Whether frames of a shot share their colours."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keywords of `Colorizer.__call__`."""

    def load_model(self, on_pass: Callable[[int], None]) -> Callable[[Task], str | None]:
        """Load the model, with one thread as each core has a process.

        Args:
            on_pass: Called after each frame with the number of passes that it needs no more, of
                the two for learning colours and for colorizing.

        Returns:
            A function that does a task, and returns an error message or None.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        cv2.setNumThreads(1)
        colorizer = Colorizer(self.model, device=self.device, threads=1)

        def work(task: Task) -> str | None:
            try:
                if isinstance(task, LearnColors):
                    _learn(task.frames, colorizer, self, on_pass)
                else:
                    _colorize(task, colorizer, self, on_pass)
            except PhotochromError as error:
                return str(error)
            except OSError as error:
                return f"cannot write into {self.folder}: {error.strerror or error}"
            except MemoryError:
                return f"{self.video.path} is too large for this computer's memory"
            return None

        return work

    @property
    def size(self) -> int | None:
        """Short side in px of the network's input; None: the model's own."""
        return self.options.get("size")


def _learn(
    frames: Segment,
    colorizer: Colorizer,
    settings: SegmentSettings,
    on_pass: Callable[[int], None],
) -> None:
    """Write the file of the colours of a shot."""
    video, shot = settings.video, frames.shot
    height, width = colorizer.input_size(video.upright_size, size=settings.size)
    current: VideoFrame

    def grey_frames() -> Iterator[GreyImage]:
        nonlocal current
        for current in decode_segment(video, frames):
            on_pass(1)
            yield to_grey(current, video, height, width)

    def predict_ab(index: int) -> FloatArray:
        return _predict_ab(shot.first + index, to_photo(current, video), shot, colorizer, settings)

    # Colours with a hint are not averaged with those before it.
    starts = {held.first - shot.first for held in shot.hints}
    learn(
        grey_frames(),
        predict_ab,
        colors_path(settings.folder, frames),
        stops=sorted({*starts, frames.count} - {0}),
        flashes=[flash - shot.first for flash in shot.flashes],
        fixed={
            reference.index - shot.first: read_ab(reference, video, height, width)
            for reference in shot.references
        },
    )


def _predict_ab(
    index: int, photo: Photo, shot: Shot, colorizer: Colorizer, settings: SegmentSettings
) -> FloatArray:
    """Return the network's ab of a frame with its hints, shape (2, h, w)."""
    placed = place_hints(shot.hints_at(index), settings.video.upright_size, Geometry())
    return colorizer.predict_with_hints(colorizer.network_input(photo, size=settings.size), placed)


def _colorize(
    segment: Segment,
    colorizer: Colorizer,
    settings: SegmentSettings,
    on_pass: Callable[[int], None],
) -> None:
    """Write the file of a segment, or the folder of its pictures."""
    video, shot, encoding = settings.video, segment.shot, settings.encoding
    options = {name: value for name, value in settings.options.items() if name != "size"}
    passes = 1 if settings.steady and not shot.is_colored else 2
    find_ab = None if shot.is_colored else _ab_finder(segment, colorizer, settings)
    path = segment_path(settings.folder, segment, encoding)
    open_output = _open_pictures if encoding.is_pictures else _open_video
    with open_output(path, video, encoding) as write:
        for index, frame in enumerate(decode_segment(video, segment)):
            if find_ab is None:
                write(frame)
            else:
                photo = to_photo(frame, video)
                ab = find_ab(segment.first + index, frame, photo)
                prediction = colorizer.predict(photo, size=settings.size, ab=ab)
                prediction = dataclasses.replace(
                    prediction,
                    hint_count=len(shot.hints),
                    reference_count=len(shot.references),
                )
                write(prediction.render(**options))
            on_pass(passes)


_Write = Callable[[Photo | VideoFrame], None]
"""Appends a photo, or a frame that keeps its own colours."""


@contextmanager
def _open_pictures(folder: Path, video: Video, encoding: VideoEncoding) -> Iterator[_Write]:
    with open_folder(folder, encoding.codec) as write:
        yield lambda item: write(to_photo(item, video) if isinstance(item, VideoFrame) else item)


@contextmanager
def _open_video(path: Path, video: Video, encoding: VideoEncoding) -> Iterator[_Write]:
    time_base = 1 / min(video.frame_rate, Fraction(MAX_FRAME_RATE))
    with open_atomic(path) as file, av.open(file, "w", format="matroska") as out:
        out.flags |= BITEXACT
        stream = add_video_stream(out, video, encoding)
        indices = itertools.count()

        def write(item: Photo | VideoFrame) -> None:
            index = next(indices)
            if isinstance(item, VideoFrame):
                frame = convert(item, video, encoding.pixel_format)
            else:
                frame = to_frame(item, video, encoding.pixel_format)
            frame.pts, frame.time_base = index, time_base
            out.mux(stream.encode(frame))

        yield write
        out.mux(stream.encode(None))


def _ab_finder(
    segment: Segment, colorizer: Colorizer, settings: SegmentSettings
) -> Callable[[int, VideoFrame, Photo], FloatArray]:
    """Return a function that returns the ab of the frame of an index, shape (2, h, w)."""
    video, shot = settings.video, segment.shot
    if not settings.steady:
        return lambda index, _, photo: _predict_ab(index, photo, shot, colorizer, settings)
    size = colorizer.input_size(video.upright_size, size=settings.size)
    colors = ShotColors(colors_path(settings.folder, segment), *size)
    return lambda index, frame, _: colors.ab(
        index - shot.first, to_grey(frame, video, *size), is_flash=index in shot.flashes
    )
