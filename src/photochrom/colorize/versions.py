"""Versions of a photo that differ where the model is uncertain, made by hinting those places."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer, PreparedPhoto
from photochrom.colorize.hinting import draw_hints
from photochrom.colorize.hints import MAX_HINTS, Hint, PlacedHint, place_hints
from photochrom.colorize.upsampling import resize_planes
from photochrom.imagefile.geometry import Geometry

COUNT = 4
_PAINTS = ((25, 34), (275, 30), (150, 26), (75, 36), (325, 26))
"""Hue in degrees and chroma of what people paint: wine red, blue, green, ochre, purple."""
_OTHER_HUE = 40
"""Degrees by which a paint differs from the colour that a region has already."""
_PLACES = (2, 1)
"""Hints in the region of the highest score, and in the next one."""
_MIN_AREA, _MAX_AREA = 0.01, 0.12
"""Fractions of the picture: smaller regions are left out, larger ones count as this large."""
_MIN_SCORE = 0.2
"""Of a region: its uncertainty (a distance of ab), times the root of its area as a fraction."""
_FLAT = 6
"""Difference of neighbouring pixels, 0 to 255, within a region."""

Mask = NDArray[np.bool_]


def hint_versions(
    colorizer: Colorizer,
    prepared: PreparedPhoto,
    hints: Sequence[Hint],
    geometry: Geometry,
    size: tuple[int, int],
) -> list[tuple[Hint, ...]]:
    """Return hints of up to `COUNT` versions: those given, then those with others added.

    The added ones paint one or two regions, such as a dress, in different colours: regions where
    the model's colours depend on the size at which it sees the photo, and on whether it is
    mirrored. Skin, sky and leaves keep their colours. If there is no such region, or no room for
    more hints, only those given are returned. The same arguments give the same versions.

    Args:
        colorizer: Its model takes hints.
        prepared: The photo, turned, straightened and cropped.
        hints: Of the photo as it is.
        geometry: How it was turned, straightened and cropped.
        size: Width and height in px of the upright photo.

    Raises:
        PhotochromError: If the crop reaches out of the photo, or a hint asks for the own colour of
            a photo that has none.
        ModelError: As `Colorizer.predict_ab`.
    """
    placed = place_hints(hints, size, geometry)
    predictions = np.stack(list(_predict_variants(colorizer, prepared, placed)))
    # Regions with a hint are left out, although it may not have changed all of their pixels.
    regions = _find_regions(prepared.small_L, prepared.unhinted_ab, predictions, placed)[
        : len(_PLACES)
    ]
    versions = [tuple(hints)]
    if regions and len(hints) + sum(_PLACES) <= MAX_HINTS:
        for number in range(COUNT - 1):
            added = [
                _to_hint(prepared, place, region.paint(number + index), geometry, size)
                for index, (region, count) in enumerate(zip(regions, _PLACES, strict=False))
                for place in region.places(count)
            ]
            versions.append((*hints, *added))
    return versions


def _predict_variants(
    colorizer: Colorizer, prepared: PreparedPhoto, hints: Sequence[PlacedHint]
) -> Iterator[FloatArray]:
    """Yield the model's ab at several sizes and mirrored, each of the shape for its own size."""
    height, width = prepared.small_L.shape
    for scale, is_mirrored in ((1.0, False), (1.0, True), (0.75, False), (1.33, True)):
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        L, own = prepared.small_L, prepared.own_ab
        if scale != 1:
            L = cv2.resize(prepared.L, (w, h), interpolation=cv2.INTER_AREA)
            own = None if own is None else resize_planes(own, w, h)
        drawn = draw_hints(hints, L, own, color.SRGB).known if hints else None
        if is_mirrored:
            L = np.ascontiguousarray(L[:, ::-1])
            drawn = None if drawn is None else np.ascontiguousarray(drawn[..., ::-1])
        ab = colorizer.predict_ab(L, drawn)
        ab = np.ascontiguousarray(ab[..., ::-1]) if is_mirrored else ab
        yield resize_planes(ab, width, height)


@dataclass(frozen=True, eq=False)
class _Region:
    """A part of one colour, such as a dress."""

    mask: Mask
    """Shape (h, w)."""
    L: float
    """Mean, like `a` and `b`."""
    a: float
    b: float
    uncertainty: float
    """Mean distance of the predictions from their mean, in ab."""

    @property
    def area(self) -> float:
        """As a fraction of the picture."""
        return float(self.mask.mean())

    @property
    def hue(self) -> float:
        """Degrees, 0 to 360."""
        return float(np.degrees(np.arctan2(self.b, self.a)) % 360)

    @property
    def chroma(self) -> float:
        return float(np.hypot(self.a, self.b))

    @property
    def rim(self) -> float:
        """How much of it lies at the rim of the picture, 0 to 1: a background."""
        mask = self.mask
        count = sum(int(side.sum()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        return min(1.0, count / (2 * float(np.sqrt(mask.sum()))))

    @property
    def score(self) -> float:
        """How much another colour is worth to be seen; of a dark region or a background, less."""
        seen = float(np.interp(self.L, [10, 30], [0.3, 1])) * (1 - 0.8 * self.rim)
        return seen * self.uncertainty * float(np.sqrt(min(self.area, _MAX_AREA)))

    @property
    def is_known(self) -> bool:
        """Whether everybody knows its colour: skin, sky, leaves, black and white."""
        # Light skin is pale; better a wall that keeps its colour than a green shoulder.
        palest = float(np.interp(self.L, [45, 60], [12, 6]))
        is_skin = 20 < self.hue < 75 and self.chroma > palest and 35 < self.L < 95
        is_leaf = 85 < self.hue < 175 and self.chroma > 7
        is_sky = self.mask[:2].mean() > 0.1 and (
            self.L > 70 or (195 < self.hue < 290 and self.chroma > 4)
        )
        return is_skin or is_leaf or is_sky or not 8 < self.L < 95

    def paint(self, number: int) -> tuple[float, float]:
        """Return ab that differs from its own in hue; pale in a background, and if dark or light.

        Args:
            number: Of the paint, from 0; those after the last begin again.
        """
        paints = [
            (hue, chroma)
            for hue, chroma in _PAINTS
            if self.chroma < 10 or abs((hue - self.hue + 180) % 360 - 180) > _OTHER_HUE
        ]
        hue, most = paints[number % len(paints)]
        share = float(np.interp(self.L, [0, 15, 35, 60, 85, 97], [0.3, 0.6, 1, 1, 0.6, 0.3]))
        chroma = most * share * (1 - 0.6 * max(self.rim, min(1, 3 * self.area)))
        return chroma * float(np.cos(np.radians(hue))), chroma * float(np.sin(np.radians(hue)))

    def places(self, count: int) -> list[tuple[int, int]]:
        """Return row and column of up to `count` places inside of it, far from each other."""
        padded = np.pad(self.mask, 1).astype(np.uint8)
        inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        rows, columns = np.indices(self.mask.shape)
        places: list[tuple[int, int]] = []
        for _ in range(count):
            y, x = (int(i) for i in np.unravel_index(int(inside.argmax()), inside.shape))
            if inside[y, x] < 1:
                break
            places.append((y, x))
            inside = np.minimum(inside, np.hypot(rows - y, columns - x) / 2)
        return places


def _find_regions(
    L: FloatArray, unhinted_ab: FloatArray, predictions: FloatArray, hints: Sequence[PlacedHint]
) -> list[_Region]:
    """Return regions that are uncertain and have no hint, the highest score first.

    Args:
        L: L*, shape (h, w).
        unhinted_ab: The model's ab without hints, shape (2, h, w).
        predictions: ab, shape (n, 2, h, w).
        hints: Of the photo as it is.
    """
    height, width = L.shape
    mean = predictions.mean(0)
    uncertainty = np.sqrt(np.square(predictions - mean).sum(1).mean(0))
    rgb = color.lab_to_rgb(np.dstack([L, *unhinted_ab]).astype(np.float32))
    image = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    radius = max(2, min(height, width) // 28)
    image = cv2.pyrMeanShiftFiltering(image, radius, 18, maxLevel=1)
    change = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)).max(2)
    # Parts that only a narrow bridge connects are two regions.
    flat = cv2.morphologyEx(np.uint8(change <= _FLAT), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    hinted = {labels[int(hint.y * height), int(hint.x * width)] for hint in hints}
    regions = []
    for label in range(1, count):
        if label in hinted or stats[label, cv2.CC_STAT_AREA] < _MIN_AREA * L.size:
            continue
        mask = labels == label
        a, b = mean[:, mask].mean(1)
        regions.append(
            _Region(
                mask, float(L[mask].mean()), float(a), float(b), float(uncertainty[mask].mean())
            )
        )
    uncertain = [each for each in regions if not each.is_known and each.score >= _MIN_SCORE]
    return sorted(uncertain, key=lambda each: -each.score)


def _to_hint(
    prepared: PreparedPhoto,
    place: tuple[int, int],
    ab: tuple[float, float],
    geometry: Geometry,
    size: tuple[int, int],
) -> Hint:
    """Return a hint for a row and column of the network's input."""
    (y, x), (h, w) = place, prepared.small_L.shape
    width, height = prepared.size
    column, row = geometry.origin((x + 0.5) / w * width, (y + 0.5) / h * height, *size)
    return Hint(column, row, color.lab_to_hex(float(prepared.small_L[y, x]), *ab))
