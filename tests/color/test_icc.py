from typing import Any

import numpy as np
import pytest
from PIL import Image

from photochrom import color
from photochrom.color import SRGB, icc
from photochrom.color.icc import ProfileError
from photochrom.color.pixels import to_linear
from photochrom.color.spaces import linear_to_srgb
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
    table_profile,
    to_lab,
)

POINTS = np.linspace(0, 65535, 1024).round().astype(int)


def test_srgb_profiles_become_srgb():
    for block in (
        icc.srgb_profile(),
        rgb(SRGB_COLUMNS, SRGB_CURVE),
        rgb(SRGB_COLUMNS, curve(*(round(65535 * float(v)) for v in SRGB.curves[0][POINTS]))),
    ):
        assert icc.read_profile(block) is SRGB
    assert icc.srgb_profile.__wrapped__() == icc.srgb_profile.__wrapped__()  # not from the cache


@pytest.mark.parametrize("name", SPACES)
def test_matrix_profiles_agree_with_littlecms(name: str):
    space = icc.read_profile(SPACES[name])
    assert space.matrix is not None
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = icc.convert_to_srgb(values, SPACES[name])
    linear = space.matrix @ to_linear(values.reshape(-1, 3), space)
    inside = ((linear > 0.001) & (linear < 0.999)).all(axis=0)
    result = linear_to_srgb(np.clip(linear, 0, 1)).T[inside] * 255
    assert inside.sum() > 500
    assert np.abs(result - expected.reshape(-1, 3)[inside]).max() < 1.6


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
def test_curves_against_values_computed_by_hand(trc: bytes, number: float, linear: float):
    curves = icc.read_profile(grey(trc)).curves
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
def test_other_profiles_are_refused(profile: bytes):
    with pytest.raises(ProfileError):
        icc.read_profile(profile)


def test_grey_profile_that_leads_to_lab():
    values = np.arange(0, 256, 15, dtype=np.uint8)[None]
    profile = to_lab(grey(curve()))
    L = color.lightness(values[..., None], icc.read_profile(profile))
    np.testing.assert_allclose(L, values / 2.55, atol=0.01)
    srgb = icc.convert_to_srgb(values[..., None], profile)
    np.testing.assert_allclose(L, color.lightness(srgb), atol=0.5)


def test_damaged_profiles_are_read_or_refused():
    random = np.random.default_rng(0)
    whole = [*SPACES.values(), *GREYS.values(), icc.srgb_profile()]
    refused = 0
    for number in range(1500):
        bad = bytearray(whole[number % len(whole)])
        for index in random.integers(12, len(bad), 3):
            bad[index] = random.integers(256)
        try:
            space = icc.read_profile(bytes(bad))
        except ProfileError:
            refused += 1
        else:
            assert np.isfinite(space.curves).all()
    assert 0 < refused < 1500


def zero_ab(L: np.ndarray) -> np.ndarray:
    return np.zeros((1, 2, *L.shape[2:]), np.float32)


class Grey:
    """A model that predicts a* = b* = 0."""

    name, size = "grey", 32
    __call__ = staticmethod(zero_ab)


@pytest.mark.parametrize("name", [None, *SPACES])
def test_16_bit_greys_survive_rendering_without_color(name: str | None):
    space = SRGB if name is None else icc.read_profile(SPACES[name])
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    photo = Photo(np.repeat(values, 3, axis=2), space=space)
    output = Colorizer(Grey())(photo)
    assert output.space is space
    assert np.abs(output.pixels.astype(int) - values).max() <= 1


@pytest.mark.parametrize("name", [None, *SPACES])
def test_8_bit_greys_survive_rendering_without_color(name: str | None):
    space = SRGB if name is None else icc.read_profile(SPACES[name])
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    output = Colorizer(Grey())(Photo(np.repeat(values, 3, axis=2), space=space))
    np.testing.assert_array_equal(output.pixels, np.repeat(values, 3, axis=2))


@pytest.mark.parametrize("name", [None, *SPACES])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_strength_0_returns_a_copy(name: str | None, dtype: str):
    space = SRGB if name is None else icc.read_profile(SPACES[name])
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (50, 60, 3), dtype, endpoint=True)
    pixels[:25, :, 1] = 0  # on the gamut boundary
    output = Colorizer(Grey())(Photo(pixels, space=space), strength=0)
    np.testing.assert_array_equal(output.pixels, pixels)
    assert not np.shares_memory(output.pixels, pixels)


@pytest.mark.parametrize("name", GREYS)
def test_grey_profile_becomes_srgb_of_equal_lightness(name: str):
    space = icc.read_profile(GREYS[name])
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    output = Colorizer(Grey())(Photo(values, space=space))
    assert output.space is SRGB
    assert output.metadata.icc == icc.srgb_profile()
    before, after = color.lightness(values, space), color.lightness(output.pixels)
    assert np.abs(before - after).max() < 0.01


@pytest.mark.parametrize("name", SPACES)
def test_rendered_colors_do_not_depend_on_the_space(name: str, picture: Image.Image):
    profile = SPACES[name]
    values = np.asarray(picture.convert("L"))
    narrow = Photo(np.repeat(values[..., None], 3, axis=2))
    Y, _ = color.luminance(narrow.pixels.reshape(-1, 3))
    space = icc.read_profile(profile)
    values = np.interp(Y, space.curves[0], np.linspace(0, 1, 65536)) * 65535 + 0.5
    wide = Photo(np.repeat(values.astype(np.uint16).reshape(48, 64, 1), 3, axis=2), space=space)

    class Warm(Grey):
        def __call__(self, L: np.ndarray) -> np.ndarray:
            return zero_ab(L) + 9

    output, expected = (Colorizer(Warm())(photo, mark=False) for photo in (wide, narrow))
    srgb = icc.convert_to_srgb(np.asarray(output.to_image()), profile) if name != "linear" else None
    if srgb is not None:
        difference = np.abs(srgb.astype(int) - expected.pixels)
        assert difference.mean() < 1
        assert np.percentile(difference, 99) <= 3


def test_littlecms_error_becomes_profile_error():
    with pytest.raises(ProfileError, match="cannot be used"):
        icc.convert_to_srgb(np.zeros((4, 4, 3), np.uint8), bytes(16) + b"RGB " + bytes(300))


def test_profile_for_other_channels_is_refused():
    with pytest.raises(ProfileError, match="other channels"):
        icc.convert_to_srgb(np.zeros((4, 4, 1), np.uint8), SPACES["adobe"])


@pytest.mark.parametrize("profile", [SPACES["adobe"], table_profile()], ids=["matrix", "table"])
def test_conversion_of_16_bits_agrees_with_that_of_8(profile: bytes):
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    shallow = icc.convert_to_srgb(values, profile)
    deep = icc.convert_to_srgb(values.astype(np.uint16) * 257, profile)
    assert (shallow.dtype, deep.dtype) == (np.uint8, np.uint16)
    assert np.abs(deep / 257 - shallow).mean() < 0.4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tables_are_interpolated_between_their_own_points(dtype: type[Any]):
    """LittleCMS would else make a table of its own, whose points are others."""
    largest = np.iinfo(dtype).max
    black = np.linspace(0, largest, 200).astype(dtype)
    inks = np.dstack([np.zeros((1, 200, 3), dtype), black[None]])
    L = color.lightness(icc.convert_to_srgb(inks, table_profile(b"CMYK")))[0]
    points = np.linspace(0, 1, 9)
    expected = 100 * np.interp(1 - black / largest, points, points ** (1 / 1.8))
    np.testing.assert_allclose(L, expected, atol=0.26 if dtype == np.uint8 else 0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_becomes_srgb(dtype: type[Any]):
    L = np.linspace(0, 65535, 101).round().astype(np.uint16)
    lab = np.dstack([L, np.full_like(L, 128 * 257), np.full_like(L, 128 * 257)])
    srgb = icc.lab_to_srgb(lab, dtype)
    assert srgb.dtype == dtype
    np.testing.assert_allclose(
        color.lightness(srgb)[0], L / 655.35, atol=0.26 if dtype == np.uint8 else 0.01
    )


def test_equal_profiles_share_one_space():
    assert icc.read_profile(SPACES["adobe"]) is icc.read_profile(bytes(bytearray(SPACES["adobe"])))
