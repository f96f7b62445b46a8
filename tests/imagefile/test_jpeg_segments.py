"""JPEG segments that are damaged, of unusual kinds, or in several parts."""

import struct
import time
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.jpeg.segments import find_image_end, iterate_segments, make_segment
from photochrom.imagefile.losses import lost_metadata
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.reading import open_photo
from support.metadata import IPTC, SRGB, XMP, exif_block, resource


def encode(color: int = 90, size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (color,) * 3).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def with_segments(*segments: bytes) -> bytes:
    data = encode()
    return data[:2] + b"".join(segments) + data[2:]


def with_length(segment: bytes, change: int) -> bytes:
    """Return a segment that claims another length."""
    length = int.from_bytes(segment[2:4]) + change
    return segment[:2] + length.to_bytes(2) + segment[4:]


THUMBNAIL = encode(size=(16, 16))
EXIF = make_segment(0xE1, b"Exif\0\0" + exif_block(orientation=3) + THUMBNAIL)
OTHERS = (
    make_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    make_segment(0xE2, b"ICC_PROFILE\0\1\1" + SRGB),
    make_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC)),
    make_segment(0xFE, b"from the archive"),
)


@pytest.mark.parametrize("change", [-90, -3, 1, 40, 3000, 60000])
def test_segment_of_a_wrong_length_loses_nothing(change: int):
    data = with_segments(with_length(EXIF, change), *OTHERS)

    photo = open_photo(BytesIO(data))

    read = photo.metadata
    assert photo.pixels.shape == (30, 40, 3)  # of the photo, not of the thumbnail
    assert photo.pixels.mean() == pytest.approx(90, abs=1)
    assert read.xmp is not None
    assert (read.icc, read.iptc, read.comments) == (SRGB, IPTC, ("from the archive",))
    assert read.exif is not None
    assert len(read.exif) == len(exif_block()) + len(THUMBNAIL)
    assert photo.warnings == ("the wrong length of a segment (EXIF) is corrected",)
    assert jpeg.read_metadata(data).orientation == 3


@pytest.mark.parametrize("number", range(4))
def test_wrong_length_of_any_segment_is_corrected(number: int):
    segments = [EXIF, *OTHERS]
    expected = jpeg.read_metadata(with_segments(*segments))
    for change in (-5, 7):
        changed = list(segments)
        changed[1 + number] = with_length(segments[1 + number], change)
        read = jpeg.read_metadata(with_segments(*changed))
        assert len(read.warnings) == 1
        assert (read.exif, read.xmp, read.icc) == (expected.exif, expected.xmp, expected.icc)
        assert (read.iptc, read.comments) == (expected.iptc, expected.comments)


@pytest.mark.parametrize("change", [-5, 9, 60000])
def test_wrong_length_of_the_segment_of_adobe(change: int):
    rgb = encode(keep_rgb=True)
    at = rgb.index(b"\xff\xee")
    adobe = rgb[at : at + 16]
    damaged = rgb[:at] + with_length(adobe, change) + b"".join(OTHERS) + rgb[at + 16 :]
    photo = open_photo(BytesIO(damaged))
    assert photo.metadata.comments == ("from the archive",)
    assert photo.pixels.mean() == pytest.approx(90, abs=1)


def test_padding_between_segments_is_no_damage():
    read = jpeg.read_metadata(with_segments(EXIF + bytes(7), *OTHERS))
    assert read.comments == ("from the archive",)
    assert read.warnings == ()
    photo = open_photo(BytesIO(with_segments(EXIF + bytes(7), *OTHERS)))
    assert photo.metadata.comments == ("from the archive",)


def test_segment_that_is_cut_off_is_said_to_be_dropped():
    data = with_segments(EXIF, *OTHERS)
    read = jpeg.read_metadata(data[: data.index(b"from the") + 2])
    assert read.warnings == ("a damaged segment (comment) is dropped",)
    assert read.exif is not None


def test_damaged_segments_take_linear_time():
    start = time.process_time()
    # Each claims another length, and no segment follows.
    data = b"\xff\xd8" + b"\xff\xe1\xff\xff\xff\xd8\xff" * 300_000
    jpeg.read_metadata(data)
    data = b"\xff\xd8" + with_length(make_segment(0xE5, b"\xff\xe1\0\3"), 9) * 100_000
    jpeg.read_metadata(data)
    assert time.process_time() - start < 10


def test_end_of_the_image_is_behind_its_last_scan():
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        data = encode(**options)
        assert find_image_end(data + b"trailer") == len(data)
        assert find_image_end(b"ab" + data + data, 2) == 2 + len(data)
    data = encode(progressive=True)
    at = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    between = data[:at] + make_segment(0xFE, b"\xff\xd9") + data[at:]
    assert find_image_end(between + b"\xff\xd9") == len(between)
    assert find_image_end(data[:-2]) == len(data) - 2
    assert find_image_end(data[:-2] + data) == len(data) - 2


def test_profile_with_wrong_numbers_is_joined():
    halves = SRGB[:300], SRGB[300:]
    for numbers in ((b"\0\2", b"\1\2"), (b"\1\1", b"\2\1"), (b"\1\3", b"\2\3")):
        parts = [
            make_segment(0xE2, b"ICC_PROFILE\0" + number + half)
            for number, half in zip(numbers, halves, strict=True)
        ]
        assert jpeg.read_metadata(with_segments(*parts)).icc == SRGB
    read = jpeg.read_metadata(with_segments(make_segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB[:99])))
    assert read.icc is None
    assert read.warnings == ("the colour profile is incomplete and dropped",)


def test_exif_of_more_than_a_segment():
    long = Metadata(exif=exif_block() + bytes(range(256)) * 300)
    data = jpeg.write_metadata(encode(), long)
    assert [marker for marker, _ in iterate_segments(data)].count(0xE1) == 2
    assert jpeg.read_metadata(data).exif == long.exif
    with Image.open(BytesIO(data)) as image:
        image.load()


@pytest.mark.parametrize(
    ("segment", "warning"),
    [
        ((0xE1, b"Exif\0\0MM\0*damaged"), "damaged EXIF is dropped"),
        ((0xE1, b"Exif\0\0" + exif_block(">")), "a second block of EXIF is dropped"),
        ((0xE1, b"http://ns.adobe.com/xap/1.0/\0<other/>"), "a second packet of XMP is dropped"),
        ((0xE0, b"JFIF\0\1\1\3\0\1\0\2\0\0"), "the resolution is dropped: its unit is unknown"),
        ((0xEB, b"HDR_RI ver=11"), "the layer of JPEG-HDR is dropped"),
        ((0xEB, b"JP\0\1\0\0\0\1\0\0\0\x0cftyp"), "the layers of JPEG XT are dropped"),
        (
            (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb\0\0\0\x18jumdc2pa"),
            "content credentials (C2PA) are dropped: they sign the original pixels",
        ),
        (
            (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb\0\0\0\x18jumdcacb\0\3cai\0"),
            "content credentials (C2PA) are dropped: they sign the original pixels",
        ),
    ],
)
def test_what_does_not_fit_is_said_to_be_dropped(segment: tuple[int, bytes], warning: str):
    plain = jpeg.read_metadata(with_segments(EXIF, *OTHERS))
    read = jpeg.read_metadata(with_segments(EXIF, *OTHERS, make_segment(*segment)))
    assert read.warnings == (warning,)
    assert read.jpeg_segments == plain.jpeg_segments


@pytest.mark.parametrize(
    "segment",
    [
        (0xE0, b"JFXX\0\x10" + THUMBNAIL),
        (0xE1, b"Exif\0\0" + exif_block(orientation=3) + THUMBNAIL),  # again
        (0xE1, b"Exif\0\0"),
        (0xEE, b"Adobe\0\x64\0\0\0\0\0"),
    ],
)
def test_what_is_no_loss_is_dropped_without_a_word(segment: tuple[int, bytes]):
    plain = jpeg.read_metadata(with_segments(EXIF, *OTHERS))
    assert jpeg.read_metadata(with_segments(EXIF, *OTHERS, make_segment(*segment))) == plain


@pytest.mark.parametrize(
    "segment",
    [
        (0xE1, b"FLIR\0\1\0\0"),
        (0xE0, b"AVI1\0\0"),
        (0xE2, b"FPXR\0\0"),
        (0xE0, b"II\x1a\0\0\0HEAPJPGM"),
        (0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb\0\0\0\x18jumdxml "),
        (0xEB, b"other"),
        (0xED, b"Adobe_CM\0"),
        (0xEC, b"Ducky\0\1"),
    ],
)
def test_other_segments_are_kept(segment: tuple[int, bytes]):
    kept = make_segment(*segment)
    read = jpeg.read_metadata(with_segments(EXIF, *OTHERS, kept))
    assert read.jpeg_segments == (kept,)
    assert kept in jpeg.write_metadata(encode(), read)
    assert read.warnings == ()


def test_header_of_spiff():
    header = b"\1\0\1\3" + struct.pack(">II", 30, 40) + b"\3\x08\5\1" + struct.pack(">II", 72, 300)
    spiff = make_segment(0xE8, b"SPIFF\0" + header) + make_segment(0xE8, b"\0\0\0\1\xff\xd8")
    jfif = encode(dpi=(99, 99))
    assert jpeg.read_metadata(jfif[:2] + spiff + jfif[20:]) == Metadata(density=(300, 72, "inch"))
    read = jpeg.read_metadata(jfif[:20] + spiff + jfif[20:])
    assert read.density == (99, 99, "inch")
    assert read.warnings == ("the header of SPIFF is dropped: there is one of JFIF",)


def test_resources_of_an_old_photoshop():
    old = make_segment(0xED, b"Adobe_Photoshop2.5:" + resource(0x0404, IPTC))
    assert jpeg.read_metadata(with_segments(old)).iptc == IPTC


@pytest.mark.parametrize("start", [b"Exif\0", b"junkExif\0\0", b"EXIF\0\0"])
def test_exif_with_an_unusual_start(start: bytes):
    read = jpeg.read_metadata(with_segments(make_segment(0xE1, start + exif_block())))
    assert read == Metadata(exif=exif_block())


def test_previews_of_the_photo_before_are_left_out():
    preview = b"\xff\xd8\xff\xdb" + bytes(70_000)
    other = make_segment(0xE5, b"RMETA\0")
    parts = make_segment(0xE3, preview[:65000]), make_segment(0xE4, preview[65000:])
    assert jpeg.read_metadata(with_segments(*parts, other)).jpeg_segments == (other,)


def test_what_a_jpeg_holds_in_another_way_is_said():
    assert lost_metadata(Metadata(exif=exif_block() + bytes(66_000)), "JPEG") == [
        "EXIF takes several segments of the JPEG, of which many programs read one"
    ]
    assert lost_metadata(Metadata(density=(1e9, 1e9, "m")), "JPEG") == [
        "the resolution is lost: a JPEG holds 1 to 65535 pixels per inch"
    ]
    flir = Metadata(jpeg_segments=(make_segment(0xE1, b"FLIR\0"), make_segment(0xEC, b"Ducky")))
    assert lost_metadata(flir, "JPEG") == []
    assert lost_metadata(flir, "PNG") == ["segments of the JPEG are lost: APP1 (FLIR)"]
