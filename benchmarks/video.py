"""Films: how fast they are coloured, and whether their colours flicker or smear.

    python benchmarks/video.py                     # photos of scikit-image
    python benchmarks/video.py PHOTOS --speed 480  # photos of a folder, a longer film for the speed

Films are made of photos, with grain of 8 levels of 255, and coloured as the command line does it,
frame by frame (`--no-steady`) and steadied. All figures are of the frames of the result, decoded.
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

from photochrom.batch.process_pool import available_cores
from photochrom.color import rgb_to_lab
from photochrom.video.cuts import bend

WIDTH, HEIGHT, RATE, GRAIN = 640, 480, 25, 8.0
Picture = NDArray[np.float32]


def pictures(folder: Path | None, count: int) -> list[Picture]:
    """Return grey photos whose short side is 720 px."""
    if folder is None:
        names = ("astronaut", "coffee", "chelsea", "rocket")
        images = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    else:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".png"))
        images = [Image.open(file) for file in files[:: max(1, len(files) // count)]]
    grey = [np.asarray(image.convert("L"), np.float32) for image in images[:count]]
    scales = [720 / min(picture.shape) for picture in grey]
    return [
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for picture, scale in zip(grey, scales, strict=True)
    ]


def shot(
    picture: Picture,
    count: int,
    *,
    speed: float = 0.0,
    zoom: float = 0.0,
    grain: float = GRAIN,
    flicker: float = 0.0,
    seed: int = 0,
) -> Iterator[NDArray[np.uint8]]:
    """Move a camera over a photo.

    Args:
        picture: The photo.
        count: Frames.
        speed: px a frame, to the right and down.
        zoom: Share a frame.
        grain: Levels of 255.
        flicker: Deviation of each frame's brightness, as a share.
        seed: Of grain and flicker.
    """
    random = np.random.default_rng(seed)
    for number in range(count):
        scale = (1 + zoom) ** -number
        place = [[scale, 0, speed * number], [0, scale, speed * number / 2]]
        frame = cv2.warpAffine(
            *(picture, np.array(place, np.float32), (WIDTH, HEIGHT)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        frame = frame * (1 + flicker * random.normal()) + grain * random.normal(size=frame.shape)
        yield np.clip(frame, 0, 255).astype(np.uint8)


def write(path: Path, frames: Iterator[NDArray[np.uint8]], *, deep: bool = False) -> None:
    """Write a film without loss, of 8 bits or of 10."""
    pixels = "yuv420p10le" if deep else "yuv420p"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for number, values in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(values, format="gray").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def coloured(path: Path, *options: str) -> Path:
    """Colour a film as the command line does."""
    target = path.with_name(f"{path.stem}-color{''.join(options)}.mkv")
    command = [sys.executable, "-m", "photochrom", "video", str(path), str(target), *options]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return target


def colours(path: Path) -> list[Picture]:
    """Return the ab of a film's frames, shape (H, W, 2)."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb48le") for frame in container.decode(video=0)]
    return [rgb_to_lab(frame.astype(np.float32) / 65535)[..., 1:] for frame in frames]


def change(frames: list[Picture]) -> float:
    """Return the mean change of a* and b* from frame to frame."""
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


def off(frames: list[Picture], truth: list[Picture]) -> float:
    """Return the mean difference in a* and b*."""
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(frames, truth, strict=True)]))


def flickering(place: Path, photos: list[Picture]) -> None:
    """Print how much the colours of still scenes change."""
    print("| still, 24 frames | frame by frame | steadied | share |\n| --- | --- | --- | --- |")
    for name, flicker in (("grain", 0.0), ("grain, and brightness off by 5 %", 0.05)):
        for how, deep, codec, seen in (
            ("10 bits without loss, each pixel", True, "ffv1", list),
            ("8 bits without loss, means over 8x8 px", False, "ffv1", blocks),
            ("8 bits, H.264, means over 8x8 px", False, "h264", blocks),
        ):
            changes = []
            for number, photo in enumerate(photos):
                film = place / f"still-{codec}-{deep}-{flicker}-{number}.mkv"
                write(film, shot(photo, 24, flicker=flicker, seed=number), deep=deep)
                ways = [("--codec", codec, "--no-steady"), ("--codec", codec)]
                changes.append([change(seen(colours(coloured(film, *way)))) for way in ways])
            alone, steady = np.mean(changes, axis=0)
            print(f"| {name}: {how} | {alone:.2f} | {steady:.2f} | {steady / alone:.3f} |")


def blocks(frames: list[Picture]) -> list[Picture]:
    """Return means over 8x8 px: single ones change as they are rounded to 8 bits of YUV."""
    size = (WIDTH // 8, HEIGHT // 8)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def cutting(place: Path, photos: list[Picture]) -> None:
    """Print how far frames after a cut are from what they are where nothing came before."""
    print("\n| frame after a cut | 0 | 1 | 2 | 3 |\n| --- | --- | --- | --- | --- |")
    rows, between = [], []
    for number, (one, other) in enumerate(pairwise(photos)):

        def after(picture: Picture = other, seed: int = number) -> Iterator[NDArray[np.uint8]]:
            return shot(picture, 16, speed=2, seed=seed)

        joint, alone = place / f"joint-{number}.mkv", place / f"alone-{number}.mkv"
        write(joint, (frame for part in (shot(one, 16, speed=2), after()) for frame in part))
        write(alone, after())
        found, truth = colours(coloured(joint)), colours(coloured(alone))
        between.append(np.abs(found[15] - truth[0]).mean())
        rows.append([np.abs(found[16 + k] - truth[k]).mean() for k in range(4)])
    means = " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0))
    print(f"| off from the scene alone | {means} |")
    print(f"\n(The scenes themselves are {np.mean(between):.1f} apart.)")


def moving(place: Path, photos: list[Picture]) -> None:
    """Print how far colours are from those of the same film without grain, frame by frame."""
    print(
        "\n| moving, 24 frames | frame by frame: off | steadied: off | change that is no motion |"
    )
    print("| --- | --- | --- | --- |")
    ways: dict[str, dict[str, float]] = {
        "pan, 3 px a frame": {"speed": 3},
        "pan, 12 px a frame": {"speed": 12},
        "zoom, 1 % a frame": {"zoom": 0.01},
    }
    for number, (name, way) in enumerate(ways.items()):
        figures = []
        for which, photo in enumerate(photos):
            clean, film = (place / f"{kind}-{number}-{which}.mkv" for kind in ("clean", "grainy"))
            write(clean, shot(photo, 24, grain=0, **way))
            write(film, shot(photo, 24, seed=which, **way))
            truth = colours(coloured(clean, "--no-steady"))
            alone, steady = (colours(coloured(film, *o)) for o in (("--no-steady",), ()))
            ratio = _drift(steady, way) / _drift(alone, way)
            figures.append([off(alone, truth), off(steady, truth), ratio])
        alone_off, steady_off, share = np.mean(figures, axis=0)
        print(f"| {name} | {alone_off:.2f} | {steady_off:.2f} | {share:.2f} of frame by frame |")


def _drift(frames: list[Picture], way: dict[str, float]) -> float:
    """Return the mean change of places that are followed as the camera moves."""
    speed, zoom = way.get("speed", 0.0), way.get("zoom", 0.0)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    scale = 1 / (1 + zoom)
    changes = []
    for number, (before, here) in enumerate(pairwise(frames)):
        moved = (1 + zoom) ** number  # px of the photo to px of the frame before
        flow = np.dstack([x * (scale - 1) + speed * moved, y * (scale - 1) + speed * moved / 2])
        followed = np.dstack(
            [bend(np.ascontiguousarray(p), flow) for p in np.moveaxis(before, 2, 0)]
        )
        inside = slice(16, HEIGHT - 48), slice(16, WIDTH - 48)
        changes.append(np.abs(here - followed)[inside].mean())
    return float(np.mean(changes))


def speed(place: Path, photos: list[Picture], count: int) -> None:
    """Print frames a second, and how busy the cores were."""
    film = place / "long.mkv"
    each = count // len(photos)
    write(film, (frame for photo in photos for frame in shot(photo, each, speed=1, flicker=0.02)))
    before = _cpu()
    start = time.perf_counter()
    coloured(film)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    frames = each * len(photos)
    print(
        f"\n{frames} frames of {WIDTH}x{HEIGHT} in {wall:.0f} s, {frames / wall:.1f} a second; "
        f"{1000 * cpu / frames:.0f} ms of cpu a frame, "
        f"cores {100 * cpu / wall / len(available_cores()):.0f}% busy"
    )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make films, colour them, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=4, help="Photos.")
    parser.add_argument("--speed", type=int, default=240, help="Frames of the film for the speed.")
    parser.add_argument("--only", choices=["flickering", "cutting", "moving", "speed"])
    options = parser.parse_args()
    photos = pictures(options.photos, options.count)
    parts: dict[str, Callable[[Path], None]] = {
        "flickering": lambda place: flickering(place, photos),
        "cutting": lambda place: cutting(place, photos),
        "moving": lambda place: moving(place, photos),
        "speed": lambda place: speed(place, photos, options.speed),
    }
    with tempfile.TemporaryDirectory(prefix="photochrom-film-") as place:
        for name, part in parts.items():
            if options.only in (None, name):
                part(Path(place))


if __name__ == "__main__":
    main()
