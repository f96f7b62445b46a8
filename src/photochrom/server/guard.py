"""Checks of every request (host, origin, body size), security headers, and errors as JSON."""

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

SECURITY_HEADERS = {
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
"""Default headers of every response; the default of Cache-Control is `no-store`."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
ErrorHandler = Callable[[Any], JSONResponse]
_MAX_FORM_OVERHEAD = 100_000  # bytes of a multipart body besides its file
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestGuard:
    """ASGI middleware that rejects requests of other hosts and origins, and large bodies."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] | None,
        max_bytes: int,
        timeout: float = 60.0,
        max_concurrent: int = 256,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            hosts: Allowed values of the Host header, without ports; None: all IP addresses and
                `LOOPBACK_HOSTS`. Other names are rejected, against DNS rebinding.
            max_bytes: Maximum size of a file; a request's body may be slightly larger.
            timeout: Seconds to wait for the next part of a body.
            max_concurrent: Maximum number of requests with bodies at a time.
        """
        self.app = app
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.max_bytes = max_bytes
        self.timeout = timeout
        self.max_concurrent = max_concurrent
        self._concurrent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _BodyReader(receive, self.max_bytes, self.timeout)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()  # an unread body would reset the connection
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        rejection = self._check(scope["method"], Headers(scope=scope))
        has_body = scope["method"] not in _SAFE_METHODS
        self._concurrent += has_body
        try:
            await (rejection or self.app)(scope, body.receive, send_with_headers)
        finally:
            self._concurrent -= has_body

    def _check(self, method: str, headers: Headers) -> JSONResponse | None:
        """Return an error response if a request is not allowed."""
        host = _host_name(headers.get("host", ""))
        if not self._is_allowed(host):
            return error_response(
                421, f"this server is not {host or 'nameless'}; use the address it shows"
            )
        if method not in _SAFE_METHODS:
            origin = headers.get("origin")
            if origin and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
                return error_response(403, f"requests from pages of {origin} are not allowed")
            if self._concurrent >= self.max_concurrent:
                return error_response(
                    503, "too many requests at once; try again in 5 s", **{"Retry-After": "5"}
                )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_bytes + _MAX_FORM_OVERHEAD:
            return error_response(413, too_large_message(self.max_bytes))
        return None

    def _is_allowed(self, host: str) -> bool:
        if self.hosts is not None:
            return host in self.hosts
        return host in LOOPBACK_HOSTS or _is_ip_address(host)


def add_error_handlers(
    app: Starlette, handlers: Mapping[type[Exception], int | ErrorHandler]
) -> None:
    """Answer exceptions and invalid requests with {"detail": message}.

    Args:
        app: The application.
        handlers: For each type of exception its status, or a function that returns the response.
    """
    for type_, handler in handlers.items():
        app.add_exception_handler(type_, functools.partial(_handle, handler))
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)


async def _handle(handler: int | ErrorHandler, _: Request, error: Exception) -> JSONResponse:
    return error_response(handler, str(error)) if isinstance(handler, int) else handler(error)


async def _handle_invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
    value = first.get("input")
    given = f" is {str(value)[:40]!r}" if isinstance(value, str | int | float) else ""
    return error_response(422, f"{name}{given}: {first['msg']}")


def error_response(status: int, message: str, **headers: str) -> JSONResponse:
    """Return a response in the form that FastAPI gives to an HTTPException."""
    return JSONResponse({"detail": message}, status, headers)


def too_large_message(max_bytes: int) -> str:
    """Return the message for a file above the limit."""
    return f"the file is too large; this server takes up to {max_bytes / 1e6:g} MB"


class _BodyReader:
    """Receives the body of a request, with a limit of its size and of the time for each part."""

    def __init__(self, receive: Receive, max_bytes: int, timeout: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._remaining = max_bytes + _MAX_FORM_OVERHEAD
        self._timeout = timeout
        self._complete = False
        self._lock = asyncio.Lock()  # a task that waits for the disconnect may be receiving

    async def receive(self) -> Message:
        """Receive the next part; after the last, wait for the disconnect."""
        async with self._lock:
            if not self._complete:
                return await self._receive_part()
        return await self._receive()

    async def drain(self) -> None:
        """Receive and discard the rest of the body, up to the limit."""
        self._remaining = self._max_bytes + _MAX_FORM_OVERHEAD
        with contextlib.suppress(HTTPException):
            while not self._complete:
                async with self._lock:
                    if not self._complete:
                        await self._receive_part()

    async def _receive_part(self) -> Message:
        try:
            async with asyncio.timeout(self._timeout):  # wait_for can swallow a cancellation
                message = await self._receive()
        except TimeoutError:
            self._complete = True
            raise HTTPException(408, "the upload timed out; send it again") from None
        self._remaining -= len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._remaining < 0:
            raise HTTPException(413, too_large_message(self._max_bytes))
        return message


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
