"""Detect faces and measure how far the colours of skin are off."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from photochrom.color import FloatArray, rgb_to_lab

MIN_FACE_SIDE = 24
"""In px."""
SKIN_HUES = (15.0, 85.0)
"""Hue angles in degrees: detections whose mean colour lies outside are discarded."""
SKIN_CHROMAS = (6.0, 50.0)
"""Likewise for the mean chroma, in CIELAB units."""
DARK_LIGHTNESS = 50.0
"""Faces whose median L* is below this are dark."""


Face = tuple[slice, slice]
"""Rows and columns of the middle of a face."""


@dataclass(frozen=True)
class Skin:
    """The colours of one face."""

    error: float
    """Mean distance of (a*, b*) between output and original, in CIELAB units."""
    chroma: float
    """Mean chroma, in CIELAB units."""
    original_chroma: float
    dark: bool


def find_faces(rgb: NDArray[np.uint8]) -> list[Face]:
    """Return the middle of each face that is detected in a photo, the largest first.

    Args:
        rgb: Shape (H, W, 3), sRGB.

    Reference:
        The cascade of local binary patterns in scikit-image (from OpenCV).
    """
    height, width = rgb.shape[:2]
    if min(height, width) <= MIN_FACE_SIDE:
        return []
    boxes = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(rgb),
        scale_factor=1.2,
        step_ratio=1,
        min_size=(MIN_FACE_SIDE, MIN_FACE_SIDE),
        max_size=(height, width),
    )
    faces: list[Face] = []
    for box in sorted(boxes, key=lambda box: -int(box["width"])):
        top, left, side = int(box["r"]), int(box["c"]), int(box["width"])
        y, x = top + side // 2, left + side // 2
        if any(r.start <= y < r.stop and c.start <= x < c.stop for r, c in faces):
            continue  # detected at two sizes
        edge = side // 5  # hair and background
        rows = slice(top + edge, top + side - edge)
        faces.append((rows, slice(left + edge, left + side - edge)))
    return faces


@cache
def _cascade() -> Cascade:
    return Cascade(lbp_frontal_face_cascade_filename())


def measure_skin(rgb: FloatArray, target: FloatArray, faces: list[Face]) -> list[Skin]:
    """Measure the faces of a photo, except those that do not have the colours of skin.

    Args:
        rgb: The output, shape (H, W, 3), sRGB in [0, 1].
        target: The original.
        faces: From `find_faces` of the original.
    """
    skins = []
    for face in faces:
        lab, original = rgb_to_lab(rgb[face]), rgb_to_lab(target[face])
        a, b = original[..., 1:].reshape(-1, 2).mean(axis=0)
        hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
        if not (
            SKIN_HUES[0] <= hue <= SKIN_HUES[1] and SKIN_CHROMAS[0] <= chroma <= SKIN_CHROMAS[1]
        ):
            continue
        skins.append(
            Skin(
                error=float(np.hypot(*np.moveaxis(lab - original, -1, 0)[1:]).mean()),
                chroma=float(np.hypot(lab[..., 1], lab[..., 2]).mean()),
                original_chroma=float(np.hypot(original[..., 1], original[..., 2]).mean()),
                dark=bool(np.median(original[..., 0]) < DARK_LIGHTNESS),
            )
        )
    return skins
