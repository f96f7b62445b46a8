"""What lies behind the end of a JPEG's image."""

import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.jpeg.segments import make_segment
from photochrom.imagefile.losses import lost_metadata
from photochrom.imagefile.metadata import Metadata
from support.metadata import IPTC, exif_block, resource


def encode(**options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("L", (40, 30), 90).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def turned() -> bytes:
    return encode(exif=b"Exif\0\0" + exif_block(orientation=6))


def afcp(image: bytes, entries: dict[bytes, bytes], order: str = ">", shift: int = 0) -> bytes:
    """Return an image with a trailer, whose offsets are wrong by `shift`."""
    signature = b"AXS!" if order == ">" else b"AXS*"
    directory, contents = b"", b""
    start = len(image) + shift
    for tag, content in entries.items():
        at = start + 12 + 12 * len(entries) + len(contents)
        directory += struct.pack(order + "4sII", tag, len(content), at)
        contents += content
    head = signature + struct.pack(order + "HHI", 0x100, len(entries), 0)
    return image + head + directory + contents + signature + struct.pack(order + "II", start, 0)


def foto_station(*records: tuple[int, bytes]) -> bytes:
    return b"".join(
        content + struct.pack(">HII", tag, len(content) + 10, 0xA1B2C3D4)
        for tag, content in records
    )


def photo_mechanic(*numbers: int) -> bytes:
    records = b"".join(struct.pack(">BBBHi", 0x1C, 2, number, 4, 7) for number in numbers)
    records = records.ljust(0x80, b"\0")
    return records + struct.pack(">I", len(records)) + b"cbipcbbl"


def samsung(**blocks: bytes) -> bytes:
    contents, entries = b"", []
    for name, content in blocks.items():
        block = struct.pack("<HHI", 0, 0xA30, len(name)) + name.encode() + content
        entries.append((len(contents), len(block)))
        contents += block
    directory = b"SEFH" + struct.pack("<II", 106, len(entries))
    for at, size in entries:
        directory += struct.pack("<HHII", 0, 0xA30, len(contents) - at, size)
    return contents + directory + struct.pack("<I", len(directory)) + b"SEFT"


def mie() -> bytes:
    content = b"~\x10\x04\xfe0MIE\0\0\0\0~\0\x04\x05name" + b"value" + b"~\0\x04\0zmie"
    return content + b"~\0\0\6" + struct.pack(">I", len(content) + 10) + b"\x10\4"


CANON = (
    b"CANON OPTIONAL DATA\0\0\1\0\0\0\0\0\4edit"
    + b"CANON OPTIONAL DATA\0"
    + struct.pack(">I", 4)
    + bytes(38)
    + b"\xff\xd9"
)
NIKON = b"NIKON APP\0".ljust(64, b"\0") + struct.pack(">I", 84) + b"\0\0\0\0\0\0/NIKON APP"
VIVO = b'vivo{"a":1}\0\0\0\5' + b"\xff\xff\xff\xff\x1b*9HWfu\x84\x93\xa2\xb1"
ONEPLUS = b"12345" + b'[{"name":"a","offset":5,"length":5}]'
ONEPLUS += b"jxrs" + struct.pack("<I", len(ONEPLUS) - 5 + 8)
VIDEO = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x0cmdat1234"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shift", [0, 1000, -5])
def test_iptc_of_an_afcp_trailer_becomes_that_of_the_photo(order: str, shift: int):
    data = afcp(encode(), {b"IPTC": IPTC, b"Nail": encode(), b"PrVw": b"p"}, order, shift)
    read = jpeg.read_metadata(data)
    assert read == Metadata(iptc=IPTC)
    written = jpeg.write_metadata(encode(), read)
    assert jpeg.read_metadata(written).iptc == IPTC


def test_iptc_of_the_photo_has_precedence_over_that_of_a_trailer():
    own = make_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC[:10]))
    image = encode()[:2] + own + encode()[2:]
    read = jpeg.read_metadata(afcp(image, {b"IPTC": IPTC, b"TEXT": b"text"}))
    assert read.iptc == IPTC[:10]
    assert read.warnings == (
        "TEXT of the AFCP trailer is dropped",
        "the IPTC of the AFCP trailer is dropped: the photo has other IPTC",
    )
    same = encode()[:2] + make_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC))
    assert jpeg.read_metadata(afcp(same + encode()[2:], {b"IPTC": IPTC})).warnings == ()


@pytest.mark.parametrize(
    "trailer",
    [
        foto_station((2, b"crop"), (1, IPTC)),
        photo_mechanic(209, 216, 222, 223),
        samsung(Image_UTC_Data=b"1577880000000", MotionPhoto_Data=VIDEO),
        mie(),
        CANON,
        NIKON,
        VIVO,
        ONEPLUS,
        VIDEO,
        CANON + photo_mechanic(222),
        VIDEO + samsung(Image_UTC_Data=b"1577880000000"),
    ],
    ids=[
        "FotoStation",
        "PhotoMechanic",
        "Samsung",
        "MIE",
        "Canon",
        "Nikon",
        "Vivo",
        "OnePlus",
        "video",
        "2",
        "3",
    ],
)
@pytest.mark.parametrize("padding", [b"", bytes(24)], ids=["", "padding"])
def test_trailers_are_kept_byte_for_byte(trailer: bytes, padding: bytes):
    read = jpeg.read_metadata(encode() + padding + trailer)
    assert read.jpeg_trailer == trailer
    assert read.warnings == ()
    written = jpeg.write_metadata(encode(progressive=True), read)
    assert written.endswith(b"\xff\xd9" + trailer)
    assert jpeg.read_metadata(written).jpeg_trailer == trailer
    assert lost_metadata(read, "PNG")[-1:] == ["what lies behind the end of the JPEG is lost"]


def test_iptc_of_foto_station_is_read_and_its_pictures_are_left_out():
    iptc = foto_station((1, IPTC))
    read = jpeg.read_metadata(encode() + foto_station((3, encode())) + iptc)
    assert (read.iptc, read.jpeg_trailer) == (IPTC, iptc)
    assert read.warnings == ()


def test_sound_of_samsung_is_kept_without_its_offset_in_the_file():
    sef = samsung(SoundShot_000=b"sound")
    audio = struct.pack("<IIIII4s", 101, 1, 4000, 5000, 20, b"QDIO")
    read = jpeg.read_metadata(encode() + sef + b"QDIO" + audio + b"BS")
    assert read.jpeg_trailer == sef


def test_picture_of_vivo_is_said_to_be_dropped():
    picture = b"streamdata" + encode() + b"streaminfo"
    read = jpeg.read_metadata(encode() + picture + VIVO)
    assert read.jpeg_trailer == VIVO
    assert read.warnings == ("the HDR image of Vivo is dropped",)


def test_crops_of_a_turned_photo_are_dropped():
    def read(trailer: bytes) -> tuple[bytes, tuple[str, ...]]:
        metadata = jpeg.read_metadata(turned() + trailer)
        return metadata.jpeg_trailer, metadata.warnings

    iptc = foto_station((1, IPTC))
    assert read(iptc + foto_station((2, b"crop"))) == (
        iptc,
        ("the crop of FotoStation is dropped",),
    )
    kept = photo_mechanic(222, 223)
    crops = photo_mechanic(209, 222, 238, 223)
    assert read(crops) == (kept, ("the crop of Photo Mechanic is dropped",))
    assert read(CANON) == (b"", ("the edits of Canon's DPP are dropped",))
    assert read(mie()) == (mie(), ())


def test_unknown_bytes_are_said_to_be_dropped():
    read = jpeg.read_metadata(encode() + b"\r\n" + b"twelve bytes" + bytes(9))
    assert read.warnings == ("12 bytes behind the end of the image are dropped",)
    assert read.jpeg_trailer == b""
    read = jpeg.read_metadata(encode() + b"twelve bytes" + CANON)
    assert read.warnings == ("12 bytes behind the end of the image are dropped",)
    assert read.jpeg_trailer == CANON


@pytest.mark.parametrize("padding", [bytes(3), b"\xff" * 200_000, b"\0\r\n"])
def test_padding_is_no_loss(padding: bytes):
    assert jpeg.read_metadata(encode() + padding) == Metadata()


def gain_map(namespace: bytes) -> bytes:
    return encode()[:2] + make_segment(0xE1, b"xmp " + namespace) + encode()[2:]


def test_further_pictures_are_said_to_be_dropped():
    apple = gain_map(b"http://ns.apple.com/HDRGainMap/1.0/")
    assert jpeg.read_metadata(encode() + apple).warnings == ("the gain map is dropped",)
    read = jpeg.read_metadata(encode() + encode() + bytes(100) + encode() + VIDEO)
    assert read.warnings == ("2 further pictures behind the image are dropped",)
    assert read.jpeg_trailer == VIDEO
    read = jpeg.read_metadata(encode() + encode() + gain_map(b"urn:iso:std:iso:ts:21496:-1"))
    assert read.warnings == (
        "the gain map is dropped",
        "a further picture behind the image is dropped",
    )


@pytest.mark.parametrize(("kind", "count"), [(0x010001, 0), (0x020002, 1), (0, 1)])
def test_pictures_of_an_mpo(kind: int, count: int):
    image = encode()
    entries = [(0x20030000, 0, 0), (kind, len(image), 0)]
    block = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0xB002, 7, 32, 26, 0)
    at = 2 + 4 + 4  # of the block in the file
    entries[1] = (kind, len(image), len(image) + 4 + 4 + 26 + 32 - at)
    for entry in entries:
        block += struct.pack("<III4x", *entry)
    first = image[:2] + make_segment(0xE2, block) + image[2:]
    read = jpeg.read_metadata(first + image)
    assert len(read.warnings) == count
    assert read.jpeg_segments == ()


def test_damaged_trailers_are_dropped():
    for trailer in (
        *(
            foto_station((1, IPTC)),
            photo_mechanic(222),
            samsung(a=b"b"),
            mie(),
            CANON,
            NIKON,
            VIVO,
            ONEPLUS,
        ),
        afcp(b"", {b"IPTC": IPTC}),
    ):
        for cut in range(1, len(trailer)):
            jpeg.read_metadata(encode() + trailer[cut:])
            jpeg.read_metadata(encode() + trailer[:-cut])
        for at in range(len(trailer)):
            jpeg.read_metadata(encode() + trailer[:at] + b"\xff" + trailer[at + 1 :])
