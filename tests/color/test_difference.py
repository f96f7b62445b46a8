import numpy as np
import pytest
from skimage.color import deltaE_ciede2000

from photochrom.color.difference import difference_at_equal_lightness


def test_difference_is_that_of_scikit_image():
    ab = np.random.default_rng(0).normal(0, 30, (2, 500, 2)).astype(np.float32)
    ab[0, :5] = 0
    ab[1, 3:8] = 0
    lab = np.concatenate([np.full((2, 500, 1), 40), ab], axis=2)
    expected = deltaE_ciede2000(lab[0], lab[1])
    assert difference_at_equal_lightness(*ab) == pytest.approx(expected, abs=1e-3)
