"""XMP sidecars: files beside a photo in which other programs keep captions and orientation.

NAME.EXT.xmp is that of darktable and digiKam, NAME.xmp that of Adobe.
"""

import contextlib
import dataclasses
import os
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.parsers import expat

from photochrom.errors import PhotoError
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.decoding import make_upright
from photochrom.imagefile.formats import RAW_SUFFIXES
from photochrom.imagefile.jpeg.tables import finer_table
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.turning import Turn
from photochrom.imagefile.xmp import packet as xmp

SUFFIX = ".xmp"
_MAX_SIZE = 1 << 24
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DEVELOPMENT = (
    "{http://ns.adobe.com/camera-raw-",
    "{http://darktable.sf.net/",
    "{http://ns.adobe.com/photoshop/1.0/}SidecarForExtension",
)
"""Starts of the properties that are about developing the file, not about the photo."""
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n{}\n<?xpacket end="w"?>'
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF[1:-1]}"/></x:xmpmeta>'


def sidecar_path(photo: Path) -> Path:
    """Return where the sidecar of a photo is written: NAME.EXT.xmp."""
    return photo.with_name(photo.name + SUFFIX)


def find_sidecar(photo: Path) -> Path | None:
    """Return the sidecar of a photo, NAME.EXT.xmp, else NAME.xmp; None if it has none.

    If there is a raw photo of that name, NAME.xmp belongs to it alone.
    """
    own, shared = sidecar_path(photo), photo.with_suffix(SUFFIX)
    for path in (own, shared, own.with_suffix(".XMP"), shared.with_suffix(".XMP")):
        is_file = os.path.isfile(path)  # noqa: PTH113 (does not raise for a long name)
        if is_file and (path.stem == photo.name or not _has_raw_sibling(photo)):
            return path
    return None


def _has_raw_sibling(photo: Path) -> bool:
    """Tell whether a photo that is not raw has a raw photo of its name beside it."""
    suffixes = (other for suffix in RAW_SUFFIXES for other in (suffix, suffix.upper()))
    return photo.suffix.lower() not in RAW_SUFFIXES and any(
        os.path.exists(photo.with_suffix(suffix))  # noqa: PTH110 (does not raise)
        for suffix in suffixes
    )


def apply_sidecar(photo: Photo, sidecar: Path) -> Photo:
    """Return a photo with the properties of its sidecar.

    They replace properties of the same name, as in darktable and digiKam; those about developing
    the file are left out. The orientation is applied if the file has none. A sidecar that cannot be
    used becomes a warning.
    """
    try:
        if sidecar.stat().st_size > _MAX_SIZE:
            raise ValueError(f"it has more than {_MAX_SIZE} bytes")
        packet = sidecar.read_bytes()
        orientation = xmp.read_orientation(packet)
        if photo.orientation is not None:
            stored = photo.size[::-1] if photo.orientation >= 5 else photo.size
            packet = xmp.make_upright(packet, Turn(photo.orientation, *stored))
        merged = merge_packets(photo.metadata.xmp, packet)
    except (OSError, ValueError, ET.ParseError) as error:
        metadata = photo.metadata.with_warning(f"the sidecar {sidecar.name} is not used: {error}")
        return dataclasses.replace(photo, metadata=metadata)
    metadata = dataclasses.replace(photo.metadata, xmp=merged)
    if photo.orientation is not None and orientation not in (None, photo.orientation):
        metadata = metadata.with_warning(
            f"the orientation of the sidecar {sidecar.name} is not that of the file, which counts"
        )
    photo = dataclasses.replace(photo, metadata=metadata)
    if photo.orientation is not None:
        return photo
    options = dict(photo.encoding.options)
    if "qtables" in options and orientation not in (None, 1):
        options["qtables"] = [finer_table(table) for table in options["qtables"]]
    return make_upright(
        dataclasses.replace(photo, encoding=Encoding(photo.encoding.format, options))
    )


def write_sidecar(photo: Path, packet: bytes, *, overwrite: bool, like: os.stat_result) -> None:
    """Write the sidecar of a photo atomically; arguments are those of `open_atomic`.

    Raises:
        PhotoError: If it exists and `overwrite` is not set, or if writing fails.
    """
    path = sidecar_path(photo)
    try:
        with open_atomic(path, overwrite=overwrite, like=like) as stream:
            stream.write(packet)
    except FileExistsError as error:
        raise PhotoError(f"{path} exists already; remove it or ask to overwrite") from error
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error


def merge_packets(packet: bytes | None, sidecar: bytes) -> bytes:
    """Return an XMP packet with the properties of a sidecar added, or in place of its own.

    Raises:
        ValueError: If one of them is no XMP.
        xml.etree.ElementTree.ParseError: If one of them is no XML.
    """
    root = _parse(packet or _EMPTY.encode())
    rdf = _find_rdf(root)
    added = ET.Element(f"{_RDF}Description", {f"{_RDF}about": ""})
    for description in _find_rdf(_parse(sidecar)):
        for name, value in description.items():
            ET.SubElement(added, name).text = value
        added.extend(description)
    for element in list(added):
        if element.tag.startswith((_RDF, *_DEVELOPMENT)):
            added.remove(element)
    names = {element.tag for element in added}
    for description in rdf:
        added.set(f"{_RDF}about", description.get(f"{_RDF}about", ""))
        for name in names.intersection(description.attrib):
            del description.attrib[name]
        for element in list(description):
            if element.tag in names:
                description.remove(element)
    rdf.append(added)
    return _PACKET.format(ET.tostring(root, encoding="unicode")).encode()


def _parse(packet: bytes) -> ET.Element:
    """Parse XML, whose prefixes are used again when it is written."""
    _refuse_document_type(packet)
    events = ET.iterparse(BytesIO(packet), events=("start-ns", "end"))
    for event, item in events:
        if event == "start-ns":
            prefix, uri = item
            if prefix and not prefix.startswith("ns"):  # those are the module's own
                ET.register_namespace(prefix, uri)
    root: ET.Element = events.root  # type: ignore[attr-defined]
    return root


def _refuse_document_type(packet: bytes) -> None:
    """Raise ValueError if XML of any encoding has a document type; entities could take all memory.

    Other faults are left to the parser.
    """

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which XMP does not have")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    with contextlib.suppress(expat.ExpatError):
        parser.Parse(packet, True)


def _find_rdf(root: ET.Element) -> ET.Element:
    rdf = next(root.iter(f"{_RDF}RDF"), None)
    if rdf is None:
        raise ValueError("it is no XMP")
    return rdf
