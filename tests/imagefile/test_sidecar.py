from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.sidecar import apply_sidecar, find_sidecar, merge_packets

RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


def packet(properties: str, attributes: str = "") -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}><rdf:Description rdf:about="" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        'xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        'xmlns:darktable="http://darktable.sf.net/" '
        f"{attributes}>{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def title(text: str) -> str:
    return f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:title>'


def properties_of(merged: bytes) -> dict[str, str]:
    """Return the text of properties by name without namespace."""
    root = ElementTree.fromstring(merged)
    elements = [p for part in root.iter() if part.tag.endswith("}Description") for p in part]
    attributes = [p for part in root.iter() for p in part.attrib.items()]
    texts = [(element.tag, "".join(element.itertext())) for element in elements]
    return {name.rpartition("}")[2]: text for name, text in texts + attributes}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Left half black, right half white, without EXIF; half as high as wide."""
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, 16:] = 255
    Image.fromarray(pixels).save(tmp_path / "old.jpg", quality=100)
    return tmp_path / "old.jpg"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["old.jpg.xmp"], "old.jpg.xmp"),
        (["old.xmp"], "old.xmp"),
        (["old.XMP"], "old.XMP"),
        (["old.jpg.xmp", "old.xmp"], "old.jpg.xmp"),
        (["old.xmp", "old.NEF"], None),
        (["old.jpg.xmp", "old.nef"], "old.jpg.xmp"),
        (["old.png.xmp", "older.xmp"], None),
    ],
)
def test_a_sidecar_has_the_name_of_its_photo(photo: Path, files: list[str], found: str | None):
    for name in files:
        photo.with_name(name).touch()
    assert find_sidecar(photo) == (None if found is None else photo.with_name(found))


def test_a_sidecar_of_a_raw_photo_has_its_name_with_or_without_suffix(tmp_path: Path):
    for name in ("a.nef", "a.xmp"):
        (tmp_path / name).touch()
    assert find_sidecar(tmp_path / "a.nef") == tmp_path / "a.xmp"


def test_captions_of_a_sidecar_are_added_and_replace_those_of_the_photo():
    own = packet(title("old") + "<dc:source>box 3</dc:source>", 'tiff:Make="Agfa"')
    merged = merge_packets(own, packet(title("new &amp; better"), 'photoshop:City="Ulm"'))
    found = properties_of(merged)
    assert found["title"] == "new & better"
    assert (found["City"], found["Make"], found["source"]) == ("Ulm", "Agfa", "box 3")
    assert merged.count(b"title>") == 2
    assert b"ns0" not in merged
    assert merged.startswith(b"<?xpacket begin")
    assert merged.endswith(b'<?xpacket end="w"?>')


def test_what_a_sidecar_says_about_developing_is_left_out():
    sidecar = packet(
        "<darktable:history/>",
        'crs:Exposure2012="+2" photoshop:SidecarForExtension="NEF" photoshop:City="Ulm"',
    )
    merged = merge_packets(None, sidecar)
    assert b"Exposure2012" not in merged
    assert b"darktable" not in merged
    assert b"SidecarForExtension" not in merged
    assert properties_of(merged)["City"] == "Ulm"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_sidecars_are_read_in_any_encoding_of_xml(photo: Path, encoding: str):
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig").upper()}"?>\n'
    text += packet(title("Köln")).decode()
    photo.with_suffix(".xmp").write_bytes(text.encode(encoding))
    applied = apply_sidecar(open_photo(photo), photo.with_suffix(".xmp"))
    assert applied.warnings == ()
    assert "Köln".encode() in applied.metadata.xmp


@pytest.mark.parametrize("orientation", [6, 3])
def test_the_orientation_of_a_sidecar_is_applied_once_if_the_file_has_none(
    photo: Path, orientation: int
):
    sidecar = photo.with_suffix(".xmp")
    sidecar.write_bytes(packet("", f'tiff:Orientation="{orientation}"'))
    turned = apply_sidecar(open_photo(photo), sidecar)
    assert turned.size == ((16, 32) if orientation == 6 else (32, 16))
    dark = turned.pixels[:16] if orientation == 6 else turned.pixels[:, 16:]
    assert dark.mean() < 9
    assert turned.metadata.orientation == 1
    assert turned.warnings == ()
    assert max(map(max, turned.encoding.options["qtables"])) < 10


def test_the_orientation_of_the_file_counts_and_another_is_said(photo: Path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(photo).save(photo, exif=exif, quality=100)
    sidecar = photo.with_suffix(".xmp")
    sidecar.write_bytes(packet("", 'tiff:Orientation="6"'))
    turned = apply_sidecar(open_photo(photo), sidecar)
    assert turned.pixels[16:].mean() < 9  # black was left, and is below
    assert turned.metadata.orientation == 1
    assert b"Orientation>6" not in turned.metadata.xmp
    assert "orientation of the sidecar" in turned.warnings[0]
    sidecar.write_bytes(packet("", 'tiff:Orientation="8"'))
    assert apply_sidecar(open_photo(photo), sidecar).warnings == ()


_WITH_ENTITY = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>]>" + packet(title("&a;")).decode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        packet(title("new"))[:-20],
        b"<html/>",
        _WITH_ENTITY.encode("utf-8"),
        _WITH_ENTITY.encode("utf-16"),
        _WITH_ENTITY.encode("utf-16-le"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_said(photo: Path, content: bytes):
    sidecar = photo.with_suffix(".xmp")
    sidecar.write_bytes(content)
    own = Photo(np.zeros((2, 2, 1), np.uint8), metadata=Metadata(xmp=packet(title("own"))))
    applied = apply_sidecar(own, sidecar)
    assert applied.metadata.xmp == own.metadata.xmp
    assert "the sidecar old.xmp is not used" in applied.warnings[0]


def test_xmp_of_the_photo_that_cannot_be_parsed_stays(photo: Path):
    sidecar = photo.with_suffix(".xmp")
    sidecar.write_bytes(packet(title("new")))
    own = Photo(np.zeros((2, 2, 1), np.uint8), metadata=Metadata(xmp=b"<x:xmpmeta"))
    assert apply_sidecar(own, sidecar).metadata.xmp == b"<x:xmpmeta"
