import pickle

import numpy as np

from photochrom import color


def test_pickled_srgb_is_the_same_object():
    assert pickle.loads(pickle.dumps(color.SRGB)) is color.SRGB
    other = color.ColorSpace(color.SRGB.curves**2, color.SRGB.matrix)
    copy = pickle.loads(pickle.dumps(other))
    np.testing.assert_array_equal(copy.curves, other.curves)
    np.testing.assert_array_equal(copy.matrix, other.matrix)
