"""The tasks of the processes that run the networks."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.reading import open_pages
from photochrom.web.renderer import TaskFailure, write_prediction


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
    geometry: Geometry


@dataclass(frozen=True)
class PredictPhoto:
    """Predict the colours of a photo, for any number of previews."""

    photo: Path
    folder: Path
    """Created; receives the files of `write_prediction`."""
    key: PredictionKey
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> PhotoInfo | TaskFailure:
        """Run with one colorizer for each model."""
        try:
            pages = open_pages(self.photo, max_pixels=self.max_pixels)
            first = next(pages)
            size, page = first.size, self.key.geometry.apply(first)
            del first
            prediction = colorizers[self.key.model].predict(page, size=self.key.size)
            del page
            info = PhotoInfo((size, *(page.size for page in pages)))
            write_prediction(prediction, self.folder)
        except PhotochromError as error:
            return TaskFailure(str(error))
        except OSError as error:  # the disk is full, or the photo was removed meanwhile
            return TaskFailure(f"no preview of {self.photo}: {error.strerror or error}")
        except MemoryError:
            return TaskFailure(f"{self.photo} is too large for the memory of this computer")
        return info


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
