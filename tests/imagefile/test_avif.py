from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from photochrom.imagefile.heif_items import needs_png


def colors(bits: int) -> np.ndarray:
    """Return RGB pixels of 8 to 16 bits, shape (48, 64, 3)."""
    y, x = np.mgrid[:48, :64]
    pixels = np.dstack([x / 64, y / 48, (x + y) / 112]) * (2**bits - 1)
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_of_more_than_8_bits_needs_png(bits: int, tmp_path: Path):
    path = tmp_path / "a.avif"
    path.write_bytes(imagecodecs.avif_encode(colors(bits), bitspersample=bits))
    assert needs_png(path) == (bits > 8)


def test_only_an_avif_needs_png(tmp_path: Path):
    path = tmp_path / "a.avif"
    assert not needs_png(path)
    path.write_bytes(b"")
    assert not needs_png(path)
    Image.fromarray(colors(8)).save(path, "PNG")
    assert not needs_png(path)


def test_damaged_boxes_need_no_png_and_raise_nothing(tmp_path: Path):
    data = imagecodecs.avif_encode(colors(10), bitspersample=10)
    path = tmp_path / "a.avif"
    random = np.random.default_rng(0)
    for length in range(0, 400, 7):
        path.write_bytes(data[:length])
        needs_png(path)
    for _ in range(500):
        bad = bytearray(data[:500])
        for place in random.integers(8, 400, 3):
            bad[place] = random.integers(256)
        path.write_bytes(bad)
        needs_png(path)
