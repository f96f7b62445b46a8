"""What a photo costs the trainer, in time and memory, with a thousand photos and with a million.

    python benchmarks/data.py

Each size is a data set of its own and a process of its own: photos of 256 px as `photochrom data`
packs them, except that the pixels are a hole in a file, which takes no room on the disk. So the
disk is left out; what is measured is finding, copying and converting.
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
    write_metadata(folder, [*rows, ("eval", "e.jpg", "0" * 64, SIDE, SIDE)], {"size": SIDE})
    for split, photos in (("train", count), ("eval", 1)):
        shape = (photos * SIDE * SIDE * 3,)
        np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.uint8, shape)


def measure(folder: Path, batches: int) -> dict[str, float]:
    """Open a data set and make batches as a step of training does; what it costs."""
    import torch

    from photochrom.training.data.packed import PackedPhotos, epoch_order
    from photochrom.training.tensors import to_L_ab

    before = anonymous()
    start = time.perf_counter()
    photos = PackedPhotos(folder, "train")
    opened = time.perf_counter()
    order = epoch_order(0, 0, len(photos))
    shuffled = time.perf_counter()
    seconds = []
    for number in range(batches):
        begun = time.perf_counter()
        indices = order[number * BATCH :][:BATCH].tolist()
        to_L_ab(photos.batch(indices, SIDE, torch.Generator().manual_seed(number)))
        seconds.append(time.perf_counter() - begun)
    return {
        "open": opened - start,
        "shuffle": shuffled - opened,
        "photo": float(np.median(seconds)) / BATCH,
        "memory": anonymous() - before,
    }


def anonymous() -> float:
    """Return the MB of memory that are this process's own, without pages of files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "Linux says it here"
    return int(found[1]) / 1024


def main() -> None:
    """Print a row for each size."""
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
        with tempfile.TemporaryDirectory(prefix="photochrom-data-") as place:
            write(Path(place, "data"), count)
            command = [sys.executable, __file__, "--measure", str(Path(place, "data"))]
            command += ["--batches", str(options.batches)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(said)
        print(
            f"| {count:,} | {found['open']:.2f} s | {found['shuffle'] * 1e3:.1f} ms "
            f"| {found['photo'] * 1e3:.2f} ms | {found['memory']:.0f} MB |"
        )


if __name__ == "__main__":
    main()
