"""The FastAPI application of `photochrom web`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from photochrom.batch.process_pool import WorkerError, WorkerTimeoutError
from photochrom.errors import PhotochromError, error_code
from photochrom.server.guard import RequestGuard, add_error_handlers, error_response
from photochrom.version import __version__
from photochrom.web import api, api_reference, page
from photochrom.web.job_queue import QueueFullError
from photochrom.web.limits import Limits
from photochrom.web.predictions import RemovedError
from photochrom.web.renderer import DISK_FULL_MESSAGE
from photochrom.web.service import Service
from photochrom.web.storage import FileTooLargeError, StorageFullError
from photochrom.web.template import STATIC, create_environment


def create_app(
    models: Sequence[Path | None] = (None,),
    *,
    device: str = "auto",
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
    processes: int | None = None,
) -> FastAPI:
    """Return the application; its lifespan starts and ends the worker processes.

    Args:
        models: ONNX files, the default first; None: the default model.
        device: As for `Colorizer`.
        limits: None: the defaults of `Limits`.
        hosts: As for `RequestGuard`.
        processes: Number of processes that colorize; None: one for each core.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    limits = limits or Limits()
    templates = create_environment()
    service = Service(models, device=device, limits=limits, processes=processes)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        maintenance = asyncio.create_task(service.maintain())
        try:
            yield
        finally:
            maintenance.cancel()
            await service.close()

    app = FastAPI(
        title="photochrom",
        version=__version__,
        summary="Colorizes black-and-white photographs.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(RequestGuard, hosts=hosts, max_bytes=limits.max_bytes, uploads=api.UPLOADS)
    app.include_router(page.routes(service, templates))
    app.include_router(api.routes(service))
    app.include_router(api_reference.routes(app, templates))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    took_too_long = (
        f"the photo took more than {limits.timeout:g} s; send a smaller one, or try again later"
    )
    add_error_handlers(
        app,
        {
            PhotochromError: 400,
            QueueFullError: _retry_later,
            StorageFullError: _retry_later,
            FileTooLargeError: 413,
            RemovedError: 404,
            WorkerTimeoutError: lambda _: error_response(504, took_too_long),
            WorkerError: 500,
            OSError: _disk_error,
        },
    )
    return app


def _retry_later(error: QueueFullError | StorageFullError) -> JSONResponse:
    return error_response(error.status, str(error), **{"Retry-After": str(error.retry_after)})


def _disk_error(error: OSError) -> JSONResponse:
    """Explain a full disk; other errors are faults of ours.

    Raises:
        OSError: If it is another error.
    """
    if error_code(error) != "disk_full":
        raise error
    return error_response(507, DISK_FULL_MESSAGE)
