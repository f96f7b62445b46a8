"""PCX, written here byte by byte."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo

PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)


def encode_runs(row: bytes) -> bytes:
    """Compress bytes as runs, of 3 at most."""
    output, start = b"", 0
    while start < len(row):
        count = 1
        while count < 3 and row[start : start + count + 1] == row[start : start + 1] * (count + 1):
            count += 1
        if count > 1 or row[start] >= 0xC0:
            output += bytes([0xC0 + count])
        output += row[start : start + 1]
        start += count
    return output


def pcx(
    planes: NDArray[np.uint8],
    bits: int,
    palette: bytes = b"",
    *,
    version: int = 5,
    is_compressed: bool = True,
    pad: int = 0,
    dpi: tuple[int, int] = (300, 150),
    tail: bytes = b"",
) -> bytes:
    """Return a PCX of values below 2**bits, shape (planes, H, W)."""
    count, height, width = planes.shape
    digits = np.unpackbits(planes[..., None], axis=-1)[..., 8 - bits :]
    rows = np.packbits(digits.reshape(count, height, -1), axis=-1)
    rows = np.pad(rows, ((0, 0), (0, 0), (0, rows.shape[-1] % 2 + pad)))
    header = struct.pack(
        "<BBBB4H2H48sBBH60x",
        *(10, version, int(is_compressed), bits, 7, 9, 7 + width - 1, 9 + height - 1, *dpi),
        *(palette, 0, count, rows.shape[-1]),
    )
    content = rows.swapaxes(0, 1).tobytes()
    return header + (encode_runs(content) if is_compressed else content) + tail


def read(data: bytes, tmp_path: Path) -> Photo:
    (tmp_path / "a.pcx").write_bytes(data)
    return open_photo(tmp_path / "a.pcx")


def noise(planes: int, bits: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 1 << bits, (planes, 7, 13), np.uint8)


@pytest.mark.parametrize("is_compressed", [True, False])
@pytest.mark.parametrize("pad", [0, 2])
@pytest.mark.parametrize(("bits", "planes"), [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (4, 1)])
def test_palette_of_the_header_is_applied(
    bits: int, planes: int, pad: int, is_compressed: bool, tmp_path: Path
):
    values = noise(planes, bits)
    data = pcx(values, bits, PALETTE[:16].tobytes(), pad=pad, is_compressed=is_compressed)
    indices = sum(values[plane].astype(int) << plane for plane in range(planes))
    assert np.array_equal(read(data, tmp_path).pixels, PALETTE[indices])


@pytest.mark.parametrize("version", [2, 3, 5])
def test_1_bit_without_palette_is_black_and_white(version: int, tmp_path: Path):
    values = noise(1, 1)
    for palette in (bytes(48), b"\xff" * 48):
        pixels = read(pcx(values, 1, palette, version=version), tmp_path).pixels
        assert np.array_equal(pixels[..., 0], values[0] * 255)


def test_1_bit_can_be_inverted_by_its_palette(tmp_path: Path):
    values = noise(1, 1)
    pixels = read(pcx(values, 1, b"\xff\xff\xff" + bytes(45)), tmp_path).pixels
    assert np.array_equal(pixels[..., 0], 255 - values[0] * 255)


def test_16_colours_without_palette_are_the_default_ones(tmp_path: Path):
    pixels = read(pcx(np.full((4, 1, 2), 1, np.uint8), 1, version=3), tmp_path).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_8_bits_are_read(tmp_path: Path):
    values = noise(1, 8)
    photo = read(pcx(values, 8, tail=b"\x0c" + PALETTE.tobytes()), tmp_path)
    assert np.array_equal(photo.pixels, PALETTE[values[0]])
    photo = read(pcx(values, 8), tmp_path)
    assert np.array_equal(photo.pixels[..., 0], values[0])
    rgb = noise(3, 8)
    assert np.array_equal(read(pcx(rgb, 8), tmp_path).pixels, np.moveaxis(rgb, 0, -1))


def test_resolution_is_read(tmp_path: Path):
    assert read(pcx(noise(1, 8), 8), tmp_path).metadata.density == (300, 150, "inch")
    for dpi in ((0, 0), (13, 7)):  # none, or the size
        assert read(pcx(noise(1, 8), 8, dpi=dpi), tmp_path).metadata.density is None


def test_other_kinds_and_damage_are_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="3 planes of 4 bits"):
        read(pcx(noise(3, 4), 4), tmp_path)
    with pytest.raises(PhotoError, match="1 planes of 2 bits and version 2"):
        read(pcx(noise(1, 2), 2, version=2), tmp_path)
    with pytest.raises(PhotoError, match="damaged or cut off"):
        read(pcx(noise(3, 8), 8)[:-5], tmp_path)
    with pytest.raises(PhotoError, match="damaged or cut off"):
        read(pcx(noise(3, 8), 8)[:60], tmp_path)
