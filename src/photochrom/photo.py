"""Photographs in files: reading every usual kind rightly, and writing whole files or none."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from photochrom.containers import format_of, without_metadata
from photochrom.errors import PhotoError
from photochrom.files import write_whole

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
"""The endings of the files that are read and written, and Pillow's names of their formats."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},  # halved colour would bleed over edges
    "PNG": {"compress_level": 3},  # a quarter of the time of the default for a few per cent
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"quality": 95},
    "BMP": {},
}
_NO_ALPHA = ("JPEG", "BMP")

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the turn that undoes it."""
# Tags of TIFF.
_BITS_PER_SAMPLE = 258
_COMPRESSION = 259  # 1 is none
_PHOTOMETRIC = 262  # 0 is "white is zero"
_PLANAR = 284  # 2 is one plane after the other


def open_photo(file: str | Path | IO[bytes]) -> Image.Image:
    """Read a photograph, upright by its EXIF orientation.

    Of an animation or a file of several pages, this is the first. What a file says besides its
    pixels (EXIF, colour profile) is not kept, and if broken it does no harm.

    Args:
        file: A path, or an open binary file.

    Returns:
        The picture in mode L, LA, RGB, RGBA or I;16 (16-bit grey, 65535 is white).

    Raises:
        PhotoError: If there is no such file, or it is not a whole picture of a kind in `FORMATS`.
    """
    if isinstance(file, str | Path):
        try:
            with Path(file).open("rb") as stream:
                return _read(stream, str(file))
        except OSError as error:
            raise PhotoError(f"cannot read {file}: {error.strerror or error}") from error
    return _read(file, str(getattr(file, "name", "the photo")))


def _read(stream: IO[bytes], name: str) -> Image.Image:
    stream.seek(0)
    if not stream.read(1):
        raise PhotoError(f"{name} is empty: 0 bytes")
    with warnings.catch_warnings():
        # Pillow warns of broken EXIF, which does no harm here, and of pictures of more than 89
        # million pixels, half of what it refuses.
        warnings.simplefilter("ignore")
        try:
            image = _decoded(stream, name)
        except PhotoError:
            stream.seek(0)
            bare = without_metadata(stream.read())
            if bare is None:
                raise
            image = _decoded(BytesIO(bare), name)
        turn = _UPRIGHT.get(_orientation(image) or 1)
        try:
            plain = to_plain(_with_right_values(image))
        except PhotoError as error:
            raise PhotoError(f"{name}: {error}") from None
    upright = plain.copy() if turn is None else plain.transpose(turn)
    upright.info = {}  # the orientation that it states is no longer true
    return upright


def _decoded(stream: IO[bytes], name: str) -> Image.Image:
    stream.seek(0)
    try:
        image: Image.Image = Image.open(stream, formats=sorted(set(FORMATS.values())))
        image.load()
    except UnidentifiedImageError as error:
        stream.seek(0)
        claimed = format_of(stream.read(16))
        if claimed is not None:
            raise PhotoError(
                f"{name} is a {claimed} that is damaged or of a kind that cannot be read; save it "
                "again as JPEG or PNG"
            ) from error
        raise PhotoError(
            f"{name} is not a photo in JPEG, PNG, TIFF, WebP or BMP, whatever its name says"
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name} is too large: {str(error).split(',')[0]}") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        raise PhotoError(f"{name} is damaged or cut off: {error}") from error
    return image


def _with_right_values(image: Image.Image) -> Image.Image:
    """Return a TIFF with the values that it means, where Pillow does not see to that.

    Raises:
        PhotoError: If Pillow reads its kind wrongly.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, ())
    planes = len(bits) > 1 and tags.get(_PLANAR) == 2
    if planes and max(bits) > 8 and tags.get(_COMPRESSION) == 1:
        raise PhotoError(
            "a TIFF of 16 bits in separate planes, uncompressed, cannot be read; compress it or "
            "interleave the planes"
        )
    if not image.mode.startswith("I;16"):
        return image
    values: NDArray[Any] = np.asarray(image).astype(np.uint16)
    if bits == (12,):
        values = (values << 4) | (values >> 8)
    if tags.get(_PHOTOMETRIC) == 0:  # with 8 bits Pillow turns them round, with 16 not
        values = np.uint16(65535) - values
    plain = Image.fromarray(values)
    plain.info = image.info
    return plain


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, None where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 (a broken EXIF block can raise anything)
        return None
    return value if isinstance(value, int) else None


def to_plain(image: Image.Image) -> Image.Image:
    """Return a picture of any of Pillow's modes in one of five.

    Palettes, CMYK and the rest become RGB, transparency of every kind an alpha channel, 1 bit
    becomes 8, and 16-bit grey in whatever order of bytes I;16.

    Returns:
        The picture in mode L, LA, RGB, RGBA or I;16; the same object where nothing had to change.

    Raises:
        PhotoError: If it has no pixels, or more than 16 bits, or a mode that has no way to RGB.
    """
    if 0 in image.size:
        raise PhotoError(f"the picture has no pixels: {image.width}x{image.height}")
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        return _grey16(image)
    if image.has_transparency_data:
        wanted = "LA" if mode in ("1", "L", "LA", "La") else "RGBA"
    else:
        wanted = "L" if mode in ("1", "L") else "RGB"
    if mode == wanted:
        return image
    if mode == "F":
        raise PhotoError("the picture has floating-point pixels; give one with 8 or 16 bits")
    try:
        return image.convert(wanted)
    except ValueError as error:
        raise PhotoError(f"a picture in mode {mode} cannot be read; give RGB or grey") from error


def _grey16(image: Image.Image) -> Image.Image:
    values: NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise PhotoError("the picture has more than 16 bits for each pixel; give 8 or 16")
    plain = Image.fromarray(values.astype(np.uint16))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        # One value of 65536 stands for "transparent", and Pillow has no 16-bit grey with alpha.
        alpha = Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.merge("LA", [Image.fromarray((values / 257 + 0.5).astype(np.uint8)), alpha])
    return plain


def save_photo(image: Image.Image, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a picture so that the file appears whole or not at all.

    It is written under another name in the same folder and then given its own. JPEG and WebP have
    quality 95, JPEG with full colour resolution. A fully opaque alpha channel is left out where
    the format has none.

    Args:
        image: The picture.
        path: Where; the ending, one of `FORMATS`, decides the format.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        PhotoError: If the ending is unknown, the format cannot hold the picture, the file exists
            and `overwrite` is not set, or the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PhotoError(
            f"cannot write {path}: its ending has to be one of {', '.join(sorted(FORMATS))}"
        )
    if not overwrite and path.exists():
        raise PhotoError(f"{path} exists already; remove it or ask to overwrite")
    try:
        write_whole(path, _encoded(image, path), overwrite=overwrite)
    except FileExistsError as error:
        raise PhotoError(f"{path} exists already; remove it or ask to overwrite") from error
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror or error}") from error


def _encoded(image: Image.Image, path: Path) -> bytes:
    format_ = FORMATS[path.suffix.lower()]
    if format_ in _NO_ALPHA and image.has_transparency_data:
        image = to_plain(image)
        if image.getchannel("A").getextrema() != (255, 255):
            raise PhotoError(
                f"cannot write {path}: {format_} has no transparency and the photo has; give the "
                "photo as .png, .tif or .webp"
            )
        image = image.convert("L" if image.mode == "LA" else "RGB")
    buffer = BytesIO()
    try:
        image.save(buffer, format_, **_OPTIONS[format_])
    except Exception as error:  # encoders raise what they like, such as for too wide a picture
        raise PhotoError(f"cannot write {path} as {format_}: {error}") from error
    return buffer.getvalue()
