import numpy as np
import pytest
from PIL import Image

from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo, to_8_bits


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_without_alpha(mode: str, picture: Image.Image):
    image = picture.convert(mode)
    photo = Photo.from_image(image)
    assert photo.alpha is None
    assert photo.pixels.shape == (48, 64, 1 if mode in ("1", "L") else 3)
    np.testing.assert_array_equal(photo.to_image().convert("RGB"), image.convert("RGB"))


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_modes_with_alpha(mode: str, picture: Image.Image):
    image = picture.convert("RGBA")
    alpha = Image.linear_gradient("L").resize(image.size)
    image.putalpha(alpha)
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert("RGBA")
    if mode in ("LA", "La"):
        image = image.convert("LA")
    if mode in ("La", "RGBa"):
        image = image.convert(mode)
    photo = Photo.from_image(image)
    assert photo.pixels.shape[2] == (1 if mode in ("LA", "La") else 3)
    assert photo.to_image().mode == ("LA" if mode in ("LA", "La") else "RGBA")
    if mode != "PA":
        np.testing.assert_array_equal(photo.alpha, alpha)


def test_16_bit_grey_with_a_transparent_value():
    image = Image.fromarray(np.array([[500, 65535]], np.uint16))
    image.info["transparency"] = 500
    photo = Photo.from_image(image)
    np.testing.assert_array_equal(photo.pixels, [[[500], [65535]]])
    np.testing.assert_array_equal(photo.alpha, [[0, 65535]])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("RGB", (0, 5)), "no pixels"),
        (Image.new("F", (5, 5)), "floating-point"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), "more than 16 bits"),
        (Image.fromarray(np.array([[0, -1]], np.int32)), "more than 16 bits"),
    ],
)
def test_unsupported_images_are_refused(image: Image.Image, message: str):
    with pytest.raises(PhotoError, match=message):
        Photo.from_image(image)


def test_to_8_bits_rounds():
    values = np.array([0, 128, 129, 257, 65406, 65407, 65535], np.uint16)
    np.testing.assert_array_equal(to_8_bits(values), [0, 0, 1, 1, 254, 255, 255])
    same = np.arange(256, dtype=np.uint8)
    assert to_8_bits(same) is same
