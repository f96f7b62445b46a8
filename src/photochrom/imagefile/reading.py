"""Reading of photographs from files.

A reader reads a file's metadata and decodes its pixels; `decoding.finish` applies profile and
orientation. Those of single formats are in `codecs` and `tiff.reading`.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotoError, TooLargeError
from photochrom.imagefile.decoding import (
    DamagedError,
    check_size,
    decode,
    open_image,
)
from photochrom.imagefile.formats import detect_format, detect_raw
from photochrom.imagefile.jpeg import deep, tables, trailers
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.metadata import Metadata, from_pillow_info
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.png import color
from photochrom.imagefile.png import metadata as png
from photochrom.imagefile.truncation import Part, find_part, is_padded, truncated_error

MAX_PIXELS = 200_000_000
"""Limit of pixels unless the caller sets another."""

Reader = Callable[[bytes, str, int], Photo]
"""Reads a file that is one image: its bytes, its name for errors, and the limit of pixels."""
_READERS = {
    "AVIF": "heif.read_avif",
    "BMP": "bmp.read",
    "GIF": "gif.read",
    "HEIC": "heif.read_heic",
    "JPEG2000": "jpeg2000.read",
    "JXL": "jpegxl.read",
    "PNM": "netpbm.read",
    "PCX": "pcx.read",
    "PSD": "psd.read",
    "QOI": "qoi.read",
    "SGI": "sgi.read",
}
"""Formats of which Pillow does not read all, to functions of `codecs`, imported when needed."""
_STRIP_METADATA = {"JPEG": jpeg.strip_metadata, "PNG": png.strip_metadata}


def open_photo(
    file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS, truncated: bool = False
) -> Photo:
    """Read a photograph, upright, with its metadata.

    Args:
        file: A path, or a seekable binary file.
        max_pixels: A larger image is refused before it is decoded.
        truncated: Whether a JPEG, PNG or TIFF that is cut off is decoded as far as it goes. It
            keeps its size, what is missing is white, and a warning says so.

    Returns:
        The photo; the first page of a TIFF. `open_pages` reads all pages.

    Raises:
        TruncatedError: If a JPEG, PNG or TIFF is cut off, a part of it can be decoded, and
            `truncated` is not set.
        PhotoError: If the file is missing, or not a complete image in a supported format.
    """
    return next(open_pages(file, max_pixels=max_pixels, truncated=truncated))


def open_pages(
    file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS, truncated: bool = False
) -> Iterator[Photo]:
    """Read the pages of a TIFF one after the other; any other photo is one page.

    Args:
        file: A path, or a seekable binary file.
        max_pixels: A larger page is refused before it is decoded.
        truncated: As of `open_photo`.

    Yields:
        The photos, upright. Those before an error are valid.

    Raises:
        TruncatedError: As `open_photo`.
        PhotoError: If the file is missing, changes meanwhile, or is not in a supported format, or a
            page is not complete.
    """
    is_path = isinstance(file, str | Path)
    name = str(file if is_path else getattr(file, "name", "the photo"))
    try:
        with Path(file).open("rb") if isinstance(file, str | Path) else nullcontext(file) as stream:
            yield from _read_pages(stream, name, max_pixels, truncated)
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
    is_raw = detect_raw(start, name) is not None
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
    if detect_format(start) != "TIFF" or detect_raw(start, name) is not None:
        return []
    from photochrom.imagefile.tiff.losses import select_photos
    from photochrom.imagefile.tiff.pages import is_raw, read_pages

    pages = read_pages(stream)
    further = [page for _, page in select_photos(pages)[1:]]
    sides = [page.numbers(Tag.ImageWidth) + page.numbers(Tag.ImageLength) for page in further]
    return [] if is_raw(pages[0]) else [(side[0], side[1]) for side in sides if side[1:]]


def _read_pages(
    stream: IO[bytes], name: str, max_pixels: int, truncated: bool = False
) -> Iterator[Photo]:
    version = _file_version(stream)
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise PhotoError(f"{name} is empty: 0 bytes")

    trailer = _find_trailer(stream, start)

    def check_unchanged(photo: Photo) -> Photo:
        if _file_version(stream) != version:
            raise PhotoError(f"{name} changed while it was read; give it once it is complete")
        if trailer is None:
            return photo
        metadata = photo.metadata.with_warning(f"the trailer of {trailer} is dropped")
        return dataclasses.replace(photo, metadata=metadata)

    # These generators bind no photo to a variable: it would stay in memory until the next one.
    kind = detect_raw(start, name)
    if kind is not None:
        from photochrom.imagefile.codecs import raw

        yield check_unchanged(raw.develop(stream, kind, name, max_pixels))
    elif detect_format(start) == "TIFF":
        from photochrom.imagefile.tiff.reading import read_photos

        yield from map(check_unchanged, read_photos(stream, name, max_pixels, truncated))
    else:
        yield check_unchanged(_read_single(stream, name, max_pixels, truncated))


def _find_trailer(stream: IO[bytes], start: bytes) -> str | None:
    """Return whose trailer is lost; those of JPEG and PNG are their readers' work."""
    if detect_format(start) in ("JPEG", "PNG"):
        return None
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - 64))
    return trailers.find_program(stream.read())


def _file_version(stream: IO[bytes]) -> tuple[int, int] | None:
    """Return size and time of modification, None if the stream is not a file on a disk."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size, status.st_mtime_ns


def _read_single(stream: IO[bytes], name: str, max_pixels: int, truncated: bool) -> Photo:
    """Read a file that is one image. If that fails, it is decoded with less metadata."""
    stream.seek(0)
    data = stream.read()
    format_ = detect_format(data) or ""
    if format_ == "JXL":
        from photochrom.imagefile.codecs import jpegxl

        if jpeg_data := jpegxl.reconstruct_jpeg(data, name, max_pixels):
            data, format_ = jpeg_data, "JPEG"
    if format_ in _READERS:
        return _find_reader(format_)(data, name, max_pixels)
    if format_ == "JPEG" and (photo := deep.read(data, name, max_pixels)) is not None:
        return photo
    ends_in_zeros = is_padded(data, format_)
    try:
        if ends_in_zeros:
            raise DamagedError(f"{name} is cut off: it ends in zeros")
        return _decode_robustly(data, data, format_, name, max_pixels)
    except TooLargeError:
        raise
    except PhotoError as error:
        part = find_part(data, format_, max_pixels)
        if part is None:
            raise
        try:
            photo = _decode_robustly(part.data, data, format_, name, max_pixels, part)
        except PhotoError:
            raise error from None
        if not part.rows:
            raise
        lacks_only_its_end = ends_in_zeros and part.share == 1
        if not truncated and not lacks_only_its_end:
            raise truncated_error(name, part) from error
        return photo


def _decode_robustly(
    data: bytes,
    original: bytes,
    format_: str,
    name: str,
    max_pixels: int,
    part: Part | None = None,
) -> Photo:
    """Decode a file that is one image, if that fails without metadata that may be damaged.

    Raises:
        DamagedError: If that fails as well.
    """
    try:
        return _decode_file(data, original, name, max_pixels, part)
    except DamagedError:
        strip_metadata = _STRIP_METADATA.get(format_)
        if strip_metadata is None:
            raise
        return _decode_file(strip_metadata(data), original, name, max_pixels, part)


def _find_reader(format_: str) -> Reader:
    module, _, function = _READERS[format_].partition(".")
    reader: Reader = getattr(import_module(f"photochrom.imagefile.codecs.{module}"), function)
    return reader


def _decode_file(
    data: bytes, original: bytes, name: str, max_pixels: int, part: Part | None
) -> Photo:
    """Decode a file that is one image, with the metadata of the original."""
    image = open_image(BytesIO(data), name, max_pixels)
    if image.format == "TGA":
        from photochrom.imagefile.codecs import tga

        return tga.decode(image, data, name)
    try:
        metadata = _read_metadata(original, image)
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error
    return decode(image, data, metadata, _read_encoding(image, data, metadata), name, part=part)


def _read_metadata(data: bytes, image: Image.Image) -> Metadata:
    if image.format in ("JPEG", "MPO"):
        return jpeg.read_metadata(data)
    if image.format == "PNG":
        png.scale_transparency(image.info, data)
        return color.with_color_profile(png.read_metadata(data), is_grey=png.is_grey(data))
    return from_pillow_info(image.info)


def _read_encoding(image: Image.Image, data: bytes, metadata: Metadata) -> Encoding:
    if image.format in ("JPEG", "MPO"):
        table = tables.result_table(
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
