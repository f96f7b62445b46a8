"""The HTTP server that presents the trials of a study and saves the responses."""

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, Field

from photochrom.errors import DataError, PhotochromError
from photochrom.server.guard import (
    RequestGuard,
    add_error_handlers,
    cookie_path,
    error_response,
)
from photochrom.study.answers import ColorVision, Display, Measurements
from photochrom.study.design import IMAGE_FOLDER, RESPONSE_FILE, STUDY_FILE, Study, load_study
from photochrom.study.store import CurrentTrial, Store, TrialNotOpenError
from photochrom.study.trials import decode_choice, draw_trials

_MAX_BODY_BYTES = 10_000
_COOKIE_SECONDS = 365 * 86_400
_Measurement = Annotated[float | None, Field(ge=0, le=1e9, allow_inf_nan=False)]


class _TrialNumber(BaseModel):
    """The trial that begins."""

    number: int = Field(ge=0, le=1_000_000)


class _ResponseBody(_TrialNumber):
    """A response from the page."""

    pictures: list[str]
    """Image ids in the order shown; identify a stored response to another study or participant."""
    chosen: int | str
    exposure_ms: _Measurement = None
    reaction_ms: _Measurement = None
    second_exposure_ms: _Measurement = None
    since_onset_ms: _Measurement = None
    viewport_width: _Measurement = None
    viewport_height: _Measurement = None
    pixel_ratio: _Measurement = None
    image_width: _Measurement = None


class _ColorVisionBody(BaseModel):
    """What a participant reports."""

    answer: ColorVision


def create_app(folder: Path, hosts: Sequence[str] | None = None) -> FastAPI:
    """Return the application for a study folder.

    Args:
        folder: The folder of the study.
        hosts: As for `RequestGuard`.

    Raises:
        DataError: If the study is missing or damaged.
    """
    study = load_study(folder)
    items = {item.id: item for item in study.items}
    images = _image_paths(study, folder)
    Store(folder / RESPONSE_FILE).close()  # a damaged file is an error here, not at startup
    page, withdrawn_page = (_render_page(study, name) for name in ("study", "withdrawn"))
    # Browsers send cookies to all servers of a host, so each study has its own.
    cookie = f"person-{hashlib.sha256((folder / STUDY_FILE).read_bytes()).hexdigest()[:8]}"

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Store(folder / RESPONSE_FILE) as app.state.store:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(RequestGuard, hosts=hosts, max_bytes=_MAX_BODY_BYTES)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    add_error_handlers(
        app, {TrialNotOpenError: 409, PhotochromError: 400, sqlite3.Error: _database_error}
    )

    def find_participant(request: Request) -> str | None:
        participant = request.cookies.get(cookie, "")
        return participant if request.app.state.store.has_participant(participant) else None

    def require_participant(request: Request) -> str:
        participant = find_participant(request)
        if participant is None:
            raise TrialNotOpenError("this browser has no consent to the study; open the page again")
        return participant

    @app.head("/")
    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.head("/withdrawn")
    @app.get("/withdrawn")
    def withdrawn() -> HTMLResponse:
        return HTMLResponse(withdrawn_page)

    @app.head("/pictures/{name}")
    @app.get("/pictures/{name}")
    def image(name: str) -> Response:
        if name not in images:
            raise HTTPException(404, "there is no such image")
        # FileResponse would add the headers etag and last-modified.
        return Response(images[name].read_bytes(), media_type="image/png")

    @app.post("/api/person")
    def consent(request: Request) -> Response:
        response = Response(status_code=204)
        if find_participant(request) is None:
            participant = request.app.state.store.add_participant(
                lambda counts: draw_trials(study, counts, SystemRandom())
            )
            response.set_cookie(
                cookie,
                participant,
                max_age=_COOKIE_SECONDS,
                path=cookie_path(request),
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
        return response

    @app.post("/api/color-vision")
    def save_color_vision(request: Request, body: _ColorVisionBody) -> Response:
        request.app.state.store.save_color_vision(require_participant(request), body.answer)
        return Response(status_code=204)

    @app.get("/api/next")
    def next_trial(request: Request) -> dict[str, Any]:
        participant = find_participant(request)
        if participant is None:
            return {"state": "consent"}
        store = request.app.state.store
        if study.color_vision != "unasked" and store.color_vision(participant) is None:
            return {"state": "color-vision"}
        current = store.next_trial(participant)
        if current is None:
            return {"state": "done", "code": store.code(participant)}
        return describe(current)

    @app.post("/api/withdraw")
    def withdraw(request: Request) -> Response:
        participant = find_participant(request)
        if participant is not None:  # otherwise the first reply was lost
            request.app.state.store.withdraw(participant)
        response = Response(status_code=204)
        response.delete_cookie(cookie, path=cookie_path(request), httponly=True, samesite="strict")
        return response

    def describe(current: CurrentTrial) -> dict[str, Any]:
        """Return a trial for the page; it reveals neither systems nor attention checks."""
        trial = current.trial
        item = items[trial.item]
        pair = trial.protocol == "pair"
        return {
            "state": "trial",
            "number": current.number,
            "of": current.total,
            "protocol": trial.protocol,
            "practice": trial.kind == "practice",
            "pictures": [item.pictures[system] for system in trial.shown],
            "width": item.width,
            "height": item.height,
            "show_ms": 1000 * study.seconds if pair else current.requested_exposure_ms,
        }

    @app.post("/api/begun")
    def begin_trial(request: Request, body: _TrialNumber) -> Response:
        request.app.state.store.begin_trial(require_participant(request), body.number)
        return Response(status_code=204)

    @app.post("/api/answer")
    def save_response(request: Request, body: _ResponseBody) -> dict[str, Any]:
        store, participant = request.app.state.store, require_participant(request)
        trial = store.trial(participant, body.number)
        if body.pictures != [items[trial.item].pictures[system] for system in trial.shown]:
            raise TrialNotOpenError(
                f"trial {body.number} shows other images; request the next trial"
            )
        if trial.protocol == "timed" and body.exposure_ms is None:
            raise PhotochromError("exposure_ms is missing; give the measured exposure")
        measured = body.model_dump(include=set(Measurements.__annotations__))
        if trial.protocol not in ("pair", "timed"):
            measured["exposure_ms"] = None
        if trial.protocol != "pair":
            measured["second_exposure_ms"] = None
        if not study.display:
            measured |= dict.fromkeys(Display.__annotations__)
        response = store.save_response(
            participant, body.number, decode_choice(trial, body.chosen), **measured
        )
        return {"right": response.correct} if trial.kind == "practice" else {}

    return app


def _image_paths(study: Study, folder: Path) -> dict[str, Path]:
    """Return the path of each image by file name.

    Raises:
        DataError: If one is missing.
    """
    names = [f"{id_}.png" for item in study.items for id_ in item.pictures.values()]
    paths = {name: folder / IMAGE_FOLDER / name for name in names}
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} images of study {folder} are missing, such as {missing[0].name}; "
            "copy the whole folder again"
        )
    return paths


def _render_page(study: Study, name: str) -> bytes:
    environment = Environment(
        loader=PackageLoader("photochrom.study"), autoescape=True, undefined=StrictUndefined
    )
    paragraphs = [part for part in study.consent.split("\n\n") if part.strip()]
    page = environment.get_template(f"{name}.html").render(title=study.title, consent=paragraphs)
    return page.encode(errors="backslashreplace")


def _database_error(error: sqlite3.Error) -> JSONResponse:
    return error_response(503, f"the response could not be saved: {error}")
