"""Load test of `photochrom web` that checks every response.

    python benchmarks/web.py --clients 16 --seconds 120
    python benchmarks/web.py --previews
    python benchmarks/web.py --hovers

Each client sends a 12-megapixel photo of its own and invalid files in turn: clients with even
numbers to the API, the others to the page's routes. Results are compared, byte for byte, with those
of the command line. Meanwhile, from other addresses of this computer (Linux), 130 sockets send a
byte in 20 s, one client sends what is no proper request, and four clients leave before they are
answered. The output is JSON: times of previews without load, counts of responses, times of requests
and health checks, and memory of the server and its processes. The exit code is 1 if a result is
wrong or a target is missed. With `--previews`, only previews are timed. With `--hovers`, a headless
Chromium is, from the mouse's arrival at a suggested colour until the picture shows it.
"""

import argparse
import asyncio
import contextlib
import functools
import io
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image

from photochrom.batch.planning import Job
from photochrom.batch.runner import Settings, colorize_all

WIDTH, HEIGHT = 4000, 3000
MAX_HEALTH_SECONDS = 0.2
"""95 % of the health checks have to be faster."""
MAX_MEMORY = 1_200_000_000
"""In bytes, of all processes."""
MAX_HINT_SECONDS = 0.3
"""Half of the first previews with a new hint have to be faster."""
SLOW, RUBBISH, LEAVING = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Addresses of the clients that misbehave."""
RUBBISH_REQUESTS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS handshake
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /%00/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x--xxxx",
    b"POST /api/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /photos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--slow", type=int, default=130, help="Sockets with a byte in 20 s.")
    parser.add_argument("--waiting", type=int, default=64, help="Maximum number of waiting photos.")
    parser.add_argument("--model", type=Path, help="Default: that of photochrom.")
    parser.add_argument("--previews", action="store_true", help="Time previews only.")
    parser.add_argument("--hovers", action="store_true", help="Time hovers in a browser only.")
    options = parser.parse_args()
    is_load_test = not (options.previews or options.hovers)
    with tempfile.TemporaryDirectory() as folder:
        photos = prepare(Path(folder), options.clients if is_load_test else 1, options.model)
        command = [sys.executable, "-m", "photochrom", "web", "--port", "0"]
        command += ["--waiting", str(options.waiting)]
        command += ["--model", str(options.model)] if options.model else []
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        make_decompression_bomb()  # before any measurement
        try:
            assert server.stderr is not None
            address = server.stderr.readline().strip()
            result: dict[str, Any] = {}
            if options.hovers:
                result["hover_seconds"] = measure_hovers(address, photos[0][0])
            else:
                result["preview_seconds"] = asyncio.run(measure_previews(address, photos[0][0]))
            if not is_load_test:
                result["memory_mb"] = {
                    str(pid): resident_memory(pid) // 1_000_000
                    for pid in [server.pid, *children(server.pid)]
                }
            else:
                work = load(address, photos, options.seconds, server.pid, options.slow)
                result |= asyncio.run(work)
            print(json.dumps(result, indent=2))
        finally:
            server.terminate()
            server.wait()
    failures = find_failures(result)
    if failures:
        sys.exit("; ".join(failures))


def find_failures(result: dict[str, Any]) -> list[str]:
    """Return what is wrong or above a target in the output."""
    failures = [f"{name}: {count}" for name, count in result.items() if name.startswith("WRONG")]
    for name, limit in (
        ("health_seconds_p95", MAX_HEALTH_SECONDS),
        ("memory_mb_max", MAX_MEMORY // 1_000_000),
    ):
        if result.get(name, 0) > limit:
            failures.append(f"{name} is {result[name]}, the target {limit}")
    previews = result.get("preview_seconds", {}).get("new hint, 800 px", [0])
    for name, times in ("a new hint", previews), ("a hover", result.get("hover_seconds", [0])):
        if times[0] > MAX_HINT_SECONDS:
            failures.append(f"{name} takes {times[0]} s, the target is {MAX_HINT_SECONDS} s")
    return failures


def prepare(folder: Path, clients: int, model: Path | None) -> list[tuple[bytes, bytes]]:
    """Return each client's photo and its expected result."""
    jobs = []
    for number in range(clients):
        rng = np.random.default_rng(number)
        coarse = rng.integers(20, 235, (12, 16), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (HEIGHT, WIDTH))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        jobs.append(Job(folder / f"{number}.jpg", folder / f"{number}-color.jpg"))
        image.save(jobs[-1].input, quality=90)
    for result in colorize_all(jobs, Settings(model=model)):
        assert result.status == "done", result
    return [(job.input.read_bytes(), job.output.read_bytes()) for job in jobs]


@functools.cache
def make_decompression_bomb() -> bytes:
    """Return a small file of an image with 900 megapixels."""
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    return file.getvalue()


def make_invalid_file(photo: bytes, rng: random.Random) -> bytes:
    """Return a file that cannot be colorized."""
    truncated = photo[: len(photo) // 2]
    return rng.choice([rng.randbytes(100_000), truncated, b"", make_decompression_bomb()])


TIME_HOVERS = """() => {
    window.times = [];
    let start = 0;
    document.addEventListener("pointerover", ({ target }) => {
        if (target.closest("[data-color]")) start = performance.now();
    }, true);
    const add = () => window.times.push(performance.now() - start);
    // The second frame begins when the first is painted.
    const changed = () => requestAnimationFrame(() => requestAnimationFrame(add));
    new MutationObserver(changed).observe(document.getElementById("after"), { childList: true });
}"""


def measure_hovers(address: str, photo: bytes) -> list[float]:
    """Return median, 95th percentile and maximum of the times of hovers in a browser in seconds.

    From the pointer's arrival at a suggested colour until the picture shows it.
    """
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        page.goto(address)
        file = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo}
        page.set_input_files("input[type=file]", file)  # type: ignore[arg-type]
        page.wait_for_selector("#after > img", timeout=60_000)
        page.wait_for_load_state("networkidle")  # the versions are drawn
        page.evaluate(TIME_HOVERS)
        times: list[float] = []
        for number in range(8):
            box = page.locator("#frame").bounding_box()
            assert box
            x, y = 0.15 + 0.05 * (number % 4), 0.2 + 0.08 * number
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.wait_for_selector("#palette-suggestions [data-color]")
            for swatch in page.locator("#palette-suggestions [data-color]").all()[1:]:
                swatch.hover()
                page.wait_for_function("() => window.times.length")
                times += page.evaluate("window.times.splice(0)")
            page.keyboard.press("Escape")
            page.wait_for_function("() => window.times.splice(0).length")  # as it was
    values = np.median(times), np.percentile(times, 95), max(times)
    return [round(float(value) / 1000, 3) for value in values]


async def measure_previews(address: str, photo: bytes) -> dict[str, list[float]]:
    """Return median, 95th percentile and maximum of the times of previews in seconds, by kind."""
    results = {}

    def record(name: str, times: Sequence[float]) -> None:
        values = np.median(times), np.percentile(times, 95), max(times)
        results[name] = [round(float(value), 3) for value in values]

    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as http,
        httpx.AsyncClient(base_url=address, timeout=60) as others,
    ):
        takes_hints = 'data-hints="true"' in (await http.get("/")).text
        response = await http.post("/photos", params={"name": "photo.jpg"}, content=photo)
        path = f"/photos/{response.json()['id']}"
        while (await http.get("/photos")).json()["photos"][0]["status"] != "ready":
            await asyncio.sleep(0.1)

        async def get(view: str, **params: Any) -> float:
            start = time.monotonic()
            (await http.get(f"{path}/{view}", params=params)).raise_for_status()
            return time.monotonic() - start

        async def slide(size: int) -> list[float]:
            values = np.linspace(0, 2, 41)
            return [await get("after", saturation=value, max_size=size) for value in values]

        colors = (f"#30{number >> 8:02x}{number & 255:02x}" for number in itertools.count())

        def follow_hint(size: int = 800) -> Coroutine[Any, Any, float]:
            hints = f"900,700,red;2000,1500,{next(colors)}"
            return get("after", hints=hints, max_size=size)

        for size in (800, 1600):
            record(f"slider, {size} px", await slide(size))
        if takes_hints:
            for size in (800, 1600):
                record(f"new hint, {size} px", [await follow_hint(size) for _ in range(41)])
            await get("after", hints="9,9,red")
            again = [await get("after", hints="9,9,red", max_size=800) for _ in range(41)]
            record("the same hint again, 800 px", again)
            places = [(100 + 90 * n, 2900 - 70 * n) for n in range(41)]
            record("suggestions", [await get("suggestions", x=x, y=y) for x, y in places])
            last = []
            for _ in range(10):
                tasks = [asyncio.create_task(follow_hint())]
                for _ in range(7):
                    await asyncio.sleep(0.06)
                    tasks[-1].cancel()
                    tasks.append(asyncio.create_task(follow_hint()))
                last.append(await tasks[-1])
            record("the last of 8 hints, 60 ms apart", last)
            async with repeated([follow_hint]):
                record("slider while hints change", await slide(800))

            def colorize() -> Coroutine[Any, Any, bytes | int]:
                return colorize_by_api(others, photo, Counter())

            async with repeated([colorize] * 4):
                await asyncio.sleep(0.5)
                busy = [await follow_hint() for _ in range(41)]
                record("new hint while 4 clients colorize", busy)
        await http.delete(path)
    return results


@contextlib.asynccontextmanager
async def repeated(works: Sequence[Callable[[], Coroutine[Any, Any, Any]]]) -> AsyncIterator[None]:
    """Do some works again and again at the same time, until the context ends."""
    over = asyncio.Event()

    async def repeat(work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        while not over.is_set():
            await work()

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(repeat(work))
        yield
        over.set()


async def load(
    address: str, photos: list[tuple[bytes, bytes]], seconds: float, server: int, slow: int
) -> dict[str, Any]:
    """Run all clients and return the measurements."""
    end = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    times: list[float] = []
    health: list[float] = []
    memory: list[int] = []
    over = threading.Event()
    checks = threading.Thread(target=watch_health, args=(address, health, over))
    checks.start()
    watcher = asyncio.create_task(watch_memory(server, memory))
    nuisances = [asyncio.create_task(send_slowly(address, n, counts)) for n in range(slow)]
    nuisances.append(asyncio.create_task(send_rubbish(address, counts)))
    nuisances += [asyncio.create_task(leave(address, n, photos[0][0], counts)) for n in range(4)]
    await asyncio.gather(
        *(run_client(address, n, *photo, end, counts, times) for n, photo in enumerate(photos))
    )
    for task in [watcher, *nuisances]:
        task.cancel()
    for error in await asyncio.gather(watcher, *nuisances, return_exceptions=True):
        assert isinstance(error, asyncio.CancelledError), error
    over.set()
    checks.join()
    return {
        "clients": len(photos),
        "seconds": seconds,
        **dict(sorted(counts.items())),
        "seconds_median": round(float(np.median(times)), 2),
        "seconds_max": round(max(times), 2),
        "health_checks": len(health),
        "health_seconds_median": round(float(np.median(health)), 4),
        "health_seconds_p95": round(float(np.percentile(health, 95)), 3),
        "health_seconds_max": round(max(health), 3),
        "memory_mb_first_quarter": max(memory[: len(memory) // 4]) // 1_000_000,
        "memory_mb_max": max(memory) // 1_000_000,
    }


async def connect(address: str, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection from an address of this computer."""
    host, port = address.removeprefix("http://").strip("/").split(":")
    return await asyncio.open_connection(host, int(port), local_addr=(source, 0))


async def send_slowly(address: str, number: int, counts: Counter[str]) -> None:
    """Send bodies of 10 MB at a byte in 20 s, until cancelled."""
    path = "/api/colorize" if number % 2 else "/photos?name=slow.jpg"
    header = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nCookie: photochrom={'s' * 43}\r\n\r\n"
    )
    while True:
        reader, writer = await connect(address, SLOW)
        try:
            writer.write(header.encode())
            answer = asyncio.create_task(reader.read())
            while not answer.done():
                writer.write(b"-")
                await asyncio.wait([answer], timeout=20)
            counts["slow uploads refused"] += 1
            await asyncio.gather(answer, return_exceptions=True)
        except ConnectionError:
            counts["slow uploads refused"] += 1
        finally:
            writer.close()
        await asyncio.sleep(1)


async def send_rubbish(address: str, counts: Counter[str]) -> None:
    """Send what is no proper request five times a second, until cancelled."""
    for number in itertools.count():
        reader, writer = await connect(address, RUBBISH)
        try:
            writer.write(RUBBISH_REQUESTS[number % len(RUBBISH_REQUESTS)])
            status = (await asyncio.wait_for(reader.read(12), 60))[9:]
            counts["rubbish refused" if status[:1] == b"4" else f"WRONG: rubbish {status!r}"] += 1
        finally:
            writer.close()
        await asyncio.sleep(0.2)


async def leave(address: str, number: int, photo: bytes, counts: Counter[str]) -> None:
    """Send a photo to the API and leave before the response, until cancelled."""
    rng = random.Random(number)
    transport = httpx.AsyncHTTPTransport(local_address=LEAVING)
    while True:
        async with httpx.AsyncClient(base_url=address, transport=transport) as http:
            patience = httpx.Timeout(20, read=rng.uniform(0.01, 1))
            try:
                await http.post("/api/colorize", files={"file": photo}, timeout=patience)
            except httpx.TransportError:
                counts["clients that left"] += 1
        transport = httpx.AsyncHTTPTransport(local_address=LEAVING)
        await asyncio.sleep(0.5)


async def run_client(
    address: str,
    number: int,
    photo: bytes,
    expected: bytes,
    end: float,
    counts: Counter[str],
    times: list[float],
) -> None:
    """Send the photo and invalid files in turn, and count the outcomes."""
    rng = random.Random(number)
    send = colorize_by_api if number % 2 == 0 else colorize_by_page
    async with httpx.AsyncClient(base_url=address, timeout=120) as http:
        await http.get("/")
        while time.monotonic() < end:
            for content, result in ((photo, expected), (make_invalid_file(photo, rng), None)):
                start = time.monotonic()
                response = await send(http, content, counts)
                times.append(time.monotonic() - start)
                counts[classify(response, result)] += 1


async def colorize_by_api(
    http: httpx.AsyncClient, content: bytes, counts: Counter[str]
) -> bytes | int:
    """Return the result, or the status of an error."""
    while True:
        response = await http.post("/api/colorize", files={"file": ("photo.jpg", content)})
        if response.status_code != 503:
            return response.content if response.status_code == 200 else response.status_code
        counts["status 503"] += 1
        await asyncio.sleep(float(response.headers["retry-after"]))


async def colorize_by_page(
    http: httpx.AsyncClient, content: bytes, counts: Counter[str]
) -> bytes | int:
    """Return the result, or 400 for a photo that failed."""
    while True:
        response = await http.post("/photos", params={"name": "photo.jpg"}, content=content)
        if response.status_code == 201:
            break
        if response.status_code != 503:
            return response.status_code
        counts["status 503"] += 1
        await asyncio.sleep(float(response.headers["retry-after"]))
    path = f"/photos/{response.json()['id']}"
    try:
        while True:
            (state,) = (await http.get("/photos")).json()["photos"]
            if state["status"] == "failed":
                return 400
            if state["status"] == "ready":
                response = await http.get(f"{path}/result")
                if response.status_code != 503:
                    return response.content if response.status_code == 200 else response.status_code
                counts["status 503"] += 1
                await asyncio.sleep(float(response.headers["retry-after"]))
            await asyncio.sleep(0.4)
    finally:
        await http.delete(path)


def classify(response: bytes | int, expected: bytes | None) -> str:
    """Compare a result or status with the expected result; None: an error is expected."""
    if expected is None:
        return "invalid files rejected" if response == 400 else "WRONG: invalid file accepted"
    if response == expected:
        return "correct results"
    return f"WRONG: status {response}" if isinstance(response, int) else "WRONG: another result"


def watch_health(address: str, seconds: list[float], over: threading.Event) -> None:
    """Measure the health check four times a second, until `over` is set."""
    with httpx.Client(base_url=address, timeout=60) as http:
        while not over.wait(0.25):
            start = time.monotonic()
            http.get("/healthz").raise_for_status()
            seconds.append(time.monotonic() - start)


async def watch_memory(server: int, memory: list[int]) -> None:
    """Record the memory of the server and its processes every second."""
    while True:
        memory.append(sum(resident_memory(pid) for pid in [server, *children(server)]))
        await asyncio.sleep(1)


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_memory(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


if __name__ == "__main__":
    main()
