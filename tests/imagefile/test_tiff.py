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
from photochrom.imagefile import metadata, tiff
from photochrom.imagefile.metadata import Metadata
from support.metadata import IPTC, SRGB, XMP, exif_block, resource

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
DEEP = PIXELS.astype(np.uint16) * 257 + 3
PRIVATE = 65000


def by_tifffile(pages: list[dict[str, Any]], **options: Any) -> BytesIO:
    """A TIFF of pages with other tags each, by another library."""
    stream = BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for page in pages:
            writer.write(page.pop("data", PIXELS), metadata=None, **page)
    return stream


def encoded(**options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(PIXELS).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def written(*pages: tuple[bytes, Metadata]) -> BytesIO:
    stream = BytesIO()
    writer = tiff.Writer(stream)
    for page, said in pages:
        writer.add([page], said)
    return stream


def exif_of(page: tiff.Page) -> Image.Exif:
    exif = Image.Exif()
    exif.load(page.metadata.exif)
    return exif


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("data", [PIXELS, DEEP], ids=["8", "16"])
def test_pages_with_other_tags_each(byteorder: str, bigtiff: bool, data: Any):
    extra = [
        (PRIVATE, "H", 3, (1, 2, 3), True),
        (700, "B", len(XMP), XMP, True),
        (34675, "B", len(SRGB), SRGB, True),
        (33723, "B", len(IPTC), IPTC, True),
        (274, "H", 1, 6, True),
    ]
    stream = by_tifffile(
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
    first, second = tiff.read(stream)

    said = first.metadata
    assert (said.xmp, said.icc, said.iptc, said.photoshop) == (XMP, SRGB, IPTC, None)
    assert said.orientation == 6
    assert said.exif is not None
    assert said.exif[:4] == (b"II*\0" if byteorder == "<" else b"MM\0*")
    exif = exif_of(first)
    assert (exif[270], exif[PRIVATE]) == ("one", (1, 2, 3))
    assert not set(exif) & {256, 257, 258, 259, 262, 273, 277, 278, 279, 339, 700, 33723, 34675}
    assert exif_of(second)[270] == "two"
    assert second.metadata.density == (300, 100, "inch")
    assert second.metadata.orientation is None

    for page, pixels in ((first, data), (second, data[:16])):
        alone = tiff.alone(page)
        np.testing.assert_array_equal(tifffile.imread(BytesIO(alone)), pixels)
        decoded = cv2.imdecode(np.frombuffer(alone, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded[..., ::-1], pixels)
        (only,) = tiff.read(BytesIO(alone))
        assert only.metadata == Metadata()
        assert not only.directory.fields.keys() & {270, 274, 282, 305, 700, 33723, 34675}


def opencv(pixels: Any) -> bytes:
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_NONE]
    return bytes(cv2.imencode(".tif", pixels[..., ::-1], plain)[1])


@pytest.mark.parametrize("order", ["<", ">"])
def test_written_pages_are_read_by_others(order: str, tmp_path: Path):
    photoshop = resource(0x0404, IPTC)
    one = Metadata(exif_block(order), XMP, SRGB, photoshop, IPTC)
    two = Metadata(density=(11811, 5906, "m"))
    path = tmp_path / "pages.tif"
    path.write_bytes(
        written(
            (encoded(compression="tiff_adobe_deflate", dpi=(5, 5)), one),
            (opencv(DEEP), two),
            (encoded(dpi=(50, 60)), Metadata()),
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
    np.testing.assert_array_equal(pages[0][..., ::-1], np.rot90(PIXELS, 3))  # it turns by itself
    np.testing.assert_array_equal(pages[1][..., ::-1], DEEP)
    again = tiff.read(BytesIO(path.read_bytes()))[0].metadata
    assert (again.xmp, again.icc, again.photoshop, again.iptc) == (XMP, SRGB, photoshop, IPTC)
    assert again.orientation == 6


def test_metadata_come_through_twice_unchanged():
    stream = written((encoded(), Metadata(exif_block(">"), XMP, SRGB, None, IPTC)))
    once = tiff.read(stream)[0].metadata
    assert tiff.read(written((opencv(PIXELS), once)))[0].metadata == once
    assert metadata.read_png(metadata.write_png(png(), once)).exif == once.exif


def png() -> bytes:
    return bytes(cv2.imencode(".png", PIXELS)[1])


def test_kinds_of_bigtiff_become_those_of_tiff():
    extra = [
        (PRIVATE, "Q", 2, (5, 2**32 - 1), True),
        (PRIVATE + 1, "Q", 1, 2**32, True),
        (PRIVATE + 2, "q", 1, -7, True),
    ]
    stream = by_tifffile([{"extratags": extra}], bigtiff=True)
    exif = exif_of(tiff.read(stream)[0])
    assert (exif[PRIVATE], exif[PRIVATE + 2]) == ((5, 2**32 - 1), -7)
    assert PRIVATE + 1 not in exif


def directory(order: str, *entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    packed = [struct.pack(order + "HHII", *entry) for entry in entries]
    return struct.pack(order + "H", len(packed)) + b"".join(packed) + struct.pack("<I", following)


HEAD = b"II*\0\x08\0\0\0"


def test_a_chain_that_bites_its_tail():
    pages = tiff.read(BytesIO(HEAD + directory("<", (256, 4, 1, 5), following=8)))
    assert [page.numbers(256) for page in pages] == [(5,)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut off"),
        (b"no TIFF at all", "start"),
        (b"II*\0\0\0\0\0", "no pages"),
        (b"II*\0\xff\0\0\0", "cut off"),
        (HEAD + directory("<", (256, 4, 1, 5), following=5000), "cut off"),
        (b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 8 + bytes(99), "more entries"),
    ],
)
def test_files_that_are_no_tiff(data: bytes, reason: str):
    with pytest.raises(tiff.TiffError, match=reason):
        tiff.read(BytesIO(data))


def test_directories_that_overlap_do_not_add_up():
    """A chain in 4 kB of zeros whose directories say that they are 1 kB each."""
    data = bytearray(HEAD + bytes(4096))
    size = 2 + 12 * 85
    for at in range(8, 508, 4):  # the offset that follows lies 1 kB further on
        struct.pack_into("<H", data, at, 85)
        struct.pack_into("<I", data, at + size, at + 4)
    with pytest.raises(tiff.TiffError, match="overlap"):
        tiff.read(BytesIO(bytes(data)))


def test_entries_that_are_broken_are_left_out():
    data = HEAD + directory(
        "<",
        (256, 4, 1, 40),
        (270, 2, 2**32 - 1, 8),  # more than there is
        (271, 2, 9, 4000),  # outside
        (272, 99, 1, 0),  # of no kind
        (274, 3, 0, 0),  # of no values
        (PRIVATE, 13, 1, 8),  # a directory that nobody knows
        (34665, 4, 1, 8),  # this one over again
        (34853, 4, 1, 4000),
        (305, 2, 3, int.from_bytes(b"me\0\0", "little")),
    )
    (page,) = tiff.read(BytesIO(data))
    said = exif_of(page)
    assert dict(said)[305] == "me"
    assert set(said) == {305, 34665}
    cut = tiff.read(BytesIO(data[: 8 + 2 + 12 + 7]))
    assert [page.directory.fields.keys() for page in cut] == [{256}]


def test_values_that_are_shared_do_not_add_up():
    """A file of 600 kB that names 20 GB."""
    size = 2 + 12 * 40000 + 4
    entries = [(20000 + i, 7, size, 8) for i in range(40000)]
    (page,) = tiff.read(BytesIO(HEAD + directory("<", *entries)))
    assert len(page.metadata.exif or b"") < 3 * size


@pytest.mark.parametrize(
    "changes",
    [
        {259: 6},  # JPEG as TIFF 6.0 had it
        {273: 10**6},
        {279: 10**6},
        {279: 0},
        {273: None},
        {279: None},
    ],
)
def test_a_page_that_cannot_be_cut_out(changes: dict[int, int | None]):
    tags = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 2, 279: 4} | changes
    data = HEAD + directory("<", *((k, 4, 1, v) for k, v in tags.items() if v is not None))
    (page,) = tiff.read(BytesIO(data))
    with pytest.raises(tiff.TiffError):
        tiff.alone(page)


def test_bytes_are_in_one_order():
    writer = tiff.Writer(BytesIO())
    writer.add([by_tifffile([{}], byteorder="<").getvalue()], Metadata())
    with pytest.raises(tiff.TiffError, match="order"):
        writer.add([by_tifffile([{}], byteorder=">").getvalue()], Metadata())


@pytest.mark.parametrize("already", [2**32 - 500, 2**32 + 10])
def test_more_than_4_gb(already: int, tmp_path: Path):
    path = tmp_path / "large.tif"
    with path.open("w+b") as stream:
        writer = tiff.Writer(stream)
        writer.add([encoded()], Metadata())
        stream.truncate(already)  # takes no room on the disk
        with pytest.raises(PhotoError, match="4 GB"):
            writer.add([encoded()], Metadata())
        assert len(tiff.read(stream)) == 1


def test_raw_photos():
    def is_raw(*entries: tuple[int, int, int, int], head: bytes = HEAD) -> bool:
        return tiff.is_raw(tiff.read(BytesIO(head + directory("<", *entries)))[0])

    nikon = ((254, 4, 1, 1), (271, 2, 2, 0), (330, 4, 1, 8))
    assert is_raw(*nikon)
    assert not is_raw((254, 4, 1, 0), *nikon[1:])
    assert not is_raw(*nikon[:2])
    assert is_raw((50706, 1, 4, 1))
    assert is_raw((256, 4, 1, 5), head=b"II*\0\x10\0\0\0CR\x02\0" + bytes(4))
    assert not is_raw((256, 4, 1, 5), head=b"II*\0\x10\0\0\0CX\x02\0" + bytes(4))
    assert not is_raw()


def test_a_jpeg_in_a_tiff_is_cut_out_with_its_tables():
    stream = BytesIO(encoded(compression="jpeg", quality=95))
    alone = tiff.alone(tiff.read(stream)[0])
    with Image.open(BytesIO(alone)) as image, Image.open(stream) as whole:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(whole))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "CMYK", "LAB", "RGBA"])
def test_pages_of_every_mode(mode: str):
    image = Image.fromarray(PIXELS)
    image = Image.fromarray(DEEP[..., 0]) if mode == "I;16" else image
    if mode == "LAB":
        image = Image.frombytes("LAB", image.size, PIXELS.tobytes())
    image = image if image.mode == mode else image.convert(mode)
    buffer = BytesIO()
    image.save(buffer, "TIFF", compression="tiff_deflate", software="tests")
    alone = tiff.alone(tiff.read(buffer)[0])
    with Image.open(BytesIO(alone)) as read:
        assert read.mode == mode
        assert read.tobytes() == image.tobytes()
        assert TiffImagePlugin.SOFTWARE not in read.tag_v2


def use(data: bytes) -> None:
    try:
        pages = tiff.read(BytesIO(data))
    except tiff.TiffError:
        return
    for page in pages[:20]:
        said = page.metadata
        assert said.orientation in (None, *range(1, 9))
        tiff.read(written((encoded(), said.upright(swap=True).with_mark("text"))))
        tiff.is_raw(page)
        try:
            tiff.alone(page)
        except tiff.TiffError:
            continue


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_damaged_file_is_read_or_refused(bigtiff: bool):
    extra = [(PRIVATE, "H", 3, (1, 2, 3), True), (700, "B", len(XMP), XMP, True)]
    small = PIXELS[:4, :4]
    pages = [{"data": small, "extratags": extra, "resolution": (9, 9)}, {"data": small}]
    plain = by_tifffile(pages, bigtiff=bigtiff).getvalue()
    said = Metadata(exif_block(), XMP, SRGB, None, IPTC)
    for whole in (plain, written((encoded(), said)).getvalue()):
        # The directory is where damage hurts.
        starts = [tiff.Tiff(BytesIO(whole)).first]
        random = np.random.default_rng(0)
        for _ in range(100):
            data = bytearray(whole)
            for at in random.choice(starts) + random.integers(-8, 300, random.integers(1, 6)):
                data[at % len(data)] = random.choice([0, 1, 4, 255, random.integers(256)])
            use(bytes(data[: random.integers(3 * len(data))]))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes):
    use(HEAD + data)
    use(b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10" + data)
