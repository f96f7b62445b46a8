"""How far colours bleed over the edges of L*, beside plain bilinear enlarging.

    python benchmarks/edges.py                   # two colours and an edge, 4000 px wide
    python benchmarks/edges.py PHOTOS --count 50 # and colour photos, their ab reduced

The whole of `Colorizer` runs, on 16 bits; in the place of the network stands the truth, reduced by
the mean over each pixel that a network would see, and in some rows blurred by 0.7 of these pixels
besides, as a network may be less sharp than that. What is asked is not which colours there are, but
where they end.

Bleeding: let A and B be the ab on the two sides of an edge, 1.5 network pixels away from it. A
pixel's share of B is its ab projected on the line from A to B, cut off at 0 and 1. On A's side,
what this share has more than the truth has bled; on B's side, what it has less. The figure is the
mean over all pixels within one network pixel of the edge. "Off" is the mean of the absolute
difference instead, so that colours which end too soon count as well. RMS is that of all ab of a
picture. Bilinear's own figures come first; the others' are divided by them. A third or less is the
aim for bleeding.

In photos an edge is a maximum of the gradient of L*, smoothed, where the sides differ by 15 L* and
10 in ab, and where the truth itself is sharp: a mean share of less than .12 on the wrong side.
Photos whose colours a file keeps at half size can be shrunk first (`--shrink 2`).
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from photochrom import Colorizer, color
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import network_size
from photochrom.imagefile.photo import Photo

COLORS: FloatArray = np.array([[20, 30], [-10, -25]], np.float32)
CONDITIONS = ((0, 0, 0), (1, 0, 0), (2, 0, 0), (1, 3, 0), (1, 6, 0), (1, 0, 0.7))
"""Blur of the picture in px, grain in L*, blur of what the network gives in its own px."""
ROWS, NARROW = 750, 48  # of a picture that is 4000 px wide, and 256 px for the network
Enlarge = Callable[[FloatArray, FloatArray], FloatArray]


class Told:
    """A model that gives the answer which it was told."""

    name = "told"
    size = 192

    def __init__(self, ab: FloatArray) -> None:
        self._ab = ab

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Return it, shape (1, 2, h, w)."""
        assert L.shape[2:] == self._ab.shape[:2]
        return self._ab.transpose(2, 0, 1)[None]


@dataclass(frozen=True)
class Case:
    """A picture of which the truth is known."""

    L: FloatArray
    """Shape (H, W)."""
    truth: FloatArray
    """Its ab, shape (H, W, 2)."""
    small: FloatArray
    """What a network gives, shape (h, w, 2)."""
    shares: Callable[[FloatArray], FloatArray]
    """From ab to the share of the other side's colour near edges."""


def photochrom(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Return ab as large as L*, as `Colorizer` enlarges it."""
    grey = color.lab_to_rgb(np.dstack([L, np.zeros((*L.shape, 2), np.float32)]))[..., :1]
    photo = Photo((grey * 65535 + 0.5).astype(np.uint16))
    colorizer = Colorizer(Told(ab), threads=1)
    # As long sides are limited, the size that makes the small copy as large as `ab` is searched.
    size = next(n for n in range(min(ab.shape[:2]), 2048) if fits(photo.size, n, ab))
    rgb = colorizer(photo, size=size, mark=False).pixels.astype(np.float32) / np.float32(65535)
    return color.rgb_to_lab(rgb)[..., 1:]


def fits(size: tuple[int, int], short: int, ab: FloatArray) -> bool:
    """Say whether a network would see a photo of this size at the shape of `ab`."""
    return network_size(size[1], size[0], short) == ab.shape[:2]


def bilinear(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Return ab as large as L*, enlarged bilinearly, and in the gamut of sRGB as well."""
    large = cv2.resize(ab, L.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return color.rgb_to_lab(color.lab_to_rgb(np.dstack([L, large])))[..., 1:]


def blurred(x: FloatArray, sigma: float) -> FloatArray:
    """Return it blurred by so many px."""
    return cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) if sigma else x


def grained(L: FloatArray, sigma: float) -> FloatArray:
    """Return L* with grain."""
    grain = np.random.default_rng(0).standard_normal(L.shape, dtype=np.float32)
    return np.clip(L + sigma * grain, 0, 100)


def distance(kind: str) -> FloatArray:
    """Return how many px a pixel is from the nearest edge, negative on one side of it."""
    y, x = np.mgrid[:ROWS, :4000].astype(np.float32) + np.float32(0.5)
    if kind == "curved":
        return 150 - np.hypot(x % 500 - 250, y - ROWS / 2)
    turn = 0.5 if kind == "diagonal" else 0.0  # edges fall anywhere in a network pixel
    across = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn)) - np.float32(100)
    number = np.round(across / np.float32(487.3))
    side: FloatArray = (across - number * np.float32(487.3)) * np.where(number % 2, -1, 1)
    return side.astype(np.float32)


def two_colors(kind: str, step: float, blur: float, grain: float, soft: float) -> Case:
    """Return two colours that differ by `step` in L*, with straight or curved edges."""
    off = distance(kind)
    part = blurred(np.clip(off + np.float32(0.5), 0, 1), blur)
    first, second = COLORS
    truth = first + (second - first) * part[..., None]
    small = cv2.resize(truth, (256, NARROW), interpolation=cv2.INTER_AREA)
    near = np.abs(off) < 4000 / 256

    def shares(ab: FloatArray) -> FloatArray:
        share = (ab[near] - first) @ (second - first) / np.sum((second - first) ** 2)
        return np.where(off[near] < 0, share, 1 - share)

    return Case(grained(50 + step * (part - 0.5), grain), truth, blurred(small, soft), shares)


def from_photo(lab: FloatArray, factor: int, grain: float, soft: float) -> Case | None:
    """Return a photo with its ab reduced, or None if there are no edges to look at."""
    height, width = (side // factor * factor for side in lab.shape[:2])
    lab = np.ascontiguousarray(lab[:height, :width])
    L, truth = lab[..., 0], np.ascontiguousarray(lab[..., 1:])
    size = (width // factor, height // factor)
    small = blurred(cv2.resize(truth, size, interpolation=cv2.INTER_AREA), soft)
    soft_L = blurred(L, max(1.0, factor / 8))
    dx, dy = (cv2.Sobel(soft_L, cv2.CV_32F, *to, ksize=3, scale=1 / 8) for to in ((1, 0), (0, 1)))
    steep = np.hypot(dx, dy)
    margin = 2 * factor + 1
    inner = np.zeros(L.shape, bool)
    inner[margin:-margin, margin:-margin] = True
    y, x = (place.astype(np.float32) for place in np.nonzero(inner & (steep > 1)))
    if not len(y):
        return None
    here = looked_up(steep, y, x)
    ny, nx = looked_up(dy, y, x) / here, looked_up(dx, y, x) / here
    top = (here >= looked_up(steep, y + ny, x + nx)) & (here > looked_up(steep, y - ny, x - nx))
    sides = cv2.blur(lab, (max(1, factor // 2),) * 2)
    away = np.float32(1.5 * factor)
    left, right = (looked_up(sides, y + sign * ny, x + sign * nx) for sign in (-away, away))
    differ = np.linalg.norm(left[:, 1:] - right[:, 1:], axis=1)
    keep = top & (np.abs(left[:, 0] - right[:, 0]) >= 15) & (differ >= 10)
    y, x, ny, nx, left, right = (
        values[keep] for values in (y, x, ny, nx, left[:, 1:], right[:, 1:])
    )
    if not len(y):
        return None
    at = ((np.arange(16, dtype=np.float32) + 0.5) / 8 - 1) * factor

    def shares(ab: FloatArray) -> FloatArray:
        found = looked_up(ab, (y[:, None] + at * ny[:, None]), (x[:, None] + at * nx[:, None]))
        across = (right - left)[:, None]
        share = ((found - left[:, None]) * across).sum(2) / (across**2).sum(2)
        return np.where(at < 0, share, 1 - share)

    own = shares(truth)
    sharp = (np.clip(own, 0, 1).mean(1) < 0.12) & (own[:, 0] < 0.3) & (own[:, -1] < 0.3)
    order = np.random.default_rng(0).permutation(np.flatnonzero(sharp))[:300]
    y, x, ny, nx, left, right = (values[order] for values in (y, x, ny, nx, left, right))
    return Case(grained(L, grain), truth, small, shares) if len(y) else None


def looked_up(picture: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Return a picture's values at places between its pixels."""
    parts = []
    for start in range(0, y.size, 30_000):  # OpenCV takes 32767 at a time
        places = (place.reshape(1, -1)[:, start : start + 30_000] for place in (x, y))
        parts.append(cv2.remap(picture, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    values = np.concatenate(parts, axis=1)[0]
    return values.reshape(*y.shape, *picture.shape[2:])


def figures(cases: Iterator[Case], ways: dict[str, Enlarge]) -> dict[str, FloatArray]:
    """Return for each way: bleeding, mean absolute error of shares, RMS of ab."""
    sums = {name: np.zeros(5) for name in ways}
    for case in cases:
        own = np.clip(case.shares(case.truth), 0, 1)
        for name, way in ways.items():
            ab = way(case.L, case.small)
            off = np.clip(case.shares(ab), 0, 1) - own
            squares = float(np.sum((ab - case.truth) ** 2))
            sums[name] += off.sum(), np.abs(off).sum(), off.size, squares, ab.size / 2
    return {
        name: np.array([bled / n, off / n, (squares / pixels) ** 0.5])
        for name, (bled, off, n, squares, pixels) in sums.items()
    }


def row(what: str, found: dict[str, FloatArray]) -> None:
    """Print a row of the table: bilinear's figures, then the others' shares of them."""
    plain = found["bilinear"]
    cells = [f"{plain[0]:.3f}", f"{plain[1]:.3f}", f"{plain[2]:.2f}"]
    for name, values in found.items():
        if name != "bilinear":
            cells += [f"{value:.2f}" for value in values / plain]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def head(ways: dict[str, Enlarge]) -> None:
    """Print the head of the table."""
    kinds = ["bleeding", "off", "RMS"]
    names = [f"{name}: {kind}" for name in ways for kind in kinds]
    print(f"| | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")


def synthetic(ways: dict[str, Enlarge]) -> None:
    """Print the table of two colours."""
    print("\nTwo colours, 4000 px wide, 256 for the network; vertical, diagonal and curved edges\n")
    head(ways)
    for step in (10, 20, 40):
        for blur, grain, soft in CONDITIONS:
            kinds = ("vertical", "diagonal", "curved")
            cases = (two_colors(kind, step, blur, grain, soft) for kind in kinds)
            what = f"step {step} L*, blur {blur} px, grain {grain} L*"
            row(what + (", network blurred" if soft else ""), figures(cases, ways))


def real(paths: list[Path], shrink: int, ways: dict[str, Enlarge]) -> None:
    """Print the table of photos."""
    labs = []
    for path in paths:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
        size = (rgb.shape[1] // shrink, rgb.shape[0] // shrink)
        labs.append(color.rgb_to_lab(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)))
    print(f"\n{len(paths)} photos, {f'shrunk by {shrink}' if shrink > 1 else 'as they are'}\n")
    head(ways)
    for factor in (4, 8, 16):
        for grain, soft in ((0, 0), (3, 0), (6, 0), (0, 0.7)):
            large = [lab for lab in labs if min(lab.shape[:2]) >= 16 * factor]
            cases = [from_photo(lab, factor, grain, soft) for lab in large]
            found = figures((case for case in cases if case), ways) if any(cases) else None
            what = f"ab reduced {factor} times, grain {grain} L*"
            if found:
                row(what + (", network blurred" if soft else ""), found)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of colour photos")
    parser.add_argument("--count", type=int, default=50, help="how many of them, by chance")
    parser.add_argument("--shrink", type=int, default=1, help="shrink them so many times first")
    options = parser.parse_args()
    ways: dict[str, Enlarge] = {"bilinear": bilinear, "photochrom": photochrom}
    if options.photos is None:
        return synthetic(ways)
    paths = sorted(path for path in options.photos.iterdir() if path.is_file())
    if not paths:
        sys.exit(f"{options.photos} has no files")
    chosen = random.Random(0).sample(paths, min(options.count, len(paths)))
    synthetic(ways)
    real(chosen, options.shrink, ways)


if __name__ == "__main__":
    main()
