"""Windows bitmaps, written here byte by byte: profiles, calibrated colours, resolution."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom import color
from photochrom.color import SRGB, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from support.icc_profiles import SPACES

SRGB_KIND, CALIBRATED, EMBEDDED, LINKED = b"BGRs", bytes(4), b"DEBM", b"KNIL"
ADOBE_XYZ = ((0.5767, 0.2974, 0.0270), (0.1856, 0.6273, 0.0707), (0.1882, 0.0753, 0.9911))
BT709_XYZ = ((0.4124, 0.2126, 0.0193), (0.3576, 0.7152, 0.1192), (0.1805, 0.0722, 0.9505))
BT709_XY = ((0.64, 0.33, 0.03), (0.30, 0.60, 0.10), (0.15, 0.06, 0.79))


def bmp(
    kind: bytes = SRGB_KIND,
    *,
    size: int = 124,
    endpoints: tuple[tuple[float, ...], ...] = ((0, 0, 0),) * 3,
    gammas: tuple[float, ...] = (0, 0, 0),
    profile: bytes = b"",
    is_palette: bool = False,
) -> bytes:
    """Return a grey ramp of 16x1 pixels, as RGB or by a palette."""
    values = np.arange(16, dtype=np.uint8) * 17
    palette = b""
    pixels = np.repeat(values, 3).tobytes()
    if is_palette:
        greys = np.arange(256, dtype=np.uint8)
        palette = np.stack([greys, greys, greys, np.zeros_like(greys)], axis=1).tobytes()
        pixels = values.tobytes()
    start = 14 + size + len(palette)
    fixed = [round(number * 2**30) for endpoint in endpoints for number in endpoint]
    header = struct.pack("<IiiHHIIiiII", size, 16, 1, 1, len(pixels) // 2, 0, 0, 11811, 5906, 0, 0)
    header += bytes(16) + kind + struct.pack("<9i3I", *fixed, *(round(g * 65536) for g in gammas))
    header += struct.pack("<4I", 4, start - 14 + len(pixels), len(profile), 0)
    return b"".join(
        [
            struct.pack("<2sIII", b"BM", start + len(pixels) + len(profile), 0, start),
            header[:size] + palette + pixels + profile,
        ]
    )


def read(data: bytes, tmp_path: Path) -> Photo:
    path = tmp_path / "a.bmp"
    path.write_bytes(data)
    return open_photo(path)


@pytest.mark.parametrize("is_palette", [False, True])
def test_embedded_profile_is_honoured(is_palette: bool, tmp_path: Path):
    photo = read(bmp(EMBEDDED, profile=SPACES["prophoto"], is_palette=is_palette), tmp_path)
    assert photo.space is icc.read_profile(SPACES["prophoto"])
    assert photo.metadata.icc == SPACES["prophoto"]
    assert np.array_equal(photo.pixels[0, :, 0], np.arange(16) * 17)
    assert photo.warnings == ()


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg", ".tif"])
def test_profile_is_written_back(suffix: str, tmp_path: Path):
    photo = read(bmp(EMBEDDED, profile=SPACES["prophoto"]), tmp_path)
    assert not any("profile" in text for text in save_photo(photo, tmp_path / f"b{suffix}"))
    again = open_photo(tmp_path / f"b{suffix}")
    assert again.metadata.icc == SPACES["prophoto"]
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= (3 if suffix == ".jpg" else 0)
    assert again.metadata.density is not None
    with Image.open(tmp_path / f"b{suffix}") as image:  # others can still read it
        assert image.size == (16, 1)
        image.load()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("profile", [None, SPACES["adobe"]])
def test_transparency_is_written(channels: int, profile: bytes | None, tmp_path: Path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 7, channels), np.uint8)
    alpha = random.integers(0, 256, (5, 7), np.uint8)
    save_photo(Photo(pixels, alpha, metadata=Metadata(icc=profile)), tmp_path / "a.bmp")
    photo = open_photo(tmp_path / "a.bmp")
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha, alpha)
    assert np.array_equal(photo.pixels, np.broadcast_to(pixels, (5, 7, 3)))
    assert photo.metadata.icc == profile


def test_without_profile_the_header_stays_short(tmp_path: Path):
    save_photo(read(bmp(), tmp_path), tmp_path / "b.bmp")
    assert (tmp_path / "b.bmp").read_bytes()[14] == 40


@pytest.mark.parametrize("is_palette", [False, True])
@pytest.mark.parametrize("size", [108, 124])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.8])
def test_gamma_is_honoured(gamma: float, size: int, is_palette: bool, tmp_path: Path):
    for endpoints in (BT709_XYZ, BT709_XY, ((0, 0, 0),) * 3):
        data = bmp(
            CALIBRATED, size=size, endpoints=endpoints, gammas=(gamma,) * 3, is_palette=is_palette
        )
        photo = read(data, tmp_path)
        expected = 116 * np.cbrt(np.linspace(0, 1, 16)[8:] ** gamma) - 16
        assert color.lightness(photo.pixels, photo.space)[0, 8:] == pytest.approx(expected, abs=0.1)


def test_primaries_are_honoured(tmp_path: Path):
    photo = read(bmp(CALIBRATED, endpoints=ADOBE_XYZ, gammas=(2.2,) * 3), tmp_path)
    y = (color.lightness(np.array([[[0, 255, 0]]], np.uint8), photo.space) + 16) / 116
    assert y**3 == pytest.approx(0.627, abs=0.002)


@pytest.mark.parametrize(
    "data",
    [
        bmp(),
        bmp(size=40),
        bmp(b" niW"),
        bmp(CALIBRATED),
        bmp(CALIBRATED, endpoints=BT709_XYZ, gammas=(2.2,) * 3),
        bmp(CALIBRATED, endpoints=BT709_XY, gammas=(2.2,) * 3),
        bmp(EMBEDDED, size=108),
    ],
)
def test_srgb_is_srgb(data: bytes, tmp_path: Path):
    photo = read(data, tmp_path)
    assert photo.space is SRGB
    assert photo.metadata.icc is None
    assert photo.warnings == ()
    assert photo.metadata.density == (11811, 5906, "m")


def test_linked_profile_and_different_gammas_are_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match=r"a\.bmp: its colour profile is another file, 'C:\\\\x'"):
        read(bmp(LINKED, profile=b"C:\\x\0"), tmp_path)
    with pytest.raises(PhotoError, match=r"a\.bmp: red, green and blue have different gammas"):
        read(bmp(CALIBRATED, endpoints=BT709_XYZ, gammas=(1.0, 1.0, 2.2)), tmp_path)


def test_what_cannot_be_used_is_said(tmp_path: Path):
    photo = read(bmp(EMBEDDED, profile=SPACES["adobe"])[:-9], tmp_path)
    assert photo.warnings == ("the colour profile is cut off and dropped",)
    photo = read(bmp(CALIBRATED, endpoints=((1, 1, 1),) * 3, gammas=(1.0,) * 3), tmp_path)
    assert "the colours of its header are dropped" in photo.warnings[0]


def test_grey_with_an_rgb_profile_keeps_its_lightness(tmp_path: Path):
    for profile in (SPACES["prophoto"], icc.srgb_profile()):
        ramp = Image.fromarray(np.arange(0, 256, 15, np.uint8)[None])
        for image in (ramp, ramp.convert("RGB")):
            image.save(tmp_path / f"{image.mode}.png", icc_profile=profile)
        grey, rgb = (open_photo(tmp_path / f"{mode}.png") for mode in ("L", "RGB"))
        expected = color.lightness(rgb.pixels, rgb.space)
        assert color.lightness(grey.pixels, grey.space) == pytest.approx(expected, abs=1e-4)
        assert grey.warnings == ()
        assert grey.metadata.icc == profile
