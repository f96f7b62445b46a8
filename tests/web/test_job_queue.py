import asyncio
import time

import pytest

from photochrom.web.job_queue import FullError, JobQueue, Ticket


class Slow:
    """A worker that takes its time, and tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, question: int) -> int:
        time.sleep(0.02)
        self.asked.append(question)
        if question == 13:
            raise ValueError("unlucky")
        return question * 2

    def close(self) -> None:
        pass


def test_a_line_is_first_come_first_served_and_has_an_end():
    async def run() -> None:
        worker = Slow()
        line = JobQueue([worker], places=3)  # type: ignore[list-item]
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
        assert worker.asked == [0, 1, 3, 5]
        line.close()

    asyncio.run(run())


def test_a_worker_goes_on_after_an_error_and_after_who_asked_is_gone():
    async def run() -> None:
        worker = Slow()
        line = JobQueue([worker], places=3)  # type: ignore[list-item]
        with pytest.raises(ValueError, match="unlucky"):
            await line.ask(13)
        gone = asyncio.create_task(line.ask(13))
        await asyncio.sleep(0.005)
        gone.cancel()
        assert await line.ask(4) == 8
        assert worker.asked == [13, 13, 4]
        line.close()

    asyncio.run(run())
