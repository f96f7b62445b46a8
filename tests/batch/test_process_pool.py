import os
import signal
import time
from collections.abc import Callable

import pytest

from photochrom.batch.process_pool import LateError, LostError, Worker, work
from photochrom.errors import ModelError


class Odd:
    """What a process does: squares, but for numbers that make trouble."""

    def __call__(self) -> Callable[[int], int]:
        return self.square

    def square(self, number: int) -> int:
        if number == 3:
            os._exit(7)
        if number == 5:
            time.sleep(60)
        return number * number


class Refusing:
    def __call__(self) -> Callable[[int], int]:
        raise ModelError("there is no model")


class Unborn:
    def __call__(self) -> Callable[[int], int]:
        os._exit(9)


def lost(number: int, reason: str) -> str:
    return f"{number} {reason}"


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_everything_is_done_once(processes: int):
    assert sorted(work([1, 2, 4, 6], Odd(), processes=processes, lost=lost)) == [1, 4, 16, 36]
    assert list(work([], Odd(), processes=processes, lost=lost)) == []


def test_a_crash_and_a_hang_cost_one_item_each():
    outcomes = list(work([1, 3, 5, 6], Odd(), processes=2, lost=lost, timeout=2))
    assert [found for found in outcomes if isinstance(found, int)] == [1, 36]
    said = sorted(found for found in outcomes if isinstance(found, str))
    assert said[0] == "3 ended with exit code 7"
    assert said[1].startswith("5 was killed")


def test_a_crash_costs_one_item_where_there_is_no_sigkill(monkeypatch: pytest.MonkeyPatch):
    worker = Worker(Odd(), timeout=20)
    with monkeypatch.context() as windows:
        windows.delattr(signal, "SIGKILL")
        outcomes = list(work([3, 4], Odd(), processes=1, lost=lost))
        with pytest.raises(LostError, match="ended with exit code 7"):
            worker(3)
    worker.close()  # kill() itself needs SIGKILL, but on Windows
    assert outcomes == ["3 ended with exit code 7", 16]


def test_what_cannot_start_is_said():
    with pytest.raises(ModelError, match="there is no model"):
        list(work([1, 2], Refusing(), processes=2, lost=lost))
    with pytest.raises(RuntimeError, match="could not start"):
        list(work([1, 2], Unborn(), processes=2, lost=lost))


def test_closing_early_ends_the_processes():
    outcomes = work([1, 5, 5], Odd(), processes=2, lost=lost)
    assert next(outcomes) == 1
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 5


def test_a_worker_answers_after_it_was_lost_or_late():
    worker = Worker(Odd(), timeout=2)
    try:
        assert worker(2) == 4
        with pytest.raises(LostError, match="ended with exit code 7"):
            worker(3)
        assert worker(4) == 16
        with pytest.raises(LateError, match="took more than 2 s"):
            worker(5)
        assert worker(6) == 36
    finally:
        worker.close()


def test_a_worker_says_why_it_cannot_be_made():
    worker = Worker(Refusing(), timeout=20)
    with pytest.raises(ModelError, match="there is no model"):
        worker.ready()
    worker.close()
