"""Rendering of a colour photo from its own L* and a predicted ab."""

import dataclasses
from concurrent.futures import Executor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import ColorSpace, FloatArray, Pixels, icc
from photochrom.imagefile.geometry import Rectangle
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo, to_8_bits
from photochrom.version import __version__

_STRIP_SIZE = 48_000  # pixels; a strip's planes then fit the processor's cache
_ROWS = 8
"""That are interpolated at once. Of more, most weights are 0, and OpenBLAS takes several threads,
which wait for each other in busy loops."""
_MARK = "colours added by photochrom {version}, model {model}: guesses, not the photograph's own"


@dataclass(frozen=True, eq=False)
class Prediction:
    """A photo and the ab that a model predicted, which can be rendered with any options."""

    photo: Photo
    coefficients: FloatArray
    """From `upsampling.fit_lines`, shape (4, h, w), at saturation 1."""
    model_name: str
    hint_count: int = 0
    """Number of hints that the colours follow."""
    reference_count: int = 0
    """Number of frames in colour that they follow, of a video."""

    def render(
        self,
        *,
        saturation: float = 1.0,
        strength: float = 1.0,
        mark: bool = True,
        region: Rectangle | None = None,
        pool: Executor | None = None,
    ) -> Photo:
        """Return the photo in colour, on a pool of threads or the calling thread.

        The options are those of `Colorizer.__call__`. With a region, only this part is rendered,
        as it would be in the whole photo, but for rounding.
        """
        photo = self.photo if region is None else crop(self.photo, region)
        if keeps_colors(photo, strength):
            return dataclasses.replace(photo, pixels=photo.pixels.copy())
        metadata, space = photo.metadata, photo.space
        if space.matrix is None:
            space, metadata = color.SRGB, metadata.with_profile(icc.srgb_profile())
        if mark and saturation * strength > 0:
            mark_text = format_mark(
                self.model_name, hints=self.hint_count, references=self.reference_count
            )
            metadata = metadata.with_mark(mark_text)
        coefficients = self.coefficients * np.float32(saturation * strength)
        left, top = region[:2] if region else (0, 0)
        part = _Part(left, top, *self.photo.size)
        pixels = _render_pixels(photo, part, space, coefficients, 1 - strength, pool)
        return dataclasses.replace(photo, pixels=pixels, space=space, metadata=metadata)

    def downscale(self, max_side: int) -> "Prediction":
        """Return the prediction for a copy as of `downscale`."""
        return dataclasses.replace(self, photo=downscale(self.photo, max_side))


def format_mark(model_name: str, *, hints: int = 0, references: int = 0) -> str:
    """Return the text that says where colours come from.

    Args:
        model_name: Of the model that predicted them.
        hints: Number of hints that they follow.
        references: Number of frames in colour that they follow, of a video.
    """
    text = _MARK.format(version=__version__, model=model_name)
    if not hints and not references:
        return text
    given = [
        f"{word} {count} {noun}{'' if count == 1 else 's'}"
        for word, count, noun in (("at", hints, "place"), ("of", references, "frame"))
        if count
    ]
    colors = "colour" if (hints, references) == (1, 0) else "colours"
    return f"{text}; a person gave the {colors} {' and '.join(given)}"


@dataclass(frozen=True)
class _Part:
    """Where the pixels that are rendered lie in the whole photo, and its size; all in px."""

    left: int
    top: int
    whole_width: int
    whole_height: int


def crop(photo: Photo, region: Rectangle) -> Photo:
    """Return a part of a photo, without metadata."""
    left, top, width, height = region
    part = slice(top, top + height), slice(left, left + width)
    return dataclasses.replace(
        photo,
        pixels=photo.pixels[part].copy(),
        alpha=None if photo.alpha is None else photo.alpha[part].copy(),
        metadata=Metadata(icc=photo.metadata.icc),
    )


def downscale(photo: Photo, max_side: int) -> Photo:
    """Return a copy of 8 bits, without metadata, to show on a screen; it is fast to encode.

    Its long side has at most `max_side` px.
    """
    width, height = photo.size
    scale = min(1.0, max_side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def shrink(values: Pixels) -> NDArray[np.uint8]:
        return to_8_bits(cv2.resize(values, size, interpolation=cv2.INTER_AREA))

    alpha = photo.alpha
    opaque = alpha is None or bool((alpha == np.iinfo(alpha.dtype).max).all())
    return Photo(
        shrink(photo.pixels).reshape(size[1], size[0], -1),
        None if opaque or alpha is None else shrink(alpha),
        photo.space,
        Metadata(icc=photo.metadata.icc),
        Encoding("JPEG", {"quality": 90}) if opaque else Encoding("PNG", {"compress_level": 1}),
    )


def keeps_colors(photo: Photo, strength: float) -> bool:
    """Tell whether pixels stay as they are; going through CIELAB would round blacks."""
    return strength == 0 and photo.pixels.shape[2] == 3


def _render_pixels(
    photo: Photo,
    part: _Part,
    space: ColorSpace,
    coefficients: FloatArray,
    original_share: float,
    pool: Executor | None,
) -> Pixels:
    """Return pixels in `space`, shape (H, W, 3), with a photo's L* and ab = slope * L* + offset.

    `original_share` of the photo's own ab is added.
    """
    pixels = photo.pixels
    height, width = pixels.shape[:2]
    output = np.empty((height, width, 3), pixels.dtype)
    # From a* = slope L* + offset to x = slope y + offset, with y = (L* + 16) / 116.
    slope, offset = np.split(coefficients, 2)
    unit = np.array([1 / 500, -1 / 200], np.float32)[:, None, None]
    planes = np.concatenate([slope * 116 * unit + 1, (offset - 16 * slope) * unit])
    count, h, w = planes.shape
    # Bilinear, horizontally only: rows are interpolated strip by strip.
    if width == part.whole_width:
        wide = cv2.resize(planes.reshape(-1, w), (width, count * h)).reshape(count, h, width)
    else:
        wide = _enlarge_columns(planes, part, width)

    def render_rows(rows: slice) -> None:
        strip = pixels[rows].reshape(-1, pixels.shape[2])
        Y, y = color.luminance(strip, photo.space)
        shifted = slice(part.top + rows.start, part.top + rows.stop)
        x, z, x_offset, z_offset = _interpolate_rows(wide, part.whole_height, shifted)
        x *= y
        x += x_offset
        z *= y
        z += z_offset
        if original_share and strip.shape[1] == 3:
            a, b = color.scaled_ab(strip, photo.space)
            x += a * np.float32(original_share)
            z -= b * np.float32(original_share)
        color.encode_pixels(space, x, y, z, Y, output[rows].reshape(-1, 1, 3))

    step = max(1, _STRIP_SIZE // width)
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    for _ in map(render_rows, strips) if pool is None else pool.map(render_rows, strips):
        pass
    return output


def _enlarge_columns(planes: FloatArray, part: _Part, width: int) -> FloatArray:
    """Enlarge planes, shape (C, h, w), horizontally to the whole photo; return `width` columns.

    They equal those of `cv2.resize`, bilinear, but for rounding.
    """
    w = planes.shape[2]
    columns = np.arange(part.left, part.left + width, dtype=np.float32)
    place = np.clip((columns + 0.5) * (w / part.whole_width) - 0.5, 0, w - 1)
    first = place.astype(np.intp)
    share = (place - first).astype(np.float32)
    enlarged: FloatArray = planes[:, :, first] * (1 - share)
    enlarged += planes[:, :, np.minimum(first + 1, w - 1)] * share
    return enlarged


def _interpolate_rows(planes: FloatArray, height: int, rows: slice) -> FloatArray:
    """Enlarge planes, shape (C, h, W), to `height` rows and return n of them, shape (C, n * W).

    They equal those of `cv2.resize`, bilinear, but for rounding.
    """
    h, width = planes.shape[1:]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * (h / height) - 0.5
    y = np.clip(y, 0, h - 1)[:, None]
    result = np.empty((len(planes), len(y), width), np.float32)
    for top in range(0, len(y), _ROWS):
        part = y[top : top + _ROWS]
        source = slice(int(part[0, 0]), int(part[-1, 0]) + 2)
        weights = np.maximum(0, 1 - np.abs(part - np.arange(h, dtype=np.float32)[source]))
        np.matmul(weights, planes[:, source], out=result[:, top : top + _ROWS])
    return result.reshape(len(planes), -1)
