"""The page and its private routes; docs/web.md describes the sessions."""

import dataclasses
import re
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from jinja2 import Environment
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from photochrom.server.guard import cookie_path
from photochrom.version import __version__
from photochrom.web.archive import Archive, Archives
from photochrom.web.looks import Look
from photochrom.web.renderer import MAX_REGION, PREVIEW_SIZE, THUMBNAIL_SIZE, Side
from photochrom.web.responses import cancel_on_disconnect
from photochrom.web.service import Service
from photochrom.web.sessions import Session, UploadedPhoto
from photochrom.web.template import render_page
from photochrom.web.texts import Texts, choose_language, languages, store_language

COOKIE = "photochrom"
"""The cookie with the key of the browser's session."""
_SESSION_KEY = re.compile(r"[\w-]{43}", re.ASCII)  # Sessions.new_key


class ArchivePhoto(BaseModel):
    """A photo of an archive."""

    id: str
    look: dict[str, Any] = {}
    """Values that are not the defaults."""


class ArchiveRequest(BaseModel):
    """What an archive has."""

    photos: list[ArchivePhoto]


MaxSize = Annotated[int, Query(ge=16, le=PREVIEW_SIZE)]


def routes(service: Service, templates: Environment) -> APIRouter:
    """Return the page's routes."""
    router = APIRouter(include_in_schema=False)
    archives = Archives()

    def session_key(request: Request) -> str:
        key = request.cookies.get(COOKIE, "")
        return key if _SESSION_KEY.fullmatch(key) else ""

    def find_session(request: Request) -> Session | None:
        return service.sessions.get(session_key(request))

    def find_photo(request: Request, id: str) -> UploadedPhoto:
        session = find_session(request)
        if session is None or id not in session.photos:
            raise HTTPException(404, "the server does not have this photo; add it again")
        return session.photos[id]

    def find_archive(request: Request, id: str) -> Archive:
        session = find_session(request)
        archive = None if session is None else archives.find(session, id)
        if archive is None:
            raise HTTPException(404, "the server does not have this zip; start another one")
        return archive

    @router.head("/")
    @router.get("/")
    async def page(request: Request, lang: str | None = None) -> Response:
        if lang in languages():
            redirect = RedirectResponse("./", 303)
            store_language(request, redirect, str(lang))
            return redirect
        html = render_page(
            templates,
            Texts(choose_language(request)),
            models=service.models,
            max_bytes=service.limits.max_bytes,
            static=lambda name: f"static/{name}?v={__version__}",
        )
        response = HTMLResponse(html)
        if not session_key(request):
            key = service.sessions.new_key()
            response.set_cookie(
                COOKIE,
                key,
                path=cookie_path(request),
                httponly=True,
                samesite="lax",  # strict: a link from another site would begin another session
                secure=request.url.scheme == "https",
            )
        return response

    @router.get("/photos")
    async def list_photos(request: Request) -> JSONResponse:
        session = find_session(request)
        photos = session.photos.values() if session else ()
        return JSONResponse(
            {
                "server": service.sessions.server_id,
                "gone": service.sessions.find_removal(session_key(request)),
                "photos": [_photo_json(service, photo) for photo in photos],
            }
        )

    @router.post("/photos", status_code=201)
    async def upload(
        request: Request, name: Annotated[str, Query(max_length=1000)], model: str | None = None
    ) -> JSONResponse:
        if not session_key(request):
            raise HTTPException(403, "this browser has no session; load the page again")
        look = service.models.check_look(Look(model=model or ""))
        service.queue.check_not_full()
        session = service.sessions.get_or_create(session_key(request))
        if len(session.photos) >= service.limits.max_photos:
            raise HTTPException(
                409,
                f"there are {service.limits.max_photos} photos on the page, which is the limit; "
                "download and remove some first",
            )
        photo = session.add(name, look)
        try:
            await service.save_upload(request, photo.path)
            service.queue.check_not_full()  # it may have filled up during the upload
        except BaseException:
            session.remove(photo)
            raise
        service.pictures.prepare(photo)
        return JSONResponse(_photo_json(service, photo), 201)

    def look_of(request: Request) -> Look:
        return service.models.check_look(Look.from_query(request.query_params))

    @router.get("/photos/{id}/result")
    async def result(request: Request, id: str) -> FileResponse:
        photo, look = find_photo(request, id), look_of(request)
        if photo.status != "ready":
            raise HTTPException(409, f"{photo.name} is not ready")
        return await service.respond_with_result(request, photo, look)

    @router.get("/photos/{id}/before")
    async def before(request: Request, id: str, max_size: MaxSize = PREVIEW_SIZE) -> Response:
        photo, look = find_photo(request, id), look_of(request)
        work = service.pictures.render_original(photo, look, max_size)
        return _image(await cancel_on_disconnect(request, work))

    @router.get("/photos/{id}/after")
    async def after(request: Request, id: str, max_size: MaxSize = PREVIEW_SIZE) -> Response:
        photo, look = find_photo(request, id), look_of(request)
        work = service.pictures.render_preview(photo, look, max_size)
        return _image(await cancel_on_disconnect(request, work))

    @router.get("/photos/{id}/thumbnail")
    async def thumbnail(request: Request, id: str) -> Response:
        return await after(request, id, THUMBNAIL_SIZE)

    @router.get("/photos/{id}/region")
    async def region(
        request: Request,
        id: str,
        left: int,
        top: int,
        width: int,
        height: int,
        side: Side = "after",
        max_size: Annotated[int, Query(ge=16, le=MAX_REGION)] = MAX_REGION,
    ) -> Response:
        photo, look = find_photo(request, id), look_of(request)
        rectangle = (left, top, width, height)
        work = service.pictures.render_region(photo, look, side, rectangle, max_size)
        return _image(await cancel_on_disconnect(request, work))

    @router.get("/photos/{id}/versions")
    async def versions(request: Request, id: str) -> JSONResponse:
        photo, look = find_photo(request, id), look_of(request)
        work = service.pictures.versions(photo, look)
        return JSONResponse({"versions": await cancel_on_disconnect(request, work)})

    @router.get("/photos/{id}/suggestions")
    async def suggestions(request: Request, id: str, x: int, y: int) -> JSONResponse:
        photo, look = find_photo(request, id), look_of(request)
        work = service.pictures.suggest_colors(photo, look, x, y)
        colors = await cancel_on_disconnect(request, work)
        return JSONResponse({"colors": [dataclasses.asdict(color) for color in colors]})

    @router.patch("/photos/{id}")
    async def save_look(
        request: Request, id: str, changes: Annotated[dict[str, Any], Body()]
    ) -> JSONResponse:
        photo = find_photo(request, id)
        look = service.models.check_look(photo.look.changed(changes))
        if photo.info is not None:
            service.models.check_fit(look, photo.info.sizes)
        photo.look = look
        return JSONResponse(_photo_json(service, photo))

    @router.post("/photos/{id}/retry")
    async def retry(
        request: Request, id: str, changes: Annotated[dict[str, Any], Body()]
    ) -> JSONResponse:
        photo = find_photo(request, id)
        look = service.models.check_look(photo.look.changed(changes))
        if photo.status == "failed":
            service.queue.check_not_full()
            photo.look = look
            service.pictures.prepare(photo)
        return JSONResponse(_photo_json(service, photo))

    @router.delete("/photos/{id}", status_code=204)
    async def remove(request: Request, id: str) -> Response:
        photo = find_photo(request, id)
        session = find_session(request)
        if session is not None:
            session.remove(photo)
        return Response(status_code=204)

    @router.delete("/photos", status_code=204)
    async def remove_all(request: Request) -> Response:
        service.sessions.remove(session_key(request), "removed")
        return Response(status_code=204)

    @router.post("/archives", status_code=201)
    async def start_archive(request: Request, body: ArchiveRequest) -> JSONResponse:
        session = find_session(request)
        if session is None:
            raise HTTPException(404, "the server has no photos of this browser; add them again")
        if not body.photos:
            raise HTTPException(400, "the list of photos is empty; give at least one")
        items = [
            (find_photo(request, item.id), service.models.check_look(Look().changed(item.look)))
            for item in body.photos
        ]
        archive = Archive(items)
        archives.add(session, archive)
        return JSONResponse({"id": archive.id}, 201)

    @router.get("/archives/{id}")
    async def archive_progress(request: Request, id: str) -> JSONResponse:
        return JSONResponse(find_archive(request, id).status())

    @router.get("/archives/{id}/photochrom.zip")
    async def download_archive(request: Request, id: str) -> StreamingResponse:
        archive = find_archive(request, id)
        if archive.is_started:
            raise HTTPException(409, "this zip was downloaded already; start another one")
        archive.is_started = True
        headers = {"Content-Disposition": 'attachment; filename="photochrom.zip"'}
        return StreamingResponse(
            archive.stream(service), media_type="application/zip", headers=headers
        )

    @router.delete("/archives/{id}", status_code=204)
    async def stop_archive(request: Request, id: str) -> Response:
        find_archive(request, id).stop()
        return Response(status_code=204)

    return router


def _photo_json(service: Service, photo: UploadedPhoto) -> dict[str, Any]:
    position = service.queue.position(photo)
    running = photo.status == "waiting" and position is None
    info = photo.info
    width, height = info.sizes[0] if info else (None, None)
    notes = [
        code
        for code, applies in {
            "in_color": info is not None and info.in_color,
            "truncated": info is not None and photo.look.truncated,
        }.items()
        if applies
    ]
    return {
        "id": photo.id,
        "name": photo.name,
        "status": "working" if running else photo.status,
        "position": position,
        "error": photo.error,
        "error_code": photo.error_code,
        "width": width,
        "height": height,
        "pages": info and len(info.sizes),
        "look": photo.look.model_dump(),
        "max_size": info and service.models.max_size(photo.look.model, info.sizes),
        "notes": notes,
        "warnings": [_sentence(warning) for warning in info.warnings] if info else [],
    }


def _sentence(phrase: str) -> str:
    return f"{phrase[0].upper()}{phrase[1:]}."


def _image(content: bytes) -> Response:
    is_png = content.startswith(b"\x89PNG")
    return Response(content, media_type="image/png" if is_png else "image/jpeg")
