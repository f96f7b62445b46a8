"""Responses that end with their client."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

Result = TypeVar("Result")


class ResultResponse(FileResponse):
    """Sends a result and deletes it, also if the client leaves meanwhile."""

    def __init__(self, path: Path, *, remove: Callable[[], object], **options: Any) -> None:
        """Take the arguments of `FileResponse`, and what deletes the file."""
        super().__init__(path, **options)
        self._remove = remove

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._remove()


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work, or cancel it when the client disconnects.

    Raises:
        HTTPException: If the client disconnected.
        Exception: As the work.
    """
    task, disconnect = asyncio.create_task(work), asyncio.create_task(_wait_disconnect(request))
    try:
        await asyncio.wait((task, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(499, "the client disconnected")
        return task.result()
    finally:
        task.cancel()
        disconnect.cancel()


async def _wait_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
