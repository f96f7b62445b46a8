"""`Colorizer`: a photo's own L* with the ab that a model predicts."""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from PIL import Image

from photochrom import color
from photochrom.color import ColorSpace, FloatArray, Pixels
from photochrom.colorize import upsampling
from photochrom.colorize.hinting import draw_hints, no_original_error, propagate_hints
from photochrom.colorize.hints import Hint, PlacedHint, check_hints, place_hints
from photochrom.colorize.onnx_model import (
    ColorModel,
    OnnxModel,
    default_model_path,
    no_hints_error,
)
from photochrom.colorize.options import MIN_SIDE, check_options
from photochrom.colorize.rendering import Prediction, keeps_colors
from photochrom.cores import count_cores
from photochrom.errors import ModelError, PhotochromError
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.geometry import Geometry, Rectangle
from photochrom.imagefile.photo import Photo

MAX_ASPECT_RATIO = 4
"""Of a network's input."""


_PhotoOrImage = TypeVar("_PhotoOrImage", Photo, Image.Image)


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """What predicting needs of a photo that was turned, straightened and cropped."""

    size: tuple[int, int]
    """Width and height in px of the photo."""
    L: FloatArray
    """L* for upsampling, shape (zoom * h, zoom * w)."""
    small_L: FloatArray
    """L* for the network, shape (h, w)."""
    unhinted_ab: FloatArray
    """The model's ab without hints, shape (2, h, w)."""
    own_ab: FloatArray | None = None
    """The photo's own ab, shape (2, h, w); None: a photo of one channel."""

    def ab(self, coefficients: FloatArray) -> FloatArray:
        """Return ab of a `Prediction` for this photo, shape (2, H, W)."""
        height, width = coefficients.shape[1:]
        L = cv2.resize(self.L, (width, height), interpolation=cv2.INTER_AREA)
        ab: FloatArray = coefficients[:2] * L + coefficients[2:]
        return ab


class Colorizer:
    """Colorizes photos with one model.

    A photo keeps its own L* and so its sharpness; only a* and b* come from the model.
    """

    def __init__(
        self,
        model: str | Path | ColorModel | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: An ONNX file that `photochrom export` wrote, or any `ColorModel`; None: the
                default model.
            device: To run an ONNX file on: a key of `photochrom.colorize.onnx_model.DEVICES`, or
                `auto`.
            threads: Number of threads; None: one for each core.

        Raises:
            PhotochromError: If `threads` is less than 1.
            ModelError: If the file is missing or not a photochrom model, or the device is not
                available.
        """
        if threads is not None and threads < 1:
            raise PhotochromError(
                f"threads is {threads}; it has to be at least 1, or None for one per core"
            )
        if model is None:
            model = default_model_path()
        if isinstance(model, str | Path):
            model = OnnxModel(model, device=device, threads=threads)
        self.model: ColorModel = model
        self._pool = None if threads == 1 else ThreadPoolExecutor(threads or count_cores())

    def __call__(
        self,
        photo: _PhotoOrImage,
        *,
        hints: Sequence[Hint] = (),
        saturation: float = 1.0,
        strength: float = 1.0,
        size: int | None = None,
        mark: bool = True,
        turn: int = 0,
        straighten: float = 0.0,
        crop: Rectangle | None = None,
    ) -> _PhotoOrImage:
        """Return the photo in colour.

        It is turned, straightened and cropped first, in this order.

        Args:
            photo: A photo, or a Pillow image in any mode with up to 16 bits, which becomes one by
                `photo_from_image`.
            hints: Known colours of places in the upright photo. Those that are cropped away have
                no effect.
            saturation: A factor on the new colours, 0 to 4.
            strength: From 0, the photo's own colours, to 1, new ones alone.
            size: Short side in px of the network's input; None: the model's own.
            mark: Whether to record in the metadata that colours were added.
            turn: Degrees clockwise: 0, 90, 180 or 270.
            straighten: Degrees clockwise, -45 to 45, around the centre of the turned photo.
            crop: Left, top, width and height in px of the turned and straightened photo; None: all
                of it, without the corners that straightening leaves empty. `Geometry` says more.

        Returns:
            For a photo, one of the same bits, alpha, metadata and colour space; a grey space
            becomes sRGB. For an image, one of 8 bits in mode RGB or RGBA, upright, with colour
            profile, EXIF, XMP and resolution in its `info`.

        Raises:
            PhotoError: If the image has no pixels or a mode that cannot be read.
            PhotochromError: If an option is out of range, the crop reaches out of the photo, or a
                hint lies outside of it or asks for the own colour of a photo that has none.
            ModelError: If the model's output is invalid, or it takes no hints and some are given.
        """
        if isinstance(photo, Image.Image):
            output = self(
                photo_from_image(photo),
                hints=hints,
                saturation=saturation,
                strength=strength,
                size=size,
                mark=mark,
                turn=turn,
                straighten=straighten,
                crop=crop,
            )
            return output.to_image()
        check_options(saturation=saturation, strength=strength, size=size)
        geometry = Geometry(turn, straighten, crop)
        hints = check_hints(hints, photo.size)
        self._check_takes(hints)
        if any(hint.color == "original" for hint in hints) and photo.pixels.shape[2] == 1:
            raise no_original_error()
        placed = place_hints(hints, photo.size, geometry)
        photo = geometry.apply(photo)
        if keeps_colors(photo, strength):
            return dataclasses.replace(photo, pixels=photo.pixels.copy())
        prediction = self.predict(photo, size=size, hints=placed)
        return prediction.render(
            saturation=saturation, strength=strength, mark=mark, pool=self._pool
        )

    def predict(
        self,
        photo: Photo,
        *,
        size: int | None = None,
        ab: FloatArray | None = None,
        hints: Sequence[PlacedHint] = (),
        prepared: PreparedPhoto | None = None,
    ) -> Prediction:
        """Run the model, for any number of renderings.

        Args:
            photo: A photo, turned, straightened and cropped already.
            size: As of `__call__`.
            ab: Used in place of the model's output for `network_input`, shape (2, h, w).
            hints: From `place_hints`; not with `ab`.
            prepared: From `prepare`, for this photo or a larger copy; `size` is the one it was
                prepared for.

        Raises:
            PhotochromError: If the size is out of range, or a hint asks for the own colour of a
                photo that has none.
            ModelError: As `predict_ab`.
        """
        self._check_takes(hints)
        if prepared is None and hints:
            prepared = self.prepare(photo, size=size)
        if prepared is None:
            (width, height), (L, small_L) = photo.size, self._lightness_copies(photo, size)
            ab = self.predict_ab(small_L) if ab is None else ab
        else:
            (width, height), L, small_L = prepared.size, prepared.L, prepared.small_L
            if ab is None:
                space = color.SRGB if photo.space.matrix is None else photo.space
                own, unhinted_ab = prepared.own_ab, prepared.unhinted_ab
                ab = self.predict_with_hints(
                    small_L, hints, unhinted_ab=unhinted_ab, own_ab=own, space=space
                )
        if small_L.size < height * width:
            coefficients = upsampling.fit_lines(L, ab)
        else:
            ab = upsampling.resize_planes(ab, *photo.size)
            coefficients = np.concatenate([np.zeros_like(ab), ab])
        return Prediction(photo, coefficients, self.model.name, len(hints))

    def prepare(self, photo: Photo, *, size: int | None = None) -> PreparedPhoto:
        """Run the model without hints, and return what `predict` needs for any.

        New hints then need no decoding, and `predict` without hints no network.

        Args:
            photo: A photo, turned, straightened and cropped already.
            size: As of `__call__`.

        Raises:
            PhotochromError: If the size is out of range.
            ModelError: As `predict_ab`.
        """
        L, small_L = self._lightness_copies(photo, size)
        own_ab = None
        if photo.pixels.shape[2] == 3:
            own_ab = resize_ab(photo, *small_L.shape)
        return PreparedPhoto(photo.size, L, small_L, self.predict_ab(small_L), own_ab)

    def predict_with_hints(
        self,
        L: FloatArray,
        hints: Sequence[PlacedHint],
        *,
        unhinted_ab: FloatArray | None = None,
        own_ab: FloatArray | None = None,
        space: ColorSpace = color.SRGB,
    ) -> FloatArray:
        """Run the model on the output of `network_input`, so that hints have their colours.

        Args:
            L: L*, shape (h, w).
            hints: From `place_hints`.
            unhinted_ab: The model's ab without hints, shape (2, h, w); None: it is computed.
            own_ab: The photo's own ab, shape (2, h, w), if it has any.
            space: Of the photo in colour.

        Returns:
            a* and b*, shape (2, h, w).

        Raises:
            PhotochromError: If a hint asks for the own colour of a photo that has none.
            ModelError: As `predict_ab`.
        """
        unhinted_ab = self.predict_ab(L) if unhinted_ab is None else unhinted_ab
        if not hints:
            return unhinted_ab
        drawn = draw_hints(hints, L, own_ab, space)
        return propagate_hints(L, unhinted_ab, self.predict_ab(L, drawn.known), drawn)

    def network_input(self, photo: Photo, *, size: int | None = None) -> FloatArray:
        """Return L* of a photo at the size that the model sees, shape (h, w).

        Raises:
            PhotochromError: If the size is out of range.
        """
        return self._lightness_copies(photo, size)[1]

    def input_size(
        self, size_of_photo: tuple[int, int], *, size: int | None = None
    ) -> tuple[int, int]:
        """Return height and width in px of `network_input`, given width and height of a photo."""
        width, height = size_of_photo
        return network_size(height, width, size or self.model.size)

    def predict_ab(self, L: FloatArray, hints: FloatArray | None = None) -> FloatArray:
        """Run the model on the output of `network_input`.

        Args:
            L: L*, shape (h, w).
            hints: Known colours, shape (3, h, w): a*, b* and a mask, as of `ColorModel`.

        Returns:
            a* and b*, shape (2, h, w).

        Raises:
            ModelError: If the output has a wrong shape or is not finite, or the model takes no
                hints and some are given.
        """
        height, width = L.shape
        bottom, right = max(0, MIN_SIDE - height), max(0, MIN_SIDE - width)
        padded = cv2.copyMakeBorder(L, 0, bottom, 0, right, cv2.BORDER_REFLECT)
        if hints is None:
            ab = self.model(padded[None, None])
        else:
            self._check_takes(hints)
            hints = np.pad(hints, [(0, 0), (0, bottom), (0, right)], "symmetric")  # as L*
            ab = cast(Any, self.model)(padded[None, None], hints[None])
        if ab.shape != (1, 2, *padded.shape):
            raise ModelError(
                f"model {self.model.name} returned an array of shape {ab.shape} where (1, 2, "
                f"{padded.shape[0]}, {padded.shape[1]}) has to be; use another model"
            )
        if not np.isfinite(ab).all():
            raise ModelError(
                f"model {self.model.name} returned NaN or infinity for this photo; use another "
                "model"
            )
        return np.ascontiguousarray(ab[0, :, :height, :width], np.float32)

    @property
    def takes_hints(self) -> bool:
        """Whether the model takes hints."""
        return getattr(self.model, "takes_hints", False)

    def _check_takes(self, hints: Sequence[Any] | FloatArray) -> None:
        if len(hints) and not self.takes_hints:
            raise no_hints_error(self.model.name)

    def _lightness_copies(self, photo: Photo, size: int | None) -> tuple[FloatArray, FloatArray]:
        """Return L* of a photo for upsampling and, up to `ZOOM` times smaller, for the network."""
        check_options(size=size)
        width, height = photo.size
        h, w = self.input_size(photo.size, size=size)
        zoom = max(1, min(upsampling.ZOOM, height // h, width // w))
        L = resize_lightness(photo, zoom * h, zoom * w)
        return L, cv2.resize(L, (w, h), interpolation=cv2.INTER_AREA)


def network_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return height and width in px of a network's input for a photo.

    The aspect ratio is kept. Beyond `MAX_ASPECT_RATIO` the long side is limited, and the short side
    becomes smaller than `short_side`.
    """
    scale = min(short_side / min(height, width), MAX_ASPECT_RATIO * short_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_lightness(photo: Photo, height: int, width: int) -> FloatArray:
    """Return L* of a resized photo, shape (height, width)."""
    pixels = _resize_pixels(photo, height, width)
    return color.lightness(pixels.reshape(height, width, -1), photo.space)


def resize_ab(photo: Photo, height: int, width: int) -> FloatArray:
    """Return a* and b* of a resized photo in colour, shape (2, height, width)."""
    pixels = _resize_pixels(photo, height, width).reshape(-1, 3)
    a, b = color.scaled_ab(pixels, photo.space)
    ab = np.stack([a * np.float32(500), b * np.float32(200)])
    return ab.reshape(2, height, width)


def _resize_pixels(photo: Photo, height: int, width: int) -> Pixels:
    """Return pixels of a photo, shape (height, width, ...), resized as training photos were."""
    pixels = photo.pixels
    while len(pixels) >= 4 * height and not pixels.shape[0] % 2 and not pixels.shape[1] % 2:
        # Halving is cheap, and leaves a quarter of the pixels for the resize below.
        pixels = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    shrinks = height * width < pixels.shape[0] * pixels.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(pixels, (width, height), interpolation=interpolation)
    return resized
