"""A photograph in memory: pixels of 8 or 16 bits, what they mean, and what its file says of it."""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import SRGB, ColorSpace, Pixels
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata


@dataclass(frozen=True)
class Encoding:
    """How a photo lay in its file, so that it can be written as well again."""

    format: str = ""
    """Pillow's name of the format."""
    options: dict[str, Any] = field(default_factory=dict)
    """What Pillow is told when it writes this format: quality, compression."""


@final
@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright."""

    pixels: Pixels
    """Shape (H, W, 1), grey, or (H, W, 3); the largest number of their type is white."""
    alpha: Pixels | None = None
    """Opacity, shape (H, W), of the type of `pixels`; None: opaque."""
    space: ColorSpace = SRGB
    """Which colours `pixels` are."""
    metadata: Metadata = field(default_factory=Metadata)
    encoding: Encoding = field(default_factory=Encoding)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @classmethod
    def from_image(cls, image: Image.Image) -> "Photo":
        """Take over the pixels of a picture in any of Pillow's modes with up to 16 bits.

        What its file said besides is left behind, a turn that EXIF asks for as well: `open_photo`
        sees to that.

        Raises:
            PhotoError: If it has no pixels, or more than 16 bits, or a mode that has no way to RGB.
        """
        if 0 in image.size:
            raise PhotoError(f"the picture has no pixels: {image.width}x{image.height}")
        if image.mode == "I" or image.mode.startswith("I;16"):
            return _grey16(image)
        plain = _plain(image)
        pixels = np.asarray(plain)
        if plain.mode in ("LA", "RGBA"):
            return cls(
                np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1])
            )
        return cls(np.atleast_3d(pixels))

    def to_image(self) -> Image.Image:
        """Return the photo as a picture of 8 bits in mode L, LA, RGB or RGBA.

        Its numbers stay as they are: they are sRGB only where `space` is.
        """
        pixels = to_8_bits(self.pixels)
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(to_8_bits(self.alpha)))
        return image


def to_8_bits(values: Pixels) -> NDArray[np.uint8]:
    """Return values of 8 or 16 bits with 8, to the nearest."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture of 8 bits in mode L, LA, RGB or RGBA; the same where nothing has to change.

    Palettes, CMYK and the rest become RGB, transparency of every kind an alpha channel, and 1 bit
    becomes 8.
    """
    mode = image.mode
    if image.has_transparency_data:
        wanted = "LA" if mode in ("1", "L", "LA", "La") else "RGBA"
    else:
        wanted = "L" if mode in ("1", "L") else "RGB"
    if mode == wanted:
        return image
    if mode == "F":
        raise PhotoError("the picture has floating-point pixels; give one with 8 or 16 bits")
    try:
        return image.convert(wanted)
    except ValueError as error:
        raise PhotoError(f"a picture in mode {mode} cannot be read; give RGB or grey") from error


def _grey16(image: Image.Image) -> Photo:
    values: NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise PhotoError("the picture has more than 16 bits for each pixel; give 8 or 16")
    pixels = values.astype(np.uint16)
    clear = image.info.get("transparency")
    alpha = None
    if isinstance(clear, int):  # one value of 65536 stands for "transparent"
        alpha = np.where(pixels == clear, 0, 65535).astype(np.uint16)
    return Photo(pixels[..., None], alpha)
