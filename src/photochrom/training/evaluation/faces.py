"""Skin, measured on its own: how far its colours are off in the faces of a photo."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from photochrom.color import FloatArray, rgb_to_lab

SMALLEST = 24
"""Side in px of the smallest face that is found."""
HUES = (15.0, 85.0)
"""Hue angles of skin, in degrees: detections whose mean colour lies elsewhere are not counted."""
CHROMAS = (6.0, 50.0)
"""Likewise, mean chroma in CIELAB units."""
DARK = 50.0
"""Faces whose median L* is below this are dark."""


Face = tuple[slice, slice]
"""Rows and columns of the middle of a face."""


@dataclass(frozen=True)
class Skin:
    """The colours of one face."""

    error: float
    """Mean distance of (a*, b*) from the truth's, in CIELAB units."""
    chroma: float
    """Mean chroma, in CIELAB units."""
    chroma_truth: float
    dark: bool


def find_faces(rgb: NDArray[np.uint8]) -> list[Face]:
    """Return the middle of each face that is found in a photo, the largest first.

    Args:
        rgb: Shape (H, W, 3), sRGB.

    Reference:
        The cascade of local binary patterns that comes with scikit-image (from OpenCV).
    """
    height, width = rgb.shape[:2]
    if min(height, width) <= SMALLEST:
        return []
    found = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(rgb),
        scale_factor=1.2,
        step_ratio=1,
        min_size=(SMALLEST, SMALLEST),
        max_size=(height, width),
    )
    faces: list[Face] = []
    for box in sorted(found, key=lambda box: -int(box["width"])):
        top, left, side = int(box["r"]), int(box["c"]), int(box["width"])
        y, x = top + side // 2, left + side // 2
        if any(r.start <= y < r.stop and c.start <= x < c.stop for r, c in faces):
            continue  # it was found at two sizes
        edge = side // 5  # hair and background
        rows = slice(top + edge, top + side - edge)
        faces.append((rows, slice(left + edge, left + side - edge)))
    return faces


@cache
def _cascade() -> Cascade:
    return Cascade(lbp_frontal_face_cascade_filename())


def measure_skin(rgb: FloatArray, target: FloatArray, faces: list[Face]) -> list[Skin]:
    """Return what the faces of a photo look like; those without the colours of skin are left out.

    Args:
        rgb: The picture made, shape (H, W, 3), sRGB in [0, 1].
        target: The photo.
        faces: What `find_faces` returned of the photo.
    """
    found = []
    for face in faces:
        lab, truth = rgb_to_lab(rgb[face]), rgb_to_lab(target[face])
        a, b = truth[..., 1:].reshape(-1, 2).mean(axis=0)
        hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
        if not (HUES[0] <= hue <= HUES[1] and CHROMAS[0] <= chroma <= CHROMAS[1]):
            continue
        found.append(
            Skin(
                error=float(np.hypot(*np.moveaxis(lab - truth, -1, 0)[1:]).mean()),
                chroma=float(np.hypot(lab[..., 1], lab[..., 2]).mean()),
                chroma_truth=float(np.hypot(truth[..., 1], truth[..., 2]).mean()),
                dark=bool(np.median(truth[..., 0]) < DARK),
            )
        )
    return found
