"""ICC profiles: of curves and a matrix they become a `Space`; littleCMS converts by others."""

import functools
import struct
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import SRGB, Space, from_lightness
from photochrom.errors import PhotochromError

_NUMBERS = np.linspace(0, 1, 65536)
_SRGB_D50 = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
"""Linear sRGB to the XYZ of profiles, which is relative to D50."""
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""How many numbers each kind of parametric curve has."""


class ProfileError(PhotochromError):
    """A colour profile that is not one of curves and a matrix, or is damaged."""


@functools.lru_cache(maxsize=16)
def read(icc: bytes) -> Space:
    """Return which colours a profile means, if it is one of curves and a matrix, or of grey.

    Follows ICC.1:2022, sections 10.6 (curveType), 10.18 (parametricCurveType) and 10.31 (XYZType).

    Args:
        icc: The profile.

    Returns:
        The space, the same for the same bytes; `SRGB` itself if there is no difference to speak of.

    Raises:
        ProfileError: If it is another profile, or damaged.
    """
    try:
        tags = _tags(icc)
        kind, connection = icc[16:20], icc[20:24]
        if kind == b"GRAY" and connection in (b"XYZ ", b"Lab "):
            grey = _curve(tags[b"kTRC"])[None].astype(np.float32)
            return Space(from_lightness(grey * 100) if connection == b"Lab " else grey, None)
        if kind != b"RGB " or connection != b"XYZ ":
            raise ProfileError(f"it leads from {kind!r} to {connection!r}, not from RGB to XYZ")
        curves = np.array([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.linalg.solve(_SRGB_D50, np.array(columns).T)
    except (KeyError, struct.error, IndexError, np.linalg.LinAlgError) as error:
        raise ProfileError("it is damaged, or has neither curves nor a matrix") from error
    white = matrix.sum(axis=1, keepdims=True)
    if white.min() < 0.5 or abs(np.linalg.det(matrix)) < 1e-3:
        raise ProfileError("its matrix makes no sense")
    matrix /= white  # white to white, whatever the rounding
    space = Space(curves.astype(np.float32), matrix.astype(np.float32))
    return SRGB if _is_srgb(space) else space


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """Convert a picture of 8 bits by any profile, relative to white and with its black to black.

    Raises:
        ProfileError: If littleCMS cannot make use of the profile, or not for this picture.
    """
    alpha = None
    if image.mode in ("P", "RGBA", "PA", "RGBa"):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    from PIL import ImageCms  # few photos need it, and it costs a start

    try:
        converted = ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(BytesIO(icc)),
            ImageCms.ImageCmsProfile(BytesIO(srgb_profile())),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ProfileError(f"its colour profile cannot be used: {error}") from error
    assert converted is not None
    if alpha is not None and alpha.getextrema() != (255, 255):
        converted.putalpha(alpha)
    return converted


def is_whole(icc: bytes) -> bool:
    """Tell whether littleCMS can read a profile."""
    from PIL import ImageCms

    try:
        ImageCms.ImageCmsProfile(BytesIO(icc))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    return True


@functools.cache
def srgb_profile() -> bytes:
    """Return a profile of sRGB, always the same."""
    from PIL import ImageCms

    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # else the moment of its making
    made[84:100] = bytes(16)  # a checksum that need not be there
    return bytes(made)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """Return the content of each tag."""
    if icc[36:40] != b"acsp":
        raise ProfileError("it is no ICC profile")
    (count,) = struct.unpack_from(">I", icc, 128)
    tags = {}
    for entry in range(min(count, 200)):
        name, start, size = struct.unpack_from(">4sII", icc, 132 + 12 * entry)
        tags[name] = icc[start : start + size]
    return tags


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(number / 65536 for number in struct.unpack_from(">3i", tag, 8))


def _curve(tag: bytes) -> NDArray[np.float64]:
    """Return the linear value of 65536 numbers.

    Raises:
        ProfileError: If it is no curve, or one that falls.
    """
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            curve = _NUMBERS
        elif count == 1:
            curve = _NUMBERS ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        else:
            if len(tag) < 12 + 2 * count:
                raise ProfileError("its curve is cut off")
            points = np.frombuffer(tag, ">u2", count, 12) / 65535
            curve = np.interp(_NUMBERS, np.linspace(0, 1, len(points)), points)
    elif tag[:4] == b"para":
        curve = _parametric(tag)
    else:
        raise ProfileError("it has a curve of an unknown kind")
    curve = np.clip(curve, 0, 1)
    if not np.isfinite(curve).all() or (np.diff(curve) < 0).any() or curve[0] == curve[-1]:
        raise ProfileError("its curve does not rise")
    return curve


def _parametric(tag: bytes) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind not in _PARAMETERS:
        raise ProfileError("it has a curve of an unknown kind")
    values = [n / 65536 for n in struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12)]
    values += [0.0] * (7 - len(values))
    g, a, b, c, d, e, f = values
    with np.errstate(all="ignore"):  # numbers that make no sense are found afterwards
        if kind == 0:
            a = 1.0
        curve: NDArray[np.float64] = np.power(np.maximum(a * _NUMBERS + b, 0), g)
        if kind < 3:  # there is no line below the power, and c is added
            curve += c
        else:
            curve = np.where(d <= _NUMBERS, curve + e, c * _NUMBERS + f)
    return curve


def _is_srgb(space: Space) -> bool:
    """Tell whether a space is sRGB but for rounding: less than half a level of 8 bits."""
    assert space.matrix is not None
    number = np.linspace(0, 1, 65536)
    near = [np.interp(curve, SRGB.curves[0], number) - number for curve in space.curves]
    return bool(np.abs(near).max() < 0.002 and np.abs(space.matrix - np.eye(3)).max() < 0.005)
