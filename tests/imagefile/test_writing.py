import errno
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.color import icc
from photochrom.errors import PhotoError
from photochrom.imagefile import atomic
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_pages, open_photo
from photochrom.imagefile.writing import save_pages, save_photo
from support.systems import needs_long_names


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_format_is_written_and_read(suffix: str, tmp_path: Path, picture: Image.Image):
    path = tmp_path / f"photo{suffix}"
    save_photo(picture, path)
    difference = np.abs(open_photo(path).pixels.astype(int) - np.asarray(picture))
    assert difference.mean() < (4 if FORMATS[suffix] in ("JPEG", "WEBP", "AVIF") else 1e-9)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_jpeg_is_not_subsampled(tmp_path: Path, picture: Image.Image):
    save_photo(picture, tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        assert image.quantization[0][0] <= 2  # quality 95


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif"])
def test_alpha_is_written(suffix: str, tmp_path: Path, picture: Image.Image):
    alpha = Image.linear_gradient("L").resize(picture.size)
    picture.putalpha(alpha)
    save_photo(picture, tmp_path / f"a{suffix}")
    output = open_photo(tmp_path / f"a{suffix}").alpha
    assert output is not None
    assert np.abs(output.astype(int) - np.asarray(alpha)).max() <= (3 if suffix == ".avif" else 0)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_dropped_only_if_opaque(suffix: str, tmp_path: Path, picture: Image.Image):
    path = tmp_path / f"a{suffix}"
    picture.putalpha(255)
    save_photo(picture, path)
    assert open_photo(path).alpha is None
    picture.putalpha(254)
    if suffix == ".bmp":
        save_photo(picture, path, overwrite=True)
        assert open_photo(path).alpha is not None
        return
    with pytest.raises(PhotoError, match=r"no transparency.*as \.png"):
        save_photo(picture, path, overwrite=True)
    assert open_photo(path).alpha is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_becomes_white_on_request(dtype: type, channels: int, tmp_path: Path):
    largest = np.iinfo(dtype).max
    pixels = np.full((16, 24, channels), largest // 5, dtype)
    alpha = np.zeros((16, 24), dtype)
    alpha[:, 8:] = largest // 5 * 2
    alpha[:, 16:] = largest
    photo = Photo(pixels, alpha)
    warnings = save_photo(photo, tmp_path / "a.jpg", flatten=True)
    assert warnings[0] == "transparency becomes white: a JPEG cannot hold it"
    output = open_photo(tmp_path / "a.jpg")
    assert output.alpha is None
    assert [int(value) for value in output.pixels[4, [2, 11, 21], 0]] == [255, 173, 51]
    assert pixels.max() == largest // 5
    assert save_photo(photo, tmp_path / "a.tif", flatten=True) == []
    assert open_photo(tmp_path / "a.tif").alpha is not None
    opaque = Photo(pixels, np.full_like(alpha, largest))
    assert not any("white" in text for text in save_photo(opaque, tmp_path / "b.jpg", flatten=True))


def test_unknown_suffix_is_refused(tmp_path: Path, picture: Image.Image):
    with pytest.raises(PhotoError, match=r"\.avif, \.bmp, .*\.jpg, \.png, \.tif"):
        save_photo(picture, tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_photo_too_wide_for_a_format_is_refused(tmp_path: Path):
    with pytest.raises(PhotoError, match="as WEBP"):
        save_photo(Image.new("RGB", (20000, 1)), tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept_without_overwrite(tmp_path: Path, picture: Image.Image):
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(PhotoError, match="exists already"):
        save_photo(picture, path)
    assert path.read_bytes() == b"mine"
    save_photo(picture, path, overwrite=True)
    assert open_photo(path).size == picture.size
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_file_that_appears_meanwhile_is_kept(
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
        monkeypatch.setattr(atomic, "_open_unnamed", lambda _: None)
    with pytest.raises(PhotoError, match="exists already"):
        save_photo(picture, path)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def no_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")


def test_file_system_without_hard_links(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(atomic, "_open_unnamed", lambda _: None)
    save_photo(picture, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_full_disk_leaves_no_file(
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
def test_disk_that_fills_while_writing(tmp_path: Path, picture: Image.Image, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(atomic, "_open_unnamed", lambda _: full.open("wb"))
    with pytest.raises(PhotoError, match="No space left on device"):
        save_photo(picture, tmp_path / "a.bmp")
    assert list(tmp_path.iterdir()) == []


def test_read_only_disk(tmp_path: Path, picture: Image.Image, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)  # on Linux
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PhotoError, match=r"cannot write .*a\.jpg: Read-only file system"):
        save_photo(picture, tmp_path / "a.jpg")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_no_file(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_photo(picture, tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder(tmp_path: Path, picture: Image.Image):
    with pytest.raises(PhotoError, match="No such file or directory"):
        save_photo(picture, tmp_path / "none" / "a.jpg")


@needs_long_names
def test_longest_file_name(tmp_path: Path, picture: Image.Image):
    path = tmp_path / ("a" * 251 + ".jpg")
    save_photo(picture, path)
    assert path.exists()


def test_file_has_default_permissions(tmp_path: Path, picture: Image.Image):
    save_photo(picture, tmp_path / "a.jpg")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.jpg").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has unnamed files")
def test_file_has_no_name_before_it_is_complete(tmp_path: Path):
    with atomic.open_atomic(tmp_path / "a") as stream:
        stream.write(b"half")
        stream.flush()
        assert list(tmp_path.iterdir()) == []
    assert (tmp_path / "a").read_bytes() == b"half"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transparent", [False, True])
def test_16_bits_are_written(suffix: str, channels: int, transparent: bool, tmp_path: Path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 65536, (30, 40, channels), dtype=np.uint16)
    alpha = random.integers(0, 65536, (30, 40), dtype=np.uint16) if transparent else None
    save_photo(Photo(pixels, alpha), tmp_path / f"a{suffix}")
    output = open_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(output.pixels, np.broadcast_to(pixels, output.pixels.shape))
    if transparent:
        np.testing.assert_array_equal(output.alpha, alpha)
    else:
        assert output.alpha is None


def test_8_bit_format_rounds_16_bits(tmp_path: Path):
    pixels = np.full((16, 16, 3), 65535 // 2, np.uint16)
    save_photo(Photo(pixels), tmp_path / "a.bmp")
    assert (open_photo(tmp_path / "a.bmp").pixels == 127).all()


def test_jpeg_quality_is_kept(tmp_path: Path, picture: Image.Image):
    for quality in (40, 75, 98):
        picture.save(tmp_path / "a.jpg", quality=quality, progressive=quality == 75)
        save_photo(open_photo(tmp_path / "a.jpg"), tmp_path / "b.jpg", overwrite=True)
        with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
            assert after.quantization[0] == before.quantization[0]
            assert [component[1:3] for component in after.layer] == [(1, 1)] * 3
            assert ("progressive" in after.info) == (quality == 75)


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiff_compression_is_kept(
    compression: str, depth: int, tmp_path: Path, picture: Image.Image
):
    if depth == 16:
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    picture.save(tmp_path / "a.tif", compression=compression)
    save_photo(open_photo(tmp_path / "a.tif"), tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as after:
        output = after.info["compression"]
    assert output == ("tiff_lzw" if compression == "packbits" else compression)


def test_lossless_webp_is_kept_lossless(tmp_path: Path, picture: Image.Image):
    profile = icc.srgb_profile() + bytes(9000)  # precedes the image
    picture.save(tmp_path / "a.webp", lossless=True, icc_profile=profile)
    save_photo(open_photo(tmp_path / "a.webp"), tmp_path / "b.webp")
    np.testing.assert_array_equal(open_photo(tmp_path / "b.webp").pixels, picture)


def test_pages_are_written(tmp_path: Path):
    photos = [Photo(np.full((16, 20 + n, 3), n, np.uint8)) for n in range(3)]
    save_pages(photos, tmp_path / "a.tif")
    output = list(open_pages(tmp_path / "a.tif"))
    assert [photo.size for photo in output] == [(20, 16), (21, 16), (22, 16)]
    with pytest.raises(PhotoError, match=r"need a \.tif"):
        save_pages(photos, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_loss_of_bits_is_said(suffix: str, tmp_path: Path):
    values = np.full((8, 8, 3), 1000, np.uint16)
    warnings = save_photo(Photo(values), tmp_path / f"deep{suffix}")
    assert save_photo(Photo(values.astype(np.uint8)), tmp_path / f"shallow{suffix}") == []
    if open_photo(tmp_path / f"deep{suffix}").pixels.dtype == np.uint16:
        assert warnings == []
    else:
        assert warnings == [f"16 bits are reduced to 8: a {FORMATS[suffix]} cannot hold them"]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_no_photo_leaves_no_file(suffix: str, tmp_path: Path):
    with pytest.raises(PhotoError, match="there is no photo to write"):
        save_pages([], tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@needs_long_names
def test_a_name_that_is_too_long(tmp_path: Path):
    with pytest.raises(PhotoError, match=r"cannot write .*: File name too long"):
        save_photo(Photo(np.zeros((4, 4, 1), np.uint8)), tmp_path / f"{'n' * 252}.jpg")
