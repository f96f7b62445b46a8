"""What was computed of one photo, by key: made once, shared by requests, and bounded in number."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class RemovedError(Exception):
    """The photo was removed while a request waited."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the photo was removed meanwhile")


@dataclass(eq=False)
class _Entry(Generic[Value]):
    job: asyncio.Task[Value]
    users: int = 0


class Predictions(Generic[Key, Value]):
    """A least-recently-used cache whose values are made by jobs. For one event loop."""

    def __init__(self, max_count: int, discard: Callable[[Value], object]) -> None:
        """Create an empty cache.

        Args:
            max_count: How many finished values are kept, besides those in use.
            discard: Called with each value that is dropped.
        """
        self._entries: dict[Key, _Entry[Value]] = {}  # the least recently used first
        self._max_count = max_count
        self._discard = discard

    @contextlib.asynccontextmanager
    async def use(
        self, key: Key, make: Callable[[], Coroutine[Any, Any, Value]]
    ) -> AsyncIterator[Value]:
        """Wait for a value, and keep it from being dropped within the context.

        Args:
            key: Requests with the same key share one job.
            make: Makes the value if there is none. It is cancelled once nobody waits for it.

        Raises:
            RemovedError: If `close` is called meanwhile.
            Exception: As `make`; nothing is kept, so that the next request tries again.
        """
        entry = self._entries.pop(key, None) or _Entry(asyncio.create_task(make()))
        self._entries[key] = entry
        entry.users += 1
        try:
            try:
                value = await asyncio.shield(entry.job)
            except BaseException as error:
                if entry.job.done():
                    self._forget(key, entry)
                task = asyncio.current_task()
                left = task is not None and task.cancelling() > 0
                if isinstance(error, asyncio.CancelledError) and not left:
                    raise RemovedError from None
                raise
            yield value
        finally:
            entry.users -= 1
            if not entry.users and not entry.job.done():
                entry.job.cancel()
                self._forget(key, entry)
            self.drop_old(self._max_count)

    def __contains__(self, key: Key) -> bool:
        """Tell whether a value is there or being made."""
        return key in self._entries

    def find(self, matches: Callable[[Key], bool]) -> Key | None:
        """Return the key of the latest finished value, of those that match."""
        for key, entry in reversed(self._entries.items()):
            if _is_finished(entry) and matches(key):
                return key
        return None

    def drop_old(self, max_count: int) -> None:
        """Drop all finished values but the latest `max_count` and those in use."""
        finished = [item for item in self._entries.items() if _is_finished(item[1])]
        idle = [(key, entry) for key, entry in finished if not entry.users]
        for key, entry in idle[: max(0, len(finished) - max_count)]:
            del self._entries[key]
            self._discard(entry.job.result())

    def close(self) -> None:
        """Cancel all jobs; the values are not discarded, as their folder is deleted."""
        for entry in self._entries.values():
            entry.job.cancel()
        self._entries.clear()

    def _forget(self, key: Key, entry: _Entry[Value]) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]


def _is_finished(entry: _Entry[Any]) -> bool:
    job = entry.job
    return job.done() and not job.cancelled() and job.exception() is None
