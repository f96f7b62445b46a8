"""SGI images and QOI, written here byte by byte."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo


def encode_row(row: NDArray[np.generic]) -> bytes:
    """Return runs of one value, and of literal ones where neighbours differ."""
    packets: list[int] = []
    start = 0
    while start < len(row):
        count = 1
        while start + count < len(row) and row[start + count] == row[start] and count < 127:
            count += 1
        packets += [count, row[start]] if count > 1 else [0x81, row[start]]
        start += count
    return np.array([*packets, 0], row.dtype).astype(f">u{row.itemsize}").tobytes()


def sgi(
    values: NDArray[np.generic],
    *,
    is_compressed: bool = False,
    name: bytes = b"",
    color_map: int = 0,
) -> bytes:
    """Return an image of values of shape (H, W, C)."""
    height, width, channels = values.shape
    rows = np.moveaxis(values[::-1], -1, 0).reshape(-1, width)
    header = struct.pack(
        ">HBBHHHHII4x80sI404x",
        *(474, is_compressed, values.itemsize, 3, width, height, channels, 0, 255),
        *(name, color_map),
    )
    if not is_compressed:
        return header + rows.astype(f">u{values.itemsize}").tobytes()
    parts = [encode_row(row) for row in rows]
    ends = 512 + 8 * len(parts) + np.cumsum([len(part) for part in parts])
    starts = [end - len(part) for end, part in zip(ends, parts, strict=True)]
    table = np.array([*starts, *map(len, parts)], ">u4").tobytes()
    return header + table + b"".join(parts)


def noise(channels: int, dtype: type) -> NDArray[np.generic]:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 130, channels), dtype)
    values[2] = 9
    return values


def read(data: bytes, tmp_path: Path) -> Photo:
    (tmp_path / "a.img").write_bytes(data)
    return open_photo(tmp_path / "a.img")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sgi_keeps_all_bits(channels: int, dtype: type, is_compressed: bool, tmp_path: Path):
    values = noise(channels, dtype)
    photo = read(sgi(values, is_compressed=is_compressed), tmp_path)
    colors = 1 if channels < 3 else 3
    assert photo.pixels.dtype == dtype
    assert np.array_equal(photo.pixels, values[..., :colors])
    if channels in (2, 4):
        assert photo.alpha is not None
        assert np.array_equal(photo.alpha, values[..., -1])


def test_sgi_name_is_a_comment(tmp_path: Path):
    values = noise(1, np.uint8)
    assert read(sgi(values, name=b"by me"), tmp_path).metadata.comments == ("by me",)
    for name in (b"", b"no name"):
        assert read(sgi(values, name=name), tmp_path).metadata.comments == ()


@pytest.mark.parametrize("is_compressed", [False, True])
def test_sgi_cut_off_is_refused(is_compressed: bool, tmp_path: Path):
    data = sgi(noise(3, np.uint16), is_compressed=is_compressed)
    for end in (len(data) - 9, 600, 60):
        with pytest.raises(PhotoError, match="damaged or cut off"):
            read(data[:end], tmp_path)


def test_sgi_with_fewer_literal_values_than_counted_is_refused(tmp_path: Path):
    header = struct.pack(">HBBHHHHII4x80sI404x", 474, 1, 1, 3, 5, 1, 1, 0, 255, b"", 0)
    for literals in (b"\x4d", b"\x4d\x4d"):
        row = b"\x85" + literals
        table = struct.pack(">II", 520, len(row))
        with pytest.raises(PhotoError, match="a row is too short"):
            read(header + table + row, tmp_path)


def test_sgi_of_another_kind_is_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="colour map"):
        read(sgi(noise(1, np.uint8), color_map=1), tmp_path)
    with pytest.raises(PhotoError, match="5 channels"):
        read(sgi(noise(5, np.uint8)), tmp_path)


def qoi(values: NDArray[np.uint8], color_space: int = 0) -> bytes:
    data = bytearray(imagecodecs.qoi_encode(values))
    data[13] = color_space
    return bytes(data)


@pytest.mark.parametrize("channels", [3, 4])
def test_qoi_is_read(channels: int, tmp_path: Path):
    values = noise(channels, np.uint8).astype(np.uint8)
    photo = read(qoi(values), tmp_path)
    assert np.array_equal(photo.pixels, values[..., :3])
    assert (photo.alpha is not None) == (channels == 4)
    assert photo.warnings == ()
    assert "linear" in read(qoi(values, 1), tmp_path).warnings[0]


def test_qoi_cut_off_is_refused(tmp_path: Path):
    data = qoi(noise(3, np.uint8).astype(np.uint8))
    for end in (len(data) - 1, len(data) // 2, 10):
        with pytest.raises(PhotoError, match="damaged or cut off"):
            read(data[:end], tmp_path)
