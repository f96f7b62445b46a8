"""The pictures that the page shows: predictions of photos in sessions, and their renderings."""

import asyncio
import contextlib
import functools
import secrets
import shutil
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from photochrom.batch.process_pool import WorkerError, WorkerTimeoutError
from photochrom.colorize.colorizer import network_size
from photochrom.colorize.hints import Hint, hints_to_json, place_hints
from photochrom.colorize.onnx_model import no_hints_error
from photochrom.colorize.suggestions import Suggestion
from photochrom.errors import PhotochromError, PhotoError
from photochrom.imagefile.geometry import Rectangle
from photochrom.web.hint_renderer import LoadModel, SuggestColors
from photochrom.web.job_queue import JobQueue
from photochrom.web.limits import Limits
from photochrom.web.looks import Look
from photochrom.web.models import Models
from photochrom.web.predictions import RemovedError
from photochrom.web.renderer import (
    MAX_REGION,
    PREVIEW_SIZE,
    THUMBNAIL_SIZE,
    Colors,
    RenderOriginal,
    RenderPreview,
    RenderRegion,
    Side,
    Source,
    TaskFailure,
)
from photochrom.web.sessions import (
    HintVersions,
    PhotoFailedError,
    PredictionFiles,
    UploadedPhoto,
)
from photochrom.web.tasks import FindVersions, PhotoInfo, PredictionKey, PredictPhoto

_VERSION_SIZES = (128, 192, 256, 384)
"""Sizes whose results differ clearly."""
_HOLD_SECONDS = 3.0


class Pictures:
    """What the page shows of photos in sessions; for one event loop."""

    def __init__(
        self,
        models: Models,
        limits: Limits,
        *,
        queue: JobQueue,
        rendering_queue: JobQueue,
        hint_queue: JobQueue | None,
    ) -> None:
        """Take what they are made with.

        Args:
            models: Of the server.
            limits: Of the server.
            queue: Runs the tasks of `tasks`.
            rendering_queue: Runs those of `renderer`.
            hint_queue: Runs those with hints, and of `hint_renderer`; None: no model takes any.
        """
        self._models = models
        self._limits = limits
        self._queue = queue
        self._rendering_queue = rendering_queue
        self._hint_queue = hint_queue
        self._loaded: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def prepare(self, photo: UploadedPhoto) -> None:
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
            photo.error = f"{photo.name} took more than {self._limits.timeout:g} s; try again later"
        except Exception as error:  # noqa: BLE001 (any error is shown on the page)
            photo.status, photo.error_code = "failed", "server"
            photo.error = f"{photo.name} could not be colorized: {error}"

    async def versions(self, photo: UploadedPhoto, look: Look) -> list[dict[str, Any]]:
        """Return changes of a look whose results differ: of its hints, or of its size.

        Raises:
            HTTPException: If the photo is not ready.
            PhotochromError: If the crop reaches out of the photo.
            QueueFullError: If too many photos are waiting.
            Exception: As `_prediction`.
        """
        _check_ready(photo)
        if self._models.named(look.model).takes_hints:
            return await self._hint_versions(photo, look)
        return self._size_versions(photo, look)

    async def _hint_versions(self, photo: UploadedPhoto, look: Look) -> list[dict[str, Any]]:
        """Return the look's hints, and others; if they are a version, those that it is one of."""
        assert photo.info is not None
        key = self._key(look)
        versions = photo.find_versions(key, look.hints)
        if versions is None:
            async with self._prediction(photo, look) as files:
                versions = await self._find_versions(photo, key, look.hints, files.folder)
            photo.add_versions(versions)
        return [{"hints": hints_to_json(hints)} for hints in versions.hints]

    async def _find_versions(
        self, photo: UploadedPhoto, key: PredictionKey, hints: tuple[Hint, ...], folder: Path
    ) -> HintVersions:
        assert photo.info is not None
        output = folder / secrets.token_hex(8)
        clean = functools.partial(shutil.rmtree, output, ignore_errors=True)
        task = FindVersions(folder, key, hints, photo.info.sizes[0], output)
        try:
            found: list[tuple[Hint, ...]] = await self._run(
                photo, task, self._queue, on_abandoned=clean
            )
        except Exception:
            clean()
            raise
        return HintVersions(key, tuple(found), output)

    def _size_versions(self, photo: UploadedPhoto, look: Look) -> list[dict[str, Any]]:
        """Return sizes, and predict those that are missing.

        One job predicts all of them; `render_preview` then shares it. It is stopped if nobody asks
        for them.
        """
        assert photo.info is not None
        results = [look.geometry.size(*size) for size in photo.info.sizes]
        largest = self._models.max_size(look.model, results)
        width, height = results[0]
        possible = [size for size in _VERSION_SIZES if size <= largest]
        sizes = {network_size(height, width, size): size for size in possible}
        keys = [self._key(look.model_copy(update={"size": size})) for size in sizes.values()]
        missing = [key for key in keys if key not in photo.predictions]
        if missing:
            self._queue.check_not_full()
            job = asyncio.create_task(self._predict(photo, missing, admitted=False))
            waiting = set(missing)

            async def wait_for(key: PredictionKey) -> PredictionFiles:
                try:
                    return (await asyncio.shield(job))[key]
                except asyncio.CancelledError:
                    job.add_done_callback(functools.partial(_remove_prediction, key))
                    raise
                finally:
                    waiting.discard(key)
                    if not waiting:
                        job.cancel()

            for key in missing:
                self._start(_hold(photo, key, functools.partial(wait_for, key)))
        own = self._models.named(look.model).size
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
            self._models.check_fit(look, photo.info.sizes)
        return self._use(photo, self._key(look), admitted=admitted)

    def _use(
        self, photo: UploadedPhoto, key: PredictionKey, *, admitted: bool = False
    ) -> AbstractAsyncContextManager[PredictionFiles]:
        async def predict() -> PredictionFiles:
            return (await self._predict(photo, [key], admitted))[key]

        return photo.predictions.use(key, predict)

    def _key(self, look: Look) -> PredictionKey:
        index = self._models.index_of(look.model)
        size = look.size or self._models[index].size
        return PredictionKey(index, size, look.geometry, look.truncated)

    async def _predict(
        self, photo: UploadedPhoto, keys: Sequence[PredictionKey], admitted: bool
    ) -> dict[PredictionKey, PredictionFiles]:
        folders = {key: photo.folder / secrets.token_hex(8) for key in keys}
        output = Path(photo.output_name(Look()))
        task = PredictPhoto(photo.path, output, folders, self._limits.max_pixels, photo.info)

        def clean() -> None:
            for folder in folders.values():
                shutil.rmtree(folder, ignore_errors=True)

        try:
            result: PhotoInfo | TaskFailure = await self._queue.run(
                task, owner=photo, admitted=admitted, on_abandoned=clean
            )
        except Exception:
            clean()
            raise
        if isinstance(result, TaskFailure):
            clean()
            result.check_disk()
            raise PhotoFailedError(photo.with_client_name(result.message), result.code)
        self._load_model(keys[0].model)
        return {key: PredictionFiles(folder, result) for key, folder in folders.items()}

    def _load_model(self, index: int) -> None:
        """Let the process that follows hints load a model, so that the first hint is as fast."""
        if self._hint_queue is None or index in self._loaded or not self._models[index].takes_hints:
            return
        self._loaded.add(index)
        self._start(_load(self._hint_queue, index))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def render_preview(self, photo: UploadedPhoto, look: Look, max_size: int) -> bytes:
        """Return a preview in colour, encoded; predict first if there is no prediction.

        Raises:
            HTTPException: If the photo is not ready.
            Exception: As `_prediction`.
        """
        _check_ready(photo)
        async with self._prediction(photo, look) as files:
            colors = self._version_colors(photo, look, max_size)
            colors = colors or self._colors(photo, look, files)
            task = RenderPreview(colors, "after", look.saturation, look.strength, max_size)
            return await self._render(photo, task, colors)

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
            colors = Colors(files.folder)
            return await self._render(photo, RenderPreview(colors, "before", 1, 1, max_size))

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
            colors = self._colors(photo, look, files)
            task = RenderRegion(source, colors, *options, region, max_size)
            return await self._render(photo, task, colors)

    async def suggest_colors(
        self, photo: UploadedPhoto, look: Look, x: int, y: int
    ) -> list[Suggestion]:
        """Return colours for a place; the first is that of the picture without a hint there.

        Args:
            photo: The photo.
            look: A look; its model takes hints.
            x: Column in px of the upright photo.
            y: Row in px of the upright photo.

        Raises:
            HTTPException: If the photo is not ready.
            PhotochromError: If the place is not in the picture, or the model takes no hints.
            Exception: As `_prediction`.
        """
        _check_ready(photo)
        assert photo.info is not None
        if not self._models.named(look.model).takes_hints:
            raise no_hints_error(look.model)
        width, height = photo.info.sizes[0]
        if not (0 <= x < width and 0 <= y < height):
            raise PhotochromError(
                f"the place {x},{y} lies outside the photo of {width}x{height} pixels; x has to be "
                f"from 0 to {width - 1}, y from 0 to {height - 1}"
            )
        place = look.geometry.place(x, y, width, height)
        if place is None:
            raise PhotochromError(
                f"the place {x},{y} lies in a part of the photo that is cropped away; choose one "
                "inside of the crop"
            )
        others = tuple(hint for hint in look.hints if (hint.x, hint.y) != (x, y))
        w, h = look.geometry.size(width, height)
        async with self._prediction(photo, look) as files:
            colors = self._colors(photo, look.model_copy(update={"hints": others}), files)
            task = SuggestColors(colors, place[0] / w, place[1] / h)
            assert self._hint_queue is not None
            suggestions: list[Suggestion] = await self._run(photo, task, self._hint_queue)
            return suggestions

    def _version_colors(self, photo: UploadedPhoto, look: Look, max_size: int) -> Colors | None:
        """Return the colours of a thumbnail that are there already, as it is one of a version."""
        versions = photo.find_versions(self._key(look), look.hints) if look.hints else None
        if versions is None or max_size > THUMBNAIL_SIZE:
            return None
        folder = versions.folder / str(versions.hints.index(look.hints))
        return Colors(folder) if folder.exists() else None

    def _colors(self, photo: UploadedPhoto, look: Look, files: PredictionFiles) -> Colors:
        assert photo.info is not None
        placed = place_hints(look.hints, photo.info.sizes[0], look.geometry)
        return Colors(files.folder, self._models.index_of(look.model), placed)

    def _source(self, photo: UploadedPhoto, look: Look) -> Source:
        return Source(photo.path, look.geometry, look.truncated, self._limits.max_pixels)

    async def _render(self, photo: UploadedPhoto, task: Any, colors: Colors | None = None) -> bytes:
        queue = self._rendering_queue
        if colors is not None and colors.hints:
            assert self._hint_queue is not None  # as `Models.check_look`
            queue = self._hint_queue
        picture: bytes = await self._run(photo, task, queue)
        return picture

    async def _run(self, photo: UploadedPhoto, task: Any, queue: JobQueue, **options: Any) -> Any:
        result = await queue.run(task, **options)
        if not isinstance(result, TaskFailure):
            return result
        result.check_disk()
        if not photo.folder.exists():
            raise RemovedError
        raise PhotoError(photo.with_client_name(result.message))


def _has_same_original(look: Look) -> Callable[[PredictionKey], bool]:
    geometry = look.geometry
    return lambda key: key.geometry == geometry and key.truncated == look.truncated


def _remove_prediction(
    key: PredictionKey, job: asyncio.Task[dict[PredictionKey, PredictionFiles]]
) -> None:
    """Delete what a job made for a key that nobody waits for."""
    if not job.cancelled() and job.exception() is None:
        job.result()[key].remove()


async def _hold(
    photo: UploadedPhoto,
    key: PredictionKey,
    make: Callable[[], Coroutine[Any, Any, PredictionFiles]],
) -> None:
    """Start a prediction, and keep it from being stopped until requests for it can arrive."""
    with contextlib.suppress(Exception):  # those requests get it as well
        async with asyncio.timeout(_HOLD_SECONDS), photo.predictions.use(key, make):
            pass


async def _load(queue: JobQueue, model: int) -> None:
    with contextlib.suppress(WorkerError):  # the first hint tries again
        await queue.run(LoadModel(model), admitted=True)


def _check_ready(photo: UploadedPhoto) -> None:
    if photo.status != "ready":
        raise HTTPException(409, f"{photo.name} is not ready")
