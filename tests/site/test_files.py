"""Photos that the site's engine reads and writes, compared with what Python reads and writes."""

import base64
import dataclasses
import json
import re
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from photochrom.batch.planning import STEM_SUFFIX, output_name
from photochrom.color import SRGB, icc
from photochrom.colorize.rendering import format_mark
from photochrom.errors import PhotoError, TruncatedError
from photochrom.file_names import safe_name
from photochrom.imagefile import exif
from photochrom.imagefile.codecs.bmp import write_header
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.jpeg.segments import make_segment
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.png.chunks import SIGNATURE, make_chunk
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import encode_photo, result_warnings
from photochrom.version import __version__
from photochrom.web.archive import unique_name
from photochrom.web.sessions import sanitize_name
from support import boxes, fuzzing, kept, xmp
from support.browser import launch_browser, needs_browser
from support.icc_profiles import SPACES, gamma, grey
from support.metadata import IPTC, exif_block, resource

if TYPE_CHECKING:
    from playwright.sync_api import Page

SITE = Path(__file__).parents[2] / "site"
ESBUILD = SITE / "node_modules/.bin/esbuild"

pytestmark = pytest.mark.skipif(
    not ESBUILD.exists() or shutil.which("node") is None,
    reason="Node.js or site/node_modules is missing",
)
RNG = np.random.default_rng(27)
Y, X = np.mgrid[:99, :133]
PICTURE = Image.fromarray(
    np.clip(
        np.dstack([X * 1.9, Y * 2.5, (X * Y) % 251]) + RNG.normal(0, 9, (99, 133, 3)), 0, 255
    ).astype(np.uint8)
)
REGIONS = xmp.packet(
    '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="133" '
    'stDim:h="99" stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag><rdf:li '
    'rdf:parseType="Resource"><mwg-rs:Name>Ann</mwg-rs:Name><mwg-rs:Area stArea:x="0.25" '
    'stArea:y="0.375" stArea:w="0.125" stArea:h="0.0625" stArea:unit="normalized"/></rdf:li>'
    "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>",
    'tiff:ImageWidth="133" tiff:ImageLength="99" tiff:Orientation="1"',
)
PATH = struct.pack(">H24x", 6) + struct.pack(">H6i", 1, *(n << 20 for n in (4, 5, 6, 7, 8, 9)))
GUIDES = struct.pack(">IIII", 1, 576, 576, 2) + struct.pack(">IBIB", 32 * 40, 0, 32 * 50, 1)


@dataclasses.dataclass
class Engine:
    """The site's modules of files in Node.js, which answer one line for each request."""

    process: "subprocess.Popen[str]"
    folder: Path

    def __call__(
        self, data: bytes, name: str, look: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Convert a file; `pixels` and `file` of the answer have what was read and written."""
        path, output = self.folder / "input", self.folder / "output"
        path.write_bytes(data)
        request = {"path": str(path), "name": name, "look": look or {}, "output": str(output)}
        answer = self.ask(request | options)
        if "error" not in answer:
            rgba = np.frombuffer(Path(f"{output}.rgba").read_bytes(), np.uint8)
            answer["pixels"] = rgba.reshape(answer["height"], answer["width"], 4)
            answer["file"] = output.read_bytes()
        return answer

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request, and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def build_bundle(name: str, output: Path, *options: str) -> None:
    """Bundle a script of site/test/files."""
    command = [str(ESBUILD), f"test/files/{name}", "--bundle", f"--outfile={output}", *options]
    command += [f"--external:{module}" for module in ("fs", "path", "crypto", "node:*")]
    command += [f'--define:PHOTOCHROM_VERSION="{__version__}"', "--log-level=error"]
    subprocess.run(command, cwd=SITE, check=True, timeout=120)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("files")
    bundle = folder / "convert.mjs"
    banner = "import {createRequire as r} from 'module'; const require = r(import.meta.url);"
    banner += " const __dirname = '.', __filename = 'convert.mjs';"
    build_bundle("convert.ts", bundle, "--format=esm", f"--banner:js={banner}")
    command = ["node", str(bundle), str(SITE)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield Engine(process, folder)


def encode(image: Image.Image = PICTURE, format_: str = "JPEG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def with_segments(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def with_chunks(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


def rgba(photo: Photo) -> Any:
    """Return pixels as those of the engine, shape (H, W, 4)."""
    rgb = np.broadcast_to(photo.pixels, (*photo.pixels.shape[:2], 3))
    alpha = np.full(rgb.shape[:2], 255, np.uint8) if photo.alpha is None else photo.alpha
    return np.dstack([rgb, alpha])


def in_color(photo: Photo, mark: bool = True) -> Photo:
    """Return what stands for the colorized photo: its own pixels, as RGB, with the mark."""
    metadata, space = photo.metadata, photo.space
    if space.matrix is None:
        space, metadata = SRGB, metadata.with_profile(icc.srgb_profile())
    if mark:
        metadata = metadata.with_mark(format_mark("test"))
    pixels = np.repeat(photo.pixels, 3, axis=2) if photo.pixels.shape[2] == 1 else photo.pixels
    encoding = photo.encoding
    if encoding.format == "JPEG":  # the engine writes the table for luma and for chroma
        options = {"qtables": encoding.options["qtables"] * 2, "progressive": False}
        encoding = Encoding("JPEG", options)
    return Photo(pixels, photo.alpha, space, metadata, encoding)


def jpegs() -> dict[str, bytes]:
    """Return JPEGs whose result is the same file, byte for byte."""
    files = {f"kept {name}": data for name, data in kept.jpeg_files().items()}
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for quality in (15, 60, 92):
            name = f"{subsampling} quality {quality}"
            files[name] = encode(subsampling=subsampling, quality=quality)
    tables = [[1 + (7 * n) % 90 for n in range(64)], [99] * 64]
    files["own tables"] = encode(qtables=tables)
    files["zeros in a table"] = encode().replace(
        bytes([0xDB, 0, 67, 0, 8]), bytes([0xDB, 0, 67, 0, 0])
    )
    for size in ((1, 1), (1, 40), (40, 1), (9, 3)):
        files["{}x{}".format(*size)] = encode(PICTURE.resize(size))
        files["grey {}x{}".format(*size)] = encode(PICTURE.resize(size).convert("L"))
    noise = np.random.default_rng(1).choice([0, 255], (128, 128, 3)).astype(np.uint8)
    files["noise"] = encode(Image.fromarray(noise), quality=100, subsampling="4:4:4")
    files["grey"] = encode(PICTURE.convert("L"), quality=80)
    files["RGB"] = encode(keep_rgb=True, quality=90)
    for name, profile in SPACES.items():
        files[f"profile {name}"] = encode(icc_profile=profile)
    files["grey profile"] = encode(PICTURE.convert("L"), icc_profile=grey(gamma(1.8)))
    files["grey with RGB profile"] = encode(PICTURE.convert("L"), icc_profile=SPACES["adobe"])
    files["RGB with grey profile"] = encode(icc_profile=grey(gamma(1.8)))
    for orientation in range(1, 9):
        block = exif_block("<>"[orientation % 2], orientation)
        upright = PICTURE.resize((136, 96) if orientation % 2 else (133, 99))
        resources = resource(0x0404, IPTC) + resource(1036, b"thumbnail")
        files[f"orientation {orientation}"] = with_segments(
            encode(upright, exif=exif.PREFIX + block, xmp=REGIONS, dpi=(300, 200)),
            make_segment(0xED, b"Photoshop 3.0\0" + resources),
            make_segment(0xEC, b"Ducky\0\1\0\4\0\0\0d"),
        )
    files["XMP in UTF-16"] = encode(xmp=kept.XMP.decode()[46:].encode("utf-16"))
    files["damaged XMP"] = encode(xmp=b"<x:xmpmeta nothing else")
    files["long XMP"] = encode(xmp=kept.XMP.replace(b"Written", b"w" * 65000))
    files["damaged EXIF"] = encode(exif=exif.PREFIX + b"II*\0\xff\xff\xff\xff")
    files["wrong length"] = with_segments(encode(), b"\xff\xe7\x00\xff" + b"content")
    files["bytes behind"] = encode() + b"something else"
    return files


def pngs() -> dict[str, bytes]:
    """Return PNGs whose result has the same pixels and chunks."""
    files = {f"kept {name}": data for name, data in kept.png_files().items()}
    del files["kept more than 8 bits"], files["kept other pictures"]
    transparent = PICTURE.copy()
    transparent.putalpha(Image.fromarray((X + Y).astype(np.uint8)))
    files["RGB"] = encode(format_="PNG")
    files["RGBA"] = encode(transparent, "PNG")
    files["grey"] = encode(PICTURE.convert("L"), "PNG")
    files["grey with alpha"] = encode(transparent.convert("LA"), "PNG")
    files["palette"] = encode(PICTURE.quantize(200), "PNG")
    for bits in (1, 2, 4):
        files[f"palette of {bits} bits"] = encode(PICTURE.quantize(2**bits), "PNG", bits=bits)
    files["transparent index"] = encode(PICTURE.quantize(20), "PNG", transparency=3)
    files["transparent indices"] = encode(PICTURE.quantize(9), "PNG", transparency=bytes(range(9)))
    files["transparent grey"] = encode(PICTURE.convert("L"), "PNG", transparency=77)
    corner = PICTURE.getpixel((0, 0))
    files["transparent colour"] = encode(format_="PNG", transparency=corner)
    files["one bit"] = encode(PICTURE.convert("1"), "PNG")
    files["EXIF"] = encode(format_="PNG", exif=exif_block("<", 8), icc_profile=SPACES["adobe"])
    chunks = {
        b"sBIT": b"\5\6\5",
        b"bKGD": struct.pack(">3H", 1, 2, 3),
        b"gAMA": struct.pack(">I", 45455),
        b"sCAL": b"\x011.5\x002.5",
        b"tIME": bytes(7),
        b"zTXt": b"Author\0\0" + zlib.compress(b"me"),
        b"hIST": b"\0\1",
        b"prVt": b"about the pixels",
        b"prVa": b"safe to copy"[:5],
    }
    made = (make_chunk(name, content) for name, content in chunks.items())
    files["chunks"] = with_chunks(encode(format_="PNG"), *made)
    files["damaged chunk"] = with_chunks(
        encode(format_="PNG"), make_chunk(b"tEXt", b"Comment\0me")[:-1] + b"x"
    )
    return files


@pytest.mark.parametrize("name", jpegs())
def test_jpeg_is_written_as_by_python(name: str, engine: Engine):
    data = jpegs()[name]
    photo = open_photo(BytesIO(data))
    answer = engine(data, "photo.jpg")
    assert "error" not in answer
    np.testing.assert_array_equal(answer["pixels"], rgba(photo))
    colored = in_color(photo)
    assert answer["warnings"] == result_warnings(photo, Path("photo.jpg"))
    assert answer["file"] == encode_photo(colored, ".jpg")


def test_damaged_profile_is_dropped(engine: Engine):
    answer = engine(encode(icc_profile=SPACES["adobe"][:200]), "photo.jpg")
    assert [text.split(":")[0] for text in answer["warnings"]] == ["the colour profile is dropped"]
    assert open_photo(BytesIO(answer["file"])).metadata.icc is None


@pytest.mark.parametrize("name", pngs())
def test_png_is_written_as_by_python(name: str, engine: Engine):
    data = pngs()[name]
    photo = open_photo(BytesIO(data))
    answer = engine(data, "photo.png")
    assert "error" not in answer
    np.testing.assert_array_equal(answer["pixels"], rgba(photo))
    colored = in_color(photo)
    assert answer["warnings"] == result_warnings(photo, Path("photo.png"))
    again = open_photo(BytesIO(answer["file"]))
    np.testing.assert_array_equal(rgba(again), rgba(colored))
    expected = open_photo(BytesIO(encode_photo(colored, ".png")))
    assert again.metadata == expected.metadata


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "4:2:0", "turned", "PNG"])
def test_file_that_is_cut_off_is_read_as_by_python(kind: str, share: float, engine: Engine):
    data = {
        "baseline": encode(subsampling="4:4:4"),
        "progressive": encode(progressive=True),
        "grey": encode(PICTURE.convert("L")),
        "4:2:0": encode(subsampling="4:2:0"),
        "turned": encode(exif=exif.PREFIX + exif_block("<", 6)),
        "PNG": encode(format_="PNG"),
    }[kind]
    name = "photo.png" if kind == "PNG" else "photo.jpg"
    data = data[: round(len(data) * share)]
    answer = engine(data, name)
    partly = engine(data, name, {"truncated": True})
    try:
        open_photo(BytesIO(data))
    except TruncatedError as error:
        part = (
            "all but fine detail"
            if error.share == 1
            else f"only the first {100 * error.share:.0f} %"
        )
        assert answer["error"] == f"{name} is cut off: {part} of it can be read"
        assert answer["code"] == "truncated"
        photo = open_photo(BytesIO(data), truncated=True)
        # Pillow's version of libjpeg-turbo smooths coarse scans otherwise.
        tolerance = 8 if kind == "progressive" else 0
        np.testing.assert_allclose(partly["pixels"].astype(int), rgba(photo), atol=tolerance)
        assert partly["warnings"] == list(photo.warnings)
    except PhotoError:
        assert answer["code"] == partly["code"] == "photo"


@pytest.mark.parametrize("kind", ["JPEG", "progressive JPEG", "PNG"])
def test_file_without_its_last_bytes_is_read_as_by_python(kind: str, engine: Engine):
    data = {
        "JPEG": encode()[:-2],
        "progressive JPEG": encode(progressive=True)[:-2],
        "PNG": encode(format_="PNG")[:-12],
    }[kind]
    for file in (data, data + bytes(5000)):
        answer = engine(file, "photo")
        try:
            photo = open_photo(BytesIO(file))
        except TruncatedError:
            assert answer["code"] == "truncated"
        else:
            np.testing.assert_array_equal(answer["pixels"], rgba(photo))
            assert answer["warnings"] == list(photo.warnings)


LOOKS: list[dict[str, Any]] = [
    *({"turn": turn} for turn in (90, 180, 270)),
    {"crop": [16, 8, 80, 64]},
    {"crop": [15, 9, 80, 64]},
    {"turn": 90, "crop": [8, 30, 70, 60]},
    {"straighten": -3.5},
    {"turn": 270, "straighten": 2, "crop": [20, 30, 50, 40]},
]


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("orientation", [1, 6])
def test_geometry_changes_metadata_and_tables_as_in_python(
    look: dict[str, Any], orientation: int, engine: Engine
):
    resources = resource(0x0404, IPTC) + resource(1032, GUIDES) + resource(2000, PATH)
    data = with_segments(
        encode(exif=exif.PREFIX + exif_block("<", orientation), xmp=REGIONS, dpi=(300, 200)),
        make_segment(0xED, b"Photoshop 3.0\0" + resources),
    )
    answer = engine(data, "photo.jpg", look)
    geometry = {key: tuple(v) if key == "crop" else v for key, v in look.items()}
    photo = in_color(Geometry(**geometry).apply(open_photo(BytesIO(data))))
    written = open_photo(BytesIO(answer["file"]))
    expected = open_photo(BytesIO(encode_photo(photo, ".jpg")))
    assert written.size == expected.size
    assert written.encoding == expected.encoding
    assert without_xmp(written) == without_xmp(expected)
    assert_equal_packets(written.metadata.xmp, expected.metadata.xmp)


def without_xmp(photo: Photo) -> Metadata:
    return dataclasses.replace(photo.metadata, xmp=None)


def assert_equal_packets(packet: bytes | None, expected: bytes | None) -> None:
    """Compare XMP; numbers are rounded after the sixth decimal."""
    number = re.compile(rb"(?<=\")[-+]?[\d.]+(?=\")")
    assert packet is not None
    assert expected is not None
    assert number.sub(b"", packet) == number.sub(b"", expected)
    numbers, wanted = (list(map(float, number.findall(data))) for data in (packet, expected))
    np.testing.assert_allclose(numbers, wanted, atol=1e-6)


@pytest.mark.parametrize("format_", ["jpeg", None])
def test_metadata_go_into_a_file_of_the_other_format(format_: str | None, engine: Engine):
    sources = {**kept.jpeg_files()} if format_ is None else kept.png_files()
    for kind, data in sources.items():
        if kind in ("more than 8 bits", "transparency") or (kind, format_) == (
            "other pictures",
            "jpeg",
        ):
            continue
        name = "photo" if format_ is None else "photo.png"
        output = output_name(name, STEM_SUFFIX, format=format_)
        photo = open_photo(BytesIO(data))
        answer = engine(data, name, {"format": format_})
        assert answer["name"] == output
        assert answer["warnings"] == result_warnings(photo, Path(output))
        expected = encode_photo(in_color(photo), Path(output).suffix)
        read, wanted = (open_photo(BytesIO(file)) for file in (answer["file"], expected))
        assert read.metadata == wanted.metadata
        np.testing.assert_array_equal(rgba(read), rgba(wanted))


def test_transparency_becomes_white_in_a_jpeg(engine: Engine):
    data = kept.png_files()["transparency"]
    answer = engine(data, "photo.png", {"format": "jpeg"})
    assert answer["warnings"] == ["transparency becomes white: a JPEG cannot hold it"]
    photo = open_photo(BytesIO(answer["file"]))
    transparent = rgba(open_photo(BytesIO(data)))[..., 3] == 0
    assert photo.pixels[transparent].min() > 250


def test_interlaced_png(engine: Engine):
    pixels = np.asarray(PICTURE)
    lines = b""
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        lines += b"".join(b"\0" + row.tobytes() for row in pixels[top::down, left::across])
    header = struct.pack(">IIBBBBB", PICTURE.width, PICTURE.height, 8, 2, 0, 0, 1)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    data = SIGNATURE + b"".join(make_chunk(*part) for part in parts)
    np.testing.assert_array_equal(engine(data, "photo.png")["pixels"][..., :3], pixels)


@dataclasses.dataclass
class Reader:
    """The site's modules of files in a page of Chromium."""

    page: "Page"
    bundle: Path

    def __call__(self, data: bytes, name: str = "photo", max_pixels: int = 10**8) -> dict[str, Any]:
        """Read a file; `pixels` of the answer has shape (H, W, 4)."""
        arguments = [base64.b64encode(data).decode(), name, max_pixels]
        answer: dict[str, Any] = self.page.evaluate("([...a]) => read(...a)", arguments)
        if "error" not in answer:
            rgba = np.frombuffer(base64.b64decode(answer["pixels"]), np.uint8)
            answer["pixels"] = rgba.reshape(answer["height"], answer["width"], 4)
        return answer


@pytest.fixture(scope="module")
def read_in_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    bundle = tmp_path_factory.mktemp("page") / "page.js"
    build_bundle("page.ts", bundle, "--format=iife")
    with launch_browser() as browser:
        page = browser.new_page()
        page.add_script_tag(path=bundle)
        yield Reader(page, bundle)


ALPHA = Image.merge("RGBA", [*PICTURE.split(), Image.fromarray((X > 60).astype(np.uint8) * 255)])
IN_BROWSER = {
    "WebP": encode(format_="WEBP", lossless=True),
    "WebP with alpha": encode(ALPHA, "WEBP", lossless=True, exact=True),
    "turned WebP": encode(
        format_="WEBP", lossless=True, exif=exif.PREFIX + exif_block("<", 6), xmp=kept.XMP
    ),
    "WebP with profile": encode(format_="WEBP", lossless=True, icc_profile=SPACES["adobe"]),
    "BMP": encode(format_="BMP"),
    "BMP with profile": write_header(encode(format_="BMP"), SPACES["adobe"]),
    "GIF": encode(PICTURE.quantize(64), "GIF"),
}


@needs_browser
@pytest.mark.parametrize("kind", IN_BROWSER)
def test_pixels_of_a_browser_are_those_of_python(kind: str, read_in_browser: Reader):
    data = IN_BROWSER[kind]
    photo = open_photo(BytesIO(data))
    answer = read_in_browser(data)
    assert "error" not in answer
    visible = rgba(photo)[..., 3] > 0
    np.testing.assert_array_equal(answer["pixels"][visible], rgba(photo)[visible])
    assert answer["icc"] == (photo.metadata.icc and base64.b64encode(photo.metadata.icc).decode())
    assert answer["warnings"] == list(photo.warnings)
    assert answer["hasAlpha"] == (not visible.all())


@needs_browser
def test_avif_of_a_browser_is_converted_to_srgb(read_in_browser: Reader):
    smooth = PICTURE.resize((16, 12)).resize((133, 99))
    answer = read_in_browser(encode(smooth, "AVIF", quality=95, subsampling="4:4:4"))
    difference = answer["pixels"][..., :3].astype(int) - np.asarray(smooth)
    assert np.abs(difference).mean() < 2
    assert "8 bits of sRGB" in answer["warnings"][0]


@needs_browser
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encode(format_="GIF", save_all=True, append_images=[PICTURE.rotate(9)]), "an animation"),
        (encode(format_="WEBP", save_all=True, append_images=[ALPHA]), "an animation"),
        (encode(format_="WEBP")[:300], "WebP that is damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(500), "this browser cannot open"),
        (boxes.heif(encode(format_="AVIF"), boxes.nclx(9, 16, 9)), "an HDR display"),
    ],
    ids=["GIF", "WebP", "damaged", "HEIC", "HDR"],
)
def test_photos_that_a_browser_refuses(data: bytes, message: str, read_in_browser: Reader):
    assert message in read_in_browser(data)["error"]


@needs_browser
@pytest.mark.parametrize("kind", ["WebP", "WebP with alpha", "turned WebP", "BMP", "GIF"])
def test_size_is_read_from_the_header(kind: str, read_in_browser: Reader):
    answer = read_in_browser(IN_BROWSER[kind][:64], max_pixels=10_000)
    assert "has 0.013167 megapixels; this browser takes up to 0.01" in answer["error"]
    avif = encode(format_="AVIF")[:500]
    assert "0.013167 megapixels" in read_in_browser(avif, max_pixels=10_000)["error"]


@needs_browser
def test_browser_that_adds_noise_is_refused(read_in_browser: Reader):
    change = """() => {
        const original = OffscreenCanvasRenderingContext2D.prototype.getImageData;
        OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...area) {
            const image = original.apply(this, area);
            image.data[40] ^= 1;
            return image;
        };
        return () => {};
    }"""
    browser = read_in_browser.page.context.browser
    assert browser is not None
    page = browser.new_page()
    page.add_script_tag(path=read_in_browser.bundle)
    page.evaluate(change)
    assert "changes the pixels" in Reader(page, read_in_browser.bundle)(IN_BROWSER["WebP"])["error"]
    page.close()


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (encode(PICTURE.convert("CMYK")), "a.jpg", "a.jpg is a JPEG of inks (CMYK), which"),
        (kept.png_files()["more than 8 bits"], "a.png", "a.png has 16 bits for each channel"),
        (kept.png_files()["other pictures"], "a.png", "a.png is an animation"),
        (encode(format_="TIFF"), "a.tif", "a.tif is a TIFF, which a browser cannot open as it is"),
        (encode(format_="PPM"), "a.ppm", "a.ppm is not a photo in a format that a browser opens"),
        (b"", "a.jpg", "a.jpg is empty: 0 bytes"),
        (encode()[:120], "a.jpg", "a.jpg is a JPEG that is damaged"),
        (encode(format_="PNG")[:20], "a.png", "a.png is a PNG whose header is damaged"),
        (encode(format_="PNG")[:90], "a.png", "a.png is damaged or cut off"),
    ],
    ids=["CMYK", "16 bits", "APNG", "TIFF", "PPM", "empty", "no JPEG", "no PNG", "no rows"],
)
def test_photos_that_are_refused(data: bytes, name: str, message: str, engine: Engine):
    answer = engine(data, name)
    assert answer["error"].startswith(message)
    assert answer["code"] == "photo"


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_limit_of_pixels(name: str, engine: Engine):
    data = encode(format_="PNG" if name.endswith("png") else "JPEG")
    answer = engine(data, name, maxPixels=10_000)
    assert answer["code"] == "too_large"
    sentence = "this photo has 0.013167 megapixels; this browser takes up to 0.01"
    assert answer["error"] == sentence


NAMES = ["a.jpg", "a.JPEG", "a.png", "a", "a.webp", "a.mpo", "a.b.jfif", ".jpg", "a.", "é ü.jpe"]


@pytest.mark.parametrize("format_", [None, "jpeg"])
def test_names_are_those_of_python(format_: str | None, engine: Engine):
    for name in NAMES:
        as_png = name.endswith(".webp")  # which a browser does not write
        expected = output_name(name, STEM_SUFFIX, as_png=as_png, format=format_)
        assert engine(encode(), name, {"format": format_})["name"] == expected


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([(b"gAMA", struct.pack(">I", 100_000))], "those of its chunk gAMA"),
        ([(b"cHRM", struct.pack(">8I", *range(30_000, 70_000, 5000)))], "those of its chunk cHRM"),
        ([(b"cICP", bytes([9, 16, 0, 1]))], "those of its chunk cICP"),
    ],
    ids=["gAMA", "cHRM", "cICP"],
)
def test_other_colours_of_a_png_are_refused(
    chunks: list[tuple[bytes, bytes]], message: str, engine: Engine
):
    data = with_chunks(encode(format_="PNG"), *(make_chunk(*chunk) for chunk in chunks))
    assert message in engine(data, "photo.png")["error"]


def test_zip_has_safe_and_unique_names(engine: Engine, tmp_path: Path):
    names = ["é.jpg", "É.jpg", "a/b?.png", "nul.txt", "no suffix", "no suffix", "x. ", "é.jpg"]
    path = tmp_path / "results.zip"
    files = [[name, f"content of {number} {name}"] for number, name in enumerate(names)]
    answer = engine.ask({"files": files, "output": str(path)})
    used: set[str] = set()
    expected = {unique_name(safe_name(name), used): content for name, content in files}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == expected
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert answer["sanitized"] == [sanitize_name(name) for name in names]


@pytest.mark.parametrize(
    "name",
    [
        *("C:\\photos\\a.jpg", "../../a.jpg", "a\nb\u200e.jpg", "  .hidden ", "..", "\u00a0x.jpg"),
        *("n" * 200 + ".jpeg", "n" * 118 + ".longsuffix", "\U0001f4f7" * 130 + ".png"),
    ],
)
def test_names_of_clients_are_those_of_the_server(name: str, engine: Engine, tmp_path: Path):
    answer = engine.ask({"files": [[name, ""]], "output": str(tmp_path / "results.zip")})
    assert answer["sanitized"] == [sanitize_name(name)]


def test_long_xmp_is_read_and_written_again(engine: Engine):
    data = engine(jpegs()["long XMP"], "photo.jpg")["file"]
    assert b"http://ns.adobe.com/xmp/extension/" in data
    expected = encode_photo(in_color(open_photo(BytesIO(data))), ".jpg")
    assert engine(data, "photo.jpg")["file"] == expected


def test_png_with_one_frame_is_no_animation(engine: Engine):
    frames = make_chunk(b"acTL", struct.pack(">II", 1, 0))
    answer = engine(with_chunks(encode(format_="PNG"), frames), "photo.png")
    np.testing.assert_array_equal(answer["pixels"][..., :3], np.asarray(PICTURE))


def test_damaged_files_are_read_or_refused_with_a_sentence(engine: Engine):
    valid = fuzzing.seeds()
    names = [name for name in sorted(valid) if name.startswith(("jpeg", "png"))]
    for number in range(90):
        rng = np.random.default_rng(number)
        kind = names[number % len(names)]
        data = fuzzing.mutate(valid[kind], valid[names[-1]], rng)
        is_png = kind.startswith("png")
        name = "photo.png" if is_png else "photo.jpg"
        data = fuzzing.fix_checksums(data) if is_png else data
        answer = engine(data, name, {"truncated": True})
        assert "error" not in answer or answer["code"] in ("photo", "too_large")
