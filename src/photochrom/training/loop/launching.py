"""Who starts the processes that train together: torchrun, SLURM, or photochrom itself.

This module imports no torch, so that a process that only starts others has nothing to wait for.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from tqdm import tqdm

from photochrom.batch.process_pool import describe_exit
from photochrom.errors import PhotochromError, RecipeError, RunError
from photochrom.progress import print_message

Outcome = TypeVar("Outcome")
Starter = Literal["torchrun", "SLURM", "photochrom"]

GRACE_SECONDS = 2.0
"""How long one that has failed waits for what the others have to say, before they are ended."""

_OURS = "PHOTOCHROM_PROCESSES"
_CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold


class LostError(RunError):
    """The other processes cannot be reached; most likely one has ended, and says more."""


class ToldError(PhotochromError):
    """Another process has failed, or this one in the same way, and it says why."""


@dataclass(frozen=True)
class Started:
    """What started this process as one of several."""

    by: Starter
    processes: int
    """How many there are on all machines."""
    local_rank: int
    """Which one this is on its machine, from 0."""


def started() -> Started | None:
    """Return what started this process as one of several, or None if nothing did."""
    env = os.environ
    if _OURS in env:
        return Started("photochrom", int(env[_OURS]), int(env["LOCAL_RANK"]))
    if "TORCHELASTIC_RUN_ID" in env:
        return Started("torchrun", int(env["WORLD_SIZE"]), int(env["LOCAL_RANK"]))
    # A batch script has most of SLURM's variables as well; only srun makes steps.
    by_hand = env.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_STEP_ID" in env and "SLURM_NTASKS" in env and not by_hand:
        return Started("SLURM", int(env["SLURM_NTASKS"]), int(env.get("SLURM_LOCALID", 0)))
    return None


def must_launch(devices: int, nodes: int, batch_size: int) -> bool:
    """Return whether the processes that are asked for have still to be started.

    Args:
        devices: Processes on each machine.
        nodes: Machines.
        batch_size: Photos of all processes in a step.

    Raises:
        RecipeError: If the processes cannot share a batch equally.
        RunError: If other processes were started than are asked for, or nothing says which machine
            of several this is.
    """
    wanted, place = devices * nodes, started()
    if devices < 1 or nodes < 1:
        raise RunError(f"{devices} devices on {nodes} nodes were asked for; give 1 or more of each")
    if batch_size % wanted != 0:
        raise RecipeError(
            f"batch_size is {batch_size}, which {wanted} processes cannot share equally; "
            f"give a multiple of {wanted}, such as "
            f"--set batch_size={-(-batch_size // wanted) * wanted}"
        )
    if place is not None and place.processes != wanted:
        raise RunError(
            f"{place.by} has started {place.processes} processes, and --devices {devices} with "
            f"--nodes {nodes} asks for {wanted}; give the same to both"
        )
    if place is not None and place.by == "SLURM" and wanted > 1:
        there = os.environ.get("SLURM_NTASKS_PER_NODE")
        if there is None or int(there) != devices:
            raise RunError(
                f"--devices is {devices}, and srun's --ntasks-per-node is {there or 'not given'}; "
                "give the same to both"
            )
    if place is not None or wanted == 1:
        return False
    missing = [key for key in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if key not in os.environ]
    if nodes > 1 and missing:
        raise RunError(
            f"--nodes is {nodes}, and nothing says how this machine finds the others; start the "
            f"command by torchrun or srun on all of them, or set {', '.join(missing)}"
        )
    return True


def is_main_process() -> bool:
    """Return whether this process says what all say: the first of its machine, or the only one."""
    place = started()
    return place is None or place.local_rank == 0


@contextlib.contextmanager
def report_once() -> Iterator[None]:
    """Let the first process of a machine alone say what all of them refuse.

    Raises:
        ToldError: On the others, in place of a `PhotochromError`.
    """
    try:
        yield
    except PhotochromError as error:
        if is_main_process():
            raise
        raise ToldError("the first process of this machine says why") from error


@dataclass
class _Process:
    number: int
    process: SpawnProcess
    pipe: Connection
    outcome: list[Any] = field(default_factory=list)
    error: BaseException | None = None


def launch(function: Callable[..., Outcome], devices: int, nodes: int) -> Outcome:
    """Start the processes of this machine, and wait until all have done their work.

    Whatever ends one of them, the others are ended too, within seconds; so are all of them when
    this process is gone.

    Args:
        function: What each does; it travels as a pickle, and is called with the keyword `on_run`:
            a function to be told the run directory.
        devices: How many on this machine.
        nodes: How many machines do the same.

    Returns:
        What the first of them returned.

    Raises:
        PhotochromError: What one of them raised.
        RunError: If one of them ended without a word.
    """
    node = int(os.environ.get("NODE_RANK", 0))
    place = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(_free_port()),
        "NODE_RANK": str(node),
        _OURS: str(devices * nodes),
    }
    content = pickle.dumps(function)
    team: list[_Process] = []
    run: Path | None = None
    deadline: float | None = None
    try:
        for local in range(devices):
            ours, theirs = _CONTEXT.Pipe()
            process = _CONTEXT.Process(
                target=_serve, args=(theirs, content, {**place, "LOCAL_RANK": str(local)})
            )
            process.start()
            theirs.close()
            team.append(_Process(node * devices + local + 1, process, ours))
        waiting = {one.pipe: one for one in team}
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait(list(waiting), timeout=left)
            if not ready:
                break  # some still work, for nothing
            for pipe in cast(list[Connection], ready):
                one = waiting[pipe]
                try:
                    kind, value = pipe.recv()
                except (EOFError, OSError):
                    del waiting[pipe]
                    one.process.join()
                    if not one.outcome and one.error is None:
                        go_on = "" if run is None else f"; go on with --resume {run}"
                        reason = describe_exit(one.process.exitcode)
                        one.error = RunError(
                            f"process {one.number} of {devices * nodes} {reason}, and the others "
                            f"were stopped{go_on}"
                        )
                else:
                    if kind == "run":
                        run = value
                    elif kind == "done":
                        one.outcome.append(value)
                    else:
                        one.error = value
                if one.error is not None and deadline is None:
                    deadline = time.monotonic() + GRACE_SECONDS
        errors = [one.error for one in team if one.error is not None]
        if errors and run is not None and sys.stderr.isatty():
            print_message("", file=sys.stderr)  # end the line of the bar that a killed process left
        if errors:  # who lost the others, or was told to stop, knows least of why
            raise min(errors, key=lambda error: isinstance(error, LostError | ToldError))
        return cast(Outcome, team[0].outcome[0])
    finally:
        for one in team:
            one.process.kill()
        for one in team:
            one.process.join()
            one.pipe.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _serve(pipe: Connection, function: bytes, place: dict[str, str]) -> None:
    """Run in a process of its own, and leave at once where something fails.

    Who would first take leave of the others may wait for them in vain.
    """
    os.environ.update(place)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=exit_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own, for processes, would outlive a kill
    try:
        outcome = pickle.loads(function)(on_run=lambda run: pipe.send(("run", run)))
    except (PhotochromError, OSError) as error:
        pipe.send(("refused", error))
        os._exit(1)
    pipe.send(("done", outcome))


def exit_with_parent() -> None:
    """Exit when the parent process has ended; for a thread of its own."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
