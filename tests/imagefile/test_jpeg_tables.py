"""A JPEG's result has its L*, whatever its orientation, size, quality and colour model."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photochrom.color import lightness
from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import encode_photo
from support.icc_profiles import GREYS


def photo_like(width: int, height: int) -> Image.Image:
    """Return a grey picture with structures of all sizes, as photos have."""
    random = np.random.default_rng(3)
    values = np.zeros((height, width))
    for step in (2, 4, 8, 16, 32):
        noise = random.standard_normal((height // step + 2, width // step + 2))
        layer = Image.fromarray(noise.astype(np.float32)).resize((width, height), 3)
        values += np.asarray(layer) * step
    return Image.fromarray(np.clip(128 + values * 1.2, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, orientation: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    picture.save(buffer, "JPEG", exif=exif.tobytes(), **options)
    return buffer.getvalue()


def difference(data: bytes, colorizer: Colorizer) -> float:
    """Return mean |dL*| between a JPEG and its result."""
    photo = open_photo(BytesIO(data))
    result = open_photo(BytesIO(encode_photo(colorizer(photo, saturation=0.5), ".jpg")))
    return float(np.abs(_lightness(photo) - _lightness(result)).mean())


def _lightness(photo: Photo) -> np.ndarray:
    return lightness(photo.pixels, photo.space)


@pytest.fixture(scope="module")
def colorizer(tiny_onnx: Path) -> Colorizer:
    return Colorizer(tiny_onnx, threads=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(160, 128), (155, 124), (160, 123)], ids=str)
@pytest.mark.parametrize("quality", [10, 50, 75, 92])
def test_turned_jpeg_keeps_lightness(
    orientation: int, size: tuple[int, int], quality: int, colorizer: Colorizer
):
    data = encode(photo_like(*size), orientation, quality=quality)
    assert difference(data, colorizer) < 0.4


@pytest.mark.parametrize("quality", [10, 50, 75])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"keep_rgb": True}),
        ("CMYK", {}),
        ("L", {"icc_profile": GREYS["gamma 2.2"]}),
    ],
    ids=["YCbCr", "RGB", "CMYK", "profile"],
)
def test_jpeg_of_every_color_model_keeps_lightness(
    mode: str, options: dict[str, Any], quality: int, colorizer: Colorizer
):
    data = encode(photo_like(160, 128).convert(mode), quality=quality, **options)
    assert difference(data, colorizer) < 0.4


def tables(data: bytes) -> dict[int, list[int]]:
    with Image.open(BytesIO(data)) as image:
        return image.quantization  # type: ignore[attr-defined, no-any-return]


def test_table_is_that_of_the_first_component_and_turns_with_the_photo():
    own, other = list(range(1, 65)), [9] * 64
    for orientation, expected in ((1, own), (5, np.reshape(own, (8, 8)).T.ravel().tolist())):
        data = encode(photo_like(16, 16).convert("RGB"), orientation, qtables=[own, other])
        # Table 1 first, as an encoder may write them.
        first = data.index(b"\xff\xdb\0\x43\0")
        second = data.index(b"\xff\xdb\0\x43\1")
        assert second == first + 69
        swapped = data[:first] + data[second : second + 69] + data[first:second]
        data = swapped + data[second + 69 :]
        assert tables(encode_photo(open_photo(BytesIO(data)), ".jpg")) == {0: expected}
