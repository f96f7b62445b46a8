"""Colorize photos with photochrom and with the engine of the static site, and compare them.

    python benchmarks/site_parity.py PHOTOS --limit 60                 # at their own size
    python benchmarks/site_parity.py PHOTOS --limit 5 --megapixels 12  # enlarged to this
    python benchmarks/site_parity.py PHOTOS --hints 5                  # at random places

Needs Node and `npm install` in site/. The engine gets the pixels that photochrom decodes. "ab": the
largest difference of a* or b* of the network's output, before it is enlarged. "within 1": the share
of values of pixels, before encoding, that differ by at most a level. Seconds are CPU time: of the
engine for geometry, L* and network, enlarging of ab, and rendering; and of photochrom for all.

**"ab" should be at most 0.05, "within 1" at least 99 %, "largest" at most 3.**
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom.color import FloatArray
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint, hints_to_json, place_hints
from photochrom.colorize.onnx_model import default_model_path
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo

SITE = Path(__file__).parents[1] / "site"
DEFAULT_LOOK = {
    "saturation": 1.0,
    "strength": 1.0,
    "size": None,
    "turn": 0,
    "straighten": 0.0,
    "crop": None,
    "hints": [],
}
COLORS = ("original", "neutral", "firebrick", "royalblue", "seagreen", "gold", "#d0a080", "purple")
"""Of hints; grey photos have no original ones."""
ENGINE = SITE / "test" / "parity.mjs"


@dataclass(frozen=True)
class Comparison:
    """Differences of one photo."""

    ab: float
    """The largest of the network's ab."""
    within_1: float
    """The share of values of pixels that differ by at most a level, 0 to 1."""
    largest: int
    """The largest of the pixels, in levels."""
    seconds: list[float]
    """CPU time of the engine's steps."""
    own_seconds: float
    """CPU time of photochrom."""


@dataclass(frozen=True)
class Result:
    """Of the engine."""

    pixels: NDArray[np.uint8]
    """RGBA, shape (H, W, 4)."""
    ab: FloatArray
    """Of the network's size, shape (2, h, w)."""
    seconds: list[float]


class Engine:
    """The engine of the site, in a process of Node."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        """Keep the process and a folder for pixels."""
        self._process, self._folder = process, folder

    def colorize(self, photo: Photo, **look: Any) -> "Result":
        """Colorize a photo of 8 bits.

        Args:
            photo: A photo.
            look: Of the web page: arguments of `Colorizer.__call__`, with hints as dictionaries.

        Raises:
            RuntimeError: With the engine's message, if it refuses the photo or the look.
        """
        paths = {name: str(self._folder / name) for name in ("pixels", "icc", "ab", "result")}
        height, width, channels = photo.pixels.shape
        rgba = np.full((height, width, 4), 255, np.uint8)
        rgba[..., :3] = photo.pixels
        if photo.alpha is not None:
            rgba[..., 3] = photo.alpha
        Path(paths["pixels"]).write_bytes(rgba.tobytes())
        if photo.metadata.icc is not None:
            Path(paths["icc"]).write_bytes(photo.metadata.icc)
        job = {
            "width": width,
            "height": height,
            "isGrey": channels == 1,
            "hasAlpha": photo.alpha is not None,
            **paths,
            "icc": photo.metadata.icc and paths["icc"],
            "look": {**DEFAULT_LOOK, **look},
        }
        answer = self._ask(job)
        width, height = answer["size"]
        w, h = answer["abSize"]
        return Result(
            np.fromfile(paths["result"], np.uint8).reshape(height, width, 4),
            np.fromfile(paths["ab"], np.float32).reshape(2, h, w),
            answer["seconds"],
        )

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the engine ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def missing_reason() -> str | None:
    """Return why the engine cannot run, or None."""
    if shutil.which("node") is None:
        return "there is no node"
    if not (SITE / "node_modules" / "esbuild").is_dir():
        return "site/ has no node_modules; run npm install there"
    return None


@contextmanager
def start_engine() -> Iterator[Engine]:
    """Start the engine with the default model."""
    command = ["node", str(ENGINE), str(default_model_path())]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        yield Engine(process, Path(folder))
        assert process.stdin is not None
        process.stdin.close()


def compare(colorizer: Colorizer, engine: Engine, photo: Photo, **look: Any) -> Comparison:
    """Colorize a photo of 8 bits twice, and return the differences."""
    actual = engine.colorize(photo, **look)
    hints = [Hint(**hint) for hint in look.pop("hints", [])]
    start = time.process_time()
    expected = colorizer(photo, hints=hints, **look)
    own_seconds = time.process_time() - start
    geometry = Geometry(
        *(look.get(key, DEFAULT_LOOK[key]) for key in ("turn", "straighten", "crop"))
    )
    placed = place_hints(hints, photo.size, geometry)
    prepared = colorizer.prepare(geometry.apply(photo), size=look.get("size"))
    ab = colorizer.predict_with_hints(
        prepared.small_L,
        placed,
        unhinted_ab=prepared.unhinted_ab,
        own_ab=prepared.own_ab,
        space=expected.space,
    )
    pixels = expected.pixels
    if expected.alpha is not None:
        pixels = np.dstack([pixels, expected.alpha])
    difference = np.abs(actual.pixels[..., : pixels.shape[2]].astype(np.int16) - pixels)
    return Comparison(
        float(np.abs(actual.ab - ab).max()),
        float((difference <= 1).mean()),
        int(difference.max()),
        actual.seconds,
        own_seconds,
    )


def resize_photo(photo: Photo, megapixels: float) -> Photo:
    """Return a photo enlarged or reduced to a number of pixels, in sRGB."""
    width, height = photo.size
    scale = (megapixels * 1e6 / (width * height)) ** 0.5
    size = round(width * scale), round(height * scale)
    resized = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_CUBIC)
    return Photo(resized.reshape(size[1], size[0], -1))


def choose_hints(photo: Photo, count: int) -> list[Hint]:
    """Return hints of random colours at random places, the same for photos of a size."""
    rng = np.random.default_rng(photo.size)
    colors = COLORS if photo.pixels.shape[2] == 3 else COLORS[1:]
    return [
        Hint(
            int(rng.integers(photo.size[0])),
            int(rng.integers(photo.size[1])),
            str(rng.choice(colors)),
        )
        for _ in range(count)
    ]


def main() -> int:
    """Compare photos; return 1 if one differs by more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--limit", type=int, default=60, help="number of photos, evenly spaced")
    parser.add_argument("--megapixels", type=float, help="resize the photos to this")
    parser.add_argument("--hints", type=int, default=0, help="number of hints on each photo")
    parser.add_argument("--look", type=json.loads, default={}, help="JSON; see docs/web.md")
    arguments = parser.parse_args()
    reason = missing_reason()
    if reason is not None:
        sys.exit(reason)
    paths = sorted(path for path in arguments.photos.iterdir() if path.is_file())
    paths = [
        paths[i]
        for i in np.linspace(0, len(paths) - 1, min(arguments.limit, len(paths)), dtype=int)
    ]
    colorizer = Colorizer()
    results = []
    with start_engine() as engine:
        for path in paths:
            photo = open_photo(path)
            if arguments.megapixels:
                photo = resize_photo(photo, arguments.megapixels)
            hints = hints_to_json(choose_hints(photo, arguments.hints))
            result = compare(colorizer, engine, photo, **{"hints": hints, **arguments.look})
            results.append(result)
            seconds = " + ".join(f"{s:.2f}" for s in result.seconds)
            print(
                f"{path.name:30} {photo.size[0]:5}x{photo.size[1]:<5} ab {result.ab:.4f}  "
                f"within 1: {result.within_1:.4%}  largest {result.largest}  "
                f"{seconds} s, {result.own_seconds:.2f} s",
                flush=True,
            )
    ab, within = max(r.ab for r in results), min(r.within_1 for r in results)
    largest = max(r.largest for r in results)
    print(f"{len(results)} photos: ab {ab:.4f}, within 1: {within:.4%}, largest {largest}")
    return int(ab > 0.05 or within < 0.99 or largest > 3)


if __name__ == "__main__":
    sys.exit(main())
