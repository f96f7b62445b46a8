"""The tasks of the processes that run the networks."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.detection import is_colored
from photochrom.colorize.hints import Hint, place_hints
from photochrom.colorize.versions import hint_versions
from photochrom.errors import PhotochromError, error_code
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.reading import open_pages
from photochrom.imagefile.writing import result_warnings
from photochrom.web.hint_renderer import read_prepared, write_prepared
from photochrom.web.renderer import (
    REMOVED,
    THUMBNAIL_SIZE,
    TaskFailure,
    read_prediction,
    without_options,
    write_prediction,
)


@dataclass(frozen=True)
class PhotoInfo:
    """What is known of an uploaded photo."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height in px of its pages, upright."""
    in_color: bool
    """Whether the first page is in colour already."""
    warnings: tuple[str, ...]
    """What a result loses in the photo's own format, each a phrase; of the first page."""


@dataclass(frozen=True)
class PredictionKey:
    """What a prediction depends on, besides the photo; hints are followed by the renderer."""

    model: int
    """Index of the model."""
    size: int
    """Short side in px of the network's input."""
    geometry: Geometry
    truncated: bool


@dataclass(frozen=True)
class PredictPhoto:
    """Predict the colours of a photo, for any number of previews; it is decoded once."""

    photo: Path
    output: Path
    """Its suffix is that of the result."""
    folders: dict[PredictionKey, Path]
    """For predictions that differ in `size` only; created, with the files of `write_prediction`."""
    max_pixels: int
    known: PhotoInfo | None = None
    """From an earlier prediction; None: all pages are read."""

    def __call__(self, colorizers: list[Colorizer]) -> PhotoInfo | TaskFailure:
        """Run with one colorizer for each model."""
        first_key = next(iter(self.folders))
        try:
            pages = open_pages(
                self.photo, max_pixels=self.max_pixels, truncated=first_key.truncated
            )
            first = next(pages)
            info = self.known or PhotoInfo(
                (first.size,), is_colored(first), tuple(result_warnings(first, self.output))
            )
            page = first_key.geometry.apply(first)
            del first
            for key, folder in self.folders.items():
                colorizer = colorizers[key.model]
                prepared = colorizer.prepare(page, size=key.size)
                write_prediction(colorizer.predict(page, prepared=prepared), folder)
                if colorizer.takes_hints:
                    write_prepared(prepared, folder)
            del page
            if self.known is None:
                sizes = (*info.sizes, *(page.size for page in pages))
                info = dataclasses.replace(info, sizes=sizes)
            return info
        except (PhotochromError, MemoryError) as error:
            return TaskFailure.of(error, self.photo)
        except OSError as error:  # the disk is full, or the photo was removed meanwhile
            message = f"no preview of {self.photo}: {error.strerror or error}"
            return TaskFailure(message, error_code(error))


@dataclass(frozen=True)
class FindVersions:
    """Find hints whose pictures differ, and predict those for thumbnails; nothing is decoded."""

    folder: Path
    """From `PredictPhoto`, of a model that takes hints."""
    key: PredictionKey
    """Of that prediction."""
    hints: tuple[Hint, ...]
    """That all versions have."""
    size: tuple[int, int]
    """Width and height in px of the upright photo."""
    output: Path
    """Created, with a folder of `write_prediction` for each version: 0, 1 and so on."""

    def __call__(self, colorizers: list[Colorizer]) -> list[tuple[Hint, ...]] | TaskFailure:
        """Run with one colorizer for each model."""
        colorizer, geometry = colorizers[self.key.model], self.key.geometry
        try:
            photo, prepared = read_prediction(self.folder).photo, read_prepared(self.folder)
            versions = hint_versions(colorizer, prepared, self.hints, geometry, self.size)
            self.output.mkdir()
            for index, hints in enumerate(versions):
                placed = place_hints(hints, self.size, geometry)
                prediction = colorizer.predict(photo, hints=placed, prepared=prepared)
                write_prediction(prediction, self.output / str(index), max_size=THUMBNAIL_SIZE)
            return versions
        except OSError as error:
            return TaskFailure(REMOVED, error_code(error))
        except (PhotochromError, MemoryError) as error:
            return TaskFailure(str(error) or "there is not enough memory for versions")


@dataclass(frozen=True)
class ColorizePhoto:
    """Colorize a photo into a file, as the command line does."""

    job: Job
    model: int
    options: dict[str, Any]
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> list[str] | TaskFailure:
        """Run with one colorizer for each model, and return the warnings."""
        result = colorize_file(
            self.job, colorizers[self.model], max_pixels=self.max_pixels, **self.options
        )
        if result.error is None:
            return result.warnings
        return TaskFailure(without_options(result.error), result.error_code)


def start_colorizer(
    models: tuple[Path | None, ...], device: str
) -> Callable[[PredictPhoto | FindVersions | ColorizePhoto], Any]:
    """Load the models in a worker process, and return the function that runs its tasks.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    if hasattr(os, "nice"):
        os.nice(5)  # previews are rendered first
    cv2.setNumThreads(1)
    colorizers = [Colorizer(model, device=device, threads=1) for model in models]
    return lambda task: task(colorizers)
