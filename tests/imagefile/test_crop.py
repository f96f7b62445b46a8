"""Positions and sizes in metadata follow a crop and a rotation."""

import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag

from photochrom.imagefile import exif, photoshop
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.turning import Crop, Turn
from photochrom.imagefile.xmp import packet as xmp
from support.metadata import exif_block, resource
from support.xmp import packet

CROP = Crop(200, 100, 0, 40, 20, 100, 60)
ROTATED = Crop(200, 100, 30, 0, 0, 200, 100)
FAR = 500
"""A place outside of the photo."""


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.?\d*", text)]


def crop_xmp(content: str, crop: Crop, attributes: str = "") -> str:
    """Return the packet after the declarations of namespaces."""
    output, lost = xmp.crop(packet(content, attributes), crop)
    assert lost == []
    ElementTree.fromstring(output)
    return output.decode().partition(' xmlns:photochrom="urn:photochrom:" ')[2]


def test_points_rotate_clockwise():
    assert ROTATED.move_point(100, 50) == (100, 50)
    x, y = Crop(200, 100, 90, 0, 0, 200, 100).move_point(110, 50)
    assert (x, y) == (pytest.approx(100), pytest.approx(60))
    assert CROP.move_point(50, 30) == (10, 10)


def test_rotated_pixels_and_points_agree():
    pixels = np.zeros((100, 140, 1), np.uint8)
    pixels[30:33, 90:93] = 255
    geometry = Geometry(straighten=-7)
    result = geometry.apply(Photo(pixels)).pixels[..., 0].astype(float)
    rows, columns = np.mgrid[: result.shape[0], : result.shape[1]] + 0.5
    centre = (result * columns).sum() / result.sum(), (result * rows).sum() / result.sum()
    crop = Crop(140, 100, -7, *geometry.rectangle(140, 100))
    assert crop.move_point(91.5, 31.5) == pytest.approx(centre, abs=0.05)


@pytest.mark.parametrize(
    ("crop", "box", "expected"),
    [
        (CROP, (60, 40, 20, 10), (20, 20, 20, 10)),
        (CROP, (20, 10, 60, 40), (0, 0, 40, 30)),  # cut off on the left and at the top
        (CROP, (120, 60, 30, 30), (80, 40, 20, 20)),
        (CROP, (0, 0, 30, 30), None),
        (CROP, (140, 80, 0, 0), (100, 60, 0, 0)),
        (ROTATED, (90, 40, 20, 20), (90, 40, 20, 20)),
        (ROTATED, (0, 0, 10, 10), None),
    ],
)
def test_boxes(crop: Crop, box: tuple[int, ...], expected: tuple[int, ...] | None):
    assert crop.move_box(*box) == expected


@pytest.mark.parametrize("regions", ["mwg-rs", "acdsee-rs"])
def test_faces_move_with_the_photo(regions: str):
    area, dim = ("stArea", "stDim") if regions == "mwg-rs" else ("acdArea", "acdDim")
    size = f'<{regions}:AppliedToDimensions {dim}:w="400" {dim}:h="200" {dim}:unit="pixel"/>'

    def face(name: str, x: float, y: float) -> str:
        return (
            f'<rdf:li><rdf:Description {regions}:Name="{name}"><{regions}:Area {area}:x="{x}" '
            f'{area}:y="{y}" {area}:w="0.1" {area}:h="0.2" {area}:unit="normalized"/>'
            "</rdf:Description></rdf:li>"
        )

    content = (
        f'<{regions}:Regions rdf:parseType="Resource">{size}<{regions}:RegionList><rdf:Bag>'
        f"{face('Anna', 0.5, 0.5)}{face('Ben', 0.1, 0.5)}{face('Carl', 0.675, 0.7)}"
        f"</rdf:Bag></{regions}:RegionList></{regions}:Regions>"
    )
    output = crop_xmp(content, CROP)
    assert f'{dim}:w="200" {dim}:h="120"' in output
    assert "Ben" not in output
    anna, carl = re.findall(rf'Area {area}:x=(.*?) {area}:unit="normalized"', output)
    assert numbers(anna.replace(area, "")) == pytest.approx([0.6, 0.5, 0.2, 1 / 3], abs=1e-5)
    # Its right side is at 145 px, 5 px outside.
    assert numbers(carl.replace(area, "")) == pytest.approx([0.925, 5 / 6, 0.15, 1 / 3], abs=2e-5)
    assert output.count("<rdf:li>") == output.count("</rdf:li>") == 2


def test_faces_rotate_around_the_centre():
    content = (
        "<mwg-rs:Regions><mwg-rs:RegionList><rdf:Bag><rdf:li><mwg-rs:Area><stArea:x>0.6</stArea:x>"
        "<stArea:y>0.5</stArea:y><stArea:d>0.1</stArea:d></mwg-rs:Area></rdf:li></rdf:Bag>"
        "</mwg-rs:RegionList></mwg-rs:Regions>"
    )
    output = crop_xmp(content, ROTATED)
    x, y, d = (float(value) for value in re.findall(r">([\d.]+)<", output))
    assert (x * 200, y * 100, d) == pytest.approx((100 + 20 * 3**0.5 / 2, 60, 0.1), abs=1e-3)


def test_rectangles_of_microsoft_move_with_the_photo():
    def content(*rectangles: str) -> str:
        items = "".join(
            f'<rdf:li MPReg:PersonDisplayName="{name}" MPReg:Rectangle="{rectangle}"/>'
            for name, rectangle in zip("AB", rectangles, strict=False)
        )
        return (
            f"<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag>{items}</rdf:Bag>"
            "</MPRI:Regions></rdf:Description></MP:RegionInfo>"
        )

    output = crop_xmp(content("0.3, 0.5, 0.1, 0.1", "0, 0, 0.1, 0.1"), CROP)
    start, _, rest = output.partition('MPReg:Rectangle="')
    assert numbers(rest.partition('"')[0]) == pytest.approx([0.2, 0.5, 0.2, 1 / 6], abs=1e-5)
    assert 'DisplayName="A"' in start
    assert "MPReg" not in rest


@pytest.mark.parametrize("unit", ["relative", "pixel"])
def test_image_regions_of_iptc_move_with_the_photo(unit: str):
    sides = (200, 100) if unit == "relative" else (1, 1)
    new_sides = (100, 60) if unit == "relative" else (1, 1)
    e = "Iptc4xmpExt:rb"

    def place(x: float, y: float) -> str:
        return f'{e}X="{x / sides[0]}" {e}Y="{y / sides[1]}"'

    def item(name: str, shape: str) -> str:
        return (
            f'<rdf:li Iptc4xmpExt:rId="{name}"><Iptc4xmpExt:RegionBoundary {e}Unit="{unit}" '
            f"{shape}</Iptc4xmpExt:RegionBoundary></rdf:li>"
        )

    def polygon(*points: tuple[float, float]) -> str:
        vertices = "".join(f"<rdf:li {place(*point)}/>" for point in points)
        return f"><{e}Vertices><rdf:Seq>{vertices}</rdf:Seq></{e}Vertices>"

    box = f'{place(60, 40)} {e}W="{20 / sides[0]}" {e}H="{10 / sides[1]}">'
    shapes = {
        "box": box,
        "circle": f"{place(90, 50)}><{e}Rx>{10 / sides[0]}</{e}Rx>",
        "polygon": polygon((30, 30), (90, 30), (90, 70)),
        "far box": box.replace(place(60, 40), place(0, 0)),
        "far circle": f"{place(10, 50)}>",
        "far polygon": polygon((0, 0), (50, 0), (0, 50)),
    }
    items = "".join(item(name, shape) for name, shape in shapes.items())
    output = crop_xmp(
        f"<Iptc4xmpExt:ImageRegion><rdf:Bag>{items}</rdf:Bag></Iptc4xmpExt:ImageRegion>", CROP
    )
    assert re.findall(r'rId="(.*?)"', output) == ["box", "circle", "polygon"]
    pairs = re.findall(rf'{e}(?:X|W)="(.*?)" {e}(?:Y|H)="(.*?)"', output)
    places = [(float(x) * new_sides[0], float(y) * new_sides[1]) for x, y in pairs]
    expected = [(20, 20), (20, 10), (50, 30), (0, 10), (50, 10), (50, 50)]
    assert np.array(places) == pytest.approx(np.array(expected), abs=1e-3)
    radius = re.search(rf"{e}Rx>(.*?)<", output)
    assert radius is not None
    assert float(radius[1]) * new_sides[0] == pytest.approx(10)


def test_sizes_and_subjects_in_xmp():
    def content(x: int) -> str:
        return (
            f"<exif:SubjectArea><rdf:Seq><rdf:li>{x}</rdf:li><rdf:li>50</rdf:li><rdf:li>20</rdf:li>"
            "<rdf:li>90</rdf:li></rdf:Seq></exif:SubjectArea><dc:title>Anna</dc:title>"
        )

    attributes = 'tiff:ImageWidth="200" exif:PixelYDimension="100" tiff:XResolution="72"'
    output = crop_xmp(content(60), CROP, attributes)
    assert 'tiff:ImageWidth="100" exif:PixelYDimension="60" tiff:XResolution="72"' in output
    assert re.findall(r"<rdf:li>(\d+)</rdf:li>", output) == ["20", "30", "20", "60"]
    output = crop_xmp(content(20), CROP)
    assert "SubjectArea" not in output
    assert "<dc:title>Anna</dc:title>" in output


def test_the_crop_of_camera_raw_is_dropped():
    given = packet(
        "<crs:CropAngle>2.5</crs:CropAngle><crs:Exposure>1</crs:Exposure>",
        'crs:HasCrop="True" crs:CropLeft="0.1" crs:CropTop="0"',
    )
    output, lost = xmp.crop(given, CROP)
    assert lost == ["the crop in the settings of Camera Raw is dropped"]
    assert b"Crop" not in output
    assert b"<crs:Exposure>1</crs:Exposure>" in output


@pytest.mark.parametrize("value", ["x", "", "1e999", "NaN"])
def test_invalid_positions_in_xmp_are_kept(value: str):
    given = packet(
        f"<mwg-rs:Regions><rdf:Bag><rdf:li><stArea:x>{value}</stArea:x><stArea:y>0.5</stArea:y>"
        f"</rdf:li></rdf:Bag></mwg-rs:Regions><exif:SubjectArea><rdf:Seq><rdf:li>{value}</rdf:li>"
        f"</rdf:Seq></exif:SubjectArea><tiff:ImageWidth>{value}</tiff:ImageWidth>"
    )
    assert xmp.crop(given, CROP) == (given, [])


def exif_with(area: tuple[int, ...]) -> bytes:
    image = Image.Exif()
    image[Tag.ImageWidth], image[Tag.ImageLength], image[Tag.Make] = 200, 100, "Leica"
    image.get_ifd(IFD.Exif).update(
        {
            Tag.ExifImageWidth: 200,
            Tag.ExifImageHeight: 100,
            Tag.SubjectLocation: (60, 50),
            0x9214: area,
            Tag.UserComment: b"ASCII\0\0\0hello",
        }
    )
    return image.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        ((60, 50, 30), (20, 30, 30)),
        ((60, 50, 130, 90), (20, 30, 100, 60)),
        ((39, 50), None),
        ((139, 79), (99, 59)),
        ((FAR, FAR), None),
    ],
)
def test_sizes_and_subjects_in_exif(area: tuple[int, ...], expected: tuple[int, ...] | None):
    given = exif_with(area)
    block = Image.Exif()
    block.load(b"Exif\0\0" + exif.crop(given, CROP))
    fields = block.get_ifd(IFD.Exif)
    assert (block[Tag.ImageWidth], block[Tag.ImageLength], block[Tag.Make]) == (100, 60, "Leica")
    assert (fields[Tag.ExifImageWidth], fields[Tag.ExifImageHeight]) == (100, 60)
    assert fields[Tag.SubjectLocation] == (20, 30)
    assert fields.get(0x9214) == expected
    assert fields[Tag.UserComment] == b"ASCII\0\0\0hello"


def test_a_subject_that_its_field_cannot_hold_stays():
    """Of one byte for each number."""
    subject = struct.pack("<H2HI2B2xI", 1, 0x9214, 1, 2, 10, 20, 0)
    directory = struct.pack("<HHHIII", 1, Tag.ExifOffset, 4, 1, 26, 0)
    block = b"II*\0\x08\0\0\0" + directory + subject
    assert exif.make_upright(block, Turn(2, 200, 100)).endswith(b"\xbd\x14\0\0\0\0\0\0")
    assert exif.make_upright(block, Turn(2, 400, 100)) == block
    assert exif.crop(block, Crop(800, 600, 180, 0, 0, 800, 600)) == block


def test_maker_notes_keep_their_place():
    for order in "<>":
        given = exif_block(order)
        output = exif.crop(given, CROP)
        assert len(output) == len(given)
        assert output.index(b"maker note") == given.index(b"maker note")
        changed = [i for i in range(len(given)) if given[i] != output[i]]
        assert len(changed) <= 8
    assert exif.crop(b"damaged", CROP) == b"damaged"


def knots(*points: tuple[float, float]) -> bytes:
    return b"".join(
        struct.pack(">H6i", 2, *[round(n * (1 << 24)) for n in (y, x)] * 3) for x, y in points
    )


def test_paths_move_and_may_leave_the_photo():
    given = resource(2000, knots((0.2, 0.2), (0.95, 0.5)), b"cut-out") + resource(0x0404, b"iptc")
    expected = resource(2000, knots((0, 0), (1.5, 0.5)), b"cut-out") + resource(0x0404, b"iptc")
    assert photoshop.crop(given, CROP) == (expected, [])
    (_, _, rotated), *_ = photoshop.iterate_resources(photoshop.crop(given, ROTATED)[0])
    y, x = struct.unpack(">H6i", rotated[:26])[1:3]
    x, y = x * 200 / (1 << 24), y * 100 / (1 << 24)
    assert (x, y) == pytest.approx(ROTATED.move_point(40, 20), abs=1e-4)
    tiny = Crop(200, 100, 0, 0, 0, 1, 1)
    assert photoshop.crop(resource(2000, knots((0.9, 0.9))), tiny) == (
        b"",
        ["a path of Photoshop is dropped: it reaches too far out of the photo"],
    )


def test_guides_move_or_are_dropped():
    def guides(*places: tuple[int, int]) -> bytes:
        records = b"".join(struct.pack(">iB", 32 * px, direction) for px, direction in places)
        return resource(1032, struct.pack(">4I", 1, 576, 576, len(places)) + records)

    given = guides((50, 0), (50, 1), (10, 0), (90, 1))
    assert photoshop.crop(given, CROP) == (guides((10, 0), (30, 1)), [])
    lost = ["the guides of Photoshop are dropped: the photo is straightened"]
    assert photoshop.crop(given, ROTATED) == (b"", lost)


def test_a_photo_keeps_what_follows_its_geometry():
    image = Image.new("L", (200, 100))
    image.info["exif"] = b"Exif\0\0" + exif_with((60, 50))
    photo = photo_from_image(image)
    result = Geometry(90, crop=(30, 20, 60, 100)).apply(photo)
    assert result.size == (60, 100)
    block = Image.Exif()
    block.load(b"Exif\0\0" + (result.metadata.exif or b""))
    assert (block[Tag.ImageWidth], block[Tag.ImageLength]) == (60, 100)
    # (60, 50) is (49, 60) in the turned photo.
    assert block.get_ifd(IFD.Exif)[0x9214] == (19, 40)
    assert photo.metadata.exif == exif_with((60, 50))


def test_crops_behind_the_image_are_dropped():
    record = b"crop" + struct.pack(">HII", 2, 14, 0xA1B2C3D4)
    photo = Photo(np.zeros((20, 30, 1), np.uint8), metadata=Metadata(jpeg_trailer=record))
    for geometry in (Geometry(90), Geometry(crop=(0, 0, 9, 9)), Geometry(straighten=2)):
        result = geometry.apply(photo).metadata
        assert result.jpeg_trailer == b""
        assert result.warnings == ("the crop of FotoStation is dropped",)


def test_depth_maps_and_panoramas_are_dropped():
    depth, panorama = (
        f"http://ns.google.com/photos/1.0/{name}/" for name in ("depthmap", "panorama")
    )
    given = packet(
        f'<GDepth:Data xmlns:GDepth="{depth}">AAAA</GDepth:Data>'
        f'<GPano:PoseHeadingDegrees xmlns:GPano="{panorama}">9</GPano:PoseHeadingDegrees>'
        "<dc:title>Anna</dc:title>"
    )
    output, lost = xmp.crop(given, CROP)
    assert output == packet("<dc:title>Anna</dc:title>")
    assert lost == [
        "the depth map in XMP is dropped",
        "the angles of the panorama in XMP are dropped",
    ]


def test_the_place_on_the_map_is_dropped(tmp_path: Path):
    tags = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0.0,) * 6, True)]
    pixels = np.zeros((40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "map.tif", pixels, extratags=[*tags, (271, "s", 0, "Leica", True)])
    photo = open_photo(tmp_path / "map.tif")
    for geometry in (Geometry(270), Geometry(crop=(0, 0, 9, 9))):
        result = geometry.apply(photo).metadata
        assert result.warnings[-1] == "the place on the map (GeoTIFF) is dropped"
        assert exif.read_values(result.exif or b"", (33550, 33922, Tag.Make)) == {271: b"Leica\0"}
    assert len(exif.read_values(photo.metadata.exif or b"", (33550, 33922))) == 2
