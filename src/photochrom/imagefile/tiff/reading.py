"""Reading of the pages of TIFF files as photos."""

from collections.abc import Iterator
from io import BytesIO
from typing import IO

from PIL.ExifTags import Base as Tag

from photochrom.errors import PhotoError, TruncatedError
from photochrom.imagefile.codecs import raw
from photochrom.imagefile.decoding import (
    DamagedError,
    check_size,
    decode,
    finish,
    open_image,
    reader_errors,
)
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.tiff import color, decoding, losses, pages
from photochrom.imagefile.tiff.structure import TiffError
from photochrom.imagefile.tiff.truncation import find_part
from photochrom.imagefile.truncation import Part, truncated_error

_COMPRESSIONS = {1: "raw", 8: "tiff_adobe_deflate", 32946: "tiff_adobe_deflate"}
"""Compression of a TIFF to that of the output; all others become LZW."""


def read_photos(
    stream: IO[bytes], name: str, max_pixels: int, truncated: bool = False
) -> Iterator[Photo]:
    """Yield the photos of a TIFF, one for each page; smaller copies and masks are left out.

    Args:
        stream: The file.
        name: Of the file, for errors.
        max_pixels: A larger page is refused before it is decoded.
        truncated: Whether a page that is cut off is decoded as far as it goes.

    Raises:
        TruncatedError: If a page or the pages behind it are cut off, and `truncated` is not set.
        PhotoError: If the file or a page is damaged, too large, or of a kind that cannot be read.
    """
    all_pages: list[pages.Page] = []
    warnings = []
    try:
        pages.add_pages(stream, all_pages)
    except TiffError as error:
        if not all_pages:
            raise PhotoError(
                f"{name} is a TIFF that is damaged or of a kind that cannot be read: {error}"
            ) from error
        if not truncated:
            raise _missing_pages_error(name, len(all_pages)) from error
        warnings = [f"the file is cut off: the pages behind page {len(all_pages)} are missing"]
    if pages.is_raw(all_pages[0]):
        yield raw.develop(stream, "raw photo", name, max_pixels)
        return
    photos = losses.select_photos(all_pages)
    if dropped := len(all_pages) - len(photos):
        warnings += [f"smaller copies and masks are dropped: {dropped} of {len(all_pages)} pages"]
    for number, page in photos:
        page_name = name if len(photos) == 1 else f"page {number + 1} of {name}"
        yield _read_page(stream, page, number, page_name, max_pixels, warnings, truncated)
        warnings = []


def _missing_pages_error(name: str, count: int) -> TruncatedError:
    what = "1 page" if count == 1 else f"{count} pages"
    return TruncatedError(
        f"{name} is cut off: {what} can be read, and the directory of the next one is missing; "
        "give the whole file, or colorize what is there with --truncated",
        count / (count + 1),
    )


def _read_page(
    stream: IO[bytes],
    page: pages.Page,
    number: int,
    name: str,
    max_pixels: int,
    warnings: list[str],
    truncated: bool,
) -> Photo:
    """Read a page; `warnings` are those of pages that belong to it."""
    size = page.numbers(Tag.ImageWidth)[:1] + page.numbers(Tag.ImageLength)[:1]
    if len(size) == 2:  # before the pixels are copied
        check_size(*size, name, max_pixels)
    metadata = _read_metadata(page, warnings)
    try:
        return _decode_page(stream, page, number, name, max_pixels, metadata)
    except PhotoError as error:
        part = find_part(page)
        if part is None:
            raise
        if not truncated:
            raise truncated_error(name, part) from error
        stream = BytesIO(part.data)
        (page,) = pages.read_pages(stream)
        return _decode_page(stream, page, 0, name, max_pixels, metadata, part)


def _decode_page(
    stream: IO[bytes],
    page: pages.Page,
    number: int,
    name: str,
    max_pixels: int,
    metadata: Metadata,
    part: Part | None = None,
) -> Photo:
    """Decode a page, extracted from its file so that its other tags cannot disturb decoders.

    `part` says that only the first rows of the page are there.
    """
    (code,) = page.numbers(Tag.Compression)[:1] or (1,)
    encoding = Encoding("TIFF", {"compression": _COMPRESSIONS.get(code, "tiff_lzw")})
    if not decoding.is_ordinary(page):
        with reader_errors(name):
            photo = decoding.decode_page(page, metadata, max_pixels)
            metadata = photo.metadata
            if part is not None:
                photo = part.fill(photo)
                metadata = metadata.with_warning(part.describe(metadata.orientation or 1))
            return finish(photo, metadata, encoding)
    try:
        data = pages.extract_page(page)
        image = open_image(BytesIO(data), name, max_pixels)
    except (TiffError, DamagedError):  # such as old-style JPEG
        data = None
        image = open_image(stream, name, max_pixels, number)
    # Pillow applies the orientation of a TIFF, which an extracted page does not have.
    return decode(image, data, metadata, encoding, name, is_upright=data is None, part=part)


def _read_metadata(page: pages.Page, warnings: list[str]) -> Metadata:
    excluded = color.wrong_color_tags(page)
    metadata = page.read_metadata(excluded=excluded)
    for warning in (*warnings, *losses.find_losses(page, excluded)):
        metadata = metadata.with_warning(warning)
    return color.with_color_profile(page, metadata)
