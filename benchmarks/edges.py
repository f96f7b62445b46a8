"""How far colours bleed across edges of L*, compared with bilinear upsampling.

    python benchmarks/edges.py                   # two colours, 4000 px wide
    python benchmarks/edges.py PHOTOS --count 50 # and colour photos with reduced ab

`Colorizer` runs completely, on 16 bits. The true ab, averaged over each low-resolution pixel, takes
the place of the network's output; in some rows it is also blurred by 0.7 low-resolution pixels. So
the position of colours is measured, not their prediction.

Bleeding: let A and B be the ab on the two sides of an edge, 1.5 low-resolution pixels away from it.
A pixel's share of B is its ab projected on the line from A to B, clipped to 0..1. Bleeding is the
excess of this share over the truth on A's side, and its deficit on B's side, averaged over all
pixels within one low-resolution pixel of the edge. "Off" averages the absolute difference instead,
which includes colours that end too early. RMS is the error of ab over the image. Bilinear's results
are absolute, others are relative to them. The target for bleeding is a third.

In photos an edge is a local maximum of the smoothed gradient of L* where the sides differ by 15 L*
and 10 in ab, and where the truth is sharp: a mean share of less than .12 on the wrong side.
`--shrink 2` first halves photos whose files have subsampled colours.
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
"""Blur of the image in px, grain in L*, blur of the low-resolution ab in its px."""
HEIGHT, LOW_HEIGHT = 750, 48  # at a width of 4000 px, and of 256 px for the network
Upsample = Callable[[FloatArray, FloatArray], FloatArray]


class FixedModel:
    """A model with a fixed output."""

    name = "fixed"
    size = 192

    def __init__(self, ab: FloatArray) -> None:
        self._ab = ab

    def __call__(self, L: FloatArray, /) -> FloatArray:
        """Return the ab, shape (1, 2, h, w)."""
        assert L.shape[2:] == self._ab.shape[:2]
        return self._ab.transpose(2, 0, 1)[None]


@dataclass(frozen=True)
class Case:
    """An image with known ab."""

    L: FloatArray
    """Shape (H, W)."""
    truth: FloatArray
    """ab, shape (H, W, 2)."""
    small: FloatArray
    """Low-resolution ab, shape (h, w, 2)."""
    shares: Callable[[FloatArray], FloatArray]
    """Maps ab to the share of the other side's colour, near edges."""


def photochrom(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Upsample ab to the size of L* with `Colorizer`."""
    grey = color.lab_to_rgb(np.dstack([L, np.zeros((*L.shape, 2), np.float32)]))[..., :1]
    photo = Photo((grey * 65535 + 0.5).astype(np.uint16))
    colorizer = Colorizer(FixedModel(ab), threads=1)
    # Search the size at which the network input has the shape of `ab`, as long sides are limited.
    size = next(n for n in range(min(ab.shape[:2]), 2048) if fits(photo.size, n, ab))
    rgb = colorizer(photo, size=size, mark=False).pixels.astype(np.float32) / np.float32(65535)
    return color.rgb_to_lab(rgb)[..., 1:]


def fits(size: tuple[int, int], short: int, ab: FloatArray) -> bool:
    """Tell whether the network input for a photo has the shape of `ab`."""
    return network_size(size[1], size[0], short) == ab.shape[:2]


def bilinear(L: FloatArray, ab: FloatArray) -> FloatArray:
    """Upsample ab to the size of L* bilinearly, with gamut mapping to sRGB."""
    large = cv2.resize(ab, L.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return color.rgb_to_lab(color.lab_to_rgb(np.dstack([L, large])))[..., 1:]


def blur_image(x: FloatArray, sigma: float) -> FloatArray:
    """Blur an image by `sigma` px."""
    return cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) if sigma else x


def add_grain(L: FloatArray, sigma: float) -> FloatArray:
    """Add noise of `sigma` L* to L*."""
    grain = np.random.default_rng(0).standard_normal(L.shape, dtype=np.float32)
    return np.clip(L + sigma * grain, 0, 100)


def distance(kind: str) -> FloatArray:
    """Return the signed distance of each pixel to the nearest edge in px."""
    y, x = np.mgrid[:HEIGHT, :4000].astype(np.float32) + np.float32(0.5)
    if kind == "curved":
        return 150 - np.hypot(x % 500 - 250, y - HEIGHT / 2)
    turn = 0.5 if kind == "diagonal" else 0.0  # edges at any position within a low-resolution pixel
    across = x * np.float32(np.cos(turn)) + y * np.float32(np.sin(turn)) - np.float32(100)
    number = np.round(across / np.float32(487.3))
    side: FloatArray = (across - number * np.float32(487.3)) * np.where(number % 2, -1, 1)
    return side.astype(np.float32)


def two_colors(kind: str, step: float, blur: float, grain: float, soft: float) -> Case:
    """Return an image of two colours that differ by `step` in L*, with straight or curved edges."""
    off = distance(kind)
    part = blur_image(np.clip(off + np.float32(0.5), 0, 1), blur)
    first, second = COLORS
    truth = first + (second - first) * part[..., None]
    small = cv2.resize(truth, (256, LOW_HEIGHT), interpolation=cv2.INTER_AREA)
    near = np.abs(off) < 4000 / 256

    def shares(ab: FloatArray) -> FloatArray:
        share = (ab[near] - first) @ (second - first) / np.sum((second - first) ** 2)
        return np.where(off[near] < 0, share, 1 - share)

    return Case(add_grain(50 + step * (part - 0.5), grain), truth, blur_image(small, soft), shares)


def from_photo(lab: FloatArray, factor: int, grain: float, soft: float) -> Case | None:
    """Return a photo with reduced ab, None if it has no suitable edges."""
    height, width = (side // factor * factor for side in lab.shape[:2])
    lab = np.ascontiguousarray(lab[:height, :width])
    L, truth = lab[..., 0], np.ascontiguousarray(lab[..., 1:])
    size = (width // factor, height // factor)
    small = blur_image(cv2.resize(truth, size, interpolation=cv2.INTER_AREA), soft)
    soft_L = blur_image(L, max(1.0, factor / 8))
    dx, dy = (cv2.Sobel(soft_L, cv2.CV_32F, *to, ksize=3, scale=1 / 8) for to in ((1, 0), (0, 1)))
    steep = np.hypot(dx, dy)
    margin = 2 * factor + 1
    inner = np.zeros(L.shape, bool)
    inner[margin:-margin, margin:-margin] = True
    y, x = (position.astype(np.float32) for position in np.nonzero(inner & (steep > 1)))
    if not len(y):
        return None
    here = interpolate(steep, y, x)
    ny, nx = interpolate(dy, y, x) / here, interpolate(dx, y, x) / here
    top = (here >= interpolate(steep, y + ny, x + nx)) & (here > interpolate(steep, y - ny, x - nx))
    sides = cv2.blur(lab, (max(1, factor // 2),) * 2)
    away = np.float32(1.5 * factor)
    left, right = (interpolate(sides, y + sign * ny, x + sign * nx) for sign in (-away, away))
    differ = np.linalg.norm(left[:, 1:] - right[:, 1:], axis=1)
    keep = top & (np.abs(left[:, 0] - right[:, 0]) >= 15) & (differ >= 10)
    y, x, ny, nx, left, right = (
        values[keep] for values in (y, x, ny, nx, left[:, 1:], right[:, 1:])
    )
    if not len(y):
        return None
    at = ((np.arange(16, dtype=np.float32) + 0.5) / 8 - 1) * factor

    def shares(ab: FloatArray) -> FloatArray:
        values_at = interpolate(
            ab, (y[:, None] + at * ny[:, None]), (x[:, None] + at * nx[:, None])
        )
        across = (right - left)[:, None]
        share = ((values_at - left[:, None]) * across).sum(2) / (across**2).sum(2)
        return np.where(at < 0, share, 1 - share)

    true_share = shares(truth)
    sharp = (
        (np.clip(true_share, 0, 1).mean(1) < 0.12)
        & (true_share[:, 0] < 0.3)
        & (true_share[:, -1] < 0.3)
    )
    order = np.random.default_rng(0).permutation(np.flatnonzero(sharp))[:300]
    y, x, ny, nx, left, right = (values[order] for values in (y, x, ny, nx, left, right))
    return Case(add_grain(L, grain), truth, small, shares) if len(y) else None


def interpolate(image: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
    """Return the values of an image at fractional positions."""
    parts = []
    for start in range(0, y.size, 30_000):  # cv2.remap takes fewer than 2^15 values
        positions = (position.reshape(1, -1)[:, start : start + 30_000] for position in (x, y))
        parts.append(cv2.remap(image, *positions, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    values = np.concatenate(parts, axis=1)[0]
    return values.reshape(*y.shape, *image.shape[2:])


def evaluate(cases: Iterator[Case], methods: dict[str, Upsample]) -> dict[str, FloatArray]:
    """Return bleeding, mean absolute error of shares, and RMS of ab for each method."""
    sums = {name: np.zeros(5) for name in methods}
    for case in cases:
        true_share = np.clip(case.shares(case.truth), 0, 1)
        for name, method in methods.items():
            ab = method(case.L, case.small)
            off = np.clip(case.shares(ab), 0, 1) - true_share
            squares = float(np.sum((ab - case.truth) ** 2))
            sums[name] += off.sum(), np.abs(off).sum(), off.size, squares, ab.size / 2
    return {
        name: np.array([bled / n, off / n, (squares / pixels) ** 0.5])
        for name, (bled, off, n, squares, pixels) in sums.items()
    }


def print_row(label: str, results: dict[str, FloatArray]) -> None:
    """Print a row of the table: results of bilinear, then relative results of the others."""
    plain = results["bilinear"]
    cells = [f"{plain[0]:.3f}", f"{plain[1]:.3f}", f"{plain[2]:.2f}"]
    for name, values in results.items():
        if name != "bilinear":
            cells += [f"{value:.2f}" for value in values / plain]
    print(f"| {label} | {' | '.join(cells)} |", flush=True)


def print_header(methods: dict[str, Upsample]) -> None:
    """Print the header of the table."""
    kinds = ["bleeding", "off", "RMS"]
    names = [f"{name}: {kind}" for name in methods for kind in kinds]
    print(f"| | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")


def print_synthetic(methods: dict[str, Upsample]) -> None:
    """Print the table of two colours."""
    print("\nTwo colours, 4000 px wide, 256 for the network; vertical, diagonal and curved edges\n")
    print_header(methods)
    for step in (10, 20, 40):
        for blur, grain, soft in CONDITIONS:
            kinds = ("vertical", "diagonal", "curved")
            cases = (two_colors(kind, step, blur, grain, soft) for kind in kinds)
            label = f"step {step} L*, blur {blur} px, grain {grain} L*"
            print_row(label + (", network blurred" if soft else ""), evaluate(cases, methods))


def print_photos(paths: list[Path], shrink: int, methods: dict[str, Upsample]) -> None:
    """Print the table of photos."""
    labs = []
    for path in paths:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
        size = (rgb.shape[1] // shrink, rgb.shape[0] // shrink)
        labs.append(color.rgb_to_lab(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)))
    print(f"\n{len(paths)} photos, {f'shrunk by {shrink}' if shrink > 1 else 'as they are'}\n")
    print_header(methods)
    for factor in (4, 8, 16):
        for grain, soft in ((0, 0), (3, 0), (6, 0), (0, 0.7)):
            large = [lab for lab in labs if min(lab.shape[:2]) >= 16 * factor]
            cases = [from_photo(lab, factor, grain, soft) for lab in large]
            results = evaluate((case for case in cases if case), methods) if any(cases) else None
            label = f"ab reduced {factor} times, grain {grain} L*"
            if results:
                print_row(label + (", network blurred" if soft else ""), results)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of colour photos")
    parser.add_argument("--count", type=int, default=50, help="size of the random sample")
    parser.add_argument("--shrink", type=int, default=1, help="shrink photos by this factor first")
    options = parser.parse_args()
    methods: dict[str, Upsample] = {"bilinear": bilinear, "photochrom": photochrom}
    if options.photos is None:
        return print_synthetic(methods)
    paths = sorted(path for path in options.photos.iterdir() if path.is_file())
    if not paths:
        sys.exit(f"{options.photos} has no files")
    chosen = random.Random(0).sample(paths, min(options.count, len(paths)))
    print_synthetic(methods)
    print_photos(chosen, options.shrink, methods)


if __name__ == "__main__":
    main()
