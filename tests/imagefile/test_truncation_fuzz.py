"""Damaged files that are cut off are read as far as they go, or refused; then they are turned."""

from io import BytesIO

import numpy as np
import pytest

from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.reading import open_pages
from support.fuzzing import mutate, seeds

COUNT = 40

SEEDS = {
    name: data for name, data in seeds().items() if name.startswith(("jpeg", "png", "tiff", "mpo"))
}


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_that_are_cut_off(name: str):
    rng = np.random.default_rng(len(name))
    count = 0
    for number in range(COUNT):
        data = SEEDS[name]
        if number % 2:
            data = mutate(data, SEEDS[name], rng)
        data = data[: rng.integers(len(data) + 1)]
        try:
            photos = list(open_pages(BytesIO(data), max_pixels=1_000_000, truncated=True))
        except PhotochromError:
            continue
        geometry = Geometry(90 * (number % 4), float(rng.uniform(-45, 45)))
        for photo in photos:
            count += any("cut off" in text for text in photo.warnings)
            assert geometry.apply(photo).size == geometry.size(*photo.size)
    assert count or not name.startswith(("jpeg", "png"))
