import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from photochrom.color import SRGB, cicp, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.codecs.av1 import read_code_points
from photochrom.imagefile.codecs.heif_items import needs_png
from photochrom.imagefile.decoding import DamagedError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.boxes import HeifItem, box, heif, nclx
from support.icc_profiles import SRGB_COLUMNS, gamma, grey, rgb
from support.metadata import exif_block


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


def encode(pixels: np.ndarray, bits: int = 8, **options: Any) -> bytes:
    """Return a lossless AVIF."""
    return imagecodecs.avif_encode(pixels, bitspersample=bits, speed=10, **options)


def read(data: bytes) -> Photo:
    return open_photo(BytesIO(data))


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("kind", ["grey", "color", "alpha"])
def test_avif_of_more_than_8_bits_becomes_16(bits: int, kind: str):
    pixels = {
        "grey": colors(bits)[..., 0].copy(),
        "color": colors(bits),
        "alpha": np.dstack([colors(bits), colors(bits)[..., 0]]),
    }[kind]
    photo = read(encode(pixels, bits))
    scaled = np.atleast_3d(np.round(pixels.astype(float) * 65535 / (2**bits - 1)))
    np.testing.assert_array_equal(photo.pixels, scaled[..., :3])
    assert photo.pixels.dtype == np.uint16
    assert (photo.alpha is not None) == (kind == "alpha")
    assert photo.warnings == (f"{bits} bits are kept in a PNG or TIFF of 16 bits only",)


@pytest.mark.parametrize("bits", [8, 10])
def test_clean_aperture_is_cropped(bits: int):
    pixels = colors(bits)
    aperture = struct.pack(">4IiIiI", 40, 1, 20, 1, -2, 1, 4, 1)  # sizes, then offsets of centres
    photo = read(heif(encode(pixels, bits), box(b"clap", aperture)))
    expected = read(encode(pixels, bits)).pixels[18:38, 10:50]
    np.testing.assert_array_equal(photo.pixels, expected)


def test_invalid_clean_aperture_is_ignored_and_said():
    for width in (0, 65):
        aperture = struct.pack(">4IiIiI", width, 1, 20, 1, 0, 1, 0, 1)
        photo = read(heif(encode(colors(8)), box(b"clap", aperture)))
        assert photo.size == (64, 48)
        assert photo.warnings == ("a crop (clap) that is not valid is ignored",)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_turn_and_mirroring_are_applied_and_exif_is_not(bits: int, turns: int, mirror: int | None):
    properties = [box(b"irot", bytes([turns]))]
    expected = np.rot90(read(encode(colors(bits), bits)).pixels, turns)
    if mirror is not None:
        properties.append(box(b"imir", bytes([mirror])))
        expected = expected[::-1] if mirror == 0 else expected[:, ::-1]
    exif = HeifItem(b"Exif", bytes(4) + exif_block(orientation=3), reference=b"cdsc")
    photo = read(heif(encode(colors(bits), bits), *properties, items=[exif]))
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.metadata.orientation == 1


def test_metadata_are_read():
    block = exif_block(orientation=1)
    items = [
        HeifItem(b"Exif", b"\0\0\0\6Exif\0\0" + block, reference=b"cdsc"),
        HeifItem(b"mime", b"<x:xmpmeta/>", b"application/rdf+xml", reference=b"cdsc"),
        HeifItem(b"mime", b"{}", b"application/json", reference=b"cdsc"),
    ]
    photo = read(heif(encode(colors(8)), items=items))
    assert photo.metadata.exif is not None
    assert len(photo.metadata.exif) == len(block)
    assert photo.metadata.xmp == b"<x:xmpmeta/>"
    assert photo.warnings == ("metadata of the type application/json are dropped",)


def test_further_images_are_said():
    av1 = heif(encode(colors(8)))
    urn = b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0"
    items = [
        HeifItem(b"av01", b"", reference=b"auxl", properties=(box(b"auxC", bytes(4), urn),)),
        HeifItem(b"av01", b"", reference=b"thmb"),
        HeifItem(b"av01", b""),
        HeifItem(b"tmap", b"", reference=b"dimg"),
    ]
    assert read(heif(av1, items=items)).warnings == (
        "the depth image is dropped",
        "the gain map is dropped",
        "1 further image is dropped",
    )


def test_profile_is_honoured_and_kept():
    profile = rgb(SRGB_COLUMNS, gamma(1.0))
    photo = read(heif(encode(colors(8)), box(b"colr", b"prof", profile)))
    assert photo.metadata.icc == profile
    assert photo.space.curves[0, 32768] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("code_points", [(12, 13), (9, 14), (1, 8), (1, 4)])
def test_code_points_become_a_profile(bits: int, code_points: tuple[int, int]):
    photo = read(encode(colors(bits), bits, primaries=code_points[0], transfer=code_points[1]))
    assert photo.metadata.icc == cicp.cicp_profile(*code_points)
    assert photo.metadata.icc is not None
    assert photo.space is icc.read_profile(photo.metadata.icc)


def test_code_points_of_srgb_leave_the_photo_untagged():
    photo = read(heif(encode(colors(8)), nclx(1, 13, 0)))
    assert photo.metadata.icc is None
    assert photo.space is SRGB


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("bits", [8, 10])
def test_hdr_is_refused(transfer: int, name: str, bits: int):
    with pytest.raises(PhotoError, match=rf"its transfer curve, {name} \(HDR\), cannot be used"):
        open_photo(
            BytesIO(encode(colors(bits), bits, primaries=9, transfer=transfer)), max_pixels=1
        )


@pytest.mark.parametrize("bits", [8, 10])
def test_without_nclx_the_code_points_of_the_bitstream_count(bits: int):
    def without_nclx(primaries: int, transfer: int) -> bytes:
        data = encode(colors(bits), bits, primaries=primaries, transfer=transfer)
        return data.replace(b"colrnclx", b"freenclx")

    assert read(without_nclx(12, 13)).metadata.icc == cicp.cicp_profile(12, 13)
    with pytest.raises(PhotoError, match="PQ"):
        read(without_nclx(9, 16))


def test_code_points_of_bitstreams():
    video = bytes.fromhex("12000a0d0000000337fbe7dfca84880482")  # by SVT-AV1, after a delimiter
    assert read_code_points(video) == (9, 16)
    assert read_code_points(video[2:]) == (9, 16)
    random = np.random.default_rng(0)
    for end in range(2, len(video) - 2):
        assert read_code_points(video[:end]) is None
    for _ in range(300):
        read_code_points(video[:4] + random.bytes(13))
        read_code_points(random.bytes(17))


def test_hdr_is_refused_with_a_profile_too():
    data = heif(encode(colors(10), 10), nclx(9, 16, 0), box(b"colr", b"prof", grey(gamma(1.0))))
    with pytest.raises(PhotoError, match="PQ"):
        read(data)


def test_cut_off_files_are_refused():
    for bits in (8, 10):
        data = encode(colors(bits), bits)
        for end in (64, 200, len(data) // 2, len(data) - 1):
            with pytest.raises(PhotoError, match="damaged"):
                read(data[:end])


@pytest.mark.parametrize("meta", [b"", box(b"meta", bytes(4))])
def test_missing_or_damaged_items_are_refused(meta: bytes):
    with pytest.raises(DamagedError, match="is an AVIF that is damaged or cut off"):
        read(box(b"ftyp", b"avif\0\0\0\0avifmif1") + meta + bytes(60))


def test_too_many_pixels_are_refused():
    with pytest.raises(PhotoError, match=r"has 0\.003072 megapixels"):
        open_photo(BytesIO(encode(colors(10), 10)), max_pixels=3071)
