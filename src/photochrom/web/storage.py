"""The temporary folder of the photos: its quota, and its removal at the end of the server."""

import asyncio
import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from photochrom.errors import PhotochromError

_PREFIX = "photochrom-web-"
_LOCK_FILE = "lock"
"""Locked by the server. The system unlocks it when the process ends, however it ends."""
_RETRY_SECONDS = 10
_CLIENT_SHARE = 0.25
"""Of the quota, which the uploads that one client sends at a time may have."""


class StorageFullError(PhotochromError):
    """The quota does not allow a file."""

    def __init__(self, message: str, retry_after: int, status: int = 507) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; 503: only uploads in progress are in the way."""
        self.retry_after = retry_after
        """Seconds after which the client should try again."""


class FileTooLargeError(PhotochromError):
    """A file is larger than the quota."""


class Storage:
    """A folder with a quota. For one event loop.

    Files count before they are written, by `reserve`. All files are measured periodically, and
    before anything is refused, so that what worker processes write counts as well.
    """

    def __init__(self, max_bytes: int, headroom: int = 0) -> None:
        """Create the folder, and delete those of servers that were killed.

        Args:
            max_bytes: The quota.
            headroom: How much more results may take, so that an album that fills the quota can be
                downloaded.
        """
        _remove_stale_folders()
        self.max_bytes = max_bytes
        self.headroom = headroom
        self.folder, self._lock = _create_folder()
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self._usage: Counter[str] = Counter()  # by name in the folder, as measured
        self._reserved: Counter[str] = Counter()  # by client
        self._recent = 0  # reserved since the measurement, and released
        self._unfinished: set[Path] = set()
        self._measuring = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def reserve(
        self,
        size: int,
        *,
        path: Path | None = None,
        owner: str | None = None,
        client: str | None = None,
        wait: float = _RETRY_SECONDS,
        stop_slow: Callable[[], object] | None = None,
    ) -> AsyncIterator[None]:
        """Return a context in which a file may be written.

        Args:
            size: Of the file, in bytes, at most.
            path: The file.
            owner: The name in the folder of the client's own files; None: it has none.
            client: Who sends it; None: nobody, as it is a result.
            wait: Seconds until others' files may be deleted.
            stop_slow: Rejects slow uploads, to make room for this one.

        Raises:
            FileTooLargeError: If it never fits.
            StorageFullError: If it does not fit.
        """
        if size > self.max_bytes:
            raise FileTooLargeError(
                f"the file is too large: it takes up to {size / 1e6:.0f} MB of disk space, and "
                f"this server has {self.max_bytes / 1e6:g} MB; send a smaller one"
            )
        sender = client or ""
        limit = self.max_bytes + (self.headroom if client is None else 0)
        if not self._has_room(size, limit, sender):
            async with self._measuring:
                if not self._has_room(size, limit, sender):
                    await self._measure()
        if stop_slow is not None and not self._has_room(size, limit, sender):
            stop_slow()
            await asyncio.sleep(0.1)
            await self.measure()
        if not self._has_room(size, limit, sender):
            raise self._refusal(size, owner, wait)
        self._reserved[sender] += size
        if path is not None:
            self._unfinished.add(path)
        try:
            yield
        finally:
            self._reserved[sender] -= size
            self._reserved += Counter()  # forgets clients with nothing
            self._recent += size
            if path is not None:
                self._unfinished.discard(path)

    def owner(self, path: Path) -> str:
        """Return the name in the folder of what a file belongs to, such as a session."""
        return path.relative_to(self.folder).parts[0]

    async def measure(self) -> None:
        """Measure all files."""
        async with self._measuring:
            await self._measure()

    def used(self) -> int:
        """Return the bytes of all files, when they were last measured."""
        return self._usage.total()

    def close(self) -> None:
        """Delete everything."""
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has_room(self, size: int, limit: int, sender: str) -> bool:
        others = self._reserved[sender]
        if sender and others and others + size > _CLIENT_SHARE * self.max_bytes:
            return False
        return self._usage.total() + self._recent + self._reserved.total() + size <= limit

    async def _measure(self) -> None:
        before, unfinished = self._recent, frozenset(self._unfinished)
        self._usage = await asyncio.to_thread(_measure, self.folder, unfinished)
        self._recent -= before

    def _refusal(self, size: int, owner: str | None, wait: float) -> StorageFullError:
        own, stored = self._usage[owner] if owner else 0, self._usage.total()
        if 2 * own >= self.max_bytes:
            return StorageFullError(
                f"your photos take {own / 1e6:.0f} of the {self.max_bytes / 1e6:.0f} MB that this "
                "server has for photos; download and remove some, then try again",
                _RETRY_SECONDS,
            )
        if stored + self._recent + size <= self.max_bytes:
            return StorageFullError(
                f"too many uploads at once; try again in {_RETRY_SECONDS} s", _RETRY_SECONDS, 503
            )
        seconds = max(_RETRY_SECONDS, round(wait))
        text = f"{seconds} s" if seconds < 100 else f"{-(-seconds // 60)} min"
        return StorageFullError(
            f"this server is full of the photos of others; try again in {text}", seconds
        )


def _measure(root: Path, unfinished: frozenset[Path]) -> Counter[str]:
    """Return the bytes of all files by the first part of their paths."""
    usage: Counter[str] = Counter()
    for folder, _, names in os.walk(root):
        top = Path(folder).relative_to(root).parts[:1]
        for name in names:
            path = Path(folder, name)
            if path not in unfinished:
                with contextlib.suppress(OSError):  # removed meanwhile
                    usage[top[0] if top else ""] += path.stat().st_size
    return usage


def _create_folder() -> tuple[Path, BinaryIO]:
    """Return a new folder and its locked file."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Another server that starts may take it for a stale one before it is locked.
        with contextlib.suppress(OSError):
            lock = (folder / _LOCK_FILE).open("wb")
            if _try_lock(lock) and (folder / _LOCK_FILE).exists():
                return folder, lock
            lock.close()


def _remove_stale_folders() -> None:
    """Delete the folders whose server process no longer runs."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's
            if not (folder / _LOCK_FILE).exists():
                folder.rmdir()  # only if it is empty: of a server that was killed while it started
                continue
            with (folder / _LOCK_FILE).open("r+b") as lock:
                if not _try_lock(lock):
                    continue
                # While it is locked, as its server may be about to lock it.
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)  # Windows keeps files that are open


def _try_lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; return False if another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
