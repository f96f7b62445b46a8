"""What a TIFF loses is said; white point, primaries and transfer function are honoured."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from photochrom.color import SRGB, lightness
from photochrom.color.icc import build_profile
from photochrom.imagefile.reading import open_pages, open_photo
from photochrom.imagefile.tiff.pages import read_pages
from photochrom.imagefile.writing import save_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
ADOBE = [64, 100, 33, 100, 21, 100, 71, 100, 15, 100, 6, 100]
D65 = [3127, 10000, 3290, 10000]
WHITE_AND_PRIMARIES = [(318, "2I", 2, D65, True), (319, "2I", 6, ADOBE, True)]


def write(*pages: dict[str, Any]) -> BytesIO:
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in pages:
            writer.write(metadata=None, **({"data": PIXELS, "photometric": "rgb"} | page))
    stream.seek(0)
    return stream


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("extra", "lost", "has_alpha"),
    [([0], 1, False), ([0, 0], 2, False), ([2], 0, True), ([2, 0], 1, True), ([0, 2], 1, True)],
)
def test_extra_channels(dtype: Any, extra: list[int], lost: int, has_alpha: bool):
    samples = np.dstack([PIXELS, *[PIXELS[..., :1]] * len(extra)]).astype(dtype)
    photo = open_photo(write({"data": samples, "extrasamples": extra}))
    assert (photo.alpha is not None) == has_alpha
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    text = f"are dropped: {lost} of {samples.shape[2]}"
    assert [text in warning for warning in photo.warnings] == [True] * (lost > 0)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_fourth_channel_without_a_meaning_is_opacity(planar: Any):
    """Many programs write it so, and Pillow reads it so."""
    samples = np.dstack([PIXELS, PIXELS[..., :1]])
    stream = write(
        {
            "data": samples if planar == "contig" else np.moveaxis(samples, -1, 0),
            "planarconfig": planar,
            "extrasamples": [0],
        }
    )
    data = stream.getvalue()
    at = data.index(b"\x52\x01\x03\x00")  # ExtraSamples becomes a private tag in its place
    photo = open_photo(BytesIO(data[:at] + b"\xe8\xfd" + data[at + 2 :]))
    np.testing.assert_array_equal(photo.alpha, PIXELS[..., 0])
    assert photo.warnings == ()


def test_smaller_copies_in_subdirectories_are_said():
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(PIXELS, photometric="rgb", subifds=2, metadata=None)
        for step in (2, 4):
            small = np.ascontiguousarray(PIXELS[::step, ::step])
            writer.write(small, photometric="rgb", subfiletype=1, metadata=None)
    (photo,) = open_pages(stream)
    assert photo.warnings == ("smaller copies or previews in SubIFDs are dropped",)


def test_layers_are_said():
    tag = (37724, "B", 40, b"Adobe Photoshop Document Data Block\0\0\0\0\0", True)
    photo = open_photo(write({"extratags": [tag]}))
    assert photo.warnings == ("the layers are dropped",)


def test_tags_of_the_stored_pixels_are_said():
    tags = [(291, "H", 256, list(range(256)), True), (281, "H", 1, 200, True)]
    photo = open_photo(write({"extratags": tags}))
    assert photo.warnings == (
        "TIFF tags that describe the stored pixels are dropped: MaxSampleValue, GrayResponseCurve",
    )


def test_an_ordinary_page_loses_nothing():
    tags = [(321, "H", 2, [10, 250], True), (315, "s", 0, "me", True)]
    photo = open_photo(write({"extratags": tags, "resolution": (300, 300), "software": "it"}))
    assert photo.warnings == ()


@pytest.mark.parametrize("kind", [1, 4, 5])
def test_copies_and_masks_of_a_page_are_dropped_and_said(kind: int):
    small = np.ascontiguousarray(PIXELS[::2, ::2])
    stream = write({}, {"data": small, "subfiletype": 1}, {"data": PIXELS[:10]})
    entry = struct.pack("<HHI", 254, 4, 1)
    data = stream.getvalue().replace(entry + b"\1", entry + bytes([kind]))
    first, second = open_pages(BytesIO(data))
    assert (first.size, second.size) == ((30, 20), (30, 10))
    assert first.warnings == ("smaller copies and masks are dropped: 1 of 3 pages",)
    assert second.warnings == ()


def test_pages_of_equal_rank_are_kept():
    stream = write({"subfiletype": 2}, {"subfiletype": 2})
    assert [photo.size for photo in open_pages(stream)] == [(30, 20)] * 2
    only_copies = write({"subfiletype": 1}, {"subfiletype": 0})
    assert [photo.size for photo in open_pages(only_copies)] == [(30, 20)] * 2


def test_white_point_and_primaries_are_honoured_and_kept(tmp_path: Path):
    photo = open_photo(write({"extratags": WHITE_AND_PRIMARIES}))
    assert photo.space.matrix is not None
    # Adobe RGB's matrix to linear sRGB; its second and third rows are those of sRGB
    expected = [[1.398, -0.398, 0], [0, 1, 0], [0, -0.043, 1.043]]
    np.testing.assert_allclose(photo.space.matrix, expected, atol=0.003)
    assert photo.warnings == ()
    save_photo(photo, tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("rb") as stream:
        (page,) = read_pages(stream)
        assert page.fractions(318) == pytest.approx((0.3127, 0.329))
        assert page.fractions(319)[:4] == pytest.approx((0.64, 0.33, 0.21, 0.71))
    again = open_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(again.space.matrix, photo.space.matrix)


def test_primaries_of_srgb_need_no_profile():
    srgb = [64, 100, 33, 100, 30, 100, 60, 100, 15, 100, 6, 100]
    photo = open_photo(
        write({"extratags": [(318, "2I", 2, D65, True), (319, "2I", 6, srgb, True)]})
    )
    assert photo.space is SRGB
    assert photo.metadata.icc is None


@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transfer_function_of_grey(white_is_zero: bool, dtype: Any):
    count = np.iinfo(dtype).max + 1
    curve = (np.linspace(0, 1, count) ** 1.5 * 65535).round().astype(int)
    values = np.linspace(0, count - 1, 30).astype(dtype)[None].repeat(4, axis=0)
    curve = curve[::-1] if white_is_zero else curve
    photo = open_photo(
        write(
            {
                "data": count - 1 - values if white_is_zero else values,
                "photometric": "miniswhite" if white_is_zero else "minisblack",
                "extratags": [(301, "H", count, curve.tolist(), True)],
            }
        )
    )
    linear = (values[0] / (count - 1)) ** 1.5
    expected = np.where(linear > 0.008856, 116 * np.cbrt(linear) - 16, 903.3 * linear)
    np.testing.assert_allclose(lightness(photo.pixels, photo.space)[0], expected, atol=0.1)


def test_transfer_functions_of_channels():
    curves = [(np.linspace(0, 1, 256) ** power * 65535).round().astype(int) for power in (1, 2, 3)]
    tag = (301, "H", 768, np.concatenate(curves).tolist(), True)
    photo = open_photo(write({"extratags": [tag]}))
    np.testing.assert_allclose(photo.space.curves[:, 32768], [0.5, 0.25, 0.125], atol=1e-3)


def test_colors_that_are_not_plausible_are_not_used():
    wrong = [1, 100, 1, 100, 1, 100, 1, 100, 1, 100, 1, 100]
    tags = [(318, "2I", 2, D65, True), (319, "2I", 6, wrong, True)]
    photo = open_photo(write({"extratags": tags}))
    assert photo.space is SRGB
    assert any("not plausible" in warning for warning in photo.warnings)


def test_color_tags_of_grey_are_said_once_they_are_wrong():
    photo = open_photo(
        write(
            {"data": PIXELS[..., 0], "photometric": "minisblack", "extratags": WHITE_AND_PRIMARIES}
        )
    )
    assert photo.space is SRGB
    assert photo.warnings == (
        "TIFF tags that describe the stored pixels are dropped: WhitePoint, PrimaryChromaticities",
    )


def test_neutral_palette_with_a_grey_profile_is_grey():
    ramp = np.arange(256, dtype=np.uint16) * 257
    profile = build_profile(1.0, None)
    page = {
        "data": PIXELS[..., 0],
        "photometric": "palette",
        "colormap": np.stack([ramp] * 3),
        "extratags": [(34675, 7, len(profile), profile, True)],
    }
    photo = open_photo(write(page))
    np.testing.assert_array_equal(photo.pixels, PIXELS[..., :1])
    assert photo.space.matrix is None
    assert photo.warnings == ()


def test_tile_sizes_of_strips_are_ignored():
    tags = [(tag, "H", 1, 1, True) for tag in (65000, 65001)]
    data = write({"rowsperstrip": 8, "compression": "zlib", "extratags": tags}).getvalue()
    for tag, replaced in ((322, 65000), (323, 65001)):
        data = data.replace(struct.pack("<HH", replaced, 3), struct.pack("<HH", tag, 3))
    np.testing.assert_array_equal(open_photo(BytesIO(data)).pixels, PIXELS)


def test_damaged_tags_are_said_to_be_dropped():
    data = bytearray(write({"extratags": [(315, "s", 0, "an author", True)]}).getvalue())
    assert open_photo(BytesIO(data)).warnings == ()
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = range(start + 2, start + 2 + 12 * count, 12)
    author = next(entry for entry in entries if data[entry : entry + 2] == b"\x3b\1")
    outside = struct.pack("<I", len(data) + 1)

    data[author + 8 : author + 12] = outside
    expected = ("damaged TIFF tags are dropped: Artist",)
    assert open_photo(BytesIO(data)).warnings == expected

    data[author : author + 12] = struct.pack("<HHI", 34665, 4, 1) + outside
    expected = ("damaged TIFF tags are dropped: ExifIFD",)
    assert open_photo(BytesIO(data)).warnings == expected
