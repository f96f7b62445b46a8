"""Several results in one zip file, streamed while they are made."""

import asyncio
import contextlib
import io
import secrets
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from photochrom.batch.process_pool import WorkerError
from photochrom.colorize.hints import FILE_SUFFIX, format_hints
from photochrom.errors import PhotochromError
from photochrom.file_names import safe_name
from photochrom.web.job_queue import QueueFullError
from photochrom.web.looks import Look
from photochrom.web.predictions import RemovedError
from photochrom.web.service import ResultFile, Service
from photochrom.web.sessions import Session, UploadedPhoto

MISSING = "NOT COLORIZED.txt"
"""The file in the zip that says which photos are missing, and why."""
_PHOTO_ERRORS = (PhotochromError, WorkerError, OSError, RemovedError)
_CHUNK_SIZE = 1 << 20
_MAX_ARCHIVES = 4
"""Of a session, besides those that are being made."""


class Archives:
    """The archives of each session, as long as it exists."""

    def __init__(self) -> None:
        """Start without any."""
        self._archives: WeakKeyDictionary[Session, dict[str, Archive]] = WeakKeyDictionary()

    def add(self, session: Session, archive: "Archive") -> None:
        """Keep an archive, and forget old ones that are not being made."""
        archives = self._archives.setdefault(session, {})
        archives[archive.id] = archive
        for old in list(archives.values())[:-_MAX_ARCHIVES]:
            if not old.is_active:
                del archives[old.id]

    def find(self, session: Session, id: str) -> "Archive | None":
        """Return an archive of a session."""
        return self._archives.get(session, {}).get(id)


class Archive:
    """A zip of results. They are made in their order, one or two ahead of what is sent."""

    def __init__(self, items: Sequence[tuple[UploadedPhoto, Look]]) -> None:
        """Plan the archive; `stream` makes it.

        Args:
            items: Photos with their looks, checked.
        """
        self.id = secrets.token_hex(8)
        self.is_started = False
        self._items = items
        self._jobs: dict[int, asyncio.Task[ResultFile]] = {}
        self._done = 0
        self._name: str | None = None
        self._failed: list[str] = []
        self._is_finished = self._is_stopped = False

    @property
    def is_active(self) -> bool:
        """Whether it is being made."""
        return self.is_started and not self._is_finished

    def status(self) -> dict[str, Any]:
        """Return the progress, for JSON."""
        return {
            "total": len(self._items),
            "done": self._done,
            "name": self._name,
            "failed": self._failed,
            "finished": self._is_finished,
            "stopped": self._is_stopped,
        }

    def stop(self) -> None:
        """Stop the work; the zip ends with the results so far, and says which are missing."""
        if not self._is_finished:
            self._is_stopped = True
            for job in self._jobs.values():
                job.cancel()

    async def stream(self, service: Service) -> AsyncIterator[bytes]:
        """Make the results, and yield the parts of the zip; the work ends with the generator."""
        self.is_started = True
        buffer = _Buffer()
        names: set[str] = set()
        missing: list[str] = []
        try:
            with zipfile.ZipFile(buffer, "w") as archive:  # stored: photos are compressed already
                for index, (photo, look) in enumerate(self._items):
                    self._start_jobs(service, index)
                    self._name = photo.output_name(look)
                    with contextlib.ExitStack() as stack:
                        try:
                            result = await self._wait(index)
                            if result is None:
                                missing.append(f"{photo.name}: the download was stopped\r\n")
                                continue
                            stack.callback(photo.remove_result, result.path)
                            file = stack.enter_context(result.path.open("rb"))
                            name = unique_name(safe_name(self._name), names)
                            entry = zipfile.ZipInfo.from_file(result.path, name)
                        except _PHOTO_ERRORS as error:
                            removed = isinstance(error, FileNotFoundError)
                            reason = "it was removed meanwhile" if removed else error
                            missing.append(f"{photo.name}: {reason}\r\n")
                            self._failed.append(photo.name)
                        else:
                            entry.external_attr = 0o644 << 16
                            with archive.open(entry, "w") as target:
                                while chunk := file.read(_CHUNK_SIZE):
                                    target.write(chunk)
                                    yield buffer.take()
                            if look.hints:
                                # Under the name of the upload, with which it can be dropped again.
                                name = unique_name(safe_name(photo.name + FILE_SUFFIX), names)
                                archive.writestr(name, format_hints(look.hints))
                    self._done += 1
                    yield buffer.take()
                if missing:
                    archive.writestr(MISSING, "".join(missing))
            self._is_finished = True
            yield buffer.take()
        finally:
            self._is_stopped |= not self._is_finished  # the client left
            self._is_finished, self._name = True, None
            for index in list(self._jobs):
                self._discard(index)

    def _start_jobs(self, service: Service, index: int) -> None:
        """Start the jobs from an item on: one for each process, so that none is idle."""
        if not self._is_stopped:
            for ahead, (photo, look) in enumerate(self._items[index : index + service.processes]):
                if index + ahead not in self._jobs:
                    job = asyncio.create_task(_colorize_when_free(service, photo, look))
                    self._jobs[index + ahead] = job

    async def _wait(self, index: int) -> ResultFile | None:
        """Return the result of an item, None if the archive is stopped."""
        if self._is_stopped:
            return None
        try:
            result = await self._jobs[index]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the client left
                raise
            return None
        del self._jobs[index]
        return result

    def _discard(self, index: int) -> None:
        """Cancel a job, and delete its result if it has one."""
        photo = self._items[index][0]

        def remove(job: asyncio.Task[ResultFile]) -> None:
            if not job.cancelled() and job.exception() is None:
                photo.remove_result(job.result().path)

        job = self._jobs.pop(index)
        job.cancel()
        job.add_done_callback(remove)


async def _colorize_when_free(service: Service, photo: UploadedPhoto, look: Look) -> ResultFile:
    if photo.status != "ready":
        raise PhotochromError("it is not ready")
    while True:
        try:
            return await service.colorize(photo, look)
        except QueueFullError as error:
            await asyncio.sleep(error.retry_after)


def unique_name(name: str, names: set[str]) -> str:
    """Return a name that differs from `names`, also for systems that ignore case, and add it."""
    path, number = Path(name), 1
    while name.casefold() in names:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    names.add(name.casefold())
    return name


class _Buffer(io.RawIOBase):
    """A write-only file; `take` returns and clears what was written."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: Any, /) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
