"""Files that are cut off."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotochromError, PhotoError, TruncatedError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages, open_photo
from photochrom.imagefile.writing import save_photo
from support.icc_profiles import table_profile
from support.photos import draw

HEIGHT, WIDTH = 240, 200


def encode(mode: str = "L", format_: str = "JPEG", **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(draw(HEIGHT, WIDTH)).convert(mode).save(buffer, format_, **options)
    return buffer.getvalue()


def read(data: bytes, *, truncated: bool = False) -> Photo:
    return open_photo(BytesIO(data), truncated=truncated)


def count_rows(pixels: NDArray[Any], whole: NDArray[Any]) -> int:
    """Return the rows before those that are white, and check that they are right."""
    rows = np.flatnonzero((pixels != np.iinfo(pixels.dtype).max).any(axis=(1, 2)))[-1] + 1
    assert (pixels[rows:] == np.iinfo(pixels.dtype).max).all()
    assert np.array_equal(pixels[: rows - 1], whole[: rows - 1])
    return int(rows)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"subsampling": "4:2:0"}])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.995])
def test_jpeg(mode: str, options: dict[str, Any], share: float):
    data = encode(mode, quality=90, **options)
    whole = read(data).pixels
    cut = data[: int(len(data) * share)]
    with pytest.raises(TruncatedError, match=r"the first \d+ % can be .*--truncated") as error:
        read(cut)
    photo = read(cut, truncated=True)
    assert photo.size == (WIDTH, HEIGHT)
    rows = count_rows(photo.pixels, whole)
    assert error.value.share == pytest.approx(rows / HEIGHT, abs=1e-9)
    start = data.index(b"\xff\xda")
    expected = (len(cut) - start) / (len(data) - start) * HEIGHT
    assert expected - 50 < rows < expected + 25
    assert (
        f"the file is cut off: {100 - 100 * rows / HEIGHT:.0f} % of the photo, at the bottom, are "
        "missing and left white"
    ) in photo.warnings


def test_progressive_jpeg_lacks_detail_first():
    data = encode("RGB", progressive=True, quality=90)
    whole = read(data).pixels.astype(int)
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    photo = read(data[: scans[-1] + 300], truncated=True)
    assert np.abs(photo.pixels - whole).mean() < 12
    assert photo.warnings == ("the file is cut off: fine detail may be missing",)
    with pytest.raises(TruncatedError, match="all but fine detail can be decoded") as error:
        read(data[: scans[-1] + 300])
    assert error.value.share == 1
    # In the first scan, whole rows are missing.
    photo = read(data[: scans[0] + (scans[1] - scans[0]) * 7 // 10], truncated=True)
    white = (photo.pixels == 255).all(axis=(1, 2))
    start = int(np.flatnonzero(~white)[-1]) + 1
    assert HEIGHT // 4 < start < HEIGHT * 3 // 4
    assert np.abs(photo.pixels[:start] - whole[:start]).mean() < 30
    assert "at the bottom" in photo.warnings[-1]


@pytest.mark.parametrize("cut", [-1, -2])
def test_jpeg_without_its_end_is_whole(cut: int):
    data = encode("RGB")
    photo = read(data[:cut], truncated=True)
    assert np.array_equal(photo.pixels, read(data).pixels)
    assert photo.warnings == ("the file is cut off: fine detail may be missing",)


def test_zeros_in_place_of_data_are_no_data():
    data = encode("RGB")
    padded = data[: len(data) // 2] + bytes(len(data) // 2)
    with pytest.raises(TruncatedError, match="is cut off"):
        read(padded)
    rows = count_rows(read(padded, truncated=True).pixels, read(data).pixels)
    assert HEIGHT // 4 < rows < HEIGHT * 3 // 4
    for whole in (data + bytes(5000), data[:-2] + bytes(5000)):
        assert np.array_equal(read(whole).pixels, read(data).pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("share", [0.5, 0.98])
def test_png(mode: str, share: float):
    image = Image.fromarray(draw(HEIGHT, WIDTH))
    if mode == "I;16":
        image = Image.fromarray(draw(HEIGHT, WIDTH)[..., 0].astype(np.uint16) * 257)
    buffer = BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(buffer, "PNG")
    data = buffer.getvalue()
    whole = read(data)
    cut = data[: int(len(data) * share)]
    with pytest.raises(TruncatedError, match=r"the first \d+ % can be decoded") as error:
        read(cut)
    photo = read(cut, truncated=True)
    assert photo.size == whole.size
    rows = round(error.value.share * HEIGHT)
    assert np.array_equal(photo.pixels[:rows], whole.pixels[:rows])
    assert (photo.pixels[rows:] == np.iinfo(photo.pixels.dtype).max).all()
    assert 0 < rows < HEIGHT
    if photo.alpha is not None:
        assert (photo.alpha[rows:] == 255).all()
    assert "missing and left white" in photo.warnings[-1]


def test_png_of_16_bits_in_colour(tmp_path: Path):
    pixels = draw(HEIGHT, WIDTH).astype(np.uint16) * 257
    save_photo(Photo(pixels), tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    photo = read(data[: len(data) // 2], truncated=True)
    assert 20 < count_rows(photo.pixels, pixels) < HEIGHT - 20


@pytest.mark.parametrize(
    ("orientation", "side"),
    [(1, "at the bottom"), (3, "at the top"), (6, "on the left"), (8, "on the right")],
)
def test_the_side_is_that_of_the_upright_photo(orientation: int, side: str):
    exif = Image.Exif()
    exif[Tag.Orientation] = orientation
    data = encode(exif=exif)
    photo = read(data[: len(data) // 2], truncated=True)
    assert f"% of the photo, {side}, are missing" in photo.warnings[-1]
    edges = {
        "at the top": photo.pixels[0],
        "at the bottom": photo.pixels[-1],
        "on the left": photo.pixels[:, 0],
        "on the right": photo.pixels[:, -1],
    }
    assert [name for name, edge in edges.items() if (edge == 255).all()] == [side]


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_a_file_without_any_row_is_refused(format_: str):
    data = encode("RGB", format_)
    start = data.index(b"IDAT" if format_ == "PNG" else b"\xff\xda")
    for end in (start - 5, start + 1, start + 16):
        with pytest.raises(PhotoError) as error:
            read(data[:end], truncated=True)
        assert not isinstance(error.value, TruncatedError)


@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_whole_files_have_no_warning(format_: str):
    data = encode("RGB", format_)
    assert read(data, truncated=True).warnings == ()
    with pytest.raises(PhotochromError, match=r"the limit is 0\.0001"):
        open_photo(BytesIO(data[: len(data) // 2]), max_pixels=100, truncated=True)


def tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    """Return a TIFF whose directory comes before its pixels."""
    stream = BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (draw(HEIGHT, WIDTH), {}),
        (draw(HEIGHT, WIDTH), {"rowsperstrip": 16}),
        (draw(HEIGHT, WIDTH), {"rowsperstrip": 16, "compression": "zlib", "predictor": True}),
        (draw(HEIGHT, WIDTH)[..., 0], {"rowsperstrip": 7, "compression": "lzw", "byteorder": ">"}),
        (draw(HEIGHT, WIDTH)[..., 0], {"photometric": "miniswhite"}),
        (draw(HEIGHT, WIDTH).astype(np.uint16) * 257, {"rowsperstrip": 16, "compression": "zlib"}),
        (draw(HEIGHT, WIDTH)[..., 0].astype(np.float32) / 255, {}),
        (np.dstack([draw(HEIGHT, WIDTH), draw(HEIGHT, WIDTH)[..., :1]]), {"rowsperstrip": 16}),
        (
            np.dstack([draw(HEIGHT, WIDTH), draw(HEIGHT, WIDTH)[..., :1] // 2]),
            {"rowsperstrip": 16, "photometric": "separated"},
        ),
    ],
)
@pytest.mark.parametrize("share", [0.4, 0.95])
def test_tiff(pixels: NDArray[Any], options: dict[str, Any], share: float):
    data = tiff(pixels, **options)
    whole = read(data)
    cut = data[: int(len(data) * share)]
    with pytest.raises(TruncatedError, match=r"is cut off: the first \d+ % can be dec") as error:
        read(cut)
    photo = read(cut, truncated=True)
    rows = round(error.value.share * HEIGHT)
    assert photo.size == whole.size
    assert HEIGHT // 4 < rows < HEIGHT
    assert np.array_equal(photo.pixels[:rows], whole.pixels[:rows])
    assert (photo.pixels[rows:] == np.iinfo(photo.pixels.dtype).max).all()
    assert any("missing and left white" in text for text in photo.warnings)


def test_tiff_that_is_turned():
    data = tiff(draw(HEIGHT, WIDTH), extratags=[(Tag.Orientation, "H", 1, 6, True)])
    photo = read(data[: len(data) // 2], truncated=True)
    assert photo.size == (HEIGHT, WIDTH)
    assert (photo.pixels[:, : HEIGHT // 2 - 2] == 255).all()
    assert "on the left" in photo.warnings[-1]


def test_pages_that_are_cut_off():
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for _ in range(3):
            writer.write(draw(HEIGHT, WIDTH), metadata=None)
    data = stream.getvalue()
    cut = data[: len(data) // 2]  # in the pixels of the second page; the third is missing
    pages = open_pages(BytesIO(cut))
    with pytest.raises(TruncatedError, match="2 pages can be read, and the directory of the next"):
        next(pages)
    first, second = open_pages(BytesIO(cut), truncated=True)
    assert first.warnings == ("the file is cut off: the pages behind page 2 are missing",)
    assert not (first.pixels[-1] == 255).all()
    assert (second.pixels[-1] == 255).all()
    assert "missing and left white" in second.warnings[-1]


@pytest.mark.parametrize(
    "options", [{"tile": (16, 16)}, {"planarconfig": "separate"}, {"compression": "zlib"}]
)
def test_tiff_of_which_nothing_can_be_decoded(options: dict[str, Any]):
    pixels = draw(HEIGHT, WIDTH)
    if "planarconfig" in options:
        pixels = pixels.transpose(2, 0, 1).copy()
    if "compression" in options:
        options = {**options, "rowsperstrip": HEIGHT}
    data = tiff(pixels, photometric="rgb", **options)
    with pytest.raises(PhotoError) as error:
        read(data[: len(data) // 2], truncated=True)
    assert not isinstance(error.value, TruncatedError)


def test_inks_are_missing_with_a_profile_of_cmyk():
    data = encode("CMYK", icc_profile=table_profile(b"CMYK"))
    photo = read(data[: (data.index(b"\xff\xda") + len(data)) // 2], truncated=True)
    assert (photo.pixels[-1] >= 250).all()
    assert (photo.pixels[HEIGHT // 3] < 250).any()
