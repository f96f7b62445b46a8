"""Steadiness, cuts, motion and speed of `photochrom video`.

    python benchmarks/video.py                    # photos of scikit-image
    python benchmarks/video.py PHOTOS --only drift --count 8
    python benchmarks/video.py --only speed --frames 960

Films are simulated from photos, with grain of 8 levels of 255, flicker and jitter, and colorized by
the command line. All values are measured on the decoded output, as means over cells of 16x16 px.
"""

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from photochrom.color import rgb_to_lab
from photochrom.colorize.colorizer import Colorizer
from photochrom.cores import count_cores
from photochrom.video.reading.frames import to_frame, to_photo
from photochrom.video.reading.source import decode, probe
from photochrom.video.shots.cuts import warp
from photochrom.video.writing.codecs import add_video_stream, choose_encoding

SIZE = 640, 480
SPEED_SIZE = 920, 672
RATE, GRAIN, FLICKER, JITTER, CELL = 25, 8.0, 0.02, 0.3, 16
WINDOW = 12
"""Frames whose mean is compared for the drift."""
FloatImage = NDArray[np.float32]
Frame = NDArray[np.uint8]


def load_photos(folder: Path | None, count: int) -> list[FloatImage]:
    """Return grey photos whose short side is 720 px."""
    if folder is None:
        names = ("coffee", "chelsea", "astronaut", "rocket")
        images = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    else:
        suffixes = (".jpg", ".png", ".webp")
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)
        images = [Image.open(file) for file in files[:: max(1, len(files) // count)]]
    grey = [np.asarray(image.convert("L"), np.float32) for image in images[:count]]
    scales = [720 / min(photo.shape) for photo in grey]
    return [
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for photo, scale in zip(grey, scales, strict=True)
    ]


def load_person() -> tuple[FloatImage, FloatImage]:
    """Return a grey photo of a person, and where the person is, from 0 to 1; shape (512, 512)."""
    grey = np.asarray(Image.fromarray(skimage.data.astronaut()).convert("L"), np.float32)
    outline = [(170, 10), (280, 10), (300, 90), (285, 170), (330, 200), (430, 260), (470, 511)]
    outline += [(30, 511), (60, 300), (100, 230), (180, 195), (160, 100)]
    mask = np.zeros(grey.shape, np.float32)
    cv2.fillPoly(mask, [np.array(outline)], 1.0)
    return grey, cv2.GaussianBlur(mask, (0, 0), 4)


@dataclass(frozen=True)
class Shot:
    """A shot of a camera that moves over a photo."""

    photo: FloatImage
    count: int = 24
    """Of frames."""
    speed: float = 0.0
    """Of the camera in px per frame, to the right; half of it down."""
    zoom: float = 0.0
    """Relative change of scale per frame."""
    gamma: tuple[float, float] = (1.0, 1.0)
    """Of the exposure at both ends, and in the middle of the shot."""
    person: tuple[float, float] | None = None
    """Position in px of a person in the first frame, and the change per frame."""
    grain: float = GRAIN
    """Standard deviation, of 255."""
    flicker: float = 0.0
    """Relative standard deviation of the brightness of frames."""
    jitter: float = 0.0
    """Standard deviation in px of the position of frames."""
    size: tuple[int, int] = SIZE
    seed: int = 0

    def frames(self) -> Iterator[Frame]:
        """Yield the frames."""
        random = np.random.default_rng(self.seed)
        for number, masked in enumerate(self._pictures(random)):
            share = 0.5 - 0.5 * np.cos(2 * np.pi * number / max(1, self.count - 1))
            gamma = self.gamma[0] + (self.gamma[1] - self.gamma[0]) * share
            frame = 255 * np.clip(masked[0] / 255, 0, 1) ** gamma
            frame = frame * (1 + self.flicker * random.normal())
            frame = frame + self.grain * random.normal(size=frame.shape)
            yield np.clip(frame, 0, 255).astype(np.uint8)

    def uncovered(self) -> NDArray[np.bool_]:
        """Return which cells the person never covers."""
        random = np.random.default_rng(self.seed)
        covered = np.max([mask for _, mask in self._pictures(random)], axis=0)
        return cells(covered) == 0

    def _pictures(self, random: np.random.Generator) -> Iterator[tuple[FloatImage, FloatImage]]:
        """Yield frames before exposure and grain, and where the person is."""
        height, (person, mask) = self.size[1], load_person()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for number in range(self.count):
            scale = (1 + self.zoom) ** -number * 480 / height
            dx, dy = self.jitter * random.normal(size=2)
            x, y = self.speed * number, self.speed * number / 2
            matrix = np.array([[scale, 0, x + dx], [0, scale, y + dy]])
            frame = cv2.warpAffine(
                *(self.photo, matrix, self.size), flags=flags, borderMode=cv2.BORDER_REFLECT
            )
            where = np.zeros_like(frame)
            if self.person is not None:
                scale = 0.8 * height / 480
                x, y = self.person[0] + self.person[1] * number, 4 * np.sin(number / 3)
                matrix = np.array([[scale, 0, x + dx], [0, scale, height - 505 * scale + y]])
                where = cv2.warpAffine(mask, matrix, self.size)
                frame += where * (cv2.warpAffine(person, matrix, self.size) - frame)
            yield frame, where


def write(
    path: Path, frames: Iterable[Frame], *, codec: str = "ffv1", pixels: str = "yuv420p"
) -> Path:
    """Write a film, by default without loss."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = 2 * RATE  # as films on the web have
        for number, values in enumerate(frames):
            if number == 0:
                stream.height, stream.width = values.shape
            frame = av.VideoFrame.from_ndarray(values, format="gray").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def colorize(path: Path, *options: str) -> Path:
    """Colorize a film with the command line; return the output."""
    target = path.with_name(f"{path.stem}-color{''.join(options)}.mkv")
    command = [sys.executable, "-m", "photochrom", "video", str(path), str(target), *options]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return target


def read_ab(path: Path, *, single_pixels: bool = False) -> FloatImage:
    """Return ab of the frames of a film, shape (frames, H, W, 2), by default as means of cells."""
    with av.open(str(path)) as container:
        frames = (frame.to_ndarray(format="rgb48le") for frame in container.decode(video=0))
        ab = (rgb_to_lab(frame.astype(np.float32) / 65535)[..., 1:] for frame in frames)
        return np.stack([one if single_pixels else cells(one) for one in ab])


def cells(values: FloatImage) -> FloatImage:
    """Return means of cells; rounding to 8 bits averages out."""
    height, width = values.shape[:2]
    size = width // CELL, height // CELL
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))


def change(ab: FloatImage) -> float:
    """Return the mean change of a* and b* from frame to frame."""
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(ab)]))


def drift(ab: FloatImage) -> float:
    """Return the mean range of means over consecutive frames."""
    count = len(ab) // WINDOW
    means = ab[: count * WINDOW].reshape(count, WINDOW, *ab.shape[1:]).mean(1)
    return float(np.ptp(means, axis=0).mean())


def chroma(ab: FloatImage) -> float:
    """Return the mean chroma."""
    return float(np.hypot(ab[..., 0], ab[..., 1]).mean())


def measure_drift(folder: Path, photos: list[FloatImage]) -> None:
    """Print how the colours of still cells change in shots whose exposure changes."""
    print("| shot of 5 s | drift | change | chroma | drift, alone | change, alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for number, photo in enumerate(photos):
        for name, person in (("still", None), ("person walks by", (-420.0, 9.0))):
            shot = Shot(
                *(photo, 125),
                gamma=(0.75, 1.3),
                person=person,
                flicker=FLICKER,
                jitter=JITTER,
                seed=number,
            )
            film = write(folder / f"drift-{number}-{name}.mkv", shot.frames())
            ways = ("--codec", "ffv1"), ("--codec", "ffv1", "--no-steady")
            steady, alone = (read_ab(colorize(film, *way)) for way in ways)
            still = shot.uncovered()
            figures = [drift(steady[:, still]), change(steady[:, still])]
            figures += [chroma(steady) / chroma(alone)]
            figures += [drift(alone[:, still]), change(alone[:, still])]
            rows.append(figures)
            print(_row(f"photo {number + 1}, {name}", figures))
            film.unlink()
    print(_row("mean", np.mean(rows, axis=0)), end="\n\n")


def _row(name: str, figures: Iterable[float]) -> str:
    return f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |"


def measure_flicker(folder: Path, photos: list[FloatImage]) -> None:
    """Print the change of colours in still shots of a second."""
    print("| change, still, 24 frames | each alone | shot | ratio |\n| --- | --- | --- | --- |")
    for name, deviation in (("grain", 0.0), ("grain, 5 % flicker", 0.05)):
        for output, pixels, codec, single in (
            ("10 bits, lossless, single pixels", "yuv420p10le", "ffv1", True),
            ("8 bits, H.264, cells", "yuv420p", "h264", False),
        ):
            changes = []
            for number, photo in enumerate(photos):
                path = folder / f"still-{codec}-{deviation}-{number}.mkv"
                film = write(path, Shot(photo, flicker=deviation).frames(), pixels=pixels)
                ways = ("--codec", codec, "--no-steady"), ("--codec", codec)
                outputs = (read_ab(colorize(film, *way), single_pixels=single) for way in ways)
                changes.append([change(output) for output in outputs])
            alone, steady = np.mean(changes, axis=0)
            print(_row(f"{name}: {output}", [alone, steady, steady / alone]))
    print()


def measure_cuts(folder: Path, photos: list[FloatImage]) -> None:
    """Print the error of frames after a cut, relative to the shot alone."""
    print("| frame after a cut | 0 | 1 | 2 | 3 | shots differ by |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for number, (one, other) in enumerate(pairwise(photos)):
        before, after = Shot(one, speed=2), Shot(other, speed=2, seed=number)
        joint = write(folder / f"joint-{number}.mkv", [*before.frames(), *after.frames()])
        alone = write(folder / f"alone-{number}.mkv", after.frames())
        output, truth = read_ab(colorize(joint)), read_ab(colorize(alone))
        errors = [np.abs(output[24 + k] - truth[k]).mean() for k in range(4)]
        rows.append([*errors, np.abs(output[23] - truth[0]).mean()])
    print(_row("error to the shot alone", np.mean(rows, axis=0)), end="\n\n")


def measure_motion(folder: Path, photos: list[FloatImage]) -> None:
    """Print the error to the same film without grain, of which each frame is colorized alone."""
    print("| moving, 24 frames | error, each alone | error | residual change, ratio |")
    print("| --- | --- | --- | --- |")
    ways = {
        "pan, 3 px a frame": {"speed": 3.0},
        "pan, 12 px a frame": {"speed": 12.0},
        "zoom, 1 % a frame": {"zoom": 0.01},
    }
    for number, (name, way) in enumerate(ways.items()):
        figures = []
        for which, photo in enumerate(photos):
            paths = (folder / f"{kind}-{number}-{which}.mkv" for kind in ("clean", "grainy"))
            shots = Shot(photo, grain=0, **way), Shot(photo, seed=which, **way)
            clean, grainy = (write(p, s.frames()) for p, s in zip(paths, shots, strict=True))
            options = ("--no-steady",), ("--no-steady",), ()
            truth, alone, steady = (
                read_ab(colorize(film, *option), single_pixels=True)
                for film, option in zip((clean, grainy, grainy), options, strict=True)
            )
            residual = _residual_change(steady, way) / _residual_change(alone, way)
            errors = [float(np.abs(output - truth).mean()) for output in (alone, steady)]
            figures.append([*errors, residual])
        print(_row(name, np.mean(figures, axis=0)))
    print()


def _residual_change(frames: FloatImage, way: dict[str, float]) -> float:
    """Return the mean change between frames after compensation of the camera's motion."""
    (width, height), speed, zoom = SIZE, way.get("speed", 0.0), way.get("zoom", 0.0)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    scale = 1 / (1 + zoom)
    changes = []
    for number, (before, here) in enumerate(pairwise(frames)):
        moved = (1 + zoom) ** number  # px of the photo to px of the frame before
        flow = np.dstack([x * (scale - 1) + speed * moved, y * (scale - 1) + speed * moved / 2])
        followed = np.dstack(
            [warp(np.ascontiguousarray(p), flow) for p in np.moveaxis(before, 2, 0)]
        )
        inside = slice(16, height - 48), slice(16, width - 48)
        changes.append(np.abs(here - followed)[inside].mean())
    return float(np.mean(changes))


def measure_speed(folder: Path, photos: list[FloatImage], count: int) -> None:
    """Print the time for a film, and for decoding, painting and encoding it alone."""
    each = count // len(photos)
    shots = [
        Shot(
            *(photo, each, 0.5),
            person=(-420.0, 1300 / each),
            flicker=FLICKER,
            jitter=JITTER,
            size=SPEED_SIZE,
        )
        for photo in photos
    ]
    parts = [
        write(folder / f"part-{number}.mkv", shot.frames(), codec="h264")
        for number, shot in enumerate(shots)
    ]
    frames = (frame for shot in shots for frame in shot.frames())
    film = write(folder / "film.mkv", frames, codec="h264")
    painting = _measure(f"{each * len(parts)} frames, painted alone", lambda: _paint_all(parts))
    whole = _measure(f"{each * len(parts)} frames, colorized", lambda: colorize(film))
    wall, cpu = (a / b for a, b in zip(whole, painting, strict=True))
    print(f"{wall:.2f} times the time of painting alone, {cpu:.2f} times its processor time")


def _measure(name: str, run: Callable[[], object]) -> tuple[float, float]:
    """Print and return the seconds of a run, and those of processors."""
    (before, start), count = (_cpu(), time.perf_counter()), int(name.split()[0])
    run()
    wall, cpu = time.perf_counter() - start, _cpu() - before
    print(
        f"{name} in {wall:.1f} s: {count / wall:.1f} per second; {1000 * cpu / count:.0f} ms of "
        f"CPU per frame, cores {100 * cpu / wall / count_cores():.0f}% busy"
    )
    return wall, cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _paint_all(parts: list[Path]) -> None:
    """Decode, paint and encode films, without finding their colours."""
    with multiprocessing.get_context("spawn").Pool(count_cores()) as pool:
        pool.map(_paint, parts, chunksize=1)
        pool.close()
        pool.join()  # so that its processor time counts


def _paint(path: Path) -> None:
    cv2.setNumThreads(1)
    colorizer, video = Colorizer(threads=1), probe(path)
    encoding = choose_encoding(path, None, None, video)
    ab: FloatImage | None = None
    with av.open(str(path.with_suffix(".painted.mkv")), "w") as out:
        stream = add_video_stream(out, video, encoding)
        for number, frame in enumerate(decode(video)):
            photo = to_photo(frame, video)
            if ab is None:
                ab = colorizer.predict_ab(colorizer.network_input(photo))
            output = colorizer.predict(photo, ab=ab).render()
            painted = to_frame(output, video, encoding.pixel_format)
            painted.pts, painted.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(painted))
        out.mux(stream.encode(None))


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=2, help="Number of photos.")
    parser.add_argument("--frames", type=int, default=480, help="Of the film for the speed.")
    parser.add_argument("--only", choices=["drift", "flicker", "cuts", "motion", "speed"])
    options = parser.parse_args()
    photos = load_photos(options.photos, options.count)
    parts: dict[str, Callable[[Path], None]] = {
        "drift": lambda folder: measure_drift(folder, photos),
        "flicker": lambda folder: measure_flicker(folder, photos),
        "cuts": lambda folder: measure_cuts(folder, photos),
        "motion": lambda folder: measure_motion(folder, photos),
        "speed": lambda folder: measure_speed(folder, photos, options.frames),
    }
    with tempfile.TemporaryDirectory(prefix="photochrom-film-") as folder:
        for name, part in parts.items():
            if options.only in (None, name):
                part(Path(folder))


if __name__ == "__main__":
    main()
