"""TIFFs of all kinds, written by tifffile, or byte by byte where it cannot."""

import struct
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from photochrom.color import SRGB, lightness
from photochrom.errors import PhotoError
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.icc_profiles import table_profile

Y, X = np.mgrid[:24, :40]
COLORS = np.dstack([X / 39, Y / 23, (X + Y) / 62])
GREY = COLORS[..., 2:]
TYPES = {8: np.uint8, 16: np.uint16}
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def quantize(values: NDArray[Any], bits: int) -> NDArray[Any]:
    return (values * (2**bits - 1) + 0.5).astype(TYPES.get(bits, np.uint64))


def write(samples: NDArray[Any], **options: Any) -> BytesIO:
    stream = BytesIO()
    tifffile.imwrite(stream, samples, metadata=None, **options)
    stream.seek(0)
    return stream


def profile_tag(profile: bytes) -> list[Any]:
    return [(34675, 7, len(profile), profile, True)]


def write_plain(
    values: NDArray[Any], bits: int, photometric: int, order: str, raw: bytes, **tags: int
) -> BytesIO:
    """Write uncompressed samples, shape (H, W, n), given as bytes."""
    height, width, samples = values.shape
    entries = {256: width, 257: height, 259: 1, 262: photometric, 277: samples, 278: height}
    entries |= {279: len(raw)} | {int(tag.removeprefix("t")): value for tag, value in tags.items()}
    count = len(entries) + 2
    bits_offset = 8 + 2 + 12 * count + 4
    start = struct.pack(order + "H", count)
    fields = {tag: struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries.items()}
    data_offset = bits_offset + 2 * samples
    fields[273] = struct.pack(order + "HHII", 273, 4, 1, data_offset)
    packed = struct.pack(f"{order}{samples}H", *[bits] * samples)
    where = packed.ljust(4, b"\0") if samples < 3 else struct.pack(order + "I", bits_offset)
    fields[258] = struct.pack(order + "HHI", 258, 3, samples) + where
    directory = start + b"".join(fields[tag] for tag in sorted(fields)) + bytes(4)
    signature = b"II*\0" if order == "<" else b"MM\0*"
    return BytesIO(signature + struct.pack(order + "I", 8) + directory + packed + raw)


def pack_bits(values: NDArray[Any], bits: int) -> bytes:
    """Pack values without gaps, the highest bit first; rows start at bytes."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    rows = values.reshape(len(values), -1).astype(np.uint64)
    single = (rows[..., None] >> shifts) & np.uint64(1)
    return np.packbits(single.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def assert_pixels(photo: Photo, expected: NDArray[Any], bits: int = 16) -> None:
    assert photo.pixels.dtype == TYPES[bits]
    largest = 2**bits - 1
    assert photo.pixels.shape == expected.shape
    np.testing.assert_allclose(photo.pixels / largest, expected, atol=1.01 / largest)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_planar_rgb(bits: int, compression: str | None, predictor: bool, tile: Any):
    stream = write(
        np.moveaxis(quantize(COLORS, bits), -1, 0),
        photometric="rgb",
        planarconfig="separate",
        compression=compression,
        predictor=predictor and compression is not None,
        tile=tile,
    )
    photo = open_photo(stream)
    assert_pixels(photo, COLORS, bits)
    assert photo.space is SRGB
    assert photo.warnings == ()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["minisblack", "rgb", "separated"])
@pytest.mark.parametrize("alpha", ["associated", "unassociated"])
def test_alpha(bits: int, planar: Any, kind: str, alpha: str):
    values = {"minisblack": GREY, "rgb": COLORS, "separated": 1 - COLORS}[kind]
    if kind == "separated":
        values = np.dstack([values, np.zeros_like(GREY)])
    opacity = 0.25 + GREY / 2
    stored = values * opacity if alpha == "associated" else values
    samples = quantize(np.dstack([stored, opacity]), bits)
    stream = write(
        samples if planar == "contig" else np.moveaxis(samples, -1, 0),
        photometric=kind,
        planarconfig=planar,
        extrasamples=[1 if alpha == "associated" else 2],
    )
    photo = open_photo(stream)
    expected = GREY if kind == "minisblack" else COLORS
    assert photo.pixels.dtype == TYPES[bits]
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, samples[..., -1])
    # What was multiplied by 1/4 has a quarter of the steps.
    np.testing.assert_allclose(
        photo.pixels / (2**bits - 1), expected, atol=(4 if alpha == "associated" else 1) / 2**bits
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_alpha_behind_an_extra_channel(bits: int):
    samples = quantize(np.dstack([COLORS, 1 - GREY, GREY]), bits)
    photo = open_photo(write(samples, photometric="rgb", extrasamples=[0, 2]))
    assert_pixels(photo, COLORS, bits)
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, samples[..., 4])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_without_a_profile(bits: int, planar: Any):
    samples = quantize(np.dstack([1 - COLORS, np.full_like(GREY, 0.5)]), bits)
    stream = write(
        samples if planar == "contig" else np.moveaxis(samples, -1, 0),
        photometric="separated",
        planarconfig=planar,
    )
    photo = open_photo(stream)
    assert photo.pixels.dtype == TYPES[bits]
    np.testing.assert_allclose(photo.pixels / (2**bits - 1), COLORS / 2, atol=2 / 2**bits)
    assert photo.warnings == (
        "CMYK without a colour profile is converted to RGB as if inks were ideal",
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("kind", "space"), [("rgb", b"RGB "), ("separated", b"CMYK"), ("minisblack", b"GRAY")]
)
@pytest.mark.parametrize("extra", [(), (2,)])
def test_table_profiles(bits: int, kind: str, space: bytes, extra: tuple[int, ...]):
    grey = np.broadcast_to(X[..., None] / 39, (24, 40, 1))
    values = {
        "rgb": np.repeat(grey, 3, axis=2),
        "separated": np.dstack([grey * 0, grey * 0, grey * 0, 1 - grey]),
        "minisblack": grey,
    }[kind]
    samples = quantize(np.dstack([values, *[np.ones_like(grey)] * len(extra)]), bits)
    profile = table_profile(space)
    stream = write(
        samples[..., 0] if samples.shape[2] == 1 else samples,
        photometric=kind,
        extrasamples=extra,
        planarconfig="contig",
        extratags=profile_tag(profile),
    )
    photo = open_photo(stream)
    assert photo.pixels.dtype == TYPES[bits]
    assert (photo.alpha is not None) == bool(extra)
    # Interpolation in a table of nine points is exact at these.
    at_points = slice(0, 40, 39)
    L = lightness(photo.pixels)[:, at_points]
    np.testing.assert_allclose(L, 100 * grey[:, at_points, 0], atol=0.1)
    middle = lightness(open_photo(stream).pixels)[0, 20]
    assert middle == pytest.approx(100 * (20 / 39) ** (1 / 1.8), abs=0.8)
    assert photo.metadata.icc not in (None, profile)
    assert photo.warnings == ("the colours are converted from the photo's colour profile to sRGB",)


def encode_lab(L: Any, a: Any, b: Any, kind: int, bits: int) -> NDArray[Any]:
    """Encode CIELAB by TIFF 6.0, section 23, Adobe's technical note, and ITU-T T.42."""
    scale = {8: 1, 16: 256}[bits]
    if kind == 8:
        encoded = [L / 100 * (2**bits - 1), np.mod(a * scale, 2**bits), np.mod(b * scale, 2**bits)]
    elif kind == 9:
        top = 255 if bits == 8 else 0xFF00
        encoded = [L / 100 * top, (a + 128) * scale, (b + 128) * scale]
    else:
        encoded = [L * 2.55, a * 255 / 170 + 128, b * 255 / 200 + 96]
    return np.floor(np.dstack(encoded) + 0.5).astype(np.int64)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [(8, 8), (8, 16), (9, 8), (9, 16), (10, 8)])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_lab(order: str, kind: tuple[int, int], has_alpha: bool):
    photometric, bits = kind
    L = np.tile(np.linspace(0, 100, 11), (4, 1))
    a, b = np.zeros_like(L), np.zeros_like(L)
    L[1], a[1], b[1] = 60, 30, -20
    L[2], a[2], b[2] = 50, -20, 40
    samples = encode_lab(L, a, b, photometric, bits)
    extra = {}
    if has_alpha:
        samples = np.dstack([samples, np.full_like(L, 3).astype(int)])
        extra = {"t338": 2}
    raw = samples.astype(f"{order}u{bits // 8}").tobytes()
    photo = open_photo(write_plain(samples, bits, photometric, order, raw, **extra))
    assert photo.pixels.dtype == TYPES[bits]
    tolerance = 0.4 if bits == 8 else 0.02
    np.testing.assert_allclose(lightness(photo.pixels)[[0, 3]], L[[0, 3]], atol=tolerance)
    largest = 2**bits - 1
    for row, expected in ((1, (183, 125, 181)), (2, (101, 128, 45))):  # by littleCMS
        assert photo.pixels[row, 0] / largest * 255 == pytest.approx(expected, abs=1.1)
    if has_alpha:
        assert photo.alpha is not None
        assert (photo.alpha == 3).all()
    assert "Lab is converted to sRGB" in photo.warnings
    assert photo.metadata.icc is not None


def test_lightness_alone():
    L = np.linspace(0, 65535, 100).astype(np.uint16).reshape(1, 100, 1)
    photo = open_photo(write_plain(L, 16, 8, "<", L.astype("<u2").tobytes()))
    assert photo.pixels.shape == (1, 100, 1)
    np.testing.assert_allclose(lightness(photo.pixels), L[..., 0] / 655.35, atol=0.02)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("values", [GREY, COLORS], ids=["grey", "rgb"])
@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14, 17])
@pytest.mark.parametrize("fill_order", [1, 2])
def test_packed_bits(order: str, values: NDArray[Any], bits: int, fill_order: int):
    samples = quantize(values, bits)
    raw = pack_bits(samples, bits)
    photometric = 2 if values is COLORS else 1
    if fill_order == 2:
        raw = raw.translate(REVERSED)
    photo = open_photo(write_plain(values, bits, photometric, order, raw, t266=fill_order))
    assert_pixels(photo, samples / (2**bits - 1), 8 if bits < 8 else 16)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("values", [GREY, COLORS], ids=["grey", "rgb"])
def test_fill_order_of_whole_bytes(bits: int, values: NDArray[Any]):
    raw = quantize(values, bits).astype(f"<u{bits // 8}").tobytes().translate(REVERSED)
    photo = open_photo(write_plain(values, bits, 2 if values is COLORS else 1, "<", raw, t266=2))
    assert_pixels(photo, values, bits)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("values", [GREY, COLORS], ids=["grey", "rgb"])
def test_24_bits(order: str, values: NDArray[Any]):
    numbers = quantize(values, 24).ravel().tolist()
    raw = b"".join(n.to_bytes(3, "little" if order == "<" else "big") for n in numbers)
    photo = open_photo(write_plain(values, 24, 2 if values is COLORS else 1, order, raw))
    assert_pixels(photo, values)
    assert photo.warnings == ("samples of 24 bits are reduced to 16",)


@pytest.mark.parametrize("dtype", ["<u4", ">u4"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_32_bits(dtype: str, planar: Any):
    samples = quantize(COLORS, 32).astype(dtype)
    stream = write(
        samples if planar == "contig" else np.moveaxis(samples, -1, 0),
        photometric="rgb",
        planarconfig=planar,
        byteorder=dtype[0],
    )
    assert_pixels(open_photo(stream), COLORS)


@pytest.mark.parametrize("dtype", ["u4", "i4"])
def test_32_bits_that_hold_16(dtype: str):
    values = quantize(GREY, 16)[..., 0].astype(dtype)
    assert_pixels(open_photo(write(values, photometric="minisblack")), GREY)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("values", [GREY, COLORS], ids=["grey", "rgb"])
@pytest.mark.parametrize("predictor", [None, 3])
def test_floating_point(dtype: str, values: NDArray[Any], predictor: int | None):
    stream = write(
        np.squeeze(values).astype(dtype),
        photometric="rgb" if values is COLORS else "minisblack",
        byteorder=dtype[0],
        compression="zlib" if predictor else None,
        predictor=predictor,
    )
    photo = open_photo(stream)
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_allclose(photo.pixels / 65535, values, atol=3e-4 if "2" in dtype else 1e-5)
    assert any("not as linear" in warning for warning in photo.warnings)


@pytest.mark.parametrize("order", ["<", ">"])
def test_floating_point_of_24_bits(order: str):
    raw = bytes(imagecodecs.float24_encode(COLORS.astype(np.float32), byteorder=order))
    photo = open_photo(write_plain(COLORS, 24, 2, order, raw, t339=3))
    np.testing.assert_allclose(photo.pixels / 65535, COLORS, atol=2e-5)


def test_floating_point_with_a_profile_is_not_guessed():
    from photochrom.color.icc import build_profile

    stream = write(
        GREY[..., 0].astype("f4"),
        photometric="minisblack",
        extratags=profile_tag(build_profile(1.0, None)),
    )
    photo = open_photo(stream)
    np.testing.assert_allclose(photo.space.curves[0, 32768], 0.5, atol=1e-3)
    assert photo.warnings == ("floating-point values are reduced to 16 bits",)


@pytest.mark.parametrize("value", [3.0, -0.5, float("nan"), float("inf")])
def test_floating_point_out_of_range_is_refused(value: float):
    values = GREY[..., 0].astype("f4")
    values[3, 3] = value
    with pytest.raises(PhotoError, match="floating-point values"):
        open_photo(write(values, photometric="minisblack"))


def test_resampled_floating_point_is_clipped():
    values = GREY[..., 0].astype("f4") * 1.008 - 0.004
    photo = open_photo(write(values, photometric="minisblack"))
    assert (photo.pixels.min(), photo.pixels.max()) == (0, 65535)


@pytest.mark.parametrize("compression", ["jpeg2000", "jpegxl", "webp", "lerc", "png"])
@pytest.mark.parametrize("bits", [8, 16])
def test_image_compressions(compression: str, bits: int):
    if compression == "webp" and bits == 16:
        pytest.skip("a WebP has 8 bits")
    levels = {"webp": {"lossless": True}, "jpeg2000": {"level": 0}}.get(compression, {})
    stream = write(
        quantize(COLORS, bits), photometric="rgb", compression=compression, compressionargs=levels
    )
    assert_pixels(open_photo(stream), COLORS, bits)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("step", "largest"), [(1, 65535), (256, 65535), (257, 65535), (1, 255)])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_palettes(bits: int, step: int, largest: int, has_alpha: bool):
    entries = np.random.default_rng(0).integers(0, largest, (3, 1 << bits), np.uint16, True)
    entries = entries // step * step
    indices = np.random.default_rng(1).integers(0, 1 << bits, (20, 30), TYPES[bits])
    opacity = quantize(GREY[:20, :30, 0], bits)
    stream = write(
        np.dstack([indices, opacity]) if has_alpha else indices,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=[2] if has_alpha else None,
        extratags=[(65000, "H", entries.size, entries.ravel().tolist(), True)],
    )
    data = stream.getvalue().replace(struct.pack("<HH", 65000, 3), struct.pack("<HH", 320, 3))
    grey, palette = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (1, 3))
    assert grey in data
    photo = open_photo(BytesIO(data.replace(grey, palette)))
    expected = np.moveaxis(entries[:, indices], 0, -1)
    assert photo.pixels.dtype == (np.uint16 if (step, largest) == (1, 65535) else np.uint8)
    if step > 1:
        expected = (expected >> 8).astype(np.uint8)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert (photo.alpha is not None) == has_alpha
    if photo.alpha is not None:
        largest = np.iinfo(photo.alpha.dtype).max
        np.testing.assert_allclose(photo.alpha / largest, opacity / (2**bits - 1), atol=1 / 255)


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_jpeg(bits: int, photometric: str):
    values = COLORS if photometric == "rgb" else GREY[..., 0]
    stored = quantize(values, bits).astype(np.uint8 if bits == 8 else np.uint16)
    stream = write(
        stored,
        photometric=photometric,
        compression="jpeg",
        bitspersample=bits,
        compressionargs={"level": 100, **({"bitspersample": 12} if bits == 12 else {})},
    )
    photo = open_photo(stream)
    assert photo.pixels.dtype == (np.uint8 if bits == 8 else np.uint16)
    largest = np.iinfo(photo.pixels.dtype).max
    np.testing.assert_allclose(photo.pixels / largest, np.atleast_3d(values), atol=0.04)


def subsample(ycc: NDArray[Any], across: int, down: int) -> bytes:
    """Return data units: luma of a block, then its Cb and Cr (TIFF 6.0, section 21)."""
    height, width, _ = ycc.shape
    units = bytearray()
    for top in range(0, height, down):
        for left in range(0, width, across):
            block = ycc[top : top + down, left : left + across]
            units += block[..., 0].tobytes()
            units += bytes(block[..., 1:].reshape(-1, 2).mean(axis=0).round().astype(np.uint8))
    return bytes(units)


@pytest.mark.parametrize("compression", [1, 5])
@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_ycbcr_without_jpeg(compression: int, sampling: tuple[int, int]):
    grey = quantize(np.repeat(GREY, 3, axis=2), 8)
    ycc = np.dstack([grey[..., :1], np.full_like(grey[..., :2], 128)])
    ycc[:, 20:, 1], ycc[:, 20:, 2] = 100, 150
    raw = subsample(ycc, *sampling)
    if compression == 5:
        raw = bytes(imagecodecs.lzw_encode(raw))
    packed = sampling[0] | sampling[1] << 16
    stream = write_plain(ycc, 8, 6, "<", raw, t259=compression)
    data = bytearray(stream.getvalue())
    # tag 530 takes two SHORTs: it is written over the tag of RowsPerStrip, which is optional
    at = data.index(struct.pack("<HHI", 278, 4, 1))
    directory = data[10:at] + data[at + 12 : 10 + 12 * data[8]]
    directory += struct.pack("<HHII", 530, 3, 2, packed)
    data[10 : 10 + len(directory)] = directory
    photo = open_photo(BytesIO(bytes(data)))
    assert photo.pixels.dtype == np.uint8
    luma = photo.pixels.astype(float) @ (0.299, 0.587, 0.114)
    inside = (photo.pixels > 0).all(axis=2) & (photo.pixels < 255).all(axis=2)
    assert np.abs(luma - grey[..., 0])[inside].max() < 1.6
    red_blue = photo.pixels[..., 0].astype(int) - photo.pixels[..., 2]
    assert np.abs(red_blue[:, :16]).max() <= 1
    assert red_blue[8:, 28:36].min() > 50


def test_old_compressions():
    levels = np.arange(16) % 4 / 3
    row = b"\0" + bytes([0b00011011] * 4)
    photo = open_photo(write_plain(np.zeros((4, 16, 1)), 2, 1, "<", row * 4, t259=32766))
    assert_pixels(photo, np.tile(levels, (4, 1))[..., None], 8)
    single = bytes(0xC0 | level for level in range(16))
    photo = open_photo(write_plain(np.zeros((4, 16, 1)), 4, 1, "<", single * 4, t259=32809))
    assert_pixels(photo, np.tile(np.arange(16) / 15, (4, 1))[..., None], 8)
    colors = quantize(COLORS, 8)
    raw = bytes(imagecodecs.pixarlog_encode(colors))
    photo = open_photo(write_plain(colors, 8, 2, "<", raw, t259=32909))
    np.testing.assert_allclose(photo.pixels / 255, COLORS, atol=0.02)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (write(np.zeros((4, 4), np.int16), photometric="minisblack"), "signed integers"),
        (write(np.full((4, 4), -1, np.int32), photometric="minisblack"), "signed integers"),
        (write(np.zeros((4, 4), np.complex64), photometric="minisblack"), "complex"),
        (write(np.zeros((4, 4), np.uint16), photometric="cfa"), "filter array"),
        (write(np.zeros((4, 4, 4), np.uint16), photometric="separated", extratags=[
            (332, "H", 1, 2, True)]), "inks other than CMYK"),
        (write_plain(np.zeros((4, 4, 3)), 12, 8, "<", bytes(72)), "Lab with 12 bits"),
        (write_plain(np.zeros((4, 4, 3)), 8, 2, "<", bytes(48), t259=9999), "compression 9999"),
        (write_plain(np.zeros((4, 4, 1)), 16, 77, "<", bytes(32)), "interpretation 77"),
    ],
)  # fmt: skip
def test_refusals_name_the_kind(stream: BytesIO, message: str):
    with pytest.raises(PhotoError, match=message) as caught:
        open_photo(stream)
    assert "8 bits" not in str(caught.value)


def test_segments_that_claim_gigapixels_are_refused_before_they_are_decoded():
    tile = np.zeros((16, 16, 3), np.uint8)
    huge = bytearray(imagecodecs.jpeg2k_encode(tile, level=0))
    at = huge.index(b"\xff\x51")  # the size in the main header of a codestream
    struct.pack_into(">II", huge, at + 6, 60_000, 60_000)
    stream = write(tile, photometric="rgb", compression="jpeg2000")
    with tifffile.TiffFile(stream) as file:
        offset = file.pages[0].dataoffsets[0]
    data = bytearray(stream.getvalue())
    data[offset:] = huge
    with pytest.raises(PhotoError, match="damaged"):
        open_photo(BytesIO(bytes(data)))


def test_missing_strips_are_refused():
    stream = write(quantize(COLORS, 16), photometric="rgb", rowsperstrip=8, compression="zstd")
    data = stream.getvalue()
    at = data.index(struct.pack("<HHII", 257, 4, 1, 24))
    changed = data[: at + 8] + struct.pack("<I", 80) + data[at + 12 :]
    with pytest.raises(PhotoError, match="strips or tiles are missing"):
        open_photo(BytesIO(changed))


def test_extra_samples_count_for_the_limit():
    stream = write(np.zeros((40, 40, 40), np.uint16), photometric="rgb", extrasamples=[0] * 37)
    assert open_photo(stream, max_pixels=10_000).size == (40, 40)
    with pytest.raises(PhotoError, match="too large"):
        open_photo(stream, max_pixels=2000)
