"""All results of a session in one zip file, streamed while it is written."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from photochrom.batch.process_pool import WorkerError
from photochrom.errors import PhotochromError
from photochrom.web.job_queue import QueueFullError
from photochrom.web.service import Service
from photochrom.web.sessions import UploadedPhoto

_CHUNK_SIZE = 1 << 20


async def stream_zip(service: Service, photos: Sequence[UploadedPhoto]) -> AsyncIterator[bytes]:
    """Colorize photos one after the other and yield the parts of a zip file.

    Photos that fail are listed in a text file in the zip.
    """
    buffer = _Buffer()
    names: set[str] = set()
    errors = []
    with zipfile.ZipFile(buffer, "w") as archive:  # stored, as photos are compressed already
        for photo in photos:
            try:
                result = await _colorize_when_free(service, photo)
                try:
                    entry = zipfile.ZipInfo.from_file(
                        result, _unique(photo.output_name(photo.look), names)
                    )
                    entry.external_attr = 0o644 << 16
                    with result.open("rb") as file, archive.open(entry, "w") as target:
                        while chunk := file.read(_CHUNK_SIZE):
                            target.write(chunk)
                            yield buffer.take()
                finally:
                    photo.remove_result(result)
            except (PhotochromError, WorkerError, OSError) as error:
                errors.append(f"{photo.name}: {error}\n")
            yield buffer.take()
        if errors:
            archive.writestr("NOT COLORIZED.txt", "".join(errors))
    yield buffer.take()


async def _colorize_when_free(service: Service, photo: UploadedPhoto) -> Path:
    while True:
        try:
            return (await service.colorize(photo, photo.look)).path
        except QueueFullError as error:
            await asyncio.sleep(error.retry_after)


def _unique(name: str, names: set[str]) -> str:
    """Return a name that differs from `names`, and add it to them."""
    path, number = Path(name), 1
    while name.lower() in names:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    names.add(name.lower())
    return name


class _Buffer(io.RawIOBase):
    """A write-only file; `take` returns and clears what was written."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: Any, /) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
