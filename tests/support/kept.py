"""Small files with one kind of metadata each, and the table of what colorizing keeps of them.

python tests/support/kept.py        # writes the table of docs/reliability.md anew
"""

import json
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import psd_tools
import tifffile
from click.testing import CliRunner
from PIL import Image, IptcImagePlugin, PngImagePlugin, TiffImagePlugin

from photochrom.cli import main
from photochrom.imagefile.codecs.boxes import iterate_boxes
from photochrom.imagefile.jpeg import segments as jpeg_segments
from support.icc_profiles import SPACES
from support.metadata import IPTC, resource
from support.models import write_model

pillow_heif.register_heif_opener()
import pillow_jxl  # noqa: E402, F401 (registers JPEG XL)

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"
START, END = "<!-- table of tests/support/kept.py -->\n", "<!-- end of the table -->\n"

ICC = SPACES["adobe"]
CAPTION = "Written by the archive"
MAKER_NOTE = b"maker note of the camera"
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:'
    b'meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Headline="'
    + CAPTION.encode()
    + b'"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
GREY = np.tile(np.linspace(0, 255, 48, dtype=np.uint8), (32, 1))
PICTURE = Image.fromarray(np.dstack([GREY] * 3))
TRANSPARENT = PICTURE.copy()
TRANSPARENT.putalpha(Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8)))
DEEP = np.dstack([np.tile(np.linspace(0, 65535, 48, dtype=np.uint16), (32, 1))] * 3)


def exif() -> bytes:
    """Return an EXIF block with an author and a maker note."""
    block = Image.Exif()
    block[0x013B] = "me"
    block.get_ifd(0x8769)[0x927C] = MAKER_NOTE
    return block.tobytes()


def encode(format_: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    """Return an image in one of Pillow's formats."""
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def jpeg_files() -> dict[str, bytes]:
    """Return a JPEG for each kind of metadata."""
    plain = encode("JPEG")
    iptc = jpeg_segments.make_segment(0xED, b"Photoshop 3.0\0" + resource(0x0404, IPTC))
    return {
        "EXIF": encode("JPEG", exif=exif()),
        "XMP": encode("JPEG", xmp=XMP),
        "IPTC": plain[:20] + iptc + plain[20:],
        "profile": encode("JPEG", icc_profile=ICC),
        "resolution": encode("JPEG", dpi=(300, 300)),
        "comment": encode("JPEG", comment=CAPTION),
        "other pictures": encode("MPO", save_all=True, append_images=[PICTURE.rotate(90)]),
    }


def png_files() -> dict[str, bytes]:
    """Return a PNG for each kind of metadata."""
    texts = {name: PngImagePlugin.PngInfo() for name in ("XMP", "IPTC", "comment")}
    texts["XMP"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts["comment"].add_text("Comment", CAPTION)
    content = resource(0x0404, IPTC)
    raw_profile = f"\niptc\n{len(content):8}\n{content.hex()}\n"
    texts["IPTC"].add_text("Raw profile type iptc", raw_profile, zip=True)
    return {
        "EXIF": encode("PNG", exif=exif()),
        **{name: encode("PNG", pnginfo=text) for name, text in texts.items()},
        "profile": encode("PNG", icc_profile=ICC),
        "resolution": encode("PNG", dpi=(300, 300)),
        "transparency": encode("PNG", TRANSPARENT),
        "more than 8 bits": imagecodecs.png_encode(DEEP),
        "other pictures": encode("PNG", save_all=True, append_images=[PICTURE.rotate(90)]),
    }


def tiff_files() -> dict[str, bytes]:
    """Return a TIFF for each kind of metadata."""

    def with_tag(tag: int, value: Any) -> bytes:
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[tag] = value
        directory.tagtype[tag] = 7 if isinstance(value, bytes) else 2
        return encode("TIFF", tiffinfo=directory)

    def with_tifffile(pixels: Any, **options: Any) -> bytes:
        buffer = BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", metadata=None, **options)
        return buffer.getvalue()

    five = np.dstack([np.asarray(TRANSPARENT), GREY])
    return {
        "EXIF": encode("TIFF", exif=exif()),
        "XMP": with_tag(700, XMP),
        "IPTC": with_tag(33723, IPTC),
        "profile": encode("TIFF", icc_profile=ICC),
        "resolution": encode("TIFF", dpi=(300, 300)),
        "comment": with_tag(270, CAPTION),
        "transparency": encode("TIFF", TRANSPARENT),
        "more than 8 bits": with_tifffile(DEEP),
        "extra channels": with_tifffile(five, extrasamples=("unassalpha", "unspecified")),
        "layers": with_tag(37724, b"Adobe Photoshop Document Data Block\0" + bytes(40)),
        "other pictures": encode("TIFF", save_all=True, append_images=[PICTURE.rotate(90)]),
    }


def webp_files(format_: str = "WEBP", **options: Any) -> dict[str, bytes]:
    """Return a WebP or AVIF for each kind of metadata."""
    animation = {"save_all": True, "append_images": [PICTURE.rotate(90)]}
    return {
        "EXIF": encode(format_, exif=exif()),
        "XMP": encode(format_, xmp=XMP),
        "profile": encode(format_, icc_profile=ICC),
        "transparency": encode(format_, TRANSPARENT, **options),
        "other pictures": encode(format_, **animation),
    }


def heif_files() -> dict[str, bytes]:
    """Return a HEIC for each kind of metadata."""
    deep = pillow_heif.from_bytes("RGB;16", (48, 32), DEEP.tobytes())
    buffer = BytesIO()
    deep.save(buffer, quality=100)
    return webp_files("HEIF", quality=100) | {"more than 8 bits": buffer.getvalue()}


def jpeg2000_files() -> dict[str, bytes]:
    """Return a JPEG 2000 for each kind of metadata."""
    start, _, codestream = (plain := encode("JPEG2000")).partition(
        plain[plain.index(b"jp2c") - 4 :][:8]
    )

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", len(content) + 8, kind) + content

    def with_uuid(number: str, content: bytes) -> bytes:
        added = box(b"uuid", bytes.fromhex(number) + content)
        return start + added + box(b"jp2c", codestream)

    def with_header(**boxes: bytes) -> bytes:
        parts = dict(iterate_boxes(plain))
        header = dict(iterate_boxes(parts[b"jp2h"])) | {
            name.ljust(4).encode(): content for name, content in boxes.items()
        }
        parts[b"jp2h"] = b"".join(box(kind, content) for kind, content in header.items())
        return b"".join(box(kind, content) for kind, content in parts.items())

    return {
        "EXIF": with_uuid("4a7067546966664578 69662d3e4a5032", exif().removeprefix(b"Exif\0\0")),
        "XMP": with_uuid("be7acfcb97a942e89c71999491e3afac", XMP),
        "IPTC": with_uuid("33c7a4d2b81d4723a0baf1a3e097ad38", IPTC),
        "profile": with_header(colr=b"\2\0\0" + ICC),
        "resolution": with_header(
            res=box(b"resc", struct.pack(">HHHHbb", 11811, 1, 11811, 1, 0, 0))
        ),
        "comment": encode("JPEG2000", comment=CAPTION),
        "transparency": encode("JPEG2000", TRANSPARENT),
        "more than 8 bits": imagecodecs.jpeg2k_encode(DEEP, level=0, codecformat="jp2"),
    }


def jpegxl_files() -> dict[str, bytes]:
    """Return a JPEG XL for each kind of metadata."""
    return {
        "EXIF": imagecodecs.jpegxl_encode_jpeg(encode("JPEG", exif=exif())),
        "XMP": encode("JXL", lossless=True, xmp=XMP),
        "profile": imagecodecs.jpegxl_encode_jpeg(encode("JPEG", icc_profile=ICC)),
        "transparency": encode("JXL", TRANSPARENT, lossless=True),
        "more than 8 bits": imagecodecs.jpegxl_encode(DEEP, lossless=True),
    }


def gif_files() -> dict[str, bytes]:
    """Return a GIF for each kind of metadata."""
    plain = encode("GIF")
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    blocks = b"".join(
        bytes((len(part),)) + part for part in (ICC[i : i + 255] for i in range(0, len(ICC), 255))
    )
    return {
        "XMP": plain[:-1] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + b";",
        "profile": plain[:-1] + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0;",
        "comment": encode("GIF", comment=CAPTION),
        "transparency": encode("GIF", TRANSPARENT),
        "other pictures": encode("GIF", save_all=True, append_images=[PICTURE.rotate(90)]),
    }


def bmp_files() -> dict[str, bytes]:
    """Return a BMP for each kind of metadata; profile and opacity need version 5."""

    def version_5(image: Image.Image, icc: bytes = b"") -> bytes:
        bits = 8 * len(image.getbands())
        pixels = image.tobytes("raw", {24: "BGR", 32: "BGRA"}[bits], 0, -1)
        space = b"DEBM" if icc else b"BGRs"
        header = struct.pack("<IiiHHIIiiII", 124, *image.size, 1, bits, 3 if bits == 32 else 0,
                             len(pixels), 2835, 2835, 0, 0)  # fmt: skip
        header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000 if bits == 32 else 0)
        header += space + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
        size = 14 + len(header) + len(pixels) + len(icc)
        return struct.pack("<2sIII", b"BM", size, 0, 138) + header + pixels + icc

    return {
        "profile": version_5(PICTURE, ICC),
        "resolution": encode("BMP", dpi=(300, 300)),
        "transparency": version_5(TRANSPARENT),
    }


def psd_files() -> dict[str, bytes]:
    """Return a PSD for each kind of metadata."""

    def psd(pixels: Any, *resources: bytes) -> bytes:
        height, width, channels = pixels.shape
        bits = 8 * pixels.itemsize
        joined = b"".join(resources)
        return b"".join(
            [
                struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, bits, 3),
                struct.pack(">II", 0, len(joined)) + joined,
                bytes(4 + 2),
                np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(f">u{bits // 8}").tobytes(),
            ]
        )

    rgb = np.asarray(PICTURE)
    layered = psd_tools.PSDImage.frompil(PICTURE)
    layered.create_pixel_layer(PICTURE.rotate(90), name="hidden", opacity=0)
    buffer = BytesIO()
    layered.save(buffer)
    dpi = struct.pack(">IHHIHH", 300 << 16, 1, 2, 300 << 16, 1, 2)
    names = resource(0x03EE, b"\4spot")
    return {
        "EXIF": psd(rgb, resource(0x0422, exif().removeprefix(b"Exif\0\0"))),
        "XMP": psd(rgb, resource(0x0424, XMP)),
        "IPTC": psd(rgb, resource(0x0404, IPTC)),
        "profile": psd(rgb, resource(0x040F, ICC)),
        "resolution": psd(rgb, resource(0x03ED, dpi)),
        "more than 8 bits": psd(DEEP),
        "extra channels": psd(np.dstack([rgb, GREY]), names),
        "layers": buffer.getvalue(),
    }


FORMATS: dict[str, tuple[str, Callable[[], dict[str, bytes]]]] = {
    "JPEG": (".jpg", jpeg_files),
    "PNG": (".png", png_files),
    "TIFF": (".tif", tiff_files),
    "WebP": (".webp", lambda: webp_files(lossless=True)),
    "AVIF": (
        ".avif",
        lambda: (
            webp_files("AVIF", quality=100)
            | {"more than 8 bits": imagecodecs.avif_encode(DEEP >> 6, bitspersample=10)}
        ),
    ),
    "HEIC": (".heic", heif_files),
    "JPEG 2000": (".jp2", jpeg2000_files),
    "JPEG XL": (".jxl", jpegxl_files),
    "PSD": (".psd", psd_files),
    "GIF": (".gif", gif_files),
    "BMP": (".bmp", bmp_files),
    "PPM": (
        ".ppm",
        lambda: {
            "comment": encode("PPM").replace(b"P6\n", b"P6\n# " + CAPTION.encode() + b"\n", 1),
            "more than 8 bits": b"P6 48 32 65535\n" + DEEP.astype(">u2").tobytes(),
        },
    ),
    "TGA": (
        ".tga",
        lambda: {
            "comment": encode("TGA", id_section=CAPTION.encode()),
            "transparency": encode("TGA", TRANSPARENT),
        },
    ),
    "SGI": (".sgi", lambda: {"more than 8 bits": encode("SGI", bpc=2)}),
    "QOI": (".qoi", lambda: {"transparency": encode("QOI", TRANSPARENT)}),
}
"""Suffix of each format, and files with one kind of metadata each."""


@dataclass(frozen=True)
class Kind:
    """A kind of metadata, or of pixels."""

    words: str
    """By which a warning names it."""
    is_kept: Callable[[Image.Image], bool]
    """Whether the result has it."""
    source: str = ""
    """The kind whose file has it as well."""


def read_xmp(image: Image.Image) -> bytes:
    """Return the XMP packet."""
    packet = image.info.get("xmp") or getattr(image, "tag_v2", {}).get(700) or b""
    return packet.encode() if isinstance(packet, str) else bytes(packet)


def has_profile(image: Image.Image) -> bool:
    """Tell whether an image has the profile, which Pillow does not read in a BMP."""
    if image.format == "BMP":
        return Path(image.filename).read_bytes().endswith(ICC)  # type: ignore[attr-defined]
    return image.info.get("icc_profile") == ICC


def has_iptc(image: Image.Image) -> bool:
    """Tell whether an image has the IPTC."""
    if image.format == "PNG":
        text = str(image.info.get("Raw profile type iptc", ""))
        return IPTC.hex() in "".join(text.split()[2:])
    return (IptcImagePlugin.getiptcinfo(image) or {}).get((2, 120)) == b"Caption"


def has_resolution(image: Image.Image) -> bool:
    """Tell whether an image has 300 dpi."""
    return bool(np.allclose(image.info.get("dpi", 0), 300, atol=1))


def has_comment(image: Image.Image) -> bool:
    """Tell whether an image has the caption as a comment or description."""
    found = (image.info.get("comment"), image.info.get("Comment"), image.getexif().get(270))
    return CAPTION in {text.decode() if isinstance(text, bytes) else text for text in found}


def has_transparency(image: Image.Image) -> bool:
    """Tell whether an image has the opacity, but for an encoder's errors."""
    if "A" not in image.mode:
        return False
    found, given = (np.asarray(i.getchannel("A"), int) for i in (image, TRANSPARENT))
    return bool(abs(found - given).mean() < 3)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image has 16 bits, and more than 8 of them are used."""
    pixels = imagecodecs.imread(image.filename)  # type: ignore[attr-defined]
    return bool(pixels.dtype == np.uint16 and len(np.unique(pixels)) > 48)


KINDS = {
    "EXIF": Kind("exif", lambda image: image.getexif().get(0x013B) == "me"),
    "maker note": Kind(
        "maker ?note|exif",
        lambda image: image.getexif().get_ifd(0x8769).get(0x927C) == MAKER_NOTE,
        source="EXIF",
    ),
    "XMP": Kind("xmp", lambda image: CAPTION.encode() in read_xmp(image)),
    "IPTC": Kind("iptc", has_iptc),
    "profile": Kind("profile", has_profile),
    "resolution": Kind("resolution", has_resolution),
    "comment": Kind("comment", has_comment),
    "transparency": Kind("transparen|alpha|opacity", has_transparency),
    "more than 8 bits": Kind("bits", is_deep),
    "extra channels": Kind("channel", lambda image: len(image.getbands()) > 4),
    "layers": Kind("layer", lambda image: 37724 in getattr(image, "tag_v2", {})),
    "other pictures": Kind(
        "picture|page|image|frame", lambda image: getattr(image, "n_frames", 1) == 2
    ),
}


def find_kept(folder: Path, model: Path) -> dict[tuple[str, str], str]:
    """Colorize a file for each format and kind in a folder.

    Returns:
        By format and kind: `kept`, `warned`, `refused` or `SILENT`; missing where the format does
        not have this kind.
    """
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    names = {}
    for format_, (suffix, write) in FORMATS.items():
        for kind, data in write().items():
            name = f"{format_}-{kind}{suffix}".replace(" ", "-")
            names[format_, kind] = photos / name
            (photos / name).write_bytes(data)
    arguments = ["colorize", str(photos), "-o", str(out), "--json", "--model", str(model)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code in (0, 1), done.output
    lines = {Path(line["input"]): line for line in map(json.loads, done.stdout.splitlines())}
    cells = {}
    for format_ in FORMATS:
        for name, kind in KINDS.items():
            path = names.get((format_, kind.source or name))
            if path is not None:
                cells[format_, name] = judge(kind, lines.get(path, {"status": "no line"}))
    return cells


def judge(kind: Kind, line: dict[str, Any]) -> str:
    """Return what became of a kind, by a line of the report and the result."""
    if line["status"] != "done":
        return "refused" if line["status"] == "failed" else "SILENT: " + line["status"]
    with Image.open(line["output"]) as image:
        image.load()
        if kind.is_kept(image):
            return "kept"
    warned = re.search(kind.words, "; ".join(line["warnings"]), re.IGNORECASE)
    return "warned" if warned else "SILENT"


def make_table(cells: dict[tuple[str, str], str]) -> str:
    """Return the table for the document."""
    lines = [f"| | {' | '.join(KINDS)} |", f"| --- |{' --- |' * len(KINDS)}"]
    for format_ in FORMATS:
        row = [cells.get((format_, kind), "-") for kind in KINDS]
        lines.append(f"| {format_} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def documented_table() -> str:
    """Return the table in the document."""
    return DOCUMENT.read_text().split(START)[1].split(END)[0]


def update_document() -> None:
    """Write the table into the document."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "tiny.onnx")
        write_model(model)
        table = make_table(find_kept(Path(folder), model))
    if "SILENT" in table:
        sys.exit(f"lost without a warning:\n{table}")
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(text.replace(START + documented_table(), START + table))


if __name__ == "__main__":
    update_document()
