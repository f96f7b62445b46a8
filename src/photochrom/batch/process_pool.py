"""Processes side by side: one that crashes loses the item in its hands, and no other."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_TRIES = 3
"""How many processes may end before they are ready, all told."""
KILLED = -signal.SIGTERM if os.name == "nt" else -9
"""Exit code of a process after `Process.kill`, and where POSIX ends it for want of memory.

Windows has no signal.SIGKILL.
"""
_CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    core: int | None
    """The only one that it runs on; None: any."""
    ready: bool = False
    item: Any = None
    since: float = 0.0


class LostError(Exception):
    """A process ended without an answer."""


class LateError(LostError):
    """It was ended, as it took too long."""


class Worker:
    """A process that is asked one thing after another; where it ends or hangs, a new one starts."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], *, timeout: float) -> None:
        """Start it, without waiting for it.

        Args:
            make: Called once in the process; it returns what is called with each question.
            timeout: Seconds after which a process that answers nothing is ended.
        """
        self._make = make
        self._timeout = timeout
        self._worker = _started(make, None, None)
        self._closed = False

    def ready(self) -> None:
        """Wait until it can be asked.

        Raises:
            LostError: If it ends before that.
            Exception: What `make` raised.
        """
        if not self._worker.ready:
            self._receive()
            self._worker.ready = True

    def __call__(self, item: Any) -> Any:
        """Ask, and wait for the answer; one question at a time, from any thread.

        Raises:
            LostError: If the process ends without one, or has to be ended.
            Exception: What `make` raised.
        """
        self.ready()
        _hand_over(self._worker, item)
        return self._receive()

    def close(self) -> None:
        """End the process, also in the middle of an answer."""
        self._closed = True
        self._worker.process.kill()
        self._worker.process.join()
        self._worker.pipe.close()

    def _receive(self) -> Any:
        worker = self._worker
        late = not worker.pipe.poll(self._timeout)
        if late:
            worker.process.kill()
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            reason = _reason(worker)
            if not self._closed:
                self._worker = _started(self._make, None, None)
            if late:
                raise LateError(f"the process took more than {self._timeout:g} s") from None
            raise LostError(f"the process {reason}") from None
        if kind == "refused":
            raise content
        return content


def work(
    items: Iterable[Item],
    make: Callable[[], Callable[[Item], Outcome]],
    *,
    processes: int,
    lost: Callable[[Item, str], Outcome],
    timeout: float = 900.0,
) -> Iterator[Outcome]:
    """Do something with each item, on several processes.

    Ended early, by an exception or by closing the generator, it ends the processes at once; so do
    they themselves when this process is gone.

    Args:
        items: What there is to do, one at a time for each process; they travel as pickles.
        make: Called once in each process; it returns what is called with each item.
        processes: How many.
        lost: What to make of an item of which the process ended without a word, with the reason.
        timeout: Seconds after which a process that answers nothing is killed.

    Yields:
        The outcomes, as they come.

    Raises:
        Exception: What `make` raises.
        RuntimeError: If a process cannot even start.
    """
    left = iter(items)
    cores = cores_here()
    workers: list[_Worker] = []
    unborn = 0
    try:
        for number, item in enumerate(_first(left, processes)):
            # Left to itself, a kernel may keep two processes on one core for minutes.
            core = cores[number] if processes == len(cores) else None
            workers.append(_started(make, item, core))
        while workers:
            ends = {worker.pipe: worker for worker in workers}
            for pipe in wait(list(ends), timeout=1.0):
                worker = ends[pipe]  # type: ignore[index]
                try:
                    kind, content = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    reason = _reason(worker)
                    if worker.ready:
                        again = _first(left, 1)
                        yield lost(worker.item, reason)
                    else:
                        again = iter([worker.item])
                        unborn += 1
                        if unborn > _TRIES:
                            raise RuntimeError(f"a process could not start: it {reason}") from None
                    for item in again:
                        workers.append(_started(make, item, worker.core))
                    continue
                if kind == "refused":
                    raise content
                if kind == "ready":
                    worker.ready = True
                    _hand_over(worker, worker.item)
                    continue
                for item in _first(left, 1):
                    _hand_over(worker, item)
                    break
                else:
                    workers.remove(worker)
                    _end(worker)
                yield content
            for worker in workers:
                if worker.ready and time.monotonic() - worker.since > timeout:
                    worker.process.kill()  # which the next round finds
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            _end(worker)


def _first(items: Iterator[Item], count: int) -> Iterator[Item]:
    for _, item in zip(range(count), items, strict=False):
        yield item


def cores_here() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _started(make: Callable[[], Any], item: Any, core: int | None) -> _Worker:
    ours, theirs = _CONTEXT.Pipe()
    # As bytes, so that what it imports counts the cores when they are as they will be.
    arguments = (theirs, pickle.dumps(make), core)
    process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, core, item=item)


def _hand_over(worker: _Worker, item: Any) -> None:
    worker.item, worker.since = item, time.monotonic()
    with contextlib.suppress(OSError):  # it has just ended, which the next round finds
        worker.pipe.send(item)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.join()


def _reason(worker: _Worker) -> str:
    worker.pipe.close()
    worker.process.join()
    code = worker.process.exitcode
    if code == KILLED:
        return "was killed, most likely for want of memory or as it took too long"
    return f"ended with exit code {code}"


def _serve(pipe: Connection, make: bytes, core: int | None) -> None:
    """Run in a process of its own: answer items until the other end is closed."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        function = pickle.loads(make)()
    except Exception as error:  # noqa: BLE001 (raised again on the other side)
        pipe.send(("refused", error))
        return
    pipe.send(("ready", None))
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(("done", function(item)))
