from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint, place_hints
from photochrom.colorize.versions import hint_versions
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from support.models import write_model
from support.photos import draw_cloths


def make_colorizer(folder: Path, **options: Any) -> Colorizer:
    write_model(folder / "model.onnx", hints=3, size="64", **options)
    return Colorizer(folder / "model.onnx", threads=1)


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(90, 3)])
def test_versions_paint_what_the_model_is_unsure_of(tmp_path: Path, geometry: Geometry):
    colorizer, upright = (
        make_colorizer(tmp_path, scale=2, asymmetry=0.003),
        Photo(draw_cloths(180, 240)),
    )
    photo = geometry.apply(upright)
    prepared = colorizer.prepare(photo)
    first, *others = versions = hint_versions(colorizer, prepared, (), geometry, upright.size)
    assert first == ()
    assert len(others) == 3
    assert hint_versions(colorizer, prepared, (), geometry, upright.size) == versions
    pictures = []
    for hints in versions:
        placed = place_hints(hints, upright.size, geometry)
        assert len(placed) == len(hints) <= 3
        assert all(is_in_cloth(hint) for hint in hints)
        pictures.append(colorizer.predict(photo, hints=placed).render().pixels.astype(int))
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(picture - other).max() > 20


def is_in_cloth(hint: Hint) -> bool:
    pixels = draw_cloths(180, 240)
    return bool(pixels[hint.y, hint.x, 0] != pixels[0, 0, 0])


def test_hints_that_are_given_stay_and_settle_their_region(tmp_path: Path):
    colorizer, photo = (
        make_colorizer(tmp_path, scale=2, asymmetry=0.003),
        Photo(draw_cloths(180, 240)),
    )
    prepared, geometry = colorizer.prepare(photo), Geometry()
    own = hint_versions(colorizer, prepared, (), geometry, photo.size)[1][:1]
    versions = hint_versions(colorizer, prepared, own, geometry, photo.size)
    assert versions[0] == own
    assert len(versions) == 4
    for hints in versions[1:]:
        assert hints[:1] == own
        assert all(abs(hint.x - own[0].x) > 60 for hint in hints[1:])


@pytest.mark.parametrize(
    "options", [{"scale": 2}, {"scale": 1, "asymmetry": 0.003}, {"scale": -1, "asymmetry": 0.001}]
)
def test_photo_without_uncertainty_and_one_of_skin_or_leaves_have_one_version(
    tmp_path: Path, options: dict[str, Any]
):
    colorizer, photo = make_colorizer(tmp_path, **options), Photo(draw_cloths(180, 240))
    given = (Hint(40, 30, "red"),)
    prepared = colorizer.prepare(photo)
    assert hint_versions(colorizer, prepared, given, Geometry(), photo.size) == [given]
