"""Metadata blocks, built byte by byte."""

import struct

from PIL import ImageCms

XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="uuid:1" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    b' tiff:Orientation="6" tiff:Make="B\xc3\xa9b\xc3\xa9"/>'
    b"</rdf:RDF></x:xmpmeta>" + b" " * 50 + b'\n<?xpacket end="w"?>'
)


IPTC = b"\x1c\x02\x05\x00\x05Title\x1c\x02\x78\x00\x07Caption"


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(order: str = "<", orientation: int = 6) -> bytes:
    """Return EXIF with orientation, resolution, maker note, sides, Interop, GPS and thumbnail."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")

    def directory(entries: list[bytes], following: int = 0) -> bytes:
        count = struct.pack(order + "H", len(entries))
        return count + b"".join(entries) + struct.pack(order + "I", following)

    def long(number: int) -> bytes:
        return struct.pack(order + "I", number)

    def short(number: int) -> bytes:
        return struct.pack(order + "H", number)

    root = [
        entry(0x0112, 3, 1, short(orientation)),
        entry(0x011A, 5, 1, long(300)),
        entry(0x011B, 5, 1, long(308)),
        entry(0x0128, 3, 1, short(2)),
        entry(0x8769, 4, 1, long(100)),
        entry(0x8825, 4, 1, long(200)),
    ]
    exif = [
        entry(0x927C, 7, 20, long(320)),
        entry(0xA002, 4, 1, long(640)),
        entry(0xA003, 3, 1, short(480)),
        entry(0xA005, 4, 1, long(260)),
    ]
    gps = [entry(1, 2, 2, b"N\0"), entry(5, 1, 1, b"\1")]
    interop = [entry(1, 2, 4, b"R98\0")]
    thumbnail = [entry(0x0103, 3, 1, short(6))]
    parts = {
        0: (b"II*\0" if order == "<" else b"MM\0*") + long(8),
        8: directory(root, 400),
        100: directory(exif),
        200: directory(gps),
        260: directory(interop),
        300: struct.pack(order + "IIII", 72, 1, 300, 1),
        320: b"maker note at 320...",
        400: directory(thumbnail),
    }
    block = bytearray(420)
    for at, part in parts.items():
        block[at : at + len(part)] = part
    return bytes(block)


def resource(number: int, content: bytes, name: bytes = b"") -> bytes:
    pascal = bytes((len(name),)) + name
    head = b"8BIM" + struct.pack(">H", number) + pascal + bytes(len(pascal) % 2)
    return head + struct.pack(">I", len(content)) + content + bytes(len(content) % 2)
