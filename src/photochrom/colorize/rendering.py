"""A photo whose colours are guessed, to be painted as often as one likes."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import ColorSpace, FloatArray, Pixels, icc
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo, to_8_bits
from photochrom.version import __version__

_STRIP = 48_000  # pixels painted at a time: the planes then stay in the processor's cache
_MARK = "colours added by photochrom {version}, model {model}: guesses, not the photograph's own"


@dataclass(frozen=True, eq=False)
class Prediction:
    """A photo, and what a model said of its colours."""

    photo: Photo
    lines: FloatArray
    """From `enlarging.lines`, shape (4, h, w), at saturation 1."""
    model: str
    """The model's name."""

    def render(
        self,
        *,
        saturation: float = 1.0,
        strength: float = 1.0,
        mark: bool = True,
        pool: Executor | None = None,
    ) -> Photo:
        """Return the photo in colour; the arguments are those of `Colorizer.__call__`.

        Args:
            saturation: A factor on the new colours, 0 to 4.
            strength: From 0, the photo's own colours, to 1, new ones alone.
            mark: Whether the metadata are to say that colours were added, if any were.
            pool: Threads to work on; None: this one.
        """
        photo = self.photo
        if keeps_colors(photo, strength):
            return dataclasses.replace(photo, pixels=photo.pixels.copy())
        kept, space = photo.metadata, photo.space
        if space.matrix is None:
            space, kept = color.SRGB, kept.with_profile(icc.srgb_profile())
        if mark and saturation * strength > 0:
            kept = kept.marked(_MARK.format(version=__version__, model=self.model))
        lines = self.lines * np.float32(saturation * strength)
        pixels = _painted(photo, space, lines, 1 - strength, pool)
        return dataclasses.replace(photo, pixels=pixels, space=space, metadata=kept)

    def downscale(self, longest: int) -> "Prediction":
        """Return the same of a copy to look at, of 8 bits, without what its file says.

        Args:
            longest: Its long side in px, at most.
        """
        photo = self.photo
        width, height = photo.size
        scale = min(1.0, longest / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))

        def shrunk(values: Pixels) -> NDArray[np.uint8]:
            return to_8_bits(cv2.resize(values, size, interpolation=cv2.INTER_AREA))

        alpha = photo.alpha
        opaque = alpha is None or bool((alpha == np.iinfo(alpha.dtype).max).all())
        copy = Photo(
            shrunk(photo.pixels).reshape(size[1], size[0], -1),
            None if opaque or alpha is None else shrunk(alpha),
            photo.space,
            Metadata(icc=photo.metadata.icc),
            # What is fast, and good enough to look at.
            Encoding("JPEG", {"quality": 90}) if opaque else Encoding("PNG", {"compress_level": 1}),
        )
        return dataclasses.replace(self, photo=copy)


def keeps_colors(photo: Photo, strength: float) -> bool:
    """Tell whether a photo keeps its own colours: then Lab, where blacks lose digits, is spared."""
    return strength == 0 and photo.pixels.shape[2] == 3


def _painted(
    photo: Photo, space: ColorSpace, lines: FloatArray, own: float, pool: Executor | None
) -> Pixels:
    """Join a photo's L* and the ab of a smaller copy.

    Args:
        photo: The photo.
        space: Of the result.
        lines: As `enlarging.lines` returns them.
        own: The share of the photo's own colours, 0 to 1.
        pool: Threads to work on; None: this one.

    Returns:
        Pixels of the result, shape (H, W, 3).
    """
    pixels = photo.pixels
    height, width = pixels.shape[:2]
    painted = np.empty((height, width, 3), pixels.dtype)
    # From a* = slope L* + offset to x = slope y + offset, with y = (L* + 16) / 116.
    slope, offset = np.split(lines, 2)
    unit = np.array([1 / 500, -1 / 200], np.float32)[:, None, None]
    fields = np.concatenate([slope * 116 * unit + 1, (offset - 16 * slope) * unit])
    count, h, w = fields.shape
    wide = cv2.resize(fields.reshape(-1, w), (width, count * h))  # across alone: bilinearly
    wide = wide.reshape(count, h, width)

    def fill(rows: slice) -> None:
        strip = pixels[rows].reshape(-1, pixels.shape[2])
        Y, y = color.luminance(strip, photo.space)
        x, z, x_offset, z_offset = _enlarged(wide, height, rows)
        x *= y
        x += x_offset
        z *= y
        z += z_offset
        if own and strip.shape[1] == 3:
            a, b = color.scaled_ab(strip, photo.space)
            x += a * np.float32(own)
            z -= b * np.float32(own)
        color.encode_pixels(space, x, y, z, Y, painted[rows].reshape(-1, 1, 3))

    _on_all(fill, painted.shape, pool)
    return painted


def _on_all(work: Callable[[slice], None], shape: tuple[int, ...], pool: Executor | None) -> None:
    """Do something with all rows of a picture, in strips that fit the processor's cache."""
    rows = max(1, _STRIP // shape[1])
    strips = [slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows)]
    for _ in map(work, strips) if pool is None else pool.map(work, strips):
        pass


def _enlarged(wide: FloatArray, height: int, rows: slice) -> FloatArray:
    """Enlarge downwards, bilinearly, but only some rows of the result.

    Args:
        wide: Shape (C, h, W).
        height: Of the whole result.
        rows: The rows wanted, n of them.

    Returns:
        Shape (C, n * W): these rows of what `cv2.resize` gives.
    """
    h = wide.shape[1]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * (h / height) - 0.5
    y = np.clip(y, 0, h - 1)[:, None]
    near = slice(int(y[0, 0]), int(y[-1, 0]) + 2)
    weights = np.maximum(0, 1 - np.abs(y - np.arange(h, dtype=np.float32)[near]))
    result: FloatArray = weights @ wide[:, near]
    return result.reshape(len(wide), -1)
