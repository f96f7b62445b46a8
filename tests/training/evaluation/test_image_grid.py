"""Image grids and the choice of photos for them."""

import numpy as np

from photochrom.training.evaluation.image_grid import image_grid, spread_indices


def test_photos_of_different_sizes_are_aligned() -> None:
    red = np.full((10, 20, 3), (255, 0, 0), np.uint8)
    blue = np.full((30, 8, 3), (0, 0, 255), np.uint8)
    grid = image_grid([[red, blue], [blue, red]], ["one", "two"])
    top = grid.height - 64
    assert grid.width == 44
    assert grid.getpixel((0, top)) == (255, 0, 0)
    assert grid.getpixel((24, top + 29)) == (0, 0, 255)
    assert grid.getpixel((24, top + 34)) == (255, 0, 0)
    assert image_grid([], ["none"]).width == 64


def test_indices_are_spread_from_first_to_last() -> None:
    assert spread_indices(9, 3) == [0, 4, 8]
    assert spread_indices(2, 12) == [0, 1]
    assert spread_indices(0, 12) == []
