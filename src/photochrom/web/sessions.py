"""Sessions: the uploaded photos of each browser, in a temporary folder."""

import asyncio
import functools
import re
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from photochrom.batch.folders import has_photo_suffix
from photochrom.batch.planning import STEM_SUFFIX, becomes_png, output_name
from photochrom.colorize.hints import Hint
from photochrom.errors import ErrorCode, PhotoError
from photochrom.web.looks import Look
from photochrom.web.predictions import Predictions
from photochrom.web.tasks import PhotoInfo, PredictionKey

_MAX_NAME_LENGTH = 120
_MAX_REMOVALS = 10_000
"""Sessions of which it is known why they were removed."""
Removal = Literal["idle", "removed"]
_MAX_VERSION_SETS = 20
"""Answers of one photo that are kept, so that undo shows the same versions again."""
_MAX_VERSION_FOLDERS = 3
_MAX_PREDICTIONS = 6
"""Of one photo: one for each of the four versions, and two more to go back to."""


class PhotoFailedError(PhotoError):
    """A photo that cannot be read or colorized."""

    def __init__(self, message: str, code: ErrorCode | None = None) -> None:
        """Keep the code, as of `TaskFailure`."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class PredictionFiles:
    """The folder of a prediction, and the size of its photo."""

    folder: Path
    info: PhotoInfo

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class HintVersions:
    """Versions of a photo that differ by hints."""

    key: PredictionKey
    hints: tuple[tuple[Hint, ...], ...]
    """Of each version."""
    folder: Path
    """From `FindVersions`; it may be deleted, as the pictures can be made without it."""


@dataclass(eq=False)
class UploadedPhoto:
    """One photo on the server."""

    id: str
    name: str
    """The client's file name; only its extension is used on the disk."""
    folder: Path
    look: Look
    """As saved by the page; requests bring their own."""
    temporary: bool = False
    """Whether it belongs to one API request, and not to a session."""
    status: Literal["waiting", "ready", "failed"] = "waiting"
    """Of the first preparation; a later look that fails does not change it."""
    error: str | None = None
    error_code: ErrorCode | Literal["server"] | None = None
    """As of `TaskFailure`; "server": the photo is not the reason, it can be tried again."""
    info: PhotoInfo | None = None
    preparation: "asyncio.Task[None] | None" = None
    predictions: Predictions[PredictionKey, PredictionFiles] = field(
        default_factory=lambda: Predictions(_MAX_PREDICTIONS, PredictionFiles.remove)
    )
    versions: list[HintVersions] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The uploaded file."""
        name = Path(self.name)
        return self.folder / f"photo{name.suffix.lower() if has_photo_suffix(name) else ''}"

    @functools.cached_property
    def _becomes_png(self) -> bool:
        """Whether the file, which is received, becomes a PNG whatever its suffix."""
        return becomes_png(str(self.path))

    def add_versions(self, versions: HintVersions) -> None:
        """Keep versions, and forget old ones."""
        del self.versions[: max(0, len(self.versions) + 1 - _MAX_VERSION_SETS)]
        self.versions.append(versions)
        self._drop_version_folders(_MAX_VERSION_FOLDERS)

    def drop_predictions(self) -> None:
        """Delete what can be made again, but the latest prediction."""
        self.predictions.drop_old(1)
        self._drop_version_folders(0)

    def _drop_version_folders(self, max_count: int) -> None:
        for old in self.versions[: max(0, len(self.versions) - max_count)]:
            shutil.rmtree(old.folder, ignore_errors=True)

    def find_versions(self, key: PredictionKey, hints: tuple[Hint, ...]) -> HintVersions | None:
        """Return the latest versions of which one has these hints."""
        for versions in reversed(self.versions):
            if versions.key == key and hints in versions.hints:
                return versions
        return None

    def output_name(self, look: Look) -> str:
        """Return the file name of the result, for the client."""
        as_png = self._becomes_png if self.info is not None else becomes_png(str(self.path))
        return output_name(self.name, STEM_SUFFIX, as_png=as_png, format=look.format)

    def new_output(self, look: Look) -> Path:
        """Return an output file in a folder of its own."""
        folder = self.folder / f"result-{secrets.token_hex(8)}"
        return folder / f"result{Path(self.output_name(look)).suffix}"

    def remove(self) -> None:
        """Cancel all work and delete the folder."""
        if self.preparation is not None:
            self.preparation.cancel()
        self.predictions.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_result(self, path: Path) -> None:
        """Delete an output file with its folder; of a temporary photo, everything."""
        if self.temporary:
            self.remove()
        else:  # a process that was stopped may have left a temporary file there
            shutil.rmtree(path.parent, ignore_errors=True)

    def with_client_name(self, message: str) -> str:
        """Replace the path of the upload in a message by the client's file name."""
        return message.replace(str(self.path), self.name)


class Session:
    """The photos of one browser."""

    def __init__(self, folder: Path) -> None:
        """Create an empty session in a folder of its own."""
        folder.mkdir()
        self.folder = folder
        self.photos: dict[str, UploadedPhoto] = {}
        self.last_access = time.monotonic()

    def add(self, name: str, look: Look) -> UploadedPhoto:
        """Create a photo and its folder, before the upload."""
        id = secrets.token_hex(8)
        folder = self.folder / id
        folder.mkdir()
        photo = self.photos[id] = UploadedPhoto(id, sanitize_name(name), folder, look)
        return photo

    def remove(self, photo: UploadedPhoto) -> None:
        """Delete a photo."""
        self.photos.pop(photo.id, None)
        photo.remove()


class Sessions:
    """All sessions, by their keys, in one folder."""

    def __init__(self, folder: Path) -> None:
        """Start with none."""
        self.folder = folder
        self.server_id = secrets.token_urlsafe(6)
        """Of this start of the server; the keys that it gives to browsers start with it."""
        self._sessions: dict[str, Session] = {}
        self._removals: dict[str, Removal] = {}

    def new_key(self) -> str:
        """Return a random key for a browser, of 43 characters."""
        return self.server_id + secrets.token_urlsafe(26)

    def find_removal(self, key: str) -> Removal | Literal["restarted"] | None:
        """Return why there is no session with a key; None: there is one, or never was."""
        if not key or key in self._sessions:
            return None
        return self._removals.get(key, None if key.startswith(self.server_id) else "restarted")

    def get(self, key: str) -> Session | None:
        """Return a session, None if it does not exist."""
        session = self._sessions.get(key)
        if session is not None:
            session.last_access = time.monotonic()
        return session

    def get_or_create(self, key: str) -> Session:
        """Return a session, a new one if it does not exist."""
        session = self.get(key)
        if session is None:
            session = self._sessions[key] = Session(self.folder / secrets.token_hex(8))
            self._removals.pop(key, None)
        return session

    def remove(self, key: str, reason: Removal) -> None:
        """Delete a session and its photos."""
        session = self._sessions.pop(key, None)
        if session is not None:
            self._removals[key] = reason
            if len(self._removals) > _MAX_REMOVALS:
                del self._removals[next(iter(self._removals))]
            for photo in session.photos.values():
                photo.remove()
            shutil.rmtree(session.folder, ignore_errors=True)

    def remove_idle(self, timeout: float) -> None:
        """Delete the sessions without access for `timeout` seconds."""
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.last_access > timeout:
                self.remove(key, "idle")

    def drop_predictions(self) -> None:
        """Delete all predictions but the latest of each photo."""
        for session in self._sessions.values():
            for photo in session.photos.values():
                photo.drop_predictions()

    def temporary_photo(self, name: str, look: Look) -> UploadedPhoto:
        """Create a photo outside of any session."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return UploadedPhoto("", sanitize_name(name), folder, look, temporary=True)

    def longest_idle(self, but: str | None) -> float | None:
        """Return the seconds without access of the session that will be deleted first.

        Args:
            but: The name of the folder of a session that does not count.
        """
        now = time.monotonic()
        others = (s for s in self._sessions.values() if s.folder.name != but)
        return max((now - session.last_access for session in others), default=None)

    def close(self) -> None:
        """Delete everything."""
        for key in list(self._sessions):
            self.remove(key, "removed")


def sanitize_name(name: str) -> str:
    """Return a client's file name as one short line without folders."""
    last = re.split(r"[\\/]", name)[-1]
    line = "".join(c for c in last if c.isprintable()).strip().lstrip(".")
    if len(line) > _MAX_NAME_LENGTH:
        path = Path(line)
        line = path.stem[: _MAX_NAME_LENGTH - len(path.suffix[:8])] + path.suffix[:8]
    return line or "photo"
