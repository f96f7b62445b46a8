import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from photochrom.web.job_queue import FullError, JobQueue, Ticket


class SlowPool:
    """Stands for a `WorkerPool` of one worker, and records its items."""

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


def test_a_line_is_first_come_first_served_and_has_an_end():
    async def run() -> None:
        pool = SlowPool()
        line = JobQueue(pool, places=3)  # type: ignore[arg-type]
        tickets = [Ticket() for _ in range(4)]
        tasks = [asyncio.create_task(line.ask(i, ticket)) for i, ticket in enumerate(tickets)]
        await asyncio.sleep(0)
        assert [line.place(ticket) for ticket in tickets] == [None, 1, 2, 3]
        with pytest.raises(FullError, match="too many photos are waiting; try again in") as full:
            await line.ask(9)
        assert full.value.seconds >= 1
        admitted = asyncio.create_task(line.ask(5, admitted=True))
        await asyncio.sleep(0)
        tasks[2].cancel()
        results = await asyncio.gather(*tasks, admitted, return_exceptions=True)
        assert [results[i] for i in (0, 1, 3, 4)] == [0, 2, 6, 10]
        assert isinstance(results[2], asyncio.CancelledError)
        assert pool.items == [0, 1, 3, 5]
        line.close()

    asyncio.run(run())


def test_a_worker_goes_on_after_an_error_and_after_who_asked_is_gone():
    async def run() -> None:
        pool = SlowPool()
        line = JobQueue(pool, places=3)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="unlucky"):
            await line.ask(13)
        gone = asyncio.create_task(line.ask(13))
        await asyncio.sleep(0.005)
        gone.cancel()
        assert await line.ask(4) == 8
        assert pool.items == [13, 13, 4]
        line.close()

    asyncio.run(run())
