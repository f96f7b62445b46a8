"""Speed, flicker and motion of `photochrom video`.

    python benchmarks/video.py                     # photos of scikit-image
    python benchmarks/video.py PHOTOS --speed 480  # photos of a folder; frames to time

Videos are made from photos, with grain of 8 levels of 255, and colorized by the command line with
and without temporal smoothing (`--no-steady`). All values are measured on the decoded output.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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
from photochrom.cores import count_cores
from photochrom.video.cuts import warp

WIDTH, HEIGHT, RATE, GRAIN = 640, 480, 25, 8.0
FloatImage = NDArray[np.float32]


def load_photos(folder: Path | None, count: int) -> list[FloatImage]:
    """Return grey photos whose short side is 720 px."""
    if folder is None:
        names = ("astronaut", "coffee", "chelsea", "rocket")
        images = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    else:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".png"))
        images = [Image.open(file) for file in files[:: max(1, len(files) // count)]]
    grey = [np.asarray(image.convert("L"), np.float32) for image in images[:count]]
    scales = [720 / min(photo.shape) for photo in grey]
    return [
        cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for photo, scale in zip(grey, scales, strict=True)
    ]


def shot(
    image: FloatImage,
    count: int,
    *,
    speed: float = 0.0,
    zoom: float = 0.0,
    grain: float = GRAIN,
    flicker: float = 0.0,
    seed: int = 0,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a camera moved over a photo.

    Args:
        image: The photo.
        count: Number of frames.
        speed: px per frame, to the right; half of it down.
        zoom: Relative change of scale per frame.
        grain: Standard deviation, of 255.
        flicker: Relative standard deviation of the brightness of frames.
        seed: Of grain and flicker.
    """
    random = np.random.default_rng(seed)
    for number in range(count):
        scale = (1 + zoom) ** -number
        matrix = [[scale, 0, speed * number], [0, scale, speed * number / 2]]
        frame = cv2.warpAffine(
            *(image, np.array(matrix, np.float32), (WIDTH, HEIGHT)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        frame = frame * (1 + flicker * random.normal()) + grain * random.normal(size=frame.shape)
        yield np.clip(frame, 0, 255).astype(np.uint8)


def write(path: Path, frames: Iterator[NDArray[np.uint8]], *, high_bit_depth: bool = False) -> None:
    """Write a lossless video, of 8 or 10 bits."""
    pixels = "yuv420p10le" if high_bit_depth else "yuv420p"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for number, values in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(values, format="gray").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def colorize(path: Path, *options: str) -> Path:
    """Colorize a video with the command line; return the output."""
    target = path.with_name(f"{path.stem}-color{''.join(options)}.mkv")
    command = [sys.executable, "-m", "photochrom", "video", str(path), str(target), *options]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return target


def read_ab(path: Path) -> list[FloatImage]:
    """Return the ab of the frames of a video, shape (H, W, 2)."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb48le") for frame in container.decode(video=0)]
    return [rgb_to_lab(frame.astype(np.float32) / 65535)[..., 1:] for frame in frames]


def change(frames: list[FloatImage]) -> float:
    """Return the mean change of a* and b* from frame to frame."""
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


def mean_error(frames: list[FloatImage], truth: list[FloatImage]) -> float:
    """Return the mean difference in a* and b*."""
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(frames, truth, strict=True)]))


def flicker(folder: Path, photos: list[FloatImage]) -> None:
    """Print the change of colours in still shots."""
    print("| still, 24 frames | independent | smoothed | ratio |\n| --- | --- | --- | --- |")
    for name, deviation in (("grain", 0.0), ("grain, 5 % flicker", 0.05)):
        for output, high_bit_depth, codec, average in (
            ("10 bits, lossless, single pixels", True, "ffv1", list),
            ("8 bits, lossless, means over 8x8 px", False, "ffv1", block_means),
            ("8 bits, H.264, means over 8x8 px", False, "h264", block_means),
        ):
            changes = []
            for number, photo in enumerate(photos):
                video = folder / f"still-{codec}-{high_bit_depth}-{deviation}-{number}.mkv"
                write(
                    video,
                    shot(photo, 24, flicker=deviation, seed=number),
                    high_bit_depth=high_bit_depth,
                )
                ways = [("--codec", codec, "--no-steady"), ("--codec", codec)]
                changes.append([change(average(read_ab(colorize(video, *way)))) for way in ways])
            alone, steady = np.mean(changes, axis=0)
            print(f"| {name}: {output} | {alone:.2f} | {steady:.2f} | {steady / alone:.3f} |")


def block_means(frames: list[FloatImage]) -> list[FloatImage]:
    """Return means over 8x8 px, in which rounding to 8-bit YUV averages out."""
    size = (WIDTH // 8, HEIGHT // 8)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def cuts(folder: Path, photos: list[FloatImage]) -> None:
    """Print the error of frames after a cut, relative to the shot alone."""
    print("\n| frame after a cut | 0 | 1 | 2 | 3 |\n| --- | --- | --- | --- | --- |")
    rows, between = [], []
    for number, (one, other) in enumerate(pairwise(photos)):

        def after(image: FloatImage = other, seed: int = number) -> Iterator[NDArray[np.uint8]]:
            return shot(image, 16, speed=2, seed=seed)

        joint, alone = folder / f"joint-{number}.mkv", folder / f"alone-{number}.mkv"
        write(joint, (frame for part in (shot(one, 16, speed=2), after()) for frame in part))
        write(alone, after())
        output, truth = read_ab(colorize(joint)), read_ab(colorize(alone))
        between.append(np.abs(output[15] - truth[0]).mean())
        rows.append([np.abs(output[16 + k] - truth[k]).mean() for k in range(4)])
    means = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
    print(f"| error to the shot alone | {means} |")
    print(f"\n(The shots differ by {np.mean(between):.1f}.)")


def motion(folder: Path, photos: list[FloatImage]) -> None:
    """Print the error to the same video without grain, colorized without smoothing."""
    print("\n| moving, 24 frames | independent: error | smoothed: error | residual change, ratio |")
    print("| --- | --- | --- | --- |")
    ways: dict[str, dict[str, float]] = {
        "pan, 3 px a frame": {"speed": 3},
        "pan, 12 px a frame": {"speed": 12},
        "zoom, 1 % a frame": {"zoom": 0.01},
    }
    for number, (name, way) in enumerate(ways.items()):
        figures = []
        for which, photo in enumerate(photos):
            clean, grainy = (
                folder / f"{kind}-{number}-{which}.mkv" for kind in ("clean", "grainy")
            )
            write(clean, shot(photo, 24, grain=0, **way))
            write(grainy, shot(photo, 24, seed=which, **way))
            truth = read_ab(colorize(clean, "--no-steady"))
            alone, steady = (read_ab(colorize(grainy, *o)) for o in (("--no-steady",), ()))
            residual = _residual_change(steady, way) / _residual_change(alone, way)
            figures.append([mean_error(alone, truth), mean_error(steady, truth), residual])
        independent_error, smoothed_error, ratio = np.mean(figures, axis=0)
        print(f"| {name} | {independent_error:.2f} | {smoothed_error:.2f} | {ratio:.2f} |")


def _residual_change(frames: list[FloatImage], way: dict[str, float]) -> float:
    """Return the mean change between frames after motion compensation."""
    speed, zoom = way.get("speed", 0.0), way.get("zoom", 0.0)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    scale = 1 / (1 + zoom)
    changes = []
    for number, (before, here) in enumerate(pairwise(frames)):
        moved = (1 + zoom) ** number  # px of the photo to px of the frame before
        flow = np.dstack([x * (scale - 1) + speed * moved, y * (scale - 1) + speed * moved / 2])
        followed = np.dstack(
            [warp(np.ascontiguousarray(p), flow) for p in np.moveaxis(before, 2, 0)]
        )
        inside = slice(16, HEIGHT - 48), slice(16, WIDTH - 48)
        changes.append(np.abs(here - followed)[inside].mean())
    return float(np.mean(changes))


def speed(folder: Path, photos: list[FloatImage], count: int) -> None:
    """Print frames per second and CPU use."""
    video = folder / "long.mkv"
    each = count // len(photos)
    write(video, (frame for photo in photos for frame in shot(photo, each, speed=1, flicker=0.02)))
    before = _cpu()
    start = time.perf_counter()
    colorize(video)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    frames = each * len(photos)
    print(
        f"\n{frames} frames of {WIDTH}x{HEIGHT} in {wall:.0f} s, {frames / wall:.1f} per second; "
        f"{1000 * cpu / frames:.0f} ms of CPU per frame, "
        f"cores {100 * cpu / wall / count_cores():.0f}% busy"
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=4, help="Number of photos.")
    parser.add_argument("--speed", type=int, default=240, help="Frames of the video for the speed.")
    parser.add_argument("--only", choices=["flicker", "cuts", "motion", "speed"])
    options = parser.parse_args()
    photos = load_photos(options.photos, options.count)
    parts: dict[str, Callable[[Path], None]] = {
        "flicker": lambda folder: flicker(folder, photos),
        "cuts": lambda folder: cuts(folder, photos),
        "motion": lambda folder: motion(folder, photos),
        "speed": lambda folder: speed(folder, photos, options.speed),
    }
    with tempfile.TemporaryDirectory(prefix="photochrom-video-") as folder:
        for name, part in parts.items():
            if options.only in (None, name):
                part(Path(folder))


if __name__ == "__main__":
    main()
