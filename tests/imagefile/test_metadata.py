import dataclasses
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from photochrom.errors import PhotoError
from photochrom.imagefile.formats import detect_format
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.jpeg import segments as jpeg_segments
from photochrom.imagefile.metadata import Metadata, from_pillow_info, to_pillow_options
from photochrom.imagefile.png import chunks as png_chunks
from photochrom.imagefile.png import metadata as png
from photochrom.imagefile.turning import Turn
from support.metadata import IPTC, SRGB, XMP, exif_block, resource

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def encode(format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 30), (90, 60, 30)).save(buffer, format_, **options)
    return buffer.getvalue()


def with_segments(*segments: bytes) -> bytes:
    data = encode("JPEG")
    return data[:2] + b"".join(segments) + data[2:]


def with_chunks(*chunks: bytes) -> bytes:
    data = encode("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


FULL_JPEG = with_segments(
    jpeg_segments.make_segment(0xE1, b"Exif\0\0" + exif_block()),
    jpeg_segments.make_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    jpeg_segments.make_segment(0xE5, b"http://of.a/camera\0" + bytes(40)),
    jpeg_segments.make_segment(0xE2, b"ICC_PROFILE\0\2\2" + SRGB[300:]),
    jpeg_segments.make_segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB[:300]),
    jpeg_segments.make_segment(0xE2, b"MPF\0" + bytes(8)),
    jpeg_segments.make_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC, b"odd")),
    jpeg_segments.make_segment(0xEC, b"Ducky" + bytes(4)),
    jpeg_segments.make_segment(0xFE, b"from the archive"),
)
FULL_PNG = with_chunks(
    png.make_chunk(b"gAMA", struct.pack(">I", 45455)),
    png.make_chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)),
    png.make_chunk(b"bKGD", bytes(6)),
    png.make_chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)),
    png.make_chunk(b"eXIf", exif_block(">")),
    png.make_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    png.make_chunk(b"tEXt", b"Title\0old"),
    png.make_chunk(b"tIME", b"\x07\xd0\1\1\1\1\1"),
    png.make_chunk(b"teSt", b"safe to copy"),
    png.make_chunk(b"tesT", b"only of these pixels"),
    png.make_chunk(b"zTXt", b"A\0\0")[:-1] + b"?",
)


def test_jpeg_metadata_survive_a_round_trip():
    read = jpeg.read_metadata(FULL_JPEG)
    assert read.exif == exif_block()
    assert read.xmp == XMP
    assert read.icc == SRGB
    assert read.iptc == IPTC
    assert read.density is None
    assert [segment[:10] for segment in read.jpeg_segments] == [
        b"\xff\xe5\0\x3dhttp:/",
        b"\xff\xec\0\x0bDucky\0",
    ]
    assert read.comments == ("from the archive",)

    written = jpeg.write_metadata(encode("JPEG", quality=90), read)

    assert jpeg.read_metadata(written) == read
    with Image.open(BytesIO(written)) as image:
        image.load()
        assert image.info["exif"] == b"Exif\0\0" + exif_block()
        assert image.info["icc_profile"] == SRGB
        assert image.info["comment"] == b"from the archive"
        assert image.info["xmp"] == XMP
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 5): b"Title", (2, 120): b"Caption"}
    assert cv2.imdecode(np.frombuffer(written, np.uint8), cv2.IMREAD_COLOR).shape == (40, 30, 3)


def test_png_metadata_survive_a_round_trip():
    read = png.read_metadata(FULL_PNG)
    assert read.exif == exif_block(">")
    assert read.xmp == XMP
    assert read.icc == SRGB
    assert read.density == (11811, 5906, "m")
    assert [chunk[4:8] for chunk in read.png_chunks] == [
        *(b"gAMA", b"bKGD", b"tEXt", b"tIME", b"teSt"),
    ]
    assert read.warnings == (
        "damaged metadata of the PNG are dropped: zTXt",
        "chunks about the original pixels are dropped: tesT",
    )
    read = dataclasses.replace(read, warnings=())

    for picture in (
        encode("PNG", dpi=(1, 1)),
        cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1],
    ):
        written = png.write_metadata(bytes(picture), read)

        assert png.read_metadata(written) == read
        names = [name for name, _ in png.iterate_chunks(written)]
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
def test_make_upright_changes_bytes_in_place(order: str):
    block = exif_block(order)
    upright = Metadata(block, density=(300, 308, "inch")).make_upright(Turn(6, 40, 30))

    expected = bytearray(block)
    expected[18:22] = struct.pack(order + "HH", 1, 0)
    expected[30:34], expected[42:46] = block[42:46], block[30:34]  # where the resolutions lie
    expected[82:86] = bytes(4)  # the thumbnail
    expected[116:126], expected[128:138] = block[128:138], block[116:126]  # kind, count, px
    assert upright.exif == bytes(expected)
    assert upright.density == (308, 300, "inch")
    assert upright.exif[320:340] == b"maker note at 320..."
    image = Image.Exif()
    image.load(b"Exif\0\0" + upright.exif)
    assert image[0x0112] == 1
    inner = image.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003], inner[0x927C]) == (480, 640, b"maker note at 320...")
    assert image.get_ifd(0x8825)[1] == "N"
    assert upright.orientation == 1


def test_make_upright_of_an_upright_photo_only_unlinks_the_thumbnail():
    block = exif_block(orientation=1)
    upright = Metadata(block).make_upright(Turn(1, 40, 30))
    assert upright.exif == block[:82] + bytes(4) + block[86:]
    assert upright.make_upright(Turn(1, 40, 30)) == upright


@ORDERS
@pytest.mark.parametrize("number", [0, 9, 0xFFFF])
def test_invalid_exif_orientation_is_ignored(order: str, number: int):
    odd = Metadata(exif_block(order, number))
    assert odd.orientation is None
    upright = odd.make_upright(Turn(1, 40, 30))
    assert upright.exif is not None
    assert upright.exif[:82] == exif_block(order, number)[:82]


def test_subject_of_exif_turns_with_the_photo():
    for numbers, expected in (
        ((10, 5), (24, 10)),
        ((10, 5, 3), (24, 10, 3)),
        ((10, 5, 4, 2), (24, 10, 2, 4)),
        ((40, 5), (40, 5)),  # outside
        ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)),
    ):
        for tag in (0x9214, 0xA214):
            image = Image.Exif()
            image.get_ifd(0x8769)[tag] = numbers
            upright = Metadata(image.tobytes()[6:]).make_upright(Turn(6, 40, 30))
            image = Image.Exif()
            image.load(b"Exif\0\0" + bytes(upright.exif or b""))
            assert image.get_ifd(0x8769)[tag] == expected


def test_one_side_alone_in_exif_is_turned():
    for tag, before, after in ((0xA002, 40, 30), (0xA003, 30, 40)):
        image = Image.Exif()
        image.get_ifd(0x8769)[tag] = before
        image[0x011A] = 72.0  # a resolution alone stays
        upright = Metadata(image.tobytes()[6:]).make_upright(Turn(6, 40, 30))
        image = Image.Exif()
        image.load(b"Exif\0\0" + bytes(upright.exif or b""))
        assert image.get_ifd(0x8769)[tag] == after
        assert image[0x011A] == 72


def test_photoshop_thumbnails_are_dropped():
    kept = resource(0x03ED, bytes(16)) + resource(0x0404, IPTC, b"name")
    given = resource(0x040C, b"grey!") + kept + resource(0x0409, b"grey") + b"8BIMcut"
    assert Metadata(photoshop=given).make_upright(Turn(1, 40, 30)).photoshop == kept + b"8BIMcut"


@pytest.mark.parametrize(
    ("unit", "name"), [(0, ""), (1, "inch"), (2, "cm")], ids=["ratio", "inch", "cm"]
)
def test_jpeg_density_survives_a_round_trip(unit: int, name: str):
    data = encode("JPEG")
    data = data[:13] + struct.pack(">BHH", unit, 118, 65535) + data[18:]
    read = jpeg.read_metadata(data)
    assert read.density == (118, 65535, name)
    assert jpeg.write_metadata(encode("JPEG"), read)[:20] == data[:20]


def test_density_is_converted_between_formats():
    def phys(density: tuple[float, float, str]) -> tuple[Any, ...] | None:
        data = png.write_metadata(encode("PNG"), Metadata(density=density))
        read = png.read_metadata(data).density
        return read and read[:2]

    assert phys((300, 72, "inch")) == (11811, 2835)
    assert phys((118, 119, "cm")) == (11800, 11900)
    assert phys((4, 3, "")) == (4, 3)
    assert phys((0.001, 0.001, "m")) is None
    of_png = Metadata(density=(11811, 2835, "m"))
    assert jpeg.read_metadata(jpeg.write_metadata(encode("JPEG"), of_png)).density == (
        300,
        72,
        "inch",
    )
    assert to_pillow_options(of_png, "BMP") == {"dpi": (300, 72)}
    huge = Metadata(density=(1e9, 1e9, "inch"))
    assert jpeg.read_metadata(jpeg.write_metadata(encode("JPEG"), huge)).density is None


def test_png_color_chunks_are_dropped_with_the_profile():
    data = with_chunks(
        png.make_chunk(b"sRGB", b"\0"),
        png.make_chunk(b"cHRM", bytes(32)),
        png.make_chunk(b"tEXt", b"Title\0old"),
    )
    read = png.read_metadata(data)
    assert [chunk[4:8] for chunk in read.png_chunks] == [b"sRGB", b"cHRM", b"tEXt"]
    assert [chunk[4:8] for chunk in read.with_profile(None).png_chunks] == [b"tEXt"]
    # A PNG must not have both.
    written = png.write_metadata(encode("PNG"), dataclasses.replace(read, icc=SRGB))
    assert b"sRGB" not in [name for name, _ in png.iterate_chunks(written)]
    other = Metadata(jpeg_segments=(jpeg_segments.make_segment(0xEC, b"sRGB"),))
    assert other.with_profile(SRGB).jpeg_segments == other.jpeg_segments


def test_segments_and_chunks_stay_in_their_format():
    of_jpeg, of_png = jpeg.read_metadata(FULL_JPEG), png.read_metadata(FULL_PNG)
    of_png = dataclasses.replace(of_png, warnings=())
    output = jpeg.read_metadata(jpeg.write_metadata(encode("JPEG"), of_png))
    assert output == dataclasses.replace(of_png, density=(300, 150, "inch"), png_chunks=())
    output = png.read_metadata(png.write_metadata(encode("PNG"), of_jpeg))
    assert output == Metadata(
        *(of_jpeg.exif, of_jpeg.xmp, of_jpeg.icc),
        iptc=IPTC,
        density=(2835, 11811, "m"),  # of EXIF
        comments=("from the archive",),
    )


COMMENTS = (b"plain", b"caf\xe9", "\u0416 \u2713".encode(), b"a\0b\0", b"\0", b"x" * 65533)


def test_comments_keep_their_bytes_in_a_jpeg():
    segments = [jpeg_segments.make_segment(0xFE, comment) for comment in COMMENTS]
    read = jpeg.read_metadata(with_segments(*segments))
    assert len(read.comments) == len(COMMENTS)
    assert b"".join(segments) in jpeg.write_metadata(encode("JPEG"), read)


def test_comments_of_a_jpeg_become_those_of_a_png_and_back():
    read = jpeg.read_metadata(
        with_segments(*(jpeg_segments.make_segment(0xFE, c) for c in COMMENTS))
    )
    written = png.write_metadata(encode("PNG"), read)
    chunks = [
        chunk[4:-4] for name, chunk in png.iterate_chunks(written) if name in (b"tEXt", b"iTXt")
    ]
    assert chunks == [
        b"tEXtComment\0plain",
        b"tEXtComment\0caf\xe9",
        b"iTXtComment\0\0\0\0\0" + COMMENTS[2],
        b"tEXtComment\0a b",
        b"tEXtComment\0" + COMMENTS[5],
    ]
    comments = ("plain", "caf\u00e9", "\u0416 \u2713", "a b", "x" * 65533)
    assert png.read_metadata(written).comments == comments
    again = jpeg.write_metadata(encode("JPEG"), png.read_metadata(written))
    assert jpeg.read_metadata(again).comments == comments


def test_comments_of_every_text_chunk_of_a_png():
    read = png.read_metadata(
        with_chunks(
            png.make_chunk(b"tEXt", b"Comment\0\xe9"),
            png.make_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\xe8")),
            png.make_chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress("\u2713".encode())),
            png.make_chunk(b"iTXt", b"Comment\0\0\0de\0\0deutsch"),
            png.make_chunk(b"zTXt", b"Comment\0\0damaged"),
        )
    )
    assert read.comments == ("\u00e9", "\u00e8", "\u2713")
    assert [chunk[4:8] for chunk in read.png_chunks] == [b"iTXt"]
    assert read.warnings == ("damaged metadata of the PNG are dropped: zTXt",)


def test_long_profiles_and_resources_are_split_into_segments():
    long = bytes(range(256)) * 600
    metadata = Metadata(icc=long, photoshop=resource(0x0BB8, long), iptc=IPTC)
    written = jpeg.write_metadata(encode("JPEG"), metadata)
    read = jpeg.read_metadata(written)
    assert read.icc == long
    assert read.iptc == IPTC
    assert read.photoshop == resource(0x0404, IPTC) + resource(0x0BB8, long)
    assert len([1 for marker, _ in jpeg_segments.iterate_segments(written) if marker == 0xE2]) == 3
    with Image.open(BytesIO(written)) as image:
        assert image.info["icc_profile"] == long
        info = IptcImagePlugin.getiptcinfo(image)
        assert info is not None
        assert info[2, 5] == b"Title"


@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(xmp=b"x" * 65503),
        Metadata(icc=bytes(255 * 65519 + 1)),
    ],
)
def test_metadata_too_long_for_a_jpeg_are_refused(metadata: Metadata):
    with pytest.raises(PhotoError, match=r"a JPEG holds .* write a PNG or TIFF"):
        jpeg.write_metadata(encode("JPEG"), metadata)


def test_longest_metadata_that_fit_a_jpeg():
    start, _, end = XMP.partition(b" " * 50)
    padded = start + b" " * 70000 + end
    metadata = Metadata(exif=exif_block() + bytes(65527 - 420), xmp=padded)
    written = jpeg.write_metadata(encode("JPEG"), metadata)
    assert jpeg.read_metadata(written).xmp == start + b'<?xpacket end="w"?>'
    with Image.open(BytesIO(written)) as image:
        assert image.info["exif"] == b"Exif\0\0" + bytes(metadata.exif or b"")
    metadata = Metadata(xmp=b"x" * 65502)
    assert jpeg.read_metadata(jpeg.write_metadata(encode("JPEG"), metadata)) == metadata


@pytest.mark.parametrize("format_", ["WEBP", "AVIF"])
def test_webp_and_avif_metadata(format_: str):
    metadata = jpeg.read_metadata(FULL_JPEG).make_upright(Turn(6, 40, 30))
    data = encode(format_, **to_pillow_options(metadata, format_))
    with Image.open(BytesIO(data)) as image:
        read = from_pillow_info(image.info)
    assert dataclasses.replace(read, exif=None) == Metadata(None, metadata.xmp, metadata.icc)
    exif = Image.Exif()
    exif.load(read.exif)
    assert exif.get_ifd(0x8825)[1] == "N"
    assert exif.get_ifd(0x8769)[0x927C] == b"maker note at 320..."
    assert exif[0x010E] == "from the archive"
    assert read.exif is not None
    assert metadata.exif is not None
    moved = slice(4, 8) if format_ == "WEBP" else slice(4, 86)  # the first directory
    assert read.exif[: moved.start] == metadata.exif[: moved.start]
    assert read.exif[moved.stop : len(metadata.exif)] == metadata.exif[moved.stop :]
    assert to_pillow_options(Metadata(), format_) == {}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_no_pillow_options_for_formats_whose_metadata_we_write(format_: str):
    assert to_pillow_options(jpeg.read_metadata(FULL_JPEG), format_) == {}


def test_metadata_from_pillow_info():
    info = {"exif": b"Exif\0\0" + exif_block(), "xmp": "<\u00e9>", "dpi": (300.0, 72)}
    assert from_pillow_info(info) == Metadata(
        exif_block(), "<\u00e9>".encode(), density=(300, 72, "inch")
    )
    for dpi in [(0, 0), (float("nan"), 1), (1,), "ab", None, (float("inf"), 1), 3, (10**400, 1)]:
        broken = {"exif": b"Exif\0\0", "xmp": 3, "icc_profile": "", "dpi": dpi}
        assert from_pillow_info(broken) == Metadata()


def test_comments_of_any_format_of_pillow():
    for comment, expected in (
        (b"caf\xe9", ("caf\udce9",)),
        ("text", ("text",)),
        (b"", ()),
        (7, ()),
    ):
        assert from_pillow_info({"comment": comment}) == Metadata(comments=expected)


def test_damaged_metadata_are_dropped():
    good = jpeg_segments.make_segment(0xFE, b"good")
    data = with_segments(
        jpeg_segments.make_segment(0xE1, b"Exif\0\0"),
        jpeg_segments.make_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        jpeg_segments.make_segment(0xE2, b"ICC_PROFILE\0\1\2" + SRGB[:300]),
        jpeg_segments.make_segment(0xE2, b"ICC_PROFILE"),
        jpeg_segments.make_segment(0xED, b"Photoshop 3.0\0"),
        b"\xff" + good,
    )
    read = jpeg.read_metadata(data)
    assert read.comments == ("good",)
    assert dataclasses.replace(read, jpeg_segments=(), comments=(), warnings=()) == Metadata()
    assert read.warnings == (
        "damaged EXIF is dropped",
        "the colour profile is incomplete and dropped",
    )
    cut = FULL_JPEG[: FULL_JPEG.index(b"from the archive") + 3]
    assert len(jpeg.read_metadata(cut).jpeg_segments) == 2

    right = png.make_chunk(b"eXIf", exif_block())
    data = with_chunks(
        right[:-1] + bytes((right[-1] ^ 1,)),
        png.make_chunk(b"iCCP", b"name"),
        png.make_chunk(b"iCCP", b"name\0\0" + zlib.compress(SRGB)[:-9]),
        png.make_chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        png.make_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0rubbish"),
        png.make_chunk(b"pHYs", bytes(9)),
        png.make_chunk(b"pHYs", b"\1"),
        png.make_chunk(b"tIME", b"\x07\xd0\1\1\1\1\1"),
    )
    read = png.read_metadata(data)
    assert read.warnings == ("damaged metadata of the PNG are dropped: eXIf, iCCP, iTXt, pHYs",)
    assert dataclasses.replace(read, png_chunks=(), warnings=()) == Metadata()
    assert [chunk[4:8] for chunk in read.png_chunks] == [b"tIME"]


def test_decompression_bomb_is_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(png_chunks, "_MAX_INFLATED", 10000)
    bomb = png.make_chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(10001)))
    assert png.read_metadata(with_chunks(bomb)).icc is None


def use(read: Metadata) -> None:
    """Call every method of the metadata that a reader returned."""
    assert read.orientation in (None, *range(1, 9))
    upright = read.make_upright(Turn(6, 40, 30)).with_mark("text").with_profile(None)
    assert upright.orientation in (None, 1)
    assert upright.mark == "text"
    png.write_metadata(encode("PNG"), upright)
    jpeg.write_metadata(encode("JPEG"), upright)


READERS: dict[str, tuple[bytes, Callable[[bytes], Metadata]]] = {
    "JPEG": (FULL_JPEG, jpeg.read_metadata),
    "PNG": (FULL_PNG, png.read_metadata),
    "EXIF": (exif_block(), lambda data: from_pillow_info({"exif": data})),
    "XMP": (XMP, lambda data: from_pillow_info({"xmp": data})),
    "Photoshop": (resource(0x0404, IPTC, b"a") * 3, lambda data: Metadata(photoshop=data)),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_accept_damaged_data(name: str):
    whole, reader = READERS[name]
    random = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for index in random.integers(0, min(len(data), 1500), random.integers(1, 8)):
            data[index] = random.choice([0, 1, 255, random.integers(256)])
        use(reader(bytes(data[: random.integers(2 * len(data))])))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_readers_accept_any_bytes(data: bytes):
    use(jpeg.read_metadata(b"\xff\xd8" + data))
    use(png.read_metadata(data))
    use(Metadata(b"II*\0\x08\0\0\0" + data, data, data, data, data))


def test_detect_format_and_strip_metadata():
    assert [detect_format(start) for start in (b"II+\0", b"MM\0+", b"MM\0*", b"RIFF")] == [
        *["TIFF"] * 3,
        None,
    ]
    for bare in (jpeg.strip_metadata(FULL_JPEG), png.strip_metadata(FULL_PNG)):
        assert b"from the archive" not in bare
        with Image.open(BytesIO(bare)) as image:
            assert image.getexif()[0x0112] == 6
            assert image.getpixel((5, 5)) == pytest.approx((90, 60, 30), abs=3)
            assert "icc_profile" not in image.info
