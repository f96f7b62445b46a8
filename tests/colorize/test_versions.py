from pathlib import Path

import numpy as np
import pytest

from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint, place_hints
from photochrom.colorize.versions import hint_versions
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from support.models import write_model
from support.photos import draw


@pytest.fixture
def colorizer(tmp_path: Path) -> Colorizer:
    write_model(tmp_path / "model.onnx", hints=3)
    return Colorizer(tmp_path / "model.onnx", threads=1)


def test_versions_add_hints_and_differ(colorizer: Colorizer):
    upright, geometry = Photo(draw(60, 90)), Geometry(90, 3)
    photo = geometry.apply(upright)
    given = (Hint(40, 30, "red"),)
    versions = hint_versions(colorizer, colorizer.prepare(photo), given, geometry, upright.size)
    assert len(versions) == 4
    assert versions[0] == given
    pictures = []
    for hints in versions:
        assert hints[:1] == given
        placed = place_hints(hints, upright.size, geometry)
        assert len(placed) == len(hints)
        pictures.append(colorizer.predict(photo, hints=placed).render().pixels.astype(int))
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(picture - other).max() > 20
