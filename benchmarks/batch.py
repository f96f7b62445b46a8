"""Colorize ten thousand small photos, one in a hundred invalid, and plot the memory.

    python benchmarks/batch.py --plot docs/memory.svg

Fails unless all valid photos are colorized, all invalid ones are reported with a reason, and the
output folder has no other files.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from PIL import Image

from colorize import process_tree, resident_memory

INVALID_CONTENTS = (
    b"",
    b"no photo at all",
    b"\xff\xd8\xff\xe0 cut off",
    b"\x89PNG\r\n\x1a\n" + bytes(50),
)


def make(folder: Path, count: int) -> set[str]:
    """Write photos of 240x160 in five formats, and return the paths of the invalid ones."""
    sample = Image.fromarray(skimage.data.coffee()).convert("L").resize((240, 160))
    kinds = []
    for number in range(20):
        suffix = (".jpg", ".png", ".tif", ".webp", ".bmp")[number % 5]
        kinds.append(folder / f"kind{number}{suffix}")
        sample.rotate(number * 5).save(kinds[-1])
    contents = [(kind.suffix, kind.read_bytes()) for kind in kinds]
    for kind in kinds:
        kind.unlink()
    invalid = set()
    for number in range(count):
        suffix, content = contents[number % len(contents)]
        path = folder / f"{number:05}{suffix}"
        if number % 100 == 50:
            content = INVALID_CONTENTS[number // 100 % len(INVALID_CONTENTS)]
            invalid.add(str(path))
        path.write_bytes(content)
    return invalid


def main() -> None:
    """Run the batch, check the results, and plot the memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="photochrom-batch-") as folder:
        photos, out = Path(folder, "photos"), Path(folder, "out")
        report = Path(folder, "report.jsonl")
        photos.mkdir()
        invalid = make(photos, options.count)
        command = [sys.executable, "-m", "photochrom", "colorize", photos, "-o", out]
        start = time.perf_counter()
        process = subprocess.Popen([*command, "--report", report], stderr=subprocess.DEVNULL)
        seconds, memory = [], []
        while process.poll() is None:
            seconds.append(time.perf_counter() - start)
            memory.append(sum(map(resident_memory, process_tree(process.pid))) / 1e6)
            time.sleep(0.5)
        wall = time.perf_counter() - start
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        failed = {line["input"]: line["error"] for line in lines if line["status"] == "failed"}
        assert set(failed) == invalid, set(failed) ^ invalid
        assert all(failed.values())
        assert len(lines) == options.count
        assert len(list(out.iterdir())) == options.count - len(invalid)
    early = np.median(memory[len(memory) // 10 : len(memory) // 5])
    late = np.median(memory[-len(memory) // 10 :])
    print(
        f"{options.count} photos in {wall:.0f} s, {options.count / wall:.0f} a second; "
        f"{len(invalid)} invalid, all reported; memory {early:.0f} MB after a tenth, "
        f"{late:.0f} MB at the end"
    )
    if options.plot:
        figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
        axes.plot(seconds, memory, linewidth=0.8)
        axes.set(xlabel="seconds", ylabel="MB, all processes", ylim=(0, None))
        axes.set_title(f"{options.count} photos, {len(invalid)} invalid", fontsize=9)
        figure.savefig(options.plot, metadata={"Date": None})


if __name__ == "__main__":
    main()
