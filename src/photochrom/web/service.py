"""The state of the server: models, worker processes, queues, sessions and limits."""

import asyncio
import functools
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerPool
from photochrom.colorize.hints import find_upright_size
from photochrom.cores import count_cores
from photochrom.errors import PhotoError
from photochrom.server.guard import STOP_SLOW_BODIES, client_network, too_large_message
from photochrom.web.hint_renderer import start_hint_renderer
from photochrom.web.job_queue import JobQueue
from photochrom.web.limits import Limits
from photochrom.web.looks import Look
from photochrom.web.models import Models
from photochrom.web.pictures import Pictures
from photochrom.web.renderer import (
    ReadSizes,
    TaskFailure,
    start_renderer,
)
from photochrom.web.responses import ResultResponse, cancel_on_disconnect
from photochrom.web.sessions import PhotoFailedError, Sessions, UploadedPhoto
from photochrom.web.storage import Storage
from photochrom.web.tasks import (
    ColorizePhoto,
    start_colorizer,
)

WARNINGS_HEADER = "Photochrom-Warnings"
"""Of a result: a JSON array of phrases in ASCII, what of the photo could not be kept."""


@dataclass(frozen=True)
class ResultFile:
    """A result on the disk."""

    path: Path
    warnings: tuple[str, ...]
    """What of the photo could not be kept, each a phrase."""


class Service:
    """What the routes work with; for one event loop."""

    def __init__(
        self, paths: Sequence[Path | None], *, device: str, limits: Limits, processes: int | None
    ) -> None:
        """Check the models; `open` starts the processes.

        Args:
            paths: ONNX files, the default first; None: the default model.
            device: As for `Colorizer`.
            limits: Of the server.
            processes: Number of processes that colorize; None: one for each core.

        Raises:
            ModelError: If a model cannot be loaded, or two have the same name.
        """
        self.models = Models(paths, device=device, max_network_pixels=limits.max_network_pixels)
        self.limits = limits
        self._start_colorizer = functools.partial(start_colorizer, tuple(paths), device)
        self._start_hint_renderer = functools.partial(start_hint_renderer, tuple(paths), device)
        self.processes = processes or count_cores()

    async def open(self) -> None:
        """Start the processes and wait for them.

        Raises:
            ModelError: If one cannot load the models on the device.
        """
        timeout, max_waiting = self.limits.timeout, self.limits.max_waiting
        colorizers = WorkerPool(self._start_colorizer, processes=self.processes, timeout=timeout)
        # A rendering is not stopped: that takes longer than to finish, and forgets the photo.
        renderer = WorkerPool(start_renderer, processes=1, timeout=timeout)
        pools: list[WorkerPool[Any, Any]] = [colorizers, renderer]
        max_disk_bytes = self.limits.max_disk_bytes
        self.storage = Storage(max_disk_bytes, min(self.limits.max_bytes, max_disk_bytes))
        self.sessions = Sessions(self.storage.folder)
        self.queue = JobQueue(colorizers, max_waiting)
        # Queues of their own, as sliders do not wait for networks, nor hints for other photos.
        self.rendering_queue = JobQueue(renderer, max_waiting, grace=None)
        self.hint_queue: JobQueue | None = None
        if any(model.takes_hints for model in self.models):
            pools.append(WorkerPool(self._start_hint_renderer, processes=1, timeout=timeout))
            self.hint_queue = JobQueue(pools[-1], max_waiting, grace=None)
        self.pictures = Pictures(
            self.models,
            self.limits,
            queue=self.queue,
            rendering_queue=self.rendering_queue,
            hint_queue=self.hint_queue,
        )
        try:
            for pool in pools:
                await asyncio.to_thread(pool.wait_until_ready)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the processes and delete all photos."""
        self.sessions.close()
        self.queue.close()
        self.rendering_queue.close()
        if self.hint_queue is not None:
            self.hint_queue.close()
        self.storage.close()  # last: a worker may have written a file meanwhile

    async def maintain(self) -> None:
        """Delete idle sessions and measure disk usage periodically, until cancelled."""
        while True:
            self.sessions.remove_idle(self.limits.max_idle)
            await self.storage.measure()
            if 2 * self.storage.used() > self.limits.max_disk_bytes:
                # Photos take precedence over predictions, which can be made again.
                self.sessions.drop_predictions()
            await asyncio.sleep(min(10.0, self.limits.max_idle / 4))

    def reserve(
        self, request: Request, *, copies: int = 1, path: Path | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Return a context in which a request's body may be written.

        Args:
            request: The request.
            copies: How often the body is written.
            path: The file of an upload in a session.

        Raises:
            FileTooLargeError: If it never fits.
            StorageFullError: If it does not fit.
        """
        size = int(request.headers.get("content-length", self.limits.max_bytes))
        owner = self.storage.owner(path) if path else None
        idle = self.sessions.longest_idle(owner)
        wait = 60.0 if idle is None else self.limits.max_idle - idle
        return self.storage.reserve(
            copies * size,
            path=path,
            owner=owner,
            client=client_network(request.client.host if request.client else "unknown"),
            wait=wait,
            stop_slow=request.scope["extensions"][STOP_SLOW_BODIES],
        )

    async def save_upload(self, request: Request, path: Path) -> None:
        """Write a request's body to the file of a photo in a session.

        Raises:
            HTTPException: If the body is too large.
            Exception: As `reserve`.
        """
        size = 0
        async with self.reserve(request, path=path):
            with path.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > self.limits.max_bytes:
                        raise HTTPException(413, too_large_message(self.limits.max_bytes))
                    file.write(part)

    async def check_upload(self, photo: UploadedPhoto, look: Look) -> None:
        """Check a look for a photo of which nothing is known yet; only its headers are read.

        Raises:
            PhotochromError: If the photo cannot be read, or as `Models.check_fit`.
            Exception: As `JobQueue.run`.
        """
        if look.size is None or look.size <= self.models.named(look.model).size:
            return
        task = ReadSizes(photo.path, self.limits.max_pixels)
        sizes: list[tuple[int, int]] | TaskFailure = await self.rendering_queue.run(task)
        if isinstance(sizes, TaskFailure):
            raise PhotoError(photo.with_client_name(sizes.message))
        first, *further = sizes
        upright = [find_upright_size(first, look.hints, look.geometry)]
        upright += [find_upright_size(size, (), look.geometry) for size in further]
        self.models.check_fit(look, upright)

    async def colorize(self, photo: UploadedPhoto, look: Look) -> ResultFile:
        """Colorize a photo and return the output file; the caller removes it.

        Raises:
            PhotochromError: If the photo cannot be colorized, or the size is too large for it.
            QueueFullError: If too many photos are waiting.
            StorageFullError: If the quota of the disk is used up.
            OSError: If the disk is full.
            WorkerError: If the worker process crashed or timed out.
        """
        if photo.info is not None:
            self.models.check_fit(look, photo.info.sizes)
        output = photo.new_output(look)
        job = Job(photo.path, output, hints=look.hints)
        clean = functools.partial(photo.remove_result, output)
        index = self.models.index_of(look.model)
        task = ColorizePhoto(job, index, look.options, self.limits.max_pixels)
        # The size of the result is not known, but similar.
        size = photo.path.stat().st_size if photo.path.exists() else 0
        is_queued = False
        try:
            async with self.storage.reserve(size, path=output, owner=self.storage.owner(output)):
                is_queued = True
                result: list[str] | TaskFailure = await self.queue.run(task, on_abandoned=clean)
        except asyncio.CancelledError:
            if not is_queued:  # otherwise a worker may still be writing, see `on_abandoned`
                clean()
            raise
        except Exception:
            clean()
            raise
        if isinstance(result, TaskFailure):
            clean()
            result.check_disk()
            message = photo.with_client_name(result.message)
            if photo.temporary and result.code == "truncated":
                message += "; send the whole file, or truncated=true for this part"
            raise PhotoFailedError(message.replace(str(output), "the result"), result.code)
        return ResultFile(output, tuple(result))

    async def respond_with_result(
        self, request: Request, photo: UploadedPhoto, look: Look
    ) -> FileResponse:
        """Colorize a photo and return the response; cancelled if the client disconnects.

        Raises:
            HTTPException: If the client disconnected.
            Exception: As `colorize`.
        """
        result = await cancel_on_disconnect(request, self.colorize(photo, look))
        warnings = {WARNINGS_HEADER: json.dumps(result.warnings)} if result.warnings else None
        return ResultResponse(
            result.path,
            filename=photo.output_name(look),
            headers=warnings,
            remove=functools.partial(photo.remove_result, result.path),
        )
