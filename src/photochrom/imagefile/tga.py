"""Truevision TGA: comments, gamma and the kind of alpha.

Follows the Truevision TGA File Format Specification, version 2.0, field numbers in brackets.
"""

import dataclasses
import struct

import numpy as np
from PIL.ImageFile import ImageFile

from photochrom.color import Pixels, icc
from photochrom.imagefile.decoding import finish, reader_errors
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Encoding, Photo

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
        photo = Photo.from_image(image)
        comments = [data[18 : 18 + data[0]]]  # the image ID (6)
        extension = _read_extension(data)
        profile, warning = None, ""
        if extension is not None:
            photo = _apply_alpha_kind(photo, extension[494])
            lines = [_text(extension[start : start + 81]) for start in range(43, 367, 81)]
            # Author (11), its comments (12), job (14)
            comments += [extension[2:43], b"\n".join(filter(None, lines)), extension[379:420]]
            numerator, denominator = struct.unpack_from("<2H", extension, 478)  # gamma (20)
            try:
                if numerator and denominator:
                    profile = icc.calibrated_profile(
                        numerator / denominator, None, is_grey=photo.pixels.shape[2] == 1
                    )
            except icc.ProfileError as error:
                warning = f"the gamma of its header is dropped: {error}"
        texts = filter(None, (_text(c).decode(errors="surrogateescape") for c in comments))
        metadata = Metadata(icc=profile, comments=tuple(texts))
        if warning:
            metadata = metadata.with_warning(warning)
        return finish(photo, metadata, Encoding("TGA"), image=image)


def _read_extension(data: bytes) -> bytes | None:
    """Return the extension area (10), None if there is none."""
    footer = data[-_FOOTER_SIZE:]
    if not footer.endswith(_SIGNATURE):
        return None
    (offset,) = struct.unpack_from("<I", footer)
    extension = data[offset : offset + _EXTENSION_SIZE]
    return extension if offset and len(extension) == _EXTENSION_SIZE else None


def _apply_alpha_kind(photo: Photo, kind: int) -> Photo:
    """Apply the attributes type (24): drop what is no opacity, undo premultiplied opacity."""
    if photo.alpha is None or kind in _NO_ALPHA:
        return dataclasses.replace(photo, alpha=None)
    if kind != _PREMULTIPLIED_ALPHA:
        return photo
    opacity = np.maximum(photo.alpha, 1)[..., None] / np.float32(255)
    pixels: Pixels = np.minimum(photo.pixels / opacity + np.float32(0.5), 255).astype(np.uint8)
    return dataclasses.replace(photo, pixels=pixels)


def _text(content: bytes) -> bytes:
    """Return the text up to the first zero, empty if it is none."""
    text = content.split(b"\0")[0].strip()
    return text if all(byte >= 0x20 or byte in b"\r\n\t" for byte in text) else b""
