"""What a cluster costs besides the work, and where its driver ends.

    python benchmarks/cluster.py                 # prints the tables of docs/archives.md

All on this computer: the work of one and two actors on photos of 12 megapixels, beside the same
photos without Ray; then rows through the same pipeline whose actors do nothing, to see what the
driver can hand out; then a listing of a store that runs here as well.
"""

import argparse
import datetime
import json
import logging
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from PIL import Image

from colorize import CORES, _processor, photograph
from photochrom.batch.planning import Job, plan
from photochrom.batch.process_pool import WorkerPool
from photochrom.batch.ray import engine
from photochrom.batch.ray.actors import ActorPlan
from photochrom.batch.ray.engine import colorize_on_ray
from photochrom.batch.ray.storage import list_files
from photochrom.batch.ray.tasks import Task, plan_tasks
from photochrom.batch.runner import Result, Settings, failed_by_death


def timed(results: Iterator[Result], count: int) -> float:
    """Return the seconds that all of it takes, from nothing running to nothing running."""
    start = time.perf_counter()
    found = list(results)
    assert [result.status for result in found] == ["done"] * count, found
    return time.perf_counter() - start


def make(folder: Path, count: int) -> None:
    """Write grey JPEGs of 4000x3000."""
    folder.mkdir()
    for seed in range(min(count, 6)):
        Image.fromarray(photograph(4000, 3000, seed)).save(folder / f"{seed}.jpg", quality=92)
    for number in range(6, count):
        shutil.copy(folder / f"{number % 6}.jpg", folder / f"{number}.jpg")


def work(place: Path, count: int) -> None:
    """Print what workers do of the real work, with Ray and without.

    A third of the photos, then all: the difference is work alone. When results arrive says little,
    as Ray holds them back and then hands over several.
    """
    few = count // 3
    make(place / "few", few)
    make(place / "all", count)
    print(f"{few} and {count} grey JPEGs of 12 megapixels\n")
    print("| workers | engine | few | all | photos/s, by the difference | the rest of few |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for workers in range(1, CORES + 1):
        for name in ("local", "ray"):
            seconds = []
            for photos, number in (("few", few), ("all", count)):
                out = place / "out"
                seconds.append(timed(colored(name, place / photos, out, workers), number))
                shutil.rmtree(out)
            speed = (count - few) / (seconds[1] - seconds[0])
            cells = f"{seconds[0]:.1f} s | {seconds[1]:.1f} s | {speed:.2f}"
            rest = seconds[0] - few / speed
            print(f"| {workers} | {name} | {cells} | {rest:.1f} s |", flush=True)


def colored(engine_: str, photos: Path, out: Path, workers: int) -> Iterator[Result]:
    """Colorize a folder by one of the engines, with one thread for each worker."""
    if engine_ == "ray":
        return colorize_on_ray(plan_tasks([str(photos)], str(out)), Settings(), actors=workers)
    jobs = plan([str(photos)], out)
    return colorize_locally(jobs, workers)


def colorize_locally(jobs: Sequence[Job], processes: int) -> Iterator[Result]:
    """Colorize with one thread per process; `colorize_all` divides all cores among them."""
    settings = Settings(threads=1)
    with WorkerPool(settings.load_model, processes=processes, pin_cores=True) as pool:
        yield from pool.map(jobs, on_death=failed_by_death)


class IdleActor:
    """An actor that does nothing."""

    def __init__(self, _: Any) -> None:
        pass

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return an answer like `_Actor`."""
        result = Result("x" * 80, "x" * 80, status="done", seconds=0.0)
        return {"number": batch["number"], "answer": [result.to_json()] * len(batch["number"])}


def ceiling(count: int) -> None:
    """Print how many rows a second the driver hands out and gets back, and what they weigh."""
    print(f"\n{count} rows through actors that do nothing, as many as say they work\n")
    print("| actors | rows in a block | rows/s | blocks/s | driver, most memory |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    tasks = {n: Task(f"s3://bucket/scans/{n:012}.jpg", "x" * 60) for n in range(count)}
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.init("local", num_cpus=CORES, logging_level=logging.CRITICAL, **options)
    try:
        for actors in (1, 4, 16):
            for rows in (1, 8, engine.MAX_ROWS):
                part = dict(list(tasks.items())[: max(200, count * rows // engine.MAX_ROWS)])
                with mock.patch.object(engine, "_Actor", IdleActor):
                    times = [
                        time.perf_counter()
                        for _ in engine._run_round(
                            part, ray.put(None), ActorPlan(actors, CORES / 32, 0, "cpu"), rows
                        )
                    ]
                half = len(times) // 2  # the first ones may have waited for the driver
                speed = (len(times) - half) / (times[-1] - times[half - 1])
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
                print(
                    f"| {actors} | {rows} | {speed:.0f} | {speed / rows:.0f} | {peak:.0f} MB |",
                    flush=True,
                )
    finally:
        ray.shutdown()


def listing(count: int) -> None:
    """Print how fast a store is listed, and what the plan weighs."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.mkdir("archive")
    names = {f"archive/scans/{number:08}.jpg": b"x" for number in range(count)}
    store.pipe(names)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    assert len(list_files("s3://archive/scans")) == count
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    tasks = plan_tasks(["s3://archive/scans"], "s3://archive/out")
    planned = time.perf_counter() - start
    weight = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1e3 / count
    line = Result(tasks[0].input, tasks[0].output, "done", 0.7, 4000, 3000, "default").to_json()
    print(
        f"\n{count} objects, the store (moto) on the same cores: listed {count / seconds:.0f} a "
        f"second, planned {count / planned:.0f} a second; {weight / 1e3:.1f} kB an object at most; "
        f"a line of a report has {len(line)} bytes, an task "
        f"{len(json.dumps(vars(tasks[0])))}"
    )
    server.stop()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--photos", type=int, default=60, help="0, here or below, leaves a part out."
    )
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--objects", type=int, default=10_000)
    options = parser.parse_args()
    print(f"{datetime.date.today()}, {_processor()}, {CORES} cores, Ray {ray.__version__}\n")
    place = Path(tempfile.mkdtemp(prefix="photochrom-cluster-"))
    try:
        if options.photos:
            work(place, options.photos)
        if options.rows:
            ceiling(options.rows)
        if options.objects:
            listing(options.objects)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
