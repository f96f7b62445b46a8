"""From a photo to a coloured photo: its own L*, and the ab that a model guesses."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast, overload

import cv2
import numpy as np
from PIL import Image

from photochrom import color
from photochrom.color import FloatArray
from photochrom.colorize import upsampling
from photochrom.colorize.onnx_model import (
    ColorModel,
    HintedModel,
    OnnxModel,
    default_model_path,
    no_hints,
)
from photochrom.colorize.options import MIN_SIDE, check_options
from photochrom.colorize.rendering import Prediction, keeps_colors
from photochrom.errors import ModelError
from photochrom.imagefile.photo import Photo

MAX_LONG = 4
"""The long side that a network is fed is at most this many times its short side."""


class Colorizer:
    """Colorizes photos; make one and call it for each.

    A photo keeps its own L*, so that no sharpness is lost; only a* and b* are the model's.
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
            model: An ONNX file that `photochrom export` wrote, or anything that works like
                `ColorModel`; None: the model that comes with photochrom.
            device: What an ONNX file runs on: a key of `photochrom.colorize.onnx_model.DEVICES`, or
                `auto`.
            threads: How many to work with; None: one for each core.

        Raises:
            ModelError: If the file is missing or not a model of ours, or the device not there.
        """
        if model is None:
            model = default_model_path()
        if isinstance(model, str | Path):
            model = OnnxModel(model, device=device, threads=threads)
        self.model: ColorModel = model
        self._pool = None if threads == 1 else ThreadPoolExecutor(threads or os.cpu_count())

    @overload
    def __call__(
        self,
        photo: Photo,
        *,
        saturation: float = ...,
        strength: float = ...,
        size: int | None = ...,
        mark: bool = ...,
    ) -> Photo: ...
    @overload
    def __call__(
        self,
        photo: Image.Image,
        *,
        saturation: float = ...,
        strength: float = ...,
        size: int | None = ...,
        mark: bool = ...,
    ) -> Image.Image: ...
    def __call__(
        self,
        photo: Photo | Image.Image,
        *,
        saturation: float = 1.0,
        strength: float = 1.0,
        size: int | None = None,
        mark: bool = True,
    ) -> Photo | Image.Image:
        """Return the photo in colour.

        Args:
            photo: A photo, or a picture in any of Pillow's modes with up to 16 bits, of which the
                turn that its EXIF asks for is ignored: `open_photo` sees to that.
            saturation: A factor on the new colours, 0 to 4.
            strength: From 0, the photo's own colours, to 1, new ones alone.
            size: Short side in px at which the network sees the photo; None: the model's own.
            mark: Whether the metadata are to say that colours were added, if any were.

        Returns:
            Of a photo, one of the same size, bits, alpha and metadata, in its own space, or in
            sRGB if that has no colours. Of a picture, one of 8 bits in mode RGB or RGBA.

        Raises:
            PhotoError: If the picture has no pixels or a mode that cannot be read.
            PhotochromError: If a number is not allowed.
            ModelError: If the model does not return colours.
        """
        if isinstance(photo, Image.Image):
            picture = Photo.from_image(photo)
            return self(picture, saturation=saturation, strength=strength, size=size).to_image()
        check_options(saturation=saturation, strength=strength, size=size)
        if keeps_colors(photo, strength):
            return dataclasses.replace(photo, pixels=photo.pixels.copy())
        prediction = self.predict(photo, size=size)
        return prediction.render(
            saturation=saturation, strength=strength, mark=mark, pool=self._pool
        )

    def predict(
        self,
        photo: Photo,
        *,
        size: int | None = None,
        ab: FloatArray | None = None,
        hints: FloatArray | None = None,
    ) -> Prediction:
        """Ask the model once, so that the photo can then be painted as often as one likes.

        Args:
            photo: A photo.
            size: As above.
            ab: What is to stand for the model's answer to `seen`, shape (2, h, w); None: ask it.
            hints: Colours of `seen` that are known, shape (3, h, w), as of `guess`.

        Raises:
            PhotochromError: If the size is not allowed.
            ModelError: If the model does not return colours, or takes no hints and is given some.
        """
        L, small = self._copies(photo, size)
        if ab is None:
            ab = self.predict_ab(small, hints)
        width, height = photo.size
        if small.size < height * width:
            lines = upsampling.lines(L, ab)
        else:
            a, b = (cv2.resize(plane, photo.size, interpolation=cv2.INTER_AREA) for plane in ab)
            lines = np.stack([np.zeros_like(a), np.zeros_like(a), a, b])
        return Prediction(photo, lines, self.model.name)

    def network_input(self, photo: Photo, *, size: int | None = None) -> FloatArray:
        """Return L* of the small copy that the model is asked about, shape (h, w).

        Raises:
            PhotochromError: If the size is not allowed.
        """
        return self._copies(photo, size)[1]

    def predict_ab(self, seen: FloatArray, hints: FloatArray | None = None) -> FloatArray:
        """Ask the model about a small copy as `seen` returns it; the answer has shape (2, h, w).

        Args:
            seen: L*, shape (h, w).
            hints: Colours that are known, shape (3, h, w): a*, b* and a mask, as of
                `photochrom.colorize.onnx_model.HintedModel`; None: none are.

        Raises:
            ModelError: If the model does not return colours, or takes no hints and is given some.
        """
        return _guess(self.model, seen, hints)

    def _copies(self, photo: Photo, size: int | None) -> tuple[FloatArray, FloatArray]:
        """Return L* of the middle and of the small copy of a photo."""
        check_options(size=size)
        width, height = photo.size
        h, w = network_size(height, width, size or self.model.size)
        zoom = max(1, min(upsampling.ZOOM, height // h, width // w))
        L = _lightness(photo, zoom * h, zoom * w)
        return L, cv2.resize(L, (w, h), interpolation=cv2.INTER_AREA)


def network_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return the height and width in px at which a network sees a photo.

    The short side becomes `short` and the photo keeps its shape, unless that makes the long side
    more than `MAX_LONG * short`: then that is the long side, and the short one gets shorter.
    """
    scale = min(short / min(height, width), MAX_LONG * short / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _lightness(photo: Photo, height: int, width: int) -> FloatArray:
    """Return L* of a copy of a photo, shape (height, width), shrunk as photos of training were."""
    copy = photo.pixels
    while len(copy) >= 4 * height and not copy.shape[0] % 2 and not copy.shape[1] % 2:
        # Halving costs little, and leaves a quarter to what costs more.
        copy = cv2.resize(copy, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    shrinks = height * width < copy.shape[0] * copy.shape[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    copy = cv2.resize(copy, (width, height), interpolation=way)
    return color.lightness(copy.reshape(height, width, -1), photo.space)


def _guess(model: ColorModel, small: FloatArray, hints: FloatArray | None) -> FloatArray:
    """Ask the model.

    Args:
        model: The model.
        small: L* of the small copy, shape (h, w).
        hints: Of the small copy, shape (3, h, w), or None.

    Returns:
        The ab that it guessed, shape (2, h, w).

    Raises:
        ModelError: If the model returns another shape, or something that is no number, or takes no
            hints and is given some.
    """
    height, width = small.shape
    down, right = max(0, MIN_SIDE - height), max(0, MIN_SIDE - width)
    fed = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT)
    if hints is None:
        ab = model(fed[None, None])
    else:
        if not getattr(model, "takes_hints", False):
            raise ModelError(no_hints(model.name))
        edges = [(0, 0), (0, down), (0, right)]
        known = np.pad(hints, edges, "symmetric")  # as the photo is
        ab = cast(HintedModel, model)(fed[None, None], known[None])
    if ab.shape != (1, 2, *fed.shape):
        raise ModelError(
            f"model {model.name} returned an array of shape {ab.shape} where (1, 2, "
            f"{fed.shape[0]}, {fed.shape[1]}) has to be; use another model"
        )
    if not np.isfinite(ab).all():
        raise ModelError(
            f"model {model.name} returned values that are no numbers for this photo; use another "
            "model"
        )
    return np.ascontiguousarray(ab[0, :, :height, :width], np.float32)
