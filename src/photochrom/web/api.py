"""The HTTP API for programs."""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from photochrom.colorize.hints import MAX_HINTS, parse_hints
from photochrom.colorize.options import FILE_OPTIONS, GEOMETRY_OPTIONS, OPTIONS
from photochrom.version import __version__
from photochrom.web.looks import Look
from photochrom.web.models import Model
from photochrom.web.service import WARNINGS_HEADER, Service

UPLOADS = ("/photos", "/api/colorize")
"""The paths that take photos."""
_MAX_FIELDS = 20
_MAX_FIELD_BYTES = 50_000
"""As much as the hints of a photo take."""
_HINTS_HELP = (
    'Colours of places in the photo, as JSON: [{"x": 410, "y": 220, "color": "firebrick"}], with x '
    "and y in px of the upright photo, and a CSS name, a hex colour, original or neutral. For a "
    f"model that takes hints; up to {MAX_HINTS}."
)
_UNSET: Any = None
"""The default of a field that has no value for it: OpenAPI would list None as the value null."""


class ErrorMessage(BaseModel):
    """An error."""

    detail: str
    """One sentence: what was given, what is allowed, what to do."""


class Models(BaseModel):
    """The models of this server, the default first."""

    models: list[Model]


class Health(BaseModel):
    """The state of the server."""

    status: str
    version: str


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorMessage, "description": description}
    for status, description in {
        400: "The file is not a photo that can be colorized, or an option is not allowed",
        413: "The file is too large",
        422: "A field is missing, unknown, given twice, or has a value of the wrong type",
        503: "Too many photos are waiting; see Retry-After, in seconds",
        504: "The photo took too long",
        507: "The server is full of photos, see Retry-After, in seconds; or its disk is full",
    }.items()
}


def _form_field(name: str) -> Any:
    options = (*OPTIONS, *GEOMETRY_OPTIONS, *FILE_OPTIONS)
    option = next(option for option in options if option.name == name)
    if option.choices:
        return Form(description=option.help, json_schema_extra={"enum": list(option.choices)})
    if option.kind not in ("number", "integer"):
        return Form(description=option.help)
    return Form(description=option.help, ge=option.minimum, le=option.maximum)


def routes(service: Service) -> APIRouter:
    """Return the API's routes."""

    class UploadRoute(APIRoute):
        """Checks the disk before a form is received, and the names of its fields after."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            fields = [field.alias for field in self.dependant.body_params]

            async def handle_upload(request: Request) -> Response:
                async with contextlib.AsyncExitStack() as stack:
                    # The form is received into a file of its own, and then copied.
                    await stack.enter_async_context(service.reserve(request, copies=2))
                    try:
                        form = await stack.enter_async_context(
                            request.form(
                                max_files=2, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
                            )
                        )
                    except HTTPException as error:
                        raise _form_error(error) from None
                    _check_fields(form, fields)
                    request.state.form_files = stack
                    return await handle(request)

            return handle_upload

    model_field = Form(
        description="A name from GET /api/models. Default: the first.",
        json_schema_extra={"enum": [model.name for model in service.models]},
    )
    router = APIRouter()
    uploads = APIRouter(route_class=UploadRoute)

    @uploads.post(
        "/api/colorize",
        response_class=FileResponse,
        responses={
            200: {
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
                "description": "The photo in colour, in the format of the input, or as JPEG",
                "headers": {
                    WARNINGS_HEADER: {
                        "description": "If something of the photo could not be kept: a JSON array "
                        "of phrases, in ASCII",
                        "schema": {"type": "string"},
                    }
                },
            },
            **_ERRORS,
        },
    )
    async def colorize(
        request: Request,
        file: Annotated[UploadFile, File(description="The photo.")],
        saturation: Annotated[float, _form_field("saturation")] = 1.0,
        strength: Annotated[float, _form_field("strength")] = 1.0,
        size: Annotated[int, _form_field("size")] = _UNSET,
        mark: Annotated[bool, _form_field("mark")] = True,
        turn: Annotated[int, _form_field("turn")] = 0,
        straighten: Annotated[float, _form_field("straighten")] = 0.0,
        crop: Annotated[str, _form_field("crop")] = _UNSET,
        format: Annotated[str, _form_field("format")] = _UNSET,
        truncated: Annotated[bool, _form_field("truncated")] = False,
        hints: Annotated[str, Form(description=_HINTS_HELP)] = _UNSET,
        model: Annotated[str, model_field] = _UNSET,
    ) -> FileResponse:
        """Colorize one photo, as the command line does: at full size, with its metadata."""
        values = {
            "saturation": saturation,
            "strength": strength,
            "size": size,
            "mark": mark,
            "turn": turn,
            "straighten": straighten,
            "crop": crop or None,
            "format": format or None,
            "truncated": truncated,
            "model": model or "",
            "hints": parse_hints(hints, "hints") if hints else (),
        }
        look = service.models.check_look(Look().changed(values))
        service.queue.check_not_full()
        photo = service.sessions.temporary_photo(file.filename or "", look)
        try:
            await asyncio.to_thread(_save, file, photo.path)
            await request.state.form_files.aclose()
            await service.check_upload(photo, look)
        except BaseException:
            photo.remove()
            raise
        return await service.respond_with_result(request, photo, look)

    router.include_router(uploads)

    @router.head("/api/models", include_in_schema=False)
    @router.get("/api/models")
    async def models() -> Models:
        """List the models."""
        return Models(models=list(service.models))

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def health() -> Health:
        """Report that the server is running."""
        return Health(status="ok", version=__version__)

    return router


def _form_error(error: HTTPException) -> HTTPException:
    """Return an error of a form with what to do; errors of other kinds stay as they are."""
    if error.status_code != 400:
        return error
    return HTTPException(
        400,
        f"the form cannot be read ({error.detail.removesuffix('.')}); send one file and up to "
        f"{_MAX_FIELDS} fields of up to {_MAX_FIELD_BYTES} bytes",
    )


def _check_fields(form: FormData, fields: Sequence[str]) -> None:
    """Check that a form has each field once, only the photo as a file, and no others.

    Raises:
        HTTPException: If not.
    """
    names = Counter(name for name, _ in form.multi_items())
    for name, count in names.items():
        if name not in fields:
            raise HTTPException(
                422, f"there is no field {name[:40]!r}; the fields are {', '.join(fields)}"
            )
        if count > 1:
            raise HTTPException(422, f"{name} is given {count} times; give it once")
    for name, value in form.multi_items():
        if name != "file" and not isinstance(value, str):
            raise HTTPException(
                422, f"{name} is sent as a file; send its content as text (curl: {name}=<FILE)"
            )


def _save(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
