import numpy as np
import pytest

from photochrom import color


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_lightness_equals_rgb_to_lab(dtype: str):
    rgb = np.random.default_rng(0).random((50, 60, 3), dtype=np.float32)
    largest = np.iinfo(dtype).max
    pixels = np.round(rgb * largest).astype(dtype)
    rgb = pixels / np.float32(largest)
    np.testing.assert_allclose(color.lightness(pixels), color.rgb_to_lab(rgb)[..., 0], atol=1e-3)
    grey = np.repeat(rgb[..., :1], 3, axis=-1)
    np.testing.assert_allclose(
        color.lightness(pixels[..., :1]), color.rgb_to_lab(grey)[..., 0], atol=1e-3
    )
