"""XMP packets as trees of nodes with positions, by which parts are changed and no other byte.

Damaged XML is read as far as it can be, entities are not expanded, and the time is linear.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
Edit = tuple[int, int, bytes]
"""Start and end of bytes, and what replaces them."""

_MAX_TAGS = 100_000
_MAX_NAMESPACES = 500
"""Limits of time and memory; what exceeds them is not read."""
_TAG = re.compile(
    rb"""<(?:(?P<name>[^\s<>/!?"'=]++)(?=[\s/>])(?P<attributes>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)
    |/(?P<closed>[^\s<>]++)\s*+)>
    |<(?P<skipped>!--|!\[CDATA\[|\?)""",
    re.VERBOSE,
)
_SKIPPED_ENDS = {b"!--": b"-->", b"![CDATA[": b"]]>", b"?": b"?>"}
_ATTRIBUTE = re.compile(
    rb"""(?<=[\s"'])(?P<name>[^\s=<>"'/]++)\s*+=\s*+(?:"(?P<a>[^"]*+)"|'(?P<b>[^']*+)')"""
)
_BYTE_ORDER_MARKS = (  # those of UTF-32 first, which start as those of UTF-16 do
    *((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
    *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
)
_ZEROS: dict[tuple[bool, ...], str] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}
"""Which of the first four bytes of ASCII are 0, by encoding (XML 1.0, appendix F)."""
_DECLARATION = re.compile(r"\ufeff?\s*<\?xml\s[^>]*\?>\s*")


@dataclass(slots=True)
class Node:
    """An element or an attribute."""

    name: bytes
    """Namespace and local name joined, as RDF names properties; attributes may have none."""
    start: int
    """Of an attribute with the space before it."""
    value_start: int
    value_end: int
    """End of the content; equal to the start in an element that is a single tag."""
    end: int
    """0: the element is not closed."""
    children: list["Node"] = field(default_factory=list)
    """Attributes, then elements."""

    def value(self, packet: bytes) -> bytes:
        """Return the content, as it is in the packet."""
        return packet[self.value_start : self.value_end]

    def find(self, name: bytes) -> "Node | None":
        """Return the first child of a name."""
        return next((child for child in self.children if child.name == name), None)

    def search(self, name: bytes) -> "Node | None":
        """Return the first descendant of a name."""
        return next((node for node in self.walk() if node.name == name), None)

    def walk(self) -> Iterator["Node"]:
        """Yield this node and its descendants."""
        nodes = [self]
        while nodes:
            node = nodes.pop()
            yield node
            nodes += reversed(node.children)


def to_utf8(packet: bytes) -> bytes:
    """Return a packet of UTF-16 or UTF-32, with or without a byte order mark, in UTF-8.

    Any other packet is returned as it is.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if packet.startswith(mark)), None)
    encoding = encoding or _ZEROS.get(tuple(byte == 0 for byte in packet[:4]))
    if encoding is None:
        return packet
    text = packet.decode(encoding, errors="replace")
    return _DECLARATION.sub("", text, count=1).removeprefix("\ufeff").encode(errors="replace")


def parse(packet: bytes) -> Node:
    """Return a nameless node whose children are the outermost elements of a packet in UTF-8."""
    root = Node(b"", 0, 0, len(packet), len(packet))
    stack: list[tuple[bytes, Node, Mapping[bytes, bytes]]] = [(b"", root, {b"xml": b"xml:"})]
    is_open: Counter[bytes] = Counter()
    position = 0
    for _ in range(_MAX_TAGS):
        tag = _TAG.search(packet, position)
        if tag is None:
            break
        position = tag.end()
        if tag["skipped"]:
            end = packet.find(_SKIPPED_ENDS[tag["skipped"]], position)
            if end < 0:
                break
            position = end
        elif tag["name"]:
            _, parent, namespaces = stack[-1]
            element, namespaces = _read_element(tag, namespaces)
            parent.children.append(element)
            if tag["attributes"].endswith(b"/"):
                element.end = tag.end()
            else:
                is_open[tag["name"]] += 1
                stack.append((tag["name"], element, namespaces))
        elif is_open[tag["closed"]]:
            name = None
            while name != tag["closed"]:
                name, element, _ = stack.pop()
                is_open[name] -= 1
            element.value_end, element.end = tag.span()
    return root


def apply_edits(packet: bytes, edits: Iterable[Edit]) -> bytes:
    """Return the packet with edits; of those that overlap, the one that starts first counts."""
    parts: list[bytes] = []
    position = 0
    for start, end, replacement in sorted(edits):
        if start >= position:
            parts += packet[position:start], replacement
            position = end
    return b"".join([*parts, packet[position:]])


def walk_outside_descriptions(root: Node) -> Iterator[Node]:
    """Yield the nodes that no description contains, such as the outermost descriptions."""
    nodes = [root]
    while nodes:
        node = nodes.pop()
        yield node
        if node.name != RDF + b"Description":
            nodes += reversed(node.children)


def properties(root: Node) -> Iterator[Node]:
    """Yield the properties of the photo: of the outermost descriptions."""
    for node in walk_outside_descriptions(root):
        if node.name == RDF + b"Description":
            yield from node.children


def find_about(packet: bytes, root: Node) -> bytes:
    """Return what descriptions of a packet are about, in quotes."""
    nodes = (node for node in root.walk() if node.name == RDF + b"about")
    texts = (packet[node.value_start - 1 : node.value_end + 1] for node in nodes)
    return next((text for text in texts if text[:1] in b"\"'"), b'""')


def _read_element(
    tag: re.Match[bytes], namespaces: Mapping[bytes, bytes]
) -> tuple[Node, Mapping[bytes, bytes]]:
    """Return the element that a tag opens, and the namespaces in it."""
    attributes = list(_ATTRIBUTE.finditer(tag.string, *tag.span("attributes")))
    values = {match["name"]: match["a"] or match["b"] or b"" for match in attributes}
    added = {
        name.removeprefix(b"xmlns").removeprefix(b":"): value
        for name, value in values.items()
        if name == b"xmlns" or name.startswith(b"xmlns:")
    }
    if added and len(namespaces) + len(added) < _MAX_NAMESPACES:
        namespaces = {**namespaces, **added}
    element = Node(_resolve(tag["name"], namespaces), tag.start(), tag.end(), tag.end(), 0)
    for match in attributes:
        if b":" in match["name"] and not match["name"].startswith(b"xmlns:"):
            name = _resolve(match["name"], namespaces)
            start = match.start()
            while tag.string[start - 1 : start].isspace():
                start -= 1
            value = match.span("a" if match["a"] is not None else "b")
            element.children.append(Node(name, start, *value, match.end()))
    return element, namespaces


def _resolve(name: bytes, namespaces: Mapping[bytes, bytes]) -> bytes:
    """Return namespace and local name joined; the name itself if its prefix is not declared."""
    prefix, _, local = name.rpartition(b":")
    return namespaces[prefix] + local if prefix in namespaces else name
