"""References: frames in colour, each of which gives its shot its colours."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.colorize.colorizer import network_size, resize_ab, resize_lightness
from photochrom.errors import PhotoError, UsageError, VideoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.video.reading.frames import to_grey
from photochrom.video.reading.source import Video
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.shot import Reference, Shot
from photochrom.video.shots.splitting import decode_segment, shot_segment
from photochrom.video.shots.times import format_frame_time, frame_times, nearest_frame, parse_time

_MAX_STRETCH = 0.01
"""Of the aspect ratio."""
_SIDE = 64
"""Short side in px of the copies that are compared."""
_BLUR = 1.0
"""Sigma in px of their blur, against grain and lines drawn by hand."""
_MIN_CORRELATION = 0.6
"""Of L* of a reference and its frame."""
_DIFFERENT = 0.001
"""Difference of correlations from which on one frame is taken for more similar than another."""
_NEAR = Fraction(1, 2)
"""In seconds around the time of a reference, in which its frame is looked for."""
_MIN_CHROMA = 4.0
"""Largest chroma of a photo that counts as grey, over areas of 1/64 of the short side."""


@dataclass(frozen=True)
class TimedReference:
    """A photo of the frame at a time, in colour."""

    path: Path
    time: Fraction
    """In seconds from the first frame."""

    def __str__(self) -> str:
        """Return the text of `parse_reference`."""
        return f"{self.path}@{format_time(float(self.time))}"


def parse_reference(text: str, folder: Path = Path()) -> TimedReference:
    """Parse FILE@TIME, with the file relative to a folder.

    Raises:
        UsageError: If it has another form.
        PhotochromError: If its time has.
    """
    file, separator, time = text.rpartition("@")
    if not separator or not file:
        raise UsageError(
            f"the reference is {text[:60]!r}; it has to be FILE@TIME, such as frame.png@0:00:13.2"
        )
    return TimedReference(folder / file, parse_time(time, f"the time of the reference {file[:60]}"))


def check_references(references: Iterable[TimedReference], video: Video) -> None:
    """Check that references are photos in colour with the shape of a video's frames.

    Raises:
        VideoError: If one is not.
    """
    for reference in references:
        _read(reference.path, video)


def place_references(
    references: Iterable[TimedReference],
    video: Video,
    analysis: VideoAnalysis,
    shots: Sequence[Shot],
) -> list[Reference]:
    """Return of which frames the references are: of the shot at their time, near this time.

    Raises:
        VideoError: If one lies beyond the end, does not look like its frame, or two are of one
            frame.
    """
    times = frame_times(video, analysis)
    placed: dict[int, Reference] = {}
    for reference in references:
        index = nearest_frame(times, reference.time)
        if index is None:
            raise VideoError(
                f"the reference {reference} lies beyond the end of {video.path} at "
                f"{format_time(float(times[-1]))}; give an earlier time"
            )
        photo, checksum = _read(reference.path, video)
        shot = next(shot for shot in shots if index < shot.stop)
        near = [
            other
            for other in range(shot.first, shot.stop)
            if abs(times[other] - times[index]) <= _NEAR
        ]
        found = _find_frame(photo, near, index, video, analysis)
        if found is None:
            raise VideoError(
                f"{reference.path} does not look like the frames of {video.path} around "
                f"{format_frame_time(times, index)}; give the time of its frame"
            )
        index = found
        if index in placed:
            raise VideoError(
                f"{placed[index].path} and {reference.path} are references of the same frame, at "
                f"{format_frame_time(times, index)}; give one"
            )
        placed[index] = Reference(index, reference.path, checksum)
    return sorted(placed.values(), key=lambda reference: reference.index)


def read_ab(reference: Reference, video: Video, height: int, width: int) -> FloatArray:
    """Return a* and b* of a reference, shape (2, height, width).

    Raises:
        VideoError: If its file was changed since it was checked.
    """
    photo, checksum = _read(reference.path, video)
    if checksum != reference.checksum:
        raise VideoError(f"{reference.path} was changed meanwhile; start again")
    return resize_ab(photo, height, width)


def describe_references(shots: Sequence[Shot], video: Video, analysis: VideoAnalysis) -> list[str]:
    """Return a line for each reference that says when it is used."""
    times = frame_times(video, analysis)
    texts = [format_frame_time(times, index) for index in range(len(times))]
    return [
        f"{reference.path}@{texts[reference.index]} from {texts[shot.first]} to {texts[shot.stop]}"
        for shot in shots
        for reference in shot.references
    ]


def _read(path: Path, video: Video) -> tuple[Photo, str]:
    """Read a photo that has to be in colour and shaped like the frames; return its SHA-256 too."""
    try:
        content = path.read_bytes()
        photo = open_photo(BytesIO(content))
    except OSError as error:
        raise VideoError(f"the reference {path} cannot be read: {error.strerror}") from None
    except PhotoError as error:
        raise VideoError(f"the reference {path}: {error}") from None
    if not _has_shape(photo, video):
        width, height = video.upright_size
        raise VideoError(
            f"the reference {path} has {photo.size[0]}x{photo.size[1]} pixels, but the frames of "
            f"{video.path} have {width}x{height}; give the whole frame, in the same shape"
        )
    if photo.pixels.shape[2] == 1 or _largest_chroma(photo) < _MIN_CHROMA:
        raise VideoError(f"the reference {path} is grey; give the frame in colour")
    return photo, hashlib.sha256(content).hexdigest()


def _has_shape(photo: Photo, video: Video) -> bool:
    """Return whether a photo has the shape of the frames as stored, or as players show them."""
    width, height = video.upright_size
    stretch = Fraction(photo.size[0] * height, photo.size[1] * width)
    aspect = video.pixel_aspect or Fraction(1)
    shown = stretch * aspect if video.quarter_turns % 2 else stretch / aspect
    return min(abs(stretch - 1), abs(shown - 1)) <= _MAX_STRETCH


def _largest_chroma(photo: Photo) -> float:
    width, height = photo.size
    return float(np.hypot(*resize_ab(photo, *network_size(height, width, _SIDE))).max())


def _find_frame(
    photo: Photo, near: Sequence[int], expected: int, video: Video, analysis: VideoAnalysis
) -> int | None:
    """Return which of consecutive frames a photo resembles most, None if none is similar enough."""
    width, height = video.upright_size
    size = network_size(height, width, _SIDE)
    pattern = _normalize(resize_lightness(photo, *size))
    frames = decode_segment(video, shot_segment(analysis, Shot(near[0], near[-1] + 1)))
    correlations = {
        index: float(np.vdot(pattern, _normalize(to_grey(frame, video, *size))))
        for index, frame in zip(near, frames, strict=True)
    }
    best = max(correlations.values())
    if best < _MIN_CORRELATION:
        return None
    similar = [index for index in near if correlations[index] > best - _DIFFERENT]
    return min(similar, key=lambda index: abs(index - expected))


def _normalize(lightness: NDArray[Any]) -> FloatArray:
    """Return values with a mean of 0 and a norm of 1, 0 without contrast."""
    values = cv2.GaussianBlur(lightness.astype(np.float32), (0, 0), _BLUR)
    values -= values.mean()
    normalized: FloatArray = values / np.float32(np.linalg.norm(values) + 1e-6)
    return normalized
