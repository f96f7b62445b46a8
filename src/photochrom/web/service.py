"""The server's state: models, worker processes, queues, sessions and limits."""

import asyncio
import functools
import secrets
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerPool, available_cores
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.errors import ModelError, PhotoError
from photochrom.server.guard import too_large_message
from photochrom.web.job_queue import JobQueue, Ticket
from photochrom.web.sessions import Picture, Sessions
from photochrom.web.tasks import Colorizers, Finish, Paint, Prepare, Refused, painter


@dataclass(frozen=True)
class Limits:
    """How much one server takes on."""

    megabytes: float = 200
    """Of one upload."""
    megapixels: float = 100
    """Of one photo."""
    waiting: int = 64
    """Photos that may wait for a process; who comes then is sent away for a while."""
    seconds: float = 120
    """For one photo."""
    photos: int = 500
    """In one session."""
    gigabytes: float = 8
    """On the disk, of all sessions."""
    idle_minutes: float = 60
    """After which an session that nobody looks at is forgotten."""

    @property
    def max_bytes(self) -> int:
        """Of one upload."""
        return int(self.megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Of one photo."""
        return int(self.megapixels * 1e6)


@dataclass(frozen=True)
class Model:
    """A model that the server has, as it is offered."""

    name: str
    note: str
    """What its file says of its data, for people; may be empty."""
    size: int
    """Short side in px at which it sees a photo."""


def described(paths: Sequence[Path | None], device: str) -> list[Model]:
    """Load models once to see that they can be, and say what they are.

    Args:
        paths: ONNX files; None: the model that comes with photochrom.
        device: What they are to run on.

    Raises:
        ModelError: If one cannot be loaded, or two have the same name.
    """
    models: list[Model] = []
    for path in paths:
        model = OnnxModel(path or default_model_path(), device=device, threads=1)
        if model.name in [other.name for other in models]:
            raise ModelError(f"two models are called {model.name}; give each model once")
        models.append(Model(model.name, model.metadata.get("data", ""), model.size))
    return models


class Service:
    """What the routes work with; for one event loop."""

    def __init__(
        self, paths: Sequence[Path | None], *, device: str, limits: Limits, processes: int | None
    ) -> None:
        """See what the models are; `open` starts the rest.

        Args:
            paths: ONNX files; None: the model that comes with photochrom.
            device: As for `Colorizer`.
            limits: Of the server.
            processes: That ask the networks; None: one for each core.

        Raises:
            ModelError: If a model cannot be loaded.
        """
        self.models = described(paths, device)
        self.limits = limits
        self._make = Colorizers(tuple(paths), device)
        self._processes = processes or len(available_cores())

    async def open(self) -> None:
        """Start the processes and wait for them.

        Raises:
            ModelError: If one cannot load the models on the device.
        """
        limits = self.limits
        timeout = limits.seconds
        pool: WorkerPool[Any, Any] = WorkerPool(
            self._make, processes=self._processes, timeout=timeout
        )
        # In a pool of its own, so that a slider never waits for a network.
        rendering_pool: WorkerPool[Any, Any] = WorkerPool(painter, processes=1, timeout=timeout)
        self.sessions = Sessions()
        self.queue = JobQueue(pool, limits.waiting)
        self.rendering_queue = JobQueue(rendering_pool, limits.waiting)
        self._room = 0
        try:
            await asyncio.to_thread(pool.wait_until_ready)
            await asyncio.to_thread(rendering_pool.wait_until_ready)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the processes and forget all photos."""
        self.sessions.close()
        self.queue.close()
        self.rendering_queue.close()

    async def maintain(self) -> None:
        """Remove idle sessions and measure disk use, again and again, until cancelled."""
        while True:
            self.sessions.remove_idle(self.limits.idle_minutes * 60)
            self._room = await asyncio.to_thread(self.sessions.bytes)
            await asyncio.sleep(min(10.0, self.limits.idle_minutes * 15))

    def model(self, name: str | None) -> int:
        """Return the number of a model.

        Raises:
            ModelError: If there is none of that name.
        """
        names = [model.name for model in self.models]
        if not name:
            return 0
        if name not in names:
            raise ModelError(f"there is no model {name[:80]!r}; it has to be {', '.join(names)}")
        return names.index(name)

    async def save(self, request: Request, path: Path) -> None:
        """Write a request's body to a file.

        Raises:
            HTTPException: If it is too large, or all sessions together are.
        """
        if self._room > self.limits.gigabytes * 1e9:
            raise HTTPException(507, "this server is full of photos; try again in an hour")
        size = 0
        with path.open("wb") as file:
            async for part in request.stream():
                size += len(part)
                if size > self.limits.max_bytes:
                    raise HTTPException(413, too_large_message(self.limits.max_bytes))
                file.write(part)
        self._room += size

    def begin(self, picture: Picture) -> None:
        """Have a photo of an session colorized, as soon as it is its turn."""
        if picture.work is not None:
            picture.work.cancel()
        picture.status, picture.error = "waiting", None
        picture.ticket = Ticket()
        picture.work = asyncio.create_task(self._prepare(picture))

    async def _prepare(self, picture: Picture) -> None:
        # A folder for each attempt: one that was given up may still be written to.
        place = picture.folder / secrets.token_hex(8)
        clean = functools.partial(shutil.rmtree, place, ignore_errors=True)
        size, most = picture.look["size"], self.limits.max_pixels
        task = Prepare(picture.file, place, picture.model, size, most)
        try:
            answer = await self.queue.ask(task, picture.ticket, admitted=True, on_abandoned=clean)
        except Exception as error:  # noqa: BLE001 (whatever it is, its owner has to hear of it)
            answer = Refused(f"{picture.name} was given up: {error}")
        if isinstance(answer, Refused):
            picture.status, picture.error = "failed", picture.said(answer.sentence)
        else:
            if picture.shown is not None:
                shutil.rmtree(picture.shown, ignore_errors=True)
            picture.status, picture.facts, picture.shown = "ready", answer, place
        picture.revision += 1

    async def paint(
        self, picture: Picture, saturation: float, strength: float, longest: int
    ) -> bytes:
        """Return what the page shows of a photo with other colours.

        Args:
            picture: The photo.
            saturation: As for `Colorizer`.
            strength: As for `Colorizer`.
            longest: Long side in px, at most.

        Raises:
            HTTPException: If it is not ready, or not any more.
        """
        if picture.shown is None:
            raise HTTPException(409, f"{picture.name} is not ready")
        task = Paint(picture.shown, saturation, strength, longest)
        answer: bytes | Refused = await self.rendering_queue.ask(task)
        if isinstance(answer, Refused):
            removed = not picture.folder.exists()
            raise HTTPException(404 if removed else 409, picture.said(answer.sentence))
        return answer

    async def finish(self, picture: Picture, job: Job, *, clean: Callable[[], object]) -> None:
        """Colorize a photo into a file.

        Args:
            picture: The photo.
            job: From `Picture.job`.
            clean: Called if there is no result, or nobody who waits for it, once no process is at
                it any more.

        Raises:
            PhotoError: If it cannot be colorized.
            FullError: If too many are waiting.
            WorkerError: If the worker process crashed or timed out.
        """
        task = Finish(job, picture.model, picture.look, self.limits.max_pixels)
        try:
            answer = await self.queue.ask(task, on_abandoned=clean)
        except Exception:
            clean()
            raise
        if isinstance(answer, Refused):
            clean()
            said = picture.said(answer.sentence)
            raise PhotoError(said.replace(str(job.output), "the result"))

    async def deliver(
        self, request: Request, picture: Picture, job: Job, *, clean: Callable[[], object]
    ) -> FileResponse:
        """Answer with a photo in colour, unless the client goes first.

        Args:
            request: To which this is the answer.
            picture: The photo.
            job: From `Picture.job`.
            clean: Called once the file has been sent, or as in `finish`.

        Raises:
            HTTPException: If the client went first; nobody reads it.
            Exception: What `finish` raises.
        """
        await _unless_gone(request, self.finish(picture, job, clean=clean))
        return FileResponse(job.output, filename=picture.output, background=BackgroundTask(clean))


async def _unless_gone(request: Request, doing: Coroutine[Any, Any, None]) -> None:
    """Do something, but no longer than the client waits for it."""
    work, gone = asyncio.create_task(doing), asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise HTTPException(499, "the client is gone")
        work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
