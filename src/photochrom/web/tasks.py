"""What the processes of the server do with a photo; they get files of the server's own alone."""

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
from photochrom.batch.process_pool import available_cores
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.rendering import Prediction
from photochrom.errors import PhotochromError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages
from photochrom.imagefile.writing import encode_photo

SHOWN = 1600
"""Long side in px of what the page shows, at most."""
THUMBNAIL = 320


@dataclass(frozen=True)
class Refused:
    """A photo that cannot be colorized; the sentence names the server's own file."""

    sentence: str


@dataclass(frozen=True)
class Drafted:
    """What `Prepare` found."""

    width: int
    height: int
    pages: int


@dataclass(frozen=True)
class Prepare:
    """Ask the network about a photo, and write what the page needs to show it."""

    photo: Path
    place: Path
    """A folder that is made."""
    model: int
    size: int | None
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> Drafted | Refused:
        """Do it.

        Args:
            colorizers: One for each model.
        """
        try:
            pages = open_pages(self.photo, max_pixels=self.max_pixels)
            prediction = colorizers[self.model].predict(next(pages), size=self.size)
            facts = Drafted(*prediction.photo.size, 1 + sum(1 for _ in pages))
            shown = prediction.downscale(SHOWN)
            small = shown.downscale(THUMBNAIL).render()
            self.place.mkdir()
            (self.place / "draft").write_bytes(pickle.dumps(shown, protocol=5))
            (self.place / "before").write_bytes(_encoded(shown.photo))
            (self.place / "thumbnail").write_bytes(_encoded(small))
        except PhotochromError as refusal:
            return Refused(str(refusal))
        except OSError as error:  # a full disk, or the photo was removed meanwhile
            return Refused(f"{self.photo} cannot be shown: {error.strerror or error}")
        except MemoryError:
            return Refused(f"{self.photo} is too large for the memory of this computer")
        return facts


@dataclass(frozen=True)
class Paint:
    """Paint once more what the page shows of a photo; no network is asked."""

    place: Path
    """The folder that `Prepare` made."""
    saturation: float
    strength: float
    longest: int = SHOWN
    """Long side in px, at most."""

    def __call__(self, pool: Executor) -> bytes | Refused:
        """Return a JPEG, or a PNG of a photo that is partly transparent.

        Args:
            pool: Threads to work on.
        """
        try:
            prediction = _load_prediction(self.place).downscale(self.longest)
        except OSError:
            return Refused("the photo was removed or colorized again meanwhile")
        return _encoded(
            prediction.render(saturation=self.saturation, strength=self.strength, pool=pool)
        )


@functools.lru_cache(maxsize=1)  # a slider asks for the same many times
def _load_prediction(place: Path) -> Prediction:
    """Return what `Prepare` wrote into a folder: our own, in a folder of our own.

    Raises:
        OSError: If it is gone.
    """
    prediction: Prediction = pickle.loads((place / "draft").read_bytes())
    return prediction


@dataclass(frozen=True)
class Finish:
    """Colorize a photo into a file, exactly as the command line does."""

    job: Job
    model: int
    look: dict[str, Any]
    max_pixels: int

    def __call__(self, colorizers: list[Colorizer]) -> Refused | None:
        """Do it."""
        colorizer = colorizers[self.model]
        result = colorize_file(self.job, colorizer, max_pixels=self.max_pixels, **self.look)
        return None if result.error is None else Refused(result.error)


@dataclass(frozen=True)
class Colorizers:
    """Makes what a process needs that asks the networks."""

    models: tuple[Path | None, ...]
    device: str

    def __call__(self) -> Callable[[Prepare | Finish], Any]:
        """Load the models, on one thread, and stand back behind those who wait for a slider.

        Raises:
            ModelError: If one cannot be loaded.
        """
        if hasattr(os, "nice"):
            os.nice(5)
        cv2.setNumThreads(1)
        colorizers = [Colorizer(m, device=self.device, threads=1) for m in self.models]
        return lambda task: task(colorizers)


def painter() -> Callable[[Paint], bytes | Refused]:
    """Make what a process needs that only paints: threads."""
    pool = ThreadPoolExecutor(len(available_cores()))
    return lambda task: task(pool)


def _encoded(photo: Photo) -> bytes:
    return encode_photo(photo, ".jpg" if photo.alpha is None else ".png")
