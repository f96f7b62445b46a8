from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.color import lightness, rgb_to_lab
from photochrom.color.icc import read_profile
from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.photo import Photo, to_8_bits
from photochrom.imagefile.reading import open_photo
from support.icc_profiles import DISPLAY_P3, GREYS, SPACES

PROFILES = SPACES | {"p3": DISPLAY_P3}


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_without_alpha(mode: str, picture: Image.Image):
    image = picture.convert(mode)
    photo = photo_from_image(image)
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
    photo = photo_from_image(image)
    assert photo.pixels.shape[2] == (1 if mode in ("LA", "La") else 3)
    assert photo.to_image().mode == ("LA" if mode in ("LA", "La") else "RGBA")
    if mode != "PA":
        np.testing.assert_array_equal(photo.alpha, alpha)


def test_16_bit_grey_with_a_transparent_value():
    image = Image.fromarray(np.array([[500, 65535]], np.uint16))
    image.info["transparency"] = 500
    photo = photo_from_image(image)
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
        photo_from_image(image)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("adobe", (0, 173, 86)), ("p3", (0, 180, 55)), ("linear", (133, 218, 133))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_srgb_converts_the_colors_of_a_profile(
    name: str, expected: tuple[int, ...], dtype: type[np.uint8 | np.uint16]
):
    scale = np.iinfo(dtype).max // 255
    pixels = np.full((300, 2, 3), np.multiply((60, 180, 60), scale), dtype)
    srgb = Photo(pixels, space=read_profile(PROFILES[name])).to_srgb()
    assert (srgb.shape, srgb.dtype) == ((300, 2, 3), np.uint8)
    assert np.abs(srgb.astype(int) - expected).max() <= 1


def test_to_srgb_keeps_lightness_and_hue(picture: Image.Image):
    photo = Photo(np.asarray(picture), space=read_profile(PROFILES["adobe"]))
    lab = rgb_to_lab(photo.to_srgb() / np.float32(255))
    L = lightness(photo.pixels, photo.space)
    assert np.abs(lab[..., 0] - L).max() < 0.7


def test_to_srgb_keeps_pixels_of_srgb(picture: Image.Image):
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(Photo(pixels).to_srgb(), pixels)
    np.testing.assert_array_equal(Photo(pixels * np.uint16(257)).to_srgb(), pixels)
    grey = Photo(pixels[..., :1].copy()).to_srgb()
    np.testing.assert_array_equal(grey, np.repeat(pixels[..., :1], 3, axis=2))
    wide = Photo(pixels[..., :1].copy(), space=read_profile(GREYS["dot gain"])).to_srgb()
    assert (wide[..., :1] == wide).all()
    assert (wide[..., :1] != pixels[..., :1]).any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_as_the_file_is(orientation: int, picture: Image.Image, tmp_path: Path):
    exif = Image.Exif()
    exif[Tag.Orientation], exif[Tag.Artist] = orientation, "An artist"
    options = {"exif": exif.tobytes(), "icc_profile": PROFILES["adobe"], "dpi": (300, 300)}
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"photo{suffix}"
        picture.save(path, **options)
        expected = open_photo(path)
        with Image.open(path) as image:
            photo = photo_from_image(image)
        np.testing.assert_array_equal(photo.pixels, expected.pixels)
        assert photo.space is expected.space
        assert photo.metadata.exif == expected.metadata.exif
        assert photo.metadata.icc == expected.metadata.icc
        assert photo.orientation == orientation
        again = photo_from_image(photo.to_image())
        np.testing.assert_array_equal(again.pixels, photo.pixels)
        assert (again.space, again.orientation) == (photo.space, 1)
        assert photo.to_image().getexif()[Tag.Artist] == "An artist"


def test_a_rotated_tiff_is_turned_once(picture: Image.Image, tmp_path: Path):
    exif = Image.Exif()
    exif[Tag.Orientation] = 6
    picture.save(tmp_path / "photo.tif", exif=exif, icc_profile=PROFILES["adobe"])
    with Image.open(tmp_path / "photo.tif") as image:
        photo = photo_from_image(image)
    expected = open_photo(tmp_path / "photo.tif")
    np.testing.assert_array_equal(photo.pixels, expected.pixels)
    assert photo.space is expected.space


def test_to_8_bits_rounds():
    values = np.array([0, 128, 129, 257, 65406, 65407, 65535], np.uint16)
    np.testing.assert_array_equal(to_8_bits(values), [0, 0, 1, 1, 254, 255, 255])
    same = np.arange(256, dtype=np.uint8)
    assert to_8_bits(same) is same
