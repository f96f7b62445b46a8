import struct
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from photochrom.color import SRGB
from photochrom.errors import PhotoError
from photochrom.imagefile.codecs.boxes import iterate_boxes
from photochrom.imagefile.codecs.jpegxl_header import ColorEncoding, parse_header
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.boxes import box
from support.icc_profiles import SRGB_COLUMNS, gamma, rgb
from support.metadata import exif_block
from support.xmp import packet

y, x = np.mgrid[:48, :64]
RAMPS = np.dstack([x / 63, y / 47, (x + y) / 110, x * y / 2961])


def samples(bits: int, channels: int = 3) -> np.ndarray:
    """Return samples of 1 to 16 bits, grey for one or two channels."""
    values = (RAMPS[..., [0, 1, 2, 3][:channels]] * (2**bits - 1)).round()
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def encode(values: np.ndarray, bits: int = 8, **options: Any) -> bytes:
    return imagecodecs.jpegxl_encode(values.squeeze(), bitspersample=bits, **options)


def in_boxes(codestream: bytes, *boxes: bytes) -> bytes:
    """Return a file with further boxes before the codestream."""
    start = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return start + b"".join(boxes) + box(b"jxlc", codestream)


def read(data: bytes) -> Photo:
    return open_photo(BytesIO(data))


def write_bits(*numbers: tuple[int, int]) -> bytes:
    """Return numbers of so many bits each, lowest bits first."""
    total = shift = 0
    for number, count in numbers:
        total |= number << shift
        shift += count
    return total.to_bytes(shift // 8 + 1, "little")


SIZE_64 = ((1, 1), (7, 5), (1, 3))
"""A SizeHeader of 64x64: eighths, 8, square."""


@pytest.mark.parametrize("bits", [1, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_samples_are_scaled_to_8_or_16_bits(bits: int, channels: int):
    values = samples(bits, channels)
    photo = read(encode(values, bits))
    largest = 255 if bits <= 8 else 65535
    expected = np.round(values.astype(float) * largest / (2**bits - 1))
    colors = channels - (channels in (2, 4))
    np.testing.assert_array_equal(photo.pixels, expected[..., :colors])
    assert photo.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    if channels in (2, 4):
        np.testing.assert_array_equal(photo.alpha, expected[..., -1])
    assert photo.warnings == ()


def test_srgb_is_left_untagged_and_linear_gets_a_profile():
    assert read(encode(samples(8))).space is SRGB
    linear = read(encode(samples(16), 16))  # imagecodecs says so
    assert linear.metadata.icc is not None
    assert linear.space.curves[0, 32768] == pytest.approx(0.5, abs=1e-4)
    grey = read(encode(samples(16, 1), 16))
    assert grey.space.matrix is None


def test_lossy_is_close():
    photo = read(encode(samples(8), level=90))
    assert np.abs(photo.pixels - samples(8).astype(int)).mean() < 2


@pytest.mark.parametrize("start", [bytes(4), b"\0\0\0\6Exif\0\0", bytes(4) + b"Exif\0\0", b""])
def test_exif_starts_at_an_offset_or_without(start: bytes):
    block = exif_block(orientation=1)
    photo = read(in_boxes(encode(samples(8)), box(b"Exif", start, block)))
    assert photo.metadata.exif is not None
    assert b"maker note" in photo.metadata.exif
    assert photo.warnings == ()


def test_damaged_exif_is_said_to_be_dropped():
    photo = read(in_boxes(encode(samples(8)), box(b"Exif", bytes(4), b"no TIFF")))
    assert photo.warnings == ("damaged EXIF is dropped",)


def test_metadata_of_boxes():
    exif = box(b"Exif", bytes(4), exif_block(orientation=6))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    packed = box(b"brob", b"xml ", imagecodecs.brotli_encode(xmp))
    photo = read(in_boxes(encode(samples(8)), exif, packed, box(b"jhgm", b"gain"), box(b"jumb")))
    assert photo.metadata.xmp == xmp
    assert photo.metadata.exif is not None
    assert photo.size == (64, 48)  # the orientation of EXIF is void
    assert photo.metadata.orientation == 1
    assert photo.warnings == (
        "the gain map is dropped",
        "the box jumb, such as Content Credentials, is dropped",
    )


def test_a_damaged_compressed_box_is_said():
    photo = read(in_boxes(encode(samples(8)), box(b"brob", b"Exif", b"rubbish")))
    assert photo.metadata.exif is None
    assert photo.warnings == ("the damaged box Exif is dropped",)


def test_xmp_does_not_name_a_compressed_gain_map():
    xmp = packet(attributes='hdrgm:Version="1.0"')
    gain_map = box(b"brob", b"jhgm", imagecodecs.brotli_encode(b"gain"))
    photo = read(in_boxes(encode(samples(8)), box(b"xml ", xmp), gain_map))
    assert photo.warnings == ("the gain map is dropped",)
    assert photo.metadata.xmp is not None
    assert b"hdrgm:Version" not in photo.metadata.xmp


def test_a_jpeg_inside_is_read_as_that_jpeg():
    buffer = BytesIO()
    icc = rgb(SRGB_COLUMNS, gamma(1.8))
    image = Image.fromarray(samples(8))
    exif = exif_block(orientation=6)
    image.save(buffer, "JPEG", icc_profile=icc, comment=b"a boat", exif=b"Exif\0\0" + exif)
    photo = read(imagecodecs.jpegxl_encode_jpeg(buffer.getvalue()))
    original = read(buffer.getvalue())
    np.testing.assert_array_equal(photo.pixels, original.pixels)
    assert photo.metadata == original.metadata
    assert photo.metadata.icc == icc


def with_profile(icc: bytes) -> bytes:
    """Return a JPEG XL with an ICC profile, from which the JPEG cannot be made again."""
    buffer = BytesIO()
    Image.fromarray(samples(8)).save(buffer, "JPEG", icc_profile=icc, quality=95)
    boxes = list(iterate_boxes(imagecodecs.jpegxl_encode_jpeg(buffer.getvalue())))
    return b"".join(box(kind, content) for kind, content in boxes if kind != b"jbrd")


def test_profile_is_honoured_and_kept():
    icc = rgb(SRGB_COLUMNS, gamma(1.0))
    photo = read(with_profile(icc))
    assert photo.metadata.icc == icc
    assert photo.space.curves[0, 32768] == pytest.approx(0.5, abs=1e-4)


def test_profile_without_its_package_names_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("photochrom.imagefile.codecs.jpegxl.find_spec", lambda name: None)
    with pytest.raises(PhotoError, match=r"install photochrom\[formats\]"):
        read(with_profile(rgb(SRGB_COLUMNS, gamma(1.0))))


def test_extra_channels_are_dropped_and_said():
    planes = np.ascontiguousarray(np.moveaxis(samples(8), -1, 0))
    photo = read(imagecodecs.jpegxl_encode(planes, planar=True, photometric="gray"))
    np.testing.assert_array_equal(photo.pixels[..., 0], planes[0])
    assert photo.warnings == ("2 extra channels are dropped",)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_floating_point_is_reduced_to_16_bits_and_said(kind: type):
    values = RAMPS[..., :3].astype(kind)
    photo = read(imagecodecs.jpegxl_encode(values))
    assert photo.pixels.dtype == np.uint16
    assert np.abs(photo.pixels - values.astype(float) * 65535).max() <= 1
    assert photo.warnings == ("floating-point samples are reduced to 16 bits",)


def test_kinds_that_are_refused():
    frames = np.stack([samples(8), samples(8)])
    bright = RAMPS[..., :3].astype(np.float32) * 4
    for data, message in (
        (imagecodecs.jpegxl_encode(frames), "is an animation"),
        (imagecodecs.jpegxl_encode(bright), "floating-point samples from 0 to 4"),
    ):
        with pytest.raises(PhotoError, match=message):
            read(data)


def test_header_of_custom_colors():
    def chromaticity(x: int, y: int) -> tuple[tuple[int, int], ...]:
        return (0, 2), (2 * x, 19), (0, 2), (2 * y, 19)

    data = b"\xff\x0a" + write_bits(
        *SIZE_64,
        *((0, 1), (1, 1), (5, 3), (0, 3)),  # extra fields: orientation 6
        *((0, 1), (2, 2), (1, 1)),  # 12 bits
        *((1, 2), (1, 1)),  # one extra channel: alpha
        *((0, 1), (0, 1), (0, 1)),  # no XYB, colours, no profile
        *((0, 2), (2, 2), (0, 4), *chromaticity(200_000, 210_000)),
        *((2, 2), (0, 4), *chromaticity(100_000, 110_000), *chromaticity(120_000, 130_000)),
        *(*chromaticity(140_000, 150_000), (1, 1), (4_545_455, 24), (0, 2)),
    )
    header = parse_header(data)
    assert (header.width, header.height, header.orientation, header.bits) == (64, 64, 6, 12)
    assert header.extra_channels == (0,)
    primaries = ((0.1, 0.11), (0.12, 0.13), (0.14, 0.15))
    assert header.color == ColorEncoding(False, 0, (0.2, 0.21), primaries, 0.4545455)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(transfer: int, name: str):
    code = ((2, 2), (transfer - 2, 4)) if transfer < 18 else ((3, 2), (0, 6))
    data = b"\xff\x0a" + write_bits(
        *SIZE_64,
        *((0, 1), (0, 1), (0, 1), (1, 2), (1, 1), (0, 2)),  # 10 bits, no extra channels
        *((1, 1), (0, 1), (0, 1), (0, 2), (1, 2), (2, 2), (7, 4)),  # XYB, RGB, D65, BT.2100
        *((0, 1), *code, (0, 2)),
    )
    with pytest.raises(PhotoError, match=rf"{name} \(HDR\)"):
        read(data)


def test_sizes():
    ratios = {1: 48, 2: 57, 3: 64, 4: 72, 5: 85, 6: 60, 7: 96}
    for ratio, width in ratios.items():
        size = b"\xff\x0a" + write_bits((0, 1), (0, 2), (47, 9), (ratio, 3), (1, 1))
        assert (parse_header(size).width, parse_header(size).height) == (width, 48)
    own = b"\xff\x0a" + write_bits((0, 1), (3, 2), (99_999, 30), (0, 3), (1, 2), (99, 13), (1, 1))
    assert (parse_header(own).width, parse_header(own).height) == (100, 100_000)
    with pytest.raises(PhotoError, match="has 640 megapixels"):
        read(
            b"\xff\x0a"
            + write_bits((0, 1), (3, 2), (99_999, 30), (0, 3), (1, 2), (6399, 13), (1, 1))
        )


def test_cut_off_and_damaged_files_are_refused():
    for data in (encode(samples(8)), in_boxes(encode(samples(16), 16))):
        for end in (14, 40, len(data) // 2, len(data) - 1):
            with pytest.raises(PhotoError, match="damaged"):
                read(data[:end])
    random = np.random.default_rng(0)
    data = in_boxes(encode(samples(8)), box(b"Exif", bytes(4), exif_block()))
    refused = 0
    for _ in range(200):
        bad = bytearray(data)
        for place in random.integers(12, 300, 3):
            bad[place] = random.integers(256)
        try:
            open_photo(BytesIO(bad), max_pixels=1_000_000)
        except PhotoError:
            refused += 1
    assert refused > 0
    with pytest.raises(PhotoError, match="damaged"):
        read(struct.pack(">I4s4s", 12, b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl "))
