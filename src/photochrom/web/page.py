"""The page, and what it asks the server; docs/web.md says what a browser's session is."""

import functools
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from jinja2 import Environment
from starlette.exceptions import HTTPException

from photochrom.colorize.options import OPTIONS, check_options
from photochrom.errors import PhotochromError
from photochrom.version import __version__
from photochrom.web.archive import zipped
from photochrom.web.service import Service
from photochrom.web.sessions import Picture, Session, is_key, new_key
from photochrom.web.tasks import SHOWN

COOKIE = "photochrom"
"""Holds the key of a browser's session."""
SAMPLES = (
    {"file": "astronaut.jpg", "title": "An astronaut"},
    {"file": "chelsea.jpg", "title": "A cat"},
    {"file": "rocket.jpg", "title": "A rocket"},
)
"""Photos to try, under static/samples."""


def routes(service: Service, templates: Environment) -> APIRouter:
    """Return the page's routes.

    Args:
        service: What they work with.
        templates: `page.html` among them.
    """
    router = APIRouter(include_in_schema=False)

    def key(request: Request) -> str:
        found = request.cookies.get(COOKIE, "")
        return found if is_key(found) else ""

    def session(request: Request) -> Session | None:
        return service.sessions.get(key(request))

    def picture(request: Request, id: str) -> Picture:
        mine = session(request)
        if mine is None or id not in mine.pictures:
            raise HTTPException(404, "there is no such photo here (any more); drop it again")
        return mine.pictures[id]

    @router.get("/")
    async def page(request: Request) -> HTMLResponse:
        html = templates.get_template("page.html").render(
            options=OPTIONS,
            models=service.models,
            samples=SAMPLES,
            limits={
                "megabytes": service.limits.megabytes,
                "megapixels": service.limits.megapixels,
            },
            version=__version__,
        )
        response = HTMLResponse(html)
        if not key(request):
            response.set_cookie(COOKIE, new_key(), httponly=True, samesite="strict")
        return response

    @router.get("/photos")
    async def photos(request: Request) -> JSONResponse:
        mine = session(request)
        pictures = mine.pictures.values() if mine else ()
        return JSONResponse({"photos": [_state(service, p) for p in pictures]})

    @router.post("/photos", status_code=201)
    async def upload(
        request: Request, name: Annotated[str, Query(max_length=1000)], model: str | None = None
    ) -> JSONResponse:
        if not key(request):
            raise HTTPException(403, "this browser has no session; load the page again")
        number = service.model(model)
        service.queue.check()
        mine = service.sessions.open(key(request))
        if len(mine.pictures) >= service.limits.photos:
            raise HTTPException(
                409,
                f"there are {service.limits.photos} photos on the page, which is all it takes; "
                "download them and forget them first",
            )
        arrived = mine.add(name, number)
        try:
            await service.save(request, arrived.file)
            service.queue.check()  # others were faster
        except BaseException:
            mine.remove(arrived)
            raise
        service.begin(arrived)
        return JSONResponse(_state(service, arrived), 201)

    @router.get("/photos/{id}/{view}")
    async def view(
        request: Request,
        id: str,
        view: str,
        saturation: float = 1.0,
        strength: float = 1.0,
        longest: Annotated[int, Query(ge=16, le=SHOWN)] = SHOWN,
    ) -> Response:
        photo = picture(request, id)
        if view == "result":
            return await _result(service, request, photo)
        if view not in ("before", "thumbnail", "after"):
            raise HTTPException(404, "a photo has before, after, thumbnail and result")
        if view == "after":
            check_options(saturation=saturation, strength=strength)
            content = await service.paint(photo, saturation, strength, longest)
        elif photo.shown is None:
            raise HTTPException(409, f"{photo.name} is not ready")
        else:
            content = (photo.shown / view).read_bytes()
        return Response(content, media_type=_media_type(content))

    @router.patch("/photos/{id}")
    async def change(
        request: Request, id: str, changes: Annotated[dict[str, Any], Body()]
    ) -> JSONResponse:
        photo = picture(request, id)
        model = changes.pop("model", None)
        unknown = sorted(set(changes) - set(photo.look))
        if unknown:
            raise HTTPException(
                400, f"a look has no {unknown[0][:40]!r}; it has {', '.join(photo.look)}"
            )
        look = photo.look | {name: _typed(name, value) for name, value in changes.items()}
        check_options(**look)
        number = photo.model if model is None else service.model(str(model))
        again = look["size"] != photo.look["size"] or number != photo.model
        if again:
            service.queue.check()
        photo.look, photo.model = look, number
        if again:
            service.begin(photo)
        return JSONResponse(_state(service, photo))

    @router.delete("/photos/{id}", status_code=204)
    async def remove(request: Request, id: str) -> Response:
        photo = picture(request, id)
        mine = session(request)
        if mine is not None:
            mine.remove(photo)
        return Response(status_code=204)

    @router.delete("/photos", status_code=204)
    async def forget(request: Request) -> Response:
        service.sessions.remove(key(request))
        return Response(status_code=204)

    @router.get("/photos.zip")
    async def everything(request: Request) -> StreamingResponse:
        mine = session(request)
        ready = [p for p in mine.pictures.values() if p.status == "ready"] if mine else []
        if not ready:
            raise HTTPException(409, "no photo is ready; drop some on the page first")
        headers = {"Content-Disposition": 'attachment; filename="photochrom.zip"'}
        return StreamingResponse(
            zipped(service, ready), media_type="application/zip", headers=headers
        )

    return router


def _state(service: Service, photo: Picture) -> dict[str, Any]:
    """Return what the page knows of a photo."""
    status: str = photo.status
    place = service.queue.place(photo.ticket) if photo.ticket else None
    if status == "waiting" and place is None:
        status = "working"
    facts = photo.facts
    return {
        "id": photo.id,
        "name": photo.name,
        "status": status,
        "place": place,
        "error": photo.error,
        "width": facts and facts.width,
        "height": facts and facts.height,
        "pages": facts and facts.pages,
        "revision": photo.revision,
        "look": photo.look,
        "model": service.models[photo.model].name,
        "output": photo.output,
    }


def _typed(name: str, value: Any) -> Any:
    """Return a value of a look that came as JSON.

    Raises:
        PhotochromError: If it has another type.
    """
    option = next(option for option in OPTIONS if option.name == name)
    types = {"number": (int, float), "integer": (int,), "flag": (bool,)}[option.kind]
    if value is None and option.default is None:
        return None
    if not isinstance(value, types) or (option.kind != "flag" and isinstance(value, bool)):
        raise PhotochromError(f"{name} is {str(value)[:40]!r}; its type has to be {option.kind}")
    return value


async def _result(service: Service, request: Request, photo: Picture) -> FileResponse:
    if photo.status != "ready":
        raise HTTPException(409, f"{photo.name} is not ready")
    job = photo.job()
    clean = functools.partial(job.output.unlink, missing_ok=True)
    return await service.deliver(request, photo, job, clean=clean)


def _media_type(content: bytes) -> str:
    return "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
