"""Metadata, bit depth and transparency from file to file."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image, IptcImagePlugin
from PIL.ExifTags import IFD

from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.color import icc
from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages, open_photo
from photochrom.imagefile.writing import save_pages, save_photo
from support.fuzzing import XMP, exif
from support.icc_profiles import GREYS, SPACES
from support.photos import draw

IPTC = b"".join(
    struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
    for number, text in ((5, b"title"), (80, b"by me"), (116, b"rights"), (120, b"caption"))
)
ALL_METADATA = Metadata(
    exif=exif()[6:], xmp=XMP, icc=SPACES["adobe"], iptc=IPTC, density=(300.0, 300.0, "inch")
)


@pytest.fixture
def colorize(tiny_onnx: Path) -> Callable[..., Path]:
    """Return a function that colorizes a file and returns the path of the output."""
    colorizer = Colorizer(tiny_onnx)

    def colorize(path: Path, **options: Any) -> Path:
        output = path.with_stem("result")
        result = colorize_file(Job(path, output), colorizer, overwrite=True, **options)
        assert result.error is None
        return output

    return colorize


def write_photo(tmp_path: Path, suffix: str, dtype: str = "u1") -> Path:
    """Write a photo of 64x48 pixels with all metadata and orientation 6."""
    pixels = draw().astype(dtype) * (257 if dtype == "u2" else 1)
    path = tmp_path / f"photo{suffix}"
    save_photo(Photo(pixels, metadata=ALL_METADATA), path)
    return path


KINDS = [(".jpg", "u1"), (".png", "u1"), (".png", "u2"), (".tif", "u1"), (".tif", "u2")]


@pytest.mark.parametrize(("suffix", "dtype"), KINDS)
def test_all_metadata_are_kept(
    suffix: str, dtype: str, tmp_path: Path, colorize: Callable[..., Path]
):
    before = write_photo(tmp_path, suffix, dtype)
    after = colorize(before)
    with Image.open(before) as was, Image.open(after) as now:
        assert now.size == (48, 64)  # upright
        assert now.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert now.info["icc_profile"] == SPACES["adobe"]
        exif_before, exif_after = was.getexif(), now.getexif()
        assert (exif_before[0x0112], exif_after[0x0112]) == (6, 1)
        for tag in (0x010E, 0x010F, 0x8298):
            assert exif_after[tag] == exif_before[tag]
        for directory in (IFD.Exif, IFD.GPSInfo):
            assert dict(exif_after.get_ifd(directory)) == dict(exif_before.get_ifd(directory))
            assert exif_after.get_ifd(directory)
        xmp = ElementTree.fromstring(now.info["xmp"])
        if suffix != ".png":
            assert IptcImagePlugin.getiptcinfo(now) == IptcImagePlugin.getiptcinfo(was)
            assert IptcImagePlugin.getiptcinfo(now)[(2, 120)] == b"caption"
    marked, described = xmp.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert described.get("{http://ns.adobe.com/tiff/1.0/}Orientation") == "1"
    assert "colours added by photochrom" in str(marked.get("{urn:photochrom:}colorized"))
    photo = open_photo(after)
    assert photo.pixels.dtype == dtype
    assert photo.pixels.std(axis=2).mean() > 0


def test_webp_and_avif_metadata_are_kept(tmp_path: Path, colorize: Callable[..., Path]):
    for suffix in (".webp", ".avif"):
        after = colorize(write_photo(tmp_path, suffix))
        with Image.open(after) as now:
            assert now.size == (48, 64)
            assert now.info["icc_profile"] == SPACES["adobe"]
            assert now.getexif()[0x010E] == "a caption"
            assert now.getexif().get(0x0112, 1) == 1
            assert b"colours added by photochrom" in now.info["xmp"]


def test_no_mark(tmp_path: Path, colorize: Callable[..., Path]):
    after = colorize(write_photo(tmp_path, ".jpg"), mark=False)
    assert open_photo(after).metadata.mark is None
    assert b"photochrom" not in after.read_bytes()


def test_maker_notes_keep_their_position(tmp_path: Path, colorize: Callable[..., Path]):
    before = write_photo(tmp_path, ".jpg")
    after = colorize(before)
    blocks = [open_photo(path).metadata.exif for path in (before, after)]
    assert None not in blocks
    positions = [block.find(b"maker's own") for block in blocks if block]
    assert positions[0] == positions[1] > 0
    assert len({len(block) for block in blocks if block}) == 1


def test_16_bits_are_kept(tmp_path: Path, colorize: Callable[..., Path]):
    values = np.linspace(30000, 31000, 64 * 48).astype(np.uint16).reshape(48, 64)
    for suffix in (".png", ".tif"):
        cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
        output = open_photo(colorize(tmp_path / f"a{suffix}", saturation=0)).pixels
        assert np.abs(output.astype(int) - values[..., None]).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_grey_profile_becomes_srgb(suffix: str, tmp_path: Path, colorize: Callable[..., Path]):
    grey = Image.fromarray(draw()).convert("L")
    grey.save(tmp_path / f"a{suffix}", icc_profile=GREYS["gamma 2.2"])
    with Image.open(colorize(tmp_path / f"a{suffix}")) as now:
        assert now.mode == "RGB"
        assert now.info["icc_profile"] == icc.srgb_profile()


def test_cmyk_with_a_damaged_profile_becomes_rgb(tmp_path: Path, colorize):
    Image.fromarray(draw()).convert("CMYK").save(tmp_path / "a.jpg", icc_profile=b"no profile")
    with Image.open(colorize(tmp_path / "a.jpg")) as now:
        assert now.mode == "RGB"
        assert "icc_profile" not in now.info  # it was not a profile


def test_damaged_profile_is_dropped(tmp_path: Path, colorize):
    Image.fromarray(draw()).save(tmp_path / "a.png", icc_profile=b"no profile" * 20)
    with Image.open(colorize(tmp_path / "a.png")) as now:
        assert "icc_profile" not in now.info


def test_alpha_is_kept(tmp_path: Path, colorize: Callable[..., Path]):
    random = np.random.default_rng(0)
    for dtype in ("u1", "u2"):
        values = random.integers(0, np.iinfo(dtype).max, (48, 64, 4)).astype(dtype)
        for suffix in (".png", ".tif"):
            photo = Photo(np.ascontiguousarray(values[..., :3]), values[..., 3])
            save_photo(photo, tmp_path / f"a{suffix}", overwrite=True)
            output = open_photo(colorize(tmp_path / f"a{suffix}"))
            np.testing.assert_array_equal(output.alpha, values[..., 3])


def test_every_page_keeps_its_metadata(tmp_path: Path, colorize: Callable[..., Path]):
    pages = []
    for number in range(3):
        block = Image.Exif()
        block[0x010E] = f"page {number}"
        dtype = np.uint16 if number == 1 else np.uint8
        pixels = np.full((20 + number, 30, 1), 90 * (257 if number == 1 else 1), dtype)
        metadata = Metadata(exif=block.tobytes()[6:], density=(100.0 + number, 200.0, "cm"))
        pages.append(Photo(pixels, metadata=metadata))
    save_pages(pages, tmp_path / "a.tif")
    after = colorize(tmp_path / "a.tif")
    assert [photo.pixels.dtype for photo in open_pages(after)] == ["u1", "u2", "u1"]
    with Image.open(after) as image:
        for number in range(3):
            image.seek(number)
            assert image.tag_v2[0x010E] == f"page {number}"
            assert image.tag_v2[282] == 100 + number
            assert (image.tag_v2[283], image.tag_v2[296]) == (200, 3)
            assert image.size == (30, 20 + number)
    marks = [photo.metadata.mark for photo in open_pages(after)]
    assert len(marks) == 3
    assert None not in marks


def test_colorizing_twice_leaves_one_mark(tmp_path: Path, colorize: Callable[..., Path]):
    first = colorize(write_photo(tmp_path, ".jpg"))
    second = colorize(first.rename(tmp_path / "again.jpg"))
    assert second.read_bytes().count(b"photochrom:colorized") == 1
