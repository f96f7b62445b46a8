"""Reading of photographs from files.

A file is read downwards: its pages (`tiff_pages`), their metadata (`jpeg`, `png`, `tiff_pages`),
then pixels, profile and orientation (`decoding`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotoError
from photochrom.imagefile import (
    bmp,
    gif,
    heif,
    jpeg,
    jpeg2000,
    jpeg_deep,
    jpeg_tables,
    jpegxl,
    netpbm,
    pcx,
    png,
    png_color,
    psd,
    qoi,
    raw,
    sgi,
    tga,
    tiff_color,
    tiff_decoding,
    tiff_losses,
    tiff_pages,
)
from photochrom.imagefile.decoding import (
    DamagedError,
    TooLargeError,
    check_size,
    decode,
    finish,
    open_image,
    reader_errors,
)
from photochrom.imagefile.formats import detect_format
from photochrom.imagefile.metadata import Metadata, from_pillow_info
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.tiff import TiffError

MAX_PIXELS = 200_000_000
"""Limit of pixels unless the caller sets another."""

_TIFF_COMPRESSIONS = {1: "raw", 8: "tiff_adobe_deflate", 32946: "tiff_adobe_deflate"}
"""Compression of a TIFF to that of the output; all others become LZW."""
_READERS: dict[str, Callable[[bytes, str, int], Photo]] = {
    "AVIF": heif.read_avif,
    "BMP": bmp.read,
    "GIF": gif.read,
    "HEIC": heif.read_heic,
    "JPEG2000": jpeg2000.read,
    "JXL": jpegxl.read,
    "PNM": netpbm.read,
    "PCX": pcx.read,
    "PSD": psd.read,
    "QOI": qoi.read,
    "SGI": sgi.read,
}
"""Functions for the formats of which Pillow does not read all."""
_STRIP_METADATA = {"JPEG": jpeg.strip_metadata, "PNG": png.strip_metadata}


def open_photo(file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photograph, upright, with its metadata.

    Args:
        file: A path, or a seekable binary file.
        max_pixels: A larger image is refused before it is decoded.

    Returns:
        The photo; the first page of a TIFF. `open_pages` reads all pages.

    Raises:
        PhotoError: If the file is missing, or not a complete image in a supported format.
    """
    return next(open_pages(file, max_pixels=max_pixels))


def open_pages(file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Iterator[Photo]:
    """Read the pages of a TIFF one after the other; any other photo is one page.

    Args:
        file: A path, or a seekable binary file.
        max_pixels: A larger page is refused before it is decoded.

    Yields:
        The photos, upright. Those before an error are valid.

    Raises:
        PhotoError: If the file is missing, changes meanwhile, or is not in a supported format, or a
            page is not complete.
    """
    is_path = isinstance(file, str | Path)
    name = str(file if is_path else getattr(file, "name", "the photo"))
    try:
        with Path(file).open("rb") if isinstance(file, str | Path) else nullcontext(file) as stream:
            yield from _read_pages(stream, name, max_pixels)
    except OSError as error:
        raise PhotoError(f"cannot read {name}: {error.strerror or error}") from error


def read_sizes(path: Path, *, max_pixels: int = MAX_PIXELS) -> list[tuple[int, int]]:
    """Return width and height in px of the pages of a photo, before they are turned.

    Only headers are read, except of camera raw and of formats that Pillow does not decode here.
    Damage behind a header is not noticed.

    Raises:
        PhotoError: If the file is missing, a page is too large, or the first one of a kind that
            cannot be read.
    """
    name = str(path)
    try:
        with path.open("rb") as stream:
            sizes = [_read_first_size(stream, name), *_read_further_sizes(stream, name)]
    except OSError as error:
        raise PhotoError(f"cannot read {name}: {error.strerror or error}") from error
    for size in sizes:
        check_size(*size, name, max_pixels)
    return sizes


def _read_first_size(stream: IO[bytes], name: str) -> tuple[int, int]:
    start = stream.read(16)
    is_raw = raw.detect_kind(start, name) is not None
    try:  # every reader checks the number of pixels before it decodes
        if start and not is_raw and detect_format(start) not in ("TIFF", *_READERS):
            with suppress(DamagedError):  # its metadata may be, which can be left out
                open_image(stream, name, 0)
        return next(_read_pages(stream, name, 0)).size
    except TooLargeError as error:
        return error.size


def _read_further_sizes(stream: IO[bytes], name: str) -> list[tuple[int, int]]:
    stream.seek(0)
    start = stream.read(16)
    if detect_format(start) != "TIFF" or raw.detect_kind(start, name) is not None:
        return []
    first, *further = tiff_pages.read_pages(stream)
    sides = [page.numbers(Tag.ImageWidth) + page.numbers(Tag.ImageLength) for page in further]
    return [] if tiff_pages.is_raw(first) else [(side[0], side[1]) for side in sides if side[1:]]


def _read_pages(stream: IO[bytes], name: str, max_pixels: int) -> Iterator[Photo]:
    version = _file_version(stream)
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise PhotoError(f"{name} is empty: 0 bytes")

    def check_unchanged(photo: Photo) -> Photo:
        if _file_version(stream) != version:
            raise PhotoError(f"{name} changed while it was read; give it once it is complete")
        return photo

    # These generators bind no photo to a variable: it would stay in memory until the next one.
    kind = raw.detect_kind(start, name)
    if kind is not None:
        yield check_unchanged(raw.develop(stream, kind, name, max_pixels))
    elif detect_format(start) == "TIFF":
        yield from map(check_unchanged, _read_tiff_pages(stream, name, max_pixels))
    else:
        yield check_unchanged(_read_single(stream, name, max_pixels))


def _file_version(stream: IO[bytes]) -> tuple[int, int] | None:
    """Return size and time of modification, None if the stream is not a file on a disk."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size, status.st_mtime_ns


def _read_single(stream: IO[bytes], name: str, max_pixels: int) -> Photo:
    """Read a file that is one image. If that fails, it is decoded with less metadata."""
    stream.seek(0)
    data = stream.read()
    format_ = detect_format(data) or ""
    if format_ == "JXL" and (jpeg_data := jpegxl.reconstruct_jpeg(data, name, max_pixels)):
        data, format_ = jpeg_data, "JPEG"
    if format_ in _READERS:
        return _READERS[format_](data, name, max_pixels)
    if format_ == "JPEG" and (photo := jpeg_deep.read(data, name, max_pixels)) is not None:
        return photo
    try:
        return _decode_file(data, data, name, max_pixels)
    except DamagedError:
        strip_metadata = _STRIP_METADATA.get(format_)
        if strip_metadata is None:
            raise
        return _decode_file(strip_metadata(data), data, name, max_pixels)


def _decode_file(data: bytes, original: bytes, name: str, max_pixels: int) -> Photo:
    """Decode a file that is one image, with the metadata of the original."""
    image = open_image(BytesIO(data), name, max_pixels)
    if image.format == "TGA":
        return tga.decode(image, data, name)
    try:
        metadata = _read_metadata(original, image)
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error
    return decode(image, data, metadata, _read_encoding(image, data, metadata), name)


def _read_metadata(data: bytes, image: Image.Image) -> Metadata:
    if image.format in ("JPEG", "MPO"):
        return jpeg.read_metadata(data)
    if image.format == "PNG":
        png.scale_transparency(image.info, data)
        return png_color.with_color_profile(png.read_metadata(data), is_grey=png.is_grey(data))
    return from_pillow_info(image.info)


def _read_encoding(image: Image.Image, data: bytes, metadata: Metadata) -> Encoding:
    if image.format in ("JPEG", "MPO"):
        table = jpeg_tables.result_table(
            image,
            metadata.orientation or 1,
            keeps_values=image.mode == "RGB" or metadata.icc is None,
        )
        progressive = bool(image.info.get("progressive"))
        return Encoding("JPEG", {"qtables": [table], "progressive": progressive})
    if image.format == "WEBP":
        return Encoding("WEBP", {"lossless": _is_lossless_webp(data)})
    return Encoding(image.format or "")


def _is_lossless_webp(data: bytes) -> bool:
    """Tell whether the first image chunk of a WebP is lossless."""
    start = 12
    while start + 8 <= len(data):
        name, length = (
            data[start : start + 4],
            int.from_bytes(data[start + 4 : start + 8], "little"),
        )
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        start += 8 + length + length % 2
    return False


def _read_tiff_pages(stream: IO[bytes], name: str, max_pixels: int) -> Iterator[Photo]:
    try:
        pages = tiff_pages.read_pages(stream)
    except TiffError as error:
        raise PhotoError(
            f"{name} is a TIFF that is damaged or of a kind that cannot be read: {error}"
        ) from error
    if tiff_pages.is_raw(pages[0]):
        yield raw.develop(stream, "raw photo", name, max_pixels)
        return
    photos = tiff_losses.select_photos(pages)
    dropped = len(pages) - len(photos)
    losses = [f"smaller copies and masks are dropped: {dropped} of {len(pages)} pages"] * (
        dropped > 0
    )
    for number, page in photos:
        page_name = name if len(photos) == 1 else f"page {number + 1} of {name}"
        yield _read_tiff_page(stream, page, number, page_name, max_pixels, losses)
        losses = []


def _read_tiff_page(
    stream: IO[bytes],
    page: tiff_pages.Page,
    number: int,
    name: str,
    max_pixels: int,
    losses: list[str],
) -> Photo:
    """Read a page, extracted from its file so that its other tags cannot disturb decoders.

    `losses` are those of pages that belong to it.
    """
    size = page.numbers(Tag.ImageWidth)[:1] + page.numbers(Tag.ImageLength)[:1]
    if len(size) == 2:  # before the pixels are copied
        check_size(*size, name, max_pixels)
    (code,) = page.numbers(Tag.Compression)[:1] or (1,)
    encoding = Encoding("TIFF", {"compression": _TIFF_COMPRESSIONS.get(code, "tiff_lzw")})
    metadata = _read_tiff_metadata(page, losses)
    if not tiff_decoding.is_ordinary(page):
        with reader_errors(name):
            photo = tiff_decoding.decode_page(page, metadata, max_pixels)
            return finish(photo, photo.metadata, encoding)
    try:
        data = tiff_pages.extract_page(page)
        image = open_image(BytesIO(data), name, max_pixels)
    except (TiffError, DamagedError):  # such as old-style JPEG
        data = None
        image = open_image(stream, name, max_pixels, number)
    # Pillow applies the orientation of a TIFF, which an extracted page does not have.
    return decode(image, data, metadata, encoding, name, is_upright=data is None)


def _read_tiff_metadata(page: tiff_pages.Page, losses: list[str]) -> Metadata:
    excluded = tiff_color.wrong_color_tags(page)
    metadata = page.read_metadata(excluded=excluded)
    for loss in (*losses, *tiff_losses.find_losses(page, excluded)):
        metadata = metadata.with_warning(loss)
    return tiff_color.with_color_profile(page, metadata)
