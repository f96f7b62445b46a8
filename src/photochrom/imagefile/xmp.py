"""XMP packets: read and set orientation and mark. Every other byte stays as it is."""

import re
from html import escape, unescape
from itertools import islice

_RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF = b"http://ns.adobe.com/tiff/1.0/"
_PHOTOCHROM = b"urn:photochrom:"
_VALUE = re.compile(
    rb"""(?:\s*=\s*(?P<quote>["'])|(?:\s[^<>]*)?>)(?P<value>[^<]*?)(?(quote)(?P=quote)|<)"""
)
"""After a property's name: its value, in quotes as an attribute or between tags."""
_NOT_IN_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EMPTY_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="%b">\n</rdf:RDF></x:xmpmeta>\n'
    b'<?xpacket end="w"?>' % _RDF
)


def read_orientation(packet: bytes) -> int | None:
    """Return the orientation, 1 to 8 as in EXIF; None if it is missing or invalid."""
    match = _find_orientation(packet)
    return None if match is None else int(match["value"])


def reset_orientation(packet: bytes) -> bytes:
    """Return the packet with orientation 1, if it has one."""
    match = _find_orientation(packet)
    return packet if match is None else _replace_value(packet, match, b"1")


def read_mark(packet: bytes) -> str | None:
    """Return the text of `set_mark`, None if there is none."""
    match = _find_property(packet, _PHOTOCHROM, b"colorized")
    return None if match is None else unescape(match["value"].decode(errors="replace"))


def set_mark(packet: bytes, text: str) -> bytes:
    """Return the packet with a property that says that colours were added.

    An earlier one is replaced. A packet without RDF, such as an empty one, is replaced altogether.
    Characters that XML cannot hold are left out.
    """
    value = escape(_NOT_IN_XML.sub("", text)).encode()
    match = _find_property(packet, _PHOTOCHROM, b"colorized")
    if match is not None:
        return _replace_value(packet, match, value)
    ends = list(re.finditer(rb"</(?:([\w.-]+):)?RDF\s*>", packet))
    if not ends:
        return set_mark(_EMPTY_PACKET, text)
    end, prefix = ends[-1].start(), ends[-1][1]
    rdf = prefix or b"rdf"
    about = re.search(rb"""%b:about\s*=\s*("[^"<]*"|'[^'<]*')""" % rdf, packet)
    line = b"<%b:Description %b:about=%b" % (rdf, rdf, about[1] if about else b'""')
    if prefix is None:  # RDF is the default namespace
        line += b' xmlns:rdf="%b"' % _RDF
    line += b' xmlns:photochrom="%b" photochrom:colorized="%b"/>\n' % (_PHOTOCHROM, value)
    return packet[:end] + line + packet[end:]


def _find_orientation(packet: bytes) -> re.Match[bytes] | None:
    match = _find_property(packet, _TIFF, b"Orientation")
    return match if match and re.fullmatch(b"[1-8]", match["value"]) else None


def _replace_value(packet: bytes, match: re.Match[bytes], value: bytes) -> bytes:
    return packet[: match.start("value")] + value + packet[match.end("value") :]


def _find_property(packet: bytes, namespace: bytes, name: bytes) -> re.Match[bytes] | None:
    """Find the simple value of a property, an attribute or an element.

    The number of candidates is limited: a malicious packet could otherwise take hours.
    """
    prefixes = re.findall(rb"""\sxmlns:([\w.-]+)\s*=\s*["']%b["']""" % re.escape(namespace), packet)
    for prefix in islice(dict.fromkeys(prefixes), 4):
        candidates = re.finditer(rb"[\s<]%b:%b(?=[\s=>])" % (re.escape(prefix), name), packet)
        for candidate in islice(candidates, 16):
            match = _VALUE.match(packet, candidate.end())
            if match is not None:
                return match
    return None
