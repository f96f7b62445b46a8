"""Decoding of one image: Pillow or OpenCV decode it, then profile and orientation are applied."""

import dataclasses
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile

from photochrom.color import SRGB, Pixels, icc
from photochrom.errors import PhotoError, TooLargeError
from photochrom.imagefile.formats import detect_format
from photochrom.imagefile.metadata import Metadata, from_pillow_info
from photochrom.imagefile.photo import Encoding, Photo, decode_pixels
from photochrom.imagefile.truncation import Part
from photochrom.imagefile.turning import Turn

_UNSUPPORTED_FORMATS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "FITS", "PCD"}
"""Formats that Pillow only identifies, decodes with another program, or at a small size only."""
_KNOWN_KINDS = {
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"\xc5\xd0\xd3\xc6": "an EPS",
    b"SIMPLE  =": "a FITS",
    b"v/1\x01": "an OpenEXR",
    b"#?R": "a Radiance HDR",
    b"PK\3\4": "an archive (ZIP)",
    b"\x1f\x8b": "an archive (gzip)",
    b"<?xml": "XML",
    b"<svg": "an SVG",
}
"""First bytes of files that are no photos here, to their kinds."""
_NO_ANIMATIONS = {"MPO", "TIFF"}
"""Formats whose first frame is the photo, or that are read page by page."""
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
"""EXIF orientation to the transformation that makes the pixels upright."""
_WHITE_IS_ZERO = 0
IDEAL_INKS = "CMYK without a colour profile is converted to RGB as if inks were ideal"

_pillow_lock = threading.Lock()


class DamagedError(PhotoError):
    """An image that is incomplete or damaged, or whose metadata are."""


def open_image(stream: IO[bytes], name: str, max_pixels: int, frame: int = 0) -> ImageFile:
    """Read the header of an image, and raise `PhotoError` if it is not supported."""
    stream.seek(0)
    start = stream.read(64)
    format_ = detect_format(start)
    stream.seek(0)
    with _decoder_errors(name):
        try:
            with _no_pillow_limit():
                image = Image.open(stream, formats=_pillow_formats(format_))
                if frame:
                    image.seek(frame)
                if image.format == "SUN":
                    image.tile = [tile._replace(args=_sun_layout(tile.args)) for tile in image.tile]
        except UnidentifiedImageError as error:
            raise _unidentified_error(name, start, format_) from error
        if image.format not in _NO_ANIMATIONS and getattr(image, "n_frames", 1) > 1:
            raise PhotoError(f"{name} is an animation; give its frames one by one")
        check_size(*image.size, name, max_pixels)
    return image


def _sun_layout(arguments: Any) -> Any:
    """Return the layout of a Sun raster; of 32 bits, the unused byte is first (rasterfile(5))."""
    mode, *others = arguments if isinstance(arguments, tuple) else (arguments,)
    mode = {"RGBX": "XRGB", "BGRX": "XBGR"}.get(mode, mode)
    return (mode, *others) if others else mode


def check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    """Raise `TooLargeError` if an image has too many pixels."""
    if width * height > max_pixels:
        raise TooLargeError(
            f"{name} has {width * height / 1e6:.5g} megapixels; the limit is "
            f"{max_pixels / 1e6:.5g}; allow more with --max-pixels {width * height}",
            (width, height),
        )


def decode(
    image: ImageFile,
    data: bytes | None,
    metadata: Metadata,
    encoding: Encoding,
    name: str,
    *,
    is_upright: bool = False,
    part: Part | None = None,
) -> Photo:
    """Decode an image from `open_image`, and apply its colour profile and orientation.

    Without `data`, the file, several channels of 16 bits are refused. `is_upright` says that Pillow
    applies the orientation. `part` says that the file was cut off; its rows become known.

    Raises:
        PhotoError: If it is incomplete, or of a kind that is not supported.
    """
    with reader_errors(name):
        converted: Image.Image | None
        if _has_deep_color(image):
            photo, converted = _decode_deep_color(image, data), None
        else:
            with _no_warnings():
                image.load()
            if part is not None and part.rows is None:
                part.find_rows(image)
            photo, converted = _scale_values(image), image
        if part is not None:
            photo, converted = part.fill(photo), converted and part.fill_inks(converted)
            metadata = metadata.with_warning(part.describe(metadata.orientation or 1))
        return finish(photo, metadata, encoding, image=converted, is_upright=is_upright)


def photo_from_image(image: Image.Image) -> Photo:
    """Return a photo of a Pillow image in any mode with up to 16 bits.

    Colour profile, EXIF, XMP and resolution in its `info` are read as from a file, and the
    orientation is applied. `open_photo` reads more.

    Raises:
        PhotoError: If it has no pixels, more than 16 bits, or a mode that cannot be converted.
    """
    image.load()  # Pillow turns a TIFF here
    metadata = from_pillow_info(image.info)
    return finish(_scale_values(image), metadata, Encoding(), image=image)


def finish(
    photo: Photo,
    metadata: Metadata,
    encoding: Encoding,
    *,
    image: Image.Image | None = None,
    is_upright: bool = False,
    orientation: int | None = None,
) -> Photo:
    """Add metadata to decoded pixels, and apply their colour profile and orientation.

    Args:
        photo: Pixels and alpha, as they are in the file.
        metadata: Of the file.
        encoding: Of the file.
        image: The image of 8 bits that `photo` is from, to convert LUT profiles; None: it has more.
        is_upright: The orientation is applied to the pixels already.
        orientation: 1 to 8, in place of that of the metadata.

    Raises:
        PhotoError: If the colour profile cannot be used.
    """
    photo = dataclasses.replace(_apply_profile(photo, metadata, image), encoding=encoding)
    return make_upright(photo, is_upright=is_upright, orientation=orientation)


def _pillow_formats(format_: str | None) -> list[str]:
    """Return Pillow's names of the formats to try: the detected one, or all that are supported."""
    if format_ is not None:
        return [format_.upper()]
    Image.init()
    return sorted(set(Image.OPEN) - _UNSUPPORTED_FORMATS)


def _unidentified_error(name: str, start: bytes, format_: str | None) -> PhotoError:
    if format_ is not None:
        article = "an" if format_ == "AVIF" else "a"
        return DamagedError(
            f"{name} is {article} {format_} that is damaged or of a kind that cannot be read; save "
            "it again as PNG or TIFF"
        )
    kind = next((kind for found, kind in _KNOWN_KINDS.items() if start.startswith(found)), None)
    if start[4:8] == b"ftyp":
        kind = f"a file of ISO media of the brand {start[8:12]!r}, such as a video"
    return PhotoError(
        f"{name} is {f'{kind}, ' if kind else ''}not a photo in a format that can be read, such as "
        "JPEG, PNG, TIFF or WebP, whatever its suffix"
    )


@contextmanager
def reader_errors(name: str) -> Iterator[None]:
    """Name the file in errors: a `PhotoError` is prefixed, all others become `DamagedError`."""
    with _decoder_errors(name):
        try:
            yield
        except PhotoError as error:
            raise type(error)(f"{name}: {error}") from error


@contextmanager
def _decoder_errors(name: str) -> Iterator[None]:
    """Raise `DamagedError` for the exceptions of decoders, which can be of any type."""
    try:
        yield
    except (MemoryError, PhotoError):
        raise
    except Exception as error:
        raise DamagedError(f"{name} is damaged or cut off: {error}") from error


@contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Lift Pillow's limit of pixels, as `check_size` follows."""
    with _pillow_lock, _no_warnings():
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Ignore Pillow's warnings of damaged EXIF."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _has_deep_color(image: ImageFile) -> bool:
    """Tell whether channels have more than 8 bits, which Pillow would reduce to 8."""
    if image.mode.startswith("I"):
        return False
    arguments = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in image.tile]
    bits = getattr(image, "tag_v2", {}).get(Tag.BitsPerSample, ())
    return any(";16" in str(args[0]) for args in arguments) or max(bits, default=0) > 8


def _decode_deep_color(image: ImageFile, data: bytes | None) -> Photo:
    """Decode several channels of 16 bits with OpenCV."""
    if data is None:
        raise PhotoError("it is damaged: the location of its pixels is missing or wrong")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.shape[:2] != image.size[::-1]:
        raise PhotoError("it is damaged, or 16 bits of a kind that cannot be read")
    values = np.atleast_3d(decoded)
    if values.shape[2] < 3:
        return Photo(values)
    alpha = None
    if values.shape[2] == 4 and image.has_transparency_data:
        alpha = values[..., 3].copy()
    pixels = values if values.shape[2] == 3 else values[..., :3].copy()
    for row in pixels:  # BGR to RGB, in place to save memory
        row[:] = row[:, ::-1]
    raw_mode = str(image.tile[0][3])
    if alpha is not None and "RGBa" in raw_mode:  # premultiplied alpha
        straight = pixels * np.float32(65535) / np.maximum(alpha, 1)[..., None]
        pixels = np.minimum(straight + np.float32(0.5), 65535).astype(np.uint16)
    return Photo(pixels[..., :1].copy() if raw_mode.startswith("LA") else pixels, alpha)


def _scale_values(image: Image.Image) -> Photo:
    """Return a decoded image; in grey of 16 bits of a TIFF, 0 becomes black."""
    photo = decode_pixels(image)
    if not image.mode.startswith("I;16"):
        return photo
    tags = getattr(image, "tag_v2", {})
    values: Pixels = photo.pixels
    if tags.get(Tag.PhotometricInterpretation) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits only
        values = np.uint16(65535) - values
    return dataclasses.replace(photo, pixels=values)


def _apply_profile(photo: Photo, metadata: Metadata, image: Image.Image | None) -> Photo:
    """Set colour space and metadata of a photo.

    Matrix and grey profiles give the space. Others are converted to sRGB. Grey with an RGB profile
    becomes RGB. A damaged profile, or one for another number of channels, is dropped.
    """
    is_cmyk = image is not None and image.mode == "CMYK"
    if metadata.icc is None:
        metadata = metadata.with_warning(IDEAL_INKS) if is_cmyk else metadata
        return dataclasses.replace(photo, metadata=metadata)
    try:
        space = icc.read_profile(metadata.icc)
    except icc.ProfileError:
        pixels = np.asarray(image) if is_cmyk else photo.pixels
        if pixels.shape[2] == 1 and metadata.icc[16:20] == b"RGB ":
            pixels = np.repeat(pixels, 3, axis=2)
        return convert_to_srgb(photo, pixels, metadata)
    if photo.pixels.shape[2] == 1 and len(space.curves) == 3 and space is not SRGB:
        rgb: NDArray[Any] = np.repeat(photo.pixels, 3, axis=2)
        photo = dataclasses.replace(photo, pixels=rgb)
    if photo.pixels.shape[2] == 3 and space.matrix is None and _is_neutral(photo.pixels):
        # such as grey in a palette
        photo = dataclasses.replace(photo, pixels=photo.pixels[..., :1].copy())
    if photo.pixels.shape[2] != len(space.curves) and space is not SRGB:
        return _drop_profile(photo, metadata, "it is one for other channels")
    return dataclasses.replace(photo, space=space, metadata=metadata)


def convert_cmyk(inks: Pixels, alpha: Pixels | None, metadata: Metadata) -> Photo:
    """Return a photo of CMYK, shape (H, W, 4), converted to sRGB by its profile.

    Without a profile it is converted as if inks were ideal, as Pillow does.
    """
    pixels = np.empty_like(inks[..., :3])
    largest = np.iinfo(inks.dtype).max
    for row, out in zip(~inks, pixels, strict=True):
        light = row.astype(np.uint32)
        out[:] = (light[:, :3] * light[:, 3:] + largest // 2) // largest
    photo = Photo(pixels, alpha)
    if metadata.icc is not None:
        return convert_to_srgb(photo, inks, metadata)
    return dataclasses.replace(photo, metadata=metadata.with_warning(IDEAL_INKS))


def convert_to_srgb(photo: Photo, pixels: Pixels, metadata: Metadata) -> Photo:
    """Return a photo with `pixels`, of any colour model, converted to sRGB by their profile.

    If it cannot be used, the pixels of the photo stay.
    """
    assert metadata.icc is not None
    try:
        converted = icc.convert_to_srgb(pixels, metadata.icc)
    except icc.ProfileError as error:
        return _drop_profile(photo, metadata, str(error))
    metadata = metadata.with_profile(icc.srgb_profile()).with_warning(
        "the colours are converted from the photo's colour profile to sRGB"
    )
    return dataclasses.replace(photo, pixels=converted, metadata=metadata)


def _is_neutral(pixels: Pixels) -> bool:
    """Tell whether RGB is grey."""
    return bool((pixels[..., :1] == pixels[..., 1:]).all())


def _drop_profile(photo: Photo, metadata: Metadata, reason: str) -> Photo:
    metadata = metadata.with_profile(None).with_warning(f"the colour profile is dropped: {reason}")
    return dataclasses.replace(photo, metadata=metadata)


def make_upright(
    photo: Photo, *, is_upright: bool = False, orientation: int | None = None
) -> Photo:
    """Apply the orientation in the metadata of a photo, and reset it.

    `is_upright` says that it is applied to the pixels already; `orientation` replaces it.
    """
    own = orientation or photo.metadata.orientation
    orientation = own or 1
    stored = photo.size[::-1] if is_upright and orientation >= 5 else photo.size
    metadata = photo.metadata.make_upright(Turn(orientation, *stored))
    pixels, alpha = photo.pixels, photo.alpha
    transform = _UPRIGHT.get(orientation)
    if transform is not None and not is_upright:
        pixels = np.ascontiguousarray(transform(pixels))
        alpha = None if alpha is None else np.ascontiguousarray(transform(alpha))
    return dataclasses.replace(
        photo, pixels=pixels, alpha=alpha, metadata=metadata, orientation=own
    )
