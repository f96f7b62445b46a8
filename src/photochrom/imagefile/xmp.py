"""XMP packets: the two properties that we read and set, all else untouched, byte for byte."""

import re
from html import escape, unescape
from itertools import islice

_RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF = b"http://ns.adobe.com/tiff/1.0/"
_OURS = b"urn:photochrom:"
_VALUE = re.compile(
    rb"""(?:\s*=\s*(?P<quote>["'])|(?:\s[^<>]*)?>)(?P<value>[^<]*?)(?(quote)(?P=quote)|<)"""
)
"""After a property's name: its value, in quotes as an attribute or between tags."""
_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%b">\n</rdf:RDF></x:xmpmeta>\n'
    b'<?xpacket end="w"?>' % _RDF
)


def orientation(packet: bytes) -> int | None:
    """Return the turn that a packet asks for, as EXIF's 1 to 8; None: none."""
    found = _turn(packet)
    return None if found is None else int(found["value"])


def upright(packet: bytes) -> bytes:
    """Return a packet that asks for no turn."""
    found = _turn(packet)
    return packet if found is None else _with_value(packet, found, b"1")


def mark(packet: bytes) -> str | None:
    """Return what `marked` said, None if it said nothing."""
    found = _property(packet, _OURS, b"colorized")
    if found is None:
        return None
    return unescape(found["value"].decode(errors="replace"))


def marked(packet: bytes, text: str) -> bytes:
    """Return a packet with a line that says that colours were added.

    An earlier line is replaced. One without RDF is replaced altogether.

    Args:
        packet: The packet, or nothing.
        text: What to say; characters that XML cannot hold are left out.
    """
    value = escape(_NOT_IN_XML.sub("", text)).encode()
    found = _property(packet, _OURS, b"colorized")
    if found is not None:
        return _with_value(packet, found, value)
    ends = list(re.finditer(rb"</(?:([\w.-]+):)?RDF\s*>", packet))
    if not ends:
        return marked(_EMPTY, text)
    start, rdf = ends[-1].start(), ends[-1][1]
    name = rdf or b"rdf"
    about = re.search(rb"""%b:about\s*=\s*("[^"<]*"|'[^'<]*')""" % name, packet)
    line = b"<%b:Description %b:about=%b" % (name, name, about[1] if about else b'""')
    if rdf is None:  # RDF is the namespace of what has no prefix
        line += b' xmlns:rdf="%b"' % _RDF
    line += b' xmlns:photochrom="%b" photochrom:colorized="%b"/>\n' % (_OURS, value)
    return packet[:start] + line + packet[start:]


def _turn(packet: bytes) -> re.Match[bytes] | None:
    found = _property(packet, _TIFF, b"Orientation")
    return found if found and re.fullmatch(b"[1-8]", found["value"]) else None


def _with_value(packet: bytes, found: re.Match[bytes], value: bytes) -> bytes:
    return packet[: found.start("value")] + value + packet[found.end("value") :]


def _property(packet: bytes, namespace: bytes, name: bytes) -> re.Match[bytes] | None:
    """Find the simple value of a property, written as an attribute or as an element.

    Only some places are tried: a packet made for it could else take hours.
    """
    bound = re.findall(rb"""\sxmlns:([\w.-]+)\s*=\s*["']%b["']""" % re.escape(namespace), packet)
    for prefix in islice(dict.fromkeys(bound), 4):
        named = re.finditer(rb"[\s<]%b:%b(?=[\s=>])" % (re.escape(prefix), name), packet)
        for start in islice(named, 16):
            found = _VALUE.match(packet, start.end())
            if found is not None:
                return found
    return None
