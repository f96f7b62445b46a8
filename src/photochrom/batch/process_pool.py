"""A crash-isolated pool of worker processes: a crash or timeout fails only the item in progress.

pebble's ProcessPool (5.2) neither forwards the exception of a failing initializer nor limits the
restarts of workers that cannot start. It also fails every later task once an idle worker dies.
"""

import contextlib
import itertools
import math
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_objects
from typing import Any, Generic, Self, TypeVar

from photochrom.cores import available_cores
from photochrom.errors import PhotochromError
from photochrom.safe_path import safe_path

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

MAX_START_ATTEMPTS = 3
MIN_START_TIMEOUT = 60.0
"""In seconds. Imports and the initializer may take longer than an item."""
_TICKS = 20
"""A timeout is counted in so many waits, of at most a second each."""
_KILLED = -9
"""Exit code after SIGKILL, as by the kernel's OOM killer. Windows has no such signal."""

_CONTEXT = multiprocessing.get_context("spawn")  # fork would copy locks that threads hold
# Starting a process also reaps finished ones, which must not race with `join` in another thread.
_PROCESS_LOCK = threading.Lock()


class WorkerError(RuntimeError):
    """A worker process returned no outcome."""


class WorkerStartError(WorkerError, PhotochromError):
    """A worker process ended several times before it was ready."""


class WorkerDiedError(WorkerError):
    """A worker process ended while it worked on an item."""


class WorkerKilledError(WorkerDiedError):
    """A worker process was killed from outside, most likely because memory ran out."""


class WorkerTimeoutError(WorkerDiedError):
    """A worker process exceeded the timeout and was killed."""


class WorkerStoppedError(WorkerError):
    """The work on an item was stopped by `WorkerPool.stop`."""


class WorkerPool(Generic[Item, Outcome]):
    """Processes that all call the same function, each with one item at a time."""

    def __init__(
        self,
        initializer: Callable[[], Callable[[Item], Outcome]],
        *,
        processes: int,
        timeout: float = 900.0,
        pin_cores: bool = False,
    ) -> None:
        """Start the processes without waiting for them.

        Args:
            initializer: Called once in each process; returns the function to call with each item.
                It, the items and the outcomes are pickled.
            processes: Number of processes.
            timeout: Seconds after which a process that works on an item is killed. The time for
                which this process was stopped, as by Ctrl-Z, does not count.
            pin_cores: Pin each process to a core if there are as many processes as cores. Without,
                a kernel may keep two processes on one core for minutes.
        """
        # Pickled, so that modules which count cores are imported after the process is pinned.
        pickled = pickle.dumps(initializer)
        cores: list[int | None] = [*available_cores()]
        if not pin_cores or processes != len(cores):
            cores = [None] * processes
        self.processes = processes
        self.timeout = timeout
        self._workers = [_Worker(pickled, core) for core in cores]
        self._idle = list(self._workers)
        self._calls: dict[Future[Outcome], _Call] = {}
        self._threads = ThreadPoolExecutor(processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_until_ready(self) -> None:
        """Wait until all processes are initialized; call it before `submit`.

        Raises:
            WorkerStartError: If a process cannot start.
            Exception: Raised by `initializer`.
        """
        for worker in self._workers:
            worker.wait_until_ready(self.timeout)

    def submit(self, item: Item) -> Future[Outcome]:
        """Queue an item for the next idle worker; first in, first out.

        The future raises WorkerDiedError if the process crashed, was killed or timed out,
        WorkerStartError if it cannot start, and exceptions of `initializer`.
        """
        call = _Call(item)
        future = self._threads.submit(self._call, call)
        self._calls[future] = call
        future.add_done_callback(self._calls.pop)
        return future

    def stop(self, future: Future[Outcome]) -> None:
        """Stop the work on an item: its process is killed and replaced.

        The future of `submit` raises WorkerStoppedError; if no process works on it yet, it is
        cancelled. Nothing happens if it is done.
        """
        call = self._calls.get(future)
        if not future.cancel() and call is not None:
            call.stop()

    def map(
        self, items: Iterable[Item], *, on_death: Callable[[Item, WorkerDiedError], Outcome]
    ) -> Iterator[Outcome]:
        """Process items and yield the outcomes as they complete.

        At most as many items are read ahead as there are processes. `on_death` returns the outcome
        of an item whose process crashed or timed out.

        Raises:
            WorkerStartError: If a process cannot start.
            Exception: Raised by `initializer`.
        """
        remaining = iter(items)
        first = itertools.islice(remaining, self.processes)
        pending = {self.submit(item): item for item in first}
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                item = pending.pop(future)
                # Before the yield, so that the worker is not idle while the caller is busy.
                for next_item in itertools.islice(remaining, 1):
                    pending[self.submit(next_item)] = next_item
                try:
                    outcome = future.result()
                except WorkerDiedError as error:
                    outcome = on_death(item, error)
                yield outcome

    def close(self) -> None:
        """Kill the processes, even while they work on an item."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.join()

    def _call(self, call: "_Call") -> Outcome:
        worker = self._idle.pop()
        try:
            outcome: Outcome = worker(call, self.timeout)
            return outcome
        finally:
            self._idle.append(worker)


class _Call:
    """An item, and the worker whose process works on it; `stop` may come from another thread."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self._worker: _Worker | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def start(self, worker: "_Worker") -> None:
        with self._lock:
            if self._is_stopped:
                raise WorkerStoppedError("the work was stopped")
            self._worker = worker

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            if self._worker is not None:
                self._worker.end_process()

    def end(self) -> bool:
        """Return whether it was stopped; the worker is not killed from now on."""
        with self._lock:
            self._worker = None
            return self._is_stopped


class _Worker:
    """One process, replaced when it dies."""

    def __init__(self, initializer: bytes, core: int | None) -> None:
        self._arguments = (initializer, core)
        self._closed = self._is_ready = False
        self._start()

    def wait_until_ready(self, timeout: float) -> None:
        for attempt in range(1, MAX_START_ATTEMPTS + 1):
            if self._is_ready:
                return
            try:
                error = self._receive(max(timeout, MIN_START_TIMEOUT))
            except WorkerDiedError as death:
                if attempt == MAX_START_ATTEMPTS or self._closed:
                    raise WorkerStartError(
                        f"cannot start a worker process: {death}; free memory, or use fewer "
                        "processes"
                    ) from death
            else:
                if error is not None:
                    raise error
                self._is_ready = True

    def __call__(self, call: _Call, timeout: float) -> Any:
        if self._is_ready and wait_for_objects([self._process.sentinel], timeout=0):
            self._restart()  # the process died while it was idle
        self.wait_until_ready(timeout)
        call.start(self)
        try:
            with contextlib.suppress(OSError):  # if the process has just died, _receive raises
                self._pipe.send(call.item)
            outcome = self._receive(timeout)
        except WorkerDiedError as error:
            if call.end():
                raise WorkerStoppedError("the work was stopped") from error
            raise
        if call.end():  # killed, although it has just finished
            self._restart()
            raise WorkerStoppedError("the work was stopped")
        return outcome

    def close(self) -> None:
        """End the process, and start no other."""
        self._closed = True
        self.end_process()

    def end_process(self) -> None:
        """End the process at once, also while it works.

        Every end that is not the process's own passes here. Its exit code differs by system (-9, or
        -15 on Windows), and says nothing: the caller knows why it ended the process.
        """
        with _PROCESS_LOCK:
            self._process.kill()

    def join(self) -> None:
        with _PROCESS_LOCK:
            self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        self._is_ready = False
        with _PROCESS_LOCK:
            if self._closed:
                return
            self._pipe, child_pipe = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(
                target=_serve, args=(child_pipe, *self._arguments), daemon=True
            )
            with safe_path():
                self._process.start()
            child_pipe.close()

    def _restart(self) -> int | None:
        """Replace the process that ended, and return its exit code."""
        self.join()
        exit_code = self._process.exitcode
        self._start()
        return exit_code

    def _receive(self, timeout: float) -> Any:
        try:
            timed_out = not _poll(self._pipe, timeout)
            if not timed_out:
                return self._pipe.recv()
            self.end_process()
        except (EOFError, OSError):
            timed_out = False
        exit_code = self._restart()
        if self._closed:
            raise WorkerDiedError("the worker process was ended with its pool")
        if timed_out:
            raise WorkerTimeoutError(f"the worker process took more than {timeout:g} s")
        error = WorkerKilledError if exit_code == _KILLED else WorkerDiedError
        raise error(f"the worker process {describe_exit(exit_code)}")


def _poll(pipe: Connection, timeout: float) -> bool:
    """Wait until there is something to receive, and return whether there is.

    The time is counted in short waits: if this process is stopped meanwhile, only one of them has
    passed when it goes on, and the worker may have been stopped as well.
    """
    tick = min(1.0, timeout / _TICKS)
    return any(pipe.poll(tick) for _ in range(math.ceil(timeout / tick))) or pipe.poll(0)


def describe_exit(exit_code: int | None) -> str:
    """Return what ended a process, such as "ended with exit code 1"."""
    if exit_code == _KILLED:
        return "was killed, most likely because memory ran out"
    return f"ended with exit code {exit_code}"


def _serve(pipe: Connection, initializer: bytes, core: int | None) -> None:
    """Answer items until the parent closes its end of the pipe."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        function = pickle.loads(initializer)()
    except Exception as error:  # noqa: BLE001 (raised again in the parent)
        pipe.send(error)
        return
    pipe.send(None)
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))
