from io import BytesIO
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from photochrom.color import cicp
from photochrom.errors import PhotoError
from photochrom.imagefile.codecs.boxes import find_box
from photochrom.imagefile.codecs.heif_items import parse_meta
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from support.boxes import HeifItem, box, heif, nclx
from support.metadata import exif_block

y, x = np.mgrid[:48, :37]
COLORS = (np.dstack([x / 37, y / 48, (x + y) / 85]) * 65535).astype(np.uint16)


def encode(mode: str, samples: np.ndarray, bits: int, **options: Any) -> bytes:
    """Return a HEIC that is lossless, in `mode` of Pillow, from samples of 16 bits or 8."""
    size = samples.shape[1::-1]
    file = pillow_heif.from_bytes(mode, size, samples.tobytes())
    buffer = BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    file.save(buffer, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return buffer.getvalue()


def read(data: bytes) -> Photo:
    return open_photo(BytesIO(data))


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("mode", ["L;16", "RGB;16", "RGBA;16"])
def test_more_than_8_bits_become_16(bits: int, mode: str):
    samples = {"L": COLORS[..., 0], "RGB": COLORS, "RGBA": np.dstack([COLORS, COLORS[..., 1]])}
    samples_16 = np.ascontiguousarray(samples[mode[:-3]])
    photo = read(encode(mode, samples_16, bits))
    expected = np.round((samples_16 >> (16 - bits)) * (65535.0 / (2**bits - 1)))
    np.testing.assert_array_equal(photo.pixels, np.atleast_3d(expected)[..., :3])
    if mode == "RGBA;16":
        np.testing.assert_array_equal(photo.alpha, expected[..., 3])
    assert photo.encoding.format == "HEIF"


def test_8_bits_stay():
    samples = (COLORS >> 8).astype(np.uint8)
    photo = read(encode("RGB", samples, 8))
    np.testing.assert_array_equal(photo.pixels, samples)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_turn_and_mirroring_are_applied_once(turns: int, mirror: int | None):
    samples = (COLORS >> 8).astype(np.uint8)
    properties = [box(b"irot", bytes([turns]))]
    expected = np.rot90(samples, turns)
    if mirror is not None:
        properties.append(box(b"imir", bytes([mirror])))
        expected = expected[::-1] if mirror == 0 else expected[:, ::-1]
    exif = HeifItem(b"Exif", bytes(4) + exif_block(orientation=3), reference=b"cdsc")
    photo = read(heif(encode("RGB", samples, 8), *properties, items=[exif]))
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.metadata.orientation == 1


def test_metadata_and_what_is_dropped():
    data = encode("RGB", (COLORS >> 8).astype(np.uint8), 8)
    parsed = parse_meta(find_box(data, b"meta") or b"")
    image = parsed.items[parsed.primary]
    own = (
        box(b"hvcC", *image.all_properties(b"hvcC")),
        box(b"ispe", *image.all_properties(b"ispe")),
    )
    aux = box(b"auxC", bytes(4), b"urn:com:apple:photo:2020:aux:hdrgainmap\0")
    items = [
        HeifItem(b"Exif", b"\0\0\0\6Exif\0\0" + exif_block(orientation=1), reference=b"cdsc"),
        HeifItem(b"mime", b"<x:xmpmeta/>", b"application/rdf+xml", reference=b"cdsc"),
        HeifItem(b"hvc1", parsed.read(image, data), reference=b"auxl", properties=(*own, aux)),
    ]
    photo = read(heif(data, items=items))
    assert photo.metadata.exif is not None
    assert photo.metadata.xmp == b"<x:xmpmeta/>"
    assert photo.warnings == ("the gain map is dropped",)


@pytest.mark.parametrize("mode", ["L;16", "RGB;16"])
def test_code_points_become_a_profile(mode: str):
    is_grey = mode == "L;16"
    data = encode(mode, np.ascontiguousarray(COLORS[..., 0] if is_grey else COLORS), 10)
    photo = read(heif(data, nclx(9, 14, 0)))
    assert photo.metadata.icc == cicp.cicp_profile(9, 14, is_grey=is_grey)
    assert (photo.space.matrix is None) == is_grey


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(transfer: int, name: str):
    with pytest.raises(PhotoError, match=name):
        read(heif(encode("RGB;16", COLORS, 10), nclx(9, transfer, 0)))


def test_cut_off_files_are_refused():
    data = encode("RGB;16", COLORS, 10)
    for end in (64, 200, len(data) // 2, len(data) - 1):
        with pytest.raises(PhotoError, match="damaged"):
            read(data[:end])


def test_too_many_pixels_are_refused():
    with pytest.raises(PhotoError, match=r"has 0\.001776 megapixels"):
        open_photo(BytesIO(encode("RGB;16", COLORS, 10)), max_pixels=1000)


def test_a_sequence_without_a_still_image_is_refused():
    data = box(b"ftyp", b"hevc\0\0\0\0hevc") + box(b"moov") + bytes(60)
    with pytest.raises(PhotoError, match="sequence of images"):
        read(data)


def test_lossy_420_is_close(picture: Image.Image):
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    picture.save(buffer, "HEIF", quality=95)
    photo = read(buffer.getvalue())
    assert np.abs(photo.pixels.astype(int) - np.asarray(picture)).mean() < 6


@pytest.mark.parametrize(("kind", "name"), [(b"unci", "values without"), (b"jpeg", "HEIF of JPEG")])
def test_what_libheif_does_not_decode_is_refused_by_its_kind(kind: bytes, name: str):
    with pytest.raises(PhotoError, match=name):
        read(encode("RGB", (COLORS >> 8).astype(np.uint8), 8).replace(b"hvc1", kind))
