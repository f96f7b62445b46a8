"""All photos of an session in one file, which is sent while it is made."""

import asyncio
import functools
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerError
from photochrom.errors import PhotochromError
from photochrom.web.job_queue import FullError
from photochrom.web.service import Service
from photochrom.web.sessions import Picture

_CHUNK = 1 << 20


async def zipped(service: Service, photos: Sequence[Picture]) -> AsyncIterator[bytes]:
    """Yield the parts of a zip of results, each of which is made when it is its turn.

    Args:
        service: Where they are made.
        photos: Ready ones. A result that fails after all is not left out in silence: a text file in
            the zip says why.
    """
    sink = _Sink()
    names: set[str] = set()
    failed = []
    with zipfile.ZipFile(sink, "w") as archive:  # photos hardly get smaller
        for photo in photos:
            job = photo.job()
            clean = functools.partial(job.output.unlink, missing_ok=True)
            try:
                await _finish(service, photo, job, clean)
                name = _distinct(photo.output, names)
                with (
                    job.output.open("rb") as file,
                    archive.open(_entry(job.output, name), "w") as to,
                ):
                    while chunk := file.read(_CHUNK):
                        to.write(chunk)
                        yield sink.taken()
            except (PhotochromError, WorkerError, OSError) as error:
                failed.append(f"{photo.name}: {error}\n")
            finally:
                clean()
            yield sink.taken()
        if failed:
            archive.writestr("NOT COLORIZED.txt", "".join(failed))
    yield sink.taken()


async def _finish(service: Service, photo: Picture, job: Job, clean: Callable[[], object]) -> None:
    while True:
        try:
            return await service.finish(photo, job, clean=clean)
        except FullError as full:
            await asyncio.sleep(full.seconds)


def _entry(path: Path, name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo.from_file(path, name)
    entry.external_attr = 0o644 << 16
    return entry


def _distinct(name: str, taken: set[str]) -> str:
    path, number = Path(name), 1
    while name.lower() in taken:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    taken.add(name.lower())
    return name


class _Sink:
    """A file that only grows, of which what is new is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
