"""PSD and PSB, written here byte by byte (Adobe Photoshop File Formats Specification)."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import SRGB, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.fuzzing import XMP, exif
from support.icc_profiles import GREYS, SPACES
from support.photoshop import (
    BITMAP,
    CMYK,
    DUOTONE,
    GREY,
    INDEXED,
    LAB,
    MULTICHANNEL,
    PACKBITS,
    PREDICTED,
    RAW,
    RGB,
    ZIP,
    psd,
)

IPTC = b"\x1c\x02\x78\0\x07caption"
RESOLUTION = struct.pack(">IHHIHH", 300 << 16, 2, 1, 150 << 16, 2, 1)
RANDOM = np.random.default_rng(0)


def read(data: bytes, tmp_path: Path) -> Photo:
    path = tmp_path / "a.psd"
    path.write_bytes(data)
    return open_photo(path)


def noise(channels: int, dtype: type = np.uint8) -> NDArray[np.generic]:
    """Return planes of 13x7 pixels: noise, flat rows and a row that alternates."""
    values = RANDOM.integers(0, np.iinfo(dtype).max, (channels, 7, 13), dtype, endpoint=True)
    values[:, 2] = 7
    values[:, 3, ::2] = 0
    return values


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compression", [RAW, PACKBITS, ZIP, PREDICTED])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("mode", "channels"), [(GREY, 1), (RGB, 3), (DUOTONE, 1)])
def test_pixels_are_read(
    mode: int, channels: int, dtype: type, compression: int, version: int, tmp_path: Path
):
    planes = noise(channels, dtype)
    photo = read(psd(planes, mode, compression=compression, version=version), tmp_path)
    assert photo.pixels.dtype == dtype
    assert np.array_equal(photo.pixels, np.moveaxis(planes, 0, -1))
    assert photo.alpha is None
    assert bool(photo.warnings) == (mode == DUOTONE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("pad", [1, 2, 5])
def test_padding_of_rows_does_not_shift_the_next(pad: int, dtype: type, tmp_path: Path):
    planes = noise(3, dtype)
    photo = read(psd(planes, compression=PACKBITS, pad=pad), tmp_path)
    assert np.array_equal(photo.pixels, np.moveaxis(planes, 0, -1))


@pytest.mark.parametrize("compression", [RAW, PACKBITS])
@pytest.mark.parametrize("width", [8, 13])
def test_1_bit_is_black(compression: int, width: int, tmp_path: Path):
    is_black = RANDOM.random((1, 5, width)) < 0.2
    photo = read(psd(is_black, BITMAP, compression=compression), tmp_path)
    assert np.array_equal(photo.pixels[..., 0], np.where(is_black[0], 0, 255))


def test_palette_is_applied(tmp_path: Path):
    palette = RANDOM.integers(0, 256, (3, 256), np.uint8)
    planes = noise(1)
    photo = read(psd(planes, INDEXED, palette=palette.tobytes()), tmp_path)
    assert np.array_equal(photo.pixels, palette.T[planes[0]])
    resources = {1047: struct.pack(">H", 7)}
    photo = read(psd(planes, INDEXED, palette=palette.tobytes(), resources=resources), tmp_path)
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, planes[0] == 7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_has_ink_where_values_are_small(dtype: type, tmp_path: Path):
    white = np.iinfo(dtype).max
    planes = np.full((4, 3, 2), white, dtype)
    planes[3, 0] = 0
    planes[3, 1] = white // 2
    planes[0, 2] = 0
    photo = read(psd(planes, CMYK), tmp_path)
    assert photo.pixels.dtype == dtype
    assert photo.pixels[0].max() == 0
    assert (photo.pixels[1] == white // 2).all()
    assert (photo.pixels[2] == (0, white, white)).all()
    assert "as if inks were ideal" in photo.warnings[0]


@pytest.mark.parametrize(("dtype", "zero"), [(np.uint8, 128), (np.uint16, 32768)])
def test_lab_becomes_srgb(dtype: type, zero: int, tmp_path: Path):
    white = np.iinfo(dtype).max
    planes = np.full((3, 1, 5), zero, dtype)
    planes[0] = np.linspace(0, white, 5)
    planes[1, 0, 2] += 40 * (white // 255)  # a* = 40
    photo = read(psd(planes, LAB), tmp_path)
    assert photo.pixels.dtype == dtype
    assert photo.space is SRGB
    assert "Lab is converted to sRGB" in photo.warnings
    lightness = color.lightness(photo.pixels)[0]
    assert lightness == pytest.approx([0, 25, 50, 75, 100], abs=0.6 if dtype == np.uint8 else 0.3)
    neutral = photo.pixels[0, [0, 1, 3, 4]].astype(int)
    assert np.ptp(neutral, axis=1).max() <= white // 200
    assert photo.pixels[0, 2, 0] > photo.pixels[0, 2, 1] * 1.4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("mode", "count"), [(GREY, 1), (RGB, 3)])
def test_extra_channel_is_no_transparency(mode: int, count: int, dtype: type, tmp_path: Path):
    planes = noise(count + 2, dtype)
    for data in (
        psd(planes, mode),
        psd(planes, mode, layer_count=1),
        psd(planes, mode, resources={1053: struct.pack(">2I", 3, 4)}),
    ):
        photo = read(data, tmp_path)
        assert photo.alpha is None
        assert np.array_equal(photo.pixels, np.moveaxis(planes[:count], 0, -1))
        assert "2 extra channels (spot colours, saved selections) are dropped" in photo.warnings


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("version", [1, 2])
def test_transparency_is_read(version: int, dtype: type, tmp_path: Path):
    white = np.iinfo(dtype).max
    color = np.array([0.2, 0.5, 0.8])[:, None, None] * white
    opacity = np.linspace(0, 1, 13)[None, None].repeat(7, 1)
    blended = color * opacity + white * (1 - opacity)
    planes = np.concatenate([blended, opacity * white]).round().astype(dtype)
    count_in_block = {b"Lr16": struct.pack(">h", -1)}
    for options in (
        {"layer_count": -1},
        {"blocks": count_in_block},
        {"blocks": {b"cinf": bytes(5), b"Mt16": b""}},
        {"resources": {1053: bytes(4)}},
    ):
        photo = read(psd(planes, version=version, **options), tmp_path)  # type: ignore[arg-type]
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, planes[3])
        visible = photo.pixels[:, 4:]  # white is taken out again
        assert np.abs(visible / white - (0.2, 0.5, 0.8)).max() < 0.01


def test_transparency_behind_a_spot_channel_is_read(tmp_path: Path):
    planes = noise(5)
    planes[4] = 255
    photo = read(psd(planes, resources={1053: struct.pack(">2I", 9, 0)}), tmp_path)
    assert photo.alpha is not None
    assert photo.alpha.min() == 255
    assert photo.warnings == ("an extra channel (spot colour, saved selection) is dropped",)


def test_layers_without_merged_image_are_refused(tmp_path: Path):
    version_info = struct.pack(">IB", 1, 0)
    with pytest.raises(PhotoError, match="Maximize Compatibility"):
        read(psd(noise(3), layer_count=2, resources={1057: version_info}), tmp_path)
    data = psd(noise(3), layer_count=2)
    pixels = read(data, tmp_path)
    assert pixels.warnings == ("the layers are dropped, the merged image is kept",)
    with pytest.raises(PhotoError, match="Maximize Compatibility"):
        read(data[: -2 - 3 * 7 * 13], tmp_path)


@pytest.mark.parametrize("compression", [RAW, PACKBITS, ZIP])
def test_cut_off_pixels_are_refused(compression: int, tmp_path: Path):
    data = psd(noise(3), compression=compression)
    for end in (len(data) - 8, len(data) - 40, 40, 20):
        with pytest.raises(PhotoError, match="cut off"):
            read(data[:end], tmp_path)


def test_short_row_is_refused(tmp_path: Path):
    rows = [imagecodecs.packbits_encode(bytes(12))] * 21
    lengths = struct.pack(">21H", *map(len, rows))
    data = psd(noise(3), compression=RAW)
    start = len(data) - 3 * 7 * 13 - 2
    with pytest.raises(PhotoError, match="a row is too short"):
        read(data[:start] + b"\0\1" + lengths + b"".join(rows), tmp_path)


@pytest.mark.parametrize(
    ("mode", "dtype", "message"),
    [(MULTICHANNEL, "u1", "multichannel"), (RGB, "f4", "floating-point"), (55, "u1", "mode 55")],
)
def test_other_modes_are_refused_by_name(mode: int, dtype: str, message: str, tmp_path: Path):
    with pytest.raises(PhotoError, match=rf"a\.psd: .*{message}"):
        read(psd(np.zeros((3, 4, 4), dtype), mode), tmp_path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path):
    data = bytearray(psd(noise(3)))
    data[14:22] = struct.pack(">II", 30_000, 30_000)
    with pytest.raises(PhotoError, match="megapixels; the limit is 200"):
        read(bytes(data), tmp_path)


def test_metadata_are_read(tmp_path: Path):
    block = exif()[6:]
    resources = {
        1005: RESOLUTION,
        1028: IPTC,
        1034: b"\1",
        1036: b"a thumbnail",
        1039: SPACES["adobe"],
        1058: block,
        1059: b"not a block",
        1060: XMP,
    }
    metadata = read(psd(noise(3), resources=resources), tmp_path).metadata
    assert metadata.density in ((300, 150, "inch"), (150, 300, "inch"))  # EXIF says turned
    assert metadata.iptc == IPTC
    nothing = struct.pack(">IHHIHH", 1, 1, 1, 1, 1, 1)  # as ImageMagick writes
    assert read(psd(noise(3), resources={1005: nothing}), tmp_path).metadata.density is None
    assert metadata.icc == SPACES["adobe"]
    assert metadata.exif is not None
    assert b"a caption" in metadata.exif
    assert metadata.xmp is not None
    assert metadata.photoshop is not None
    assert b"thumbnail" not in metadata.photoshop
    assert b"8BIM\x04\x0a" in metadata.photoshop  # the copyright flag


def test_damaged_exif_is_said(tmp_path: Path):
    photo = read(psd(noise(3), resources={1058: b"not a block"}), tmp_path)
    assert photo.metadata.exif is None
    assert photo.warnings == ("damaged EXIF is dropped",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profile_is_honoured(dtype: type, tmp_path: Path):
    photo = read(psd(noise(3, dtype), resources={1039: SPACES["prophoto"]}), tmp_path)
    assert photo.space is icc.read_profile(SPACES["prophoto"])
    photo = read(psd(noise(1, dtype), GREY, resources={1039: GREYS["gamma 2.2"]}), tmp_path)
    assert photo.space.matrix is None
    assert read(psd(noise(3, dtype)), tmp_path).space is SRGB
