"""The state of the server: models, worker processes, queues, sessions and limits."""

import asyncio
import contextlib
import functools
import json
import math
import secrets
import shutil
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from photochrom.batch.process_pool import WorkerPool, WorkerTimeoutError
from photochrom.colorize.colorizer import MAX_ASPECT_RATIO, network_size
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.colorize.options import MAX_SIZE, MIN_SIDE
from photochrom.cores import count_cores
from photochrom.errors import ModelError, PhotochromError, PhotoError
from photochrom.imagefile.geometry import Rectangle
from photochrom.server.guard import STOP_SLOW_BODIES, client_network, too_large_message
from photochrom.web.job_queue import JobQueue
from photochrom.web.looks import Look
from photochrom.web.predictions import RemovedError
from photochrom.web.renderer import (
    MAX_REGION,
    PREVIEW_SIZE,
    ReadSizes,
    RenderOriginal,
    RenderPreview,
    RenderRegion,
    Side,
    Source,
    TaskFailure,
    start_renderer,
)
from photochrom.web.sessions import PredictionFiles, Sessions, UploadedPhoto
from photochrom.web.storage import Storage
from photochrom.web.tasks import (
    ColorizePhoto,
    PhotoInfo,
    PredictionKey,
    PredictPhoto,
    start_colorizer,
)

WARNINGS_HEADER = "Photochrom-Warnings"
"""Of a result: a JSON array of phrases in ASCII, what of the photo could not be kept."""
_VERSIONS = (128, 192, 256, 384)
"""Sizes whose results differ clearly."""
_HOLD_SECONDS = 3.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class ResultFile:
    """A result on the disk."""

    path: Path
    warnings: tuple[str, ...]
    """What of the photo could not be kept, each a phrase."""


@dataclass(frozen=True)
class Limits:
    """The limits of a server."""

    max_bytes: int = 200_000_000
    """Of one upload."""
    max_pixels: int = 100_000_000
    """Of one photo."""
    max_waiting: int = 64
    """Photos that wait for a worker process."""
    timeout: float = 120
    """Seconds for one photo."""
    max_network_pixels: int = 300_000
    """Of the network's input, if a client asks for more than the model's own size: each takes 1 kB
    of memory. docs/web.md has the measurement."""
    max_photos: int = 500
    """In one session."""
    max_disk_bytes: int = 8_000_000_000
    """Of all sessions."""
    max_idle: float = 3600
    """Seconds after which an unused session is deleted."""


@dataclass(frozen=True)
class Model:
    """A model that clients can choose."""

    name: str
    note: str
    """The training data, from the model file; may be empty."""
    size: int
    """Short side in px of the network's input."""


class Service:
    """What the routes work with; for one event loop."""

    def __init__(
        self, paths: Sequence[Path | None], *, device: str, limits: Limits, processes: int | None
    ) -> None:
        """Check the models; `open` starts the processes.

        Args:
            paths: ONNX files, the default first; None: the bundled model.
            device: As for `Colorizer`.
            limits: Of the server.
            processes: Number of processes that colorize; None: one for each core.

        Raises:
            ModelError: If a model cannot be loaded, or two have the same name.
        """
        self.models: list[Model] = []
        for path in paths:
            model = OnnxModel(path or default_model_path(), device=device, threads=1)
            if model.name in [other.name for other in self.models]:
                raise ModelError(f"two models are called {model.name}; give each model once")
            self.models.append(Model(model.name, model.metadata.get("data", ""), model.size))
        self.limits = limits
        self._start_colorizer = functools.partial(start_colorizer, tuple(paths), device)
        self.processes = processes or count_cores()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the processes and wait for them.

        Raises:
            ModelError: If one cannot load the models on the device.
        """
        timeout, max_waiting = self.limits.timeout, self.limits.max_waiting
        colorizers = WorkerPool(self._start_colorizer, processes=self.processes, timeout=timeout)
        # A rendering is not stopped: that takes longer than to finish, and forgets the photo.
        renderer = WorkerPool(start_renderer, processes=1, timeout=timeout)
        max_disk_bytes = self.limits.max_disk_bytes
        self.storage = Storage(max_disk_bytes, min(self.limits.max_bytes, max_disk_bytes))
        self.sessions = Sessions(self.storage.folder)
        self.queue = JobQueue(colorizers, max_waiting)
        # One of its own, so that it does not wait for the networks.
        self.rendering_queue = JobQueue(renderer, max_waiting, grace=None)
        try:
            await asyncio.to_thread(colorizers.wait_until_ready)
            await asyncio.to_thread(renderer.wait_until_ready)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the processes and delete all photos."""
        self.sessions.close()
        self.queue.close()
        self.rendering_queue.close()
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

    def model_index(self, name: str | None) -> int:
        """Return the index of a model; that of the default if no name is given.

        Raises:
            ModelError: If there is no such model.
        """
        names = [model.name for model in self.models]
        if not name:
            return 0
        if name not in names:
            raise ModelError(f"there is no model {name[:80]!r}; it has to be {', '.join(names)}")
        return names.index(name)

    def reserve(
        self, request: Request, *, copies: int = 1, path: Path | None = None
    ) -> AbstractAsyncContextManager[None]:
        """Return a context in which a request's body may be written.

        Args:
            request: The request.
            copies: How often the body is written.
            path: The file of an upload in a session.

        Raises:
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
            StorageFullError: If it does not fit.
        """
        size = 0
        async with self.reserve(request, path=path):
            with path.open("wb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > self.limits.max_bytes:
                        raise HTTPException(413, too_large_message(self.limits.max_bytes))
                    file.write(part)

    def check_look(self, look: Look) -> Look:
        """Return a look with the name of its model.

        Raises:
            PhotochromError: If a value is out of range, or there is no such model.
        """
        look.check()
        return look.model_copy(update={"model": self.models[self.model_index(look.model)].name})

    def max_size(self, model: str, sizes: Iterable[tuple[int, int]]) -> int:
        """Return the largest `size` for a photo: its short side, within the limit of memory.

        Args:
            model: The name of a model, whose own size is always allowed.
            sizes: Width and height in px of its pages, which may be turned.
        """
        own = self.models[self.model_index(model)].size
        return max(own, min(self._max_page_size(*size) for size in sizes))

    def _max_page_size(self, width: int, height: int) -> int:
        aspect_ratio = min(MAX_ASPECT_RATIO, max(width, height) / min(width, height))
        in_memory = math.isqrt(int(self.limits.max_network_pixels / aspect_ratio))
        return min(MAX_SIZE, width, height, in_memory)

    def check_fit(self, look: Look, sizes: Sequence[tuple[int, int]]) -> None:
        """Check a look for a photo: its crop, and the size of the network's input (`max_size`).

        Raises:
            PhotochromError: If the crop reaches out of it, or the size is too large.
        """
        results = [look.geometry.size(*size) for size in sizes]
        largest = self.max_size(look.model, results)
        if look.size is not None and look.size > largest:
            width, height = results[0]
            raise PhotochromError(
                f"size is {look.size}; for this photo of {width}x{height} pixels it has to be from "
                f"{MIN_SIDE} to {largest}"
            )

    async def check_upload(self, photo: UploadedPhoto, look: Look) -> None:
        """Check a look for a photo of which nothing is known yet; only its headers are read.

        Raises:
            PhotochromError: If the photo cannot be read, or the size is too large for it.
            Exception: As `JobQueue.run`.
        """
        if look.size is None or look.size <= self.models[self.model_index(look.model)].size:
            return
        task = ReadSizes(photo.path, self.limits.max_pixels)
        sizes: list[tuple[int, int]] | TaskFailure = await self.rendering_queue.run(task)
        if isinstance(sizes, TaskFailure):
            raise PhotoError(photo.with_client_name(sizes.message))
        self.check_fit(look, sizes)

    def start_preparation(self, photo: UploadedPhoto) -> None:
        """Queue the first prediction of a photo in a session."""
        photo.status, photo.error, photo.error_code = "waiting", None, None
        photo.preparation = asyncio.create_task(self._prepare(photo))

    async def _prepare(self, photo: UploadedPhoto) -> None:
        # Whether the crop and size of the saved look fit the photo is not known yet.
        look = Look(model=photo.look.model, truncated=photo.look.truncated)
        try:
            async with self._prediction(photo, look, admitted=True) as files:
                photo.status, photo.info = "ready", files.info
        except PhotochromError as error:
            photo.status, photo.error = "failed", str(error)
            photo.error_code = getattr(error, "code", None)
        except WorkerTimeoutError:
            photo.status, photo.error_code = "failed", "server"
            photo.error = f"{photo.name} took more than {self.limits.timeout:g} s; try again later"
        except Exception as error:  # noqa: BLE001 (any error is shown on the page)
            photo.status, photo.error_code = "failed", "server"
            photo.error = f"{photo.name} could not be colorized: {error}"
        photo.revision += 1

    def versions(self, photo: UploadedPhoto, look: Look) -> list[dict[str, Any]]:
        """Return changes of a look whose results differ, and predict those that are missing.

        One job predicts all of them; `render_preview` then shares it. It is stopped if nobody asks
        for them.

        Raises:
            HTTPException: If the photo is not ready.
            PhotochromError: If the crop reaches out of the photo.
            QueueFullError: If too many photos are waiting.
        """
        _check_ready(photo)
        assert photo.info is not None
        results = [look.geometry.size(*size) for size in photo.info.sizes]
        largest = self.max_size(look.model, results)
        width, height = results[0]
        sizes = {network_size(height, width, size): size for size in _VERSIONS if size <= largest}
        keys = [self._key(look.model_copy(update={"size": size})) for size in sizes.values()]
        missing = [key for key in keys if key not in photo.predictions]
        if missing:
            self.queue.check_not_full()
            job = asyncio.create_task(self._predict(photo, missing, admitted=False))
            waiting = set(missing)

            async def wait_for(key: PredictionKey) -> PredictionFiles:
                try:
                    return (await asyncio.shield(job))[key]
                finally:
                    waiting.discard(key)
                    if not waiting:
                        job.cancel()

            for key in missing:
                task = asyncio.create_task(_hold(photo, key, functools.partial(wait_for, key)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        own = self.models[self.model_index(look.model)].size
        return [{"size": None if size == own else size} for size in sizes.values()]

    def _prediction(
        self, photo: UploadedPhoto, look: Look, *, admitted: bool = False
    ) -> AbstractAsyncContextManager[PredictionFiles]:
        """Return a context with the prediction for a look, which is made if there is none.

        Raises:
            PhotochromError: If the photo cannot be colorized, or the size is too large for it.
            QueueFullError: If too many photos are waiting, and it is not `admitted`.
            RemovedError: If the photo is removed meanwhile.
            WorkerError: If the worker process crashed or timed out.
        """
        if photo.info is not None:
            self.check_fit(look, photo.info.sizes)
        return self._use(photo, self._key(look), admitted=admitted)

    def _use(
        self, photo: UploadedPhoto, key: PredictionKey, *, admitted: bool = False
    ) -> AbstractAsyncContextManager[PredictionFiles]:
        async def predict() -> PredictionFiles:
            return (await self._predict(photo, [key], admitted))[key]

        return photo.predictions.use(key, predict)

    def _key(self, look: Look) -> PredictionKey:
        index = self.model_index(look.model)
        size = look.size or self.models[index].size
        return PredictionKey(index, size, look.geometry, look.truncated)

    async def _predict(
        self, photo: UploadedPhoto, keys: Sequence[PredictionKey], admitted: bool
    ) -> dict[PredictionKey, PredictionFiles]:
        folders = {key: photo.folder / secrets.token_hex(8) for key in keys}
        output = Path(photo.output_name(Look()))
        task = PredictPhoto(photo.path, output, folders, self.limits.max_pixels, photo.info)

        def clean() -> None:
            for folder in folders.values():
                shutil.rmtree(folder, ignore_errors=True)

        try:
            result: PhotoInfo | TaskFailure = await self.queue.run(
                task, owner=photo, admitted=admitted, on_abandoned=clean
            )
        except Exception:
            clean()
            raise
        if isinstance(result, TaskFailure):
            clean()
            raise PhotoFailedError(photo.with_client_name(result.message), result.code)
        return {key: PredictionFiles(folder, result) for key, folder in folders.items()}

    async def render_preview(self, photo: UploadedPhoto, look: Look, max_size: int) -> bytes:
        """Return a preview in colour, encoded; predict first if there is no prediction.

        Raises:
            HTTPException: If the photo is not ready.
            Exception: As `_prediction`.
        """
        _check_ready(photo)
        async with self._prediction(photo, look) as files:
            task = RenderPreview(files.folder, "after", look.saturation, look.strength, max_size)
            return await self._render(photo, task)

    async def render_original(self, photo: UploadedPhoto, look: Look, max_size: int) -> bytes:
        """Return a preview of the original with the geometry of a look, encoded.

        Raises:
            HTTPException: If the photo is not ready.
            PhotochromError: If the crop reaches out of the photo.
            Exception: As `JobQueue.run`.
        """
        _check_ready(photo)
        key = photo.predictions.find(_has_same_original(look))
        if key is None:
            return await self._render(photo, RenderOriginal(self._source(photo, look), max_size))
        async with self._use(photo, key) as files:
            if max_size == PREVIEW_SIZE:
                return (files.folder / "before").read_bytes()
            return await self._render(photo, RenderPreview(files.folder, "before", 1, 1, max_size))

    async def render_region(
        self, photo: UploadedPhoto, look: Look, side: Side, region: Rectangle, max_size: int
    ) -> bytes:
        """Return a rectangle of the result, or of the original, at its own pixels, encoded.

        Raises:
            HTTPException: If the photo is not ready.
            PhotochromError: If the region reaches out of the result, or is too large.
            Exception: As `_prediction`.
        """
        _check_ready(photo)
        assert photo.info is not None
        width, height = look.geometry.size(*photo.info.sizes[0])
        left, top, w, h = region
        if min(left, top) < 0 or not 1 <= w <= width - left or not 1 <= h <= height - top:
            raise PhotochromError(
                f"the region {left},{top},{w},{h} (left, top, width, height) reaches out of the "
                f"result of {width}x{height} pixels; give one inside of it"
            )
        if max(w, h) > MAX_REGION:
            raise PhotochromError(
                f"the region has {w}x{h} pixels; it has to have at most {MAX_REGION}x{MAX_REGION}"
            )
        source = self._source(photo, look)
        if side == "before":
            return await self._render(photo, RenderOriginal(source, max_size, region))
        options = (look.saturation, look.strength)
        async with self._prediction(photo, look) as files:
            task = RenderRegion(source, files.folder, *options, region, max_size)
            return await self._render(photo, task)

    def _source(self, photo: UploadedPhoto, look: Look) -> Source:
        return Source(photo.path, look.geometry, look.truncated, self.limits.max_pixels)

    async def _render(self, photo: UploadedPhoto, task: Any) -> bytes:
        result: bytes | TaskFailure = await self.rendering_queue.run(task)
        if not isinstance(result, TaskFailure):
            return result
        if not photo.folder.exists():
            raise RemovedError
        raise PhotoError(photo.with_client_name(result.message))

    async def colorize(self, photo: UploadedPhoto, look: Look) -> ResultFile:
        """Colorize a photo and return the output file; the caller removes it.

        Raises:
            PhotochromError: If the photo cannot be colorized, or the size is too large for it.
            QueueFullError: If too many photos are waiting.
            StorageFullError: If the disk is full.
            WorkerError: If the worker process crashed or timed out.
        """
        if photo.info is not None:
            self.check_fit(look, photo.info.sizes)
        job = photo.new_job(look)
        clean = functools.partial(photo.remove_result, job.output)
        index = self.model_index(look.model)
        task = ColorizePhoto(job, index, look.options, self.limits.max_pixels)
        # The size of the result is not known, but similar.
        size = photo.path.stat().st_size if photo.path.exists() else 0
        try:
            async with self.storage.reserve(
                size, path=job.output, owner=self.storage.owner(job.output)
            ):
                result: list[str] | TaskFailure = await self.queue.run(task, on_abandoned=clean)
        except Exception:
            clean()
            raise
        if isinstance(result, TaskFailure):
            clean()
            message = photo.with_client_name(result.message)
            if photo.temporary and result.code == "truncated":
                message += "; send the whole file, or truncated=true for this part"
            raise PhotoFailedError(message.replace(str(job.output), "the result"), result.code)
        return ResultFile(job.output, tuple(result))

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


class ResultResponse(FileResponse):
    """Sends a result and deletes it, also if the client leaves meanwhile."""

    def __init__(self, path: Path, *, remove: Callable[[], object], **options: Any) -> None:
        """Take the arguments of `FileResponse`, and what deletes the file."""
        super().__init__(path, **options)
        self._remove = remove

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._remove()


class PhotoFailedError(PhotoError):
    """A photo that cannot be read or colorized."""

    def __init__(self, message: str, code: str | None = None) -> None:
        """Keep the code, as of `TaskFailure`."""
        super().__init__(message)
        self.code = code


def _has_same_original(look: Look) -> Callable[[PredictionKey], bool]:
    geometry = look.geometry
    return lambda key: key.geometry == geometry and key.truncated == look.truncated


async def _hold(
    photo: UploadedPhoto,
    key: PredictionKey,
    make: Callable[[], Coroutine[Any, Any, PredictionFiles]],
) -> None:
    """Start a prediction, and keep it from being stopped until requests for it can arrive."""
    with contextlib.suppress(Exception):  # those requests get it as well
        async with asyncio.timeout(_HOLD_SECONDS), photo.predictions.use(key, make):
            pass


def _check_ready(photo: UploadedPhoto) -> None:
    if photo.status != "ready":
        raise HTTPException(409, f"{photo.name} is not ready")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work, or cancel it when the client disconnects.

    Raises:
        HTTPException: If the client disconnected.
        Exception: As the work.
    """
    task, disconnect = asyncio.create_task(work), asyncio.create_task(_wait_disconnect(request))
    try:
        await asyncio.wait((task, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(499, "the client disconnected")
        return task.result()
    finally:
        task.cancel()
        disconnect.cancel()


async def _wait_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
