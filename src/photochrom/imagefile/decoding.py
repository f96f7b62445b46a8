"""Photographs out of files: every usual kind, read rightly, with all that the file says of it."""

import dataclasses
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from photochrom.color import Pixels, icc
from photochrom.errors import PhotoError
from photochrom.imagefile import metadata, tiff
from photochrom.imagefile.containers import format_of, webp_is_lossless, without_metadata
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

MAX_PIXELS = 200_000_000
"""A picture of more pixels is refused unless the caller allows more."""

_NOT_READ = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "FITS"}
"""What Pillow only knows of, or hands to another program."""
_NOT_FRAMES = {"MPO", "PSD", "ICO", "ICNS", "TIFF"}
"""Formats of which the first picture is the photo, or which are read page by page."""
_HEIC = (b"heic", b"heix", b"mif1", b"hevc")
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
"""EXIF orientation to the turn that undoes it."""
_COMPRESSIONS = {1: "raw", 8: "tiff_adobe_deflate", 32946: "tiff_adobe_deflate"}
"""What a TIFF's compression is written as; every other becomes LZW, which loses nothing."""

# Tags of TIFF.
_WIDTH, _HEIGHT = 256, 257
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259
_PHOTOMETRIC = 262
_PLANAR = 284  # 2 is one plane after the other

_pillow = threading.Lock()


class _DamagedError(PhotoError):
    """A picture that is not whole, or of which only what is said of it is broken."""


def open_photo(file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photograph, upright, with what its file says of it.

    Args:
        file: A path, or an open binary file that can be rewound.
        max_pixels: A picture of more is refused before it is decoded.

    Returns:
        The photo; of a TIFF of several pages, the first: `open_pages` reads all.

    Raises:
        PhotoError: If there is no such file, or it is not a whole picture that can be read.
    """
    return next(open_pages(file, max_pixels=max_pixels))


def open_pages(file: str | Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Iterator[Photo]:
    """Read every page of a TIFF, one after the other; any other photo is one page.

    Args:
        file: A path, or an open binary file that can be rewound.
        max_pixels: A page of more is refused before it is decoded.

    Yields:
        The photos, upright.

    Raises:
        PhotoError: If there is no such file, it is not a photo that can be read, a page of it is
            not whole, or it changes meanwhile. Pages that were read before that are right.
    """
    name = str(file if isinstance(file, str | Path) else getattr(file, "name", "the photo"))
    try:
        if isinstance(file, str | Path):
            with Path(file).open("rb") as stream:
                yield from _pages(stream, name, max_pixels)
        else:
            yield from _pages(file, name, max_pixels)
    except OSError as error:
        raise PhotoError(f"cannot read {name}: {error.strerror or error}") from error


def _pages(stream: IO[bytes], name: str, max_pixels: int) -> Iterator[Photo]:
    before = _state(stream)
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise PhotoError(f"{name} is empty: 0 bytes")

    def unchanged(photo: Photo) -> Photo:
        if _state(stream) != before:
            raise PhotoError(f"{name} changed while it was read; give it once it is complete")
        return photo

    # No photo has a name here, or in what follows: while the caller works on it, it would stay in
    # memory although the caller is done with it.
    if format_of(start) == "TIFF":
        yield from map(unchanged, _tiff_pages(stream, name, max_pixels))
    else:
        yield unchanged(_single(stream, name, max_pixels))


def _state(stream: IO[bytes]) -> tuple[int, int] | None:
    """Return size and time of the last change, None of what is no file on a disk."""
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, AttributeError):
        return None
    return facts.st_size, facts.st_mtime_ns


def _single(stream: IO[bytes], name: str, max_pixels: int) -> Photo:
    """Read a file that is one picture."""
    stream.seek(0)
    data = stream.read()
    try:
        image = _opened(BytesIO(data), name, max_pixels)
        photo = _photo(image, data, _metadata(data, image), name)
    except _DamagedError:
        bare = without_metadata(data)
        if bare is None:
            raise
        image = _opened(BytesIO(bare), name, max_pixels)
        photo = _photo(image, bare, _metadata(data, image), name)
    return _upright(dataclasses.replace(photo, encoding=_encoding(image, data)))


def _tiff_pages(stream: IO[bytes], name: str, max_pixels: int) -> Iterator[Photo]:
    """Read a TIFF page by page."""
    try:
        pages = tiff.read(stream)
    except tiff.TiffError as error:
        raise PhotoError(
            f"{name} is a TIFF that is damaged or of a kind that cannot be read: {error}"
        ) from error
    if tiff.is_raw(pages[0]):
        raise PhotoError(
            f"{name} is a raw photo of a camera (DNG and the like), of which only the preview "
            "could be read; develop it and give the TIFF or JPEG"
        )
    for number, page in enumerate(pages):
        place = name if len(pages) == 1 else f"page {number + 1} of {name}"
        yield _tiff_page(stream, page, number, place, max_pixels)


def _tiff_page(
    stream: IO[bytes], page: tiff.Page, number: int, name: str, max_pixels: int
) -> Photo:
    """Read a page cut out of its file, so that its tags can do no harm."""
    sides = page.numbers(_WIDTH)[:1] + page.numbers(_HEIGHT)[:1]
    if len(sides) == 2:  # before its bytes are copied
        _check_size(*sides, name, max_pixels)
    try:
        alone = tiff.alone(page)
        image = _opened(BytesIO(alone), name, max_pixels)
    except (tiff.TiffError, _DamagedError):  # such as a kind of JPEG in it that is all pointers
        alone = None
        image = _opened(stream, name, max_pixels, number)
    photo = _photo(image, alone, page.metadata, name)
    (code,) = page.numbers(_COMPRESSION)[:1] or (1,)
    encoding = Encoding("TIFF", {"compression": _COMPRESSIONS.get(code, "tiff_lzw")})
    # Pillow turns a TIFF that tells it to.
    return _upright(dataclasses.replace(photo, encoding=encoding), turned=alone is None)


def _opened(stream: IO[bytes], name: str, max_pixels: int, frame: int = 0) -> ImageFile:
    """Read the head of a picture and see whether it is one that we read.

    Raises:
        PhotoError: If it is not.
    """
    stream.seek(0)
    start = stream.read(32)
    stream.seek(0)
    claimed = format_of(start)
    try:
        with _pillow_unlimited():
            image = Image.open(stream, formats=_formats(start, claimed))
            if frame:
                image.seek(frame)
    except UnidentifiedImageError as error:
        if claimed is not None:
            raise _DamagedError(
                f"{name} is a {claimed} that is damaged or of a kind that cannot be read; save it "
                "again as JPEG or PNG"
            ) from error
        if start[4:8] == b"ftyp" and start[8:12] in _HEIC:
            raise PhotoError(
                f"{name} is a HEIC, which needs the package pillow-heif; install it"
                if find_spec("pillow_heif") is None
                else f"{name} is a HEIC that is damaged; save it again as JPEG"
            ) from error
        raise PhotoError(
            f"{name} is not a photo in a format that can be read, such as JPEG, PNG, TIFF or WebP, "
            "whatever its name says"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        raise _DamagedError(f"{name} is damaged or cut off: {error}") from error
    _check_size(*image.size, name, max_pixels)
    if image.format not in _NOT_FRAMES and _frames(image, name) > 1:
        raise PhotoError(f"{name} is an animation; give its pictures one by one")
    return image


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PhotoError(
            f"{name} is too large: {width}x{height} is {width * height} pixels, the limit "
            f"{max_pixels}; allow more with --max-pixels"
        )


def _formats(start: bytes, claimed: str | None) -> list[str]:
    """Return Pillow's names of the formats to try: the one that is claimed, or all but some."""
    if claimed is not None:
        return [claimed.upper()]
    if start[4:8] == b"ftyp" and find_spec("pillow_heif") is not None:
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return sorted(set(Image.OPEN) - _NOT_READ)


@contextmanager
def _pillow_unlimited() -> Iterator[None]:
    """Let Pillow open what is larger than its own limit: ours is checked right after."""
    with _pillow, _quiet():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _quiet() -> Iterator[None]:
    """Do without Pillow's warnings of broken EXIF, which does no harm here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frames(image: Image.Image, name: str) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise _DamagedError(f"{name} is damaged or cut off: {error}") from error


def _metadata(data: bytes, image: Image.Image) -> Metadata:
    if image.format in ("JPEG", "MPO"):
        return metadata.read_jpeg(data)
    return metadata.read_png(data) if image.format == "PNG" else metadata.from_info(image.info)


def _encoding(image: Image.Image, data: bytes) -> Encoding:
    if image.format in ("JPEG", "MPO"):
        progressive = bool(image.info.get("progressive"))
        # The table of lightness alone, for colours as well: those of the file may be coarse.
        table = next(iter(getattr(image, "quantization", {}).values()), ())
        if not table:
            return Encoding("JPEG")
        qtables = [[min(step, 255) for step in table]]  # a baseline JPEG has no more
        return Encoding("JPEG", {"qtables": qtables, "progressive": progressive})
    if image.format == "WEBP":
        return Encoding("WEBP", {"lossless": webp_is_lossless(data)})
    return Encoding(image.format or "")


def _photo(image: ImageFile, data: bytes | None, kept: Metadata, name: str) -> Photo:
    """Decode a picture, and see to it that its numbers are colours that one can compute with.

    Raises:
        PhotoError: If it is not whole, or of a kind that cannot be read rightly.
    """
    try:
        if _is_deep(image):
            return _in_space(_by_opencv(image, data), kept, None)
        with _quiet():
            image.load()
        return _in_space(_with_right_values(image), kept, image)
    except MemoryError:
        raise
    except PhotoError as error:
        raise PhotoError(f"{name}: {error}") from error
    except Exception as error:  # decoders raise anything on a damaged file
        raise _DamagedError(f"{name} is damaged or cut off: {error}") from error


def _is_deep(image: ImageFile) -> bool:
    """Tell whether Pillow would make 8 bits of 16."""
    if image.mode.startswith("I"):
        return False
    raw = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in image.tile]
    if image.format == "PPM":
        return any(len(args) > 1 and args[1] > 255 for args in raw)
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    return any(";16" in str(args[0]) for args in raw) or max(bits, default=0) > 8


def _by_opencv(image: ImageFile, data: bytes | None) -> Photo:
    """Decode a picture of 16 bits for each of several channels."""
    tags = getattr(image, "tag_v2", {})
    if data is None or image.mode == "CMYK" or tags.get(_PLANAR) == 2:
        raise PhotoError(
            "16 bits for each channel are read as grey or RGB, with transparency or without, "
            "interleaved; save it so, or with 8 bits"
        )
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != image.size[::-1]:
        raise PhotoError("it is damaged, or 16 bits of a kind that cannot be read; give 8 or 16")
    values = np.atleast_3d(decoded)
    if values.shape[2] < 3:
        return Photo(values)
    alpha = None
    if values.shape[2] == 4 and image.has_transparency_data:
        alpha = values[..., 3].copy()
    pixels = values if values.shape[2] == 3 else values[..., :3].copy()
    for row in pixels:  # in place, as a large one takes a large part of the memory
        row[:] = row[:, ::-1]
    if alpha is not None and "RGBa" in str(image.tile[0][3]):  # stored times the alpha
        whole = pixels * np.float32(65535) / np.maximum(alpha, 1)[..., None]
        pixels = np.minimum(whole + np.float32(0.5), 65535).astype(np.uint16)
    grey = str(image.tile[0][3]).startswith("LA")
    return Photo(pixels[..., :1].copy() if grey else pixels, alpha)


def _with_right_values(image: Image.Image) -> Photo:
    """Return a picture that Pillow decoded, with the values that its TIFF means.

    Raises:
        PhotoError: If it has a kind that is not read.
    """
    photo = Photo.from_image(image)
    if not image.mode.startswith("I;16"):
        return photo
    tags = getattr(image, "tag_v2", {})
    values: Pixels = photo.pixels
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        values = ((values << 4) | (values >> 8)).astype(np.uint16)
    if tags.get(_PHOTOMETRIC) == 0:  # "white is zero": with 8 bits Pillow turns them round
        values = np.uint16(65535) - values
    return dataclasses.replace(photo, pixels=values)


def _in_space(photo: Photo, kept: Metadata, image: Image.Image | None) -> Photo:
    """Say which colours a photo's numbers are.

    A profile that is broken, or one of grey for colours, says nothing, and is dropped.

    Args:
        photo: The numbers.
        kept: What the file says.
        image: The picture that they are from, where it has 8 bits.

    Raises:
        PhotoError: If 16 bits have a profile that only 8 can be converted from.
    """
    if kept.icc is None:
        return dataclasses.replace(photo, metadata=kept)
    dropped = dataclasses.replace(photo, metadata=kept.with_profile(None))
    try:
        space = icc.read_profile(kept.icc)
    except icc.ProfileError:
        if not icc.is_valid(kept.icc):
            return dropped
        if image is None or photo.pixels.dtype != np.uint8:
            raise PhotoError(
                "16 bits with a colour profile of tables cannot be converted; convert it to a "
                "profile such as sRGB or Adobe RGB, or save it with 8 bits"
            ) from None
        try:
            converted = Photo.from_image(icc.convert_to_srgb(image, kept.icc))
        except icc.ProfileError:
            return dropped
        tagged = kept.with_profile(icc.srgb_profile())
        return dataclasses.replace(converted, metadata=tagged)
    channels = 1 if space.matrix is None else 3
    if channels != photo.pixels.shape[2]:
        return dropped
    return dataclasses.replace(photo, space=space, metadata=kept)


def _upright(photo: Photo, *, turned: bool = False) -> Photo:
    """Turn a photo as it asks for, unless that is done; then it asks for no more."""
    orientation = photo.metadata.orientation or 1
    turn = _UPRIGHT.get(orientation)
    kept = photo.metadata.upright(swap=orientation >= 5)
    if turn is None or turned:
        return dataclasses.replace(photo, metadata=kept)
    pixels = np.ascontiguousarray(turn(photo.pixels))
    alpha = None if photo.alpha is None else np.ascontiguousarray(turn(photo.alpha))
    return dataclasses.replace(photo, pixels=pixels, alpha=alpha, metadata=kept)
