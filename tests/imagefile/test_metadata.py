import dataclasses
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from photochrom.errors import PhotoError
from photochrom.imagefile import metadata
from photochrom.imagefile.containers import (
    format_of,
    jpeg_segment,
    jpeg_segments,
    png_chunk,
    png_chunks,
    without_metadata,
)
from photochrom.imagefile.metadata import Metadata
from support.metadata import IPTC, SRGB, XMP, exif_block, resource

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def encoded(format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 30), (90, 60, 30)).save(buffer, format_, **options)
    return buffer.getvalue()


def with_segments(*segments: bytes) -> bytes:
    data = encoded("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def with_chunks(*chunks: bytes) -> bytes:
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


FULL_JPEG = with_segments(
    jpeg_segment(0xE1, b"Exif\0\0" + exif_block()),
    jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40)),
    jpeg_segment(0xE2, b"ICC_PROFILE\0\2\2" + SRGB[300:]),
    jpeg_segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB[:300]),
    jpeg_segment(0xE2, b"MPF\0" + bytes(8)),
    jpeg_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC, b"odd")),
    jpeg_segment(0xEC, b"Ducky" + bytes(4)),
    jpeg_segment(0xFE, b"from the archive"),
)
FULL_PNG = with_chunks(
    png_chunk(b"gAMA", struct.pack(">I", 45455)),
    png_chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)),
    png_chunk(b"bKGD", bytes(6)),
    png_chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)),
    png_chunk(b"eXIf", exif_block(">")),
    png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    png_chunk(b"tEXt", b"Title\0old"),
    png_chunk(b"tIME", b"\x07\xd0\1\1\1\1\1"),
    png_chunk(b"teSt", b"safe to copy"),
    png_chunk(b"tesT", b"only of these pixels"),
    png_chunk(b"zTXt", b"A\0\0")[:-1] + b"?",
)


def test_a_jpeg_keeps_all():
    read = metadata.read_jpeg(FULL_JPEG)
    assert read.exif == exif_block()
    assert read.xmp == XMP
    assert read.icc == SRGB
    assert read.iptc == IPTC
    assert read.density is None
    assert [part[:10] for part in read.own] == [
        b"\xff\xe1\0\x4dhttp:/",
        b"\xff\xec\0\x0bDucky\0",
        b"\xff\xfe\0\x12from t",
    ]

    written = metadata.write_jpeg(encoded("JPEG", quality=90), read)

    assert metadata.read_jpeg(written) == read
    with Image.open(BytesIO(written)) as image:
        image.load()
        assert image.info["exif"] == b"Exif\0\0" + exif_block()
        assert image.info["icc_profile"] == SRGB
        assert image.info["comment"] == b"from the archive"
        assert image.info["xmp"] == XMP
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 5): b"Title", (2, 120): b"Caption"}
    assert cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_COLOR).shape == (40, 30, 3)


def test_a_png_keeps_all():
    read = metadata.read_png(FULL_PNG)
    assert read.exif == exif_block(">")
    assert read.xmp == XMP
    assert read.icc == SRGB
    assert read.density == (11811, 5906, "m")
    assert [part[4:8] for part in read.own] == [b"gAMA", b"tEXt", b"tIME", b"teSt"]

    for picture in (
        encoded("PNG", dpi=(1, 1)),
        cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1],
    ):
        written = metadata.write_png(bytes(picture), read)

        assert metadata.read_png(written) == read
        names = [name for name, _ in png_chunks(written)]
        assert names[0] == b"IHDR"
        assert names[-1] == b"IEND"
        assert len(set(names)) == len(names)
        assert names.index(b"iCCP") < names.index(b"IDAT")
        with Image.open(BytesIO(written)) as image:
            image.load()
            assert image.getexif()[0x0112] == 6
            assert image.info["icc_profile"] == SRGB
            assert image.info["Title"] == "old"
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
            assert image.info["xmp"] == XMP
        shape = cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_COLOR_BGR).shape
        assert shape in ((40, 30, 3), (9, 9, 3))


@ORDERS
def test_upright_changes_bytes_in_their_places(order: str):
    block = exif_block(order)
    turned = Metadata(block, density=(300, 308, "inch")).upright(swap=True)

    expected = bytearray(block)
    expected[18:22] = struct.pack(order + "HH", 1, 0)
    expected[30:34], expected[42:46] = block[42:46], block[30:34]  # where the resolutions lie
    expected[82:86] = bytes(4)  # the thumbnail
    expected[116:126], expected[128:138] = block[128:138], block[116:126]  # kind, count, px
    assert turned.exif == bytes(expected)
    assert turned.density == (308, 300, "inch")
    assert turned.exif[320:340] == b"maker note at 320..."
    image = Image.Exif()
    image.load(b"Exif\0\0" + turned.exif)
    assert image[0x0112] == 1
    inner = image.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003], inner[0x927C]) == (480, 640, b"maker note at 320...")
    assert image.get_ifd(0x8825)[1] == "N"
    assert turned.orientation == 1


def test_upright_without_a_turn_unlinks_the_thumbnail_and_no_more():
    block = exif_block(orientation=1)
    turned = Metadata(block).upright(swap=False)
    assert turned.exif == block[:82] + bytes(4) + block[86:]
    assert turned.upright(swap=False) == turned


@ORDERS
@pytest.mark.parametrize("number", [0, 9, 0xFFFF])
def test_an_orientation_that_is_none(order: str, number: int):
    odd = Metadata(exif_block(order, number))
    assert odd.orientation is None
    turned = odd.upright(swap=False)
    assert turned.exif is not None
    assert turned.exif[:82] == exif_block(order, number)[:82]


@pytest.mark.parametrize(
    "written",
    [
        b'<a xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8">',
        b"<a xmlns:tiff = 'http://ns.adobe.com/tiff/1.0/' tiff:Orientation = '8'>",
        b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation>8</t:Orientation>',
        b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation a="b">8</t:Orientation>',
    ],
)
def test_orientation_in_xmp(written: bytes):
    assert Metadata(xmp=written).orientation == 8
    assert Metadata(xmp=written).upright(swap=True).xmp == written.replace(b"8", b"1")
    # EXIF comes first, but what XMP says has to be right as well.
    both = Metadata(exif_block(orientation=3), written)
    assert both.orientation == 3
    assert both.upright(swap=False).xmp == written.replace(b"8", b"1")


@pytest.mark.parametrize("value", [b"9", b"0", b"66", b"", b"x"])
def test_orientation_in_xmp_that_is_none(value: bytes):
    xmp = b'<a xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%b">' % value
    assert Metadata(xmp=xmp).orientation is None
    assert Metadata(xmp=xmp).upright(swap=True).xmp == xmp


def test_thumbnails_of_photoshop_are_left_out():
    kept = resource(0x03ED, bytes(16)) + resource(0x0404, IPTC, b"name")
    given = resource(0x040C, b"grey!") + kept + resource(0x0409, b"grey") + b"8BIMcut"
    assert Metadata(photoshop=given).upright(swap=False).photoshop == kept + b"8BIMcut"


AWKWARD = 'colours by <model> & "a\'b" \u00e9\U0001f600'


def test_mark():
    marked = Metadata(xmp=XMP).with_mark("\n\ud800" + AWKWARD + "\0")
    assert marked.xmp is not None
    assert marked.mark == AWKWARD
    assert Metadata(xmp=XMP).mark is None
    start = XMP.index(b"</rdf:RDF>")
    assert marked.xmp.startswith(XMP[:start] + b'<rdf:Description rdf:about="uuid:1" ')
    assert marked.xmp.endswith(XMP[start:])
    again = marked.with_mark("other")
    assert again.mark == "other"
    assert again.xmp == Metadata(xmp=XMP).with_mark("other").xmp
    first, second = ElementTree.fromstring(marked.xmp).iter(f"{{{RDF}}}Description")
    assert first.get("{http://ns.adobe.com/tiff/1.0/}Make") == "B\u00e9b\u00e9"
    assert second.get("{urn:photochrom:}colorized") == AWKWARD
    assert second.get(f"{{{RDF}}}about") == "uuid:1"


@pytest.mark.parametrize("xmp", [None, b"", b"no packet", b"<x:xmpmeta/>"])
def test_mark_without_a_packet(xmp: bytes | None):
    marked = Metadata(xmp=xmp).with_mark("text")
    assert marked.xmp is not None
    assert marked.mark == "text"
    assert marked.xmp.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert marked.xmp.endswith(b'<?xpacket end="w"?>')
    (described,) = ElementTree.fromstring(marked.xmp).iter(f"{{{RDF}}}Description")
    assert described.attrib == {f"{{{RDF}}}about": "", "{urn:photochrom:}colorized": "text"}


@pytest.mark.parametrize(
    ("start", "end", "line"),
    [
        (b'<r:RDF xmlns:r="R"><r:Description r:about=\'a"b\'/>', b"</r:RDF >", b"r:about='a\"b' "),
        (b'<RDF xmlns="R">', b"</RDF>", b'rdf:about="" xmlns:rdf="http:'),
    ],
)
def test_mark_in_a_packet_of_other_prefixes(start: bytes, end: bytes, line: bytes):
    xmp = Metadata(xmp=start + end).with_mark("text").xmp
    assert xmp is not None
    assert xmp.startswith(start)
    assert xmp.endswith(end)
    assert line in xmp


def test_mark_that_another_program_wrote_anew():
    xmp = b'<a xmlns:ns1="urn:photochrom:"><ns1:colorized>a &amp; b</ns1:colorized></a>'
    assert Metadata(xmp=xmp).mark == "a & b"
    assert Metadata(xmp=xmp).with_mark("<").xmp == xmp.replace(b"a &amp; b", b"&lt;")


@pytest.mark.parametrize(
    ("unit", "name"), [(0, ""), (1, "inch"), (2, "cm")], ids=["ratio", "inch", "cm"]
)
def test_density_of_a_jpeg_comes_back_exactly(unit: int, name: str):
    data = encoded("JPEG")
    data = data[:13] + struct.pack(">BHH", unit, 118, 65535) + data[18:]
    read = metadata.read_jpeg(data)
    assert read.density == (118, 65535, name)
    assert metadata.write_jpeg(encoded("JPEG"), read)[:20] == data[:20]


def test_density_between_formats():
    def phys(density: tuple[float, float, str]) -> tuple[Any, ...] | None:
        data = metadata.write_png(encoded("PNG"), Metadata(density=density))
        read = metadata.read_png(data).density
        return read and read[:2]

    assert phys((300, 72, "inch")) == (11811, 2835)
    assert phys((118, 119, "cm")) == (11800, 11900)
    assert phys((4, 3, "")) == (4, 3)
    assert phys((0.001, 0.001, "m")) is None
    png = Metadata(density=(11811, 2835, "m"))
    assert metadata.read_jpeg(metadata.write_jpeg(encoded("JPEG"), png)).density == (
        300,
        72,
        "inch",
    )
    assert metadata.pillow_options(png, "BMP") == {"dpi": (300, 72)}
    huge = Metadata(density=(1e9, 1e9, "inch"))
    assert metadata.read_jpeg(metadata.write_jpeg(encoded("JPEG"), huge)).density is None


def test_what_a_png_says_of_colours_goes_with_the_profile():
    data = with_chunks(
        png_chunk(b"sRGB", b"\0"), png_chunk(b"cHRM", bytes(32)), png_chunk(b"tEXt", b"Title\0old")
    )
    read = metadata.read_png(data)
    assert [part[4:8] for part in read.own] == [b"sRGB", b"cHRM", b"tEXt"]
    assert [part[4:8] for part in read.with_profile(None).own] == [b"tEXt"]
    # Even where both are kept, a PNG cannot have both.
    written = metadata.write_png(encoded("PNG"), dataclasses.replace(read, icc=SRGB))
    assert b"sRGB" not in [name for name, _ in png_chunks(written)]
    comment = Metadata(own=(jpeg_segment(0xFE, b"sRGB"),))
    assert comment.with_profile(SRGB).own == comment.own


def test_own_parts_stay_with_their_format():
    jpeg, png = metadata.read_jpeg(FULL_JPEG), metadata.read_png(FULL_PNG)
    from_png = metadata.read_jpeg(metadata.write_jpeg(encoded("JPEG"), png))
    assert from_png == dataclasses.replace(png, density=(300, 150, "inch"), own=())
    from_jpeg = metadata.read_png(metadata.write_png(encoded("PNG"), jpeg))
    assert from_jpeg == Metadata(jpeg.exif, jpeg.xmp, jpeg.icc)


def test_long_profiles_and_resources_go_into_several_segments():
    long = bytes(range(256)) * 600
    said = Metadata(icc=long, photoshop=resource(0x0BB8, long), iptc=IPTC)
    written = metadata.write_jpeg(encoded("JPEG"), said)
    read = metadata.read_jpeg(written)
    assert read.icc == long
    assert read.iptc == IPTC
    assert read.photoshop == resource(0x0404, IPTC) + resource(0x0BB8, long)
    assert len([1 for marker, _ in jpeg_segments(written) if marker == 0xE2]) == 3
    with Image.open(BytesIO(written)) as image:
        assert image.info["icc_profile"] == long
        info = IptcImagePlugin.getiptcinfo(image)
        assert info is not None
        assert info[2, 5] == b"Title"


@pytest.mark.parametrize(
    "said",
    [
        Metadata(exif=b"II*\0" + bytes(65524)),
        Metadata(xmp=b"x" * 65503),
        Metadata(icc=bytes(255 * 65519 + 1)),
    ],
)
def test_what_is_too_long_for_a_jpeg(said: Metadata):
    with pytest.raises(PhotoError, match=r"a JPEG holds .* write a PNG or TIFF"):
        metadata.write_jpeg(encoded("JPEG"), said)


def test_the_longest_that_fit_a_jpeg():
    start, _, end = XMP.partition(b" " * 50)
    padded = start + b" " * 70000 + end
    said = Metadata(exif=exif_block() + bytes(65527 - 420), xmp=padded)
    written = metadata.write_jpeg(encoded("JPEG"), said)
    assert metadata.read_jpeg(written).xmp == start + b'<?xpacket end="w"?>'
    with Image.open(BytesIO(written)) as image:
        assert image.info["exif"] == b"Exif\0\0" + bytes(said.exif or b"")
    said = Metadata(xmp=b"x" * 65502)
    assert metadata.read_jpeg(metadata.write_jpeg(encoded("JPEG"), said)) == said


@pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
def test_formats_that_pillow_writes(format_: str):
    said = metadata.read_jpeg(FULL_JPEG).upright(swap=True)
    data = encoded(format_, **metadata.pillow_options(said, format_))
    with Image.open(BytesIO(data)) as image:
        read = metadata.from_info(image.info)
    assert dataclasses.replace(read, exif=None) == Metadata(None, said.xmp, said.icc)
    exif = Image.Exif()
    exif.load(read.exif)  # that of an AVIF is packed anew
    assert exif.get_ifd(0x8825)[1] == "N"
    assert exif.get_ifd(0x8769)[0x927C] == b"maker note at 320..."
    assert read.exif == said.exif or format_ == "AVIF"
    assert metadata.pillow_options(Metadata(), format_) == {}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_pillow_is_told_nothing_of_what_we_write(format_: str):
    assert metadata.pillow_options(metadata.read_jpeg(FULL_JPEG), format_) == {}


def test_what_pillow_offers():
    info = {"exif": b"Exif\0\0" + exif_block(), "xmp": "<\u00e9>", "dpi": (300.0, 72)}
    assert metadata.from_info(info) == Metadata(
        exif_block(), "<\u00e9>".encode(), density=(300, 72, "inch")
    )
    for dpi in [(0, 0), (float("nan"), 1), (1,), "ab", None, (float("inf"), 1), 3, (10**400, 1)]:
        broken = {"exif": b"Exif\0\0", "xmp": 3, "icc_profile": "", "dpi": dpi}
        assert metadata.from_info(broken) == Metadata()


def test_parts_that_are_broken_are_left_out():
    good = jpeg_segment(0xFE, b"good")
    jpeg = with_segments(
        jpeg_segment(0xE1, b"Exif\0\0"),
        jpeg_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        jpeg_segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB),
        jpeg_segment(0xE2, b"ICC_PROFILE"),
        jpeg_segment(0xED, b"Photoshop 3.0\0"),
        b"\xff" + good,
    )
    read = metadata.read_jpeg(jpeg)
    assert read.own[-1] == good
    assert dataclasses.replace(read, own=()) == Metadata()
    cut = FULL_JPEG[: FULL_JPEG.index(b"from the archive") + 3]
    assert len(metadata.read_jpeg(cut).own) == 2

    right = png_chunk(b"eXIf", exif_block())
    png = with_chunks(
        right[:-1] + bytes((right[-1] ^ 1,)),
        png_chunk(b"iCCP", b"name"),
        png_chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)[:-9]),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0rubbish"),
        png_chunk(b"pHYs", bytes(9)),
        png_chunk(b"pHYs", b"\1"),
        png_chunk(b"tIME", b"\x07\xd0\1\1\1\1\1"),
    )
    read = metadata.read_png(png)
    assert dataclasses.replace(read, own=()) == Metadata()
    assert [part[4:8] for part in read.own] == [b"tIME"]


def test_a_profile_that_unpacks_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metadata, "_INFLATED", 10000)
    bomb = png_chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(10001)))
    assert metadata.read_png(with_chunks(bomb)).icc is None


def test_a_packet_made_to_take_hours():
    for part in (
        b" tiff:Orientation ",
        b" tiff:Orientation='",
        b"<tiff:Orientation>",
        b"</rdf:RDF",
    ):
        xmp = b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/"' + part * 100_000
        assert Metadata(xmp=xmp).orientation is None
        assert Metadata(xmp=xmp).with_mark("text").mark == "text"


def all_of(read: Metadata) -> None:
    """Use all that a reader returned."""
    assert read.orientation in (None, *range(1, 9))
    turned = read.upright(swap=True).with_mark("text").with_profile(None)
    assert turned.orientation in (None, 1)
    assert turned.mark == "text"
    metadata.write_png(encoded("PNG"), turned)
    metadata.write_jpeg(encoded("JPEG"), turned)


READERS: dict[str, tuple[bytes, Callable[[bytes], Metadata]]] = {
    "JPEG": (FULL_JPEG, metadata.read_jpeg),
    "PNG": (FULL_PNG, metadata.read_png),
    "EXIF": (exif_block(), lambda data: metadata.from_info({"exif": data})),
    "XMP": (XMP, lambda data: metadata.from_info({"xmp": data})),
    "Photoshop": (resource(0x0404, IPTC, b"a") * 3, lambda data: Metadata(photoshop=data)),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_take_anything(name: str):
    whole, reader = READERS[name]
    random = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for at in random.integers(0, min(len(data), 1500), random.integers(1, 8)):
            data[at] = random.choice([0, 1, 255, random.integers(256)])
        all_of(reader(bytes(data[: random.integers(2 * len(data))])))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_readers_take_any_bytes(data: bytes):
    all_of(metadata.read_jpeg(b"\xff\xd8" + data))
    all_of(metadata.read_png(data))
    all_of(Metadata(b"II*\0\x08\0\0\0" + data, data, data, data, data))


def test_formats_and_pictures_without_metadata():
    assert [format_of(start) for start in (b"II+\0", b"MM\0+", b"MM\0*", b"RIFF")] == [
        *["TIFF"] * 3,
        None,
    ]
    for data in (FULL_JPEG, FULL_PNG):
        bare = without_metadata(data)
        assert bare is not None
        assert b"from the archive" not in bare
        with Image.open(BytesIO(bare)) as image:
            assert image.getexif()[0x0112] == 6
            assert image.getpixel((5, 5)) == pytest.approx((90, 60, 30), abs=3)
            assert "icc_profile" not in image.info
