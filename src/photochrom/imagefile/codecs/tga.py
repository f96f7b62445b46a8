"""Truevision TGA: comments, gamma and the kind of alpha.

Follows the Truevision TGA File Format Specification, version 2.0, field numbers in brackets.
"""

import dataclasses
import struct

import numpy as np
from PIL.ImageFile import ImageFile

from photochrom.color import Pixels, icc
from photochrom.imagefile.decoding import finish, reader_errors
from photochrom.imagefile.photo import Encoding, Photo, decode_pixels

_SIGNATURE = b"TRUEVISION-XFILE.\0"
_FOOTER_SIZE, _EXTENSION_SIZE = 26, 495
_NO_ALPHA, _PREMULTIPLIED_ALPHA = (0, 1, 2), 4


def decode(image: ImageFile, data: bytes, name: str) -> Photo:
    """Decode a TGA from `open_image`.

    Raises:
        DamagedError: If it is damaged or cut off.
    """
    with reader_errors(name):
        image.load()
        photo = _drop_unusable_alpha(decode_pixels(image), data[16], attribute_bits=data[17] & 15)
        extension = _read_extension(data)
        if extension is not None:
            photo = _apply_gamma(_apply_alpha_kind(photo, extension[494]), extension)
        metadata = dataclasses.replace(photo.metadata, comments=_read_comments(data, extension))
        return finish(photo, metadata, Encoding("TGA"), image=image)


def _read_extension(data: bytes) -> bytes | None:
    """Return the extension area (10), None if there is none."""
    footer = data[-_FOOTER_SIZE:]
    if not footer.endswith(_SIGNATURE):
        return None
    (offset,) = struct.unpack_from("<I", footer)
    extension = data[offset : offset + _EXTENSION_SIZE]
    return extension if offset and len(extension) == _EXTENSION_SIZE else None


def _drop_unusable_alpha(photo: Photo, depth: int, *, attribute_bits: int) -> Photo:
    """Drop alpha that cannot be meant as opacity.

    Programs disagree on the single bit of pixels of 16 bits. In pixels of 32 bits they write
    opacity whether or not the header says that there are attribute bits.
    """
    is_single_bit = depth == 16 and photo.pixels.shape[2] == 3
    if photo.alpha is None or (photo.alpha.any() and not is_single_bit):
        return photo
    metadata = photo.metadata
    if attribute_bits:
        metadata = metadata.with_warning(
            "the transparency of 1 bit is dropped"
            if is_single_bit
            else "the opacity, 0 everywhere, is dropped"
        )
    return dataclasses.replace(photo, alpha=None, metadata=metadata)


def _apply_alpha_kind(photo: Photo, kind: int) -> Photo:
    """Apply the attributes type (24): drop what is no opacity, undo premultiplied opacity."""
    if photo.alpha is None or kind in _NO_ALPHA:
        return dataclasses.replace(photo, alpha=None)
    if kind != _PREMULTIPLIED_ALPHA:
        return photo
    opacity = np.maximum(photo.alpha, 1)[..., None] / np.float32(255)
    pixels: Pixels = np.minimum(photo.pixels / opacity + np.float32(0.5), 255).astype(np.uint8)
    return dataclasses.replace(photo, pixels=pixels)


def _apply_gamma(photo: Photo, extension: bytes) -> Photo:
    """Set the profile of the gamma (20), an exponent."""
    numerator, denominator = struct.unpack_from("<2H", extension, 478)
    if not numerator or not denominator:
        return photo
    is_grey = photo.pixels.shape[2] == 1
    try:
        profile = icc.calibrated_profile(numerator / denominator, None, is_grey=is_grey)
        metadata = photo.metadata.with_profile(profile)
    except icc.ProfileError as error:
        metadata = photo.metadata.with_warning(f"the gamma of its header is dropped: {error}")
    return dataclasses.replace(photo, metadata=metadata)


def _read_comments(data: bytes, extension: bytes | None) -> tuple[str, ...]:
    """Return the texts of image ID (6), author (11), author comments (12) and job (14)."""
    texts = [_text(data[18 : 18 + data[0]])]
    if extension is not None:
        lines = [_text(extension[start : start + 81]) for start in range(43, 367, 81)]
        comments = b"\n".join(filter(None, lines))
        texts += [_text(extension[2:43]), comments, _text(extension[379:420])]
    return tuple(text.decode(errors="surrogateescape") for text in texts if text)


def _text(content: bytes) -> bytes:
    """Return the text up to the first zero, empty if it is none."""
    text = content.split(b"\0")[0].strip()
    return text if all(byte >= 0x20 or byte in b"\r\n\t" for byte in text) else b""
