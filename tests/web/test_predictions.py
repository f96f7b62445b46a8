import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from photochrom.web.predictions import Predictions, RemovedError


class Jobs:
    """Makes 10 times a number once `released` is set, and counts; 13 raises an error."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.finished: list[int] = []
        self.discarded: list[int] = []
        self.released = asyncio.Event()
        self.released.set()
        self.cache: Predictions[int, int] = Predictions(2, self.discarded.append)

    def make(self, key: int) -> Callable[[], Coroutine[Any, Any, int]]:
        async def work() -> int:
            self.started.append(key)
            await self.released.wait()
            if key == 13:
                raise ValueError("unlucky")
            self.finished.append(key)
            return 10 * key

        return work

    async def get(self, key: int, until: asyncio.Event | None = None) -> int:
        """Use a value until an event."""
        async with self.cache.use(key, self.make(key)) as value:
            if until is not None:
                await until.wait()
            return value


async def run_others() -> None:
    """Let other tasks go on until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_requests_share_a_job_and_old_values_are_dropped():
    async def run() -> None:
        jobs = Jobs()
        assert await asyncio.gather(*(jobs.get(1) for _ in range(5))) == [10] * 5
        await jobs.get(2)
        await jobs.get(1)
        ended = asyncio.Event()
        in_use = asyncio.create_task(jobs.get(1, ended))
        await run_others()
        await jobs.get(3)
        await jobs.get(4)
        assert jobs.started == [1, 2, 3, 4]
        assert jobs.discarded == [20, 30]
        ended.set()
        assert await in_use == 10
        assert jobs.cache.find(lambda key: key < 4) == 1
        assert jobs.cache.find(lambda key: key == 3) is None
        jobs.cache.drop_old(1)
        assert jobs.discarded == [20, 30, 10]

    asyncio.run(run())


def test_job_ends_with_the_last_that_waits():
    async def run() -> None:
        jobs = Jobs()
        jobs.released.clear()
        first, second, last = (asyncio.create_task(jobs.get(key)) for key in (1, 1, 2))
        await run_others()
        first.cancel()
        last.cancel()
        await run_others()
        jobs.released.set()
        assert await second == 10
        with pytest.raises(asyncio.CancelledError):
            await last
        assert (jobs.started, jobs.finished) == ([1, 2], [1])
        assert await jobs.get(2) == 20

    asyncio.run(run())


def test_errors_reach_all_and_are_not_kept():
    async def run() -> None:
        jobs = Jobs()
        errors = await asyncio.gather(jobs.get(13), jobs.get(13), return_exceptions=True)
        assert [str(error) for error in errors] == ["unlucky"] * 2
        with pytest.raises(ValueError, match="unlucky"):
            await jobs.get(13)
        assert jobs.started == [13, 13]

    asyncio.run(run())


def test_requests_for_a_removed_photo_end():
    async def run() -> None:
        jobs = Jobs()
        jobs.released.clear()
        waiting = asyncio.create_task(jobs.get(1))
        await run_others()
        jobs.cache.close()
        with pytest.raises(RemovedError):
            await waiting
        assert jobs.finished == []

    asyncio.run(run())
