"""What hints do to a photo: simulated clicks, with the true colours and with false ones.

    python benchmarks/hints.py PHOTOS --model MODEL.onnx            # 100 colour photos of a folder

Prints the tables of docs/hints.md. Places are drawn evenly, those of fewer hints are the first of
those of more. A true hint has the photo's own mean colour on the square of a hint, a false one a
random hue with a chroma of 35. "The network alone" is its own response to the same hints.

The colour is measured on the pixels of the photo that lie in the square of the hint and differ from
its centre by less than 10 L*: CIEDE2000 between the result and the asked hue and chroma, mapped
into the gamut at the pixel's own L*. The rest are the pixels whose true colours differ from the
hint's by more than 20 in ab; how far they move from the picture without hints is averaged in ab.
"""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000

from photochrom import Colorizer, color, open_photo
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import PreparedPhoto
from photochrom.colorize.hinting import PATCH_SIDE, draw_hints
from photochrom.colorize.hints import PlacedHint
from photochrom.imagefile.photo import Photo

COUNTS = (0, 1, 2, 5, 10, 20, 50)
FALSE_CHROMA = 35
LIKE = 10
"""L*: the colour is measured on pixels that differ less from the centre."""
FAR = 20
"""In ab, between the hint and what does not belong to it."""


def to_lab(photo: Photo) -> FloatArray:
    """Return CIELAB of a photo in sRGB, shape (H, W, 3)."""
    return color.rgb_to_lab(photo.pixels / np.float32(np.iinfo(photo.pixels.dtype).max))


class Subject:
    """One colour photo and its places."""

    def __init__(self, path: Path, colorizer: Colorizer, size: int, seed: int) -> None:
        self.photo, self.colorizer = open_photo(path), colorizer
        self.prepared: PreparedPhoto = colorizer.prepare(self.photo, size=size)
        self.lab = to_lab(self.photo)
        rng = np.random.default_rng(seed)
        self.places = rng.random((max(COUNTS), 2))
        angle = rng.uniform(0, 2 * np.pi)
        self.false_ab = (FALSE_CHROMA * np.cos(angle), FALSE_CHROMA * np.sin(angle))
        self.plain = self.render([])

    def render(self, hints: Sequence[PlacedHint], alone: bool = False) -> FloatArray:
        """Return CIELAB of the result, shape (H, W, 3)."""
        prepared = self.prepared
        if not alone:
            prediction = self.colorizer.predict(self.photo, hints=hints, prepared=prepared)
        else:
            drawn = draw_hints(hints, prepared.small_L, None, color.SRGB)
            ab = self.colorizer.predict_ab(prepared.small_L, drawn.known)
            prediction = self.colorizer.predict(self.photo, ab=ab, prepared=prepared)
        return to_lab(prediction.render(mark=False))

    def square(self, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of the pixels on which the colour of a hint is measured."""
        (height, width), (h, w) = self.lab.shape[:2], self.prepared.small_L.shape
        column, row = int(x * w), int(y * h)
        rows, columns = np.indices((height, width))
        inside = np.abs(((rows + 0.5) * h / height).astype(int) - row) <= PATCH_SIDE // 2
        inside &= np.abs(((columns + 0.5) * w / width).astype(int) - column) <= PATCH_SIDE // 2
        center = self.lab[int(y * height), int(x * width), 0]
        return np.nonzero(inside & (np.abs(self.lab[..., 0] - center) < LIKE))

    def true_hints(self, count: int) -> list[PlacedHint]:
        """Return hints with the colours of the photo."""
        hints = []
        for x, y in self.places[:count]:
            a, b = self.lab[self.square(x, y)][:, 1:].mean(0)
            hints.append(PlacedHint(x, y, (float(a), float(b))))
        return hints

    def false_hint(self) -> PlacedHint:
        """Return a hint that is wrong."""
        return PlacedHint(*self.places[0], self.false_ab)

    def color_error(self, result: FloatArray, hint: PlacedHint) -> float:
        """Return the mean CIEDE2000 on the square of a hint."""
        pixels = result[self.square(hint.x, hint.y)]
        asked = np.repeat(np.array(hint.ab, np.float32)[:, None], len(pixels), axis=1)
        asked = color.limit_chroma(color.SRGB, np.ascontiguousarray(pixels[:, 0]), asked)
        return float(np.mean(deltaE_ciede2000(pixels, np.column_stack([pixels[:, 0], *asked]))))

    def moves(self, result: FloatArray, hint: PlacedHint) -> tuple[float, float]:
        """Return how far ab moves on average: of the rest (NaN without any), and of all."""
        distance = np.hypot(*np.moveaxis((result - self.plain)[..., 1:], -1, 0))
        is_far = np.hypot(*np.moveaxis(self.lab[..., 1:] - np.array(hint.ab), -1, 0)) > FAR
        return float(distance[is_far].mean()) if is_far.any() else np.nan, float(distance.mean())


def psnr(result: FloatArray, truth: FloatArray) -> float:
    """Return the PSNR of sRGB in dB."""
    difference = np.clip(color.lab_to_rgb(result), 0, 1) - color.lab_to_rgb(truth)
    return float(-10 * np.log10(np.mean(difference**2)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", help="default: the default model")
    parser.add_argument("--count", type=int, default=100, help="of the photos (100)")
    parser.add_argument("--size", type=int, default=256, help="of the network's input (256)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sorted(path for path in args.photos.iterdir() if path.is_file())
    paths = sorted(random.Random(0).sample(paths, min(args.count, len(paths))))
    colorizer = Colorizer(args.model)
    curves: dict[tuple[int, bool], list[tuple[float, float]]] = defaultdict(list)
    errors: dict[tuple[str, bool], list[float]] = defaultdict(list)
    moves: dict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
    for seed, path in enumerate(paths):
        subject = Subject(path, colorizer, args.size, seed)
        for alone in (False, True):
            for count in COUNTS:
                hints = subject.true_hints(count)
                result = subject.render(hints, alone) if hints else subject.plain
                difference = float(np.mean(deltaE_ciede2000(subject.lab, result)))
                curves[count, alone].append((psnr(result, subject.lab), difference))
                if count in (1, 50):
                    name = f"true, {count} in a photo"
                    errors[name, alone] += [subject.color_error(result, hint) for hint in hints]
                if count == 1:
                    moves[name, alone].append(subject.moves(result, hints[0]))
            hint = subject.false_hint()
            result = subject.render([hint], alone)
            name = "false, 1 in a photo"
            errors[name, alone].append(subject.color_error(result, hint))
            moves[name, alone].append(subject.moves(result, hint))
        print(f"\r{seed + 1} of {len(paths)} photos", end="", flush=True)
    print("\n\n| hints | PSNR, dB | CIEDE2000 | the network alone |\n| --- | --- | --- | --- |")
    for count in COUNTS:
        here, alone = (np.mean(curves[count, by], axis=0) for by in (False, True))
        print(f"| {count} | {here[0]:.2f} | {here[1]:.2f} | {alone[0]:.2f}, {alone[1]:.2f} |")
    for count in (1, 50):
        hints, times = subject.true_hints(count), []
        for _ in range(7):
            start = time.process_time()
            colorizer.predict(subject.photo, hints=hints, prepared=subject.prepared)
            times.append(time.process_time() - start)
        print(f"\nhints: {count}; of processor time: {1000 * min(times):.0f} ms")
    print("\n| hint | CIEDE2000 at its place | below 4 | the rest moves | all moves |")
    print("| --- | --- | --- | --- | --- |")
    for name, alone in errors:
        values = np.array(errors[name, alone])
        text = " | "
        if (name, alone) in moves:
            text = " | ".join(f"{move:.2f}" for move in np.nanmean(moves[name, alone], axis=0))
        by = "; the network alone" if alone else ""
        print(f"| {name}{by} | {values.mean():.2f} | {100 * (values < 4).mean():.0f} % | {text} |")


if __name__ == "__main__":
    main()
