"""GIF and TGA: what their extensions say."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photochrom import color
from photochrom.color import SRGB, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from support.fuzzing import XMP
from support.icc_profiles import SPACES

RAMP = Image.fromarray(np.arange(0, 256, 15, np.uint8)[None].repeat(4, 0))
UPRIGHT_XMP = XMP.replace(b'Orientation="6"', b'Orientation="1"')


def read(data: bytes, tmp_path: Path) -> Photo:
    (tmp_path / "a.img").write_bytes(data)
    return open_photo(tmp_path / "a.img")


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def sub_blocks(content: bytes) -> bytes:
    parts = [content[start : start + 255] for start in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def gif(*extensions: bytes, at_end: bool = False) -> bytes:
    """Return a GIF with extensions before its image, or behind it."""
    data = encode(RAMP, "GIF")
    place = len(data) - 1 if at_end else 13 + (3 << (data[10] & 7) + 1)
    return data[:place] + b"".join(extensions) + data[place:]


def comment(text: bytes) -> bytes:
    return b"\x21\xfe" + sub_blocks(text)


XMP_EXTENSION = b"\x21\xff\x0bXMP DataXMP" + UPRIGHT_XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0"


@pytest.mark.parametrize("at_end", [False, True])
def test_gif_metadata_are_carried_into_the_png(at_end: bool, tmp_path: Path):
    profile = b"\x21\xff\x0bICCRGBG1012" + sub_blocks(SPACES["prophoto"])
    control = b"\x21\xf9\4\0\0\0\0\0"
    long = b"Z\xc3\xbcrich " * 40
    data = gif(comment(long), XMP_EXTENSION, control, profile, comment(b"two"), at_end=at_end)
    photo = read(data, tmp_path)
    save_photo(photo, tmp_path / "b.png")
    for metadata in (photo.metadata, open_photo(tmp_path / "b.png").metadata):
        assert metadata.comments == (long.decode(), "two")
        assert metadata.xmp == UPRIGHT_XMP
        assert metadata.icc == SPACES["prophoto"]
    assert photo.space is icc.read_profile(SPACES["prophoto"])
    assert np.array_equal(photo.pixels[..., 0], np.asarray(RAMP))


def test_damaged_gif_extension_does_not_stop_the_image(tmp_path: Path):
    data = gif(comment(b"one"), at_end=True)[:-5]
    assert read(data, tmp_path).metadata.comments in ((), ("one",))
    assert read(gif(), tmp_path).metadata.comments == ()


def tga(image: Image.Image, image_id: bytes = b"", **fields: Any) -> bytes:
    """Return a TGA with an extension area."""
    data = encode(image, "TGA", id_section=image_id).removesuffix(bytes(8) + b"TRUEVISION-XFILE.\0")
    area = struct.pack(
        "<H41s324s12s41s6s41s3s4s2H2H12sB",
        *(495, fields.get("author", b""), fields.get("comments", b""), bytes(12)),
        *(fields.get("job", b""), b"", b"software", b"", b"", 0, 0),
        *fields.get("gamma", (0, 0)),
        *(b"", fields.get("alpha_kind", 3)),
    )
    return data + area + struct.pack("<II18s", len(data), 0, b"TRUEVISION-XFILE.\0")


def test_tga_comments_are_carried_into_the_png(tmp_path: Path):
    lines = b"first".ljust(81, b"\0") + b"second".ljust(81, b"\0")
    photo = read(tga(RAMP, b"an ID", author=b"by me", comments=lines, job=b"job"), tmp_path)
    assert photo.metadata.comments == ("an ID", "by me", "first\nsecond", "job")
    save_photo(photo, tmp_path / "b.png")
    assert open_photo(tmp_path / "b.png").metadata.comments == photo.metadata.comments
    assert read(tga(RAMP, b"\1\2binary"), tmp_path).metadata.comments == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("exponent", [1.0, 1.8])
def test_tga_gamma_is_honoured(exponent: float, mode: str, tmp_path: Path):
    data = tga(RAMP.convert(mode), gamma=(round(exponent * 10), 10))
    photo = read(data, tmp_path)
    values = photo.pixels[0, 8:, 0] / 255
    expected = 116 * np.cbrt(values**exponent) - 16
    assert color.lightness(photo.pixels, photo.space)[0, 8:] == pytest.approx(expected, abs=0.1)
    save_photo(photo, tmp_path / "b.png")
    again = open_photo(tmp_path / "b.png")
    assert np.array_equal(again.space.curves, photo.space.curves)


def test_tga_of_gamma_2_2_is_srgb(tmp_path: Path):
    for gamma in ((0, 0), (0, 1), (22, 10)):
        photo = read(tga(RAMP.convert("RGB"), gamma=gamma), tmp_path)
        assert photo.space is SRGB
        assert photo.warnings == ()
    assert "gamma" in read(tga(RAMP, gamma=(60000, 1)), tmp_path).warnings[0]


@pytest.mark.parametrize("kind", range(5))
def test_tga_alpha_is_what_the_header_says(kind: int, tmp_path: Path):
    values = np.full((2, 3, 4), (100, 60, 20, 128), np.uint8)
    photo = read(tga(Image.fromarray(values), alpha_kind=kind), tmp_path)
    assert (photo.alpha is not None) == (kind >= 3)
    expected = (199, 120, 40) if kind == 4 else (100, 60, 20)
    assert np.abs(photo.pixels - np.array(expected)).max() <= 1


def plain_tga(depth: int, attribute_bits: int, pixel: bytes) -> bytes:
    """Return 2x2 pixels without an extension area."""
    return struct.pack("<BBB9xHHBB", 0, 0, 2, 2, 2, depth, attribute_bits) + pixel * 4


@pytest.mark.parametrize("attribute_bits", [0, 1])
@pytest.mark.parametrize("pixel", [0x7C1F, 0xFC1F])
def test_tga_of_16_bits_is_opaque(pixel: int, attribute_bits: int, tmp_path: Path):
    photo = read(plain_tga(16, attribute_bits, struct.pack("<H", pixel)), tmp_path)
    assert photo.alpha is None
    assert photo.pixels[0, 0].tolist() == [255, 0, 255]
    assert bool(photo.warnings) == bool(attribute_bits)


@pytest.mark.parametrize("attribute_bits", [0, 8])
def test_tga_that_is_wholly_transparent_is_opaque(attribute_bits: int, tmp_path: Path):
    photo = read(plain_tga(32, attribute_bits, bytes((1, 2, 3, 0))), tmp_path)
    assert photo.alpha is None
    assert photo.pixels[0, 0].tolist() == [3, 2, 1]
    assert bool(photo.warnings) == bool(attribute_bits)
    assert read(plain_tga(32, attribute_bits, bytes((1, 2, 3, 9))), tmp_path).alpha is not None


def test_tga_cut_off_is_refused(tmp_path: Path):
    data = encode(RAMP.convert("RGB"), "TGA")
    with pytest.raises(PhotoError, match="cut off"):
        read(data[:60], tmp_path)
