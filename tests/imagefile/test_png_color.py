"""Colours of a PNG that has no profile: gAMA, cHRM and cICP."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from photochrom import color
from photochrom.color import SRGB
from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.png import metadata as png
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo

ADOBE_RGB = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
BT709 = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
PQ, HLG, LINEAR, BT2020 = 16, 18, 8, 9


def write_png(path: Path, chunks: dict[bytes, bytes], *, bits: int = 8, kind: int = 2) -> Path:
    """Write a ramp of 16x1 pixels, grey (kind 0) or RGB (2), with more chunks."""
    values = np.linspace(0, (1 << bits) - 1, 16).astype(f">u{bits // 8}")
    row = values if kind == 0 else np.repeat(values, 3)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            png.make_chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 1, bits, kind, 0, 0, 0)),
            *(png.make_chunk(name, content) for name, content in chunks.items()),
            png.make_chunk(b"IDAT", zlib.compress(b"\0" + row.tobytes())),
            png.make_chunk(b"IEND", b""),
        ]
    )
    path.write_bytes(data)
    return path


def gamma(value: int) -> dict[bytes, bytes]:
    return {b"gAMA": struct.pack(">I", value)}


def colors(values: tuple[int, ...]) -> dict[bytes, bytes]:
    return {b"cHRM": struct.pack(">8I", *values)}


def code_points(primaries: int, transfer: int, *more: int) -> dict[bytes, bytes]:
    return {b"cICP": bytes((primaries, transfer, *(more or (0, 1))))}


@pytest.mark.parametrize("kind", [0, 2])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("gama", "exponent"), [(100_000, 1.0), (55_556, 1.8), (38_462, 2.6)])
def test_gamma_is_honoured(gama: int, exponent: float, bits: int, kind: int, tmp_path: Path):
    photo = open_photo(write_png(tmp_path / "a.png", gamma(gama), bits=bits, kind=kind))
    values = photo.pixels.astype(float) / ((1 << bits) - 1)
    assert photo.pixels.dtype.itemsize * 8 == bits
    expected = 116 * np.cbrt(values[0, 8:, 0] ** exponent) - 16
    lightness = color.lightness(photo.pixels, photo.space)
    assert lightness[0, 8:] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "chunks",
    [
        {},
        gamma(45455),
        gamma(45000) | colors(BT709),
        gamma(0),
        gamma(100_000) | {b"sRGB": b"\0"},
        colors((31270, 32902, 64002, 33001, 29999, 60000, 15001, 5999)),
        code_points(1, 13) | gamma(100_000),
        code_points(2, 2),
    ],
)
def test_chunks_of_srgb_are_srgb(chunks: dict[bytes, bytes], tmp_path: Path):
    photo = open_photo(write_png(tmp_path / "a.png", chunks))
    assert photo.space is SRGB
    assert photo.metadata.icc is None
    assert photo.warnings == ()


def test_primaries_are_honoured(tmp_path: Path):
    for chunks in (colors(ADOBE_RGB), gamma(45470) | colors(ADOBE_RGB)):
        photo = open_photo(write_png(tmp_path / "a.png", chunks))
        green = np.array([[[0, 255, 0]]], np.uint8)
        y = (color.lightness(green, photo.space) + 16) / 116
        assert y**3 == pytest.approx(0.627, abs=0.002)  # Y of Adobe RGB's green; sRGB: 0.715


@pytest.mark.parametrize("kind", [0, 2])
@pytest.mark.parametrize(
    "chunks",
    [gamma(100_000), gamma(55_556) | colors(ADOBE_RGB), code_points(BT2020, LINEAR)],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_colours_are_written_back(
    chunks: dict[bytes, bytes], kind: int, suffix: str, tmp_path: Path
):
    photo = open_photo(write_png(tmp_path / "a.png", chunks, kind=kind))
    save_photo(photo, tmp_path / f"b{suffix}")
    again = open_photo(tmp_path / f"b{suffix}")
    before, after = (color.lightness(p.pixels, p.space) for p in (photo, again))
    assert after == pytest.approx(before, abs=0 if suffix != ".jpg" else 1)
    if suffix == ".png" and kind == 2:
        written = dict(png.iterate_chunks((tmp_path / "b.png").read_bytes()))
        assert {name: written[name][8:-4] for name in chunks} == chunks


def test_linear_code_points_are_honoured(tmp_path: Path):
    photo = open_photo(write_png(tmp_path / "a.png", code_points(BT2020, LINEAR), bits=16))
    assert color.lightness(photo.pixels, photo.space)[0, 8] == pytest.approx(
        116 * np.cbrt(8 / 15) - 16, abs=0.01
    )


@pytest.mark.parametrize("transfer", [PQ, HLG, 9, 99])
@pytest.mark.parametrize("kind", [0, 2])
def test_hdr_is_refused(transfer: int, kind: int, tmp_path: Path):
    path = write_png(tmp_path / "a.png", code_points(BT2020, transfer), bits=16, kind=kind)
    with pytest.raises(PhotoError, match=r"a\.png: its transfer curve, .* cannot be used"):
        open_photo(path)


@pytest.mark.parametrize(("matrix", "is_full"), [(9, 1), (0, 0)])
def test_video_range_and_ycbcr_are_refused(matrix: int, is_full: int, tmp_path: Path):
    path = write_png(tmp_path / "a.png", code_points(1, 13, matrix, is_full))
    with pytest.raises(PhotoError, match="full-range RGB"):
        open_photo(path)


@pytest.mark.parametrize("chunks", [gamma(1), gamma(2**31 - 1), colors((0,) * 8), {b"cHRM": b"1"}])
def test_implausible_colours_are_dropped_and_said(chunks: dict[bytes, bytes], tmp_path: Path):
    photo = open_photo(write_png(tmp_path / "a.png", chunks))
    assert photo.space is SRGB
    assert photo.metadata.png_chunks == ()
    assert photo.warnings == ("the colours in gAMA and cHRM are not plausible and are dropped",)


def test_grey_loses_primaries_that_its_colours_will_not_have(tmp_path: Path):
    for chunks in (code_points(BT2020, 13), gamma(45455) | colors(ADOBE_RGB)):
        photo = open_photo(write_png(tmp_path / "a.png", chunks, kind=0))
        assert photo.space is SRGB
        assert not {b"cICP", b"cHRM"} & {chunk[4:8] for chunk in photo.metadata.png_chunks}


def test_profile_comes_before_gamma(tmp_path: Path):
    adobe = open_photo(write_png(tmp_path / "a.png", colors(ADOBE_RGB))).metadata
    save_photo(Photo(np.zeros((4, 4, 3), np.uint8), metadata=adobe), tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    header = 8 + 25
    linear = png.make_chunk(b"gAMA", struct.pack(">I", 100_000))
    (tmp_path / "c.png").write_bytes(data[:header] + linear + data[header:])
    assert open_photo(tmp_path / "c.png").metadata.icc == adobe.icc
