"""Start the processes that train together, or recognize that torchrun or SLURM did.

`launch` adds two things to `torch.multiprocessing.spawn`: it raises the error that explains a
failure, not that of a disconnected process, and it names the run to resume. torchrun prints a table
of exit codes instead; Fabric's launcher does not say which process ended, runs the caller's script
again, and kills this process without a message if it is blocked.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from photochrom.batch.process_pool import describe_exit
from photochrom.errors import PhotochromError, RecipeError, RunError
from photochrom.progress import print_message
from photochrom.safe_path import safe_path

GRACE_PERIOD = 2.0
"""Seconds from the first failure of a process until the others are terminated."""


class DisconnectedError(RunError):
    """The other processes cannot be reached, most likely because one has failed."""


class ReportedElsewhereError(PhotochromError):
    """Training stops because of an error that another process reports."""


@dataclass(frozen=True)
class Launcher:
    """What started this process as one of several."""

    name: Literal["torchrun", "SLURM"]
    """Processes started by `launch` have the environment variables of torchrun."""
    world_size: int
    """Number of processes on all machines."""
    local_rank: int
    """Index of this process on its machine."""


def find_launcher() -> Launcher | None:
    """Return what started this process as one of several, or None."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return Launcher("torchrun", int(env["WORLD_SIZE"]), int(env["LOCAL_RANK"]))
    # A batch script also has most of SLURM's variables, but only srun starts several processes.
    is_interactive = env.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_STEP_ID" in env and "SLURM_NTASKS" in env and not is_interactive:
        return Launcher("SLURM", int(env["SLURM_NTASKS"]), int(env.get("SLURM_LOCALID", 0)))
    return None


def must_launch(devices: int, nodes: int, batch_size: int, accumulate: int = 1) -> bool:
    """Check the number of processes, and return whether they have still to be started.

    Args:
        devices: Processes on each machine.
        nodes: Number of machines.
        batch_size: Photos of all processes together.
        accumulate: Micro-batches of each process.

    Raises:
        RecipeError: If the batch cannot be divided equally among the processes.
        RunError: If torchrun or SLURM started another number of processes, or a variable that
            several machines need is missing.
    """
    world_size, launcher = devices * nodes, find_launcher()
    if devices < 1 or nodes < 1:
        raise RunError(f"--devices is {devices} and --nodes is {nodes}; give 1 or more for each")
    shares = world_size * accumulate
    if batch_size % shares != 0:
        parts = "" if accumulate == 1 else f" with optimization.accumulate={accumulate}"
        raise RecipeError(
            f"batch_size is {batch_size}, which cannot be divided equally among {world_size} "
            f"processes{parts}; give a multiple of {shares}, such as "
            f"--set data.batch_size={-(-batch_size // shares) * shares}"
        )
    if launcher is not None:
        if launcher.world_size != world_size:
            raise RunError(
                f"{launcher.name} has started {launcher.world_size} processes, but --devices "
                f"{devices} with --nodes {nodes} asks for {world_size}; give the same to both"
            )
        tasks = os.environ.get("SLURM_NTASKS_PER_NODE", "not given")
        if launcher.name == "SLURM" and world_size > 1 and tasks != str(devices):
            raise RunError(
                f"--devices is {devices}, but srun's --ntasks-per-node is {tasks}; "
                "give the same to both"
            )
        return False
    missing = [key for key in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if key not in os.environ]
    if nodes > 1 and missing:
        raise RunError(
            f"--nodes is {nodes}, but this machine has no address of the others; start the command "
            f"by torchrun or srun on all of them, or set {', '.join(missing)}"
        )
    return world_size > 1


def is_main_process() -> bool:
    """Return whether this process has local rank 0, and so prints for all on its machine."""
    launcher = find_launcher()
    return launcher is None or launcher.local_rank == 0


@contextlib.contextmanager
def report_once() -> Iterator[None]:
    """Report an error that all processes of a machine meet on the main process alone.

    Raises:
        ReportedElsewhereError: On the other processes, instead of a `PhotochromError`.
    """
    try:
        yield
    except PhotochromError as error:
        if is_main_process():
            raise
        raise ReportedElsewhereError("the main process of this machine reports it") from error


def launch(function: Callable[..., Path], devices: int, nodes: int) -> Path:
    """Train in new processes on this machine, and return the run directory.

    If one fails, or if this process dies, the others are ended.

    Args:
        function: Trains; picklable. It gets the keyword `on_run`, a function that it has to call
            with the run directory.
        devices: Number of processes to start on this machine.
        nodes: Number of machines that do the same.

    Raises:
        PhotochromError: The error of a process, or a `RunError` if a process was killed.
    """
    # Imported here, so that options are checked without waiting for torch.
    from lightning_fabric.plugins.environments.lightning import find_free_network_port
    from torch.multiprocessing.spawn import ProcessException, spawn

    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    environment = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(find_free_network_port()),
        "WORLD_SIZE": str(devices * nodes),
        "TORCHELASTIC_RUN_ID": "photochrom",
    }
    first_rank = int(os.environ.get("NODE_RANK", 0)) * devices
    messages: SimpleQueue[Path | Exception]
    with safe_path():
        messages = multiprocessing.get_context("spawn").SimpleQueue()
        arguments = (function, environment, first_rank, messages)
        context = spawn(  # type: ignore[no-untyped-call]
            _train_in_process, arguments, devices, join=False, daemon=True
        )
    failed: int | None = None
    try:
        while not context.join(grace_period=GRACE_PERIOD):
            pass
    except ProcessException as error:
        failed = error.error_index
    finally:
        for process in context.processes:
            process.kill()
            process.join()
    received = []
    while not messages.empty():
        received.append(messages.get())
    run = next((message for message in received if isinstance(message, Path)), None)
    errors = [message for message in received if isinstance(message, Exception)]
    if failed is None:
        assert run is not None
        return run
    if run is not None and sys.stderr.isatty():
        print_message("", file=sys.stderr)  # ends the line of the progress bar
    causes = [e for e in errors if not isinstance(e, DisconnectedError | ReportedElsewhereError)]
    exit_codes = [process.exitcode for process in context.processes]
    # A process that sends an error exits with 1, and those that are left are sent SIGTERM.
    killed = [i for i, code in enumerate(exit_codes) if code not in (0, 1, -signal.SIGTERM)]
    if causes or (errors and not killed):
        raise (causes or errors)[0]
    index = killed[0] if killed else failed
    process = f"process {first_rank + index + 1} of {devices * nodes}"
    reason = describe_exit(exit_codes[index])
    raise RunError(f"{process} {reason}, and the others were stopped{resume_hint(run)}")


def resume_hint(run: Path | None) -> str:
    """Return the end of an error message that says how to continue a run, if there is one."""
    return "" if run is None else f"; continue with --resume {run}"


def _train_in_process(
    local_rank: int,
    function: Callable[..., Path],
    environment: dict[str, str],
    first_rank: int,
    messages: "SimpleQueue[Path | Exception]",
) -> None:
    rank = {"LOCAL_RANK": str(local_rank), "RANK": str(first_rank + local_rank)}
    os.environ.update(environment | rank)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C also ends a blocked collective
    threading.Thread(target=exit_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # tqdm's own semaphore would be leaked by os._exit
    try:
        function(on_run=messages.put)
    except (PhotochromError, OSError) as error:
        messages.put(error)
        os._exit(1)  # normal interpreter exit may wait for the other processes
    except Exception:
        traceback.print_exc()
        raise


def exit_with_parent() -> None:
    """Exit at once when the parent process dies; the target of a thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
