"""The process that renders previews: its tasks, and the photos that it keeps in memory.

A slider does not wait for the networks, as it has a process of its own. It runs no network;
`hint_renderer` has the process that does, for hints.
"""

import dataclasses
import errno
import pickle
import re
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from photochrom.colorize.hints import PlacedHint
from photochrom.colorize.rendering import Prediction, crop, downscale
from photochrom.colorize.upsampling import resize_planes
from photochrom.cores import count_cores
from photochrom.errors import ErrorCode, PhotochromError, error_code
from photochrom.imagefile.geometry import Geometry, Rectangle
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo, read_sizes
from photochrom.imagefile.writing import encode_photo

PREVIEW_SIZE = 1600
"""Maximum long side of a preview in px."""
THUMBNAIL_SIZE = 320
MAX_REGION = 2048
"""Maximum side of a region in px."""
MAX_MEMORY = 256_000_000
"""Bytes of photos and predictions that are kept: 85 megapixels in colour."""
Side = Literal["before", "after"]
REMOVED = "the photo was removed meanwhile"
DISK_FULL_MESSAGE = "the disk of this server is full; try again later"

Value = TypeVar("Value")


def without_options(message: str) -> str:
    """Return a message without advice that names an option of the command line."""
    return re.sub(r";[^;]*\s--[a-z].*", "", message, flags=re.DOTALL)


@dataclass(frozen=True)
class TaskFailure:
    """Why a task failed."""

    message: str
    """It has the path of the upload."""
    code: ErrorCode | None = None
    """For the page, which offers what can be done; "disk_full": see `check_disk`."""

    @classmethod
    def of(cls, error: Exception, path: Path) -> "TaskFailure":
        """Describe the error of reading a photo, without options of the command line."""
        is_memory = isinstance(error, MemoryError)
        message = f"there is not enough memory for {path}" if is_memory else str(error)
        return cls(without_options(message), error_code(error))

    def check_disk(self) -> None:
        """Check that the photo is the reason, and not the disk.

        Raises:
            OSError: If the disk is full.
        """
        if self.code == "disk_full":
            raise OSError(errno.ENOSPC, DISK_FULL_MESSAGE)


@dataclass(frozen=True)
class Source:
    """A photo as a network sees it: its first page, turned, straightened and cropped."""

    path: Path
    geometry: Geometry
    truncated: bool
    max_pixels: int

    def load(self) -> Photo:
        """Decode it, upright, without its geometry.

        Raises:
            PhotoError: If it cannot be read.
        """
        photo = open_photo(self.path, max_pixels=self.max_pixels, truncated=self.truncated)
        return dataclasses.replace(photo, metadata=Metadata(icc=photo.metadata.icc))


@dataclass(frozen=True)
class Colors:
    """The colours of a picture: a prediction, and hints that they follow."""

    folder: Path
    """From `PredictPhoto`."""
    model: int = 0
    """Index of the model."""
    hints: tuple[PlacedHint, ...] = ()


@dataclass
class Renderer:
    """What tasks work with: threads, and a least-recently-used cache of decoded photos."""

    pool: Executor
    max_memory: int = MAX_MEMORY
    _kept: dict[Hashable, tuple[Any, int]] = field(default_factory=dict)
    """Values and their bytes, the least recently used first."""

    def load_photo(self, source: Source) -> Photo:
        """Return a photo with its geometry.

        Raises:
            PhotochromError: If it cannot be read, or the crop reaches out of it.
        """
        upright = dataclasses.replace(source, geometry=Geometry())
        if source.geometry.is_identity:
            return self.keep(upright, upright.load, _photo_bytes)
        return self.keep(
            source, lambda: source.geometry.apply(self.load_photo(upright)), _photo_bytes
        )

    def load_prediction(self, colors: Colors) -> Prediction:
        """Return a prediction without hints, for its photo of `PREVIEW_SIZE`.

        Raises:
            OSError: If it was removed.
        """
        return self.keep(colors.folder, lambda: read_prediction(colors.folder), prediction_bytes)

    def keep(
        self, key: Hashable, make: Callable[[], Value], count_bytes: Callable[[Value], int]
    ) -> Value:
        """Return a value of the cache; it is made if it is not there.

        Args:
            key: Of the value.
            make: Makes it.
            count_bytes: Returns its bytes.
        """
        value, size = self._kept.pop(key, (None, 0))
        if value is None:
            value = make()
            size = count_bytes(value)
            if size > self.max_memory:
                return value
        self._kept[key] = value, size
        used = sum(size for _, size in self._kept.values())
        while used > self.max_memory:
            oldest = next(iter(self._kept))
            used -= self._kept.pop(oldest)[1]
        return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class RenderPreview:
    """Render a prediction."""

    colors: Colors
    side: Side
    saturation: float
    strength: float
    max_size: int = PREVIEW_SIZE
    """Maximum long side in px."""

    def __call__(self, renderer: Renderer) -> bytes | TaskFailure:
        """Return a JPEG, or a PNG if the photo is partly transparent."""
        try:
            prediction = renderer.load_prediction(self.colors).downscale(self.max_size)
        except OSError:
            return TaskFailure(REMOVED)
        except PhotochromError as error:
            return TaskFailure(str(error))
        if self.side == "before":
            return _encode(prediction.photo)
        return _encode(
            prediction.render(
                saturation=self.saturation, strength=self.strength, pool=renderer.pool
            )
        )


@dataclass(frozen=True)
class RenderOriginal:
    """Decode a photo and render it as it is, or a rectangle of it."""

    source: Source
    max_size: int = PREVIEW_SIZE
    region: Rectangle | None = None
    """In px of the result."""

    def __call__(self, renderer: Renderer) -> bytes | TaskFailure:
        """Return a JPEG, or a PNG if the photo is partly transparent."""
        try:
            photo = renderer.load_photo(self.source)
            if self.region is not None:
                photo = crop(photo, self.region)
            return _encode(downscale(photo, self.max_size))
        except (PhotochromError, MemoryError) as error:
            return TaskFailure.of(error, self.source.path)


@dataclass(frozen=True)
class RenderRegion:
    """Render a rectangle of the result at its own pixels."""

    source: Source
    colors: Colors
    saturation: float
    strength: float
    region: Rectangle
    """In px of the result."""
    max_size: int = MAX_REGION

    def __call__(self, renderer: Renderer) -> bytes | TaskFailure:
        """Return a JPEG, or a PNG if the region is partly transparent."""
        try:
            photo = renderer.load_photo(self.source)
            prediction = dataclasses.replace(renderer.load_prediction(self.colors), photo=photo)
            shown = prediction.render(
                saturation=self.saturation,
                strength=self.strength,
                region=self.region,
                pool=renderer.pool,
            )
        except OSError:
            return TaskFailure(REMOVED)
        except (PhotochromError, MemoryError) as error:
            return TaskFailure.of(error, self.source.path)
        return _encode(downscale(shown, self.max_size))


@dataclass(frozen=True)
class ReadSizes:
    """Read width and height of the pages of a photo from its headers, as they are stored."""

    photo: Path
    max_pixels: int

    def __call__(self, _: Renderer) -> list[tuple[int, int]] | TaskFailure:
        """Run in a process of its own, so that a damaged file can do no harm."""
        try:
            return read_sizes(self.photo, max_pixels=self.max_pixels)
        except (PhotochromError, MemoryError) as error:
            return TaskFailure.of(error, self.photo)


def start_renderer() -> Callable[[Callable[[Renderer], Any]], Any]:
    """Return the function that runs the tasks."""
    renderer = Renderer(ThreadPoolExecutor(count_cores()))
    return lambda task: task(renderer)


def write_prediction(prediction: Prediction, folder: Path, *, max_size: int = PREVIEW_SIZE) -> None:
    """Write a prediction for its photo of a long side in px, and a preview of the original.

    Raises:
        OSError: If the folder cannot be created, or the disk is full.
    """
    preview = prediction.downscale(max_size)
    coefficients = preview.coefficients
    if max(coefficients.shape) > max_size:
        coefficients = resize_planes(coefficients, *preview.photo.size)
    folder.mkdir()
    preview = dataclasses.replace(preview, coefficients=coefficients)
    write_halved(preview, "coefficients", folder / "prediction")
    (folder / "before").write_bytes(_encode(preview.photo))


def read_prediction(folder: Path) -> Prediction:
    """Read a file of `write_prediction`.

    Raises:
        OSError: If it was removed.
    """
    prediction: Prediction = read_halved(folder / "prediction", "coefficients")
    return prediction


def write_halved(value: Any, name: str, path: Path) -> None:
    """Write a dataclass whose field `name` is an array of float32.

    It takes half the bytes; the error is far below one of 256 levels.

    Raises:
        OSError: If the disk is full.
    """
    halved = dataclasses.replace(value, **{name: getattr(value, name).astype(np.float16)})
    path.write_bytes(pickle.dumps(halved, protocol=5))


def read_halved(path: Path, name: str) -> Any:
    """Unpickle a file of `write_halved`, which no client can write.

    Raises:
        OSError: If it was removed.
    """
    value = pickle.loads(path.read_bytes())
    return dataclasses.replace(value, **{name: getattr(value, name).astype(np.float32)})


def _encode(photo: Photo) -> bytes:
    return encode_photo(photo, ".jpg" if photo.alpha is None else ".png")


def _photo_bytes(photo: Photo) -> int:
    return photo.pixels.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)


def prediction_bytes(prediction: Prediction) -> int:
    """Return the bytes of a prediction in memory."""
    return prediction.coefficients.nbytes + _photo_bytes(prediction.photo)
