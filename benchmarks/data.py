"""Time and memory of the data pipeline per photo, for data sets of a thousand to a million photos.

    python benchmarks/data.py

Each data set has photos of 256 px and is measured in a process of its own. The pixels are sparse
files, so this measures indexing, copying and conversion, but not the disk.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from photochrom.training.data.prepare import write_metadata

SIDE, BATCH = 256, 16


def write(folder: Path, count: int) -> None:
    """Write a data set of black photos."""
    folder.mkdir()
    rows = [("train", f"{i:07}.jpg", f"{i:064x}", SIDE, SIDE) for i in range(count)]
    write_metadata(folder, [*rows, ("validation", "e.jpg", "0" * 64, SIDE, SIDE)], {"size": SIDE})
    for split, photos in (("train", count), ("validation", 1)):
        shape = (photos * SIDE * SIDE * 3,)
        np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.uint8, shape)


def measure(folder: Path, batches: int) -> dict[str, float]:
    """Return seconds and MB of opening a data set and making batches as a training step does."""
    import torch

    from photochrom.training.data.packed import PackedPhotos, epoch_order
    from photochrom.training.tensors import to_L_ab

    before = anonymous_memory()
    start = time.perf_counter()
    photos = PackedPhotos(folder, "train")
    opened = time.perf_counter()
    order = epoch_order(0, 0, len(photos))
    shuffled = time.perf_counter()
    seconds = []
    for number in range(batches):
        batch_start = time.perf_counter()
        indices = order[number * BATCH :][:BATCH].tolist()
        to_L_ab(photos.batch(indices, SIDE, torch.Generator().manual_seed(number)))
        seconds.append(time.perf_counter() - batch_start)
    return {
        "open": opened - start,
        "shuffle": shuffled - opened,
        "photo": float(np.median(seconds)) / BATCH,
        "memory": anonymous_memory() - before,
    }


def anonymous_memory() -> float:
    """Return the anonymous memory of this process in MB, without memory-mapped files."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match, "needs Linux"
    return int(match[1]) / 1024


def main() -> None:
    """Print a row per size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.batches)))
        return
    print(
        "| photos | opened in | shuffled in | a photo | memory |\n| --- | --- | --- | --- | --- |"
    )
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="photochrom-data-") as folder:
            write(Path(folder, "data"), count)
            command = [sys.executable, __file__, "--measure", str(Path(folder, "data"))]
            command += ["--batches", str(options.batches)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        costs = json.loads(output)
        print(
            f"| {count:,} | {costs['open']:.2f} s | {costs['shuffle'] * 1e3:.1f} ms "
            f"| {costs['photo'] * 1e3:.2f} ms | {costs['memory']:.0f} MB |"
        )


if __name__ == "__main__":
    main()
