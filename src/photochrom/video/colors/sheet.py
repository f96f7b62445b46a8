"""Contact sheets: one frame of each shot, in colour, with number and time."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photochrom.batch.process_pool import WorkerPool
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint
from photochrom.cores import count_cores
from photochrom.errors import PhotochromError, VideoError
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.photo import Photo
from photochrom.video.reading.frames import to_photo
from photochrom.video.reading.source import Video
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.analysis import ProgressCallback, VideoAnalysis
from photochrom.video.shots.references import read_ab
from photochrom.video.shots.shot import Reference, Shot
from photochrom.video.shots.splitting import Segment, decode_segment, frame_segment
from photochrom.video.shots.times import frame_times

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_TILE_WIDTH = 240
"""In px."""
_LABEL_HEIGHT = 24
_FONT_SIZE = 15
_GAP = 8
_MAX_COLUMNS = 12
_MAX_TILES = 300
"""Of a page."""
_BACKGROUND, _TEXT = (24, 24, 24), (235, 235, 235)

_Tile = NDArray[np.uint8]


@dataclass(frozen=True)
class _Item:
    """A frame to show."""

    number: int
    """Of its shot, from 1."""
    segment: Segment
    """The frame alone."""
    hints: list[Hint]
    reference: Reference | None
    """Of this frame."""
    is_colored: bool


@dataclass(frozen=True)
class SheetSettings:
    """How frames of a sheet are colorized."""

    video: Video
    model: Path
    device: str
    options: dict[str, Any]
    """Keywords of `Colorizer.__call__`."""

    def load_model(self) -> Callable[[_Item], tuple[int, _Tile | str]]:
        """Load the model, with one thread as each core has a process.

        Returns:
            A function that returns the number of a frame's shot, and its tile or an error message.

        Raises:
            ModelError: If the model cannot be loaded.
        """
        cv2.setNumThreads(1)
        colorizer = Colorizer(self.model, device=self.device, threads=1)

        def make_tile(item: _Item) -> tuple[int, _Tile | str]:
            try:
                (frame,) = decode_segment(self.video, item.segment)
                photo = to_photo(frame, self.video)
                if item.reference is not None:
                    photo = self._render_reference(photo, item.reference, colorizer)
                elif not item.is_colored:
                    photo = colorizer(photo, hints=item.hints, **self.options)
                return item.number, _shrink(photo.to_srgb(), self.video)
            except PhotochromError as error:
                return item.number, str(error)

        return make_tile

    def _render_reference(self, photo: Photo, reference: Reference, colorizer: Colorizer) -> Photo:
        """Return a frame with the colours of its reference."""
        options = dict(self.options)
        size = options.pop("size", None)
        ab = read_ab(reference, self.video, *colorizer.input_size(photo.size, size=size))
        return colorizer.predict(photo, size=size, ab=ab).render(**options)


def check_sheet(path: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Check that a sheet can be written.

    Raises:
        VideoError: If its name or folder is wrong, or it exists and `overwrite` is not set or it is
            one of the inputs.
    """
    if path.suffix.lower() not in _FORMATS:
        raise VideoError(f"the sheet is {path}; its name has to end in .png, .jpg or .jpeg")
    if not path.parent.is_dir():
        raise VideoError(f"there is no folder {path.parent}; create it, or choose another")
    if path.exists() and not overwrite:
        raise VideoError(f"{path} exists already; use --overwrite, or choose another sheet")
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise VideoError(f"{path} is a picture of the source or a reference; choose another sheet")


def make_sheet(
    path: Path,
    analysis: VideoAnalysis,
    shots: Sequence[Shot],
    settings: SheetSettings,
    *,
    processes: int | None,
    overwrite: bool,
    progress: ProgressCallback,
    notify: Callable[[str], None],
) -> None:
    """Write a picture of the middle frame of each shot, or several if there are many shots.

    Args:
        path: Of the first picture; the next is `NAME-2.png`.
        analysis: Of the video.
        shots: All shots of the video.
        settings: How they are colorized.
        processes: Number of processes; None: one for each core.
        overwrite: Whether to replace existing files.
        progress: Called with `sheet`, the number of shots done, and the total.
        notify: Called with a sentence for each picture.

    Raises:
        VideoError: If a frame cannot be colorized.
        FileExistsError: If a picture exists and `overwrite` is not set.
        OSError: If one cannot be written.
    """
    items = [_choose_frame(analysis, shot, number) for number, shot in enumerate(shots, 1)]
    tiles: dict[int, _Tile] = {}
    progress("sheet", 0, len(items))
    with _open_workers(items, settings, processes) as results:
        for number, tile in results:
            if isinstance(tile, str):
                raise VideoError(tile)
            tiles[number] = tile
            progress("sheet", len(tiles), len(items))
    times = frame_times(settings.video, analysis)
    labels = {
        number: f"{number}   {format_time(float(times[shot.first]))}"
        + ("   in colour" if shot.is_colored else "")
        for number, shot in enumerate(shots, 1)
    }
    for first in range(1, len(shots) + 1, _MAX_TILES):
        page = first // _MAX_TILES + 1
        target = path if page == 1 else path.with_stem(f"{path.stem}-{page}")
        numbers = range(first, min(first + _MAX_TILES, len(shots) + 1))
        picture = _lay_out([tiles[number] for number in numbers], [labels[n] for n in numbers])
        with open_atomic(target, overwrite=overwrite) as file:
            picture.save(file, _FORMATS[path.suffix.lower()], quality=92)
        notify(f"{target} shows shots {numbers[0]} to {numbers[-1]}")


def _choose_frame(analysis: VideoAnalysis, shot: Shot, number: int) -> _Item:
    """Return the frame of a shot's first reference, or that nearest to the middle, no flash."""
    middle = (shot.first + shot.stop - 1) // 2
    reference = shot.references[0] if shot.references else None
    usual = sorted({*range(shot.first, shot.stop)} - {*shot.flashes}) or [middle]
    index = reference.index if reference else min(usual, key=lambda one: abs(one - middle))
    segment = frame_segment(analysis, shot, index)
    return _Item(number, segment, shot.hints_at(index), reference, shot.is_colored)


@contextmanager
def _open_workers(
    items: Sequence[_Item], settings: SheetSettings, processes: int | None
) -> Iterator[Iterator[tuple[int, _Tile | str]]]:
    """Yield an iterator over the tiles, in any order."""
    processes = min(processes or count_cores(), len(items))
    if processes > 1:
        with WorkerPool(settings.load_model, processes=processes, pin_cores=True) as pool:
            yield pool.map(items, on_death=lambda item, error: (item.number, str(error)))
        return
    threads = cv2.getNumThreads()
    try:
        yield map(settings.load_model(), items)
    finally:
        cv2.setNumThreads(threads)


def _shrink(pixels: NDArray[np.uint8], video: Video) -> _Tile:
    """Return pixels, shape (h, w, 3), at the width of a tile and the aspect ratio of players."""
    height, width = pixels.shape[:2]
    aspect = video.pixel_aspect or 1
    stretched = width / aspect if video.quarter_turns % 2 else width * aspect
    size = _TILE_WIDTH, max(1, round(_TILE_WIDTH * height / stretched))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _lay_out(tiles: Sequence[_Tile], labels: Sequence[str]) -> Image.Image:
    columns = min(_MAX_COLUMNS, math.ceil(len(tiles) ** 0.5))
    rows = math.ceil(len(tiles) / columns)
    width, height = _TILE_WIDTH + _GAP, tiles[0].shape[0] + _LABEL_HEIGHT + _GAP
    page = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        x, y = _GAP + index % columns * width, _GAP + index // columns * height
        page.paste(Image.fromarray(tile), (x, y))
        draw.text((x, y + tile.shape[0] + 3), label, fill=_TEXT, font=font)
    return page
