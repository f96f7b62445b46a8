"""Time and memory of one photo on the static site in headless Chromium, against the program.

    python benchmarks/site_speed.py
    python benchmarks/site_speed.py --photo scan.jpg --runs 5

The site is written from the bundle that `npm run build` in site/ makes, and served from this
computer without the headers that allow threads. Seconds are measured from adding the photo to its
first picture in colour, and from the click on "Download" to the file; memory is the highest that
the browser's process of the page had in that time (Linux). The program is `photochrom colorize`
with the same photo, from start to end. Computing time is that of all threads. The output is JSON;
the exit code is 1 if the site takes more than `MAX_RATIO` times as long as the program.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from photochrom.site.writing import write_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WIDTH, HEIGHT = 4000, 3000
MAX_RATIO = 4
TIMEOUT = 120_000  # ms
Measures = dict[str, list[float]]
"""What is measured to its value in each run."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, help="Default: one of 12 megapixels that is drawn.")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = options.photo or draw_photo(folder / "photo.jpg")
        write_site(folder / "site", None)
        with serve(folder / "site") as address:
            result = measure_site(address, photo, options.runs)
        result["program"] = measure_program(photo, folder / "program", options.runs)
        with Image.open(photo) as image:
            result["pixels"] = image.width * image.height
    seconds = min(result["download"]["seconds"]), min(result["program"]["seconds"])
    result["ratio"] = round(seconds[0] / seconds[1], 2)
    print(json.dumps(result, indent=2))
    if result["ratio"] > MAX_RATIO:
        sys.exit(f"the site takes {result['ratio']} times as long, the target is {MAX_RATIO}")


def draw_photo(path: Path) -> Path:
    """Write a photo of large shapes and grain, in the colours of a scan of grey paper."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(20, 235, (12, 16), dtype=np.uint8)
    grey = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = np.asarray(grey) + rng.normal(0, 6, (HEIGHT, WIDTH))
    pixels = np.clip(grain[..., None] * [1, 0.97, 0.9], 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90)
    return path


def measure_program(photo: Path, folder: Path, runs: int) -> Measures:
    """Measure `photochrom colorize`."""
    measures: Measures = {"seconds": [], "cpu_seconds": []}
    for _ in range(runs):
        command = [sys.executable, "-m", "photochrom", "colorize", str(photo), "--overwrite"]
        start, cpu = time.perf_counter(), children_cpu()
        subprocess.run([*command, "--out", str(folder)], check=True, capture_output=True)
        measures["seconds"].append(round(time.perf_counter() - start, 2))
        measures["cpu_seconds"].append(round(children_cpu() - cpu, 2))
    return measures


def children_cpu() -> float:
    """Return the seconds that the processes started here have computed, without running ones."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Yield the address of a server of the files in a folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def measure_site(address: str, photo: Path, runs: int) -> dict[str, Any]:
    """Measure some runs, each with a page of its own."""
    from playwright.sync_api import sync_playwright

    names = "seconds", "cpu_seconds", "memory_mb"
    result: dict[str, Measures] = {
        step: {name: [] for name in names} for step in ("preview", "download")
    }
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        ) as browser,
    ):
        for _ in range(runs):
            page = browser.new_page(
                viewport={"width": 1280, "height": 800}, reduced_motion="reduce"
            )
            page.set_default_timeout(TIMEOUT)
            page.goto(address)
            page.locator("[data-sample]").first.click()  # which loads the engine
            page.locator("#after > img").wait_for()
            process = find_renderer(browser)
            with measure(process, result["preview"]):
                page.set_input_files("#add-input", photo)
                page.locator(f"#after > img[alt^='{photo.name}']").wait_for()
            versions = page.locator("#version-list[aria-busy=false]")
            versions.wait_for(state="attached")  # they would slow the download down
            with measure(process, result["download"]), page.expect_download() as download:
                page.locator("#download").click()
            assert download.value.path().stat().st_size > 0
            page.close()
    return result


@contextlib.contextmanager
def measure(process: int, measures: Measures) -> Iterator[None]:
    """Add the time of a block, and the computing time and the highest memory of a process."""
    Path(f"/proc/{process}/clear_refs").write_text("5")  # forgets the highest memory so far
    start, cpu = time.perf_counter(), read_cpu(process)
    yield
    measures["seconds"].append(round(time.perf_counter() - start, 2))
    measures["cpu_seconds"].append(round(read_cpu(process) - cpu, 2))
    measures["memory_mb"].append(read_memory(process) // 1_000_000)


def find_renderer(browser: "Browser") -> int:
    """Return the ID of the process of the page, which has used more time than any other."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [each for each in processes if each["type"] == "renderer"]
    return int(max(renderers, key=lambda each: each["cpuTime"])["id"])


def read_cpu(process: int) -> float:
    """Return the seconds that all threads of a process have computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_memory(process: int) -> int:
    """Return the highest resident memory of a process in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
