"""The HTTP API for programs: a photo in, a coloured photo out."""

import asyncio
import functools
import inspect
import shutil
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel

from photochrom.colorize.options import OPTIONS, Option, check_options
from photochrom.version import __version__
from photochrom.web.service import Model, Service
from photochrom.web.sessions import Picture, plain_name

_TYPES: dict[str, Any] = {"number": float, "integer": int, "flag": bool}


class Refusal(BaseModel):
    """Why something was not done."""

    detail: str
    """One sentence: what was given, what is allowed, what to do."""


class Models(BaseModel):
    """The models that this server has, the one it takes unasked first."""

    models: list[Model]


class Health(BaseModel):
    """That the server is there."""

    status: str
    version: str


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "It is no photo that can be colorized, or no such look"},
    413: {"model": Refusal, "description": "The file is too large"},
    422: {"model": Refusal, "description": "A value is missing or of the wrong type"},
    503: {"model": Refusal, "description": "Too many are waiting; see Retry-After, in seconds"},
    504: {"model": Refusal, "description": "The photo took too long"},
}


def routes(service: Service) -> APIRouter:
    """Return the API's routes.

    Args:
        service: What they work with.
    """
    router = APIRouter()
    look_of = _look_form()

    @router.post(
        "/api/colorize",
        response_class=FileResponse,
        responses={
            200: {
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
                "description": "The photo in colour, in the format it came in",
            },
            **_REFUSALS,
        },
    )
    async def colorize(
        request: Request,
        file: Annotated[UploadFile, File(description="The photo.")],
        look: Annotated[dict[str, Any], Depends(look_of)],
        model: Annotated[str | None, Form(description="One that GET /api/models lists.")] = None,
    ) -> FileResponse:
        """Colorize one photo, exactly as the command line does: at full size, metadata kept."""
        number = service.model(model)
        check_options(**look)
        service.queue.check()
        folder = service.sessions.passing()
        picture = Picture("", plain_name(file.filename or ""), folder, number, look)
        job = picture.job()
        clean = functools.partial(shutil.rmtree, folder, ignore_errors=True)
        try:
            await asyncio.to_thread(_copy, file, job.input)
        except BaseException:
            clean()
            raise
        return await service.deliver(request, picture, job, clean=clean)

    @router.get("/api/models")
    async def models() -> Models:
        """List the models that can be asked for."""
        return Models(models=service.models)

    @router.get("/healthz")
    async def health() -> Health:
        """Say that the server is there."""
        return Health(status="ok", version=__version__)

    return router


def _look_form() -> Callable[..., dict[str, Any]]:
    """Return a function with a form field for each option of the command line."""

    def look(**values: Any) -> dict[str, Any]:
        return values

    look.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=option.default,
                annotation=Annotated[_type(option), _field(option)],
            )
            for option in OPTIONS
        ]
    )
    return look


def _type(option: Option) -> Any:
    type_ = _TYPES[option.kind]
    return type_ if option.default is not None else type_ | None


def _field(option: Option) -> Any:
    if option.kind == "flag":
        return Form(description=option.help)
    return Form(description=option.help, ge=option.minimum, le=option.maximum)


def _copy(file: UploadFile, path: Any) -> None:
    with path.open("wb") as to:
        shutil.copyfileobj(file.file, to)
