"""Time and memory of colorizing, compared with Pillow decoding and encoding the same file.

    python benchmarks/colorize.py                # prints the table of docs/performance.md

Every row measures complete processes, from start to the file on the disk. Photos are scikit-image's
samples, enlarged, with grain, similar to scans.
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
options = {"qtables": image.quantization} if image.format == "JPEG" else {"compression": "tiff_lzw"}
image.load()
image.save(sys.argv[2], **options)
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
    """Time and memory of a process with its children."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, summed over all cores."""
    peak: int
    """Peak memory of all processes together, in bytes."""


def make_photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return a grey photo, shape (height, width), uint8: a sample enlarged, with grain."""
    samples = [skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea]
    sample = np.asarray(Image.fromarray(samples[seed % 3]()).convert("L"))
    large = cv2.resize(sample, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(seed).normal(0, 3, (height, width)).astype(np.float32)
    return np.clip(large + grain, 0, 255).astype(np.uint8)


def measure(*command: str | Path) -> Cost:
    """Run a command and measure it with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = 0
    finished = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not finished.wait(0.05):
            peak = max(peak, sum(resident_memory(pid) for pid in process_tree(process.pid)))

    sampler = threading.Thread(target=sample)
    sampler.start()
    _, stderr = process.communicate()
    wall = time.perf_counter() - start
    finished.set()
    sampler.join()
    if process.returncode:
        sys.exit(f"{command} failed: {stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, peak)


def process_tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(p for child in children for p in process_tree(int(child)))]


def resident_memory(pid: int) -> int:
    """Return the memory of a process in bytes; shared memory counts for each process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def median(runs: list[Cost]) -> Cost:
    """Return the run of median time, with the highest peak of all runs."""
    middle = sorted(runs, key=lambda run: run.wall)[len(runs) // 2]
    return Cost(middle.wall, middle.cpu, max(run.peak for run in runs))


def measure_median(count: int, *command: str | Path) -> Cost:
    """Measure a command several times after a warm-up run."""
    measure(*command)
    return median([measure(*command) for _ in range(count)])


def print_row(label: str, cost: Cost, note: str = "") -> None:
    """Print a row of the table."""
    cells = f"{cost.wall:.2f} s | {cost.cpu:.2f} s | {cost.peak / 1e6:.0f} MB"
    print(f"| {label} | {cells} | {note} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=int, default=500, help="Photos in the folder.")
    parser.add_argument("--skip-large", action="store_true", help="No TIFF of 100 megapixels.")
    options = parser.parse_args()
    python = sys.executable
    photochrom = (python, "-m", "photochrom")
    folder = Path(tempfile.mkdtemp(prefix="photochrom-bench-"))
    try:
        print(
            f"{datetime.date.today()}, {_processor_name()}, {CORES} cores, Python "
            f"{platform.python_version()}\n"
        )
        print("| what | wall | cpu | memory | |\n| --- | --- | --- | --- | --- |")
        print_row("`photochrom --help`", measure_median(options.runs, *photochrom, "--help"))
        print_row(
            "`import photochrom`", measure_median(options.runs, python, "-c", "import photochrom")
        )
        print_row(
            "`import photochrom.colorize.colorizer`",
            measure_median(options.runs, python, "-c", "import photochrom.colorize.colorizer"),
        )
        runs = [
            subprocess.check_output([python, "-c", NETWORK]).split() for _ in range(options.runs)
        ]
        network, warm = (statistics.median(float(run[k]) for run in runs) for k in (0, 1))
        print(
            f"| the network alone, 4000x3000 | {network:.2f} s | | | loaded and run once; warm "
            f"{warm * 1000:.0f} ms |"
        )
        grey = make_photo(4000, 3000)
        colored = np.dstack([grey, grey, np.clip(grey.astype(np.int16) - 12, 0, 255)])
        for name, pixels in (("grey", grey), ("RGB", colored.astype(np.uint8))):
            photo = folder / f"{name}.jpg"
            Image.fromarray(pixels).save(photo, quality=92)
            floor = measure_median(options.runs, python, "-c", FLOOR, photo, folder / "floor.jpg")
            print_row(f"12 MP {name} JPEG, floor", floor)
            result = measure_median(
                options.runs, *photochrom, "colorize", photo, "-o", folder / "out", "--overwrite"
            )
            floors = (result.wall - network) / floor.wall
            print_row(
                f"12 MP {name} JPEG, colorized", result, f"{floors:.1f} floors and the network"
            )
        measure_folders(folder, options.folder, photochrom)
        if not options.skip_large:
            measure_large_tiffs(folder, photochrom, python)
    finally:
        shutil.rmtree(folder)


def measure_folders(folder: Path, count: int, photochrom: tuple[str, ...]) -> None:
    """Measure folders of different length, which shows whether memory grows."""
    for size in (count // 10, count):
        photos = folder / f"folder{size}"
        photos.mkdir()
        kinds = [make_photo(4000, 3000, seed) for seed in range(6)]
        for seed, pixels in enumerate(kinds):
            Image.fromarray(pixels).save(photos / f"{seed}.jpg", quality=92)
        for number in range(len(kinds), size):
            shutil.copy(photos / f"{number % len(kinds)}.jpg", photos / f"{number}.jpg")
        cost = measure(*photochrom, "colorize", photos, "-o", folder / f"out{size}")
        busy = cost.cpu / cost.wall / CORES
        print_row(
            f"a folder of {size}", cost, f"{size / cost.wall:.2f} photos/s, cores {busy:.0%} busy"
        )
        shutil.rmtree(photos)
        shutil.rmtree(folder / f"out{size}")


def measure_large_tiffs(folder: Path, photochrom: tuple[str, ...], python: str) -> None:
    """Measure TIFFs of 100 megapixels."""
    grey = make_photo(12_500, 8_000)
    deep = np.repeat((grey.astype(np.uint16) * 257)[..., None], 3, axis=2)
    for name, pixels in (("grey", grey), ("RGB, 16 bits", deep)):
        photo = folder / "large.tif"
        cv2.imwrite(str(photo), pixels)
        print_row(
            f"100 MP TIFF, {name}",
            measure(*photochrom, "colorize", photo, "-o", folder / "out", "--overwrite"),
        )


def _processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "?")


if __name__ == "__main__":
    main()
