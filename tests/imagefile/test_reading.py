import hashlib
import struct
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.reading import open_pages, open_photo, read_sizes
from photochrom.imagefile.tiff import pages as tiff_pages
from photochrom.imagefile.tiff.structure import TiffError
from photochrom.imagefile.writing import save_photo


def chunk(name: bytes, data: bytes, *, valid: bool = True) -> bytes:
    """Return a PNG chunk with a valid or invalid checksum."""
    check = struct.pack(">I", zlib.crc32(name + data) ^ (not valid))
    return struct.pack(">I", len(data)) + name + data + check


def png(width: int, height: int, bits: int, kind: int, raw: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    )


def tiff(width: int, height: int, bits: tuple[int, ...], raw: bytes, *, planar: int = 1) -> bytes:
    """Return an uncompressed TIFF of one strip, or one for each plane."""
    samples = len(bits)
    strips = samples if planar == 2 else 1
    start = 8 + len(raw)
    ends = start + 2 + 12 * 9 + 4  # offset of values longer than 4 bytes
    many = b"".join(struct.pack("<H", bit) for bit in bits)
    places = [8 + len(raw) // strips * i for i in range(strips)]
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, samples, bits[0] if samples == 1 else ends),
        (259, 3, 1, 1),
        (262, 3, 1, 1 if samples == 1 else 2),
        (273, 4, strips, places[0] if strips == 1 else ends + 6),
        (277, 3, 1, samples),
        (279, 4, strips, len(raw) if strips == 1 else ends + 18),
        (284, 3, 1, planar),
    ]
    directory = struct.pack("<H", 9) + b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    far = many + b"".join(struct.pack("<L", place) for place in places)
    far += struct.pack("<L", len(raw) // strips) * strips
    return b"II*\0" + struct.pack("<L", start) + raw + directory + bytes(4) + far


def jpeg(picture: Image.Image, exif: bytes = b"") -> bytes:
    """Return a JPEG with an EXIF block."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    if not exif:
        return data
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return data[:2] + block + data[2:]


def refuse_page(_: object) -> bytes:
    raise TiffError("it is compressed as old-style JPEG")


def test_open_file_is_read(photo_file: Path):
    assert open_photo(BytesIO(photo_file.read_bytes())).size == (64, 48)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "unextracted TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(
    format_: str, orientation: int, monkeypatch: pytest.MonkeyPatch
):
    if format_ == "unextracted TIFF":  # of which no page can be extracted
        format_ = "TIFF"
        monkeypatch.setattr(tiff_pages, "extract_page", refuse_page)
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)
    upright[8:, :8] = (0, 0, 255)
    undo = {  # pixels as the camera stores them
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    Image.fromarray(np.ascontiguousarray(undo(upright))).save(
        buffer, format_, exif=exif, **options.get(format_, {})
    )
    buffer.seek(0)
    photo = open_photo(buffer)
    assert photo.size == (32, 16)
    assert np.abs(photo.pixels.astype(int) - upright).max() < 8
    assert photo.metadata.orientation in (None, 1)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0rubbish",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02a\0\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xf0\0\0\0\0",
    ],
)
def test_corrupt_exif_is_ignored(exif: bytes, picture: Image.Image):
    expected = open_photo(BytesIO(jpeg(picture))).pixels
    np.testing.assert_array_equal(open_photo(BytesIO(jpeg(picture, exif))).pixels, expected)


def test_randomly_damaged_exif_is_ignored(picture: Image.Image):
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "maker", 0x011A: 72.0})
    good = exif.tobytes()
    for _ in range(100):
        bad = bytearray(good)
        for place in random.integers(6, len(bad), 4):
            bad[place] = random.integers(256)
        assert sorted(open_photo(BytesIO(jpeg(picture, bytes(bad)))).size) == [48, 64]


def test_palette_image(tmp_path: Path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").pixels[0, 0].tolist() == [10, 200, 30]


def test_cmyk_jpeg(tmp_path: Path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = open_photo(tmp_path / "a.jpg").pixels
    assert pixels[8, 8].tolist() == pytest.approx([200, 40, 40], abs=4)


ORIENTATION_3 = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"eXIf", ORIENTATION_3, valid=False),
        chunk(b"tEXt", b"Comment\0a", valid=False),
        chunk(b"gAMA", b"\0"),
        chunk(b"pHYs", b"\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"iCCP", b""),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
    ],
)
def test_damaged_metadata_in_a_png_are_ignored(broken: bytes, picture: Image.Image):
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    data = buffer.getvalue()
    after_header = 33
    both = data[:after_header] + broken + data[after_header:]
    np.testing.assert_array_equal(open_photo(BytesIO(both)).pixels, picture)
    turned = data[:after_header] + chunk(b"eXIf", ORIENTATION_3) + broken + data[after_header:]
    if not broken.startswith(b"\0\0\0\x1aeXIf"):
        np.testing.assert_array_equal(
            open_photo(BytesIO(turned)).pixels, picture.transpose(Image.Transpose.ROTATE_180)
        )
    with pytest.raises(PhotoError, match="is cut off"):
        open_photo(BytesIO(both[:-200]))


@pytest.mark.parametrize("broken", [b"\xff\xe0\0\x07JFIF\0", b"\xff\xee\0\x08Adobe\0"])
def test_damaged_metadata_in_a_jpeg_are_ignored(broken: bytes, picture: Image.Image):
    data = jpeg(picture, b"Exif\0\0" + ORIENTATION_3)
    expected = open_photo(BytesIO(data)).pixels
    pixels = open_photo(BytesIO(data[:2] + broken + data[2:])).pixels
    np.testing.assert_array_equal(pixels, expected)


def test_jpeg_damaged_after_its_exif_is_reported_as_damaged(picture: Image.Image):
    data = jpeg(picture, b"Exif\0\0" + ORIENTATION_3)
    end_of_exif = 4 + int.from_bytes(data[4:6])
    with pytest.raises(PhotoError, match=r"a JPEG that is damaged|damaged or cut off"):
        open_photo(BytesIO(data[:end_of_exif] + bytes(200)))


def test_12_bit_grey_tiff():
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    pairs = values.reshape(-1, 2)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] << 4 | pairs[:, 1] >> 8) & 255, pairs[:, 1] & 255], axis=1
    )
    photo = open_photo(BytesIO(tiff(64, 64, (12,), packed.astype(np.uint8).tobytes())))
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_allclose(photo.pixels[..., 0], values * (65535 / 4095), atol=1)


def test_memory_error_is_not_reported_as_damage(photo_file: Path, monkeypatch: pytest.MonkeyPatch):
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", greedy)
    with pytest.raises(MemoryError):
        open_photo(photo_file)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [(".png", "<u2"), (".tif", "<u2"), (".tif", ">u2"), (".tif", "<i4")],  # I;16, I;16B, I
)
def test_16_bit_grey_is_not_clipped(suffix: str, dtype: str, tmp_path: Path):
    values = np.linspace(0, 65535, 30 * 40).reshape(30, 40).astype(dtype)
    if dtype == ">u2":
        image = Image.frombytes("I;16B", (40, 30), values.tobytes())
    else:
        image = Image.fromarray(values)
    image.save(tmp_path / f"a{suffix}")
    photo = open_photo(tmp_path / f"a{suffix}")
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels[..., 0], values)
    np.testing.assert_array_equal(photo_from_image(image).pixels[..., 0], values)


def test_16_bit_grey_is_made_upright():
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(open_photo(buffer).pixels[..., 0], np.rot90(values, -1))


def test_16_bit_grey_with_white_as_zero(tmp_path: Path):
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    pixels = open_photo(tmp_path / "a.tif").pixels
    np.testing.assert_array_equal(pixels[..., 0], 65535 - values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"This is no photo, whatever its name says.\n" * 20, "not a photo in a format"),
        (b"%PDF-1.7\n" * 20, "a PDF, not a photo"),
        (b"\0\0\0\x18ftypisom" + bytes(90), "ISO media of the brand b'isom'"),
        (png(0, 0, 8, 2, b""), "a PNG that is damaged"),
        (
            png(60000, 60000, 8, 0, b""),
            "has 3600 megapixels; the limit is 200; allow more with --max-pixels 3600000000",
        ),
        (b"BM" + b"\0" * 60, "damaged"),
        (b"RIFF\0\0\0\0AVI " + bytes(60), "not a photo"),
        (b"GIF89a" + b"\0" * 60, "a GIF that is damaged"),
        (b"\0\0\0\x18ftypheic" + bytes(60), "a HEIC that is damaged"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "raw photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a photo"),
    ],
)
def test_invalid_files_are_refused(data: bytes, message: str, tmp_path: Path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=message) as caught:
        open_photo(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_heic_is_read_with_metadata(tmp_path: Path, picture: Image.Image):
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[271] = "a telephone"
    picture.save(tmp_path / "a.heic", quality=95, exif=exif.tobytes())
    photo = open_photo(tmp_path / "a.heic")
    assert np.abs(photo.pixels.astype(int) - np.asarray(picture)).mean() < 6
    assert photo.metadata.exif is not None
    assert b"a telephone" in photo.metadata.exif


def test_heic_without_pillow_heif_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    monkeypatch.setattr("photochrom.imagefile.codecs.heif.find_spec", lambda name: None)
    with pytest.raises(PhotoError, match="is a HEIC, which needs the package pillow-heif"):
        open_photo(tmp_path / "a.heic")


@pytest.mark.parametrize("suffix", sorted(set(FORMATS) - {".jpeg", ".tiff"}))
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_truncated_files_are_refused(
    suffix: str, share: float, tmp_path: Path, picture: Image.Image
):
    path = tmp_path / f"photo{suffix}"
    save_photo(picture, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match=r"damaged|is cut off"):
        open_photo(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="No such file"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match=r"directory|Permission denied"):  # the latter by Windows
        open_photo(tmp_path)


def test_reading_does_not_change_the_file(photo_file: Path):
    before = hashlib.sha256(photo_file.read_bytes()).digest(), photo_file.stat().st_mtime_ns
    open_photo(photo_file)
    assert (
        hashlib.sha256(photo_file.read_bytes()).digest(),
        photo_file.stat().st_mtime_ns,
    ) == before


@pytest.mark.parametrize(
    ("mode", "transparent"), [("1", 255), ("L", 7), ("P", 7), ("RGB", (1, 2, 3))]
)
def test_transparent_color_becomes_alpha(
    mode: str, transparent: int | tuple[int, ...], tmp_path: Path
):
    pixels = Image.new(mode, (20, 20), 0)
    if mode == "P":
        pixels.putpalette(list(range(30)))
    pixels.paste(1 if mode == "1" else transparent, (0, 0, 10, 20))
    pixels.save(tmp_path / "a.png", transparency=transparent)
    photo = open_photo(tmp_path / "a.png")
    assert photo.pixels.shape[2] == (1 if mode in ("1", "L") else 3)
    assert photo.alpha is not None
    assert (photo.alpha[:, :10] == 0).all()
    assert (photo.alpha[:, 10:] == 255).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_16_bit_color_is_kept(suffix: str, tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 65536, (30, 40, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values[..., ::-1])
    np.testing.assert_array_equal(open_photo(tmp_path / f"a{suffix}").pixels, values)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_color_and_alpha_are_kept(suffix: str, tmp_path: Path):
    values = np.random.default_rng(0).integers(0, 65536, (30, 40, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values[..., [2, 1, 0, 3]])
    photo = open_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(photo.pixels, values[..., :3])
    np.testing.assert_array_equal(photo.alpha, values[..., 3])


def test_16_bit_grey_and_alpha_in_a_png():
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 2), dtype=np.uint16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    photo = open_photo(BytesIO(png(7, 5, 16, 4, raw)))
    np.testing.assert_array_equal(photo.pixels[..., 0], values[..., 0])
    np.testing.assert_array_equal(photo.alpha, values[..., 1])


def test_all_pages_of_a_tiff_are_read(tmp_path: Path):
    pages = [Image.new("L", (20 + n, 16), 50 * n) for n in range(4)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    photos = list(open_pages(tmp_path / "a.tif"))
    assert [photo.size for photo in photos] == [(20, 16), (21, 16), (22, 16), (23, 16)]
    assert [int(photo.pixels[0, 0, 0]) for photo in photos] == [0, 50, 100, 150]


def test_error_of_a_damaged_page_has_its_number(tmp_path: Path):
    pages = [Image.effect_noise((60, 60), 50) for _ in range(2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="raw")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        (offset,) = image.tag_v2[273]
    place = data.rfind(struct.pack("<L", offset))
    data[place : place + 4] = struct.pack("<L", len(data) - 9)
    pages = open_pages(BytesIO(data))
    assert next(pages).size == (60, 60)
    with pytest.raises(PhotoError, match="page 2 of"):
        next(pages)


@pytest.mark.parametrize("format_", ["GIF", "PNG", "WEBP"])
def test_animations_are_refused(format_: str, tmp_path: Path):
    frames = [Image.linear_gradient("L").rotate(90 * n).convert("RGB") for n in range(3)]
    frames[0].save(tmp_path / "a", format_, save_all=True, append_images=frames[1:])
    with pytest.raises(PhotoError, match="animation"):
        open_photo(tmp_path / "a")


def test_read_only_formats(tmp_path: Path, picture: Image.Image):
    for suffix in (".gif", ".jp2", ".tga", ".ppm", ".pcx", ".sgi", ".qoi"):
        picture.save(tmp_path / f"a{suffix}")
        assert open_photo(tmp_path / f"a{suffix}").size == picture.size


def test_pixel_limit(photo_file: Path):
    assert open_photo(photo_file, max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(
        PhotoError, match=r"the limit is 0\.003071; allow more with --max-pixels 3072"
    ):
        open_photo(photo_file, max_pixels=64 * 48 - 1)


def test_pillow_limit_is_ignored(photo_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert open_photo(photo_file).size == (64, 48)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_file_that_changes_is_refused(photo_file: Path):
    with photo_file.open("rb") as stream:
        real = stream.read

        class Growing:
            """A stream whose file grows with every read."""

            name = str(photo_file)

            def __getattr__(self, name: str) -> object:
                return getattr(stream, name)

            def read(self, size: int = -1) -> bytes:
                content = real(size)
                with photo_file.open("ab") as more:
                    more.write(b"more")
                return content

        with pytest.raises(PhotoError, match="changed while it was read"):
            open_photo(Growing())


def test_wrong_suffix_is_ignored(tmp_path: Path, picture: Image.Image):
    picture.save(tmp_path / "a.jpg", "PNG")
    photo = open_photo(tmp_path / "a.jpg")
    assert photo.encoding.format == "PNG"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".ppm", ".gif"])
def test_sides_are_read_without_decoding(
    suffix: str, tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise AssertionError

    path = tmp_path / f"a{suffix}"
    picture.save(path)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    monkeypatch.setattr("cv2.imdecode", refuse)
    assert read_sizes(path) == [(64, 48)]
    with pytest.raises(PhotoError, match=r"has 0\.003072 megapixels; the limit is 0\.003071"):
        read_sizes(path, max_pixels=3071)


def test_sides_of_what_is_refused_are_refused_with_the_same_reason(tmp_path: Path):
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "text.jpg").write_text("text " * 9)
    (tmp_path / "empty.png").touch()
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 8, 9, 9, 8, 7)  # multichannel
    (tmp_path / "inks.psd").write_bytes(header + bytes(900))
    for path in (*tmp_path.iterdir(), tmp_path / "missing.tif"):
        with pytest.raises(PhotoError) as expected:
            open_photo(path)
        with pytest.raises(PhotoError) as found:
            read_sizes(path)
        assert str(found.value) == str(expected.value)


def test_sides_of_all_pages_are_read(tmp_path: Path):
    pages = [Image.new("L", size) for size in ((8, 6), (4, 5))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert read_sizes(tmp_path / "a.tif") == [(8, 6), (4, 5)]


def test_sides_of_reduced_copies_are_left_out(tmp_path: Path):
    pages = [Image.new("L", size) for size in ((8, 6), (4, 3), (4, 5))]
    pages[1].encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert len(list(open_pages(tmp_path / "a.tif"))) == 2
    assert read_sizes(tmp_path / "a.tif") == [(8, 6), (4, 5)]


@pytest.mark.parametrize(("kind", "order"), [(1, [3, 2, 1]), (3, [1, 2, 3])])
def test_unused_byte_of_a_sun_raster_is_first(tmp_path: Path, kind: int, order: list[int]):
    pixels = bytes((0, 10, 20, 30)) * 4
    path = tmp_path / "a.ras"
    path.write_bytes(struct.pack(">8I", 0x59A66A95, 4, 1, 32, 16, kind, 0, 0) + pixels)
    assert open_photo(path).pixels.tolist() == [[[10 * number for number in order]] * 4]


@pytest.mark.parametrize("format_", ["GIF", "TIFF", "WEBP", "BMP", "PPM"])
@pytest.mark.parametrize(
    ("end", "program"),
    [
        (b"record" + struct.pack(">I", 6) + b"cbipcbbl", "Photo Mechanic"),
        (b"text" + struct.pack(">HII", 1, 14, 0xA1B2C3D4), "FotoStation"),
        (b"text" + b"AXS!" + bytes(8), "AFCP"),
        (b"CANON OPTIONAL DATA\0" + bytes(44), "Canon's DPP"),
    ],
)
def test_a_trailer_of_a_program_is_said_to_be_dropped(format_: str, end: bytes, program: str):
    buffer = BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, format_)
    plain = open_photo(BytesIO(buffer.getvalue())).warnings
    buffer.write(end)
    expected = (*plain, f"the trailer of {program} is dropped")
    assert open_photo(buffer).warnings == expected


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "HEIF"])
def test_damaged_exif_is_said_to_be_dropped(format_: str):
    pillow_heif.register_heif_opener()
    buffer = BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_, exif=b"Exif\0\0 is no TIFF")
    photo = open_photo(buffer)
    assert photo.metadata.exif is None
    assert photo.warnings == ("damaged EXIF is dropped",)
