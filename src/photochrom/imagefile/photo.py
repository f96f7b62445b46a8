"""`Photo`: a photograph in memory."""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom import color
from photochrom.color import SRGB, ColorSpace, Pixels
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata, to_pillow_info

_BAND_ROWS = 256


@dataclass(frozen=True)
class Encoding:
    """How a photo was encoded, so that it can be saved at the same quality."""

    format: str = ""
    """Pillow's name of the format."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of Pillow's `save` for this format."""


@final
@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, upright."""

    pixels: Pixels
    """Shape (H, W, 1), grey, or (H, W, 3), of 8 or 16 bits; the largest value is white."""
    alpha: Pixels | None = None
    """Opacity, shape (H, W), of the type of `pixels`; None: opaque."""
    space: ColorSpace = SRGB
    """Colour space of `pixels`."""
    metadata: Metadata = field(default_factory=Metadata)
    encoding: Encoding = field(default_factory=Encoding)
    orientation: int | None = None
    """Of the file, 1 to 8 as in EXIF, which was applied to the pixels; None: it had none."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file could not be kept, each a phrase."""
        return self.metadata.warnings

    def to_image(self) -> Image.Image:
        """Return an 8-bit image in mode L, LA, RGB or RGBA, without conversion to sRGB.

        Its `info` has the colour profile, EXIF, XMP and resolution.
        """
        pixels = to_8_bits(self.pixels)
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        if self.alpha is not None:
            image.putalpha(Image.fromarray(to_8_bits(self.alpha)))
        image.info.update(to_pillow_info(self.metadata))
        return image

    def to_srgb(self, *, keep_bits: bool = False) -> NDArray[Any]:
        """Return the colours that the photo means in sRGB, shape (H, W, 3), without alpha.

        L* and hue are kept; where sRGB does not contain a colour, its chroma is reduced. The result
        has 8 bits, or with `keep_bits` those of the photo.
        """
        height, width, channels = self.pixels.shape
        if self.space is SRGB:
            values = self.pixels if keep_bits else to_8_bits(self.pixels)
            return values if channels == 3 else np.repeat(values, 3, axis=2)
        srgb = np.empty((height, width, 3), self.pixels.dtype if keep_bits else np.uint8)
        for top in range(0, height, _BAND_ROWS):  # to save memory
            rows = slice(top, top + _BAND_ROWS)
            pixels = self.pixels[rows].reshape(-1, channels)
            Y, y = color.luminance(pixels, self.space)
            a, b = color.scaled_ab(pixels, self.space) if channels == 3 else (0 * y, 0 * y)
            color.encode_pixels(SRGB, y + a, y, y - b, Y, srgb[rows].reshape(-1, 1, 3))
        return srgb


def decode_pixels(image: Image.Image) -> Photo:
    """Return the pixels of a Pillow image in any mode with up to 16 bits, without metadata.

    Raises:
        PhotoError: If it has no pixels, more than 16 bits, or a mode that cannot be converted.
    """
    if 0 in image.size:
        raise PhotoError(f"the image has no pixels: {image.width}x{image.height}")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit_grey(image)
    image = _convert_mode(image)
    pixels = np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        return Photo(np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1]))
    return Photo(np.atleast_3d(pixels))


def to_8_bits(values: Pixels) -> NDArray[np.uint8]:
    """Round values of 8 or 16 bits to 8."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _convert_mode(image: Image.Image) -> Image.Image:
    """Convert to mode L, LA, RGB or RGBA; transparency of every kind becomes alpha."""
    is_grey = image.mode in ("1", "L")
    mode = "L" if is_grey else "RGB"
    if image.has_transparency_data:
        mode = "LA" if is_grey or image.mode in ("LA", "La") else "RGBA"
    if image.mode == mode:
        return image
    if image.mode == "F":
        raise PhotoError("the image has floating-point pixels; give one with 16 bits")
    try:
        return image.convert(mode)
    except ValueError as error:
        raise PhotoError(
            f"an image in mode {image.mode} cannot be converted; give RGB or grey"
        ) from error


def _from_16_bit_grey(image: Image.Image) -> Photo:
    values: NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise PhotoError("the image has more than 16 bits for each pixel; give one with 16")
    pixels = values.astype(np.uint16)
    transparent = image.info.get("transparency")
    alpha = None
    if isinstance(transparent, int):
        alpha = np.where(pixels == transparent, 0, 65535).astype(np.uint16)
    return Photo(pixels[..., None], alpha)
