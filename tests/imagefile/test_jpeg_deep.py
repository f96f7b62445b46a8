"""JPEGs of more than 8 bits, lossless ones, and JPEG-LS."""

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from photochrom.batch.planning import becomes_png
from photochrom.errors import PhotoError
from photochrom.imagefile.jpeg.segments import make_segment
from photochrom.imagefile.reading import open_photo, read_sizes
from photochrom.imagefile.writing import encode_photo
from support.metadata import XMP, exif_block


def values(bits: int, *, in_color: bool) -> np.ndarray:
    y, x = np.mgrid[:40, :56]
    grey = (x * 997 + y * 31) % (1 << bits)
    stacked = np.dstack([grey, grey // 2, (1 << bits) - 1 - grey]) if in_color else grey
    return stacked.astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("in_color", [False, True])
def test_lossless_jpeg_of_more_than_8_bits_keeps_them(bits: int, in_color: bool, tmp_path: Path):
    expected = values(bits, in_color=in_color)
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(expected, lossless=True, bitspersample=bits))
    photo = open_photo(path)
    scaled = np.round(expected * (65535 / ((1 << bits) - 1))).reshape(40, 56, -1)
    np.testing.assert_array_equal(photo.pixels, scaled)
    assert photo.pixels.dtype == np.uint16
    assert photo.warnings == (f"{bits} bits are kept in a PNG or TIFF of 16 bits only",)
    assert becomes_png(str(path))
    assert read_sizes(path) == [(56, 40)]
    with pytest.raises(PhotoError, match=r"has 0\.00224 megapixels"):
        open_photo(path, max_pixels=1000)


@pytest.mark.parametrize("in_color", [False, True])
def test_jpeg_of_12_bits_has_metadata_and_is_turned(in_color: bool):
    smooth = (np.mgrid[:40, :56].sum(axis=0) * 40).astype(np.uint16)
    expected = np.dstack([smooth, smooth, smooth]) if in_color else smooth
    data = imagecodecs.jpeg8_encode(expected, level=100, bitspersample=12)
    exif = make_segment(0xE1, b"Exif\0\0" + exif_block(orientation=3))
    photo = open_photo(BytesIO(data[:2] + exif + data[2:]))
    assert photo.pixels.shape == (40, 56, 3 if in_color else 1)
    turned = photo.pixels[::-1, ::-1, 0].astype(int)
    assert np.abs(turned - smooth * (65535 / 4095)).mean() < 30
    assert photo.metadata.exif is not None


def test_jpeg_ls(tmp_path: Path):
    expected = values(8, in_color=True)
    path = tmp_path / "a.jpg"
    data = imagecodecs.jpegls_encode(expected)
    packet = make_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    path.write_bytes(data[:2] + packet + data[2:])
    photo = open_photo(path)
    assert photo.metadata.xmp is not None
    assert photo.warnings == ()
    assert sorted(photo.size) == [40, 56]
    assert becomes_png(str(path))


def test_lossless_jpeg_of_8_bits_stays_a_jpeg_with_the_finest_steps(tmp_path: Path):
    path = tmp_path / "a.jpg"
    path.write_bytes(imagecodecs.jpeg8_encode(values(8, in_color=False), lossless=True))
    assert not becomes_png(str(path))
    photo = open_photo(path)
    output = open_photo(BytesIO(encode_photo(photo, ".jpg")))
    assert np.abs(output.pixels.astype(int) - photo.pixels).max() <= 1


def test_ordinary_files_stay_as_they_are(tmp_path: Path):
    path = tmp_path / "a.jpg"
    for data in (b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\0\0" * 9, b"no JPEG"):
        path.write_bytes(data)
        assert not becomes_png(str(path))
    assert not becomes_png(str(tmp_path / "missing.jpg"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "cut off"),
        (lambda data: data.replace(b"\xff\xc3", b"\xff\xc7"), "hierarchical JPEG"),
        (lambda data: data.replace(b"\xff\xc3", b"\xff\xc1"), "damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_named(change: Any, message: str):
    data = imagecodecs.jpeg8_encode(values(12, in_color=False), lossless=True, bitspersample=12)
    with pytest.raises(PhotoError, match=message):
        open_photo(BytesIO(change(data)))


def test_cmyk_of_12_bits_is_named():
    data = imagecodecs.jpeg8_encode(values(12, in_color=True), lossless=True, bitspersample=12)
    at = data.index(b"\xff\xc3")
    with pytest.raises(PhotoError, match="12 bits with 4 channels"):
        open_photo(BytesIO(data[: at + 9] + b"\4" + data[at + 10 :]))
