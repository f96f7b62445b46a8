from pathlib import Path

import numpy as np
from PIL import Image

from photochrom.training.reproduction.gallery import write_page
from support.data import pack
from support.icc_profiles import SPACES
from support.photos import write_photos
from support.results import make_results


def test_historic_photos_are_shown_in_srgb(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    pack(photos, tmp_path / "results/data", size=32, validation=0, test=2)
    (tmp_path / "historic").mkdir()
    image = Image.new("RGB", (40, 40), (60, 180, 60))
    image.save(tmp_path / "historic/green.png", icc_profile=SPACES["adobe"])
    write_page(make_results(), tmp_path / "results", [tmp_path / "historic"])
    with Image.open(tmp_path / "results/pictures/grey-historic.jpg") as shown:
        # L* is 62.1; that of the same numbers in sRGB is 64.9, which is 157.
        np.testing.assert_allclose(np.asarray(shown), 150, atol=2)
    with Image.open(tmp_path / "results/pictures/original-historic.jpg") as shown:
        assert np.ptp(np.asarray(shown).reshape(-1, 3).mean(axis=0)) > 50  # in colour
    page = (tmp_path / "results/index.html").read_text()
    assert "pictures/default-historic.jpg" in page
