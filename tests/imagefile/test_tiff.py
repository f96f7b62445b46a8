import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin, TiffImagePlugin

from photochrom.errors import PhotoError
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.png import metadata as png
from photochrom.imagefile.tiff import pages as tiff_pages
from photochrom.imagefile.tiff.structure import Tiff, TiffError
from photochrom.imagefile.turning import Turn
from support.metadata import IPTC, SRGB, XMP, exif_block, resource

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
DEEP = PIXELS.astype(np.uint16) * 257 + 3
PRIVATE = 65000


def tifffile_pages(pages: list[dict[str, Any]], **options: Any) -> BytesIO:
    """Return a TIFF whose pages have different tags, written by tifffile."""
    stream = BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for page in pages:
            writer.write(page.pop("data", PIXELS), metadata=None, **page)
    return stream


def encode(**options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def write_pages(*pages: tuple[bytes, Metadata]) -> BytesIO:
    stream = BytesIO()
    writer = tiff_pages.PageWriter(stream)
    for page, metadata in pages:
        writer.add([page], metadata)
    return stream


def exif_of(page: tiff_pages.Page) -> Image.Exif:
    exif = Image.Exif()
    exif.load(page.read_metadata().exif)
    return exif


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("data", [PIXELS, DEEP], ids=["8", "16"])
def test_pages_with_different_tags(byteorder: str, bigtiff: bool, data: Any):
    extra = [
        (PRIVATE, "H", 3, (1, 2, 3), True),
        (700, "B", len(XMP), XMP, True),
        (34675, "B", len(SRGB), SRGB, True),
        (33723, "B", len(IPTC), IPTC, True),
        (274, "H", 1, 6, True),
    ]
    stream = tifffile_pages(
        [
            {"data": data, "description": "one", "extratags": extra, "compression": "zlib"},
            {
                "data": data[:16],
                "description": "two",
                "resolution": (300, 100),
                "tile": (16, 16),
                "compression": "zlib",
            },
        ],
        byteorder=byteorder,
        bigtiff=bigtiff,
    )
    first, second = tiff_pages.read_pages(stream)

    metadata = first.read_metadata()
    assert (metadata.xmp, metadata.icc, metadata.iptc, metadata.photoshop) == (
        XMP,
        SRGB,
        IPTC,
        None,
    )
    assert metadata.orientation == 6
    assert metadata.exif is not None
    assert metadata.exif[:4] == (b"II*\0" if byteorder == "<" else b"MM\0*")
    exif = exif_of(first)
    assert (exif[270], exif[PRIVATE]) == ("one", (1, 2, 3))
    assert not set(exif) & {256, 257, 258, 259, 262, 273, 277, 278, 279, 339, 700, 33723, 34675}
    assert exif_of(second)[270] == "two"
    assert second.read_metadata().density == (300, 100, "inch")
    assert second.read_metadata().orientation is None

    for page, pixels in ((first, data), (second, data[:16])):
        extracted = tiff_pages.extract_page(page)
        np.testing.assert_array_equal(tifffile.imread(BytesIO(extracted)), pixels)
        decoded = cv2.imdecode(np.frombuffer(extracted, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[..., ::-1], pixels)
        (only,) = tiff_pages.read_pages(BytesIO(extracted))
        assert only.read_metadata() == Metadata()
        assert not only.directory.fields.keys() & {270, 274, 282, 305, 700, 33723, 34675}


def opencv(pixels: Any) -> bytes:
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]
    return bytes(cv2.imencode(".tif", pixels[..., ::-1], plain)[1])


@pytest.mark.parametrize("order", ["<", ">"])
def test_written_pages_are_read_by_other_libraries(order: str, tmp_path: Path):
    photoshop = resource(0x0404, IPTC)
    one = Metadata(exif_block(order), XMP, SRGB, photoshop, IPTC)
    two = Metadata(density=(11811, 5906, "m"))
    path = tmp_path / "pages.tif"
    path.write_bytes(
        write_pages(
            (encode(compression="tiff_adobe_deflate", dpi=(5, 5)), one),
            (opencv(DEEP), two),
            (encode(dpi=(5, 5)), Metadata(density=(50, 60, "inch"))),
        ).getvalue()
    )

    with Image.open(path) as image:
        assert image.n_frames == 3
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 5): b"Title", (2, 120): b"Caption"}
        assert image.info["icc_profile"] == SRGB
        assert image.info["dpi"] == (72, 300)
        assert image.tag_v2[700] == XMP
        assert image.tag_v2[34377] == photoshop
        exif = image.getexif()
        inner = exif.get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (640, 480)
        assert inner[0x927C] == b"maker note at 320..."
        assert exif.get_ifd(0x8825)[1] == "N"
        assert exif.get_ifd(0xA005)[1] == "R98"
        image.seek(1)
        assert image.tag_v2[282] == pytest.approx(118.11)
        assert (image.tag_v2[283], image.tag_v2[296]) == (pytest.approx(59.06), 3)
        image.seek(2)
        assert image.info["dpi"] == (50, 60)
        np.testing.assert_array_equal(np.asarray(image), PIXELS)
    with tifffile.TiffFile(path) as file:
        for page, pixels in zip(file.pages, (PIXELS, DEEP, PIXELS), strict=True):
            np.testing.assert_array_equal(page.asarray(), pixels)
        tags = file.pages[0].tags
        assert tags[34665].value["MakerNote"] == b"maker note at 320..."
        assert tags[34853].value["GPSLatitudeRef"] == "N"
        assert tags[33723].value == IPTC
    good, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert good
    np.testing.assert_array_equal(
        pages[0][..., ::-1], np.rot90(PIXELS, 3)
    )  # OpenCV applies the orientation
    np.testing.assert_array_equal(pages[1][..., ::-1], DEEP)
    again = tiff_pages.read_pages(BytesIO(path.read_bytes()))[0].read_metadata()
    assert (again.xmp, again.icc, again.photoshop, again.iptc) == (XMP, SRGB, photoshop, IPTC)
    assert again.orientation == 6


def test_metadata_survive_two_round_trips():
    stream = write_pages((encode(), Metadata(exif_block(">"), XMP, SRGB, None, IPTC)))
    once = tiff_pages.read_pages(stream)[0].read_metadata()
    assert tiff_pages.read_pages(write_pages((opencv(PIXELS), once)))[0].read_metadata() == once
    assert png.read_metadata(png.write_metadata(encode_png(), once)).exif == once.exif


def encode_png() -> bytes:
    return bytes(cv2.imencode(".png", PIXELS)[1])


def test_bigtiff_types_are_narrowed():
    extra = [
        (PRIVATE, "Q", 2, (5, 2**32 - 1), True),
        (PRIVATE + 1, "Q", 1, 2**32, True),
        (PRIVATE + 2, "q", 1, -7, True),
    ]
    stream = tifffile_pages([{"extratags": extra}], bigtiff=True)
    exif = exif_of(tiff_pages.read_pages(stream)[0])
    assert (exif[PRIVATE], exif[PRIVATE + 2]) == ((5, 2**32 - 1), -7)
    assert PRIVATE + 1 not in exif


def directory(order: str, *entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    packed = [struct.pack(order + "HHII", *entry) for entry in entries]
    return struct.pack(order + "H", len(packed)) + b"".join(packed) + struct.pack("<I", following)


HEAD = b"II*\0\x08\0\0\0"


def test_cyclic_chain_of_pages_ends():
    pages = tiff_pages.read_pages(BytesIO(HEAD + directory("<", (256, 4, 1, 5), following=8)))
    assert [page.numbers(256) for page in pages] == [(5,)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"no TIFF at all", "start"),
        (b"II*\0\0\0\0\0", "no pages"),
        (b"II*\0\xff\0\0\0", "cut off"),
        (HEAD + directory("<", (256, 4, 1, 5), following=5000), "cut off"),
        (b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8 + bytes(99), "more entries"),
    ],
)
def test_other_files_are_refused(data: bytes, message: str):
    with pytest.raises(TiffError, match=message):
        tiff_pages.read_pages(BytesIO(data))


def test_overlapping_directories_are_refused():
    """A chain in 4 kB whose directories claim 1 kB each."""
    data = bytearray(HEAD + bytes(4096))
    size = 2 + 12 * 85
    for at in range(8, 508, 4):  # the next offset is 1 kB later
        struct.pack_into("<H", data, at, 85)
        struct.pack_into("<I", data, at + size, at + 4)
    with pytest.raises(TiffError, match="overlap"):
        tiff_pages.read_pages(BytesIO(bytes(data)))


def test_invalid_entries_are_dropped():
    data = HEAD + directory(
        "<",
        (256, 4, 1, 40),
        (270, 2, 2**32 - 1, 8),  # longer than the file
        (271, 2, 9, 4000),  # outside
        (272, 99, 1, 0),  # unknown type
        (274, 3, 0, 0),  # no values
        (PRIVATE, 13, 1, 8),  # an unknown directory
        (34665, 4, 1, 8),  # this directory again
        (34853, 4, 1, 4000),
        (305, 2, 3, int.from_bytes(b"me\0\0", "little")),
    )
    (page,) = tiff_pages.read_pages(BytesIO(data))
    metadata = exif_of(page)
    assert dict(metadata)[305] == "me"
    assert set(metadata) == {305, 34665}
    cut = tiff_pages.read_pages(BytesIO(data[: 8 + 2 + 12 + 7]))
    assert [page.directory.fields.keys() for page in cut] == [{256}]


def test_shared_values_are_limited():
    """A file of 600 kB that refers to 20 GB."""
    size = 2 + 12 * 40000 + 4
    entries = [(20000 + i, 7, size, 8) for i in range(40000)]
    (page,) = tiff_pages.read_pages(BytesIO(HEAD + directory("<", *entries)))
    assert len(page.read_metadata().exif or b"") < 3 * size


@pytest.mark.parametrize(
    "changes",
    [
        {259: 6},  # old-style JPEG
        {273: 10**6},
        {279: 10**6},
        {279: 0},
        {273: None},
        {279: None},
    ],
)
def test_page_that_cannot_be_extracted(changes: dict[int, int | None]):
    tags = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4} | changes
    data = HEAD + directory("<", *((k, 4, 1, v) for k, v in tags.items() if v is not None))
    (page,) = tiff_pages.read_pages(BytesIO(data))
    with pytest.raises(TiffError):
        tiff_pages.extract_page(page)


def test_pages_of_different_byte_order_are_refused():
    writer = tiff_pages.PageWriter(BytesIO())
    writer.add([tifffile_pages([{}], byteorder="<").getvalue()], Metadata())
    with pytest.raises(TiffError, match="order"):
        writer.add([tifffile_pages([{}], byteorder=">").getvalue()], Metadata())


@pytest.mark.parametrize("space", [10, PIXELS.size + 20], ids=["pixels", "directory"])
def test_file_of_more_than_4_gb_is_refused(space: int, monkeypatch: pytest.MonkeyPatch):
    stream = BytesIO()
    writer = tiff_pages.PageWriter(stream)
    writer.add([encode()], Metadata())
    monkeypatch.setattr(tiff_pages, "_MAX_OFFSET", len(stream.getvalue()) + space)
    with pytest.raises(PhotoError, match="4 GB"):
        writer.add([encode()], Metadata())
    assert len(tiff_pages.read_pages(stream)) == 1


def test_raw_photos_are_detected():
    def is_raw(*entries: tuple[int, int, int, int], head: bytes = HEAD) -> bool:
        return tiff_pages.is_raw(tiff_pages.read_pages(BytesIO(head + directory("<", *entries)))[0])

    nikon = ((254, 4, 1, 1), (271, 2, 2, 0), (330, 4, 1, 8))
    assert is_raw(*nikon)
    assert not is_raw((254, 4, 1, 0), *nikon[1:])
    assert not is_raw(*nikon[:2])
    assert is_raw((50706, 1, 4, 1))
    assert is_raw((256, 4, 1, 5), head=b"II*\0\x10\0\0\0CR\x02\0" + bytes(4))
    assert not is_raw((256, 4, 1, 5), head=b"II*\0\x10\0\0\0CX\x02\0" + bytes(4))
    assert not is_raw()


def test_jpeg_page_is_extracted_with_its_tables():
    stream = BytesIO(encode(compression="jpeg", quality=95))
    extracted = tiff_pages.extract_page(tiff_pages.read_pages(stream)[0])
    with Image.open(BytesIO(extracted)) as image, Image.open(stream) as whole:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(whole))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "CMYK", "LAB", "RGBA"])
def test_pages_of_every_mode_are_extracted(mode: str):
    image = Image.fromarray(PIXELS)
    image = Image.fromarray(DEEP[..., 0]) if mode == "I;16" else image
    if mode == "LAB":
        image = Image.frombytes("LAB", image.size, PIXELS.tobytes())
    image = image if image.mode == mode else image.convert(mode)
    buffer = BytesIO()
    image.save(buffer, "TIFF", compression="tiff_deflate", software="tests")
    extracted = tiff_pages.extract_page(tiff_pages.read_pages(buffer)[0])
    with Image.open(BytesIO(extracted)) as read:
        assert read.mode == mode
        assert read.tobytes() == image.tobytes()
        assert TiffImagePlugin.SOFTWARE not in read.tag_v2


def use(data: bytes) -> None:
    try:
        pages = tiff_pages.read_pages(BytesIO(data))
    except TiffError:
        return
    for page in pages[:20]:
        metadata = page.read_metadata()
        assert metadata.orientation in (None, *range(1, 9))
        tiff_pages.read_pages(
            write_pages((encode(), metadata.make_upright(Turn(6, 9, 9)).with_mark("text")))
        )
        tiff_pages.is_raw(page)
        try:
            tiff_pages.extract_page(page)
        except TiffError:
            continue


@pytest.mark.parametrize("bigtiff", [False, True])
def test_damaged_files_are_read_or_refused(bigtiff: bool):
    extra = [(PRIVATE, "H", 3, (1, 2, 3), True), (700, "B", len(XMP), XMP, True)]
    small = PIXELS[:4, :4]
    pages = [{"data": small, "extratags": extra, "resolution": (9, 9)}, {"data": small}]
    plain = tifffile_pages(pages, bigtiff=bigtiff).getvalue()
    metadata = Metadata(exif_block(), XMP, SRGB, None, IPTC)
    for whole in (plain, write_pages((encode(), metadata)).getvalue()):
        # Damage the first directory.
        starts = [Tiff(BytesIO(whole)).first_offset]
        random = np.random.default_rng(0)
        for _ in range(100):
            data = bytearray(whole)
            for index in random.choice(starts) + random.integers(-8, 300, random.integers(1, 6)):
                data[index % len(data)] = random.choice([0, 1, 4, 255, random.integers(256)])
            use(bytes(data[: random.integers(3 * len(data))]))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes):
    use(HEAD + data)
    use(b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10" + data)
