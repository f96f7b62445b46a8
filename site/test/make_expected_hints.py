"""Write expected/hints.json, which hints.test.ts compares the engine with.

Run it as `python site/test/make_expected_hints.py`. Inputs that are too large for the file are
formulas, which the test has as well.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from photochrom import Hint, Photo, color
from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer, PreparedPhoto
from photochrom.colorize.detection import is_colored
from photochrom.colorize.hinting import draw_hints, propagate_hints
from photochrom.colorize.hints import (
    MAX_HINTS,
    check_hints,
    hints_from_json,
    hints_to_json,
    parse_hint,
    place_hints,
)
from photochrom.colorize.suggestions import suggest_colors
from photochrom.colorize.versions import hint_versions
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry

FILE = Path(__file__).parent / "expected" / "hints.json"
QUERIES = (
    "410,220,firebrick",
    " 4 , 5 , #ABC ;6,7,Neutral;4,5,#0080ff",
    "1,2",
    "1,2,red,3",
    "-1,2,red",
    "1.5,2,red",
    "1234567890,2,red",
    "1,2,rgb(1 2 3)",
    "1,2,it's",
    "1,2,#abcd",
    "1,2,",
    "",
    f"1,2,{'x' * 70}",
    ";".join(["1,1,red"] * (MAX_HINTS + 1)),
)
LISTS: tuple[Any, ...] = (
    [{"x": 410, "y": 220, "color": "FireBrick"}, {"color": "original", "y": 0, "x": 0}],
    [],
    {"x": 1},
    "1,2,red",
    None,
    [1],
    [None],
    [[1, "ä"]],
    [{"x": 1, "y": 2}],
    [{"x": 1, "y": 2, "color": "red", "z": 'a "b"'}],
    [{"x": 1, "y": 2, "color": "red", "time": 3}],
    [{"x": "1", "y": 2, "color": "red"}],
    [{"x": True, "y": 2, "color": "red"}],
    [{"x": 1, "y": -2, "color": "red"}],
    [{"x": 1, "y": 2.5, "color": "red"}],
    [{"x": 1, "y": None, "color": "red"}],
    [{"x": [1, "a'b"], "y": 2, "color": "red"}],
    [{"x": 1, "y": 10**9, "color": "red"}],
    [{"x": 1, "y": 2, "color": 5}],
    [{"x": 1, "y": 2, "color": None}],
    [{"x": 1, "y": 2, "color": "reddish"}],
    [{"x": 1, "y": 2, "color": "red"}] * (MAX_HINTS + 1),
)
GEOMETRIES = (
    Geometry(),
    Geometry(90),
    Geometry(180, 0.0, (2, 3, 50, 20)),
    Geometry(270, 7.5),
    Geometry(0, -3.0, (10, 8, 60, 30)),
)
PLACES = ((0, 0), (40, 22), (79, 47), (13, 30), (40, 22))
COLORS = ("firebrick", "neutral", "#00f", "gold", "seagreen")


def lightness(width: int, height: int) -> FloatArray:
    """Return L* with soft changes and edges, shape (height, width); `lightness` of the test."""
    y, x = np.mgrid[:height, :width].astype(float)
    L = 45 + 12 * np.sin(x / 7) + 8 * np.cos(y / 5) + 3 * np.sin(1.7 * x + 2.3 * y)
    L += np.where((3 * x > width) & (2 * y < height), 25, 0)
    return L.astype(np.float32)


def predict(L: FloatArray, hints: FloatArray | None = None) -> FloatArray:
    """Return ab, shape (2, height, width); `predict` of the test."""
    height, width = L.shape
    y, x = np.mgrid[:height, :width].astype(float)
    ab = np.stack([0.4 * (L - 40) + 20 * x / width, 0.3 * (L - 60) - 15 * y / height])
    if hints is not None:
        ab += 0.6 * hints[2] * (hints[:2] - ab) + 0.1 * hints[:2].sum((1, 2))[:, None, None] / 49
    return ab.astype(np.float32)


class Formula:
    """A model of `predict`."""

    name = "formula"
    size = 96
    takes_hints = True

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        """Predict."""
        return predict(L[0, 0], None if hints is None else hints[0])[None]


def attempt(task: Callable[[], Any]) -> Any:
    """Return hints as JSON, or the sentence of an error."""
    try:
        return hints_to_json(task())
    except PhotochromError as error:
        return str(error)


def parse_query(text: str) -> tuple[Hint, ...]:
    """Parse the hints of a query."""
    return check_hints(parse_hint(part) for part in text.split(";"))


def make_placed() -> list[Any]:
    """Return where hints come to lie in a photo of 80x48 px."""
    hints = [Hint(*place, color) for place, color in zip(PLACES, COLORS, strict=True)]
    cases = []
    for geometry in GEOMETRIES:
        placed = place_hints(hints, (80, 48), geometry)
        places = [[round(hint.x, 9), round(hint.y, 9)] for hint in placed]
        cases.append({"look": dataclasses.asdict(geometry), "places": places})
    return cases


def make_hinted() -> list[Any]:
    """Return ab with hints, at every 7th row and 5th column, for inputs of several sizes."""
    cases = []
    for width, height, is_color in ((90, 60, False), (130, 171, True), (384, 96, True), (3, 1, 1)):
        L = lightness(width, height)
        own = np.stack([L / 4, 5 - L / 10]) if is_color else None
        hints = [
            Hint(width * 2 // 3, height // 4, "firebrick"),
            Hint(width // 6, height // 2, "#00ff00"),
            Hint(0, height - 1, "neutral"),
            Hint(width // 6 + 2, height // 2, "royalblue"),
        ]
        if is_color:
            hints.append(Hint(width - 1, 0, "original"))
        placed = place_hints(hints, (width, height), Geometry())
        drawn = draw_hints(placed, L, own, color.SRGB)
        ab = propagate_hints(L, predict(L), predict(L, drawn.known), drawn)
        cases.append(
            {
                "width": width,
                "height": height,
                "hasColor": bool(is_color),
                "hints": hints_to_json(hints),
                "mask": int(drawn.mask.sum()),
                "known": sample(drawn.known),
                "ab": sample(ab),
            }
        )
    return cases


def sample(planes: FloatArray) -> list[float]:
    """Return some values, rounded."""
    return [round(float(value), 3) for value in planes[:, ::7, ::5].ravel()]


def make_suggestions() -> list[Any]:
    """Return suggestions for places."""
    cases = []
    L = lightness(60, 40)
    dark = L / 30
    for name, values in (("photo", L), ("dark", dark), ("white", np.full_like(L, 99.5))):
        ab = predict(lightness(120, 80))
        prepared = PreparedPhoto((600, 400), values, values, ab)
        for x, y in ((0.0, 0.0), (0.5, 0.5), (0.99, 0.2), (0.3, 0.99)):
            suggestions = suggest_colors(prepared, ab, x, y)
            colors = [dataclasses.asdict(suggestion) for suggestion in suggestions]
            cases.append({"photo": name, "x": x, "y": y, "colors": colors})
    return cases


def draw_cloths(width: int, height: int) -> FloatArray:
    """Return L* of two grey rectangles on a light ground; `cloths` of the test."""
    L = np.full((height, width), 85, np.float32)
    L[height // 4 : -(height // 5), width // 8 : 3 * width // 8] = 50
    L[height // 3 : -(height // 5), 5 * width // 8 : 7 * width // 8] = 58
    return L


def make_versions() -> list[Any]:
    """Return versions without hints, and with one of the first version given."""
    cases = []
    L = cv2.resize(draw_cloths(120, 90), (240, 180), interpolation=cv2.INTER_NEAREST)
    small_L = draw_cloths(120, 90)
    for geometry in (Geometry(), Geometry(90, 3)):
        size = (1200, 900) if not geometry.turn else (1000, 1300)
        prepared = PreparedPhoto(geometry.size(*size), L, small_L, predict(small_L))
        colorizer = Colorizer(Formula(), threads=1)
        given: tuple[Hint, ...] = ()
        for _ in range(2):
            versions = hint_versions(colorizer, prepared, given, geometry, size)
            cases.append(
                {
                    "look": dataclasses.asdict(geometry),
                    "size": size,
                    "result": prepared.size,
                    "hints": hints_to_json(given),
                    "versions": [hints_to_json(version) for version in versions],
                }
            )
            given = versions[-1][:1]
    return cases


def make_mean_shift() -> dict[str, Any]:
    """Return an image with its filtered image, its parts and the distances in them."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(60, 190, (3, 4, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (29, 21), interpolation=cv2.INTER_NEAREST)
    image += rng.integers(0, 9, image.shape).astype(np.uint8)
    filtered = cv2.pyrMeanShiftFiltering(image, 3, 18, maxLevel=1)
    change = cv2.morphologyEx(filtered, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)).max(2)
    flat = cv2.morphologyEx(np.uint8(change <= 6), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    labels = cv2.connectedComponents(flat, connectivity=4)[1]
    inside = cv2.distanceTransform(np.pad(flat, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return {
        "width": 29,
        "height": 21,
        "image": image.ravel().tolist(),
        "filtered": filtered.ravel().tolist(),
        "labels": labels.ravel().tolist(),
        "distances": [round(float(distance), 4) for distance in inside.ravel()],
    }


def make_detected() -> list[Any]:
    """Return which photos are in colour; `draw` of the test draws them."""
    cases = []
    for width, height in ((90, 70), (700, 410), (20, 3), (1, 1)):
        for spread in (0, 2, 6, 20):
            for other in (0, 6, 20):
                y, x = np.mgrid[:height, :width].astype(float)
                grey = 120 + 60 * np.sin(x / 9) * np.cos(y / 11)
                first, second = spread * np.sin(x / 5), other * np.cos(y / 4)
                pixels = np.stack([grey + 30 + first, grey + second, grey - 30 - first], axis=2)
                photo = Photo(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
                cases.append([width, height, spread, other, is_colored(photo)])
    return cases


def main() -> None:
    """Write the file."""
    expected = {
        "queries": [[text, attempt(lambda text=text: parse_query(text))] for text in QUERIES],
        "lists": [[value, attempt(lambda value=value: hints_from_json(value))] for value in LISTS],
        "outside": str(attempt(lambda: check_hints([Hint(3, 7, "red")], (5, 7)))),
        "placed": make_placed(),
        "hinted": make_hinted(),
        "suggestions": make_suggestions(),
        "versions": make_versions(),
        "meanShift": make_mean_shift(),
        "detected": make_detected(),
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in expected.items()]
    FILE.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
