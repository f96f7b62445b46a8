"""The tasks of the server's worker processes."""

import functools
import os
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.rendering import Prediction
from photochrom.cores import count_cores
from photochrom.errors import PhotochromError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages, read_sizes
from photochrom.imagefile.writing import encode_photo

PREVIEW_SIZE = 1600
"""Maximum long side of a preview in px."""
THUMBNAIL_SIZE = 320


@dataclass(frozen=True)
class TaskFailure:
    """Why a task failed; the message has the path of the upload."""

    message: str


@dataclass(frozen=True)
class PhotoInfo:
    """What is known of an uploaded photo."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height in px of its pages, upright."""


@dataclass(frozen=True)
class PredictionKey:
    """What a prediction depends on, besides the photo."""

    model: int
    """Index of the model."""
    size: int
    """Short side in px of the network's input."""


@dataclass(frozen=True)
class PredictPhoto:
    """Predict the colours of a photo, for any number of previews."""

    photo: Path
    folder: Path
    """Created; receives `prediction` and `before`."""
    key: PredictionKey
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> PhotoInfo | TaskFailure:
        """Run with one colorizer for each model."""
        try:
            pages = open_pages(self.photo, max_pixels=self.max_pixels)
            prediction = colorizers[self.key.model].predict(next(pages), size=self.key.size)
            first = prediction.photo.size
            info = PhotoInfo((first, *(page.size for page in pages)))
            preview = prediction.downscale(PREVIEW_SIZE)
            self.folder.mkdir()
            (self.folder / "prediction").write_bytes(pickle.dumps(preview, protocol=5))
            (self.folder / "before").write_bytes(_encode(preview.photo))
        except PhotochromError as error:
            return TaskFailure(str(error))
        except OSError as error:  # the disk is full, or the photo was removed meanwhile
            return TaskFailure(f"no preview of {self.photo}: {error.strerror or error}")
        except MemoryError:
            return TaskFailure(f"{self.photo} is too large for the memory of this computer")
        return info


@dataclass(frozen=True)
class RenderPreview:
    """Render a prediction with other options, without the network."""

    folder: Path
    """From `PredictPhoto`."""
    saturation: float
    strength: float
    max_size: int = PREVIEW_SIZE
    """Maximum long side in px."""

    def __call__(self, pool: Executor) -> bytes | TaskFailure:
        """Return a JPEG, or a PNG if the photo is partly transparent."""
        try:
            prediction = _load_prediction(self.folder).downscale(self.max_size)
        except OSError:
            return TaskFailure("the photo was removed meanwhile")
        return _encode(
            prediction.render(saturation=self.saturation, strength=self.strength, pool=pool)
        )


@functools.lru_cache(maxsize=1)  # a moving slider renders one photo many times
def _load_prediction(folder: Path) -> Prediction:
    """Unpickle a file of `PredictPhoto`, which no client can write.

    Raises:
        OSError: If it was removed.
    """
    prediction: Prediction = pickle.loads((folder / "prediction").read_bytes())
    return prediction


@dataclass(frozen=True)
class ReadSizes:
    """Read width and height of the pages of a photo from its headers."""

    photo: Path
    max_pixels: int

    def __call__(self, _: Executor) -> list[tuple[int, int]] | TaskFailure:
        """Run in the process that renders, so that a damaged file can do no harm."""
        try:
            return read_sizes(self.photo, max_pixels=self.max_pixels)
        except PhotochromError as error:
            return TaskFailure(str(error))
        except MemoryError:
            return TaskFailure(f"{self.photo} is too large for the memory of this computer")


@dataclass(frozen=True)
class ColorizePhoto:
    """Colorize a photo into a file, as the command line does."""

    job: Job
    model: int
    options: dict[str, Any]
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> TaskFailure | None:
        """Run with one colorizer for each model."""
        result = colorize_file(
            self.job, colorizers[self.model], max_pixels=self.max_pixels, **self.options
        )
        return None if result.error is None else TaskFailure(result.error)


def start_colorizer(
    models: tuple[Path | None, ...], device: str
) -> Callable[[PredictPhoto | ColorizePhoto], Any]:
    """Load the models in a worker process, and return the function that runs its tasks.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    if hasattr(os, "nice"):
        os.nice(5)  # previews are rendered first
    cv2.setNumThreads(1)
    colorizers = [Colorizer(model, device=device, threads=1) for model in models]
    return lambda task: task(colorizers)


def start_renderer() -> Callable[[RenderPreview | ReadSizes], Any]:
    """Return the function that runs the tasks of the rendering process."""
    pool = ThreadPoolExecutor(count_cores())
    return lambda task: task(pool)


def _encode(photo: Photo) -> bytes:
    return encode_photo(photo, ".jpg" if photo.alpha is None else ".png")
