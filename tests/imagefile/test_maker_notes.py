"""Maker notes whose offsets count from the start of the file stay readable, or it is said."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from photochrom.imagefile import exif, maker_notes
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.reading import open_pages, open_photo
from photochrom.imagefile.tiff.pages import PageWriter, read_pages
from photochrom.imagefile.tiff.structure import Tiff
from photochrom.imagefile.writing import save_pages, save_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
TEXT = b"a value that a maker note addresses"


def make_note(offset: int, order: str, start: bytes = b"") -> bytes:
    """Return a note of one value, addressed from the start of the file."""
    where = offset + len(start) + 2 + 12 + 4
    head = struct.pack(order + "HHHII", 1, 5, 2, len(TEXT), where)
    return start + head + bytes(4) + TEXT


def make_tiff(offset: int, order: str = "<", start: bytes = b"", count: int = 1) -> bytes:
    """Return a TIFF with grey pixels of 40x50 and a maker note at an offset."""
    note = make_note(offset, order, start)
    stream = bytearray((b"II*\0" if order == "<" else b"MM\0*").ljust(offset, b"\0") + note)
    pixels = len(stream) + len(stream) % 2
    stream = stream.ljust(pixels, b"\0") + PIXELS[..., 0].tobytes()
    link = 4
    for _ in range(count):
        at = len(stream)
        entries = {256: 50, 257: 40, 258: 8, 259: 1, 262: 1, 273: pixels, 277: 1, 278: 40}
        entries |= {279: 2000, 0x8769: at + 2 + 12 * 10 + 4}
        stream += struct.pack(order + "H", len(entries))
        for tag, value in entries.items():
            stream += struct.pack(order + "HHII", tag, 4, 1, value)
        stream += bytes(4)
        stream += struct.pack(order + "HHHIII", 1, 0x927C, 7, len(note), offset, 0)
        struct.pack_into(order + "I", stream, link, at)
        link = at + 2 + 12 * len(entries)
    return bytes(stream)


def read_value(tiff: Tiff) -> bytes:
    """Follow the offsets to the value of the note in the first page, as exiftool does."""
    directory = tiff.read_directory(tiff.first_offset)
    offset = maker_notes.find_offset(tiff, directory)
    assert offset is not None
    start = next(
        length for length in (0, 10) if tiff.read(offset + length, 2) in (b"\1\0", b"\0\1")
    )
    order = "<" if tiff.read(offset + start, 2) == b"\1\0" else ">"
    count, where = struct.unpack(order + "II", tiff.read(offset + start + 6, 8))
    return tiff.read(where, count)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [8, 301, 5000, 70_000])
@pytest.mark.parametrize("start", [b"", b"Nikon\0\1\0\0\0"])
def test_note_of_a_tiff_stays_readable_in_a_tiff(
    order: str, offset: int, start: bytes, tmp_path: Path
):
    photo = open_photo(BytesIO(make_tiff(offset, order, start)))
    assert save_photo(photo, tmp_path / "a.tif") == []
    with (tmp_path / "a.tif").open("rb") as stream:
        (page,) = read_pages(stream)
        assert read_value(page.tiff) == TEXT
        assert page.tiff.order == order
    np.testing.assert_array_equal(open_photo(tmp_path / "a.tif").pixels[..., 0], PIXELS[..., 0])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.tif"), 0), PIXELS[..., 0])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_pixels_in_the_byte_order_of_a_note(
    compression: str, dtype: Any, channels: int, has_alpha: bool, tmp_path: Path
):
    random = np.random.default_rng(0)
    largest = np.iinfo(dtype).max
    pixels = random.integers(0, largest + 1, (700, 500, channels), dtype)
    alpha = random.integers(0, largest + 1, (700, 500), dtype) if has_alpha else None
    metadata = open_photo(BytesIO(make_tiff(301, ">"))).metadata
    encoding = Encoding("TIFF", {"compression": compression})
    little = Photo(pixels, alpha, metadata=Metadata(), encoding=encoding)
    big = Photo(pixels, alpha, metadata=metadata, encoding=encoding)
    assert save_pages([big, little, big], tmp_path / "a.tif") == [maker_notes.MOVED]
    for page in open_pages(tmp_path / "a.tif"):
        np.testing.assert_array_equal(page.pixels, np.broadcast_to(pixels, page.pixels.shape))
        if alpha is not None:
            np.testing.assert_array_equal(page.alpha, alpha)
        assert page.encoding == encoding
        assert page.metadata.density is None


def test_order_of_pages_before_stays(tmp_path: Path):
    pages = [
        open_photo(BytesIO(make_tiff(offset, order))) for offset, order in ((301, "<"), (5000, ">"))
    ]
    assert save_pages(pages, tmp_path / "a.tif") == [maker_notes.OTHER_ORDER]


@pytest.mark.parametrize("size", [(40, 50), (400, 500)])
def test_pixels_are_written_around_a_note(size: tuple[int, int], tmp_path: Path):
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    data = make_tiff(30_001)
    photo = open_photo(BytesIO(data))
    stream = BytesIO()
    writer = PageWriter(stream)
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, 1, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 8]
    for _ in range(2):
        moved = writer.add([bytes(cv2.imencode(".tif", pixels, plain)[1])], photo.metadata)
    assert moved == [maker_notes.MOVED]  # of the second page
    assert read_value(read_pages(stream)[0].tiff) == TEXT
    path = tmp_path / "a.tif"
    path.write_bytes(stream.getvalue())
    _, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    for page in pages:
        np.testing.assert_array_equal(page, pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("offset", [8, 301, 5000])
def test_note_of_a_tiff_stays_readable_elsewhere(suffix: str, offset: int, tmp_path: Path):
    photo = open_photo(BytesIO(make_tiff(offset, ">")))
    warnings = save_photo(photo, tmp_path / f"a{suffix}")
    block = open_photo(tmp_path / f"a{suffix}").metadata.exif
    assert block is not None
    assert read_value(Tiff(BytesIO(block))) == TEXT
    assert maker_notes.MOVED not in warnings


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_note_out_of_reach_of_exif_is_moved_and_said(suffix: str, tmp_path: Path):
    photo = open_photo(BytesIO(make_tiff(70_000)))
    assert maker_notes.MOVED in save_photo(photo, tmp_path / f"a{suffix}")
    block = open_photo(tmp_path / f"a{suffix}").metadata.exif
    assert block is not None
    assert len(block) < 1000


@pytest.mark.parametrize("start", [b"Nikon\0\2\x10\0\0", b"FUJIFILM\x0c\0", b"OLYMPUS\0II\3\0"])
def test_relocatable_notes_move_without_a_warning(start: bytes, tmp_path: Path):
    photo = open_photo(BytesIO(make_tiff(70_000, ">", start)))
    for suffix in (".jpg", ".tif"):
        assert save_photo(photo, tmp_path / f"a{suffix}") == []
        block = open_photo(tmp_path / f"a{suffix}").metadata.exif
        assert block is not None
        assert make_note(70_000, ">", start) in block


@pytest.mark.parametrize("order", ["<", ">"])
def test_note_of_a_jpeg_stays_readable_in_a_tiff(order: str, tmp_path: Path):
    block = open_photo(BytesIO(make_tiff(900, order))).metadata.exif
    assert block is not None
    buffer = BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", exif=exif.PREFIX + block)
    photo = open_photo(buffer)
    assert photo.metadata.exif == block
    save_photo(photo, tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("rb") as stream:
        assert read_value(read_pages(stream)[0].tiff) == TEXT


def test_pages_that_share_a_note(tmp_path: Path):
    pages = list(open_pages(BytesIO(make_tiff(301, count=2))))
    warnings = save_pages(pages, tmp_path / "a.tif")
    with (tmp_path / "a.tif").open("rb") as stream:
        first, second = read_pages(stream)
        assert read_value(first.tiff) == TEXT
        assert second.read_metadata().exif is not None
    assert warnings == [maker_notes.MOVED]


def test_two_round_trips_change_nothing(tmp_path: Path):
    photo = open_photo(BytesIO(make_tiff(3001)))
    for name in ("a.tif", "b.tif", "c.jpg", "d.tif"):
        assert save_photo(photo, tmp_path / name) == []
        photo = open_photo(tmp_path / name)
    with (tmp_path / "d.tif").open("rb") as stream:
        assert read_value(read_pages(stream)[0].tiff) == TEXT


@pytest.mark.parametrize("offset", [None, 0, 4, 2**32 - 1])
def test_offsets_out_of_range(offset: Any):
    tree = {0x8769: {0x927C: (7, TEXT)}}
    block, is_moved = maker_notes.pack_exif(tree, "<", offset)
    assert is_moved == (offset is not None)
    assert TEXT in block
    stream = BytesIO()
    plain = bytes(cv2.imencode(".tif", PIXELS)[1])
    metadata = Metadata(exif=block, note_offset=offset)
    assert PageWriter(stream).add([plain], metadata) in ([], [maker_notes.MOVED])
    assert TEXT in stream.getvalue()
    assert len(stream.getvalue()) < 20_000
