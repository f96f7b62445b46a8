import contextlib
import multiprocessing
import multiprocessing.connection
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from photochrom.batch import process_pool
from photochrom.batch.process_pool import (
    WorkerDiedError,
    WorkerPool,
    WorkerStartError,
    WorkerStoppedError,
    WorkerTimeoutError,
    describe_exit,
)
from photochrom.cores import available_cores
from photochrom.errors import ModelError

Outcome = int | str


def create_square() -> Callable[[int], Outcome]:
    return square


def square(number: int) -> int:
    if number == 3:
        os._exit(7)
    if number == 5:
        time.sleep(60)
    return number * number


def raise_model_error() -> Callable[[int], Outcome]:
    raise ModelError("there is no model")


def exit_at_once() -> Callable[[int], Outcome]:
    os._exit(9)


def describe_death(number: int, error: WorkerDiedError) -> str:
    return f"{number}: {error}"


def start_pool(processes: int, timeout: float = 60) -> WorkerPool[int, Outcome]:
    return WorkerPool(create_square, processes=processes, timeout=timeout)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_item_is_processed_once(processes: int):
    with start_pool(processes) as pool:
        assert sorted(pool.map([1, 2, 4, 6], on_death=describe_death)) == [1, 4, 16, 36]
        assert list(pool.map([], on_death=describe_death)) == []


def test_items_are_read_only_as_fast_as_they_are_processed():
    read = []

    def numbers() -> Iterator[int]:
        for _ in range(100):
            read.append(1)
            yield 1

    with start_pool(2) as pool:
        outcomes = pool.map(numbers(), on_death=describe_death)
        for count, _ in enumerate(outcomes, 1):
            assert len(read) <= count + 2
    assert count == 100


def test_stopped_work_hurts_no_other():
    with start_pool(1) as pool:
        pool.wait_until_ready()
        running, waiting, other = (pool.submit(number) for number in (5, 5, 6))
        while not running.running():
            time.sleep(0.01)
        time.sleep(0.1)
        start = time.monotonic()
        pool.stop(waiting)
        pool.stop(running)
        with pytest.raises(WorkerStoppedError, match="the work was stopped"):
            running.result()
        assert waiting.cancelled()
        assert other.result() == 36
        assert time.monotonic() - start < 20  # 5 takes 60 s
        pool.stop(other)
        for _ in range(30):  # stopped before, while and after it is processed
            future = pool.submit(2)
            time.sleep(random.random() / 500)
            pool.stop(future)
            with contextlib.suppress(WorkerStoppedError, CancelledError):
                assert future.result() == 4
            assert pool.submit(4).result() == 16


def test_a_crash_and_a_timeout_fail_one_item_each():
    with start_pool(2, timeout=2) as pool:
        outcomes = list(pool.map([1, 3, 5, 6], on_death=describe_death))
    assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1, 36]
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, str)) == [
        "3: the worker process ended with exit code 7",
        "5: the worker process took more than 2 s",
    ]


def submit_endless(pool: WorkerPool[int, Outcome]) -> Future[Outcome]:
    """Submit an item that takes 60 s, and wait until a process works on it."""
    future = pool.submit(5)
    while not future.running():
        time.sleep(0.01)
    time.sleep(0.1)
    return future


@pytest.mark.parametrize("system", ["this", "Windows"])
def test_an_end_has_the_same_message_on_all_systems(system: str, monkeypatch: pytest.MonkeyPatch):
    if system == "Windows":  # where both end a process by TerminateProcess, with exit code -15
        monkeypatch.setattr(SpawnProcess, "kill", SpawnProcess.terminate)
        monkeypatch.delattr(signal, "SIGKILL", raising=False)
    with start_pool(1) as pool:
        pool.wait_until_ready()
        with pytest.raises(WorkerDiedError, match="the worker process ended with exit code 7"):
            pool.submit(3).result()
        pool.timeout = 0.5
        with pytest.raises(WorkerTimeoutError, match=r"the worker process took more than 0\.5 s"):
            pool.submit(5).result()
        pool.timeout = 60
        assert pool.submit(4).result() == 16
        stopped = submit_endless(pool)
        pool.stop(stopped)
        with pytest.raises(WorkerStoppedError, match="the work was stopped"):
            stopped.result()
        assert pool.submit(6).result() == 36
        unfinished = submit_endless(pool)
    with pytest.raises(WorkerDiedError, match="the worker process was ended with its pool"):
        unfinished.result()


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (-9, "was killed, most likely because memory ran out"),  # by the kernel
        (-11, "ended with exit code -11"),
        (0xC0000005, "ended with exit code 3221225477"),  # an access violation on Windows
    ],
)
def test_exit_codes_are_described(exit_code: int, expected: str):
    assert describe_exit(exit_code) == expected


class ThreadProcess(threading.Thread):
    """A thread in place of a process; it ends when the pool closes the pipe."""

    exitcode = None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sentinel, self._end = multiprocessing.Pipe(duplex=False)

    def kill(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        pass


class ThreadEnd:
    """A worker's end of a pipe, which a process would have a copy of."""

    def __init__(self, pipe: Connection) -> None:
        self.send, self.recv = pipe.send, pipe.recv

    def close(self) -> None:
        pass


def create_thread_pipe() -> tuple[Connection, ThreadEnd]:
    parent, child = multiprocessing.Pipe()
    return parent, ThreadEnd(child)


def test_more_cores_than_windows_waits_for_at_once(monkeypatch: pytest.MonkeyPatch):
    """Windows waits for 63 handles at most: a pool has to wait for each of its own."""
    cores, waits = 128, []
    wait = multiprocessing.connection.wait

    def record(objects: list[Connection], timeout: float | None = None) -> list[Connection]:
        waits.append(len(objects))
        return wait(objects, timeout)

    for name in ("sched_getaffinity", "sched_setaffinity"):  # which Windows lacks
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(multiprocessing.connection, "wait", record)
    monkeypatch.setattr(process_pool, "wait_for_objects", record)
    monkeypatch.setattr(process_pool._CONTEXT, "Process", ThreadProcess)
    monkeypatch.setattr(process_pool._CONTEXT, "Pipe", create_thread_pipe)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert len(available_cores()) == cores
    with WorkerPool(create_square, processes=cores, pin_cores=True) as pool:
        pool.wait_until_ready()
        assert list(pool.map([10] * 300, on_death=describe_death)) == [100] * 300
    assert set(waits) == {1}


def test_an_exception_of_the_initializer_is_raised():
    with WorkerPool(raise_model_error, processes=2) as pool:
        with pytest.raises(ModelError, match="there is no model"):
            pool.wait_until_ready()
        with pytest.raises(ModelError, match="there is no model"):
            list(pool.map([1, 2], on_death=describe_death))


def test_a_worker_that_cannot_start_is_reported():
    with (
        WorkerPool(exit_at_once, processes=2) as pool,
        pytest.raises(WorkerStartError, match=r"cannot start .* ended with exit code 9"),
    ):
        list(pool.map([1, 2], on_death=describe_death))


def test_close_kills_busy_processes():
    with start_pool(2) as pool:
        outcomes = pool.map([1, 5, 5], on_death=describe_death)
        assert next(outcomes) == 1
        start = time.monotonic()
    assert time.monotonic() - start < 30  # 5 takes 60 s


def test_a_worker_is_replaced_after_a_crash_or_timeout():
    with start_pool(1, timeout=2) as pool:
        assert pool.submit(2).result() == 4
        with pytest.raises(WorkerDiedError, match="ended with exit code 7"):
            pool.submit(3).result()
        assert pool.submit(4).result() == 16
        with pytest.raises(WorkerTimeoutError, match="took more than 2 s"):
            pool.submit(5).result()
        assert pool.submit(6).result() == 36


def test_an_idle_worker_that_was_killed_is_replaced():
    with start_pool(1) as pool:
        assert pool.submit(2).result() == 4
        process = pool._workers[0]._process
        process.kill()
        process.join()
        assert pool.submit(4).result() == 16


def create_slow_square() -> Callable[[int], Outcome]:
    return slow_square


def slow_square(number: int) -> int:
    time.sleep(60 if number == 5 else 0.8)
    return number * number


STOPPED = """
from batch.test_process_pool import create_slow_square, describe_death
from photochrom.batch.process_pool import WorkerPool

if __name__ == "__main__":
    with WorkerPool(create_slow_square, processes=2, timeout=2) as pool:
        pool.wait_until_ready()
        print("ready", flush=True)
        for outcome in pool.map([1, 2, 3, 5], on_death=describe_death):
            print(outcome, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.parametrize("with_workers", [False, True])
def test_a_pause_fails_no_item_but_a_hanging_one(tmp_path: Path, with_workers: bool):
    """Stop the main process, alone or as Ctrl-Z does with its workers, beyond the limit."""
    script = tmp_path / "main.py"
    script.write_text(STOPPED)
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        send = os.killpg if with_workers else os.kill
        time.sleep(0.3)
        send(process.pid, signal.SIGSTOP)
        time.sleep(3)
        send(process.pid, signal.SIGCONT)
        outcomes = sorted(process.stdout.read().splitlines())
    assert outcomes == ["1", "4", "5: the worker process took more than 2 s", "9"]
