"""Extended XMP: a packet that is longer than a segment of a JPEG, as two.

Follows the XMP Specification, part 3, section 1.1.3.1.
"""

import re
import struct
from collections.abc import Iterable

from photochrom.imagefile.xmp.tree import (
    RDF,
    Node,
    apply_edits,
    find_about,
    parse,
    properties,
    to_utf8,
)

_NOTE = b"http://ns.adobe.com/xmp/note/"
_GUID = _NOTE + b"HasExtendedXMP"
_HEADER = struct.Struct(">32sII")
"""Of a part: GUID, length of the extension, offset in it."""
_NAMESPACE = re.compile(rb"""\sxmlns:([\w.-]+)\s*=\s*("[^"<]*"|'[^'<]*')""")
_EXTENSION = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%b"%%b>%%b</rdf:RDF></x:xmpmeta>'
    % RDF
)
_GUID_DESCRIPTION = (
    b'<rdf:Description rdf:about=%%b xmlns:rdf="%b" xmlns:xmpNote="%b" '
    b'xmpNote:HasExtendedXMP="%%b"/>' % (RDF, _NOTE)
)


def join_packets(packet: bytes, parts: Iterable[bytes]) -> tuple[bytes, bool]:
    """Return a packet with the properties of its extension, whose GUID it does not name then.

    Args:
        packet: It names the GUID.
        parts: Of the extension, as in the segments.

    Returns:
        The packet, and whether the extension is complete and of this packet. If not, the packet
        has no properties of it.
    """
    packet = to_utf8(packet)
    root = parse(packet)
    guid = next((node for node in properties(root) if node.name == _GUID and node.end), None)
    rdf = _find_rdf(root)
    if guid is None or rdf is None:
        return packet, False
    value = guid.value(packet).strip()
    extension = to_utf8(_assemble(parts, value) or b"")
    inner = _find_rdf(parse(extension))
    if inner is None:
        return apply_edits(packet, [(guid.start, guid.end, b"")]), False
    outer = dict(_NAMESPACE.findall(extension[: inner.value_start]))
    descriptions = [
        _with_namespaces(extension[node.start : node.end], node.value_start - node.start, outer)
        for node in inner.children
        if node.name == RDF + b"Description" and node.end
    ]
    added = (rdf.value_end, rdf.value_end, b"".join(descriptions))
    return apply_edits(packet, [(guid.start, guid.end, b""), added]), True


def split_packet(packet: bytes, limit: int) -> tuple[bytes, bytes | None]:
    """Return a packet of at most `limit` bytes, and the extension that has its longest properties.

    If it fits, without padding where needed, there is no extension. If that is impossible, the
    packet is returned as it is.
    """
    if len(packet) <= limit:
        return packet, None
    start, end, rest = packet.rpartition(b"<?xpacket end")
    short = start.rstrip() + end + rest  # without padding
    if len(short) <= limit:
        return short, None
    short = to_utf8(short)
    root = parse(short)
    rdf = _find_rdf(root)
    if rdf is None:
        return packet, None
    names = [node for node in properties(root) if node.end and not node.name.startswith(RDF)]
    removed = [(node.start, node.end, b"") for node in names if node.name == _GUID]
    about = find_about(short, root)
    size = len(short) + len(_GUID_DESCRIPTION % (about, bytes(32)))
    moved: list[Node] = []
    movable = (node for node in names if node.name != _GUID)
    for node in sorted(movable, key=lambda node: node.start - node.end):
        if size <= limit:
            break
        moved.append(node)
        size -= node.end - node.start
    if size > limit:
        return packet, None
    declarations = dict(_NAMESPACE.findall(short))
    declarations.pop(b"rdf", None)
    descriptions = (_describe(short[node.start : node.end], about) for node in moved)
    extension = _EXTENSION % (_declarations(declarations), b"".join(descriptions))
    guid = _guid(extension)
    removed += [(node.start, node.end, b"") for node in moved]
    added = (rdf.value_start, rdf.value_start, _GUID_DESCRIPTION % (about, guid))
    return apply_edits(short, [*removed, added]), extension


def cut_extension(extension: bytes, size: int) -> list[bytes]:
    """Return the parts of an extension for segments, of at most `size` bytes each."""
    guid = _guid(extension) if extension else b""
    step = size - _HEADER.size
    return [
        _HEADER.pack(guid, len(extension), start) + extension[start : start + step]
        for start in range(0, len(extension), step)
    ]


def _guid(extension: bytes) -> bytes:
    from hashlib import md5  # as few JPEGs need it

    return md5(extension, usedforsecurity=False).hexdigest().upper().encode()


def _assemble(parts: Iterable[bytes], guid: bytes) -> bytes | None:
    """Return the extension of a GUID, None if it is incomplete."""
    extension = b""
    length = 0
    chunks: dict[int, bytes] = {}
    for part in parts:
        if len(part) > _HEADER.size and part.startswith(guid):
            _, length, offset = _HEADER.unpack_from(part)
            chunks.setdefault(offset, part[_HEADER.size :])
    for offset, chunk in sorted(chunks.items()):
        if offset != len(extension):
            return None
        extension += chunk
    return extension if extension and len(extension) == length else None


def _find_rdf(root: Node) -> Node | None:
    """Return the first node of RDF that has content."""
    nodes = (node for node in root.walk() if node.name == RDF + b"RDF")
    return next((node for node in nodes if node.value_end > node.value_start), None)


def _with_namespaces(element: bytes, tag_length: int, outer: dict[bytes, bytes]) -> bytes:
    """Return an element that declares all prefixes that were declared outside of it."""
    own = dict(_NAMESPACE.findall(element[:tag_length]))
    missing = {prefix: outer[prefix] for prefix in outer if prefix not in own}
    name = re.match(rb"<[^\s/>]+", element)
    assert name is not None
    return name.group() + _declarations(missing) + element[name.end() :]


def _declarations(namespaces: dict[bytes, bytes]) -> bytes:
    return b"".join(b" xmlns:%b=%b" % item for item in namespaces.items())


def _describe(prop: bytes, about: bytes) -> bytes:
    """Return the description of one property, an element or an attribute with a space before."""
    if prop.startswith(b"<"):
        return b"<rdf:Description rdf:about=%b>%b</rdf:Description>" % (about, prop)
    return b"<rdf:Description rdf:about=%b%b/>" % (about, prop)
