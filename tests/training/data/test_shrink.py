from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import DataError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.shrink import shrink
from support.data import pack
from support.photos import write_photos


def test_shrink_writes_the_first_photos(tmp_path: Path) -> None:
    photos_folder = write_photos(tmp_path / "photos", 24, size=(48, 48))
    data = tmp_path / "data"
    pack(photos_folder, data, size=40, validation=12)
    shrink(data, tmp_path / "small", size=16, counts={"train": 3, "validation": 2})
    photos, whole = (PackedPhotos(folder, "train") for folder in (tmp_path / "small", data))
    assert photos.shapes.tolist() == [[16, 16]] * 3
    assert list(photos.sources()) == list(whole.sources())[:3]
    image = Image.fromarray(np.array(whole.photo(2))).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(photos.photo(2), np.asarray(image))
    with pytest.raises(
        DataError, match="has photos: 12 for train, 0 for test; needed are 99 for train, 2 for test"
    ):
        shrink(data, tmp_path / "more", size=16, counts={"train": 99, "test": 2})
    with pytest.raises(DataError, match="photos of 40 px, but 64 px are needed"):
        shrink(data, tmp_path / "more", size=64, counts={"train": 3})
    assert not (tmp_path / "more").exists()
