"""Windows bitmaps: resolution and colours in the header, and the profile behind the pixels.

Follows Microsoft's BITMAPV4HEADER and BITMAPV5HEADER; fixed-point numbers have 16 or 30 bits after
the point.
"""

import struct
from io import BytesIO

from photochrom.color import icc
from photochrom.errors import PhotoError
from photochrom.imagefile.decoding import finish, open_image, reader_errors
from photochrom.imagefile.metadata import Density, Metadata
from photochrom.imagefile.photo import Encoding, Photo, decode_pixels

_FILE_HEADER_SIZE = 14
_V3_SIZE, _V4_SIZE, _V5_SIZE = 40, 108, 124
_BITFIELDS = 3
_SRGB, _CALIBRATED, _EMBEDDED, _LINKED = b"BGRs", b"\0\0\0\0", b"DEBM", b"KNIL"
_RELATIVE_COLORIMETRIC = 2  # LCS_GM_GRAPHICS
_CHROMATICITY_SUM = range(990, 1011)
"""Of x, y and z, in thousandths; XYZ of primaries have other sums."""


def read(data: bytes, name: str, max_pixels: int) -> Photo:
    """Read a bitmap, with its resolution and colour profile.

    Raises:
        PhotoError: If it has too many pixels, or colours that cannot be used.
        DamagedError: If it is damaged or cut off.
    """
    image = open_image(BytesIO(data), name, max_pixels)
    with reader_errors(name):
        metadata = _read_color(data, Metadata(density=_read_density(data)))
        image.load()
        return finish(decode_pixels(image), metadata, Encoding("BMP"), image=image)


def write_header(data: bytes, profile: bytes | None) -> bytes:
    """Return a bitmap by Pillow, of version 3, as one of version 5 if it has a profile or alpha."""
    headers_end = _FILE_HEADER_SIZE + _V3_SIZE
    has_alpha = struct.unpack_from("<H", data, 28) == (32,)
    if profile is None and not has_alpha:
        return data
    growth = _V5_SIZE - _V3_SIZE
    (pixels_start,) = struct.unpack_from("<I", data, 10)
    end = len(data) + growth
    header = bytearray(data[_FILE_HEADER_SIZE:headers_end]).ljust(_V5_SIZE, b"\0")
    struct.pack_into("<I", header, 0, _V5_SIZE)
    if has_alpha:
        struct.pack_into("<I", header, 16, _BITFIELDS)
        struct.pack_into("<4I", header, 40, 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header[56:60] = _SRGB if profile is None else _EMBEDDED
    place = (end - _FILE_HEADER_SIZE, len(profile)) if profile else (0, 0)
    struct.pack_into("<3I", header, 108, _RELATIVE_COLORIMETRIC, *place)
    size = end + len(profile or b"")
    return b"".join(
        [
            struct.pack("<2sIII", b"BM", size, 0, pixels_start + growth),
            header,
            data[headers_end:],
            profile or b"",
        ]
    )


def _read_density(data: bytes) -> Density | None:
    (size,) = struct.unpack_from("<I", data, _FILE_HEADER_SIZE)
    if size < _V3_SIZE:
        return None
    x, y = struct.unpack_from("<2i", data, _FILE_HEADER_SIZE + 24)
    return (x, y, "m") if min(x, y) > 0 else None


def _read_color(data: bytes, metadata: Metadata) -> Metadata:
    """Add the profile of a header of version 4 or 5, or what it says instead."""
    header = data[_FILE_HEADER_SIZE:]
    (size,) = struct.unpack_from("<I", header)
    if size not in (_V4_SIZE, _V5_SIZE):
        return metadata
    kind = header[56:60]
    if kind in (_EMBEDDED, _LINKED) and size == _V5_SIZE:
        start, length = struct.unpack_from("<2I", header, 112)
        profile = header[start : start + length]
        if kind == _LINKED:
            file = profile.split(b"\0")[0].decode("cp1252", "replace")
            raise PhotoError(f"its colour profile is another file, {file!r}; embed it")
        if len(profile) == length:
            return metadata.with_profile(profile or None)
        return metadata.with_warning("the colour profile is cut off and dropped")
    if kind == _CALIBRATED:
        exponent, primaries = _read_calibration(header)
        try:
            return metadata.with_profile(icc.calibrated_profile(exponent, primaries))
        except icc.ProfileError as error:
            return metadata.with_warning(f"the colours of its header are dropped: {error}")
    return metadata


def _read_calibration(header: bytes) -> tuple[float | None, icc.Primaries | None]:
    """Return exponent and primaries of LCS_CALIBRATED_RGB; None: there is none, all numbers are 0.

    Raises:
        PhotoError: If the channels have different exponents.
    """
    *numbers, red, green, blue = struct.unpack_from("<9i3I", header, 60)
    if max(red, green, blue) - min(red, green, blue) > 0.01 * 65536:
        raise PhotoError("red, green and blue have different gammas; convert it to sRGB")
    exponent = red / 65536 or None
    if not any(numbers):
        return exponent, None
    endpoints = [
        [number / (1 << 30) for number in numbers[start : start + 3]] for start in (0, 3, 6)
    ]
    if all(round(1000 * sum(endpoint)) in _CHROMATICITY_SUM for endpoint in endpoints):
        white = icc.BT709.white  # of chromaticities, white is not known
    else:
        white = _chromaticity([sum(components) for components in zip(*endpoints, strict=True)])
    red_xy, green_xy, blue_xy = map(_chromaticity, endpoints)
    return exponent, icc.Primaries(red_xy, green_xy, blue_xy, white)


def _chromaticity(xyz: list[float]) -> tuple[float, float]:
    total = sum(xyz) or 1.0
    return xyz[0] / total, xyz[1] / total
