"""Colorize batches on a Ray cluster, with Ray Data.

The driver sends blocks of tasks to actors, one per core, and reads results in any order. Ray
processes a block at least once; this module ensures that each photo is colorized and reported once.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # hides warnings about Ray Data itself

import numpy as np
import onnxruntime
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from photochrom.batch.locations import is_url
from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerError, WorkerPool
from photochrom.batch.ray import ClusterError
from photochrom.batch.ray.actors import ActorPlan, plan_actors
from photochrom.batch.report import Result, read_version
from photochrom.batch.resuming import skipped
from photochrom.batch.runner import THREADS_PER_WORKER, Settings, colorize_in_worker
from photochrom.batch.storage import exists, get_version
from photochrom.batch.transfers import colorize_anywhere
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.cores import count_cores
from photochrom.errors import PhotochromError, UsageError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.safe_path import safe_path
from photochrom.version import __version__

MAX_ROWS = 32
"""Photos in a block. Small batches have smaller blocks, so that each actor gets several."""

_ROUNDS = 3
"""How often a photo is sent out if no actor reports it."""
_TIMEOUT = 900.0
"""Seconds per photo."""
_NO_PROGRESS_TIMEOUT = 3600.0
"""Seconds without a finished block after which a round ends. Otherwise Ray would retry forever a
block that kills every machine."""
_JOIN_TIMEOUT = 60.0
"""Seconds to wait for a cluster."""
_STORE_VARIABLES = ("AWS_", "AZURE_", "FSSPEC_", "GOOGLE_")
"""Prefixes of environment variables that configure object stores."""
_JOIN_SCRIPT = "import logging, ray, sys; ray.init(sys.argv[1], logging_level=logging.CRITICAL)"


@dataclass(frozen=True)
class _ActorConfig:
    """Configuration of an actor, passed as a Ray object since Ray may log plain arguments."""

    settings: Settings
    model: bytes | None
    """Content of the model file; None for the default model."""
    environment: dict[str, str]
    working_folder: str | None
    """Set if there are relative paths."""
    visible_paths: tuple[str, ...]
    """Paths that must exist on the machine."""
    version: str = __version__


def colorize_on_ray(
    jobs: Sequence[Job],
    settings: Settings,
    *,
    address: str | None = None,
    actors: int | None = None,
) -> Generator[Result, None, None]:
    """Colorize photos on a Ray cluster. Crash-isolated: a crash fails only the photo in progress.

    Args:
        jobs: From `plan`.
        settings: Settings; each actor has one thread.
        address: `HOST:PORT` or `auto`. None: start a cluster on this computer for the batch.
        actors: Number of actors. None: one per core of the cluster.

    Yields:
        Exactly one result per photo.

    Raises:
        ModelError: If the model cannot be loaded.
        ClusterError: If the cluster cannot be reached or its machines cannot do the work.
        UsageError: If the address is none.
    """
    with contextlib.closing(_colorize(jobs, settings, address, actors)) as results:
        while True:
            with _silence_ray():
                result = next(results, None)
            if result is None:
                return
            yield result


def _colorize(
    jobs: Sequence[Job], settings: Settings, address: str | None, actors: int | None
) -> Generator[Result, None, None]:
    """Implement `colorize_on_ray` without silencing Ray."""
    OnnxModel(settings.model or default_model_path(), device="cpu")  # fails before any work
    remaining = {}
    for number, job in enumerate(jobs):
        if job.has_output() and not settings.overwrite and job.replaces is None:
            yield skipped(job)
        elif isinstance(job.output, Path):
            remaining[number] = dataclasses.replace(job, output_version=read_version(job.output))
        else:
            remaining[number] = job
    if not remaining:
        return
    with _cluster(address), _probe_files(list(remaining.values()), address) as probes:
        plan = _plan_actors(settings.device, actors)
        config = ray.put(_configure_actors(settings, plan, list(remaining.values()), probes))
        for attempt in range(_ROUNDS):
            # One photo per block in later rounds, so that a fatal photo harms no other.
            rows = 1 if attempt else max(1, min(MAX_ROWS, len(remaining) // (8 * plan.count)))
            for number, result in _run_round(remaining, config, plan, rows):
                if remaining.pop(number, None) is not None:  # Ray may repeat a block
                    yield result
            if not remaining:
                return
    for job in remaining.values():
        error = f"{job.input}: the machine stopped responding, {_ROUNDS} times"
        yield job.failed(error)


def _run_round(
    jobs: Mapping[int, Job], config: Any, plan: ActorPlan, rows: int
) -> Iterator[tuple[int, Result]]:
    """Send jobs out in blocks of `rows`, and yield their numbers and results."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # the next round repeats them
    context.execution_no_progress_timeout_s = _NO_PROGRESS_TIMEOUT
    items = [{"number": number, "job": job} for number, job in jobs.items()]
    dataset = ray.data.from_items(items, override_num_blocks=math.ceil(len(items) / rows))
    answers = dataset.map_batches(
        _Actor,
        fn_constructor_args=(config,),
        batch_size=None,
        # At least one: if a machine dies, the others may have no room for its actors.
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=min(plan.count, len(items)), max_size=plan.count
        ),
        num_cpus=plan.cpus,
        num_gpus=plan.gpus,
    )
    try:
        for batch in answers.iter_batches(batch_size=None, prefetch_batches=0):
            for number, answer in zip(batch["number"], batch["answer"], strict=True):
                if isinstance(answer, str):
                    raise ClusterError(answer)
                yield int(number), answer
    except ExecutionTimeoutError:
        return
    except RayError as error:
        last = [line for line in str(error).splitlines() if line.strip()][-1]
        raise ClusterError(
            f"the cluster cannot do the work: {last.strip()}; photochrom {__version__} with the "
            "extra `ray` has to be on each of its machines"
        ) from error


class _Actor:
    """Downloads and uploads photos; a worker process colorizes them, isolated from crashes."""

    def __init__(self, config: Any) -> None:
        self._config: _ActorConfig = ray.get(config)
        # Returned as a row: Ray would wrap an exception in pages of its own.
        self._error: str | None = None
        try:
            self._start()
        except (PhotochromError, WorkerError) as error:
            self._error = f"{error} (machine {socket.gethostname()})"

    def _start(self) -> None:
        config = self._config
        if config.version != __version__:
            raise ClusterError(
                f"photochrom is {__version__} there and {config.version} here; install the same "
                "version on all machines"
            )
        os.environ.update(config.environment)
        _check_visible(config)
        settings = config.settings
        if config.model is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="photochrom-")
            path = Path(self._folder.name, "model.onnx")
            write_atomic(path, config.model)
            settings = dataclasses.replace(settings, model=path)
        # Otherwise multiprocessing imports Ray's own script in each process.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._pool: WorkerPool[Job, Result] = WorkerPool(
            settings.load_model, processes=1, timeout=_TIMEOUT
        )
        self._pool.wait_until_ready()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers = np.empty(len(batch["number"]), dtype=object)
        if self._error is not None:
            answers[:] = self._error
        else:
            run = functools.partial(
                run_once,
                colorize=functools.partial(colorize_in_worker, self._pool),
                overwrite=self._config.settings.overwrite,
            )
            # While one photo is colorized, others are downloaded or uploaded.
            with ThreadPoolExecutor(THREADS_PER_WORKER) as threads:
                answers[:] = list(threads.map(run, batch["job"]))
        return {"number": batch["number"], "answer": answers}


def run_once(job: Job, colorize: Callable[[Job], Result], *, overwrite: bool) -> Result:
    """Call `colorize_anywhere` unless the job is done.

    An output written after the job was planned is from an earlier attempt, whose machine died
    before it could report, or which was faster. The job is then done, in 0 seconds.
    """
    done = Result(job.input, job.output, "done", 0.0, hints=job.hints)
    try:
        if _has_new_output(job):
            return done
        result = colorize_anywhere(job, colorize, overwrite=overwrite)
        is_lost = result.status in ("failed", "skipped") and _has_new_output(job)
    except PhotochromError as error:
        return job.failed(str(error))
    return done if is_lost else result


def _has_new_output(job: Job) -> bool:
    """Return whether an output was written since the job was planned.

    Raises:
        PhotochromError: If a request to a store fails.
    """
    if isinstance(job.output, Path):
        return read_version(job.output) not in (None, job.output_version)
    if job.output_version is None:
        return exists(job.output)
    return get_version(job.output) not in (None, job.output_version)


def _check_visible(config: _ActorConfig) -> None:
    """Enter the driver's working folder, and check that the driver's files are visible."""
    path = config.working_folder
    try:
        if path is not None:
            os.chdir(path)
        for path in config.visible_paths:
            Path(path).stat()
    except OSError as error:
        raise ClusterError(
            f"a machine of the cluster does not see {path}; use a file system that all of them "
            "share, or an object store"
        ) from error


def _configure_actors(
    settings: Settings, plan: ActorPlan, jobs: Sequence[Job], probes: list[str]
) -> _ActorConfig:
    photos = [job.input for job in jobs if isinstance(job.input, Path)]
    paths = photos + [job.output for job in jobs if isinstance(job.output, Path)]
    is_relative = any(not path.is_absolute() for path in paths)
    folders = {str(photo.parent) for photo in photos}
    return _ActorConfig(
        settings=dataclasses.replace(settings, device=plan.device, threads=1, model=None),
        model=None if settings.model is None else settings.model.read_bytes(),
        environment={n: v for n, v in os.environ.items() if n.startswith(_STORE_VARIABLES)},
        working_folder=str(Path.cwd()) if is_relative else None,
        visible_paths=(*probes, *sorted(folders)[:8]),  # a sample is enough
    )


def _plan_actors(device: str, actors: int | None) -> ActorPlan:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    providers: list[str] = []
    if device != "cpu" and resources.get("GPU", 0) > 0:
        get_providers = ray.remote(num_cpus=0, num_gpus=0.01)(onnxruntime.get_available_providers)
        providers = ray.get(get_providers.remote(), timeout=_JOIN_TIMEOUT)
    return plan_actors(device, actors, resources, providers)


@contextlib.contextmanager
def _silence_ray() -> Iterator[None]:
    """Keep Ray's messages from stdout, which is for results. Ray also logs to files."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with Path(os.devnull).open("w", encoding="utf-8") as null, contextlib.redirect_stdout(null):
        yield


@contextlib.contextmanager
def _silence_stderr() -> Iterator[None]:
    """Keep messages of Ray's core from stderr while it starts; errors are raised as well."""
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Join a cluster, or start one on this computer."""
    options: dict[str, Any] = {}
    if address is not None:
        _check_address(address)
    else:
        options = {
            "num_cpus": count_cores(),
            "include_dashboard": False,
            "object_store_memory": 200_000_000,  # enough, as blocks hold only file names
        }
    try:
        # Ray adds the current folder to where its workers find modules: not that of the photos.
        with _silence_stderr(), safe_path(), contextlib.chdir(Path.cwd().anchor):
            ray.init(
                address or "local",
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                **options,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        action = "start a cluster on this computer" if address is None else f"join {address}"
        raise ClusterError(f"cannot {action}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Check that there is a cluster, since Ray itself would retry for ten minutes.

    Raises:
        UsageError: If it is not the form of an address.
        ClusterError: If there is none.
    """
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or is_url(address):
            raise UsageError(
                f"{address!r} is no address of a Ray cluster; give HOST:PORT as `ray start --head` "
                "prints it, or auto, on a machine of the cluster"
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClusterError(f"there is no Ray cluster at {address}: {reason}") from error
    command = [sys.executable, "-P", "-c", _JOIN_SCRIPT, address]
    try:
        subprocess.run(command, capture_output=True, timeout=_JOIN_TIMEOUT, check=True)
        return
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_JOIN_TIMEOUT:g} s"
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise ClusterError(
        f"cannot join a Ray cluster at {address}: {reason}; if it requires a token, set "
        "RAY_AUTH_MODE=token as in Ray's documentation"
    )


@contextlib.contextmanager
def _probe_files(jobs: Sequence[Job], address: str | None) -> Iterator[list[str]]:
    """Create a hidden file in the output folder, to check that other machines see the folder."""
    outputs = [job.output for job in jobs if isinstance(job.output, Path)]
    if address is None or not outputs:
        yield []
        return
    folder = outputs[0].absolute().parent
    make_folder(folder, ClusterError)
    probe = folder / f".photochrom-{uuid.uuid4().hex}.tmp"
    try:
        write_atomic(probe, b"")
    except OSError as error:
        raise ClusterError(f"cannot write into {folder}: {error.strerror or error}") from error
    try:
        yield [str(probe)]
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
