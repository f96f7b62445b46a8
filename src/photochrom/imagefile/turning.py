"""What an orientation (EXIF 2.32, tag 274), a rotation and a crop do to positions in a photo."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

_Number = TypeVar("_Number", int, Decimal)

_FLIPS = {2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
"""Orientation to whether x and y count from the other side, before they are exchanged."""


@dataclass(frozen=True)
class Turn:
    """The change from a photo as it is stored to the upright one."""

    orientation: int
    """1 to 8."""
    width: int
    """Of the pixels as they are stored."""
    height: int

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are swapped."""
        return self.orientation >= 5

    @property
    def is_mirrored(self) -> bool:
        """Whether left and right are swapped, or top and bottom."""
        return self.orientation in (2, 4, 5, 7)

    def move_box(
        self,
        x: _Number,
        y: _Number,
        width: _Number,
        height: _Number,
        extents: tuple[_Number, _Number],
    ) -> tuple[_Number, _Number, _Number, _Number]:
        """Return left, top, width and height in the upright photo.

        Args:
            x: Left side in the stored photo.
            y: Top.
            width: 0 for a point.
            height: 0 for a point.
            extents: Width and height of the stored photo in the same unit.
        """
        flips_x, flips_y = _FLIPS.get(self.orientation, (0, 0))
        x = extents[0] - x - width if flips_x else x
        y = extents[1] - y - height if flips_y else y
        return (y, x, height, width) if self.swaps_sides else (x, y, width, height)

    def move_subject(self, area: tuple[int, ...]) -> tuple[int, ...]:
        """Return EXIF's SubjectArea in the upright photo: a pixel, and maybe a size around it.

        One outside of the photo is returned as it is.
        """
        x, y, *size = area
        if x >= self.width or y >= self.height:
            return area
        x, y, *_ = self.move_box(x, y, 0, 0, (self.width - 1, self.height - 1))
        return x, y, *(size[::-1] if self.swaps_sides else size)


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Crop:
    """The change from an upright photo to a rectangle of it, rotated around its centre."""

    width: int
    """Of the photo, in px."""
    height: int
    angle: float
    """Degrees clockwise by which the photo is rotated, on a canvas of its size."""
    left: int
    """Of the rectangle, in px of the rotated photo."""
    top: int
    new_width: int
    new_height: int

    def move_point(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place is in the rectangle, maybe outside, all in px."""
        x, y = x - self.width / 2, y - self.height / 2
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return (
            cos * x - sin * y + self.width / 2 - self.left,
            sin * x + cos * y + self.height / 2 - self.top,
        )

    def contains(self, x: float, y: float) -> bool:
        """Tell whether a place from `move_point` is in the rectangle."""
        return 0 <= x <= self.new_width and 0 <= y <= self.new_height

    def move_box(self, x: float, y: float, width: float, height: float) -> Box | None:
        """Return left, top, width and height in the rectangle, cut off at its sides, all in px.

        The box keeps its size around its centre, as it is rotated little.

        Args:
            x: Left side.
            y: Top.
            width: 0 for a point.
            height: 0 for a point.

        Returns:
            None: The centre lies outside.
        """
        x, y = self.move_point(x + width / 2, y + height / 2)
        if not self.contains(x, y):
            return None
        left, top = max(0.0, x - width / 2), max(0.0, y - height / 2)
        right = min(self.new_width, x + width / 2)
        bottom = min(self.new_height, y + height / 2)
        return left, top, right - left, bottom - top

    def move_subject(self, area: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return EXIF's SubjectArea in the rectangle: a pixel, and maybe a size around it.

        None: It lies outside.
        """
        x, y, *size = area
        new_x, new_y = map(math.floor, self.move_point(x + 0.5, y + 0.5))
        if not (0 <= new_x < self.new_width and 0 <= new_y < self.new_height):
            return None
        sides = self.new_width, self.new_height
        return new_x, new_y, *(min(pair) for pair in zip(size, sides, strict=False))
