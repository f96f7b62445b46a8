"""The server put together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from photochrom.errors import PhotochromError
from photochrom.version import __version__
from photochrom.web import api, page, reference
from photochrom.web.guard import Guard
from photochrom.web.line import FullError
from photochrom.web.studio import Limits, Studio
from photochrom.workers import LateError, LostError

STATIC = Path(__file__).with_name("static")


def create_app(
    models: Sequence[Path | None] = (None,),
    *,
    device: str = "auto",
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
    processes: int | None = None,
) -> FastAPI:
    """Return the application; its processes start with it, and end with it.

    Args:
        models: ONNX files, the one that is taken unasked first; None: the model that comes with
            photochrom.
        device: As for `Colorizer`.
        limits: How much it takes on; None: the usual.
        hosts: The names by which browsers may call it; None: addresses in numbers and localhost.
        processes: That ask the networks; None: one for each core.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    limits = limits or Limits()
    studio = Studio(models, device=device, limits=limits, processes=processes)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await studio.open()
        keeper = asyncio.create_task(studio.keep_house())
        try:
            yield
        finally:
            keeper.cancel()
            await studio.close()

    app = FastAPI(
        title="photochrom",
        version=__version__,
        summary="Colorizes black-and-white photographs.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.studio = studio
    app.add_middleware(Guard, hosts=hosts, max_bytes=limits.max_bytes)
    app.include_router(page.routes(studio))
    app.include_router(api.routes(studio))
    app.include_router(reference.routes(app))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    _say_errors_in_one_sentence(app)
    return app


def _say_errors_in_one_sentence(app: FastAPI) -> None:
    """Answer what goes wrong with {"detail": sentence} and the status that fits."""

    @app.exception_handler(PhotochromError)
    async def refused(_: Request, error: PhotochromError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(FullError)
    async def full(_: Request, error: FullError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.seconds)})

    @app.exception_handler(LostError)
    async def lost(_: Request, error: LostError) -> JSONResponse:
        late = isinstance(error, LateError)
        return JSONResponse(
            {"detail": f"the process that had the photo {error}"}, 504 if late else 500
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        given = first.get("input")
        said = f" is {str(given)[:40]!r}" if isinstance(given, str | int | float) else ""
        return JSONResponse({"detail": f"{name}{said}: {first['msg']}"}, 422)
