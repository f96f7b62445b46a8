"""Photographs into files: whole or not at all, with all that was said of them."""

from collections.abc import Iterable
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from photochrom import metadata, tiff
from photochrom.color import Pixels
from photochrom.errors import PhotoError
from photochrom.files import whole_file
from photochrom.formats import FORMATS
from photochrom.photo import Photo, to_8_bits

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},  # halved colour would bleed over edges
    "PNG": {"compress_level": 3},  # a quarter of the time of the default for a few per cent
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "BMP": {},
}
_NO_ALPHA = ("JPEG", "BMP")
_TIFF_COMPRESSIONS = {
    "raw": cv2.IMWRITE_TIFF_COMPRESSION_NONE,
    "tiff_lzw": cv2.IMWRITE_TIFF_COMPRESSION_LZW,
    "tiff_adobe_deflate": cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE,
}


def save_photo(photo: Photo | Image.Image, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a photo so that the file appears whole or not at all.

    It keeps what its metadata say, its bits (PNG and TIFF have 16, the others 8) and, if the format
    is that of the file it came from, its quality and compression; else JPEG and WebP have quality
    95. A fully opaque alpha channel is left out where the format has none.

    Args:
        photo: The photo, or a picture of Pillow's, which has no metadata.
        path: Where; the ending, one of `FORMATS`, decides the format.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        PhotoError: If the ending is unknown, the format cannot hold the photo, the file exists
            and `overwrite` is not set, or the disk refuses.
    """
    save_pages([photo], path, overwrite=overwrite)


def save_pages(
    photos: Iterable[Photo | Image.Image], path: str | Path, *, overwrite: bool = False
) -> None:
    """Write photos as the pages of one TIFF, as `save_photo` does with one.

    Args:
        photos: At least one; each is written before the next is asked for.
        path: Where; for more than one it has to end in .tif or .tiff.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        PhotoError: As `save_photo`, or if there are several and the format has no pages.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PhotoError(
            f"cannot write {path}: its ending has to be one of {', '.join(sorted(FORMATS))}"
        )
    if not overwrite and path.exists():
        raise _exists(path)
    pages = (Photo.from_image(p) if isinstance(p, Image.Image) else p for p in photos)
    # Before the file is opened: what the photos raise is not the disk's fault.
    first = next(pages)
    try:
        with whole_file(path, overwrite=overwrite) as stream:
            if FORMATS[path.suffix.lower()] == "TIFF":
                writer = tiff.Writer(stream)
                for photo in chain([first], pages):
                    writer.add(_encoded(photo, path), photo.metadata)
            else:
                stream.write(_encoded(first, path))
                if next(pages, None) is not None:
                    raise PhotoError(f"cannot write {path}: several pages need a .tif")
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error


def _exists(path: Path) -> PhotoError:
    return PhotoError(f"{path} exists already; remove it or ask to overwrite")


def _encoded(photo: Photo, path: Path) -> bytes:
    """Return the bytes of a file; those of a TIFF have no metadata yet."""
    format_ = FORMATS[path.suffix.lower()]
    alpha = photo.alpha
    if format_ in _NO_ALPHA and alpha is not None:
        if (alpha != np.iinfo(alpha.dtype).max).any():
            raise PhotoError(
                f"cannot write {path}: {format_} has no transparency and the photo has; give the "
                "photo as .png, .tif or .webp"
            )
        alpha = None
    options = dict(_OPTIONS[format_])
    if photo.encoding.format == format_:
        options |= photo.encoding.options
        if "qtables" in options:  # which Pillow would scale by the quality
            del options["quality"]
    deep = photo.pixels.dtype == np.uint16 and format_ in ("PNG", "TIFF")
    try:
        if deep:
            data = _by_opencv(photo, format_, options)
        else:
            buffer = BytesIO()
            options |= metadata.pillow_options(photo.metadata, format_)
            _image(photo.pixels, alpha).save(buffer, format_, **options)
            data = buffer.getvalue()
    except Exception as error:  # encoders raise what they like, such as for too wide a picture
        raise PhotoError(f"cannot write {path} as {format_}: {error}") from error
    if format_ == "JPEG":
        return metadata.write_jpeg(data, photo.metadata)
    return metadata.write_png(data, photo.metadata) if format_ == "PNG" else data


def _image(pixels: Pixels, alpha: Pixels | None) -> Image.Image:
    """Return a picture of Pillow's with these numbers, in 8 bits."""
    values = to_8_bits(pixels)
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if alpha is not None:
        image.putalpha(Image.fromarray(to_8_bits(alpha)))
    return image


def _by_opencv(photo: Photo, format_: str, options: dict[str, Any]) -> bytes:
    """Encode 16 bits, which Pillow does not have in colour."""
    pixels = photo.pixels
    if photo.alpha is not None:
        pixels = np.dstack([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), photo.alpha])
    if pixels.shape[2] > 1:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    if format_ == "PNG":
        settings = [cv2.IMWRITE_PNG_COMPRESSION, options["compress_level"]]
    else:
        settings = [cv2.IMWRITE_TIFF_COMPRESSION, _TIFF_COMPRESSIONS[options["compression"]]]
    return cv2.imencode("." + format_.lower(), np.ascontiguousarray(pixels), settings)[1].tobytes()
