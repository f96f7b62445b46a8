import errno
import hashlib
import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import PhotoError
from photochrom.photo import FORMATS, open_photo, save_photo, to_plain


def chunk(name: bytes, data: bytes, *, right: bool = True) -> bytes:
    """A chunk of a PNG, with or without the right checksum."""
    check = struct.pack(">I", zlib.crc32(name + data) ^ (not right))
    return struct.pack(">I", len(data)) + name + data + check


def png(width: int, height: int, bits: int, kind: int, raw: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    )


def tiff(width: int, height: int, bits: tuple[int, ...], raw: bytes, *, planar: int = 1) -> bytes:
    """An uncompressed TIFF of one strip; with planes, one strip for each."""
    samples = len(bits)
    strips = samples if planar == 2 else 1
    start = 8 + len(raw)
    ends = start + 2 + 12 * 9 + 4  # where values longer than 4 bytes lie
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
    """A JPEG with these bytes as its EXIF block."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    if not exif:
        return data
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return data[:2] + block + data[2:]


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_is_read_and_written(suffix: str, tmp_path: Path, picture: Image.Image):
    path = tmp_path / f"photo{suffix}"
    save_photo(picture, path)
    back = open_photo(path)
    assert back.mode == "RGB"
    difference = np.abs(np.asarray(back).astype(int) - np.asarray(picture))
    assert difference.mean() < (4 if suffix in (".jpg", ".jpeg", ".webp") else 1e-9)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_open_file_is_read_as_well(photo_file: Path):
    assert open_photo(BytesIO(photo_file.read_bytes())).size == (64, 48)


def test_jpeg_keeps_the_full_resolution_of_colours(tmp_path: Path, picture: Image.Image):
    save_photo(picture, tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        assert image.quantization[0][0] <= 2  # quality 95


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(format_: str, orientation: int):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = (255, 0, 0)
    upright[8:, :8] = (0, 0, 255)
    undo = {  # how a camera that was held so would have stored it
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
    assert np.abs(np.asarray(photo).astype(int) - upright).max() < 8
    assert 0x0112 not in photo.getexif()


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
def test_a_corrupt_exif_block_stops_nothing(exif: bytes, picture: Image.Image):
    expected = np.asarray(open_photo(BytesIO(jpeg(picture))))
    np.testing.assert_array_equal(open_photo(BytesIO(jpeg(picture, exif))), expected)


def test_random_exif_blocks_stop_nothing(picture: Image.Image):
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "maker", 0x011A: 72.0})
    good = exif.tobytes()
    for _ in range(100):
        bad = bytearray(good)
        for place in random.integers(6, len(bad), 4):
            bad[place] = random.integers(256)
        assert sorted(open_photo(BytesIO(jpeg(picture, bytes(bad)))).size) == [48, 64]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_without_alpha(mode: str, picture: Image.Image):
    image = picture.convert(mode)
    plain = to_plain(image)
    assert plain.mode == ("L" if mode in ("1", "L") else "RGB")
    np.testing.assert_array_equal(plain.convert("RGB"), image.convert("RGB"))


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa", "PA"])
def test_modes_with_alpha(mode: str, picture: Image.Image):
    image = picture.convert("RGBA")
    alpha = Image.linear_gradient("L").resize(image.size)
    image.putalpha(alpha)
    image = image.convert("P").convert("PA") if mode == "PA" else image.convert("RGBA")
    if mode in ("LA", "La"):
        image = image.convert("LA")
    if mode in ("La", "RGBa"):
        image = image.convert(mode)
    plain = to_plain(image)
    assert plain.mode == ("LA" if mode in ("LA", "La") else "RGBA")
    if mode != "PA":
        np.testing.assert_array_equal(plain.getchannel("A"), alpha)


@pytest.mark.parametrize(("mode", "clear"), [("1", 255), ("L", 7), ("P", 7), ("RGB", (1, 2, 3))])
def test_one_transparent_colour_becomes_alpha(
    mode: str, clear: int | tuple[int, ...], tmp_path: Path
):
    pixels = Image.new(mode, (20, 20), 0)
    if mode == "P":
        pixels.putpalette(list(range(30)))
    pixels.paste(1 if mode == "1" else clear, (0, 0, 10, 20))
    pixels.save(tmp_path / "a.png", transparency=clear)
    photo = open_photo(tmp_path / "a.png")
    assert photo.mode == ("LA" if mode in ("1", "L") else "RGBA")
    alpha = np.asarray(photo.getchannel("A"))
    assert (alpha[:, :10] == 0).all()
    assert (alpha[:, 10:] == 255).all()


def test_palette(tmp_path: Path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").getpixel((0, 0)) == (10, 200, 30)


def test_cmyk_jpeg(tmp_path: Path):
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert open_photo(tmp_path / "a.jpg").getpixel((8, 8)) == pytest.approx((200, 40, 40), abs=4)


ORIENTATION_3 = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "broken",
    [
        chunk(b"eXIf", ORIENTATION_3, right=False),
        chunk(b"tEXt", b"Comment\0a", right=False),
        chunk(b"gAMA", b"\0"),
        chunk(b"pHYs", b"\0"),
        chunk(b"cHRM", b"\0"),
        chunk(b"iCCP", b""),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
    ],
)
def test_broken_metadata_in_a_png_stop_nothing(broken: bytes, picture: Image.Image):
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    data = buffer.getvalue()
    after_header = 33
    both = data[:after_header] + broken + data[after_header:]
    np.testing.assert_array_equal(open_photo(BytesIO(both)), picture)
    turned = data[:after_header] + chunk(b"eXIf", ORIENTATION_3) + broken + data[after_header:]
    if not broken.startswith(b"\0\0\0\x1aeXIf"):
        np.testing.assert_array_equal(
            open_photo(BytesIO(turned)), picture.transpose(Image.Transpose.ROTATE_180)
        )
    with pytest.raises(PhotoError, match="damaged or cut off"):
        open_photo(BytesIO(both[:-200]))


@pytest.mark.parametrize("broken", [b"\xff\xe0\0\x07JFIF\0", b"\xff\xee\0\x08Adobe\0"])
def test_broken_metadata_in_a_jpeg_stop_nothing(broken: bytes, picture: Image.Image):
    data = jpeg(picture, b"Exif\0\0" + ORIENTATION_3)
    expected = open_photo(BytesIO(data))
    np.testing.assert_array_equal(open_photo(BytesIO(data[:2] + broken + data[2:])), expected)


def test_12_bit_grey_in_a_tiff():
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    pairs = values.reshape(-1, 2)
    packed = np.stack(
        [pairs[:, 0] >> 4, (pairs[:, 0] << 4 | pairs[:, 1] >> 8) & 255, pairs[:, 1] & 255], axis=1
    )
    photo = open_photo(BytesIO(tiff(64, 64, (12,), packed.astype(np.uint8).tobytes())))
    assert photo.mode == "I;16"
    np.testing.assert_allclose(np.asarray(photo), values * (65535 / 4095), atol=1)


def test_a_tiff_that_would_be_read_wrongly_is_refused():
    data = tiff(8, 8, (16, 16, 16), bytes(8 * 8 * 6), planar=2)
    with pytest.raises(PhotoError, match="separate planes"):
        open_photo(BytesIO(data))


def test_too_little_memory_is_no_damage(photo_file: Path, monkeypatch: pytest.MonkeyPatch):
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
    assert photo.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(photo), values)
    np.testing.assert_array_equal(np.asarray(to_plain(image)), values)


def test_16_bit_grey_turns_upright():
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 10000
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_photo(buffer)), np.rot90(values, -1))


def test_16_bit_grey_of_which_0_is_white(tmp_path: Path):
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(np.asarray(open_photo(tmp_path / "a.tif")), 65535 - values)


def test_16_bit_grey_with_a_transparent_value():
    image = Image.fromarray(np.array([[500, 65535]], np.uint16))
    image.info["transparency"] = 500
    plain = to_plain(image)
    assert plain.mode == "LA"
    np.testing.assert_array_equal(plain, [[[2, 0], [255, 255]]])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image.new("RGB", (0, 5)), "no pixels"),
        (Image.new("F", (5, 5)), "floating-point"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), "more than 16 bits"),
        (Image.fromarray(np.array([[0, -1]], np.int32)), "more than 16 bits"),
    ],
)
def test_pictures_that_are_refused(image: Image.Image, reason: str):
    with pytest.raises(PhotoError, match=reason):
        to_plain(image)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"This is no photo, whatever its name says.\n" * 20, "not a photo in JPEG"),
        (png(0, 0, 8, 2, b""), "a PNG that is damaged"),
        (png(60000, 60000, 8, 0, b""), "too large.*3600000000 pixels"),
        (b"BM" + b"\0" * 60, "damaged"),
        (b"RIFF\0\0\0\0AVI " + bytes(60), "not a photo"),
        (b"GIF89a" + b"\0" * 60, "not a photo"),
    ],
)
def test_files_that_are_refused(data: bytes, reason: str, tmp_path: Path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(PhotoError, match=reason) as caught:
        open_photo(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(set(FORMATS) - {".jpeg", ".tiff"}))
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_truncated_files_are_refused(
    suffix: str, share: float, tmp_path: Path, picture: Image.Image
):
    path = tmp_path / f"photo{suffix}"
    save_photo(picture, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match="damaged"):
        open_photo(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="No such file"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="directory"):
        open_photo(tmp_path)


def test_reading_changes_nothing(photo_file: Path):
    before = hashlib.sha256(photo_file.read_bytes()).digest(), photo_file.stat().st_mtime_ns
    open_photo(photo_file)
    assert (
        hashlib.sha256(photo_file.read_bytes()).digest(),
        photo_file.stat().st_mtime_ns,
    ) == before


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_written(suffix: str, tmp_path: Path, picture: Image.Image):
    alpha = Image.linear_gradient("L").resize(picture.size)
    picture.putalpha(alpha)
    save_photo(picture, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(open_photo(tmp_path / f"a{suffix}").getchannel("A"), alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_left_out_only_where_opaque(suffix: str, tmp_path: Path, picture: Image.Image):
    path = tmp_path / f"a{suffix}"
    picture.putalpha(255)
    save_photo(picture, path)
    assert open_photo(path).mode == "RGB"
    picture.putalpha(254)
    with pytest.raises(PhotoError, match=r"no transparency.*as \.png"):
        save_photo(picture, path, overwrite=True)
    assert open_photo(path).mode == "RGB"


def test_an_unknown_ending_is_refused(tmp_path: Path, picture: Image.Image):
    with pytest.raises(PhotoError, match=r"\.bmp, \.jpeg, \.jpg, \.png, \.tif, \.tiff, \.webp"):
        save_photo(picture, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="as WEBP"):
        save_photo(Image.new("RGB", (20000, 1)), tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_unless_told(tmp_path: Path, picture: Image.Image):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(PhotoError, match="exists already"):
        save_photo(picture, path)
    assert path.read_bytes() == b"mine"
    save_photo(picture, path, overwrite=True)
    assert open_photo(path).size == picture.size
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_stays(
    links: bool, tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.png"
    sync = os.fsync

    def sync_late(descriptor: int) -> None:
        sync(descriptor)
        path.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", sync_late)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(PhotoError, match="exists already"):
        save_photo(picture, path)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def no_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def test_a_file_system_without_hard_links(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "link", no_links)
    save_photo(picture, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_full_disk_leaves_nothing(
    overwrite: bool, tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.jpg"
    if overwrite:
        path.write_bytes(b"mine")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PhotoError, match="No space left on device"):
        save_photo(picture, path, overwrite=overwrite)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {"a.jpg": b"mine"} if overwrite else {}
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_while_writing(tmp_path: Path, picture: Image.Image, monkeypatch):
    open_ = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode: open_(self, mode).close() or open_(Path("/dev/full"), "wb")
    )
    with pytest.raises(PhotoError, match="No space left on device"):
        save_photo(picture, tmp_path / "a.bmp")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_photo(picture, tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path, picture: Image.Image):
    with pytest.raises(PhotoError, match="No such file or directory"):
        save_photo(picture, tmp_path / "none" / "a.jpg")


def test_the_longest_name(tmp_path: Path, picture: Image.Image):
    path = tmp_path / ("a" * 251 + ".jpg")
    save_photo(picture, path)
    assert path.exists()


def test_the_usual_permissions(tmp_path: Path, picture: Image.Image):
    save_photo(picture, tmp_path / "a.jpg")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.jpg").stat().st_mode == (tmp_path / "b").stat().st_mode
