import struct
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rawpy
from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotoError
from photochrom.imagefile.codecs import raw
from photochrom.imagefile.codecs.boxes import UUID_XMP
from photochrom.imagefile.formats import RAW_SUFFIXES, detect_raw
from photochrom.imagefile.jpeg.metadata import write_metadata
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.tiff.pages import read_pages
from photochrom.imagefile.tiff.structure import Tree, pack_directory
from photochrom.imagefile.writing import save_photo
from support.metadata import IPTC
from support.raw_photos import make_dng

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.fixture
def scene() -> np.ndarray:
    """Linear sRGB of four plain quarters; one pixel is as bright as the sensor can tell."""
    scene = np.full((32, 48, 3), 0.2)
    scene[:, 24:] = (0.6, 0.3, 0.1)
    scene[16:] *= 0.25
    scene[:2, :2] = 1
    return scene


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    curve = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 65535 * curve


@pytest.mark.parametrize("demosaiced", [False, True])
@pytest.mark.parametrize("neutral", [(1, 1, 1), (0.5, 1, 0.7)])
def test_a_raw_photo_is_developed_as_it_was_exposed_in_16_bits_of_srgb(
    scene: np.ndarray, demosaiced: bool, neutral: tuple[float, float, float]
):
    photo = open_photo(BytesIO(make_dng(scene, demosaiced=demosaiced, neutral=neutral)))
    assert photo.pixels.dtype == np.uint16
    for row, column in [(8, 12), (8, 36), (24, 12), (24, 36)]:
        np.testing.assert_allclose(
            photo.pixels[row, column], encode_srgb(scene[row, column]), atol=24
        )


@pytest.mark.parametrize("orientation", TURNS)
def test_a_raw_photo_is_turned_once(scene: np.ndarray, orientation: int):
    upright = open_photo(BytesIO(make_dng(scene, demosaiced=True)))
    turned = open_photo(BytesIO(make_dng(scene, demosaiced=True, orientation=orientation)))
    np.testing.assert_array_equal(turned.pixels, TURNS[orientation](upright.pixels))
    assert turned.metadata.orientation == 1


def test_a_monochrome_raw_photo_is_grey(scene: np.ndarray):
    photo = open_photo(BytesIO(make_dng(scene[..., :1], demosaiced=True)))
    np.testing.assert_allclose(photo.pixels[8, 12], encode_srgb(scene[8, 12]), atol=24)
    assert np.ptp(photo.pixels.astype(int), 2).max() <= 8


def test_exif_and_xmp_are_kept_and_values_about_the_sensor_dropped(
    scene: np.ndarray, tmp_path: Path
):
    extra = {
        Tag.Artist: (2, b"Ana\0"),
        Tag.XMLPacket: (1, b"<x:xmpmeta/>"),
        50740: (7, b"pointers of a maker"),
    }
    (tmp_path / "a.dng").write_bytes(make_dng(scene, extra=extra))
    save_photo(open_photo(tmp_path / "a.dng"), tmp_path / "a.tif")
    fields = read_pages(BytesIO((tmp_path / "a.tif").read_bytes()))[0].directory.fields
    assert {Tag.Artist, Tag.Model, Tag.XMLPacket, Tag.InterColorProfile} <= fields.keys()
    assert fields.keys().isdisjoint({50706, 50721, 50728, 50740, 33421, 33422})


def test_exif_and_xmp_of_a_cr3_are_read_from_its_boxes():
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    def tiff(tree: Tree) -> bytes:
        return b"II*\0\x08\0\0\0" + pack_directory(tree, "<", 8)

    data = struct.pack(">I", 24) + b"ftypcrx \0\0\0\1crx isom"
    data += box(b"CMT1", tiff({Tag.Model: (2, b"Camera\0"), Tag.Orientation: (3, b"\6\0")}))
    data += box(b"CMT2", tiff({Tag.ISOSpeedRatings: (3, b"\x90\1")}))
    data += box(b"CMT4", tiff({1: (2, b"N\0")}))
    exif = Image.Exif()
    exif.load(raw._read_cr3_exif(data))
    assert (exif[Tag.Model], exif[Tag.Orientation]) == ("Camera", 6)
    assert exif.get_ifd(Tag.ExifOffset)[Tag.ISOSpeedRatings] == 400
    assert exif.get_ifd(Tag.GPSInfo)[1] == "N"
    data += box(b"uuid", UUID_XMP + b"<x:xmpmeta/>")
    assert raw._read_cr3_xmp(data) == b"<x:xmpmeta/>"


def test_iptc_of_the_jpeg_in_a_raw_photo_is_read():
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    data = write_metadata(buffer.getvalue(), Metadata(iptc=IPTC))
    preview = SimpleNamespace(format=rawpy.ThumbFormat.JPEG, data=data)
    assert raw._read_preview(SimpleNamespace(extract_thumb=lambda: preview)).iptc == IPTC


def test_a_raw_photo_that_is_cut_off_is_damaged(scene: np.ndarray):
    data = make_dng(scene)
    (start,) = struct.unpack_from("<I", data, 4)
    size = 32 * 48 * 2
    moved = bytearray(data + data[8 : 8 + size])  # the values behind the directory
    entry = data.index(struct.pack("<HHI", 273, 4, 1), start)
    struct.pack_into("<I", moved, entry + 8, len(data))
    assert open_photo(BytesIO(bytes(moved))).size == (48, 32)
    with pytest.raises(PhotoError, match="damaged or cut off"):
        open_photo(BytesIO(bytes(moved[:-100])))


def test_a_raw_photo_without_all_tiles_is_damaged(scene: np.ndarray):
    tiles = {322: 16, 323: 16, 324: 8, 325: 512}
    extra = {tag: (4, struct.pack("<I", number)) for tag, number in tiles.items()}
    with pytest.raises(PhotoError, match="pixels are missing"):
        open_photo(BytesIO(make_dng(scene, extra=extra)))


def test_panasonic_pixels_behind_the_end_are_missing(scene: np.ndarray):
    extra = {280: (4, struct.pack("<I", 6000))}
    data = b"IIU\0" + make_dng(scene, extra=extra)[4:]
    with pytest.raises(PhotoError, match=r"Panasonic raw photo \(RW2\) that .* pixels are missing"):
        open_photo(BytesIO(data))


@pytest.mark.parametrize(
    ("start", "name", "kind"),
    [
        (b"II*\0", "a.NEF", "Nikon raw photo (NEF)"),
        (b"II*\0", "a.dng", "raw photo (DNG)"),
        (b"FUJIFILMCCD-RAW 0201", "a", "Fujifilm raw photo (RAF)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a.heic", "Canon raw photo (CR3)"),
        (b"IIU\0", "a.raw", "Panasonic raw photo (RW2)"),
        (b"IIRO", "a.jpg", "Olympus raw photo (ORF)"),
        (b"FOVb", "a", "Sigma raw photo (X3F)"),
        (b"II\x1a\0\0\0HEAPCCDR\2\0", "a", "Canon raw photo (CRW)"),
    ],
)
def test_the_kind_is_told_by_signature_or_suffix(start: bytes, name: str, kind: str):
    assert detect_raw(start.ljust(16, b"\0"), name) == kind


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\xff\xd8\xff\xe0", "a.nef"), (b"II*\0", "a.tif"), (b"\x89PNG\r\n\x1a\n", "a.raw")],
)
def test_other_files_are_not_raw_photos(start: bytes, name: str):
    assert detect_raw(start.ljust(16, b"\0"), name) is None


@pytest.mark.parametrize("suffix", RAW_SUFFIXES)
def test_what_libraw_cannot_read_is_refused_with_its_kind(suffix: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"text " * 100)
    with pytest.raises(PhotoError, match=rf"raw photo \({suffix[1:].upper()}\) that is damaged or"):
        open_photo(path)


def test_without_rawpy_the_refusal_names_kind_and_package(
    scene: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("photochrom.imagefile.codecs.raw.find_spec", lambda _: None)
    for name, kind in [("a.nef", r"Nikon raw photo \(NEF\)"), ("a.tif", "a raw photo")]:
        (tmp_path / name).write_bytes(make_dng(scene))
        with pytest.raises(PhotoError, match=kind + r".*install photochrom\[formats\]"):
            open_photo(tmp_path / name)


def test_too_many_pixels_are_refused_before_they_are_developed(scene: np.ndarray):
    with pytest.raises(PhotoError, match=r"has 0\.001536 megapixels"):
        open_photo(BytesIO(make_dng(scene)), max_pixels=1000)
