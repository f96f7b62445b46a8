"""The photos of an archive on all machines of a Ray cluster, by Ray Data.

Tasks go out in small blocks to actors, one for each core, and their results come back as rows, in
no order. What Ray promises is that a block is done at least once; that a photo is done once, and
listed once, is seen to here and in `carrying`.
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray would tell its makers of every cluster
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # or it would warn of what Ray Data does

import numpy as np
import onnxruntime
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerDiedError, WorkerError, WorkerPool, available_cores
from photochrom.batch.ray import ClusterError
from photochrom.batch.ray.actors import ActorPlan, plan_actors
from photochrom.batch.ray.execution import run_task
from photochrom.batch.ray.storage import is_url
from photochrom.batch.ray.tasks import Task
from photochrom.batch.runner import Result, Settings, failed_by_death
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.errors import PhotochromError
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.version import __version__

ROWS = 32
"""Photos in a block at most; with fewer than that for each actor several times over, less."""

_ROUNDS = 3
"""How often a photo is handed out before it is given up, as nobody answered for it."""
_TIMEOUT = 900.0
"""Seconds after which a photo is given up."""
_STANDSTILL = 3600.0
"""Seconds without one block done after which a round ends: Ray would hand out for ever what ends
every machine that has it."""
_JOINING = 60.0
"""Seconds after which a cluster that does not answer is given up."""
_SECRETS = ("AWS_", "AZURE_", "FSSPEC_", "GOOGLE_")
"""What the variables are called that say how to reach a store."""
_JOIN = "import logging, ray, sys; ray.init(sys.argv[1], logging_level=logging.CRITICAL)"


@dataclass(frozen=True)
class _Kit:
    """What an actor has to know; an object of Ray's, as Ray may write down what is an argument."""

    settings: Settings
    model: bytes | None
    """The file, None for the model that comes with photochrom."""
    environment: dict[str, str]
    folder: str | None
    """Where paths start that are relative."""
    visible: tuple[str, ...]
    """Paths that a machine has to see."""
    version: str = __version__


def colorize_on_ray(
    tasks: Sequence[Task],
    settings: Settings,
    *,
    address: str | None = None,
    actors: int | None = None,
) -> Generator[Result, None, None]:
    """Colorize all photos on a Ray cluster; one that fails, or kills its process, fails alone.

    Args:
        tasks: From `plan_tasks`.
        settings: How; its threads are one for each actor.
        address: Of a cluster that runs, `HOST:PORT` or `auto`; None: one on this computer, for the
            while.
        actors: How many work side by side; None: one for each core of the cluster.

    Yields:
        What became of each photo, exactly once, as soon as it is known.

    Raises:
        ModelError: If the model cannot be loaded.
        ClusterError: If the cluster cannot be reached or its machines cannot do the work.
    """
    results = _colorize(tasks, settings, address, actors)
    with contextlib.closing(results):
        while True:
            with _quiet():
                result = next(results, None)
            if result is None:
                return
            yield result


def _colorize(
    tasks: Sequence[Task], settings: Settings, address: str | None, actors: int | None
) -> Generator[Result, None, None]:
    """Do what `colorize_on_ray` says, with all that Ray has to say besides."""
    _check_places(tasks)
    OnnxModel(settings.model or default_model_path(), device="cpu")  # before any work is done
    left = {}
    for number, task in enumerate(tasks):
        if task.before is not None and not settings.overwrite:
            yield Result(task.input, task.output, "skipped", 0.0)
        else:
            left[number] = task
    if not left:
        return
    with _cluster(address), _probe(list(left.values()), address) as probes:
        actors_plan = _plan_actors(settings.device, actors, _resources())
        kit = ray.put(_kit(settings, actors_plan, list(left.values()), probes))
        for round_ in range(_ROUNDS):
            # Later, what a photo does to its machine is to harm no other.
            rows = 1 if round_ else max(1, min(ROWS, len(left) // (8 * actors_plan.count)))
            for number, result in _run(left, kit, actors_plan, rows):
                if left.pop(number, None) is not None:  # what Ray did twice is told once
                    yield result
            if not left:
                return
    for task in left.values():
        error = f"the machine that had {task.input} went away, {_ROUNDS} times"
        yield Result(task.input, task.output, "failed", 0.0, error=error)


def _check_places(tasks: Sequence[Task]) -> None:
    for task in tasks:
        for place in (task.input, task.output):
            if place.startswith("memory://"):
                raise ClusterError(
                    f"{place} is in the memory of one process, which others do not see; give a "
                    "path, or the URL of an object store"
                )


def _run(
    tasks: Mapping[int, Task], kit: Any, actors_plan: ActorPlan, rows: int
) -> Iterator[tuple[int, Result]]:
    """Hand the tasks out in blocks of some rows, and yield the results with their numbers."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # the next round is for them
    context.execution_no_progress_timeout_s = _STANDSTILL
    items = [
        {"number": number, "task": json.dumps(dataclasses.asdict(task))}
        for number, task in tasks.items()
    ]
    dataset = ray.data.from_items(items, override_num_blocks=math.ceil(len(items) / rows))
    answers = dataset.map_batches(
        _Colorist,
        fn_constructor_args=(kit,),
        batch_size=None,
        # Down to one, since the actors of a machine that went away may find no room elsewhere.
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=min(actors_plan.count, len(items)), max_size=actors_plan.count
        ),
        num_cpus=actors_plan.cpus,
        num_gpus=actors_plan.gpus,
    )
    try:
        for batch in answers.iter_batches(batch_size=None, prefetch_batches=0):
            for number, line, refusal in zip(
                batch["number"], batch["result"], batch["refusal"], strict=True
            ):
                if refusal:
                    raise ClusterError(str(refusal))
                yield int(number), Result(**json.loads(str(line)))
    except ExecutionTimeoutError:
        return
    except RayError as error:
        last = [line for line in str(error).splitlines() if line.strip()][-1]
        raise ClusterError(
            f"the cluster cannot do the work: {last.strip()}; photochrom {__version__} with the "
            "extra `ray` has to be on each of its machines"
        ) from error


class _Colorist:
    """An actor: it fetches and puts photos, and has a process of its own to colorize them.

    A decoder that crashes or hangs takes that process with it, and not the other tasks.
    """

    def __init__(self, kit: Any) -> None:
        self._kit: _Kit = ray.get(kit)
        # An exception would reach the driver as pages of Ray's; as a row it arrives as it is.
        self._refusal = ""
        try:
            self._start()
        except (PhotochromError, WorkerError) as error:
            self._refusal = f"{error} (machine {socket.gethostname()})"

    def _start(self) -> None:
        kit = self._kit
        if kit.version != __version__:
            raise ClusterError(
                f"photochrom is {__version__} there and {kit.version} here; install the same "
                "version on all machines"
            )
        os.environ.update(kit.environment)
        _look_around(kit)
        settings = kit.settings
        if kit.model is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="photochrom-")
            path = Path(self._folder.name, "model.onnx")
            write_atomic(path, kit.model)
            settings = dataclasses.replace(settings, model=path)
        # Else multiprocessing would import Ray's own script in every process that it starts.
        vars(sys.modules["__main__"]).pop("__file__", None)
        self._pool: WorkerPool[Job, Result] = WorkerPool(
            settings.load_model, processes=1, timeout=_TIMEOUT
        )
        self._pool.wait_until_ready()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        count = len(batch["number"])
        if self._refusal:
            lines, refusals = [""] * count, [self._refusal] * count
        else:
            tasks = [Task(**json.loads(str(line))) for line in batch["task"]]
            # While one photo is colorized, the next is fetched and the one before is put.
            with ThreadPoolExecutor(3) as pool:
                lines = [result.to_json() for result in pool.map(self._run_task, tasks)]
            refusals = [""] * count
        # As objects, or NumPy would make all of them as long as the longest.
        columns = {"result": lines, "refusal": refusals}
        return {"number": batch["number"]} | {
            name: np.array(column, dtype=object) for name, column in columns.items()
        }

    def _run_task(self, task: Task) -> Result:
        return run_task(task, self._colorize, overwrite=self._kit.settings.overwrite)

    def _colorize(self, job: Job) -> Result:
        try:
            return self._pool.submit(job).result()
        except WorkerDiedError as error:
            return failed_by_death(job, error)


def _look_around(kit: _Kit) -> None:
    """Go where the driver is, and refuse a machine that does not see what the driver sees."""
    if kit.folder is not None:
        try:
            os.chdir(kit.folder)
        except OSError as error:
            raise _unseen(kit.folder) from error
    for path in kit.visible:
        if not Path(path).exists():
            raise _unseen(path)


def _unseen(path: str) -> ClusterError:
    return ClusterError(
        f"a machine of the cluster does not see {path}; use a file system that all of them share, "
        "or an object store"
    )


def _kit(
    settings: Settings, actors_plan: ActorPlan, tasks: Sequence[Task], probes: list[str]
) -> _Kit:
    paths = [p for e in tasks for p in (e.input, e.output) if not is_url(p)]
    relative = any(not Path(path).is_absolute() for path in paths)
    sources = {str(Path(e.input).parent) for e in tasks if not is_url(e.input)}
    return _Kit(
        settings=dataclasses.replace(settings, device=actors_plan.device, threads=1, model=None),
        model=None if settings.model is None else settings.model.read_bytes(),
        environment={n: v for n, v in os.environ.items() if n.startswith(_SECRETS)},
        folder=str(Path.cwd()) if relative else None,
        visible=(*probes, *sorted(sources)[:8]),  # a few tell
    )


def _resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def _plan_actors(device: str, actors: int | None, resources: Mapping[str, float]) -> ActorPlan:
    providers: list[str] = []
    if device != "cpu" and resources.get("GPU", 0) > 0:
        look = ray.remote(num_cpus=0, num_gpus=0.01)(onnxruntime.get_available_providers)
        providers = ray.get(look.remote(), timeout=_JOINING)
    return plan_actors(device, actors, resources, providers)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray says from stdout, which is for results: its log is in a folder of its own."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Keep from stderr what Ray's core says as it starts; what goes wrong is raised as well."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Start a cluster on this computer, or join one."""
    if address is not None:
        _check_address(address)
    local = {
        "num_cpus": len(available_cores()),
        "include_dashboard": False,
        "object_store_memory": 200_000_000,  # all that it holds are names
    }
    options: dict[str, Any] = {} if address else local
    try:
        with _deaf():
            ray.init(
                address or "local",
                logging_level=logging.CRITICAL,
                log_to_driver=False,
                **options,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        where = "start a cluster on this computer" if address is None else f"join {address}"
        raise ClusterError(f"cannot {where}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse an address at which no cluster is: Ray itself would try for ten minutes.

    Raises:
        ClusterError: If so.
    """
    host, colon, port = address.rpartition(":")
    if address != "auto":
        if not colon or not host or not port.isdecimal() or is_url(address):
            raise ClusterError(
                f"{address!r} is no address of a Ray cluster; give HOST:PORT as `ray start --head` "
                "prints it, or auto, on a machine of the cluster"
            )
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClusterError(f"there is no Ray cluster at {address}: {reason}") from error
    command = [sys.executable, "-c", _JOIN, address]
    try:
        joined = subprocess.run(command, capture_output=True, timeout=_JOINING, check=False)
        reason = joined.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired:
        joined, reason = None, f"no answer in {_JOINING:g} s"
    if joined is None or joined.returncode:
        raise ClusterError(
            f"cannot join a Ray cluster at {address}: {reason}; if it wants a token, set "
            "RAY_AUTH_MODE=token as Ray's documents say"
        )


@contextlib.contextmanager
def _probe(tasks: Sequence[Task], address: str | None) -> Iterator[list[str]]:
    """Put a hidden file among the results, by which another machine shows that it sees them."""
    outputs = [task.output for task in tasks if not is_url(task.output)]
    if address is None or not outputs:
        yield []
        return
    folder = Path(outputs[0]).absolute().parent
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
