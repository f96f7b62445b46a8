"""PBM, PGM, PPM, PAM and PFM, written here byte by byte."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo

MAXVALS = [1, 2, 15, 100, 254, 255, 256, 511, 1000, 1023, 4095, 16383, 32767, 65534, 65535]
PAM = "P7\nWIDTH 5\nHEIGHT 3\nDEPTH {}\nMAXVAL {}\n{}ENDHDR\n"


def read(data: bytes, tmp_path: Path) -> Photo:
    path = tmp_path / "a.ppm"
    path.write_bytes(data)
    return open_photo(path)


def values(channels: int, maxval: int) -> NDArray[np.int64]:
    """Return values of 5x3 pixels, the smallest and the largest among them."""
    random = np.random.default_rng(maxval).integers(0, maxval + 1, (3, 5, channels))
    random[0, 0], random[-1, -1] = 0, maxval
    return random


def raster(numbers: NDArray[np.int64], maxval: int, *, plain: bool = False) -> bytes:
    if plain:
        return b"\n".join(b"%d" % number for number in numbers.ravel())
    return numbers.astype(">u2" if maxval > 255 else "u1").tobytes()


def assert_scaled(pixels: NDArray[np.generic], numbers: NDArray[np.int64], maxval: int) -> None:
    assert pixels.dtype == (np.uint16 if maxval > 255 else np.uint8)
    white = np.iinfo(pixels.dtype).max
    assert np.abs(pixels - numbers * (white / maxval)).max() <= 0.5


@pytest.mark.parametrize("maxval", MAXVALS)
@pytest.mark.parametrize(("magic", "channels"), [("P2", 1), ("P3", 3), ("P5", 1), ("P6", 3)])
def test_every_maxval_is_scaled(magic: str, channels: int, maxval: int, tmp_path: Path):
    numbers = values(channels, maxval)
    plain = magic in ("P2", "P3")
    data = f"{magic}\n5 3\n{maxval}\n".encode() + raster(numbers, maxval, plain=plain)
    photo = read(data, tmp_path)
    assert_scaled(photo.pixels, numbers, maxval)
    assert photo.warnings == ()


@pytest.mark.parametrize("maxval", [1, 255, 1023, 65535])
@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        *((1, "GRAYSCALE"), (2, "GRAYSCALE_ALPHA"), (3, "RGB"), (4, "RGB_ALPHA"), (1, "")),
        *((2, ""), (3, ""), (4, "")),
    ],
)
def test_pam_is_read(channels: int, kind: str, maxval: int, tmp_path: Path):
    numbers = values(channels, maxval)
    header = PAM.format(channels, maxval, f"TUPLTYPE {kind}\n" if kind else "").encode()
    photo = read(header + raster(numbers, maxval), tmp_path)
    colors = 1 if channels < 3 else 3
    assert_scaled(photo.pixels, numbers[..., :colors], maxval)
    assert (photo.alpha is not None) == (channels in (2, 4))
    if photo.alpha is not None:
        assert_scaled(photo.alpha, numbers[..., -1], maxval)


def test_bit_of_a_pam_is_white(tmp_path: Path):
    bits = values(1, 1)
    header = PAM.format(1, 1, "TUPLTYPE BLACKANDWHITE\n").encode()
    assert np.array_equal(read(header + raster(bits, 1), tmp_path).pixels, bits * 255)


@pytest.mark.parametrize("width", [5, 8])
def test_bit_of_a_bitmap_is_black(width: int, tmp_path: Path):
    bits = np.random.default_rng(0).integers(0, 2, (4, width), np.uint8)
    rows = "\n".join("".join(map(str, row)) for row in bits)
    for data in (
        f"P1\n{width} 4\n{rows}\n".encode(),
        f"P1 {width}\n4\n {' '.join(rows)}".encode(),
        f"P4\n{width} 4\n".encode() + np.packbits(bits, axis=1).tobytes(),
    ):
        pixels = read(data, tmp_path).pixels
        assert np.array_equal(pixels[..., 0], np.where(bits, 0, 255))


@pytest.mark.parametrize(
    ("data", "comment"),
    [
        (b"P5\n# by me\n5 3\n255\n" + bytes(15), "by me"),
        (b"P5# by me\n5 #and you\r3 255\n" + bytes(15), "by me\nand you"),
        (b"P5 5 3 255# Z\xc3\xbcrich\n " + bytes(15), "Z\u00fcrich"),
        (b"P5 # Z\xfcrich\n5 3 255 " + bytes(15), "Z\u00fcrich"),
        (b"P3\n# a\n1 1\n9\n1 2 3 # of the pixels\n", "a"),
        (b"P7\n#by me\n" + PAM.format(1, 255, "").encode()[3:] + bytes(15), "by me"),
    ],
)
def test_comments_are_kept(data: bytes, comment: str, tmp_path: Path):
    photo = read(data, tmp_path)
    if b"\xfc" not in data:  # kept as bytes
        assert photo.metadata.comments == (comment,)
    save_photo(photo, tmp_path / "b.png")
    assert open_photo(tmp_path / "b.png").metadata.comments == (comment,)


def test_comment_among_plain_values_is_no_value(tmp_path: Path):
    photo = read(b"P2 2 2 9\n0 9 # 5 5 5\n9 0", tmp_path)
    assert photo.pixels.ravel().tolist() == [0, 255, 255, 0]


def test_raster_may_start_with_whitespace(tmp_path: Path):
    photo = read(b"P5\n2 1\n255\n\n#", tmp_path)
    assert photo.pixels.ravel().tolist() == [10, 35]


@pytest.mark.parametrize(
    "data",
    [
        b"P5\n5 3\n255\n" + bytes(14),
        b"P6\n5 3\n4095\n" + bytes(89),
        b"P4\n9 2\n" + bytes(3),
        b"P2 5 3 255 " + b"1 " * 14,
        b"P2 1 1 255 x",
        b"P2 1 1 255 \n ",
        b"P2 1 1 255 256",
        b"P2 1 1 255 -1",
        b"P2 1 1 255 " + b"9" * 1000,
        b"P1 2 1 12",
        b"P5 2 1 100\n\0e",
        b"P5 0 3 255 ",
        b"P5 1 1 0 \0",
        b"P5 1 1 65536 \0\0",
        b"P5 1",
        b"P7\nWIDTH 1\n",
        b"P7\nWIDTH x\nENDHDR\n",
    ],
)
def test_damaged_file_is_refused(data: bytes, tmp_path: Path):
    with pytest.raises(PhotoError, match=r"a\.ppm is damaged or cut off"):
        read(data, tmp_path)


def test_too_many_pixels_are_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="megapixels; the limit is 200"):
        read(b"P5 99999 99999 255 ", tmp_path)


def test_unknown_pam_and_pfm_are_refused_by_name(tmp_path: Path):
    with pytest.raises(PhotoError, match=r"a\.ppm: a PAM of 4 channels of CMYK"):
        read(PAM.format(4, 255, "TUPLTYPE CMYK\n").encode() + bytes(60), tmp_path)
    for magic in (b"PF", b"Pf"):
        with pytest.raises(PhotoError, match=r"a\.ppm: .* PFM \(HDR\)"):
            read(magic + b"\n1 1\n-1.0\n" + bytes(12), tmp_path)


def test_further_images_are_said(tmp_path: Path):
    image = b"P5\n5 3\n255\n" + bytes(15)
    photo = read(image + image, tmp_path)
    assert photo.warnings == ("further images of the file are dropped",)
