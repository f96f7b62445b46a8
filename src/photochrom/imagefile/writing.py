"""Writing of photographs to files, atomically and with their metadata."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from photochrom.color import Pixels
from photochrom.errors import PhotoError
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.codecs import bmp
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.jpeg import metadata as jpeg
from photochrom.imagefile.losses import lost_metadata
from photochrom.imagefile.metadata import Metadata, to_pillow_options
from photochrom.imagefile.photo import Photo, to_8_bits
from photochrom.imagefile.png import metadata as png

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},  # subsampled colours would bleed
    "PNG": {"compress_level": 3},  # a quarter of the default's time for a few per cent of size
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "BMP": {},
}
_FORMATS_OF_16_BITS = ("PNG", "TIFF")
_LEFT_OUT_IF_OPAQUE = ("JPEG", "BMP")
"""Formats that have no alpha, or that few programs read with it."""
_TIFF_STRIP_SIZE = 1 << 18  # bytes before compression
_TIFF_STRIPS_PER_PART = 64
_TIFF_COMPRESSIONS = {
    "raw": cv2.IMWRITE_TIFF_COMPRESSION_NONE,
    "tiff_lzw": cv2.IMWRITE_TIFF_COMPRESSION_LZW,
    "tiff_adobe_deflate": cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE,
}
_TIFFFILE_COMPRESSIONS = {"raw": None, "tiff_lzw": "lzw", "tiff_adobe_deflate": "zlib"}


def save_photo(
    photo: Photo | Image.Image,
    path: str | Path,
    *,
    overwrite: bool = False,
    flatten: bool = False,
) -> list[str]:
    """Write a photo atomically.

    Metadata and bit depth (16 bits in PNG and TIFF only) are kept. Quality and compression are kept
    if the format is that of the source; otherwise JPEG and WebP have quality 95. An opaque alpha
    channel is left out where the format has none.

    Args:
        photo: A photo, or a Pillow image, whose `info` has the metadata.
        path: Its suffix, one of `FORMATS`, decides the format.
        overwrite: Whether an existing file may be replaced.
        flatten: Whether transparency becomes white in a JPEG, which has none, with a warning.

    Returns:
        Warnings: what could not be kept, each a phrase. Those of the photo, and of writing it.

    Raises:
        PhotoError: If the suffix is unknown, the format cannot hold the photo, the file exists and
            `overwrite` is not set, or writing fails.
    """
    return save_pages([photo], path, overwrite=overwrite, flatten=flatten)


def save_pages(
    photos: Iterable[Photo | Image.Image],
    path: str | Path,
    *,
    overwrite: bool = False,
    like: os.stat_result | None = None,
    keep_times: bool = False,
    flatten: bool = False,
) -> list[str]:
    """Write photos as the pages of one TIFF, or one photo as `save_photo` does.

    Args:
        photos: At least one; each is written before the next is requested.
        path: Has to end in .tif or .tiff for more than one photo.
        overwrite: Whether an existing file may be replaced.
        like: As of `open_atomic`.
        keep_times: As of `open_atomic`.
        flatten: As of `save_photo`.

    Returns:
        As `save_photo`, of all pages, each once.

    Raises:
        PhotoError: As `save_photo`, or if there is no photo, or there are several and the format
            has no pages.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PhotoError(
            f"cannot write {path}: its suffix has to be one of {', '.join(sorted(FORMATS))}"
        )
    if not overwrite and os.path.exists(path):  # noqa: PTH110 (does not raise for a long name)
        raise _exists_error(path)
    format_ = FORMATS[path.suffix.lower()]
    warnings: dict[str, None] = {}  # a set in the order of insertion
    pages: Iterator[Photo] = (
        photo_from_image(p) if isinstance(p, Image.Image) else p for p in photos
    )
    if flatten and format_ == "JPEG":
        pages = map(_lay_on_white, pages)
    try:
        with open_atomic(path, overwrite=overwrite, like=like, keep_times=keep_times) as stream:
            writer = None
            if format_ == "TIFF":
                from photochrom.imagefile.tiff.pages import PageWriter

                writer = PageWriter(stream)
            count = 0
            for photo in pages:
                count += 1  # `enumerate` would keep the photo in memory
                warnings |= dict.fromkeys(_warnings(photo, format_))
                if writer is not None:
                    parts = _encode_tiff_parts(photo, writer.choose_order(photo.metadata))
                    warnings |= dict.fromkeys(writer.add(parts, photo.metadata))
                elif count == 1:
                    stream.write(encode_photo(photo, path.suffix, str(path)))
                else:
                    raise PhotoError(f"cannot write {path}: several pages need a .tif")
                del photo  # frees its memory before the next is read
            if count == 0:
                raise PhotoError(f"there is no photo to write to {path}; give at least one")
    except FileExistsError as error:
        raise _exists_error(path) from error
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error
    return list(warnings)


def result_warnings(photo: Photo, path: Path) -> list[str]:
    """Return the warnings that `save_photo` would return, before the photo is colorized."""
    return _warnings(photo, FORMATS[path.suffix.lower()])


def _warnings(photo: Photo, format_: str) -> list[str]:
    """Return the warnings of a photo, and what a format cannot hold of it."""
    warnings = [*photo.warnings, *lost_metadata(photo.metadata, format_)]
    if photo.pixels.dtype == np.uint16 and format_ not in _FORMATS_OF_16_BITS:
        warnings.append(f"16 bits are reduced to 8: a {format_} cannot hold them")
    return warnings


def _lay_on_white(photo: Photo) -> Photo:
    """Return an opaque photo, mixed with white in encoded values, as browsers do."""
    if photo.alpha is None:
        return photo
    largest = np.iinfo(photo.alpha.dtype).max
    if (photo.alpha == largest).all():
        return dataclasses.replace(photo, alpha=None)
    pixels = photo.pixels.copy()
    for row, alpha in zip(pixels, photo.alpha, strict=True):
        missing = largest - row.astype(np.uint32)
        row[:] = largest - (missing * alpha[:, None] + largest // 2) // largest
    metadata = photo.metadata.with_warning("transparency becomes white: a JPEG cannot hold it")
    return dataclasses.replace(photo, pixels=pixels, alpha=None, metadata=metadata)


def encode_photo(photo: Photo, suffix: str, name: str = "the photo") -> bytes:
    """Return the bytes of the file that `save_photo` writes; `suffix` is not that of a TIFF.

    Raises:
        PhotoError: If the format cannot hold the photo. It names the photo `name`.
    """
    format_ = FORMATS[suffix.lower()]
    alpha = photo.alpha
    if format_ in _LEFT_OUT_IF_OPAQUE and alpha is not None:
        if (alpha == np.iinfo(alpha.dtype).max).all():
            photo = dataclasses.replace(photo, alpha=None)
        elif format_ == "JPEG":
            raise PhotoError(
                f"cannot write {name}: a JPEG has no transparency and the photo has; give the "
                "photo as .png, .tif or .webp"
            )
    options = dict(_OPTIONS[format_])
    if photo.encoding.format == format_:
        options |= photo.encoding.options
        if "qtables" in options:  # Pillow would scale them by the quality
            del options["quality"]
    try:
        if format_ == "PNG" and photo.pixels.dtype == np.uint16:
            settings = [cv2.IMWRITE_PNG_COMPRESSION, options["compress_level"]]
            data = _encode_by_opencv(photo.pixels, photo.alpha, ".png", settings)
        else:
            buffer = BytesIO()
            options |= to_pillow_options(photo.metadata, format_)
            _to_pillow_image(photo, format_).save(buffer, format_, **options)
            data = buffer.getvalue()
    except Exception as error:  # encoders raise anything, for example if an image is too wide
        raise PhotoError(f"cannot write {name} as {format_}: {error}") from error
    if format_ == "BMP":
        return bmp.write_header(data, photo.metadata.icc)
    if format_ == "JPEG":
        return jpeg.write_metadata(data, photo.metadata)
    return png.write_metadata(data, photo.metadata) if format_ == "PNG" else data


def _exists_error(path: Path) -> PhotoError:
    return PhotoError(f"{path} exists already; remove it or ask to overwrite")


def _encode_tiff_parts(photo: Photo, order: str) -> Iterator[bytes]:
    """Encode a page as TIFFs of some rows each in a byte order, which `PageWriter` joins."""
    compression = photo.encoding.options.get("compression", "tiff_lzw")
    height, width, channels = photo.pixels.shape
    rows = max(1, _TIFF_STRIP_SIZE // (width * channels * photo.pixels.itemsize))
    settings = [
        *(cv2.IMWRITE_TIFF_COMPRESSION, _TIFF_COMPRESSIONS[compression]),
        *(cv2.IMWRITE_TIFF_ROWSPERSTRIP, rows),
    ]
    step = _TIFF_STRIPS_PER_PART * rows
    for top in range(0, height, step):
        part = slice(top, top + step)
        alpha = None if photo.alpha is None else photo.alpha[part]
        if order == ">":
            yield _encode_big_endian(photo.pixels[part], alpha, compression, rows)
        else:
            yield _encode_by_opencv(photo.pixels[part], alpha, ".tif", settings)


def _encode_big_endian(
    pixels: Pixels, alpha: Pixels | None, compression: str, rows_per_strip: int
) -> bytes:
    """Encode a TIFF by tifffile, as OpenCV has only the byte order of the machine."""
    import tifffile

    pixels = _with_alpha(pixels, alpha)
    stream = BytesIO()
    tifffile.imwrite(
        stream,
        pixels[..., 0] if pixels.shape[2] == 1 else pixels,
        byteorder=">",
        photometric="minisblack" if pixels.shape[2] == 1 else "rgb",
        extrasamples=None if alpha is None else ["unassalpha"],
        compression=_TIFFFILE_COMPRESSIONS[compression],
        predictor=compression != "raw",
        rowsperstrip=rows_per_strip,
        metadata=None,
    )
    return stream.getvalue()


def _to_pillow_image(photo: Photo, format_: str) -> Image.Image:
    if photo.pixels.shape[2] == 3 and format_ == "JPEG":
        # Pillow's own memory layout, which it uses without a copy.
        padded = cv2.cvtColor(to_8_bits(photo.pixels), cv2.COLOR_RGB2RGBA)
        return Image.frombuffer("RGBX", photo.size, padded, "raw", "RGBX", 0, 1)
    # The metadata are written elsewhere, and not from the image's `info`.
    image = dataclasses.replace(photo, metadata=Metadata()).to_image()
    return image.convert("RGBA") if format_ == "BMP" and image.mode == "LA" else image


def _encode_by_opencv(
    pixels: Pixels, alpha: Pixels | None, suffix: str, settings: list[int]
) -> bytes:
    """Encode 8 or 16 bits; Pillow cannot write 16 bits in colour."""
    pixels = _with_alpha(pixels, alpha)
    if pixels.shape[2] > 1:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]  # OpenCV expects BGR
    success, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), settings)
    if not success:
        raise PhotoError(f"OpenCV could not encode {pixels.shape[1]}x{pixels.shape[0]} pixels")
    return bytes(encoded)


def _with_alpha(pixels: Pixels, alpha: Pixels | None) -> Pixels:
    """Return pixels, or RGBA."""
    if alpha is None:
        return pixels
    rgba: Pixels = np.dstack([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), alpha])
    return rgba
