import contextlib
import struct
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import cicp, icc
from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import IDEAL_INKS
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.boxes import box, channel_definitions, enumerated, jp2, profiled
from support.icc_profiles import gamma, grey, table_profile
from support.metadata import exif_block, resource

SRGB, GREY, SYCC = map(enumerated, (16, 17, 18))
RAMP = np.arange(24 * 32).reshape(24, 32) % 251
SUBSAMPLED = bytes.fromhex(
    "ff4fff51002f000000000018000000100000000000000000000000180000001000000000000000000003070101"
    "070202070202ff52000c00000001000204040001ff5c000a4040484850484850ff64002500014372656174656420"
    "6279204f70656e4a5045472076657273696f6e20322e352e30ff90000a0000000000410001ff93df80901165353c"
    "3ef2a9400318ec67a8d66b2a5a6b80cfb41401d5bad3a6c1f383002c5bd38080c0f903004b2554e29eb78080ffd9"
)
"""4:2:0 by opj_compress: Y is 10 x, Cb 128, Cr 200."""


def encode(samples: NDArray[Any], bits: int) -> bytes:
    """Return a lossless codestream of shape (H, W) or (H, W, C)."""
    kind = "i" if samples.min() < 0 else "u"
    return imagecodecs.jpeg2k_encode(
        samples.astype(f"{kind}{1 if bits <= 8 else 2}"),
        codecformat="J2K",
        bitspersample=bits,
        reversible=True,
        mct=False,
    )


def read(data: bytes) -> Photo:
    return open_photo(BytesIO(data))


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_up_to_8_bits_are_scaled_to_8(bits: int, channels: int):
    samples = np.dstack([RAMP % (1 << bits)] * channels)
    photo = read(jp2(encode(samples.squeeze(), bits), GREY if channels == 1 else SRGB))
    np.testing.assert_array_equal(photo.pixels, np.round(samples * 255 / ((1 << bits) - 1)))
    assert photo.pixels.dtype == np.uint8


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bare", [False, True])
def test_more_than_8_bits_are_scaled_to_16(bits: int, channels: int, bare: bool):
    samples = np.dstack([RAMP * 261 % (1 << bits)] * channels)
    samples[0, 0] = (1 << bits) - 1
    data = encode(samples.squeeze(), bits)
    photo = read(data if bare else jp2(data, GREY if channels == 1 else SRGB))
    np.testing.assert_array_equal(photo.pixels, np.round(samples * 65535 / ((1 << bits) - 1)))
    assert photo.pixels.dtype == np.uint16


@pytest.mark.parametrize("bits", [8, 12])
def test_signed_samples_start_at_the_lowest(bits: int):
    samples = RAMP - (1 << bits - 1)
    photo = read(jp2(encode(samples, bits), GREY))
    scale = (255 if bits == 8 else 65535) / ((1 << bits) - 1)
    np.testing.assert_array_equal(photo.pixels[..., 0], np.round(RAMP * scale))


@pytest.mark.parametrize("signed", [False, True])
def test_more_than_16_bits_are_reduced_and_said(signed: bool):
    samples = (RAMP * 4001).astype(np.int32 if signed else np.uint32)
    data = imagecodecs.jpeg2k_encode(
        samples - (1 << 19) * signed, codecformat="J2K", bitspersample=20, reversible=True
    )
    photo = read(data)
    np.testing.assert_array_equal(photo.pixels[..., 0], samples >> 4)
    assert photo.warnings == ("samples of 20 bits are reduced to 16",)


def test_profile_is_honoured_and_kept():
    profile = grey(gamma(1.0))
    photo = read(jp2(encode(RAMP, 8), profiled(profile)))
    assert photo.metadata.icc == profile
    assert photo.space.curves[0, 32768] == pytest.approx(0.5, abs=1e-4)
    np.testing.assert_array_equal(photo.pixels[..., 0], RAMP)


def test_the_first_usable_color_specification_counts():
    profile = grey(gamma(1.0))
    photo = read(jp2(encode(RAMP, 8), enumerated(20), profiled(profile), GREY))
    assert photo.metadata.icc == profile


@pytest.mark.parametrize("bits", [8, 16])
def test_sycc_becomes_rgb(bits: int):
    rgb = np.dstack([RAMP, RAMP[::-1], RAMP.T.reshape(RAMP.shape)]) / 255
    matrix = np.array(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    largest, zero = (1 << bits) - 1, 1 << bits - 1
    ycc = np.clip(np.round(rgb @ matrix.T * largest + (0, zero, zero)), 0, largest)
    photo = read(jp2(encode(ycc, bits), SYCC))
    assert np.abs(photo.pixels / largest - rgb).max() < 1.5 / largest


def test_subsampled_ycc_becomes_rgb():
    for data in (SUBSAMPLED, jp2(SUBSAMPLED, SYCC), jp2(SUBSAMPLED, SRGB)):
        photo = read(data)
        assert photo.pixels.shape == (16, 24, 3)
        assert np.abs(photo.pixels[0, 3].astype(int) - (130, 0, 30)).max() <= 1


def test_channel_definitions_order_colors():
    samples = np.dstack([RAMP, RAMP // 2, RAMP // 4])
    definitions = channel_definitions((0, 0, 3), (1, 0, 2), (2, 0, 1))
    photo = read(jp2(encode(samples, 8), SRGB, definitions))
    np.testing.assert_array_equal(photo.pixels, samples[..., ::-1])


@pytest.mark.parametrize("bits", [8, 16])
def test_opacity_becomes_alpha(bits: int):
    samples = np.dstack([RAMP, RAMP // 2])
    photo = read(jp2(encode(samples, bits), GREY, channel_definitions((0, 0, 1), (1, 1, 0))))
    np.testing.assert_array_equal(photo.pixels[..., 0], RAMP)
    np.testing.assert_array_equal(photo.alpha, RAMP // 2)
    assert photo.warnings == ()


def test_premultiplied_opacity_is_divided_out():
    samples = np.dstack([np.full_like(RAMP, 60), np.full_like(RAMP, 102)])
    photo = read(jp2(encode(samples, 8), GREY, channel_definitions((0, 0, 1), (1, 2, 0))))
    assert photo.pixels[0, 0, 0] == 150
    assert photo.alpha is not None
    assert photo.alpha[0, 0] == 102


def test_opacity_of_1_bit_beside_8_bit_colors():
    mask = RAMP % 2
    data = bytearray(encode(np.dstack([RAMP, RAMP, RAMP, 127 + mask]), 8))
    data[42 + 9] = 0  # Ssiz of the fourth component: 1 bit, whose samples are shifted by 1
    definitions = channel_definitions((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))
    photo = read(jp2(bytes(data), SRGB, definitions))
    np.testing.assert_array_equal(photo.alpha, mask * 255)
    np.testing.assert_array_equal(photo.pixels[..., 1], RAMP)


def test_undefined_channels_are_dropped_and_said():
    photo = read(jp2(encode(np.dstack([RAMP] * 5), 8), SRGB))
    assert photo.alpha is None
    assert photo.pixels.shape[2] == 3
    assert photo.warnings == ("2 extra channels are dropped",)


def test_a_bare_codestream_of_4_channels_has_alpha():
    photo = read(encode(np.dstack([RAMP, RAMP, RAMP, RAMP // 2]), 8))
    np.testing.assert_array_equal(photo.alpha, RAMP // 2)


def test_palette():
    palette = box(b"pclr", b"\0\2\3\7\7\7", bytes([10, 20, 30, 255, 100, 0]))
    mapping = box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, n) for n in range(3)))
    photo = read(jp2(encode(RAMP % 2, 1), SRGB, palette, mapping))
    assert photo.pixels[0, :2].tolist() == [[10, 20, 30], [255, 100, 0]]


def test_palette_of_12_bits_becomes_16():
    palette = box(b"pclr", b"\0\2\1\x0b", struct.pack(">2H", 0, 4095))
    photo = read(jp2(encode(RAMP % 2, 8), GREY, palette, box(b"cmap", b"\0\0\1\0")))
    assert photo.pixels[0, :2, 0].tolist() == [0, 65535]


def test_bilevel_zero_is_white():
    assert read(jp2(encode(RAMP % 2, 1), enumerated(0))).pixels[0, :2, 0].tolist() == [255, 0]
    assert read(jp2(encode(RAMP % 2, 1), enumerated(15))).pixels[0, :2, 0].tolist() == [0, 255]
    # OpenJPEG writes 0 for unspecified.
    assert read(jp2(encode(RAMP, 8), enumerated(0))).pixels[0, 1, 0] == 1


@pytest.mark.parametrize("bits", [8, 12])
def test_lab_becomes_srgb(bits: int):
    expected = np.array([[255, 255, 255], [0, 0, 0], [220, 60, 40], [40, 90, 160]], np.uint8)
    encoded = imagecodecs.cms_transform(
        expected[None],
        icc.srgb_profile(),
        imagecodecs.cms_profile("lab4"),
        colorspace="rgb",
        outcolorspace="lab",
        outdtype="uint16",
    )
    lab = encoded[0] / 65535 * (100, 255, 255) - (0, 128, 128)
    largest = (1 << bits) - 1
    offsets = np.array([0, 1 << bits - 1, (1 << bits - 2) + (1 << bits - 3)])
    samples = np.round(lab * largest / (100, 170, 200) + offsets)[None]
    photo = read(jp2(encode(np.repeat(samples, 8, 0), bits), enumerated(14)))
    assert photo.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(photo.to_image() - expected.astype(int)).max() <= (3 if bits == 8 else 1)
    assert photo.warnings == ("Lab is converted to sRGB",)


def test_ranges_of_lab_are_honoured():
    ranges = struct.pack(">6I4s", 100, 0, 256, 128, 256, 128, b"\0D50")
    color = box(b"colr", b"\1\0\0", struct.pack(">I", 14), ranges)
    photo = read(jp2(encode(np.full((8, 8, 3), 128), 8), color))
    assert np.ptp(photo.pixels.astype(int)) <= 1  # neutral
    assert photo.pixels[0, 0, 0] == pytest.approx(119, abs=2)  # L* 50


def test_cmyk_without_a_profile_is_converted_and_said():
    samples = np.dstack([RAMP, RAMP // 2, RAMP * 0, RAMP * 0])
    photo = read(jp2(encode(samples, 8), enumerated(12)))
    np.testing.assert_array_equal(photo.pixels, 255 - samples[..., :3])
    assert photo.warnings == (IDEAL_INKS,)


def test_cmyk_is_converted_by_its_profile():
    cmyk = table_profile(b"CMYK")
    samples = np.dstack([RAMP, RAMP // 2, RAMP * 0, RAMP // 3])
    photo = read(jp2(encode(samples, 8), profiled(cmyk)))
    expected = icc.convert_to_srgb(samples.astype(np.uint8), cmyk)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.metadata.icc == icc.srgb_profile()


@pytest.mark.parametrize(("number", "name"), [(13, "YCCK"), (20, "e-sRGB"), (99, "99")])
def test_other_colors_are_refused_by_name(number: int, name: str):
    data = jp2(encode(np.dstack([RAMP] * 4), 8), enumerated(number))
    with pytest.raises(PhotoError, match=f"its colours are .*{name}"):
        read(data)


def test_metadata_of_boxes():
    exif = exif_block()
    boxes = [
        box(b"uuid", b"JpgTiffExif->JP2", exif),
        box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), b"<x:xmpmeta/>"),
        box(b"uuid", bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"), b"\x1c\2\x05\0\1a"),
        box(b"uuid", bytes.fromhex("2c4c0100850440b9a03e562148d6dfeb"), resource(1, b"ab")),
        box(b"uuid", bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03"), b"II*\0"),
        box(b"uuid", bytes(16), bytes(20)),
        box(b"xml ", b"<caption>a boat</caption>"),
        box(b"asoc", b""),
    ]
    resolution = box(b"res ", box(b"resc", struct.pack(">4H2b", 11811, 100, 118, 1, 2, 1)))
    photo = read(jp2(encode(RAMP, 8), GREY, resolution, after=b"".join(boxes)))
    metadata = photo.metadata
    assert metadata.exif is not None
    assert len(metadata.exif) == len(exif)
    assert metadata.xmp == b"<x:xmpmeta/>"
    assert metadata.iptc == b"\x1c\2\x05\0\1a"
    assert metadata.photoshop == resource(1, b"ab")
    assert metadata.density == (11811, 1180, "m")
    assert "<caption>a boat</caption>" in metadata.comments
    assert photo.warnings == (
        "the position on the map (GeoJP2) is dropped",
        f"a private box (UUID {bytes(16).hex()}) is dropped",
        "XML of the JPEG 2000 file is kept as a comment",
        "associated data such as GML (asoc) are dropped",
    )


def test_orientation_of_exif_is_applied():
    data = jp2(encode(RAMP, 8), GREY, after=box(b"uuid", b"JpgTiffExif->JP2", exif_block()))
    np.testing.assert_array_equal(read(data).pixels[..., 0], np.rot90(RAMP, -1))


def test_too_many_pixels_are_refused_before_decoding():
    data = bytearray(jp2(encode(RAMP, 8), GREY))
    start = data.index(b"\xff\x4f\xff\x51")
    data[start + 8 : start + 16] = struct.pack(">2I", 100_000, 100_000)
    with pytest.raises(PhotoError, match="has 10000 megapixels; the limit is 200;"):
        read(bytes(data))


def test_damaged_files_are_refused():
    data = jp2(encode(RAMP, 8), GREY)
    for end in (12, 60, len(data) // 2, len(data) - 3):
        with pytest.raises(PhotoError, match=r"damaged|cut off"):
            read(data[:end])
    random = np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(data)
        for place in random.integers(12, len(data), 3):
            bad[place] = random.integers(256)
        with contextlib.suppress(PhotoError):
            open_photo(BytesIO(bad), max_pixels=1_000_000)


def test_files_of_pillow_keep_their_pixels():
    image = Image.fromarray(np.dstack([RAMP, RAMP // 2, RAMP // 3, RAMP]).astype(np.uint8))
    buffer = BytesIO()
    image.save(buffer, "JPEG2000")
    photo = read(buffer.getvalue())
    np.testing.assert_array_equal(photo.to_image(), image)


def parameterized(primaries: int, transfer: int, matrix: int = 0) -> bytes:
    """Return a colr box of code points, in full range."""
    return box(b"colr", b"\5\0\0", struct.pack(">3HB", primaries, transfer, matrix, 0x80))


def test_code_points_become_a_profile():
    color = read(jp2(encode(np.dstack([RAMP] * 3), 8), parameterized(12, 13)))
    assert color.metadata.icc == cicp.cicp_profile(12, 13)
    monochrome = read(jp2(encode(RAMP, 8), parameterized(1, 8)))
    assert monochrome.metadata.icc == cicp.cicp_profile(1, 8, is_grey=True)
    for box_, message in ((parameterized(9, 16), "PQ"), (parameterized(1, 1, 1), "YCbCr")):
        with pytest.raises(PhotoError, match=message):
            read(jp2(encode(np.dstack([RAMP] * 3), 8), box_))


def test_colors_of_a_jpx_layer_are_honoured():
    profile = grey(gamma(1.0))
    layer = box(b"jplh", box(b"cgrp", profiled(profile)))
    assert read(jp2(encode(RAMP, 8), after=layer)).metadata.icc == profile


def test_colors_are_refused_before_the_size():
    with pytest.raises(PhotoError, match="e-sRGB"):
        open_photo(BytesIO(jp2(encode(np.dstack([RAMP] * 3), 8), enumerated(20))), max_pixels=1)


def test_documents_and_videos_are_refused_by_name():
    for brand, name in ((b"jpm ", "document"), (b"mjp2", "video")):
        data = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", brand, bytes(4), brand) + bytes(60)
        with pytest.raises(PhotoError, match=name):
            read(data)
