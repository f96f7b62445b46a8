"""A bounded first-in, first-out queue of jobs for worker processes."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from photochrom.batch.process_pool import WorkerPool


class FullError(Exception):
    """The queue is full."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many photos are waiting; try again in {seconds} s")
        self.seconds = seconds
        """After which it is worth asking again."""


class Ticket:
    """A place in the queue."""

    def __init__(self) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class JobQueue:
    """Gives jobs to worker processes in the order in which they came. For one event loop."""

    def __init__(self, pool: WorkerPool[Any, Any], places: int) -> None:
        """Open the queue.

        Args:
            pool: Worker processes.
            places: How many jobs may wait, besides those that are being done.
        """
        self._pool = pool
        self._idle = pool.processes
        self._waiting: deque[Ticket] = deque()
        self._places = places
        self._seconds = 1.0  # that an answer takes, of late

    def check(self) -> None:
        """Check that one more job may wait.

        Raises:
            FullError: If not.
        """
        if len(self._waiting) >= self._places:
            answers = math.ceil(len(self._waiting) / self._pool.processes)
            raise FullError(min(60, max(1, math.ceil(answers * self._seconds / 2))))

    def place(self, ticket: Ticket) -> int | None:
        """Return which place a ticket is for, 1 being the next; None: it is not waiting."""
        for place, other in enumerate(self._waiting, 1):
            if other is ticket:
                return place
        return None

    async def ask(
        self,
        question: Any,
        ticket: Ticket | None = None,
        *,
        admitted: bool = False,
        on_abandoned: Callable[[], object] = lambda: None,
    ) -> Any:
        """Wait for a free worker, and then for its answer.

        Args:
            question: What the worker is asked.
            ticket: Identifies the job in `place` while it waits.
            admitted: Whether it may wait even if the queue is full.
            on_abandoned: Called if the caller is cancelled, once no worker is busy with the job.

        Raises:
            FullError: If the queue is full.
            WorkerError: If the worker process crashed or timed out.
        """
        if self._idle:
            self._idle -= 1
        else:
            if not admitted:
                self.check()
            try:
                await self._turn(ticket or Ticket())
            except asyncio.CancelledError:
                on_abandoned()
                raise
        start = time.monotonic()
        answer = asyncio.wrap_future(self._pool.submit(question))

        def done(future: asyncio.Future[Any]) -> None:
            if not future.cancelled():
                future.exception()  # seen, even where who asked is gone
            self._seconds += (time.monotonic() - start - self._seconds) / 8
            self._release()

        answer.add_done_callback(done)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:  # the worker cannot stop
            answer.add_done_callback(lambda _: on_abandoned())
            raise

    async def _turn(self, ticket: Ticket) -> None:
        self._waiting.append(ticket)
        try:
            await ticket.turn
        except asyncio.CancelledError:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            elif ticket.turn.done() and not ticket.turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft().turn
            if not turn.done():
                turn.set_result(None)
                return
        self._idle += 1

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
