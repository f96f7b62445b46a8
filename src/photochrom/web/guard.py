"""What no request gets past: foreign hosts and pages, bodies without end; and what answers say."""

import asyncio
import contextlib
import functools
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer says; one without a Cache-Control of its own is not stored either."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
Answer = Callable[[Any], JSONResponse]
"""Makes the answer of an error."""
_FORM = 100_000  # bytes of a multipart body besides its file, at most
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Lets requests pass to an application, if they are ones for it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] | None,
        max_bytes: int,
        timeout: float = 60.0,
        at_once: int = 256,
    ) -> None:
        """Stand before an application.

        Args:
            app: What answers.
            hosts: The names by which it may be asked, without ports; None: any address in numbers,
                and any of `LOOPBACK`. A name of somebody else that leads here (DNS rebinding) is
                refused.
            max_bytes: A file may have; a request's body a little more.
            timeout: Seconds that the next part of a body may take.
            at_once: Requests with bodies that are in work at a time.
        """
        self.app = app
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.max_bytes = max_bytes
        self.timeout = timeout
        self.at_once = at_once
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(receive, self.max_bytes, self.timeout)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()  # else the connection breaks before the answer is read
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, Headers(scope=scope))
        counted = scope["method"] not in _SAFE
        self._in_work += counted
        try:
            await (refusal or self.app)(scope, body.receive, answer)
        finally:
            self._in_work -= counted

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host = _name(headers.get("host", ""))
        if not self._is_ours(host):
            return refused(
                421, f"this server is not {host or 'nameless'}; use the address it shows"
            )
        origin = headers.get("origin")
        here = headers.get("host", "").lower()
        if scope["method"] not in _SAFE and origin and urlsplit(origin).netloc.lower() != here:
            return refused(403, f"a page of {origin} may not ask this server for anything")
        if scope["method"] not in _SAFE and self._in_work >= self.at_once:
            return refused(
                503, "too much is asked at once; try again in 5 s", **{"Retry-After": "5"}
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes + _FORM:
            return refused(413, too_large(self.max_bytes))
        return None

    def _is_ours(self, host: str) -> bool:
        if self.hosts is not None:
            return host in self.hosts
        return host in LOOPBACK or _is_address(host)


def answer_errors(app: Starlette, answers: Mapping[type[Exception], int | Answer]) -> None:
    """Have an application answer errors with {"detail": sentence}, and bodies that are none too.

    Args:
        app: The application.
        answers: By the type of the error, the status, or what makes the answer of it.
    """
    for kind, answer in answers.items():
        app.add_exception_handler(kind, functools.partial(_answered, answer))
    app.add_exception_handler(RequestValidationError, _invalid)


async def _answered(answer: int | Answer, _: Request, error: Exception) -> JSONResponse:
    return refused(answer, str(error)) if isinstance(answer, int) else answer(error)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    given = first.get("input")
    said = f" is {str(given)[:40]!r}" if isinstance(given, str | int | float) else ""
    return refused(422, f"{name}{said}: {first['msg']}")


def too_large(max_bytes: int) -> str:
    """Return what to say of a body that is too large."""
    return f"the file is too large; this server takes up to {max_bytes / 1e6:g} MB"


class _Body:
    """The body of a request, which ends."""

    def __init__(self, receive: Receive, max_bytes: int, timeout: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._left = max_bytes + _FORM
        self._timeout = timeout
        self._whole = False
        self._one = asyncio.Lock()  # who listens for the client's going may already be receiving

    async def receive(self) -> Message:
        """Receive the next part; after the last, wait until the client is gone."""
        async with self._one:
            if not self._whole:
                return await self._next()
        return await self._receive()

    async def drain(self) -> None:
        """Read what is left of it, up to a limit, and forget it."""
        self._left = self._max_bytes + _FORM
        with contextlib.suppress(HTTPException):
            while not self._whole:
                async with self._one:
                    if not self._whole:
                        await self._next()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._timeout):  # wait_for can swallow a cancellation
                message = await self._receive()
        except TimeoutError:
            self._whole = True
            raise HTTPException(408, "the upload stood still for too long; send it again") from None
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            raise HTTPException(413, too_large(self._max_bytes))
        return message


def _name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def refused(status: int, sentence: str, **headers: str) -> JSONResponse:
    """Return the answer to what is not done."""
    return JSONResponse({"detail": sentence}, status, headers)
