"""A bounded FIFO queue in front of a worker pool."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from photochrom.batch.process_pool import WorkerPool


class QueueFullError(Exception):
    """No more jobs may wait."""

    status = 503

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many photos are waiting; try again in {retry_after} s")
        self.retry_after = retry_after
        """Seconds after which the client should try again."""


@dataclass(eq=False)
class _Place:
    """A job that waits."""

    owner: object


class JobQueue:
    """Runs jobs on a worker pool in the order of arrival. For one event loop."""

    def __init__(
        self, pool: WorkerPool[Any, Any], max_waiting: int, *, grace: float | None = 1.0
    ) -> None:
        """Open the queue.

        Args:
            pool: Closed with the queue.
            max_waiting: How many jobs may wait, besides those that run.
            grace: Seconds that a job goes on whose caller is cancelled, before it is stopped: a
                new process costs about as much. None: it is never stopped.
        """
        self._grace = grace
        self._pool = pool
        self._idle_workers = asyncio.Semaphore(pool.processes)
        self._waiting: list[_Place] = []
        self._max_waiting = max_waiting
        self._mean_duration = 1.0  # seconds, moving average

    def check_not_full(self) -> None:
        """Check that one more job may wait.

        Raises:
            QueueFullError: If not.
        """
        if len(self._waiting) >= self._max_waiting:
            rounds = math.ceil(len(self._waiting) / self._pool.processes)
            raise QueueFullError(min(60, max(1, math.ceil(rounds * self._mean_duration / 2))))

    def position(self, owner: object) -> int | None:
        """Return the position of an owner's first job that waits, from 1; None: none waits."""
        owners = [place.owner for place in self._waiting]
        return owners.index(owner) + 1 if owner in owners else None

    async def run(
        self,
        job: Any,
        *,
        owner: object = None,
        admitted: bool = False,
        on_abandoned: Callable[[], object] = lambda: None,
    ) -> Any:
        """Wait for an idle worker, run a job on it and return the result.

        Args:
            job: Passed to the worker.
            owner: For `position`.
            admitted: Whether it may wait even if the queue is full.
            on_abandoned: Called if the caller is cancelled, once no worker runs the job.

        Raises:
            QueueFullError: If the queue is full.
            WorkerError: If the worker process crashed or timed out.
        """
        if self._idle_workers.locked() and not admitted:
            self.check_not_full()
        place = _Place(owner)
        self._waiting.append(place)
        try:
            await self._idle_workers.acquire()
        except asyncio.CancelledError:
            on_abandoned()
            raise
        finally:
            self._waiting.remove(place)
        start = time.monotonic()
        future = self._pool.submit(job)
        result = asyncio.wrap_future(future)

        def on_done(future: asyncio.Future[Any]) -> None:
            if not future.cancelled():
                future.exception()  # marks it as retrieved, in case the caller was cancelled
            self._mean_duration += (time.monotonic() - start - self._mean_duration) / 8
            self._idle_workers.release()

        result.add_done_callback(on_done)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            result.add_done_callback(lambda _: on_abandoned())
            if self._grace is not None:
                loop = asyncio.get_running_loop()
                stop = loop.call_later(self._grace, self._pool.stop, future)
                result.add_done_callback(lambda _: stop.cancel())
            raise

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
