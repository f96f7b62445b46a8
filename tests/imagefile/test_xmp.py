"""XMP packets: orientation, mark, regions, thumbnails, encodings, and malicious ones."""

import time
from xml.etree import ElementTree

import pytest

from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.turning import Crop, Turn
from photochrom.imagefile.xmp import packet as xmp
from photochrom.imagefile.xmp.container import drop_contained
from photochrom.imagefile.xmp.tree import parse
from support.metadata import XMP, exif_block
from support.xmp import RDF, packet

SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def turned(
    orientation: int, content: str, attributes: str = "", size: tuple[int, int] = (200, 100)
):
    """Return content and attributes of a description made upright."""
    upright = xmp.make_upright(packet(content, attributes), Turn(orientation, *size))
    ElementTree.fromstring(upright)
    start, _, rest = upright.decode().partition(' xmlns:photochrom="urn:photochrom:" ')
    assert start
    attributes, _, content = rest.partition(">")
    return content.removesuffix(
        '</rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
    ), attributes


@pytest.mark.parametrize(
    ("content", "attributes"),
    [
        ("", 'tiff:Orientation="8"'),
        ("", "tiff:Orientation = '8'"),
        ("<tiff:Orientation>8</tiff:Orientation>", ""),
        ('<t:Orientation xmlns:t="http://ns.adobe.com/tiff/1.0/" a="b>">8</t:Orientation >', ""),
        ('<Orientation xmlns="http://ns.adobe.com/tiff/1.0/">8</Orientation>', ""),
        (
            "<!-- <tiff:Orientation>3</tiff:Orientation> --><tiff:Orientation>8</tiff:Orientation>",
            "",
        ),
    ],
)
@pytest.mark.parametrize("is_cut", [False, True])
def test_orientation_in_every_form(content: str, attributes: str, is_cut: bool):
    given = packet(content, attributes)
    if is_cut:
        given = given[: given.index(b"</rdf:RDF")]
    expected = given.replace(b'8"', b'1"') if '"8"' in attributes else given
    for old, new in ((b"'8'", b"'1'"), (b">8<", b">1<"), (b'tion="8"', b'tion="1"')):
        expected = given.replace(old, new) if old in given else expected
    assert Metadata(xmp=given).orientation == 8
    assert Metadata(xmp=given).make_upright(Turn(8, 40, 30)).xmp == expected
    # EXIF has precedence, but both are reset.
    both = Metadata(exif_block(orientation=3), given)
    assert both.orientation == 3
    assert both.make_upright(Turn(3, 40, 30)).xmp == expected


@pytest.mark.parametrize("value", ["9", "0", "66", "", "x", "&#49;"])
def test_invalid_orientation_is_ignored(value: str):
    given = packet(attributes=f'tiff:Orientation="{value}"')
    assert xmp.read_orientation(given) is None
    assert xmp.make_upright(given, Turn(1, 40, 30)) == given


def test_orientation_of_another_photo_is_ignored():
    nested = packet(
        '<xmpMM:Pantry><rdf:Bag><rdf:li><rdf:Description tiff:Orientation="6">'
        "</rdf:Description></rdf:li></rdf:Bag></xmpMM:Pantry>"
    )
    assert xmp.read_orientation(nested) is None
    assert xmp.make_upright(nested, Turn(1, 40, 30)) == nested


ENCODINGS = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("start", ["", "\ufeff", '\ufeff<?xml version="1.0" encoding="UTF-16"?>\n'])
def test_other_encodings_become_utf_8_and_keep_all(encoding: str, start: str):
    text = packet(
        "<dc:title>caf\u00e9 \u2713 \U0001f600</dc:title>", 'tiff:Orientation="6"'
    ).decode()
    given = (start + text).encode(encoding)
    assert xmp.read_orientation(given) == 6
    assert xmp.read_mark(given) is None
    assert xmp.make_upright(given, Turn(6, 4, 3)) == text.replace('"6"', '"1"').encode()
    marked = xmp.set_mark(given, "text")
    assert marked == xmp.set_mark(text.encode(), "text")
    assert "caf\u00e9 \u2713 \U0001f600".encode() in marked
    assert xmp.read_mark(marked.decode().encode(encoding)) == "text"
    ElementTree.fromstring(marked)


def test_thumbnails_are_removed():
    for name in ("Thumbnails", "PageInfo"):
        assert turned(
            1,
            f"<dc:a>1</dc:a><xmp:{name}><rdf:Alt><rdf:li><xmpGImg:image>/9j/4</xmpGImg:image>"
            f"</rdf:li></rdf:Alt></xmp:{name}><dc:b>2</dc:b>",
        ) == ("<dc:a>1</dc:a><dc:b>2</dc:b>", "")


BOXES = {
    1: (20, 10, 4, 2),
    2: (80, 10, 4, 2),
    3: (80, 90, 4, 2),
    4: (20, 90, 4, 2),
    5: (10, 20, 2, 4),
    6: (90, 20, 2, 4),
    7: (90, 80, 2, 4),
    8: (10, 80, 2, 4),
}
"""Centre and size, in per cent, of the same region in the upright photo."""


def decimal(number: int) -> str:
    return f"{number / 100:.2f}"


@pytest.mark.parametrize("orientation", BOXES)
@pytest.mark.parametrize(
    "prefixes", [("mwg-rs", "stArea", "stDim"), ("acdsee-rs", "acdArea", "acdDim")]
)
def test_faces_turn_with_the_photo(orientation: int, prefixes: tuple[str, str, str]):
    regions, area, dim = prefixes

    def content(x: int, y: int, w: int, h: int, size: str) -> str:
        x_, y_, w_, h_ = map(decimal, (x, y, w, h))
        return (
            f'<{regions}:Regions rdf:parseType="Resource"><{regions}:AppliedToDimensions {size}/>'
            f"<{regions}:RegionList><rdf:Bag><rdf:li><rdf:Description {regions}:Name='Anna'>"
            f'<{regions}:Area {area}:x="{x_}" {area}:y="{y_}" {area}:w="{w_}" {area}:h="{h_}" '
            f'{area}:unit="normalized"/></rdf:Description></rdf:li><rdf:li><{regions}:Area>'
            f"<{area}:y>{y_}</{area}:y><{area}:x>{x_}</{area}:x><{area}:d>0.1</{area}:d>"
            f"</{regions}:Area></rdf:li></rdf:Bag></{regions}:RegionList></{regions}:Regions>"
        )

    sizes = f'{dim}:w="200" {dim}:h="100"', f'{dim}:w="100" {dim}:h="200"'
    assert turned(orientation, content(*BOXES[1], sizes[0]))[0] == content(
        *BOXES[orientation], sizes[orientation >= 5]
    )
    if orientation >= 5:  # applied to the upright photo already
        assert turned(orientation, content(*BOXES[1], sizes[1]))[0] == content(*BOXES[1], sizes[1])


@pytest.mark.parametrize("orientation", BOXES)
def test_rectangles_turn_with_the_photo(orientation: int):
    def content(x: int, y: int, w: int, h: int) -> str:
        corner = map(decimal, (x - w // 2, y - h // 2, w, h))
        return (
            "<MP:RegionInfo><rdf:Description><MPRI:Regions><rdf:Bag><rdf:li "
            f'MPReg:PersonDisplayName="Anna" MPReg:Rectangle="{", ".join(corner)}"/>'
            "</rdf:Bag></MPRI:Regions></rdf:Description></MP:RegionInfo>"
        )

    assert turned(orientation, content(*BOXES[1]))[0] == content(*BOXES[orientation])


@pytest.mark.parametrize("orientation", BOXES)
@pytest.mark.parametrize("unit", ["relative", "pixel"])
def test_image_regions_of_iptc_turn_with_the_photo(orientation: int, unit: str):
    def content(o: int) -> str:
        x, y, w, h = BOXES[o]
        radius = "0.1" if o < 5 else "0.200000"
        if unit == "pixel":
            sides = (200, 100) if o < 5 else (100, 200)
            x, w = x * sides[0] // 100, w * sides[0] // 100
            y, h = y * sides[1] // 100, h * sides[1] // 100
            centre = [str(x), str(y)]
            corner = [str(n) for n in (x - w // 2, y - h // 2, w, h)]
            radius = "20"
        else:
            centre = [decimal(x), decimal(y)]
            corner = [decimal(n) for n in (x - w // 2, y - h // 2, w, h)]
        a, b, c, d = corner
        e = "Iptc4xmpExt:rb"
        start = f'<rdf:li><Iptc4xmpExt:RegionBoundary><rdf:Description {e}Unit="{unit}" '
        end = "</rdf:Description></Iptc4xmpExt:RegionBoundary></rdf:li>"
        return (
            "<Iptc4xmpExt:ImageRegion><rdf:Bag>"
            f'{start} {e}Shape="rectangle" {e}X="{a}" {e}Y="{b}" {e}W="{c}" {e}H="{d}">{end}'
            f'{start} {e}X="{centre[0]}" {e}Y="{centre[1]}"><{e}Rx>{radius}</{e}Rx>{end}'
            f'{start}><{e}Vertices><rdf:Seq><rdf:li {e}X="{centre[0]}" {e}Y="{centre[1]}"/>'
            f"</rdf:Seq></{e}Vertices>{end}</rdf:Bag></Iptc4xmpExt:ImageRegion>"
        )

    assert turned(orientation, content(1))[0] == content(orientation)


@pytest.mark.parametrize("orientation", BOXES)
def test_crops_sizes_and_subjects_turn_with_the_photo(orientation: int):
    def content(o: int) -> tuple[str, str]:
        x, y, w, h = BOXES[o]
        left, top, right, bottom = map(decimal, (x - w // 2, y - h // 2, x + w // 2, y + h // 2))
        angle = "-2.5" if o in (2, 4, 5, 7) else "2.5"
        sides = (200, 100) if o < 5 else (100, 200)
        subject = {2: (159, 10), 3: (159, 89), 4: (40, 89), 5: (10, 40), 6: (89, 40)}
        subject |= {1: (40, 10), 7: (89, 159), 8: (10, 159)}
        a, b = subject[o]
        c, d = (8, 2) if o < 5 else (2, 8)
        return (
            f"<tiff:ImageWidth>{sides[0]}</tiff:ImageWidth>"
            f"<exif:SubjectArea><rdf:Seq><rdf:li>{a}</rdf:li><rdf:li>{b}</rdf:li>"
            f"<rdf:li>{c}</rdf:li><rdf:li>{d}</rdf:li></rdf:Seq></exif:SubjectArea>"
            f"<crs:CropAngle>{angle}</crs:CropAngle>",
            f'tiff:ImageLength="{sides[1]}" exif:PixelXDimension="{sides[0]}" '
            f'exif:PixelYDimension="{sides[1]}" crs:CropLeft="{left}" crs:CropTop="{top}" '
            f'crs:CropRight="{right}" crs:CropBottom="{bottom}"',
        )

    assert turned(orientation, *content(1)) == content(orientation)


def test_one_side_alone_is_turned():
    for name, before, after in (("tiff:ImageWidth", 200, 100), ("exif:PixelYDimension", 100, 200)):
        assert turned(6, "", f'{name}="{before}"') == ("", f'{name}="{after}"')


@pytest.mark.parametrize("value", ["", "x", "nan", "1e999999999", "&#48;", "0,5", "<a/>", "9" * 50])
def test_invalid_positions_are_kept(value: str):
    given = packet(
        f"<mwg-rs:Regions><stArea:x>{value}</stArea:x><stArea:y>0.5</stArea:y></mwg-rs:Regions>"
        f"<MP:RegionInfo><MPReg:Rectangle>{value}, 0, 0, 0</MPReg:Rectangle></MP:RegionInfo>"
        f"<exif:SubjectArea><rdf:Seq><rdf:li>{value}</rdf:li><rdf:li>2</rdf:li></rdf:Seq>"
        f"</exif:SubjectArea><crs:CropAngle>{value}</crs:CropAngle>"
    )
    assert xmp.make_upright(given, Turn(7, 200, 100)) == given


AWKWARD = 'colours by <model> & "a\'b" \u00e9\U0001f600'


def test_mark_round_trip():
    marked = Metadata(xmp=XMP).with_mark("\n\ud800" + AWKWARD + "\0")
    assert marked.xmp is not None
    assert marked.mark == AWKWARD
    assert Metadata(xmp=XMP).mark is None
    start = XMP.index(b"<rdf:Description")
    assert marked.xmp.startswith(XMP[:start] + b'\n<rdf:Description rdf:about="uuid:1" ')
    assert marked.xmp.endswith(XMP[start:])
    again = marked.with_mark("other")
    assert again.mark == "other"
    assert again.xmp == Metadata(xmp=XMP).with_mark("other").xmp
    second, first = ElementTree.fromstring(marked.xmp).iter(f"{{{RDF}}}Description")
    assert first.get("{http://ns.adobe.com/tiff/1.0/}Make") == "B\u00e9b\u00e9"
    assert second.get("{urn:photochrom:}colorized") == AWKWARD
    assert second.get(f"{{{RDF}}}about") == "uuid:1"


def mark(given: bytes) -> bytes:
    marked = xmp.set_mark(given, "text")
    assert marked is not None
    assert xmp.read_mark(marked) == "text"
    ElementTree.fromstring(marked)
    return marked


@pytest.mark.parametrize("given", [None, b"", b"no packet", b"<x:xmpmeta/>"])
def test_mark_without_a_packet(given: bytes | None):
    marked = Metadata(xmp=given).with_mark("text")
    assert marked.xmp is not None
    assert marked.mark == "text"
    assert marked.warnings == (("XMP is damaged, and replaced by the mark",) if given else ())
    assert marked.xmp.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert marked.xmp.endswith(b'<?xpacket end="w"?>')
    (described,) = ElementTree.fromstring(marked.xmp).iter(f"{{{RDF}}}Description")
    assert described.attrib == {
        f"{{{RDF}}}about": "",
        "{urn:photochrom:}colorized": "text",
        SOURCE_TYPE: COMPOSITE,
    }


@pytest.mark.parametrize(
    ("start", "end", "line"),
    [
        ("<r:RDF xmlns:r='R'><r:Description r:about='a\"b'/>", "</r:RDF >", "r:about='a\"b' "),
        ("<RDF xmlns='R'>", "</RDF>", 'rdf:about="" xmlns:rdf="http:'),
        ("<rdf:RDF xmlns:rdf='R'>", "</rdf:RDF>", 'rdf:about="" xmlns:'),
    ],
)
def test_mark_in_a_packet_of_other_prefixes(start: str, end: str, line: str):
    start = start.replace("'R'", f"'{RDF}'")
    marked = mark((start + end).encode()).decode()
    before, after = start.split(">", 1)
    assert marked.startswith(before + ">")
    assert marked.endswith(after + end)
    assert line in marked


def test_mark_in_a_packet_without_rdf():
    outer = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="kept">%b</x:xmpmeta>'
    assert b'x:xmptk="kept"><rdf:RDF' in mark(outer % b"")
    single = outer % b"<r:RDF xmlns:r='%b' />" % RDF.encode()
    assert b"<r:RDF xmlns:r='%b' >\n<r:Description" % RDF.encode() in mark(single)
    bare = mark(b"<x xmlns:rdf='%b'><rdf:RDF/></x>" % RDF.encode())
    assert bare.endswith(b"/></rdf:RDF></x>")


def test_mark_in_a_damaged_packet():
    for old, new in (
        (b"<rdf:Description rdf:about", b"<rdf:Description<rdf:about"),
        (b"<rdf:Description ", b"<rdf:about>text</rdf:about><rdf:Description "),
    ):
        marked = xmp.set_mark(packet("<dc:title>kept</dc:title>").replace(old, new), "text")
        assert marked is not None
        assert xmp.read_mark(marked) == "text"
        assert b"kept" in marked


def test_mark_in_a_packet_that_is_cut_off():
    cut = packet("<dc:title>kept</dc:title>")[:-60]
    marked = xmp.set_mark(cut, "text")
    assert marked is not None
    assert xmp.read_mark(marked) == "text"
    assert len(marked) > len(cut)
    assert marked.endswith(cut[-300:])


def test_mark_rewritten_by_another_program():
    given = packet("<ns1:colorized xmlns:ns1='urn:photochrom:'>a &amp; b</ns1:colorized>")
    assert xmp.read_mark(given) == "a & b"
    marked = xmp.set_mark(given, "<")
    assert marked is not None
    assert b">&lt;</ns1:colorized>" in marked
    assert marked.count(b"colorized") == 2


@pytest.mark.parametrize(
    ("content", "attributes"),
    [
        ("", 'Iptc4xmpExt:DigitalSourceType="old"'),
        ("<Iptc4xmpExt:DigitalSourceType>old</Iptc4xmpExt:DigitalSourceType>", ""),
        ('<Iptc4xmpExt:DigitalSourceType rdf:resource="old"/>', ""),
        (
            "<Iptc4xmpExt:DigitalSourceType><rdf:Alt><rdf:li>old</rdf:li></rdf:Alt>"
            "</Iptc4xmpExt:DigitalSourceType>",
            "",
        ),
    ],
)
def test_mark_replaces_an_earlier_source_type(content: str, attributes: str):
    marked = mark(packet("<dc:title>kept</dc:title>" + content, attributes))
    assert b"old" not in marked
    assert b"kept" in marked
    assert marked.count(COMPOSITE.encode()) == 1
    assert mark(marked) == marked


@pytest.mark.parametrize(
    "part",
    [
        *(b" tiff:Orientation ", b" tiff:Orientation='", b"<tiff:Orientation>", b"</rdf:RDF"),
        *(
            b"<",
            b"<a ",
            b"<a '",
            b'<a b="',
            b"<!--",
            b"<![CDATA[",
            b"<?",
            b"</a>",
            b"<a></b>",
            b"&a;",
        ),
        *(b"<a xmlns:a='b'>", b"<rdf:Description a:b='", b"<a          ", b"<a>", b"<a b:c='d'/>"),
        *(b"<rdf:li><stArea:x>1</stArea:x>", b"<x:xmpmeta>", b"<rdf:RDF ", b"rdf:about='"),
    ],
)
def test_malicious_packets_are_fast(part: bytes):
    inside = packet().replace(b"></rdf:Description", b">%b</rdf:Description" % (part * 8_000))
    for given in (
        part * 8_000,
        b" xmlns:tiff='http://ns.adobe.com/tiff/1.0/'" + part * 8_000,
        inside,
    ):
        start = time.process_time()
        upright = Metadata(xmp=given).make_upright(Turn(6, 40, 30))
        assert upright.with_mark("text").mark == "text"
        upright.crop(Crop(30, 40, 1, 3, 3, 20, 20))
        drop_contained(given, images=True, video=True)
        assert time.process_time() - start < 2


@pytest.mark.parametrize("part", ["<rdf:li>", "<Iptc4xmpExt:RegionBoundary>", "<mwg-rs:Area>"])
@pytest.mark.parametrize("regions", ["Iptc4xmpExt:ImageRegion", "mwg-rs:Regions"])
def test_nested_regions_are_fast(part: str, regions: str):
    given = Metadata(xmp=packet(f"<{regions}>{part * 20_000}</{regions}>"))
    start = time.process_time()
    given.make_upright(Turn(6, 40, 30)).crop(Crop(30, 40, 1, 3, 3, 20, 20))
    assert time.process_time() - start < 5


def test_many_namespaces_are_fast():
    given = b"".join(b"<a xmlns:p%d='b' c:d='e'>" % number for number in range(50_000))
    start = time.process_time()
    parse(given)
    assert time.process_time() - start < 5
