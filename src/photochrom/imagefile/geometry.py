"""`Geometry`: a photo turned, straightened and cropped before it is colorized."""

import dataclasses
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray, Pixels
from photochrom.errors import PhotochromError, UsageError
from photochrom.imagefile import exif
from photochrom.imagefile.decoding import make_upright
from photochrom.imagefile.jpeg import tables
from photochrom.imagefile.jpeg.trailers import read_trailers
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.turning import Crop

TURNS = (0, 90, 180, 270)
MAX_STRAIGHTEN = 45
"""Degrees."""

_ORIENTATIONS = {90: 6, 180: 3, 270: 8}
"""Degrees clockwise to the orientation, as in EXIF, that asks for them."""
_QUARTERS = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}
"""Degrees clockwise to their cosine and sine."""
_TILE = 1024
"""Side in px of parts that are interpolated one by one, which saves memory."""
_REACH = 3
"""Distance in px of the farthest pixel that an interpolated one depends on, rounded up."""
_GEO_TAGS = (33550, 33922, 34264)
"""ModelPixelScale, ModelTiepoint and ModelTransformation of a GeoTIFF."""
_TOLERANCE = 1e-6
"""In px, for rounding."""

Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in px."""


@dataclass(frozen=True)
class Geometry:
    """A change of the upright photo: turned, then straightened, then cropped.

    What else has a position, such as a face, counts in px of the upright photo, before all of it.

    Raises:
        PhotochromError: If a value is not allowed for any photo.
    """

    turn: int = 0
    """Degrees clockwise: 0, 90, 180 or 270. Pixels stay as they are."""
    straighten: float = 0.0
    """Degrees clockwise, -45 to 45, around the centre of the turned photo, whose size it keeps."""
    crop: Rectangle | None = None
    """Left, top, width and height in px of the turned and straightened photo. None: all of it; if
    it is straightened, the largest rectangle of its aspect ratio without empty corners."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.turn not in TURNS:
            raise UsageError(
                f"turn is {self.turn}; it has to be 0, 90, 180 or 270, in degrees clockwise"
            )
        if not -MAX_STRAIGHTEN <= self.straighten <= MAX_STRAIGHTEN:  # excludes NaN
            raise UsageError(
                f"straighten is {self.straighten}; it has to be from {-MAX_STRAIGHTEN} to "
                f"{MAX_STRAIGHTEN}, in degrees clockwise"
            )
        if self.crop is not None:
            object.__setattr__(self, "crop", _check_rectangle(self.crop))

    @property
    def is_identity(self) -> bool:
        """Whether every photo stays as it is."""
        return not self.turn and not self.straighten and self.crop is None

    def rectangle(self, width: int, height: int) -> Rectangle:
        """Return the crop of a photo, in px of the turned and straightened photo.

        Args:
            width: Of the upright photo, in px.
            height: Of the upright photo, in px.

        Raises:
            PhotochromError: If the crop reaches out of the photo, or into an empty corner.
        """
        if self.turn in (90, 270):
            width, height = height, width
        if self.crop is None:
            return _largest_rectangle(width, height, self.straighten)
        left, top, w, h = self.crop
        text = f"the crop {left},{top},{w},{h} (left, top, width, height)"
        if left + w > width or top + h > height:
            turned = " turned" if self.turn else ""
            raise PhotochromError(
                f"{text} reaches out of the{turned} photo of {width}x{height}; give one inside of "
                "it"
            )
        if self.straighten and not _is_covered(self.crop, width, height, self.straighten):
            inside = ",".join(map(str, _largest_rectangle(width, height, self.straighten)))
            raise PhotochromError(
                f"{text} reaches into an empty corner of the photo straightened by "
                f"{self.straighten:g} degrees; give a smaller one, such as {inside}"
            )
        return self.crop

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in px of the result for a photo of a size.

        Raises:
            PhotochromError: As `rectangle`.
        """
        return self.rectangle(width, height)[2:]

    def place(self, x: float, y: float, width: int, height: int) -> tuple[float, float] | None:
        """Return where a pixel of the upright photo comes to lie in the result.

        Args:
            x: Column of the pixel in px.
            y: Row of the pixel in px.
            width: Of the upright photo, in px.
            height: Of the upright photo, in px.

        Returns:
            The place of the pixel's centre, in px from the upper left corner of the result; None
            if it lies outside.

        Raises:
            PhotochromError: As `rectangle`.
        """
        matrix, offset, (w, h) = self._to_result(width, height)
        a, b = matrix @ (x + 0.5, y + 0.5) + offset
        return (float(a), float(b)) if 0 <= a < w and 0 <= b < h else None

    def origin(self, x: float, y: float, width: int, height: int) -> tuple[int, int]:
        """Return the pixel of the upright photo that comes to lie at a place, as of `place`.

        Args:
            x: Place in the result, in px from its upper left corner.
            y: Likewise.
            width: Of the upright photo, in px.
            height: Of the upright photo, in px.

        Returns:
            Column and row, inside of the photo.

        Raises:
            PhotochromError: As `rectangle`.
        """
        matrix, offset, _ = self._to_result(width, height)
        a, b = np.floor(matrix.T @ (np.array([x, y]) - offset) + _TOLERANCE)
        return int(np.clip(a, 0, width - 1)), int(np.clip(b, 0, height - 1))

    def _to_result(
        self, width: int, height: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, int]]:
        """Return the rotation and offset from the upright photo to the result, and its size."""
        left, top, *size = self.rectangle(width, height)
        cos, sin = _QUARTERS[self.turn]
        turn = np.array([[cos, -sin], [sin, cos]])
        center, turned_center = np.array([width, height]) / 2, np.array([width, height]) / 2
        if self.turn in (90, 270):
            turned_center = turned_center[::-1]
        cos, sin = _cos_sin(self.straighten)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ turn
        return matrix, turned_center - matrix @ center - (left, top), (size[0], size[1])

    def apply(self, photo: Photo) -> Photo:
        """Return the photo turned, straightened and cropped, with its metadata.

        Straightening interpolates bicubically, in encoded values: the scale stays, so no light is
        averaged, and in linear light the kernel's negative lobes would leave dark rims. Colours are
        weighted by opacity.

        Raises:
            PhotochromError: As `rectangle`.
        """
        if self.is_identity:
            return photo
        rectangle = self.rectangle(*photo.size)
        photo = _without_places(_with_fitting_encoding(photo, self))
        if self.turn:
            turned = make_upright(photo, orientation=_ORIENTATIONS[self.turn])
            photo = dataclasses.replace(turned, orientation=photo.orientation)
        if not self.straighten and self.crop is None:
            return photo
        crop = Crop(*photo.size, self.straighten, *rectangle)
        photo = dataclasses.replace(photo, metadata=photo.metadata.crop(crop))
        if self.straighten:
            return _straighten(photo, self.straighten, rectangle)
        left, top, width, height = rectangle
        part = slice(top, top + height), slice(left, left + width)
        alpha = None if photo.alpha is None else photo.alpha[part].copy()
        return dataclasses.replace(photo, pixels=photo.pixels[part].copy(), alpha=alpha)


def _check_rectangle(crop: Rectangle) -> Rectangle:
    """Return a crop as a tuple of integers."""
    try:
        left, top, width, height = map(operator.index, crop)
    except (TypeError, ValueError):
        raise UsageError(
            f"crop is {crop!r}; it has to be four whole numbers: left, top, width, height, in px"
        ) from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise UsageError(
            f"the crop {left},{top},{width},{height} (left, top, width, height) is not allowed: "
            "left and top have to be at least 0, width and height at least 1"
        )
    return left, top, width, height


def _largest_rectangle(width: int, height: int, angle: float) -> Rectangle:
    """Return the largest centred rectangle of the aspect ratio without empty corners.

    Its scale is that at which it touches the sides of the photo, its sides are rounded down.
    """
    cos, sin = _cos_sin(angle)
    sin = abs(sin)
    scale = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    w, h = (max(1, math.floor(scale * side + _TOLERANCE)) for side in (width, height))
    return (width - w) // 2, (height - h) // 2, w, h


def _is_covered(rectangle: Rectangle, width: int, height: int, angle: float) -> bool:
    """Tell whether the centres of all pixels of a rectangle lie in the straightened photo."""
    left, top, w, h = rectangle
    matrix = _to_source(width, height, angle)
    for x in (left + 0.5, left + w - 0.5):
        for y in (top + 0.5, top + h - 0.5):
            a, b = matrix @ (x, y, 1)
            if not (-_TOLERANCE <= a <= width + _TOLERANCE):
                return False
            if not (-_TOLERANCE <= b <= height + _TOLERANCE):
                return False
    return True


def _cos_sin(angle: float) -> tuple[float, float]:
    """Return cosine and sine of degrees."""
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))


def _to_source(width: int, height: int, angle: float) -> NDArray[np.float64]:
    """Return the matrix from a place in the straightened photo to that in the photo, both in px."""
    cos, sin = _cos_sin(angle)
    x, y = width / 2, height / 2
    return np.array([[cos, sin, x - cos * x - sin * y], [-sin, cos, y + sin * x - cos * y]])


def _straighten(photo: Photo, angle: float, rectangle: Rectangle) -> Photo:
    """Return a rectangle of the straightened photo."""
    _, _, width, height = rectangle
    pixels: Pixels = np.empty((height, width, photo.pixels.shape[2]), photo.pixels.dtype)
    alpha: Pixels | None = None
    if photo.alpha is not None:
        alpha = np.empty((height, width), photo.alpha.dtype)
    largest = np.iinfo(pixels.dtype).max
    for tile, source, matrix in _tiles(photo.size, angle, rectangle):
        size = tile[1].stop - tile[1].start, tile[0].stop - tile[0].start
        values: FloatArray = photo.pixels[source].astype(np.float32)
        if photo.alpha is not None:
            weights = photo.alpha[source].astype(np.float32)[..., None]
            opacity = _warp(weights, matrix, size)
            values = _warp(values * weights, matrix, size)
            values /= np.maximum(opacity, 1)
            assert alpha is not None
            alpha[tile] = _round(opacity[..., 0], largest)
        else:
            values = _warp(values, matrix, size)
        pixels[tile] = _round(values, largest)
    return dataclasses.replace(photo, pixels=pixels, alpha=alpha)


def _tiles(
    size: tuple[int, int], angle: float, rectangle: Rectangle
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], NDArray[np.float64]]]:
    """Yield tiles of the result, the part of the photo for each, and the matrix between them.

    The matrix is from pixels of the tile to those of the part, by their indices.
    """
    left, top, width, height = rectangle
    matrix = _to_source(*size, angle)
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            w, h = min(_TILE, width - x), min(_TILE, height - y)
            corners = np.array([(a, b, 1) for a in (x, x + w) for b in (y, y + h)], float)
            corners += (left, top, 0)
            places = corners @ matrix.T
            starts = np.maximum(np.floor(places.min(0)) - _REACH, 0).astype(int)
            stops = np.minimum(np.ceil(places.max(0)) + _REACH, size).astype(int)
            local = matrix.copy()
            # Centres of pixels lie at 0.5, where an index counts from 0.
            local[:, 2] += matrix[:, :2] @ (left + x + 0.5, top + y + 0.5) - 0.5 - starts
            yield (
                (slice(y, y + h), slice(x, x + w)),
                (slice(starts[1], stops[1]), slice(starts[0], stops[0])),
                local,
            )


def _warp(values: FloatArray, matrix: NDArray[np.float64], size: tuple[int, int]) -> FloatArray:
    """Return interpolated values, shape (h, w, channels); beyond the edges they are repeated."""
    warped: FloatArray = cv2.warpAffine(
        values,
        matrix,
        size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    ).reshape(size[1], size[0], -1)
    return warped


def _round(values: FloatArray, largest: int) -> FloatArray:
    return np.clip(np.rint(values), 0, largest)


def _with_fitting_encoding(photo: Photo, geometry: Geometry) -> Photo:
    """Return a photo that is quantized as its file was, and finer if its blocks are others."""
    options = dict(photo.encoding.options)
    if "qtables" not in options:
        return photo
    left, top, *_ = geometry.crop or (0, 0)
    orientation = _ORIENTATIONS.get(geometry.turn, 1)
    keeps_blocks = (
        not geometry.straighten
        and not (left % tables.BLOCK or top % tables.BLOCK)
        and tables.keeps_blocks(orientation, photo.size)
    )
    turned = [tables.turned_table(table, orientation) for table in options["qtables"]]
    options["qtables"] = turned if keeps_blocks else list(map(tables.finer_table, turned))
    return dataclasses.replace(photo, encoding=Encoding(photo.encoding.format, options))


def _without_places(photo: Photo) -> Photo:
    """Return a photo without what does not fit its new pixels, with warnings.

    Those are crops behind the end of a JPEG, and a GeoTIFF's places on the map.
    """
    metadata = photo.metadata
    if metadata.jpeg_trailer:
        trailers = read_trailers(metadata.jpeg_trailer, 0, is_turned=True)
        metadata = dataclasses.replace(metadata, jpeg_trailer=trailers.kept)
        for text in trailers.dropped:
            metadata = metadata.with_warning(text)
    for tag in exif.read_values(metadata.exif or b"", _GEO_TAGS):
        block = exif.remove_field(metadata.exif or b"", tag)
        metadata = dataclasses.replace(metadata, exif=block)
        metadata = metadata.with_warning("the place on the map (GeoTIFF) is dropped")
    return dataclasses.replace(photo, metadata=metadata)
