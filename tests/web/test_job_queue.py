import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from photochrom.batch.process_pool import WorkerPool
from photochrom.web.job_queue import JobQueue, QueueFullError


class SlowPool:
    """A `WorkerPool` of one worker that doubles numbers and records them; 13 raises an error."""

    processes = 1

    def __init__(self) -> None:
        self.items: list[int] = []
        self._threads = ThreadPoolExecutor(1)

    def submit(self, item: int) -> Future[int]:
        return self._threads.submit(self._double, item)

    def close(self) -> None:
        self._threads.shutdown()

    def _double(self, item: int) -> int:
        time.sleep(0.02)
        self.items.append(item)
        if item == 13:
            raise ValueError("unlucky")
        return item * 2


def test_queue_is_fifo_and_bounded():
    async def run() -> None:
        pool = SlowPool()
        queue = JobQueue(pool, max_waiting=3)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(queue.run(i, owner=f"{i}")) for i in range(4)]
        await asyncio.sleep(0)
        assert [queue.position(f"{i}") for i in range(4)] == [None, 1, 2, 3]
        with pytest.raises(
            QueueFullError, match="too many photos are waiting; try again in"
        ) as full:
            await queue.run(9)
        assert full.value.retry_after >= 1
        admitted = asyncio.create_task(queue.run(5, admitted=True))
        await asyncio.sleep(0)
        tasks[2].cancel()
        results = await asyncio.gather(*tasks, admitted, return_exceptions=True)
        assert [results[i] for i in (0, 1, 3, 4)] == [0, 2, 6, 10]
        assert isinstance(results[2], asyncio.CancelledError)
        assert pool.items == [0, 1, 3, 5]
        queue.close()

    asyncio.run(run())


def test_worker_is_released_after_error_and_cancelled_caller():
    async def run() -> None:
        pool = SlowPool()
        queue = JobQueue(pool, max_waiting=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="unlucky"):
            await queue.run(13)
        cancelled = asyncio.create_task(queue.run(13))
        await asyncio.sleep(0.005)
        cancelled.cancel()
        assert await queue.run(4) == 8
        assert pool.items == [13, 13, 4]
        queue.close()

    asyncio.run(run())


def start_sleeper() -> Callable[[float], float]:
    return sleep


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize(("grace", "seconds"), [(0.3, 60), (None, 2)])
def test_running_job_is_stopped_after_its_caller_left(grace: float | None, seconds: float):
    async def run() -> None:
        pool = WorkerPool(start_sleeper, processes=1)
        pool.wait_until_ready()
        queue = JobQueue(pool, max_waiting=3, grace=grace)
        first = pool._workers[0]._process
        abandoned = asyncio.Event()
        long = asyncio.create_task(queue.run(seconds, on_abandoned=abandoned.set))
        short = asyncio.create_task(queue.run(0.1))
        await asyncio.sleep(0.2)
        start = time.monotonic()
        long.cancel()
        assert await short == 0.1
        assert time.monotonic() - start < 20
        assert abandoned.is_set()
        second = pool._workers[0]._process
        assert (second is first) == (grace is None)
        brief = asyncio.create_task(queue.run(0.1, on_abandoned=abandoned.clear))
        await asyncio.sleep(0.05)
        brief.cancel()  # it ends within its time of grace, and the process is kept
        assert await queue.run(0.3) == 0.3
        assert not abandoned.is_set()
        assert pool._workers[0]._process is second
        queue.close()

    asyncio.run(run())
