from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from photochrom import color
from photochrom.color import SRGB, icc, lab
from photochrom.color.icc import ProfileError
from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.photo import Photo
from support.icc_profiles import (
    ADOBE,
    GREYS,
    SPACES,
    SRGB_COLUMNS,
    SRGB_CURVE,
    curve,
    gamma,
    grey,
    parametric,
    profile,
    rgb,
    to_lab,
)

POINTS = np.linspace(0, 65535, 1024).round().astype(int)


def test_srgb_is_srgb():
    for block in (
        icc.srgb_profile(),
        rgb(SRGB_COLUMNS, SRGB_CURVE),
        rgb(SRGB_COLUMNS, curve(*(round(65535 * float(v)) for v in SRGB.curves[0][POINTS]))),
    ):
        assert icc.read(block) is SRGB
    assert icc.srgb_profile() == icc.srgb_profile()


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_what_littlecms_makes_of_it(name: str):
    space = icc.read(SPACES[name])
    assert space.matrix is not None
    numbers = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = np.asarray(icc.to_srgb(Image.fromarray(numbers), SPACES[name]))
    linear = space.matrix @ color.to_linear(numbers.reshape(-1, 3), space)
    inside = ((linear > 0.001) & (linear < 0.999)).all(axis=0)
    found = lab._encoded(np.clip(linear, 0, 1)).T[inside] * 255
    assert inside.sum() > 500
    assert np.abs(found - expected.reshape(-1, 3)[inside]).max() < 1.6


@pytest.mark.parametrize(
    ("trc", "number", "linear"),
    [
        (curve(), 0.25, 0.25),
        (gamma(2.0), 0.5, 0.25),
        (curve(0, 0, 65535), 0.75, 0.5),
        (parametric(0, 3.0), 0.5, 0.125),
        (parametric(1, 2.0, 2.0, -1.0), 0.75, 0.25),
        (parametric(1, 2.0, 2.0, -1.0), 0.25, 0.0),
        (parametric(2, 2.0, 0.5, 0.0, 0.5), 1.0, 0.75),
        (parametric(3, 2.0, 1.0, 0.0, 0.5, 0.5), 0.25, 0.125),
        (parametric(4, 2.0, 1.0, 0.0, 0.25, 0.5, 0.1, 0.05), 0.25, 0.1125),
        (parametric(4, 2.0, 0.9, 0.0, 0.25, 0.5, 0.1, 0.05), 1.0, 0.91),
    ],
)
def test_curves_worked_out_by_hand(trc: bytes, number: float, linear: float):
    curves = icc.read(grey(trc)).curves
    assert curves.shape == (1, 65536)
    assert np.interp(number, np.linspace(0, 1, 65536), curves[0]) == pytest.approx(linear, abs=3e-5)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"no profile" * 30,
        profile(),
        profile(b"CMYK"),
        rgb(SRGB_COLUMNS, b"what" + bytes(20)),
        rgb(SRGB_COLUMNS, curve(65535, 0)),
        rgb(SRGB_COLUMNS, curve(0, 65535)[:-1]),
        rgb(SRGB_COLUMNS, parametric(9)),
        rgb(((0.5, 0.5, 0.5),) * 3, gamma(2.2)),
        rgb(((0.0, 0.0, 0.0),) * 3, gamma(2.2)),
        rgb(tuple(tuple(-x for x in column) for column in ADOBE), gamma(2.2)),
        to_lab(rgb(SRGB_COLUMNS, curve())),
        rgb(ADOBE, gamma(2.2))[:200],
    ],
)
def test_what_is_no_profile_of_curves_and_a_matrix_is_refused(profile: bytes):
    with pytest.raises(ProfileError):
        icc.read(profile)


def test_grey_to_lab_is_lightness():
    numbers = np.arange(0, 256, 15, dtype=np.uint8)[None]
    profile = to_lab(grey(curve()))
    L = color.lightness(numbers[..., None], icc.read(profile))
    np.testing.assert_allclose(L, numbers / 2.55, atol=0.01)
    seen = icc.to_srgb(Image.fromarray(numbers), profile)
    np.testing.assert_allclose(L, color.lightness(np.asarray(seen)), atol=0.5)


def test_damaged_profiles_are_read_or_refused():
    random = np.random.default_rng(0)
    whole = [*SPACES.values(), *GREYS.values(), icc.srgb_profile()]
    refused = 0
    for number in range(1500):
        bad = bytearray(whole[number % len(whole)])
        for place in random.integers(12, len(bad), 3):
            bad[place] = random.integers(256)
        try:
            space = icc.read(bytes(bad))
        except ProfileError:
            refused += 1
        else:
            assert np.isfinite(space.curves).all()
    assert 0 < refused < 1500


def flat(L: np.ndarray) -> np.ndarray:
    return np.zeros((1, 2, *L.shape[2:]), np.float32)


class Grey:
    """A model without colours: what is painted has to be the photo again."""

    name, size = "grey", 32
    __call__ = staticmethod(flat)


@pytest.mark.parametrize("name", [None, *SPACES])
def test_16_bits_come_back_without_colours(name: str | None):
    space = SRGB if name is None else icc.read(SPACES[name])
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    photo = Photo(np.repeat(values, 3, axis=2), space=space)
    made = Colorizer(Grey())(photo)
    assert made.space is space
    assert np.abs(made.pixels.astype(int) - values).max() <= 1


@pytest.mark.parametrize("name", [None, *SPACES])
def test_8_bits_come_back_without_colours(name: str | None):
    space = SRGB if name is None else icc.read(SPACES[name])
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    made = Colorizer(Grey())(Photo(np.repeat(values, 3, axis=2), space=space))
    np.testing.assert_array_equal(made.pixels, np.repeat(values, 3, axis=2))


@pytest.mark.parametrize("name", [None, *SPACES])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_strength_0_gives_the_photo_back(name: str | None, dtype: str):
    space = SRGB if name is None else icc.read(SPACES[name])
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (50, 60, 3), dtype, endpoint=True)
    pixels[:25, :, 1] = 0  # as far out as the space goes
    made = Colorizer(Grey())(Photo(pixels, space=space), strength=0)
    np.testing.assert_array_equal(made.pixels, pixels)
    assert not np.shares_memory(made.pixels, pixels)


@pytest.mark.parametrize("name", GREYS)
def test_a_grey_profile_becomes_srgb_of_the_same_lightness(name: str):
    space = icc.read(GREYS[name])
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    made = Colorizer(Grey())(Photo(values, space=space))
    assert made.space is SRGB
    assert made.metadata.icc == icc.srgb_profile()
    before, after = color.lightness(values, space), color.lightness(made.pixels)
    assert np.abs(before - after).max() < 0.01


@pytest.mark.parametrize("name", SPACES)
def test_colours_of_a_wide_space_are_those_of_srgb(name: str, picture: Image.Image):
    """Whatever the profile of a photo, what one sees of the result is the same."""
    profile = SPACES[name]
    values = np.asarray(picture.convert("L"))
    narrow = Photo(np.repeat(values[..., None], 3, axis=2))
    Y, _ = color.luminance(narrow.pixels.reshape(-1, 3))
    space = icc.read(profile)
    numbers = np.interp(Y, space.curves[0], np.linspace(0, 1, 65536)) * 65535 + 0.5
    wide = Photo(np.repeat(numbers.astype(np.uint16).reshape(48, 64, 1), 3, axis=2), space=space)

    class Warm(Grey):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            return flat(L) + 9

    made, expected = (Colorizer(Warm())(photo, mark=False) for photo in (wide, narrow))
    seen = icc.to_srgb(made.to_image(), profile) if name != "linear" else None
    if seen is not None:
        difference = np.abs(np.asarray(seen).astype(int) - expected.pixels)
        assert difference.mean() < 1
        assert np.percentile(difference, 99) <= 3


def test_littlecms_refusing_is_our_error():
    with pytest.raises(ProfileError, match="cannot be used"):
        icc.to_srgb(Image.new("RGB", (4, 4)), b"no profile")
    assert not icc.is_whole(b"no profile")
    assert icc.is_whole(ImageCms.ImageCmsProfile(BytesIO(SPACES["adobe"])).tobytes())


def test_transparency_survives_a_conversion(picture: Image.Image):
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    made = icc.to_srgb(picture, SPACES["adobe"])
    assert made.mode == "RGBA"
    np.testing.assert_array_equal(made.getchannel("A"), picture.getchannel("A"))


def test_a_batch_of_photos_with_one_profile_has_one_space():
    assert icc.read(SPACES["adobe"]) is icc.read(bytes(bytearray(SPACES["adobe"])))
