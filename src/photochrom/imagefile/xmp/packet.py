"""Properties of XMP packets, read and set. Every other byte of a packet in UTF-8 stays as it is.

Packets in UTF-16 or UTF-32 become UTF-8.
"""

import re
from html import escape, unescape

from photochrom.imagefile.turning import Crop, Turn
from photochrom.imagefile.xmp.regions import crop_regions, turn_regions
from photochrom.imagefile.xmp.tree import (
    RDF,
    Edit,
    Node,
    apply_edits,
    find_about,
    parse,
    properties,
    to_utf8,
    walk_outside_descriptions,
)

_XMP = b"http://ns.adobe.com/xap/1.0/"
_ORIENTATION = b"http://ns.adobe.com/tiff/1.0/Orientation"
_THUMBNAILS = (_XMP + b"Thumbnails", _XMP + b"PageInfo")
_OUR_NAMES = {
    namespace + local: (prefix, namespace, local)
    for prefix, namespace, local in (
        (b"photochrom", b"urn:photochrom:", b"colorized"),
        (b"Iptc4xmpExt", b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/", b"DigitalSourceType"),
    )
}
_MARK, _SOURCE_TYPE = _OUR_NAMES
_COMPOSITE = b"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_NOT_IN_XML = "[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_EMPTY_RDF = b'<rdf:RDF xmlns:rdf="%b">\n</rdf:RDF>' % RDF
EMPTY_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%b</x:xmpmeta>\n'
    b'<?xpacket end="w"?>' % _EMPTY_RDF
)


def read_orientation(packet: bytes) -> int | None:
    """Return the orientation, 1 to 8 as in EXIF; None if it is missing or invalid."""
    packet = to_utf8(packet)
    nodes = _find_orientations(packet, parse(packet))
    return int(nodes[0].value(packet)) if nodes else None


def make_upright(packet: bytes, turn: Turn) -> bytes:
    """Return the packet for the upright photo.

    Its orientation becomes 1, sizes and regions are turned, and thumbnails, which show the photo
    before, are removed.
    """
    packet = to_utf8(packet)
    root = parse(packet)
    edits = [_set_value(node, b"1") for node in _find_orientations(packet, root)]
    edits += (_remove(node) for node in properties(root) if node.name in _THUMBNAILS and node.end)
    if turn.orientation > 1:
        edits += turn_regions(packet, root, turn)
    return apply_edits(packet, edits)


def crop(packet: bytes, crop: Crop) -> tuple[bytes, list[str]]:
    """Return the packet with sizes set and regions moved, and what is lost, each a phrase.

    Regions whose centre is cut off are removed.
    """
    packet = to_utf8(packet)
    edits, lost = crop_regions(packet, parse(packet), crop)
    return apply_edits(packet, edits), lost


def read_mark(packet: bytes) -> str | None:
    """Return the text of `set_mark`, None if there is none."""
    packet = to_utf8(packet)
    node = next((node for node in properties(parse(packet)) if node.name == _MARK), None)
    return None if node is None else unescape(node.value(packet).decode(errors="replace"))


def set_mark(packet: bytes, text: str) -> bytes | None:
    """Return the packet with properties that say that colours were added.

    They are a text and IPTC's DigitalSourceType; earlier ones are replaced. Characters that XML
    cannot hold are left out.

    Returns:
        None: Nothing can be added, as it is no packet.
    """
    packet = to_utf8(packet)
    root = parse(packet)
    rdf = _find_outside(root, RDF + b"RDF")
    if rdf is None:
        outer = _find_outside(root, b"adobe:ns:meta/xmpmeta")
        if outer is None or _is_single_tag(packet, outer):
            return None
        with_rdf = apply_edits(packet, [(outer.value_start, outer.value_start, _EMPTY_RDF)])
        return set_mark(with_rdf, text)
    values = {_MARK: escape(re.sub(_NOT_IN_XML, "", text)).encode(), _SOURCE_TYPE: _COMPOSITE}
    edits: list[Edit] = []
    missing = dict(values)
    for node in properties(root):
        if node.name in values and node.end:
            is_simple = node.value_start < node.value_end and not node.children
            if is_simple and node.name in missing:
                del missing[node.name]
                edits.append(_set_value(node, values[node.name]))
            else:
                edits.append(_remove(node))
    if missing:
        edits.append(_add_description(packet, root, rdf, missing))
    return apply_edits(packet, edits)


def _add_description(packet: bytes, root: Node, rdf: Node, values: dict[bytes, bytes]) -> Edit:
    """Return an edit that adds a description, of properties in our two namespaces."""
    start = packet[rdf.start : rdf.value_start]
    name = start.split(b">")[0].split()[0].removeprefix(b"<").removesuffix(b"/")
    prefix = name.rpartition(b":")[0]
    rdf_prefix = prefix or b"rdf"
    about = find_about(packet, root)
    line = b"\n<%b:Description %b:about=%b" % (rdf_prefix, rdf_prefix, about)
    if not prefix:  # RDF is the default namespace
        line += b' xmlns:rdf="%b"' % RDF
    for key, value in values.items():
        short, namespace, local = _OUR_NAMES[key]
        line += b' xmlns:%b="%b" %b:%b="%b"' % (short, namespace, short, local, value)
    line += b"/>"
    if _is_single_tag(packet, rdf):
        return rdf.start, rdf.end, b"%b>%b</%b>" % (start[: start.rindex(b"/")], line, name)
    return rdf.value_start, rdf.value_start, line


def _find_outside(root: Node, name: bytes) -> Node | None:
    """Return the first node of a name outside of descriptions."""
    return next((node for node in walk_outside_descriptions(root) if node.name == name), None)


def _is_single_tag(packet: bytes, node: Node) -> bool:
    return packet[node.value_start - 2 : node.value_start] == b"/>"


def _find_orientations(packet: bytes, root: Node) -> list[Node]:
    return [
        node
        for node in properties(root)
        if node.name == _ORIENTATION and re.fullmatch(rb"\s*[1-8]\s*", node.value(packet))
    ]


def _set_value(node: Node, value: bytes) -> Edit:
    return node.value_start, node.value_end, value


def _remove(node: Node) -> Edit:
    return node.start, node.end, b""
