"""Checks of every request (host, origin, body size), security headers, and errors as JSON."""

import asyncio
import contextlib
import functools
import ipaddress
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
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
ErrorHandler = Callable[[Any], JSONResponse]
STOP_SLOW_BODIES = "photochrom.stop_slow_bodies"
"""The key of the function in a scope's extensions that rejects all bodies that are slow."""
_MAX_OTHER_BYTES = 1_000_000
_MAX_FORM_OVERHEAD = 100_000  # bytes of a multipart body besides its file
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_INSTANT = 0.05  # seconds for the rest of a small body, which is mostly there already
_MAX_DRAIN = 0.9  # seconds


class RequestGuard:
    """ASGI middleware that rejects requests of other hosts and origins, large and slow bodies."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Sequence[str] | None,
        max_bytes: int,
        uploads: Collection[str] | None = None,
        max_bodies: int = 128,
        max_bodies_per_client: int = 32,
        timeout: float = 60.0,
        grace: float = 20.0,
        min_rate: float = 8000.0,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            hosts: Allowed names in the Host header, without ports; None: localhost. IP addresses
                are always allowed. Other names are rejected, against DNS rebinding.
            max_bytes: Maximum size of a file; a request's body may be slightly larger.
            uploads: Paths whose bodies may have this size; others, which are read into memory, may
                have 1 MB at most. None: all.
            max_bodies: Maximum number of bodies that are received at a time. If there are as many,
                the slowest of those below `min_rate` that the server waits for is rejected for a
                new one.
            max_bodies_per_client: The same of one client, which is an IPv4 address or the first
                64 bits of an IPv6 address.
            timeout: Seconds to wait for the next part of a body.
            grace: Seconds that a body may take in addition to its bytes so far, divided by
                `min_rate`.
            min_rate: Bytes per second.
        """
        self.app = app
        self.hosts = {"localhost"} if hosts is None else {host.lower() for host in hosts}
        self.max_bytes = max_bytes
        self.uploads = uploads
        self.max_bodies = max_bodies
        self.max_bodies_per_client = max_bodies_per_client
        self.timeout = timeout
        self.grace = grace
        self.min_rate = min_rate
        self._bodies: set[_BodyReader] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = client_network((scope.get("client") or ("",))[0])
        is_upload = self.uploads is None or _path(scope) in self.uploads
        max_bytes = self.max_bytes if is_upload else min(self.max_bytes, _MAX_OTHER_BYTES)
        body = _BodyReader(self, receive, client, max_bytes)
        scope.setdefault("extensions", {})[STOP_SLOW_BODIES] = self._stop_slow_bodies
        response = _Response(send, body)
        rejection = self._check(scope["method"], Headers(scope=scope), max_bytes)
        if rejection is None and scope["method"] not in _SAFE_METHODS:
            rejection = self._admit(body)
        try:
            await (rejection or self.app)(scope, body.receive, response.send)
        except ClientDisconnect:
            pass  # as by a reload of the page during an upload
        finally:
            self._bodies.discard(body)

    def _check(self, method: str, headers: Headers, max_bytes: int) -> JSONResponse | None:
        """Return an error response if a request is not allowed."""
        host = _host_name(headers.get("host", ""))
        if not self._is_allowed(host):
            return error_response(
                421, f"this server is not {host or 'nameless'}; use the address it shows"
            )
        if method not in _SAFE_METHODS:
            origin = headers.get("origin")
            if origin and origin.lower().partition("://")[2] != headers.get("host", "").lower():
                return error_response(403, f"requests from pages of {origin} are not allowed")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > max_bytes + _MAX_FORM_OVERHEAD:
            return error_response(413, too_large_message(max_bytes))
        return None

    def _admit(self, body: "_BodyReader") -> JSONResponse | None:
        """Count a body among those that are received, or return an error response."""
        receiving = [other for other in self._bodies if not (other.complete or other.stopped)]
        of_client = [other for other in receiving if other.client == body.client]
        for bodies, limit in (
            (of_client, self.max_bodies_per_client),
            (receiving, self.max_bodies),
        ):
            if len(bodies) < limit:
                continue
            slow = list(filter(_BodyReader.is_slow, bodies))
            if not slow:
                return error_response(
                    503, "too many uploads at once; try again in 5 s", **{"Retry-After": "5"}
                )
            min(slow, key=_BodyReader.rate).stop()
        self._bodies.add(body)
        return None

    def _stop_slow_bodies(self) -> None:
        for body in self._bodies:
            if body.is_slow():
                body.stop()

    def _is_allowed(self, host: str) -> bool:
        return host in self.hosts or _is_ip_address(host)


def client_network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or 64 bits of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


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


def cookie_path(request: Request) -> str:
    """Return the path of cookies: that of the application, which a proxy may have below its own."""
    return request.scope.get("root_path") or "/"


def too_large_message(max_bytes: int) -> str:
    """Return the message for a file above the limit."""
    return f"the file is too large; this server takes up to {max_bytes / 1e6:g} MB"


class _BodyReader:
    """Receives the body of a request, with limits of its size and of its time."""

    def __init__(self, guard: RequestGuard, receive: Receive, client: str, max_bytes: int) -> None:
        self.client = client
        self.max_bytes = max_bytes
        self.complete = False
        self.stopped = False
        self._guard = guard
        self._receive = receive
        self._received = 0
        self._start = time.monotonic()
        self._timeout: asyncio.Timeout | None = None  # while it waits for a part
        self._lock = asyncio.Lock()  # a task that waits for the disconnect may be receiving

    def rate(self) -> float:
        """Return the bytes per second so far; infinite in the first second."""
        seconds = time.monotonic() - self._start
        return self._received / seconds if seconds > 1 else math.inf

    def is_slow(self) -> bool:
        """Return whether the server waits for a part, and the rate is below the minimum."""
        return self._timeout is not None and self.rate() < self._guard.min_rate

    def stop(self) -> None:
        """Let the request fail as if its time were over."""
        self.stopped = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(0)

    async def receive(self) -> Message:
        """Receive the next part; after the last, wait for the disconnect.

        Raises:
            HTTPException: If the body is too large or takes too long.
        """
        async with self._lock:
            if not self.complete:
                return await self._receive_part()
        return await self._receive()

    async def drain(self, seconds: float) -> None:
        """Receive and discard the rest of the body, for a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._lock:
                while not self.complete:
                    self.complete = not (await self._receive()).get("more_body", False)

    async def _receive_part(self) -> Message:
        end = self._start + self._guard.grace + self._received / self._guard.min_rate
        seconds = min(end - time.monotonic(), self._guard.timeout)
        try:
            async with asyncio.timeout(0 if self.stopped else seconds) as self._timeout:
                message = await self._receive()  # wait_for can swallow a cancellation
        except TimeoutError:
            raise HTTPException(408, "the upload took too long; send it again") from None
        finally:
            self._timeout = None
        self._received += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self._received > self.max_bytes + _MAX_FORM_OVERHEAD:
            raise HTTPException(413, too_large_message(self.max_bytes))
        return message


class _Response:
    """Sends a response with the security headers, also to a client that is still sending.

    An unread body would reset the connection when it is closed, and the client might not see the
    response. So the rest of the body is received for a short time before the response ends.
    """

    def __init__(self, send: Send, body: _BodyReader) -> None:
        self._send = send
        self._body = body
        self._lingering = False

    async def send(self, message: Message) -> None:
        """Send a message of the application."""
        if message["type"] == "http.response.start":
            await self._body.drain(_INSTANT)
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if not self._body.complete:
                self._lingering = True
                headers["Connection"] = "close"
        elif self._lingering and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            await self._body.drain(_MAX_DRAIN)
            message = {"type": "http.response.body"}
        await self._send(message)


def _path(scope: Scope) -> str:
    """Return the path below that of the application."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


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
