"""ICC profiles: curves and a matrix become a `ColorSpace`; littleCMS converts all others."""

import dataclasses
import functools
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from photochrom.color.cie import FloatArray, f_inverse
from photochrom.color.pixels import Pixels
from photochrom.color.spaces import SRGB, ColorSpace, srgb_to_linear
from photochrom.errors import PhotochromError

_VALUES = np.linspace(0, 1, 65536)
_BAND_ROWS = 256
_KINDS = {b"GRAY": ("gray", 1), b"RGB ": ("rgb", 3), b"CMYK": ("cmyk", 4)}
"""Colour space of a profile to its name in imagecodecs, and its number of channels."""
_SRGB_D50 = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
"""Linear sRGB to the XYZ of profiles, which is relative to D50."""
_GAMMA_TOLERANCE = 0.05
"""Within it, an exponent of 2.2 stands for sRGB's curve, as in libpng."""
_CHROMATICITY_TOLERANCE = 0.01
_MAX_EXPONENT = 10
_PARAMETER_COUNTS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""Type of a parametric curve to its number of parameters."""


class ProfileError(PhotochromError):
    """A colour profile that is damaged, or of a kind that cannot be used."""


@dataclass(frozen=True)
class Primaries:
    """Primaries and white of an RGB space, as CIE x and y."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]


BT709 = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
"""Those of sRGB, too."""


@functools.lru_cache(maxsize=16)
def read_profile(icc: bytes) -> ColorSpace:
    """Read a grey profile, or an RGB profile of curves and a matrix.

    Follows ICC.1:2022, sections 10.6 (curveType), 10.18 (parametricCurveType) and 10.31 (XYZType).

    Returns:
        The same space for the same bytes; `SRGB` if it differs by rounding only.

    Raises:
        ProfileError: If the profile is of another kind, or damaged.
    """
    try:
        tags = _read_tags(icc)
        kind, connection = icc[16:20], icc[20:24]
        if kind == b"GRAY" and connection in (b"XYZ ", b"Lab "):
            grey = _read_curve(tags[b"kTRC"])[None].astype(np.float32)
            if connection == b"Lab ":  # the curve leads to L* / 100
                grey = f_inverse((grey * 100 + np.float32(16)) / np.float32(116))
            return ColorSpace(grey, None)
        if kind != b"RGB " or connection != b"XYZ ":
            raise ProfileError(f"the profile converts {kind!r} to {connection!r}, not RGB to XYZ")
        curves = np.array([_read_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
        columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.linalg.solve(_SRGB_D50, np.array(columns).T / 65536)
    except (KeyError, struct.error, IndexError, np.linalg.LinAlgError) as error:
        raise ProfileError("the profile is damaged, or has no curves or no matrix") from error
    white = matrix.sum(axis=1, keepdims=True)
    if white.min() < 0.5 or abs(np.linalg.det(matrix)) < 1e-3:
        raise ProfileError("the matrix of the profile is not plausible")
    matrix /= white  # white to white exactly
    space = ColorSpace(curves.astype(np.float32), matrix.astype(np.float32))
    return SRGB if _is_srgb(space) else space


def convert_to_srgb(pixels: Pixels, icc: bytes) -> Pixels:
    """Convert pixels to sRGB by littleCMS, relative colorimetric with black point compensation.

    Args:
        pixels: Grey, RGB or CMYK as `icc` says, shape (H, W, 1), (H, W, 3) or (H, W, 4). The
            largest value is white, and the full ink of CMYK.
        icc: A profile of any kind.

    Returns:
        RGB of the type of `pixels`, shape (H, W, 3).

    Raises:
        ProfileError: If littleCMS cannot use the profile, or it is one for other channels.
    """
    kind, channels = _KINDS.get(icc[16:20], ("", 0))
    if pixels.shape[2] != channels:
        raise ProfileError("the colour profile is one for other channels")
    return _transform(pixels[..., 0] if channels == 1 else pixels, icc, kind, pixels.dtype)


def lab_to_srgb(lab: NDArray[np.uint16], dtype: DTypeLike) -> Pixels:
    """Convert CIELAB, relative to its white, to sRGB of 8 or 16 bits.

    Args:
        lab: Shape (H, W, 3), encoded as by ICC.1:2022, section 6.3.4.2: L* is 0 to 100 over all
            values, a* and b* are -128 to 127.
        dtype: Of the pixels.
    """
    from imagecodecs import cms_profile

    return _transform(lab, cms_profile("lab4"), "lab", dtype)


def _transform(values: Pixels, icc: bytes, kind: str, dtype: DTypeLike) -> Pixels:
    """Convert pixels without a table of 17 to 33 points that littleCMS would compute before.

    It is three times as fast, but L* of CMYK is wrong by 1 to 10 between its points.
    """
    from imagecodecs import CMS, CmsError, cms_transform  # few photos need it

    output = srgb_profile()
    converted = np.empty((*values.shape[:2], 3), dtype)

    def convert(top: int) -> None:
        rows = slice(top, top + _BAND_ROWS)
        converted[rows] = cms_transform(
            np.ascontiguousarray(values[rows]),
            icc,
            output,
            colorspace=kind,
            outcolorspace="rgb",
            outdtype=dtype,
            intent=CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=CMS.FLAGS.BLACKPOINTCOMPENSATION | CMS.FLAGS.NOOPTIMIZE,
        )

    try:
        with ThreadPoolExecutor(cv2.getNumThreads()) as pool:
            list(pool.map(convert, range(0, len(values), _BAND_ROWS)))
    except (CmsError, ValueError) as error:
        raise ProfileError(f"the colour profile cannot be used: {error}") from error
    return converted


@functools.cache
def srgb_profile() -> bytes:
    """Return a profile of sRGB, always the same bytes."""
    from PIL import ImageCms

    return _undated(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def build_profile(curve: float | FloatArray, primaries: Primaries | None) -> bytes:
    """Return a profile of RGB, or of grey without `primaries`, always the same bytes.

    Args:
        curve: Linear values of equally spaced pixel values in [0, 1], up to 4096; or the exponent
            of a pure power.
        primaries: Adapted to D50 by Bradford's method.

    Raises:
        ProfileError: If the primaries are not plausible.
    """
    from imagecodecs import CmsError, cms_profile

    white = (primaries or BT709).white
    colors = None if primaries is None else [*primaries.red, *primaries.green, *primaries.blue]
    shape = {"gamma": curve} if isinstance(curve, float) else {"transferfunction": curve}
    try:
        kind = "gray" if primaries is None else "rgb"
        profile = cms_profile(kind, whitepoint=[*white], primaries=colors, **shape)
    except (CmsError, ValueError) as error:
        raise ProfileError("the primaries are not plausible") from error
    undated = _undated(profile)
    read_profile(undated)  # raises if they are not
    return undated


def calibrated_profile(
    exponent: float | None, primaries: Primaries | None, *, is_grey: bool = False
) -> bytes | None:
    """Return a profile of RGB, or of grey, for what a file says of its colours.

    Args:
        exponent: From pixel values to linear values; None: sRGB's curve.
        primaries: None: sRGB's.
        is_grey: Whether the pixels are grey; they have no primaries.

    Returns:
        None if it is sRGB, or is meant to be.

    Raises:
        ProfileError: If exponent or primaries are not plausible.
    """
    if exponent is not None and not 1 / _MAX_EXPONENT < exponent < _MAX_EXPONENT:
        raise ProfileError("the gamma is not plausible")
    has_srgb_curve = exponent is None or abs(exponent / 2.2 - 1) < _GAMMA_TOLERANCE
    if primaries is None or is_grey:
        has_srgb_primaries = True
    else:
        differences = np.subtract(dataclasses.astuple(primaries), dataclasses.astuple(BT709))
        has_srgb_primaries = bool(np.abs(differences).max() < _CHROMATICITY_TOLERANCE)
    if has_srgb_curve and has_srgb_primaries:
        return None
    curve = srgb_to_linear(np.linspace(0, 1, 4096, dtype=np.float32))
    return build_profile(
        curve if exponent is None else exponent, None if is_grey else primaries or BT709
    )


def _undated(profile: bytes) -> bytes:
    """Return a profile of littleCMS without the current time."""
    undated = bytearray(profile)
    undated[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    undated[84:100] = bytes(16)  # the checksum is optional
    return bytes(undated)


def _read_tags(icc: bytes) -> dict[bytes, bytes]:
    if icc[36:40] != b"acsp":
        raise ProfileError("it is not an ICC profile")
    (count,) = struct.unpack_from(">I", icc, 128)
    tags = {}
    for entry in range(min(count, 200)):
        name, start, size = struct.unpack_from(">4sII", icc, 132 + 12 * entry)
        tags[name] = icc[start : start + size]
    return tags


def _read_curve(tag: bytes) -> NDArray[np.float64]:
    """Return the linear values of 65536 pixel values.

    Raises:
        ProfileError: If the curve is damaged or not rising.
    """
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            curve = _VALUES
        elif count == 1:
            curve = _VALUES ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        else:
            if len(tag) < 12 + 2 * count:
                raise ProfileError("a curve of the profile is cut off")
            points = np.frombuffer(tag, ">u2", count, 12) / 65535
            curve = np.interp(_VALUES, np.linspace(0, 1, len(points)), points)
    elif tag[:4] == b"para":
        curve = _read_parametric_curve(tag)
    else:
        raise ProfileError("the profile has a curve of an unknown type")
    curve = np.clip(curve, 0, 1)
    if not np.isfinite(curve).all() or (np.diff(curve) < 0).any() or curve[0] == curve[-1]:
        raise ProfileError("a curve of the profile does not rise")
    return curve


def _read_parametric_curve(tag: bytes) -> NDArray[np.float64]:
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind not in _PARAMETER_COUNTS:
        raise ProfileError("the profile has a curve of an unknown type")
    values = [n / 65536 for n in struct.unpack_from(f">{_PARAMETER_COUNTS[kind]}i", tag, 12)]
    values += [0.0] * (7 - len(values))
    g, a, b, c, d, e, f = values
    with np.errstate(all="ignore"):  # the caller checks the result
        if kind == 0:
            a = 1.0
        curve: NDArray[np.float64] = np.power(np.maximum(a * _VALUES + b, 0), g)
        if kind < 3:  # types 0 to 2 have no linear segment; c is added
            curve += c
        else:
            curve = np.where(d <= _VALUES, curve + e, c * _VALUES + f)
    return curve


def _is_srgb(space: ColorSpace) -> bool:
    """Tell whether a space differs from sRGB by less than half a level of 8 bits."""
    assert space.matrix is not None
    errors = [np.interp(curve, SRGB.curves[0], _VALUES) - _VALUES for curve in space.curves]
    return bool(np.abs(errors).max() < 0.002 and np.abs(space.matrix - np.eye(3)).max() < 0.005)
