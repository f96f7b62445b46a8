"""Face detection and the metrics of skin."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, coffee

from photochrom.color import lab_to_rgb, rgb_to_lab
from photochrom.errors import DataError
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.evaluation.faces import find_faces, measure_skin
from support.data import pack

PHOTO = astronaut()[::2, ::2]
"""A woman of fair skin, 256x256, with her face at about row 60, column 110."""


def test_find_faces_detects_a_face() -> None:
    rows, columns = find_faces(PHOTO)[0]
    assert rows.start < 60 < rows.stop
    assert columns.start < 112 < columns.stop
    assert find_faces(PHOTO[:20, :20]) == []


def test_measure_skin_of_pale_and_dark_faces() -> None:
    truth = PHOTO / np.float32(255)
    faces = find_faces(PHOTO)[:1]
    (same,) = measure_skin(truth, truth, faces)
    assert same.error == 0
    assert same.chroma == same.original_chroma > 10
    assert not same.dark
    lab = rgb_to_lab(truth)
    lab[..., 1:] = lab[..., 1:] / 2
    (pale,) = measure_skin(lab_to_rgb(lab), truth, faces)
    assert pale.chroma == pytest.approx(same.chroma / 2, rel=0.05)
    assert pale.error == pytest.approx(same.chroma / 2, rel=0.05)
    lab[..., 0] = lab[..., 0] / 2
    (dark,) = measure_skin(truth, lab_to_rgb(lab), faces)
    assert dark.dark


def test_faces_without_the_colours_of_skin_are_discarded() -> None:
    truth = PHOTO / np.float32(255)
    faces = find_faces(PHOTO)[:1]
    assert measure_skin(truth, truth[..., ::-1].copy(), faces) == []  # blue
    grey = np.repeat(truth.mean(axis=2, keepdims=True), 3, axis=2)
    assert measure_skin(truth, grey, faces) == []


def test_evaluate_measures_skin(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(PHOTO).save(tmp_path / "photos/face.png")
    Image.fromarray(np.ascontiguousarray(PHOTO[:, ::-1])).save(tmp_path / "photos/other.png")
    pack(tmp_path / "photos", tmp_path / "data", validation=2)
    (grey,) = evaluate(["grey"], tmp_path / "data", skin=True, progress=False)
    assert grey.values["skin_chroma_ratio"][0] < 0.02
    assert grey.values["skin_error"][0] > 10
    assert "skin_error_dark" not in grey.values

    (tmp_path / "none").mkdir()
    Image.fromarray(coffee()[::2, ::2]).save(tmp_path / "none/coffee.png")
    pack(tmp_path / "none", tmp_path / "cup", validation=1)
    with pytest.raises(DataError, match="no face was found in 1 photos; measure without skin"):
        evaluate(["grey"], tmp_path / "cup", skin=True, progress=False)
