"""What an orientation (EXIF 2.32, tag 274) does to positions in a photo."""

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
