"""Measure batches in object stores, the overhead of a Ray cluster and the limits of its driver.

    python benchmarks/cluster.py                 # prints the tables of docs/archives.md

On this computer: photos of 12 megapixels on one and two actors, and without Ray; the rate of the
driver, with actors that do nothing; the listing of a local object store; and how busy workers are
kept by a store that answers late.
"""

import argparse
import contextlib
import datetime
import functools
import logging
import os
import pickle
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import ray
from PIL import Image

from colorize import CORES, _processor_name, make_photo
from photochrom.batch import runner
from photochrom.batch.planning import Job, plan
from photochrom.batch.process_pool import WorkerPool
from photochrom.batch.ray import engine
from photochrom.batch.ray.actors import ActorPlan
from photochrom.batch.ray.engine import colorize_on_ray
from photochrom.batch.report import Result
from photochrom.batch.runner import Settings, colorize_all, colorize_in_worker
from photochrom.batch.storage import list_files

WORK = 0.25
"""Seconds that a worker sleeps for a photo."""


def measure(results: Iterator[Result], count: int) -> float:
    """Return the seconds to colorize all photos, including start and stop."""
    start = time.perf_counter()
    completed = list(results)
    assert [result.status for result in completed] == ["done"] * count, completed
    return time.perf_counter() - start


def write_photos(folder: Path, count: int) -> None:
    """Write grey JPEGs of 4000x3000."""
    folder.mkdir()
    for seed in range(min(count, 6)):
        Image.fromarray(make_photo(4000, 3000, seed)).save(folder / f"{seed}.jpg", quality=92)
    for number in range(6, count):
        shutil.copy(folder / f"{number % 6}.jpg", folder / f"{number}.jpg")


def measure_throughput(folder: Path, count: int) -> None:
    """Print the throughput with and without Ray.

    The rate is computed from the difference between a third of the photos and all of them, which
    excludes start and stop. Ray delivers results in groups, so their times are not used.
    """
    few = count // 3
    write_photos(folder / "few", few)
    write_photos(folder / "all", count)
    print(f"{few} and {count} grey JPEGs of 12 megapixels\n")
    print("| workers | engine | few | all | photos/s, from the difference | overhead of few |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for workers in range(1, CORES + 1):
        for name in ("local", "ray"):
            seconds = []
            for photos, number in (("few", few), ("all", count)):
                out = folder / "out"
                seconds.append(measure(colorize(name, folder / photos, out, workers), number))
                shutil.rmtree(out)
            speed = (count - few) / (seconds[1] - seconds[0])
            cells = f"{seconds[0]:.1f} s | {seconds[1]:.1f} s | {speed:.2f}"
            overhead = seconds[0] - few / speed
            print(f"| {workers} | {name} | {cells} | {overhead:.1f} s |", flush=True)


def colorize(engine_name: str, photos: Path, out: Path, workers: int) -> Iterator[Result]:
    """Colorize a folder with one of the engines, with one thread per worker."""
    jobs = plan([str(photos)], out).jobs
    if engine_name == "ray":
        return colorize_on_ray(jobs, Settings(), actors=workers)
    return colorize_locally(jobs, workers)


def colorize_locally(jobs: Sequence[Job], processes: int) -> Iterator[Result]:
    """Colorize with one thread per process; `colorize_all` divides all cores among them."""
    settings = Settings(threads=1)
    with (
        ThreadPoolExecutor(2 * processes) as callers,
        WorkerPool(settings.load_model, processes=processes, pin_cores=True) as pool,
    ):
        yield from callers.map(functools.partial(colorize_in_worker, pool), jobs)


class IdleActor:
    """An actor that does nothing."""

    def __init__(self, _: Any) -> None:
        pass

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return an answer like `_Actor`."""
        result = Result("x" * 80, "x" * 80, status="done", seconds=0.0)
        answers = np.full(len(batch["number"]), result, dtype=object)
        return {"number": batch["number"], "answer": answers}


def measure_driver(count: int) -> None:
    """Print how many rows per second the driver processes, and its memory."""
    print(f"\n{count} rows through actors that do nothing\n")
    print("| actors | rows in a block | rows/s | blocks/s | memory of the driver |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    jobs = {n: Job(f"s3://bucket/scans/{n:012}.jpg", "x" * 60) for n in range(count)}
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    ray.init("local", num_cpus=CORES, logging_level=logging.CRITICAL, **options)
    try:
        for actors in (1, 4, 16):
            for rows in (1, 8, engine.MAX_ROWS):
                part = dict(list(jobs.items())[: max(200, count * rows // engine.MAX_ROWS)])
                with mock.patch.object(engine, "_Actor", IdleActor):
                    times = [
                        time.perf_counter()
                        for _ in engine._run_round(
                            part, ray.put(None), ActorPlan(actors, CORES / 32, 0, "cpu"), rows
                        )
                    ]
                half = len(times) // 2  # the first half includes the start
                speed = (len(times) - half) / (times[-1] - times[half - 1])
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
                print(
                    f"| {actors} | {rows} | {speed:.0f} | {speed / rows:.0f} | {peak:.0f} MB |",
                    flush=True,
                )
    finally:
        ray.shutdown()


@contextlib.contextmanager
def serve_store() -> Iterator[Any]:
    """Yield the file system of a local object store with the bucket `archive`."""
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
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem(skip_instance_cache=True)
    store.mkdir("archive")
    yield store
    server.stop()


def measure_listing(store: Any, count: int) -> None:
    """Print how fast a store is listed, and the memory of a plan."""
    names = {f"archive/scans/{number:08}.jpg": b"x" for number in range(count)}
    store.pipe(names)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    assert len(list_files("s3://archive/scans")) == count
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    jobs = plan(["s3://archive/scans"], "s3://archive/out").jobs
    planned = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1e3 / count
    line = Result(jobs[0].input, jobs[0].output, "done", 0.7, 4000, 3000, "default").to_json()
    print(
        f"\n{count} objects, the store (moto) on the same cores: listed {count / seconds:.0f} a "
        f"second, planned {count / planned:.0f} a second; at most {memory / 1e3:.1f} kB per "
        f"object; a line of a report has {len(line)} bytes, "
        f"a job {len(pickle.dumps(jobs[0]))}"
    )


class SleepingSettings(Settings):
    """Settings of a worker that copies a photo in `WORK` seconds."""

    def load_model(self) -> Callable[[Job], Result]:
        """Return the function."""
        return sleep_and_copy


def sleep_and_copy(job: Job) -> Result:
    """Copy a photo in `WORK` seconds."""
    time.sleep(WORK)
    shutil.copy(job.input, job.output)
    return Result(job.input, job.output, "done", WORK)


def measure_transfers(store: Any, count: int) -> None:
    """Print how many photos two workers get, by the seconds that a request takes.

    The workers sleep, so that the load of the machine counts little.
    """
    from moto.server import DomainDispatcherApplication

    answer = DomainDispatcherApplication.__call__
    store.pipe({f"archive/photos/{number:04}.jpg": bytes(600_000) for number in range(count)})
    jobs = plan(["s3://archive/photos"], "s3://archive/new").jobs
    settings = SleepingSettings(overwrite=True)
    numbers = (1, 2, 4, 8)
    print(f"\n{count} photos, two workers that sleep {WORK} s: photos/s of {2 / WORK:g}\n")
    print(f"| a request takes | {' | '.join(f'{number} in transfer' for number in numbers)} |")
    print("| ---: |" + " ---: |" * len(numbers))
    for delay in (0.0, 0.05, 0.1, 0.3):

        def answer_late(*arguments: Any, delay: float = delay) -> Any:
            time.sleep(delay)
            return answer(*arguments)

        cells = []
        for number in numbers:
            with (
                mock.patch.object(DomainDispatcherApplication, "__call__", answer_late),
                mock.patch.object(runner, "THREADS_PER_WORKER", number),
            ):
                times = [time.perf_counter() for _ in colorize_all(jobs, settings, processes=2)]
            few = count // 4  # the first and last ones, when there are not as many in transfer
            cells.append(f"{(count - 2 * few) / (times[-few - 1] - times[few - 1]):.2f}")
        print(f"| {delay * 1000:.0f} ms | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--photos", type=int, default=60, help="0, here or below, skips a measurement."
    )
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--transfers", type=int, default=80)
    options = parser.parse_args()
    print(f"{datetime.date.today()}, {_processor_name()}, {CORES} cores, Ray {ray.__version__}\n")
    folder = Path(tempfile.mkdtemp(prefix="photochrom-cluster-"))
    try:
        if options.photos:
            measure_throughput(folder, options.photos)
        if options.rows:
            measure_driver(options.rows)
        with serve_store() as store:
            if options.objects:
                measure_listing(store, options.objects)
            if options.transfers:
                measure_transfers(store, options.transfers)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
