"""XMP that is longer than a segment of a JPEG, and XMP about further images in the file."""

import struct
from hashlib import md5
from io import BytesIO
from xml.etree import ElementTree

import pytest
from PIL import Image

from photochrom.errors import PhotoError
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.jpeg.segments import iterate_segments, make_segment
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.xmp.container import drop_contained

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
GUID = "{http://ns.adobe.com/xmp/note/}HasExtendedXMP"


def encode() -> bytes:
    buffer = BytesIO()
    Image.new("L", (40, 30), 90).save(buffer, "JPEG")
    return buffer.getvalue()


def packet(inner: bytes, attributes: bytes = b"") -> bytes:
    return (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%b">'
        b'<rdf:Description rdf:about="uuid:1" xmlns:a="urn:a#" xmlns:b="urn:b#" '
        b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"%b>%b</rdf:Description>'
        b'</rdf:RDF></x:xmpmeta><?xpacket end="w"?>' % (RDF.encode(), attributes, inner)
    )


def properties(xmp: bytes | None) -> dict[str, str]:
    """Return the simple properties of all descriptions, which have the same subject."""
    assert xmp is not None
    found: dict[str, str] = {}
    for description in ElementTree.fromstring(xmp).iter(f"{{{RDF}}}Description"):
        assert description.attrib.pop(f"{{{RDF}}}about") == "uuid:1"
        found |= description.attrib
        found |= {child.tag: child.text or "" for child in description}
    return found


LONG = packet(
    b"<a:one>1</a:one><a:long>%b</a:long><b:short>s</b:short>" % (b"x" * 90_000),
    b' b:two="2" b:longer="%b"' % (b"y" * 200_000),
)


def packets(data: bytes) -> tuple[bytes, bytes]:
    """Return the packet of a JPEG, and its extension."""
    contents = [segment[4:] for marker, segment in iterate_segments(data) if marker == 0xE1]
    (main,) = (content[len(XMP) :] for content in contents if content.startswith(XMP))
    parts = [c[len(EXTENSION) :] for c in contents if c.startswith(EXTENSION)]
    extension = b""
    for part in parts:
        guid, length, offset = struct.unpack_from(">32sII", part)
        assert offset == len(extension)
        extension += part[40:]
    if parts:
        assert guid == md5(extension).hexdigest().upper().encode()
        assert length == len(extension)
    return main, extension


def test_long_xmp_is_written_as_two_packets_and_read_as_one():
    data = jpeg.write_metadata(encode(), Metadata(xmp=LONG))

    main, extension = packets(data)
    assert len(main) < 65503
    assert set(properties(main)) == {"{urn:a#}one", "{urn:b#}two", "{urn:b#}short", GUID}
    assert set(properties(extension)) == {"{urn:a#}long", "{urn:b#}longer"}
    assert properties(main)[GUID] == md5(extension).hexdigest().upper()
    with Image.open(BytesIO(data)) as image:
        image.load()
    read = jpeg.read_metadata(data)
    assert properties(read.xmp) == properties(LONG)
    assert read.jpeg_segments == ()
    again = jpeg.read_metadata(jpeg.write_metadata(encode(), read.with_mark("text")))
    assert again.mark == "text"
    assert properties(LONG).items() <= properties(again.xmp).items()


def with_packets(main: bytes, *parts: bytes) -> bytes:
    data = encode()
    segments = [make_segment(0xE1, XMP + main)]
    segments += [make_segment(0xE1, EXTENSION + part) for part in parts]
    return data[:2] + b"".join(segments) + data[2:]


def test_short_extension_becomes_part_of_the_packet():
    # The prefixes are declared outside of the description.
    extension = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="%b" xmlns:c="urn:c#">'
        b'<r:Description r:about="uuid:1" c:three="3"/></r:RDF></x:xmpmeta>' % RDF.encode()
    )
    guid = b"0123456789ABCDEF" * 2
    main = packet(b"<a:one>1</a:one>", b' xmpNote:HasExtendedXMP="%b"' % guid)
    head = struct.pack(">32sI", guid, len(extension))
    parts = (head + struct.pack(">I", at) + extension[at : at + 70] for at in (140, 0, 70, 210))
    other = struct.pack(">32sII", b"F" * 32, 5, 0) + b"other"

    read = jpeg.read_metadata(with_packets(main, *parts, other))

    assert properties(read.xmp) == {"{urn:a#}one": "1", "{urn:c#}three": "3"}
    assert read.warnings == ()
    assert packets(jpeg.write_metadata(encode(), read)) == (read.xmp, b"")


def test_extension_that_is_incomplete_is_said_to_be_dropped():
    guid = b"0123456789ABCDEF" * 2
    part = struct.pack(">32sII", guid, 100, 50) + bytes(50)
    main = packet(b"<a:one>1</a:one>", b' xmpNote:HasExtendedXMP="%b"' % guid)
    read = jpeg.read_metadata(with_packets(main, part))
    assert properties(read.xmp) == {"{urn:a#}one": "1"}
    assert read.warnings == ("extended XMP is incomplete and dropped",)
    read = jpeg.read_metadata(with_packets(packet(b""), part[:20]))
    assert read.xmp == packet(b"")
    assert len(read.warnings) == 1


def test_padding_is_removed_before_a_packet_is_split():
    start, end, rest = packet(b"<a:one>1</a:one>").rpartition(b"<?xpacket end")
    padded = start + b" " * 70_000 + end + rest
    written = packets(jpeg.write_metadata(encode(), Metadata(xmp=padded)))
    assert written == (packet(b"<a:one>1</a:one>"), b"")


@pytest.mark.parametrize("xmp", [b"x" * 65503, b"<a>" * 30_000, packet(b"y" * 90_000)])
def test_packet_that_cannot_be_split_is_refused(xmp: bytes):
    with pytest.raises(PhotoError, match=r"XMP is .* bytes long"):
        jpeg.write_metadata(encode(), Metadata(xmp=xmp))


def item(semantic: bytes, *, is_attribute: bool = True) -> bytes:
    if is_attribute:
        inner = b'<c:Item i:Semantic="%b" i:Length="5"/>' % semantic
    else:
        inner = b"<c:Item><i:Semantic>%b</i:Semantic><i:Length>5</i:Length></c:Item>" % semantic
    return b'<rdf:li rdf:parseType="Resource">%b</rdf:li>' % inner


def container(*items: bytes) -> bytes:
    return (
        b'<c:Directory xmlns:c="http://ns.google.com/photos/1.0/container/" '
        b'xmlns:i="http://ns.google.com/photos/1.0/container/item/"><rdf:Seq>%b</rdf:Seq>'
        b"</c:Directory>" % b"".join(items)
    )


GAIN_MAP = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
VIDEO = b' xmlns:g="http://ns.google.com/photos/1.0/camera/" g:MotionPhoto="1" g:MicroVideo="1"'
PRIMARY, MAP, MOTION = item(b"Primary"), item(b"GainMap", is_attribute=False), item(b"MotionPhoto")


def test_xmp_does_not_speak_of_images_that_are_dropped():
    one = b"<a:one>1</a:one>"
    whole = packet(one + container(PRIMARY, MAP, MOTION), GAIN_MAP + VIDEO)
    names = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    assert drop_contained(whole, images=True, video=False) == packet(
        one + container(PRIMARY, MOTION), names + VIDEO
    )
    assert drop_contained(whole, images=False, video=True) == packet(
        one + container(PRIMARY, MAP),
        GAIN_MAP + b' xmlns:g="http://ns.google.com/photos/1.0/camera/"',
    )
    both = drop_contained(whole, images=True, video=True)
    assert properties(both) == {"{urn:a#}one": "1"}
    only_map = packet(one + container(PRIMARY, MAP), GAIN_MAP)
    assert drop_contained(only_map, images=True, video=False) == packet(one, names)


def test_gain_map_is_dropped_with_what_xmp_says_of_it():
    main = packet(b"<a:one>1</a:one>" + container(PRIMARY, MAP), GAIN_MAP)
    gain_map = with_packets(packet(b"", GAIN_MAP))
    read = jpeg.read_metadata(with_packets(main) + gain_map)
    assert properties(read.xmp) == {"{urn:a#}one": "1"}
    assert read.warnings == ("the gain map is dropped",)
    # Nothing is dropped.
    assert jpeg.read_metadata(with_packets(main)).xmp == main


def test_motion_photo_keeps_video_and_xmp():
    video = b"\0\0\0\x14ftypmp42\0\0\0\0mp42" + b"\0\0\0\x0cmdat1234"
    main = packet(container(PRIMARY, MAP, MOTION), GAIN_MAP + VIDEO)
    gain_map = with_packets(packet(b"", GAIN_MAP))
    read = jpeg.read_metadata(with_packets(main) + gain_map + video)
    assert read.xmp == drop_contained(main, images=True, video=False)
    assert read.jpeg_trailer == video
    # The video's position counts from the end of the file.
    read = jpeg.read_metadata(with_packets(main) + video + bytes(10) + b"AXS!")
    assert read.jpeg_trailer.startswith(video)
