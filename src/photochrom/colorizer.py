"""From a picture to a coloured picture: its own L*, and the ab that a model guesses."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom import color, photo
from photochrom.color import FloatArray
from photochrom.errors import ModelError
from photochrom.models import ColorModel, OnnxModel, default_model_path

MIN_SIDE = 16
"""No network is fed less than this many px."""
MAX_LONG = 4
"""The long side that a network is fed is at most this many times its short side."""
_EDGE = 50.0  # (L*)^2: a luminance edge well below its root, 7 L*, counts as texture or grain
_RADIUS = 1  # px at network resolution; chosen with _EDGE on photos whose ab was blurred
_STRIP = 1 << 16  # pixels painted at a time: the planes then stay in the processor's cache


class Colorizer:
    """Colorizes pictures; make one and call it for each.

    The picture keeps its own L*, so that no sharpness is lost; only a* and b* are the model's.
    """

    def __init__(self, model: str | Path | ColorModel | None = None) -> None:
        """Load the model.

        Args:
            model: An ONNX file that `photochrom export` wrote, or anything that works like
                `ColorModel`; None: the model that comes with photochrom.

        Raises:
            ModelError: If the file is missing or not a model of ours.
        """
        if model is None:
            model = default_model_path()
        self.model: ColorModel = OnnxModel(model) if isinstance(model, str | Path) else model

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture in colour.

        Args:
            image: A picture in any of Pillow's modes with up to 16 bits; colours that it has are
                ignored, and so is a turn that its EXIF asks for: `open_photo` sees to that.

        Returns:
            A new picture of the same size, mode RGB, or RGBA with the alpha channel of `image`.

        Raises:
            PhotoError: If the picture has no pixels or a mode that cannot be read.
            ModelError: If the model does not return colours.
        """
        plain = photo.to_plain(image)
        alpha = plain.getchannel("A") if plain.mode in ("LA", "RGBA") else None
        channels = 3 if plain.mode in ("RGB", "RGBA") else 1
        pixels = np.atleast_3d(np.asarray(plain))[..., :channels]
        L = np.empty((plain.height, plain.width), np.float32)
        for rows in _strips(plain.height, plain.width):
            L[rows] = color.lightness(pixels[rows])
        colored = Image.fromarray(_paint(L, *_guess(self.model, L)))
        if alpha is not None:
            colored.putalpha(alpha)
        return colored


def network_size(height: int, width: int, short: int) -> tuple[int, int]:
    """Return the height and width in px at which a network sees a photo.

    The short side becomes `short` and the photo keeps its shape, unless that makes the long side
    more than `MAX_LONG * short`: then that is the long side, and the short one gets shorter.
    """
    scale = min(short / min(height, width), MAX_LONG * short / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _strips(height: int, width: int) -> Iterator[slice]:
    """Cut a picture into strips of about `_STRIP` pixels, so that no plane is copied whole."""
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        yield slice(top, top + rows)


def _guess(model: ColorModel, L: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ask the model.

    Args:
        model: The model.
        L: L*, shape (H, W).

    Returns:
        L* of shape (h, w) as the model saw it, and the ab of shape (h, w, 2) that it guessed.

    Raises:
        ModelError: If the model returns another shape, or something that is no number.
    """
    height, width = network_size(L.shape[0], L.shape[1], model.size)
    shrinks = height * width < L.size
    small = cv2.resize(
        L, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    down, right = max(0, MIN_SIDE - height), max(0, MIN_SIDE - width)
    fed = cv2.copyMakeBorder(small, 0, down, 0, right, cv2.BORDER_REFLECT)
    ab = model(fed[None, None])
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
    return small, np.ascontiguousarray(ab[0, :, :height, :width].transpose(1, 2, 0), np.float32)


def _paint(L: FloatArray, small: FloatArray, ab: FloatArray) -> NDArray[np.uint8]:
    """Join a photo's L* and the ab of its small copy.

    Args:
        L: L* of the photo, shape (H, W).
        small: L* of the small copy, shape (h, w).
        ab: a* and b* of the small copy, shape (h, w, 2).

    Returns:
        sRGB, shape (H, W, 3).
    """
    height, width = L.shape
    enlarges = small.size < L.size
    if enlarges:
        lines = _local_lines(small, ab)
    else:
        ab = cv2.resize(ab, (width, height), interpolation=cv2.INTER_AREA)
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in _strips(height, width):
        lab = np.empty((*L[rows].shape, 3), np.float32)
        lab[..., 0] = L[rows]
        if enlarges:
            line = _enlarged(lines, L.shape, rows.start, lab.shape[0])
            np.multiply(line[..., :2], lab[..., :1], out=lab[..., 1:])
            lab[..., 1:] += line[..., 2:]
        else:
            lab[..., 1:] = ab[rows]
        # The cast cuts off, so this rounds to the nearest level.
        rgb[rows] = color.lab_to_rgb(lab) * np.float32(255) + np.float32(0.5)
    return rgb


def _local_lines(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Fit ab = slope * L* + offset around every pixel, so that ab can follow the edges of L*.

    This is the fast guided filter (He and Sun 2015), with one change: the offset is not blurred,
    but such that each line goes through its own pixel. Where L* has no detail beyond the small
    copy, that is bilinear enlarging. The filter as published blurs ab itself: on photos whose ab
    was reduced 2 to 4 times it is further from the truth than bilinear, and this is nearer.

    Args:
        L: Shape (h, w).
        ab: Shape (h, w, 2).

    Returns:
        Shape (h, w, 4): the slopes of a* and b*, then their offsets.
    """
    L = L[..., None]
    mean_L, mean_ab = _box(L), _box(ab)
    covariance = _box(ab * L) - mean_ab * mean_L
    variance = np.maximum(_box(L * L) - mean_L * mean_L, 0)
    slope = _box(np.divide(covariance, variance + np.float32(_EDGE)))
    return np.concatenate([slope, ab - slope * L], axis=-1)


def _box(x: FloatArray) -> FloatArray:
    """Return the mean around every pixel; shape (h, w, C)."""
    side = 2 * _RADIUS + 1
    mean: FloatArray = cv2.blur(x, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean.reshape(x.shape)


def _enlarged(image: FloatArray, shape: tuple[int, ...], top: int, rows: int) -> FloatArray:
    """Enlarge bilinearly, but only some rows of the result.

    Args:
        image: Shape (h, w, C).
        shape: Height and width of the whole result.
        top: The first row wanted.
        rows: How many.

    Returns:
        Shape (rows, W, C): these rows of what `cv2.resize` gives.
    """
    y = (np.arange(top, top + rows, dtype=np.float32) + 0.5) * (len(image) / shape[0]) - 0.5
    y = np.clip(y, 0, len(image) - 1)
    above = y.astype(np.intp)
    below = np.minimum(above + 1, len(image) - 1)
    weight = (y - above).astype(np.float32)[:, None, None]
    lines = image[above] * (1 - weight) + image[below] * weight
    result: FloatArray = cv2.resize(lines, (shape[1], rows), interpolation=cv2.INTER_LINEAR)
    return result
