"""Grids of photos with a heading above each column."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 4
"""White space between photos, in px."""
HEADING_HEIGHT = 18


def spread_indices(count: int, shown: int) -> list[int]:
    """Return the indices of up to `shown` of `count` items, evenly spread from first to last."""
    return sorted({round(i * (count - 1) / (shown - 1)) for i in range(shown)}) if count else []


def image_grid(rows: Sequence[Sequence[NDArray[np.uint8]]], headings: Sequence[str]) -> Image.Image:
    """Return photos side by side, with a heading above each column.

    Args:
        rows: sRGB photos of any sizes, each (H, W, 3); every row has one for each heading.
        headings: Cut off where they are wider than their column.
    """
    widths = [max((row[i].shape[1] for row in rows), default=64) for i in range(len(headings))]
    heights = [HEADING_HEIGHT, *(max(photo.shape[0] for photo in row) for row in rows)]
    lefts = list(accumulate((width + GAP for width in widths), initial=0))
    tops = list(accumulate((height + GAP for height in heights), initial=0))
    grid = Image.new("RGB", (lefts[-1] - GAP, tops[-1] - GAP), "white")
    font = ImageFont.load_default(14)
    for i, heading in enumerate(headings):
        label = Image.new("RGB", (widths[i], HEADING_HEIGHT + GAP), "white")
        ImageDraw.Draw(label).text((0, 0), heading, fill="black", font=font)
        grid.paste(label, (lefts[i], 0))
        for row, top in zip(rows, tops[1:-1], strict=True):
            grid.paste(Image.fromarray(np.ascontiguousarray(row[i])), (lefts[i], top))
    return grid
