"""A whole film in colour, from what was done before on."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2

from photochrom.batch.process_pool import WorkerDiedError, WorkerPool, available_cores
from photochrom.colorize.colorizer import Colorizer, network_size
from photochrom.colorize.onnx_model import default_model_path
from photochrom.colorize.options import OPTIONS, check_options
from photochrom.errors import PhotochromError
from photochrom.version import __version__
from photochrom.video import checkpoint as keeping
from photochrom.video.analysis import REACH, Piece, Progress, learn, pieces
from photochrom.video.codecs import chosen
from photochrom.video.muxing import join, rehearse
from photochrom.video.segment import Done, Settings, file_of
from photochrom.video.smoothing import BYTES
from photochrom.video.source import MAX_PIXELS, Film, FilmError, probe

_MEMORY = 256_000_000
"""Bytes that the small copies of a piece's frames may take, in each process."""


@dataclass(frozen=True)
class Coloured:
    """What became of a film."""

    frames: int
    scenes: int
    left_out: list[str]
    """Streams that the container cannot hold and nobody misses, in words."""


def colorize_film(
    path: Path,
    target: Path,
    *,
    model: Path | None = None,
    device: str = "auto",
    codec: str | None = None,
    quality: int | None = None,
    steady: bool = True,
    processes: int | None = None,
    overwrite: bool = False,
    restart: bool = False,
    max_pixels: int = MAX_PIXELS,
    progress: Progress = lambda *_: None,
    **look: Any,
) -> Coloured:
    """Colour a film; what was done before a kill is not done again.

    Args:
        path: The film.
        target: The result; work on it is kept in a folder beside it until it is whole.
        model: An ONNX file; None: the model that comes with photochrom.
        device: What the network runs on: a key of `photochrom.colorize.onnx_model.DEVICES`, or
            `auto`.
        codec: One of `codecs.CODECS`; None: what goes with the ending.
        quality: CRF: less is better and larger; None: the codec's own.
        steady: Whether colours are kept still over time; else each frame is a photo of its own.
        processes: How many work side by side; None: one for each core.
        overwrite: Whether a result that is there is replaced.
        restart: Whether to throw away work on it that is there.
        max_pixels: A film of larger frames is refused.
        progress: Called with `learned` or `coloured`, how many frames are, and of how many.
        **look: Keywords of `Colorizer.__call__`.

    Raises:
        FilmError: If the film cannot be coloured, or the result not be written.
        ModelError: If the model cannot be used.
        PhotochromError: If a number is not allowed.
        OSError: If the disk refuses.
    """
    check_options(**look)
    film = probe(path, max_pixels=max_pixels)
    _check(path, target, overwrite)
    encoding = chosen(target, codec, quality, film)
    left_out = rehearse(film, target, encoding)
    model = model or default_model_path()
    size = look.get("size") or Colorizer(model, device=device, threads=1).model.size
    told = {
        "film": [path.stat().st_size, path.stat().st_mtime_ns],
        "model": hashlib.sha256(model.read_bytes()).hexdigest(),
        "look": {option.name: look.get(option.name, option.default) for option in OPTIONS},
        "codec": encoding.codec,
        "quality": encoding.quality,
        "steadiness": steady,
        "version of photochrom or PyAV": [__version__, av.__version__],
    }
    folder = keeping.beside(target)
    learned = keeping.take_up(folder, told, restart=restart)
    if learned is None:
        learned = learn(film, progress)
        keeping.begin(folder, told, learned)
    settings = Settings(film, folder, encoding, model, device, steady, look)
    try:
        all_pieces = list(pieces(film, learned, _most(film, size)))
        _colour(all_pieces, settings, processes, progress)
        files = [file_of(folder, piece) for piece in all_pieces]
        join(film, learned, files, target, encoding, overwrite=overwrite)
    except (PhotochromError, OSError):
        if not any(folder.glob("*.mkv")):
            keeping.clear(folder)
        raise
    keeping.clear(folder)
    return Coloured(len(learned.times), len(learned.cuts), left_out)


def _check(path: Path, target: Path, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise FilmError(f"there is no folder {target.parent}; make it, or give another")
    if target.exists():
        if target.samefile(path):
            raise FilmError(f"{target} is the film itself; give another name for the result")
        if not target.is_file():
            raise FilmError(f"{target} is not a file; give a name for the result")
        if not overwrite:
            raise FilmError(f"{target} exists already; say --overwrite, or give another name")


def _most(film: Film, size: int) -> int:
    """Return how many frames a piece may have for its small copies to fit into memory."""
    height, width = network_size(film.height, film.width, size)
    return max(REACH, _MEMORY // (BYTES * height * width) - 2 * REACH)


def _colour(
    all_pieces: list[Piece], settings: Settings, processes: int | None, progress: Progress
) -> None:
    """Colour the pieces that are not done yet.

    Raises:
        FilmError: If one of them fails.
        ModelError: If the model cannot be loaded.
    """
    total = sum(piece.count for piece in all_pieces)
    left = [piece for piece in all_pieces if not file_of(settings.folder, piece).exists()]
    done = total - sum(piece.count for piece in left)
    progress("coloured", done, total)
    for outcome in _outcomes(left, settings, min(processes or len(available_cores()), len(left))):
        if outcome.error is not None:
            raise FilmError(outcome.error)
        done += outcome.piece.count
        progress("coloured", done, total)


def _outcomes(left: list[Piece], settings: Settings, processes: int) -> Iterator[Done]:
    if processes > 1:
        with WorkerPool(settings, processes=processes, pin_cores=True) as pool:
            yield from pool.map(left, on_death=_failed_by_death)
    elif left:  # right here, as starting a process takes longer
        threads = cv2.getNumThreads()
        try:
            yield from map(settings(), left)
        finally:
            cv2.setNumThreads(threads)


def _failed_by_death(piece: Piece, error: WorkerDiedError) -> Done:
    return Done(piece, f"piece {piece.number} of the film: {error}")
