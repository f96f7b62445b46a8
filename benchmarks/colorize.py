"""What colorizing costs, beside the floor: Pillow decoding and encoding the same file.

    python benchmarks/colorize.py                # prints the table of docs/performance.md

Every row is whole processes, from the shell to the file on the disk. Photos are made from
scikit-image's samples, enlarged, with grain: what a scanner would give.
"""

import argparse
import datetime
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image

CORES = len(os.sched_getaffinity(0))
FLOOR = """
import sys
from PIL import Image
image = Image.open(sys.argv[1])
kept = {"qtables": image.quantization} if image.format == "JPEG" else {"compression": "tiff_lzw"}
image.load()
image.save(sys.argv[2], **kept)
"""
NETWORK = """
import time
start = time.perf_counter()
import numpy as np
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
model = OnnxModel(default_model_path())
L = np.full((1, 1, 192, 256), 50, np.float32)
model(L)
cold = time.perf_counter() - start
start = time.perf_counter()
for _ in range(10):
    model(L)
print(cold, (time.perf_counter() - start) / 10)
"""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds on all cores, its own processes included."""
    peak: int
    """Most memory at one time, of all its processes, in bytes."""


def photograph(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return a grey photo, shape (height, width), uint8: a sample enlarged, with grain."""
    samples = [skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea]
    sample = np.asarray(Image.fromarray(samples[seed % 3]()).convert("L"))
    large = cv2.resize(sample, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(seed).normal(0, 3, (height, width)).astype(np.float32)
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def measure(*command: str | Path) -> Cost:
    """Run a command and watch it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, sum(resident(pid) for pid in family(process.pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    wall = time.perf_counter() - start
    over.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"{command} failed: {said.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak)


def family(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(int(child)))]


def resident(pid: int) -> int:
    """Return the memory of a process in bytes; what several share counts for each."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def median(runs: list[Cost]) -> Cost:
    """Return the run of the median time, with the highest peak of all."""
    middle = sorted(runs, key=lambda run: run.wall)[len(runs) // 2]
    return Cost(middle.wall, middle.cpu, max(run.peak for run in runs))


def repeated(count: int, *command: str | Path) -> Cost:
    """Measure a command some times, after one run that does not count."""
    measure(*command)
    return median([measure(*command) for _ in range(count)])


def row(what: str, cost: Cost, note: str = "") -> None:
    """Print a row of the table."""
    cells = f"{cost.wall:.2f} s | {cost.cpu:.2f} s | {cost.peak / 1e6:.0f} MB"
    print(f"| {what} | {cells} | {note} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=int, default=500, help="Photos in the folder.")
    parser.add_argument("--skip-large", action="store_true", help="No TIFF of 100 megapixels.")
    options = parser.parse_args()
    python = sys.executable
    photochrom = (python, "-m", "photochrom")
    place = Path(tempfile.mkdtemp(prefix="photochrom-bench-"))
    try:
        print(
            f"{datetime.date.today()}, {_processor()}, {CORES} cores, Python "
            f"{platform.python_version()}\n"
        )
        print("| what | wall | cpu | memory | |\n| --- | --- | --- | --- | --- |")
        row("`photochrom --help`", repeated(options.runs, *photochrom, "--help"))
        row("`import photochrom`", repeated(options.runs, python, "-c", "import photochrom"))
        row(
            "`import photochrom.colorize.colorizer`",
            repeated(options.runs, python, "-c", "import photochrom.colorize.colorizer"),
        )
        runs = [
            subprocess.check_output([python, "-c", NETWORK]).split() for _ in range(options.runs)
        ]
        network, warm = (statistics.median(float(run[k]) for run in runs) for k in (0, 1))
        print(
            f"| the network alone, 4000x3000 | {network:.2f} s | | | loaded and run once; warm "
            f"{warm * 1000:.0f} ms |"
        )
        grey = photograph(4000, 3000)
        colored = np.dstack([grey, grey, np.clip(grey.astype(np.int16) - 12, 0, 255)])
        for name, pixels in (("grey", grey), ("RGB", colored.astype(np.uint8))):
            photo = place / f"{name}.jpg"
            Image.fromarray(pixels).save(photo, quality=92)
            floor = repeated(options.runs, python, "-c", FLOOR, photo, place / "floor.jpg")
            row(f"12 MP {name} JPEG, floor", floor)
            ours = repeated(
                options.runs, *photochrom, "colorize", photo, "-o", place / "out", "--overwrite"
            )
            share = (ours.wall - network) / floor.wall
            row(f"12 MP {name} JPEG, colorized", ours, f"{share:.1f} floors and the network")
        folder(place, options.folder, photochrom)
        if not options.skip_large:
            large(place, photochrom, python)
    finally:
        shutil.rmtree(place)


def folder(place: Path, count: int, photochrom: tuple[str, ...]) -> None:
    """Measure folders of different length, so that one sees whether memory grows."""
    for part in (count // 10, count):
        photos = place / f"folder{part}"
        photos.mkdir()
        kinds = [photograph(4000, 3000, seed) for seed in range(6)]
        for seed, pixels in enumerate(kinds):
            Image.fromarray(pixels).save(photos / f"{seed}.jpg", quality=92)
        for number in range(len(kinds), part):
            shutil.copy(photos / f"{number % len(kinds)}.jpg", photos / f"{number}.jpg")
        cost = measure(*photochrom, "colorize", photos, "-o", place / f"out{part}")
        busy = cost.cpu / cost.wall / CORES
        row(f"a folder of {part}", cost, f"{part / cost.wall:.2f} photos/s, cores {busy:.0%} busy")
        shutil.rmtree(photos)
        shutil.rmtree(place / f"out{part}")


def large(place: Path, photochrom: tuple[str, ...], python: str) -> None:
    """Measure TIFFs of 100 megapixels."""
    grey = photograph(12_500, 8_000)
    deep = np.repeat((grey.astype(np.uint16) * 257)[..., None], 3, axis=2)
    for name, pixels in (("grey", grey), ("RGB, 16 bits", deep)):
        photo = place / "large.tif"
        cv2.imwrite(str(photo), pixels)
        row(
            f"100 MP TIFF, {name}",
            measure(*photochrom, "colorize", photo, "-o", place / "out", "--overwrite"),
        )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    main()
