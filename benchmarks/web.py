"""Load a server with many clients at once and see that every answer is right.

    python benchmarks/web.py --clients 32 --seconds 120

Each client has a photo of its own of 12 megapixels, of which the command line has said before what
its result is, byte for byte, and sends it and rubbish in turn: the even ones to the API, the odd
ones by way of the page. It prints JSON: how long a move of a slider takes before the load begins,
what was answered, how long it took, how long the health check took at worst, and how much memory
the server and its processes had at most.
"""

import argparse
import asyncio
import functools
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image

from photochrom.batch.planning import Job
from photochrom.batch.runner import Settings, colorize_all

WIDTH, HEIGHT = 4000, 3000


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--waiting", type=int, default=64, help="Photos that the server lets wait.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = prepare(Path(folder), options.clients)
        command = [sys.executable, "-m", "photochrom", "web", "--port", "0"]
        command += ["--waiting", str(options.waiting)]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        bomb()  # while no clock runs
        try:
            assert server.stderr is not None
            address = server.stderr.readline().strip()
            result: dict[str, Any] = {"slider_seconds": move_slider(address, photos[0][0])}
            result |= asyncio.run(load(address, photos, options.seconds, server.pid))
            print(json.dumps(result, indent=2))
        finally:
            server.terminate()
            server.wait()


def prepare(folder: Path, clients: int) -> list[tuple[bytes, bytes]]:
    """Return each client's photo, and the result that is right."""
    jobs = []
    for number in range(clients):
        rng = np.random.default_rng(number)
        coarse = rng.integers(20, 235, (12, 16), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (HEIGHT, WIDTH))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        jobs.append(Job(folder / f"{number}.jpg", folder / f"{number}-color.jpg"))
        image.save(jobs[-1].input, quality=90)
    for result in colorize_all(jobs, Settings()):
        assert result.status == "done", result
    return [(job.input.read_bytes(), job.output.read_bytes()) for job in jobs]


@functools.cache
def bomb() -> bytes:
    """Return a small file that would be a picture of 900 megapixels."""
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    return file.getvalue()


def rubbish(photo: bytes, rng: random.Random) -> bytes:
    """Return something that is no photo which could be colorized."""
    return rng.choice([rng.randbytes(100_000), photo[: len(photo) // 2], b"", bomb()])


def move_slider(address: str, photo: bytes) -> dict[str, list[float]]:
    """Return how long the page waits for its picture of one photo in other colours.

    Returns:
        Median and most in seconds, by the picture's size: 800 px while a slider moves, then 1600.
    """
    with httpx.Client(base_url=address, timeout=60) as http:
        http.get("/")
        answer = http.post("/photos", params={"name": "photo.jpg"}, content=photo)
        place = f"/photos/{answer.json()['id']}"
        while http.get("/photos").json()["photos"][0]["status"] != "ready":
            time.sleep(0.1)
        found = {}
        for longest in (800, 1600):
            took = []
            for saturation in np.linspace(0, 2, 41):
                start = time.monotonic()
                look = {"saturation": saturation, "longest": longest}
                http.get(f"{place}/after", params=look).raise_for_status()
                took.append(time.monotonic() - start)
            found[f"{longest} px"] = [round(float(np.median(took)), 3), round(max(took), 3)]
        http.delete(place)
    return found


async def load(
    address: str, photos: list[tuple[bytes, bytes]], seconds: float, server: int
) -> dict[str, Any]:
    """Let all clients loose and return what came out."""
    end = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    took: list[float] = []
    health: list[float] = []
    memory: list[int] = []
    over = threading.Event()
    checks = threading.Thread(target=watch_health, args=(address, health, over))
    checks.start()
    watcher = asyncio.create_task(watch_memory(server, memory))
    await asyncio.gather(
        *(client(address, n, *photo, end, counts, took) for n, photo in enumerate(photos))
    )
    watcher.cancel()
    over.set()
    checks.join()
    return {
        "clients": len(photos),
        "seconds": seconds,
        **dict(sorted(counts.items())),
        "seconds_median": round(float(np.median(took)), 2),
        "seconds_most": round(max(took), 2),
        "health_checks": len(health),
        "health_seconds_median": round(float(np.median(health)), 4),
        "health_seconds_most": round(max(health), 3),
        "memory_mb_first_quarter": max(memory[: len(memory) // 4]) // 1_000_000,
        "memory_mb_most": max(memory) // 1_000_000,
    }


async def client(
    address: str,
    number: int,
    photo: bytes,
    truth: bytes,
    end: float,
    counts: Counter[str],
    took: list[float],
) -> None:
    """Send the photo and rubbish in turn, and count what comes back."""
    rng = random.Random(number)
    send = by_api if number % 2 == 0 else by_page
    async with httpx.AsyncClient(base_url=address, timeout=120) as http:
        await http.get("/")
        while time.monotonic() < end:
            for content, right in ((photo, truth), (rubbish(photo, rng), None)):
                start = time.monotonic()
                answer = await send(http, content, counts)
                took.append(time.monotonic() - start)
                counts[judge(answer, right)] += 1


async def by_api(http: httpx.AsyncClient, content: bytes, counts: Counter[str]) -> bytes | int:
    """Return the result, or the status of a refusal."""
    while True:
        answer = await http.post("/api/colorize", files={"file": ("photo.jpg", content)})
        if answer.status_code != 503:
            return answer.content if answer.status_code == 200 else answer.status_code
        counts["sent away for a while"] += 1
        await asyncio.sleep(float(answer.headers["retry-after"]))


async def by_page(http: httpx.AsyncClient, content: bytes, counts: Counter[str]) -> bytes | int:
    """Return the result, or 400 for a photo that failed."""
    while True:
        answer = await http.post("/photos", params={"name": "photo.jpg"}, content=content)
        if answer.status_code == 201:
            break
        if answer.status_code != 503:
            return answer.status_code
        counts["sent away for a while"] += 1
        await asyncio.sleep(float(answer.headers["retry-after"]))
    place = f"/photos/{answer.json()['id']}"
    try:
        while True:
            (state,) = (await http.get("/photos")).json()["photos"]
            if state["status"] == "failed":
                return 400
            if state["status"] == "ready":
                answer = await http.get(f"{place}/result")
                if answer.status_code != 503:
                    return answer.content if answer.status_code == 200 else answer.status_code
                counts["sent away for a while"] += 1
                await asyncio.sleep(float(answer.headers["retry-after"]))
            await asyncio.sleep(0.4)
    finally:
        await http.delete(place)


def judge(answer: bytes | int, right: bytes | None) -> str:
    """Say what an answer is worth."""
    if right is None:
        return "rubbish refused" if answer == 400 else "WRONG: rubbish taken"
    if answer == right:
        return "photos right"
    return f"WRONG: status {answer}" if isinstance(answer, int) else "WRONG: another photo"


def watch_health(address: str, seconds: list[float], over: threading.Event) -> None:
    """Ask four times a second whether the server is there; in a thread of its own."""
    with httpx.Client(base_url=address, timeout=60) as http:
        while not over.wait(0.25):
            start = time.monotonic()
            http.get("/healthz").raise_for_status()
            seconds.append(time.monotonic() - start)


async def watch_memory(server: int, memory: list[int]) -> None:
    """Look every second how much the server and its processes hold."""
    while True:
        memory.append(sum(resident(pid) for pid in [server, *children(server)]))
        await asyncio.sleep(1)


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident(pid: int) -> int:
    """Return how many bytes a process has in memory, 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
