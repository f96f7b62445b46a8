"""Sessions: one for each browser, with its photos in a temporary folder."""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from photochrom.batch.planning import Job, beside, ends_as_photo
from photochrom.colorize.options import OPTIONS
from photochrom.web.job_queue import Ticket
from photochrom.web.tasks import Drafted

_KEY = re.compile(r"[\w-]{43}", re.ASCII)
_PREFIX = "photochrom-web-"
_LONGEST = 120  # characters of a name that are kept


def new_key() -> str:
    """Return a name for an session that nobody can guess."""
    return secrets.token_urlsafe(32)


def is_key(text: str) -> bool:
    """Tell whether a text can be the name of an session."""
    return _KEY.fullmatch(text) is not None


@dataclass(eq=False)
class Picture:
    """One photo of an session."""

    id: str
    name: str
    """What its owner calls it; nothing on the disk is named so."""
    folder: Path
    model: int
    look: dict[str, Any] = field(default_factory=lambda: {o.name: o.default for o in OPTIONS})
    status: Literal["waiting", "ready", "failed"] = "waiting"
    error: str | None = None
    facts: Drafted | None = None
    shown: Path | None = None
    """The folder with what the page shows of it, from `Prepare`."""
    revision: int = 0
    """Goes up whenever there is something new to show."""
    ticket: Ticket | None = None
    work: "asyncio.Task[None] | None" = None

    @property
    def file(self) -> Path:
        """Where its upload lies."""
        name = Path(self.name)
        return self.folder / f"photo{name.suffix.lower() if ends_as_photo(name) else ''}"

    @property
    def output(self) -> str:
        """What the file of its result is called."""
        return beside(Path(self.name)).name

    def job(self) -> Job:
        """Return what is to be colorized into a file that has no one else's name."""
        result = self.folder / f"result-{secrets.token_hex(8)}"
        return Job(self.file, result.with_suffix(Path(self.output).suffix))

    def said(self, sentence: str) -> str:
        """Return a sentence about the server's own file as one about the owner's photo."""
        return sentence.replace(str(self.file), self.name)


class Session:
    """The photos of one browser."""

    def __init__(self, folder: Path) -> None:
        """Begin an empty one in a folder of its own."""
        self.folder = folder
        self.pictures: dict[str, Picture] = {}
        self.seen = time.monotonic()

    def add(self, name: str, model: int) -> Picture:
        """Make room for a photo.

        Args:
            name: What its owner calls it.
            model: Which is to colorize it.
        """
        id = secrets.token_hex(8)
        folder = self.folder / id
        folder.mkdir()
        picture = self.pictures[id] = Picture(id, plain_name(name), folder, model)
        return picture

    def remove(self, picture: Picture) -> None:
        """Forget a photo, and stop waiting for it."""
        self.pictures.pop(picture.id, None)
        if picture.work is not None:
            picture.work.cancel()
        shutil.rmtree(picture.folder, ignore_errors=True)


class Sessions:
    """All sessions, in a folder that goes when they are closed."""

    def __init__(self) -> None:
        """Make the folder, and remove those of servers that were killed."""
        _remove_left_over()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._sessions: dict[str, Session] = {}

    def get(self, key: str) -> Session | None:
        """Return the session of a browser, None if it has none (any more)."""
        session = self._sessions.get(key)
        if session is not None:
            session.seen = time.monotonic()
        return session

    def open(self, key: str) -> Session:
        """Return the session of a browser, a new one if it has none."""
        session = self.get(key)
        if session is None:
            folder = self.folder / secrets.token_hex(8)
            folder.mkdir()
            session = self._sessions[key] = Session(folder)
        return session

    def remove(self, key: str) -> None:
        """Forget an session and all that is in it."""
        session = self._sessions.pop(key, None)
        if session is not None:
            for picture in list(session.pictures.values()):
                session.remove(picture)
            shutil.rmtree(session.folder, ignore_errors=True)

    def remove_idle(self, seconds: float) -> None:
        """Forget the sessions that nobody has looked at for so long."""
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.seen > seconds:
                self.remove(key)

    def passing(self) -> Path:
        """Make a folder for one request; who asked for it removes it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def bytes(self) -> int:
        """Return how much room all of it takes on the disk."""
        sizes = 0
        for place, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):  # gone meanwhile
                    sizes += Path(place, name).stat().st_size
        return sizes

    def close(self) -> None:
        """Forget everything."""
        for key in list(self._sessions):
            self.remove(key)
        shutil.rmtree(self.folder, ignore_errors=True)


def plain_name(name: str) -> str:
    """Return what an owner calls a photo as one short line without folders."""
    last = re.split(r"[\\/]", name)[-1]
    line = "".join(c for c in last if c.isprintable()).strip().lstrip(".")
    if len(line) > _LONGEST:
        path = Path(line)
        line = path.stem[: _LONGEST - len(path.suffix[:8])] + path.suffix[:8]
    return line or "photo"


def _remove_left_over() -> None:
    """Remove the folders of servers that were killed, where it can be told that they were."""
    if os.name != "posix":
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue
