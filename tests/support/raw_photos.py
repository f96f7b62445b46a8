"""Raw photos: small DNGs, which LibRaw reads."""

import struct

import numpy as np
from numpy.typing import NDArray

from photochrom.imagefile.tiff.structure import SIGNATURES, Tree, pack_directory

_XYZ_TO_SRGB = [3.2404542, -1.5371385, -0.4985314]
_XYZ_TO_SRGB += [-0.9692660, 1.8760108, 0.0415560, 0.0556434, -0.2040259, 1.0572252]


def make_dng(
    linear: NDArray[np.float64],
    *,
    demosaiced: bool = False,
    neutral: tuple[float, float, float] = (1, 1, 1),
    orientation: int = 1,
    white: int = 65535,
    extra: Tree | None = None,
) -> bytes:
    """Return a DNG of linear sRGB values, shape (h, w, 3), 0 to 1.

    Args:
        linear: The scene as a camera with sRGB's primaries sees it.
        demosaiced: A linear DNG of three values for each pixel, in place of a Bayer pattern RGGB.
        neutral: What the camera recorded of white; the values are multiplied by it.
        orientation: As in EXIF.
        white: The value of white.
        extra: Further fields of the directory, little-endian.
    """
    values = np.round(linear * neutral * white).clip(0, white).astype("<u2")
    height, width = linear.shape[:2]
    if not demosaiced:
        rows, columns = np.mgrid[:height, :width] % 2
        values = np.take_along_axis(values, (rows + columns)[..., None], 2)
    raw = values.tobytes()

    def shorts(*numbers: int) -> tuple[int, bytes]:
        return 3, struct.pack(f"<{len(numbers)}H", *numbers)

    def longs(number: int) -> tuple[int, bytes]:
        return 4, struct.pack("<I", number)

    samples = values.shape[2]
    tree: Tree = {
        254: longs(0),
        256: longs(width),
        257: longs(height),
        258: shorts(*[16] * samples),
        259: shorts(1),
        262: shorts(34892 if demosaiced else 32803),
        271: (2, b"Maker\0"),
        272: (2, b"Camera\0"),
        273: longs(8),
        274: shorts(orientation),
        277: shorts(samples),
        278: longs(height),
        279: longs(len(raw)),
        284: shorts(1),
        50706: (1, bytes((1, 4, 0, 0))),
        50708: (2, b"Maker Camera\0"),
        50717: longs(white),
        50721: (10, b"".join(struct.pack("<ii", round(x * 10**6), 10**6) for x in _XYZ_TO_SRGB)),
        50728: (5, b"".join(struct.pack("<II", round(x * 10**6), 10**6) for x in neutral)),
        50778: shorts(21),  # D65
    }
    if not demosaiced:
        tree |= {33421: shorts(2, 2), 33422: (1, bytes((0, 1, 1, 2)))}
    start = 8 + len(raw)
    directory = pack_directory(tree | (extra or {}), "<", start)
    return SIGNATURES["<"] + struct.pack("<I", start) + raw + directory
