import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color as reference

from photochrom import color


def cube(steps: int) -> NDArray[np.float32]:
    """Return the sRGB cube, corners included, shape (steps, steps, steps, 3)."""
    axis = np.linspace(0, 1, steps, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def test_rgb_to_lab_equals_scikit_image():
    rgb = cube(52)  # 0, 5, 10 ... 255
    expected = reference.rgb2lab(rgb.astype(np.float64))
    assert np.abs(color.rgb_to_lab(rgb) - expected).max() < 1e-3


def test_lab_to_rgb_equals_scikit_image():
    lab = reference.rgb2lab(cube(33).astype(np.float64))
    expected = reference.lab2rgb(lab)
    assert np.abs(color.lab_to_rgb(lab.astype(np.float32)) - expected).max() < 1e-3


def test_round_trip():
    rgb = cube(33)
    assert np.abs(color.lab_to_rgb(color.rgb_to_lab(rgb)) - rgb).max() < 1e-3


def test_round_trip_keeps_every_grey_level():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    back = color.lab_to_rgb(color.rgb_to_lab(grey / np.float32(255)))
    np.testing.assert_array_equal((back * 255 + 0.5).astype(np.uint8), grey)


def test_reference_values_of_greys():
    assert color.rgb_to_lab(np.full(3, 0.5, np.float32))[0] == pytest.approx(53.39, abs=0.05)
    assert color.rgb_to_lab(np.zeros(3, np.float32)) == pytest.approx([0, 0, 0], abs=1e-3)
    # The white point of scikit-image is that of its matrix to 5 digits only, hence 0.01.
    assert color.rgb_to_lab(np.ones(3, np.float32)) == pytest.approx([100, 0, 0], abs=0.01)


def test_a_color_as_hex_text():
    L, a, b = color.rgb_to_lab(np.array([0xB2, 0x22, 0x22], np.float32) / np.float32(255))
    assert color.lab_to_hex(L, a, b) == "#b22222"
    assert color.lab_to_hex(100, 50, 0) == "#ffffff"  # no chroma fits
