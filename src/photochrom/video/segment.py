"""Colouring one piece of a film into a file of its own."""

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
from photochrom.errors import PhotochromError
from photochrom.imagefile.atomic import open_atomic
from photochrom.video.analysis import Piece, frames
from photochrom.video.codecs import MOST_RATE, Encoding, add_pictures, pixel_format
from photochrom.video.smoothing import Half, steady
from photochrom.video.source import Film, to_frame, to_photo

MARK = "comment"
"""The name in a container's metadata of the line that says that colours were added."""
BITEXACT = 0x400
"""FFmpeg's flag: no random numbers and dates, so that the same work gives the same file."""


@dataclass(frozen=True)
class Done:
    """What became of a piece."""

    piece: Piece
    error: str | None = None


@dataclass(frozen=True)
class Settings:
    """How pieces are coloured: all that a process has to know."""

    film: Film
    folder: Path
    """Where the files of pieces go."""
    encoding: Encoding
    model: Path
    """An ONNX file."""
    device: str = "auto"
    steadied: bool = True
    """Whether frames are joined with their neighbours."""
    look: dict[str, Any] = field(default_factory=dict)
    """Keywords of `Colorizer.__call__`."""

    def __call__(self) -> Callable[[Piece], Done]:
        """Load the model; with one thread, as each core has a process.

        Raises:
            ModelError: If it cannot be loaded.
        """
        cv2.setNumThreads(1)
        colorizer = Colorizer(self.model, device=self.device, threads=1)

        def colour(piece: Piece) -> Done:
            try:
                _colour(piece, colorizer, self)
            except PhotochromError as refusal:
                return Done(piece, str(refusal))
            except OSError as refusal:
                place = file_of(self.folder, piece)
                return Done(piece, f"cannot write {place}: {refusal.strerror or refusal}")
            except MemoryError:
                return Done(piece, f"{self.film.path} is too large for this computer's memory")
            return Done(piece)

        return colour


def file_of(folder: Path, piece: Piece) -> Path:
    """Return where a piece goes."""
    return folder / f"{piece.number:06}.mkv"


def _colour(piece: Piece, colorizer: Colorizer, settings: Settings) -> None:
    """Colour a piece: decoded once to ask the network, and once more to paint.

    So no more than the small copies of its frames is in memory.
    """
    film, look = settings.film, dict(settings.look)
    size = look.pop("size", None)
    colours = _colours(piece, colorizer, settings, size)
    wanted = range(piece.before, piece.before + piece.count)
    with (
        open_atomic(file_of(settings.folder, piece)) as file,
        av.open(file, "w", format="matroska") as out,
    ):
        out.flags |= BITEXACT
        stream = add_pictures(out, film, settings.encoding)
        pixels = pixel_format(film, settings.encoding)
        for place, frame in enumerate(frames(film, piece)):
            if place not in wanted:
                continue
            photo = to_photo(frame, film)
            ab = colours[place - piece.before].astype(np.float32)
            painted = colorizer.predict(photo, size=size, ab=ab).render(**look)
            if place == piece.before and painted.metadata.mark:
                out.metadata[MARK] = painted.metadata.mark
            coloured = to_frame(painted, film, pixels)
            coloured.pts = place - piece.before
            coloured.time_base = 1 / min(film.rate, Fraction(MOST_RATE))
            out.mux(stream.encode(coloured))
            if place + 1 == wanted.stop:
                break
        out.mux(stream.encode(None))


def _colours(
    piece: Piece, colorizer: Colorizer, settings: Settings, size: int | None
) -> Sequence[FloatArray | Half]:
    """Return the ab of each frame of a piece itself, shape (2, h, w)."""
    film = settings.film
    wanted = slice(piece.before, piece.before + piece.count)
    photos = (to_photo(frame, film) for frame in frames(film, piece))
    seen = [colorizer.network_input(photo, size=size).astype(np.float16) for photo in photos]
    if settings.steadied:
        return steady(seen, colorizer.predict_ab, piece.cuts, piece.flashes)[wanted]
    return [colorizer.predict_ab(L.astype(np.float32)) for L in seen[wanted]]
