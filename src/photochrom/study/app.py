"""The server that shows a study to people and takes down what they say."""

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, Field

from photochrom.errors import DataError, PhotochromError
from photochrom.server.guard import RequestGuard, add_error_handlers, error_response
from photochrom.study.design import ANSWERS, KEY, PICTURES, Study, load_study
from photochrom.study.store import NotOpenError, Open, Store
from photochrom.study.trials import meant, plan

_HERE = Path(__file__).parent
_MAX_BYTES = 10_000  # of what a browser sends
_YEAR = 365 * 86_400  # seconds that a browser remembers who it is


class _Number(BaseModel):
    """Which trial is about to be shown."""

    number: int = Field(ge=0, le=1_000_000)


class _Said(_Number):
    """An answer."""

    pictures: list[str]
    """As they were shown, so that an answer kept from another study or person is not taken."""
    chosen: int | str
    exposure_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    reaction_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)


def create_app(folder: Path, hosts: Sequence[str] | None = None) -> FastAPI:
    """Return the application that serves a study.

    Args:
        folder: Of the study.
        hosts: The names by which browsers may call it; None: addresses in numbers and localhost.

    Raises:
        DataError: If the folder holds no study, or a damaged one.
    """
    study = load_study(folder)
    pictures = _pictures(study, folder)
    Store(folder / ANSWERS).close()  # if it is damaged, that is to show here
    page = _page(study)
    # Cookies are shared by all servers on a computer, so each study has its own.
    cookie = f"person-{hashlib.sha256((folder / KEY).read_bytes()).hexdigest()[:8]}"
    ids = {item.id: item.pictures for item in study.items}

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Store(folder / ANSWERS) as app.state.store:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.add_middleware(RequestGuard, hosts=hosts, max_bytes=_MAX_BYTES)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    add_error_handlers(app, {NotOpenError: 409, PhotochromError: 400, sqlite3.Error: _not_written})

    def person_of(request: Request) -> str | None:
        person = request.cookies.get(cookie, "")
        return person if request.app.state.store.knows(person) else None

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/pictures/{name}")
    def picture(name: str) -> Response:
        if name not in pictures:
            return JSONResponse({"detail": "there is no such picture"}, 404)
        return Response(pictures[name].read_bytes(), media_type="image/png")

    @app.post("/api/person")
    def agree(request: Request) -> Response:
        response = Response(status_code=204)
        if person_of(request) is None:
            person = request.app.state.store.add_person(
                lambda counts: plan(study, counts, SystemRandom())
            )
            secure = request.url.scheme == "https"
            response.set_cookie(
                cookie, person, max_age=_YEAR, httponly=True, samesite="strict", secure=secure
            )
        return response

    @app.get("/api/next")
    def next_trial(request: Request) -> dict[str, Any]:
        person = person_of(request)
        if person is None:
            return {"state": "consent"}
        found = request.app.state.store.next(person)
        return {"state": "done"} if found is None else _shown(study, found)

    @app.post("/api/begun")
    def begun(request: Request, body: _Number) -> Response:
        request.app.state.store.begin(_somebody(person_of(request)), body.number)
        return Response(status_code=204)

    @app.post("/api/answer")
    def answer(request: Request, body: _Said) -> dict[str, Any]:
        store, person = request.app.state.store, _somebody(person_of(request))
        trial = store.trial(person, body.number)
        if body.pictures != [ids[trial.item][system] for system in trial.shown]:
            raise NotOpenError(f"trial {body.number} shows other pictures; ask for it")
        timed = trial.protocol == "timed"
        if timed and body.exposure_ms is None:
            raise PhotochromError("exposure_ms is missing; say how long the picture was shown")
        kept = store.answer(
            person,
            body.number,
            meant(trial, body.chosen),
            exposure_ms=body.exposure_ms if timed else None,
            reaction_ms=body.reaction_ms,
        )
        return {"right": kept.right} if trial.kind == "practice" else {}

    return app


def _pictures(study: Study, folder: Path) -> dict[str, Path]:
    """Return where each picture lies, by the name that it is asked for.

    Raises:
        DataError: If one is missing.
    """
    names = [f"{id_}.png" for item in study.items for id_ in item.pictures.values()]
    paths = {name: folder / PICTURES / name for name in names}
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} pictures of study {folder} are missing, such as {missing[0].name}; "
            "copy the whole folder again"
        )
    return paths


def _page(study: Study) -> str:
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )
    paragraphs = [part for part in study.consent.split("\n\n") if part.strip()]
    return templates.get_template("study.html").render(title=study.title, consent=paragraphs)


def _shown(study: Study, found: Open) -> dict[str, Any]:
    """Return what the browser has to know of a trial; never the systems, nor what is a check."""
    trial = found.trial
    item = next(item for item in study.items if item.id == trial.item)
    return {
        "state": "trial",
        "number": found.number,
        "of": found.of,
        "protocol": trial.protocol,
        "practice": trial.kind == "practice",
        "pictures": [item.pictures[system] for system in trial.shown],
        "width": item.width,
        "height": item.height,
        "show_ms": 1000 * study.seconds if trial.protocol == "pair" else found.asked_ms,
    }


def _somebody(person: str | None) -> str:
    """Refuse a browser that nobody agreed in.

    Raises:
        NotOpenError: If it is one.
    """
    if person is None:
        raise NotOpenError("nobody has agreed to take part in this browser; open the page again")
    return person


def _not_written(error: sqlite3.Error) -> JSONResponse:
    return error_response(503, f"the answer could not be written: {error}")
