"""Metadata of a PNG: profiles in ImageMagick's form, and chunks about pixels."""

import dataclasses
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.imagefile.losses import lost_metadata
from photochrom.imagefile.metadata import Metadata, to_pillow_options
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.png import metadata as png
from photochrom.imagefile.png.chunks import SIGNATURE, iterate_chunks, make_chunk
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.turning import Turn
from photochrom.imagefile.writing import save_photo
from support.metadata import IPTC, SRGB, XMP, exif_block, resource

XMP_OF_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
COLOR_TYPES = {"L": 0, "RGB": 2, "P": 3, "LA": 4, "RGBA": 6}


def raw_profile(kind: str, content: bytes, chunk: bytes = b"zTXt") -> bytes:
    """Return a profile as ImageMagick writes it."""
    digits = content.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    text = "\n".join(["", kind, f"{len(content):8}", *lines, ""]).encode()
    keyword = f"Raw profile type {kind}\0".encode()
    return make_chunk(chunk, keyword + (b"\0" + zlib.compress(text) if chunk == b"zTXt" else text))


def with_chunks(*chunks: bytes, mode: str = "L", end: bytes = b"") -> bytes:
    buffer = BytesIO()
    Image.new(mode, (40, 30)).save(buffer, "PNG")
    data = buffer.getvalue()
    start = data.index(b"IDAT") - 4
    return data[:start] + b"".join(chunks) + data[start:] + end


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    return {name: chunk[8:-4] for name, chunk in iterate_chunks(data)}


@pytest.mark.parametrize("chunk", [b"tEXt", b"zTXt"])
def test_profiles_of_imagemagick_are_read(chunk: bytes):
    other = resource(0x0BB8, b"other")
    for parts, expected in (
        ({"iptc": IPTC}, Metadata(iptc=IPTC)),
        ({"iptc": resource(0x0404, IPTC)}, Metadata(iptc=IPTC, photoshop=resource(0x0404, IPTC))),
        ({"8bim": other, "iptc": IPTC}, Metadata(iptc=IPTC, photoshop=other)),
        ({"8bim": resource(0x0404, IPTC)}, Metadata(iptc=IPTC, photoshop=resource(0x0404, IPTC))),
        ({"exif": b"Exif\0\0" + exif_block()}, Metadata(exif_block())),
        ({"exif": exif_block()}, Metadata(exif_block())),
        ({"APP1": b"Exif\0\0" + exif_block()}, Metadata(exif_block())),
        ({"APP1": XMP_OF_JPEG + XMP}, Metadata(xmp=XMP)),
        ({"xmp": XMP}, Metadata(xmp=XMP)),
    ):
        data = with_chunks(*(raw_profile(kind, part, chunk) for kind, part in parts.items()))
        assert png.read_metadata(data) == expected


def test_iptc_and_resources_survive_png_and_jpeg(tmp_path: Path):
    photo = Photo(
        np.full((30, 40, 3), 90, np.uint8),
        metadata=Metadata(iptc=IPTC, photoshop=resource(0x0404, IPTC) + resource(0x0BB8, b"other")),
    )
    for suffix in (".png", ".jpg", ".png", ".tif", ".png"):
        path = tmp_path / f"a{suffix}"
        assert save_photo(photo, path, overwrite=True) == []
        photo = open_photo(path)
        assert photo.metadata.iptc == IPTC
        assert resource(0x0BB8, b"other") in bytes(photo.metadata.photoshop or b"")
    assert photo.metadata.photoshop == resource(0x0BB8, b"other")  # IPTC is there once


def test_written_profiles_have_the_form_of_imagemagick():
    metadata = Metadata(iptc=IPTC, photoshop=resource(0x0BB8, b"x"))
    written = png.write_metadata(with_chunks(), metadata)
    texts = [chunk for name, chunk in iterate_chunks(written) if name == b"zTXt"]
    assert texts == [
        raw_profile("iptc", IPTC),
        raw_profile("8bim", resource(0x0BB8, b"x")),
    ]


@pytest.mark.parametrize(
    "text", [b"", b"\niptc\n 5\nzz", b"\niptc\n 5\nabcd", b"\niptc\nx\nabcd", b"\xff\n\n\n\n"]
)
def test_damaged_profiles_stay_texts(text: bytes):
    chunk = make_chunk(b"tEXt", b"Raw profile type iptc\0" + text)
    assert png.read_metadata(with_chunks(chunk)) == Metadata(png_chunks=(chunk,))


def test_thumbnails_in_profiles_are_removed():
    thumbnail = resource(0x040C, b"old picture")
    data = with_chunks(
        raw_profile("exif", b"Exif\0\0" + exif_block()),
        raw_profile("8bim", thumbnail + resource(0x03ED, bytes(range(16)))),
    )
    upright = png.read_metadata(data).make_upright(Turn(6, 40, 30))
    assert upright.exif is not None
    assert upright.exif[82:86] == bytes(4)
    assert upright.photoshop == resource(0x03ED, bytes([*range(8, 16), *range(8)]))
    written = png.write_metadata(data, upright)
    assert [name for name, _ in iterate_chunks(written)].count(b"zTXt") == 1


def test_standard_chunks_come_before_profiles():
    data = with_chunks(
        raw_profile("exif", exif_block(">")),
        raw_profile("xmp", b"<other/>"),
        make_chunk(b"eXIf", exif_block()),
        make_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    )
    read = png.read_metadata(data)
    assert (read.exif, read.xmp) == (exif_block(), XMP)
    assert read.warnings == (
        "a second block of EXIF is dropped",
        "a second packet of XMP is dropped",
    )
    same = with_chunks(raw_profile("exif", exif_block()), make_chunk(b"eXIf", exif_block()))
    assert png.read_metadata(same) == Metadata(exif_block())


def test_xmp_of_utf_16_becomes_utf_8():
    text = XMP.decode()
    written = png.write_metadata(with_chunks(), Metadata(xmp=text.encode("utf-16-be") + bytes(2)))
    assert png.read_metadata(written).xmp == XMP


@pytest.mark.parametrize(
    ("mode", "bits", "expected"),
    [
        ("L", b"\5", {"L": b"\5", "RGB": b"\5\5\5", "RGBA": b"\5\5\5\x08", "LA": b"\5\x08"}),
        ("LA", b"\5\1", {"LA": b"\5\1", "RGB": b"\5\5\5", "RGBA": b"\5\5\5\1"}),
        ("RGB", b"\5\6\5", {"RGB": b"\5\6\5", "RGBA": b"\5\6\5\x08", "L": b"\6"}),
        ("RGBA", b"\5\6\5\4", {"RGB": b"\5\6\5", "RGBA": b"\5\6\5\4"}),
        ("P", b"\5\6\5", {"RGB": b"\5\6\5", "L": b"\6"}),
    ],
)
def test_significant_bits_fit_the_channels(mode: str, bits: bytes, expected: dict[str, bytes]):
    read = png.read_metadata(with_chunks(make_chunk(b"sBIT", bits), mode=mode))
    for output, content in expected.items():
        written = png.write_metadata(with_chunks(mode=output), read)
        assert chunks_of(written)[b"sBIT"] == content
    wrong = with_chunks(make_chunk(b"sBIT", bits + b"\1"), make_chunk(b"sBIT", b"\x09"), mode=mode)
    read = png.read_metadata(wrong)
    assert read.png_chunks == ()
    assert read.warnings == ("chunks about the original pixels are dropped: sBIT",)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", struct.pack(">H", 7), {"L": (7,), "RGB": (7, 7, 7)}),
        ("LA", struct.pack(">H", 255), {"LA": (255,), "RGBA": (255, 255, 255)}),
        ("RGB", struct.pack(">3H", 1, 2, 3), {"RGB": (1, 2, 3)}),
        ("P", b"\1", {"RGB": (1, 1, 1)}),
    ],
)
def test_background_fits_the_channels(
    mode: str, color: bytes, expected: dict[str, tuple[int, ...]]
):
    data = with_chunks(make_chunk(b"bKGD", color), mode=mode)
    if mode == "P":
        palette = make_chunk(b"PLTE", bytes((0, 0, 0, 1, 1, 1)))
        old = next(chunk for name, chunk in iterate_chunks(data) if name == b"PLTE")
        data = data.replace(old, palette)
    read = png.read_metadata(data)
    for output, values in expected.items():
        written = png.write_metadata(with_chunks(mode=output), read)
        assert chunks_of(written)[b"bKGD"] == struct.pack(f">{len(values)}H", *values)


def test_background_of_few_bits_is_scaled():
    header = struct.pack(">IIBBBBB", 40, 30, 2, 0, 0, 0, 0)
    data = with_chunks(make_chunk(b"bKGD", struct.pack(">H", 2)))
    data = data[:8] + make_chunk(b"IHDR", header) + data[33:]
    written = png.write_metadata(with_chunks(mode="RGB"), png.read_metadata(data))
    assert chunks_of(written)[b"bKGD"] == struct.pack(">3H", 170, 170, 170)


def test_resolution_of_exif_becomes_that_of_the_png():
    def phys(metadata: Metadata) -> bytes | None:
        return chunks_of(png.write_metadata(with_chunks(), metadata)).get(b"pHYs")

    for order in "<>":
        block = exif_block(order)  # 72 and 300 per inch
        assert phys(Metadata(block)) == struct.pack(">IIB", 2835, 11811, 1)
    block = exif_block()
    assert phys(Metadata(block, density=(1, 2, ""))) == struct.pack(">IIB", 2835, 11811, 1)
    assert phys(Metadata(density=(1, 2, ""))) == struct.pack(">IIB", 1, 2, 0)
    assert phys(Metadata(block, density=(5, 6, "m"))) == struct.pack(">IIB", 5, 6, 1)
    for damage in (block[:304] + bytes(4) + block[308:], block[:50] + b"\x09" + block[51:]):
        assert phys(Metadata(damage)) is None


@pytest.mark.parametrize(("depth", "row"), [(1, 0x80), (2, 0x90), (4, 0xA3), (8, 0x05)])
def test_transparent_grey_of_few_bits(depth: int, row: int):
    values = [row >> (8 - depth * (i + 1)) & ((1 << depth) - 1) for i in range(8 // depth)]
    data = b"".join(
        [
            SIGNATURE,
            make_chunk(b"IHDR", struct.pack(">IIBBBBB", len(values), 1, depth, 0, 0, 0, 0)),
            make_chunk(b"tRNS", struct.pack(">H", values[0])),
            make_chunk(b"IDAT", zlib.compress(bytes((0, row)))),
            make_chunk(b"IEND", b""),
        ]
    )
    photo = open_photo(BytesIO(data))
    assert photo.alpha is not None
    assert photo.alpha[0].tolist() == [0 if value == values[0] else 255 for value in values]


def test_physical_scale_turns_with_the_photo():
    scale = make_chunk(b"sCAL", b"\x011.5\x002e-3")
    read = png.read_metadata(with_chunks(scale))
    assert read.make_upright(Turn(3, 40, 30)).png_chunks == (scale,)
    assert read.make_upright(Turn(6, 40, 30)).png_chunks == (
        make_chunk(b"sCAL", b"\x012e-3\x001.5"),
    )


def test_chunks_about_the_original_pixels_are_said():
    names = (b"hIST", b"sPLT", b"pCAL", b"dSIG", b"tesT")
    kept = [make_chunk(name, bytes(9)) for name in (b"oFFs", b"tIME", b"teSt", b"sTER")]
    data = with_chunks(*(make_chunk(name, bytes(9)) for name in names), *kept)
    read = png.read_metadata(data)
    assert read.png_chunks == tuple(kept)
    assert read.warnings == (
        "chunks about the original pixels are dropped: hIST, sPLT, pCAL, dSIG, tesT",
    )
    assert png.read_metadata(with_chunks(make_chunk(b"iDOT", bytes(28)))).warnings == ()
    assert png.read_metadata(with_chunks(make_chunk(b"caBX", b"jumb"))).warnings == (
        "content credentials (C2PA) are dropped: they sign the original pixels",
    )


def test_data_behind_the_end_are_said():
    said = ("what lies behind the end of the PNG is dropped",)
    assert png.read_metadata(with_chunks(end=b"trailer")).warnings == said
    assert png.read_metadata(with_chunks(end=make_chunk(b"tEXt", b"a\0b"))).warnings == said
    assert png.read_metadata(with_chunks(end=bytes(9))).warnings == ()


@pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_resolution_and_comments_go_into_exif(format_: str, order: str):
    bare = Image.Exif()
    bare[0x010F] = "Make"
    bare[0x8298] = "Copyright"
    for block in (None, bare.tobytes()[6:], exif_block(order, 1)):
        metadata = Metadata(block, density=(118.5, 59, "cm"), comments=("first", "caf\udce9"))
        buffer = BytesIO()
        Image.new("RGB", (40, 30)).save(buffer, format_, **to_pillow_options(metadata, format_))
        with Image.open(buffer) as image:
            exif = image.getexif()
        assert exif[0x010E].encode("latin-1").decode() == "first\ncaf\u00e9"
        if block == exif_block(order, 1):  # it has its own resolution
            assert (exif[0x011A], exif[0x0128]) == (72, 2)
            assert exif.get_ifd(0x8769)[0x927C] == b"maker note at 320..."
        else:
            assert (exif[0x011A], exif[0x011B], exif[0x0128]) == (118.5, 59, 3)
            assert exif.get(0x010F) == (None if block is None else "Make")
            assert exif.get(0x8298) == (None if block is None else "Copyright")
        assert lost_metadata(metadata, format_) == []


FULL = Metadata(
    exif=exif_block(),
    xmp=XMP,
    icc=SRGB,
    photoshop=resource(0x0404, IPTC) + resource(0x0BB8, b"other"),
    iptc=IPTC,
    density=(300, 300, "inch"),
    comments=("one",),
    jpeg_segments=(b"\xff\xe3\0\x0cMeta\0\0\1\2\3\4", b"\xff\xec\0\x07Ducky"),
    jpeg_trailer=b"trailer",
    png_chunks=(
        make_chunk(b"tEXt", b"Title\0a"),
        make_chunk(b"tIME", bytes(7)),
        make_chunk(b"gAMA", bytes(4)),
    ),
)
OF_JPEG = [
    "what lies behind the end of the JPEG is lost",
    "segments of the JPEG are lost: APP3 (Meta)",
]
OF_PNG = ['chunks of the PNG are lost: text "Title", tIME']
EXIF_WITH_DESCRIPTION = b"II*\0\x08\0\0\0\1\0\x0e\1\2\0\4\0\0\0one\0\0\0\0\0"


def cannot(format_: str, *kinds: str) -> list[str]:
    return [f"{kind} is lost: a {format_} cannot hold it" for kind in kinds]


@pytest.mark.parametrize(
    ("format_", "lost"),
    [
        ("JPEG", OF_PNG),
        ("PNG", OF_JPEG),
        ("TIFF", OF_JPEG + OF_PNG),
        (
            "WEBP",
            [*cannot("WEBP", "IPTC", "what Photoshop stored (image resources)"), *OF_JPEG, *OF_PNG],
        ),
        (
            "AVIF",
            [*cannot("AVIF", "IPTC", "what Photoshop stored (image resources)"), *OF_JPEG, *OF_PNG],
        ),
        (
            "BMP",
            [
                *cannot(
                    "BMP",
                    "EXIF",
                    "XMP",
                    "IPTC",
                    "what Photoshop stored (image resources)",
                    "the comment",
                ),
                *OF_JPEG,
                *OF_PNG,
            ],
        ),
    ],
)
def test_what_a_format_cannot_hold_is_said(format_: str, lost: list[str]):
    assert lost_metadata(FULL, format_) == lost
    assert lost_metadata(Metadata(), format_) == []


def test_iptc_that_only_photoshop_s_resources_have_is_said_to_be_lost():
    metadata = Metadata(photoshop=resource(0x0404, IPTC))
    assert lost_metadata(metadata, "WEBP") == cannot("WEBP", "IPTC")
    assert lost_metadata(metadata, "TIFF") == []


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif", ".bmp"])
def test_what_is_not_said_to_be_lost_is_there(suffix: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    upright = FULL.make_upright(Turn(1, 40, 30))
    photo = Photo(np.full((30, 40, 3), 90, np.uint8), metadata=upright)
    said = " ".join(save_photo(photo, path))
    read = open_photo(path).metadata
    exif = Image.Exif()
    exif.load(read.exif)
    there = {
        "EXIF": read.exif is not None and exif.get_ifd(0x8825)[1] == "N",
        "XMP": read.xmp == upright.xmp,
        "IPTC": read.iptc == IPTC,
        "Photoshop": resource(0x0BB8, b"other") in bytes(read.photoshop or b""),
        "profile": read.icc == SRGB,
        "resolution": read.density is not None or exif.get(0x011A) is not None,
        "comment": read.comments == ("one",) or exif.get(0x010E) == "one",
        "Title": any(b"Title" in chunk for chunk in read.png_chunks),
        "APP3": any(b"Meta" in segment for segment in read.jpeg_segments),
    }
    assert {kind: kind in said for kind in there} == {
        kind: not is_there for kind, is_there in there.items()
    }


def test_a_mark_that_is_lost_is_not_called_xmp():
    marked = Metadata().with_mark("text & more")
    assert lost_metadata(marked, "BMP") == cannot("BMP", "the mark")
    assert lost_metadata(FULL.with_mark("text"), "BMP")[1] == cannot("BMP", "XMP")[0]


def test_comments_beside_a_description_are_said():
    for comment, format_, is_lost in (
        *(
            ("one", "TIFF", False),
            ("two", "TIFF", True),
            ("two", "WEBP", True),
            ("two", "PNG", False),
        ),
    ):
        metadata = Metadata(EXIF_WITH_DESCRIPTION, comments=(comment,))
        assert bool(lost_metadata(metadata, format_)) == is_lost


def test_resolution_out_of_range_is_said():
    huge = Metadata(density=(1e12, 1e12, "inch"))
    for format_, limit in (
        ("JPEG", "65535 pixels per inch"),
        ("PNG", "2147483647 pixels per m"),
        ("BMP", "100000 pixels per inch"),
    ):
        expected = f"the resolution is lost: a {format_} holds 1 to {limit}"
        assert lost_metadata(huge, format_) == [expected]
    ratio = dataclasses.replace(huge, density=(4, 3, ""))
    assert [bool(lost_metadata(ratio, f)) for f in ("JPEG", "PNG", "BMP")] == [False, False, True]
