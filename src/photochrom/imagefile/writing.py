"""Photographs into files: whole or not at all, with all that was said of them."""

import dataclasses
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from photochrom.color import Pixels
from photochrom.errors import PhotoError
from photochrom.imagefile import metadata, tiff
from photochrom.imagefile.atomic import open_atomic
from photochrom.imagefile.formats import FORMATS
from photochrom.imagefile.photo import Photo, to_8_bits

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},  # halved colour would bleed over edges
    "PNG": {"compress_level": 3},  # a quarter of the time of the default for a few per cent
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
    "BMP": {},
}
_NO_ALPHA = ("JPEG", "BMP")
_TIFF_STRIP = 1 << 18  # bytes of a strip before it is compressed
_TIFF_STRIPS = 64  # how many are encoded at a time
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
    pages = map(_as_photo, photos)
    try:
        with open_atomic(path, overwrite=overwrite) as stream:
            if FORMATS[path.suffix.lower()] == "TIFF":
                writer = tiff.Writer(stream)
                for photo in pages:
                    writer.add(_tiff_parts(photo), photo.metadata)
                    del photo  # before the next takes its place
            else:
                stream.write(encode_photo(next(pages), path.suffix, str(path)))
                if next(pages, None) is not None:
                    raise PhotoError(f"cannot write {path}: several pages need a .tif")
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error


def _exists(path: Path) -> PhotoError:
    return PhotoError(f"{path} exists already; remove it or ask to overwrite")


def _as_photo(photo: Photo | Image.Image) -> Photo:
    return Photo.from_image(photo) if isinstance(photo, Image.Image) else photo


def encode_photo(photo: Photo, ending: str, name: str = "the photo") -> bytes:
    """Return the bytes of the file that `save_photo` would write.

    Args:
        photo: The photo.
        ending: One of `FORMATS`, but no TIFF.
        name: What to call it in a refusal.

    Raises:
        PhotoError: If the format cannot hold the photo.
    """
    format_ = FORMATS[ending.lower()]
    alpha = photo.alpha
    if format_ in _NO_ALPHA and alpha is not None:
        if (alpha != np.iinfo(alpha.dtype).max).any():
            raise PhotoError(
                f"cannot write {name}: {format_} has no transparency and the photo has; give the "
                "photo as .png, .tif or .webp"
            )
        photo = dataclasses.replace(photo, alpha=None)
    options = dict(_OPTIONS[format_])
    if photo.encoding.format == format_:
        options |= photo.encoding.options
        if "qtables" in options:  # which Pillow would scale by the quality
            del options["quality"]
    try:
        if format_ == "PNG" and photo.pixels.dtype == np.uint16:
            settings = [cv2.IMWRITE_PNG_COMPRESSION, options["compress_level"]]
            data = _by_opencv(photo.pixels, photo.alpha, ".png", settings)
        else:
            buffer = BytesIO()
            options |= metadata.pillow_options(photo.metadata, format_)
            _image(photo, format_).save(buffer, format_, **options)
            data = buffer.getvalue()
    except Exception as error:  # encoders raise what they like, such as for too wide a picture
        raise PhotoError(f"cannot write {name} as {format_}: {error}") from error
    if format_ == "JPEG":
        return metadata.write_jpeg(data, photo.metadata)
    return metadata.write_png(data, photo.metadata) if format_ == "PNG" else data


def _tiff_parts(photo: Photo) -> Iterator[bytes]:
    """Encode a page in TIFFs of some rows each, of which `tiff.Writer` makes one."""
    compression = photo.encoding.options.get("compression", "tiff_lzw")
    height, width, channels = photo.pixels.shape
    rows = max(1, _TIFF_STRIP // (width * channels * photo.pixels.itemsize))
    settings = [
        *(cv2.IMWRITE_TIFF_COMPRESSION, _TIFF_COMPRESSIONS[compression]),
        *(cv2.IMWRITE_TIFF_ROWSPERSTRIP, rows),
    ]
    for top in range(0, height, _TIFF_STRIPS * rows):
        part = slice(top, top + _TIFF_STRIPS * rows)
        alpha = None if photo.alpha is None else photo.alpha[part]
        yield _by_opencv(photo.pixels[part], alpha, ".tif", settings)


def _image(photo: Photo, format_: str) -> Image.Image:
    """Return a picture of Pillow's with the photo's numbers, in 8 bits."""
    if photo.pixels.shape[2] == 3 and format_ == "JPEG":
        # As Pillow has it in memory, so that nothing is copied.
        padded = cv2.cvtColor(to_8_bits(photo.pixels), cv2.COLOR_RGB2RGBA)
        return Image.frombuffer("RGBX", photo.size, padded, "raw", "RGBX", 0, 1)
    return photo.to_image()


def _by_opencv(pixels: Pixels, alpha: Pixels | None, suffix: str, settings: list[int]) -> bytes:
    """Encode 8 or 16 bits; Pillow does not have 16 in colour."""
    if alpha is not None:
        pixels = np.dstack([np.broadcast_to(pixels, (*pixels.shape[:2], 3)), alpha])
    if pixels.shape[2] > 1:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(pixels), settings)
    if not done:
        raise PhotoError(f"OpenCV could not encode {pixels.shape[1]}x{pixels.shape[0]} pixels")
    return bytes(encoded)
