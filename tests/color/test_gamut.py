import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import color as reference

from photochrom import color


def hue_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of `b` from the ray through `a` in the ab plane, in CIELAB units."""
    return np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]) / np.hypot(a[..., 0], a[..., 1])


def test_colors_outside_srgb_keep_lightness_and_hue():
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


def test_chroma_is_reduced_to_the_gamut_boundary():
    lab = np.array([[53.24, 160.0, 134.4]], np.float32)  # red, (53.24, 80, 67.2), twice as strong
    assert color.lab_to_rgb(lab)[0] == pytest.approx([1, 0, 0], abs=0.05)


def test_black_and_white_have_no_chroma():
    lab = np.array([[0, 40, -60], [100, -50, 30]], np.float32)
    assert color.lab_to_rgb(lab) == pytest.approx(np.array([[0, 0, 0], [1, 1, 1]]), abs=2e-3)
