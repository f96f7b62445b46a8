"""Ten thousand small photos, one in a hundred bad: what becomes of them, and of the memory.

    python benchmarks/batch.py --plot docs/memory.svg

It fails unless every good photo is done, every bad one is listed with its reason, and there is
nothing else in the folder of results.
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

from colorize import family, resident

BAD = (b"", b"no photo at all", b"\xff\xd8\xff\xe0 cut off", b"\x89PNG\r\n\x1a\n" + bytes(50))


def make(folder: Path, count: int) -> set[str]:
    """Write photos of 240x160 in five formats, and return the names of the bad ones."""
    sample = Image.fromarray(skimage.data.coffee()).convert("L").resize((240, 160))
    kinds = []
    for number in range(20):
        suffix = (".jpg", ".png", ".tif", ".webp", ".bmp")[number % 5]
        kinds.append(folder / f"kind{number}{suffix}")
        sample.rotate(number * 5).save(kinds[-1])
    contents = [(kind.suffix, kind.read_bytes()) for kind in kinds]
    for kind in kinds:
        kind.unlink()
    bad = set()
    for number in range(count):
        suffix, content = contents[number % len(contents)]
        path = folder / f"{number:05}{suffix}"
        if number % 100 == 50:
            content = BAD[number // 100 % len(BAD)]
            bad.add(str(path))
        path.write_bytes(content)
    return bad


def main() -> None:
    """Run the batch, check what became of it, and plot the memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="photochrom-batch-") as place:
        photos, out, report = Path(place, "photos"), Path(place, "out"), Path(place, "report.jsonl")
        photos.mkdir()
        bad = make(photos, options.count)
        command = [sys.executable, "-m", "photochrom", "colorize", photos, "-o", out]
        start = time.perf_counter()
        process = subprocess.Popen([*command, "--report", report], stderr=subprocess.DEVNULL)
        seconds, memory = [], []
        while process.poll() is None:
            seconds.append(time.perf_counter() - start)
            memory.append(sum(map(resident, family(process.pid))) / 1e6)
            time.sleep(0.5)
        wall = time.perf_counter() - start
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        failed = {line["input"]: line["error"] for line in lines if line["status"] == "failed"}
        assert set(failed) == bad, set(failed) ^ bad
        assert all(failed.values())
        assert len(lines) == options.count
        assert len(list(out.iterdir())) == options.count - len(bad)
    early = np.median(memory[len(memory) // 10 : len(memory) // 5])
    late = np.median(memory[-len(memory) // 10 :])
    print(
        f"{options.count} photos in {wall:.0f} s, {options.count / wall:.0f} a second; {len(bad)} "
        f"bad, all listed; memory {early:.0f} MB after a tenth, {late:.0f} MB at the end"
    )
    if options.plot:
        figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
        axes.plot(seconds, memory, linewidth=0.8)
        axes.set(xlabel="seconds", ylabel="MB, all processes", ylim=(0, None))
        axes.set_title(f"{options.count} photos, {len(bad)} bad", fontsize=9)
        figure.savefig(options.plot, metadata={"Date": None})


if __name__ == "__main__":
    main()
