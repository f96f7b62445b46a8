import pickle

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color as reference

from photochrom import color


def cube(steps: int) -> NDArray[np.float32]:
    """The sRGB cube as (steps, steps, steps, 3), its corners and faces among it."""
    axis = np.linspace(0, 1, steps, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def hue_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance in ab from the ray of `a`: what a change of hue costs, in CIELAB units."""
    return np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]) / np.hypot(a[..., 0], a[..., 1])


def test_lab_is_that_of_scikit_image_on_the_whole_cube():
    rgb = cube(52)  # 0, 5, 10 ... 255
    expected = reference.rgb2lab(rgb.astype(np.float64))
    assert np.abs(color.rgb_to_lab(rgb) - expected).max() < 1e-3


def test_rgb_is_that_of_scikit_image_on_the_whole_cube():
    lab = reference.rgb2lab(cube(33).astype(np.float64))
    expected = reference.lab2rgb(lab)
    assert np.abs(color.lab_to_rgb(lab.astype(np.float32)) - expected).max() < 1e-3


def test_there_and_back():
    rgb = cube(33)
    assert np.abs(color.lab_to_rgb(color.rgb_to_lab(rgb)) - rgb).max() < 1e-3


def test_every_level_survives_there_and_back():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    back = color.lab_to_rgb(color.rgb_to_lab(grey / np.float32(255)))
    np.testing.assert_array_equal((back * 255 + 0.5).astype(np.uint8), grey)


def test_grey_is_not_lightness():
    assert color.rgb_to_lab(np.full(3, 0.5, np.float32))[0] == pytest.approx(53.39, abs=0.05)
    assert color.rgb_to_lab(np.zeros(3, np.float32)) == pytest.approx([0, 0, 0], abs=1e-3)
    # The white point of scikit-image is that of its matrix to 5 digits only, hence 0.01.
    assert color.rgb_to_lab(np.ones(3, np.float32)) == pytest.approx([100, 0, 0], abs=0.01)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_lightness_is_that_of_rgb_to_lab(dtype: str):
    rgb = np.random.default_rng(0).random((50, 60, 3), dtype=np.float32)
    largest = np.iinfo(dtype).max
    pixels = np.round(rgb * largest).astype(dtype)
    rgb = pixels / np.float32(largest)
    np.testing.assert_allclose(color.lightness(pixels), color.rgb_to_lab(rgb)[..., 0], atol=1e-3)
    grey = np.repeat(rgb[..., :1], 3, axis=-1)
    np.testing.assert_allclose(
        color.lightness(pixels[..., :1]), color.rgb_to_lab(grey)[..., 0], atol=1e-3
    )


def test_colours_outside_srgb_keep_lightness_and_hue():
    random = np.random.default_rng(0)
    lab = np.stack(
        [random.uniform(3, 97, 20000), *random.uniform(-110, 110, (2, 20000))], axis=-1
    ).astype(np.float32)
    rgb = color.lab_to_rgb(lab)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    # In float64, so that this measures the mapping and not the way back.
    back = reference.rgb2lab(rgb.astype(np.float64))
    assert np.abs(back[:, 0] - lab[:, 0]).max() < 0.1
    assert hue_difference(lab[:, 1:], back[:, 1:]).max() < 0.5
    chroma, before = np.hypot(back[:, 1], back[:, 2]), np.hypot(lab[:, 1], lab[:, 2])
    assert (chroma < before + 0.2).all()
    assert (chroma < 0.9 * before).mean() > 0.3  # most of these are outside


def test_chroma_is_reduced_no_further_than_the_gamut_asks():
    lab = np.array([[53.24, 160.0, 134.4]], np.float32)  # red, (53.24, 80, 67.2), twice as strong
    assert color.lab_to_rgb(lab)[0] == pytest.approx([1, 0, 0], abs=0.05)


def test_black_and_white_have_no_chroma():
    lab = np.array([[0, 40, -60], [100, -50, 30]], np.float32)
    assert color.lab_to_rgb(lab) == pytest.approx(np.array([[0, 0, 0], [1, 1, 1]]), abs=2e-3)


def test_a_space_travels_and_srgb_stays_itself():
    assert pickle.loads(pickle.dumps(color.SRGB)) is color.SRGB
    other = color.Space(color.SRGB.curves**2, color.SRGB.matrix)
    copy = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(copy.curves, other.curves)
    np.testing.assert_array_equal(copy.matrix, other.matrix)
