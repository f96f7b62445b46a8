"""Servers with slow, broken and many clients. Each client has an address 127.0.0.x of its own."""

import asyncio
import contextlib
import ipaddress
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from photochrom.server import connections
from photochrom.server.guard import RequestGuard, client_network
from support.browser import launch_browser, needs_browser
from support.server import run_server

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs the addresses 127.0.0.x"
)
A, B, C = "127.0.0.1", "127.0.0.2", "127.0.0.3"
Connect = Callable[..., socket.socket]


async def _receive(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def _fail(_: Request) -> Response:
    raise RuntimeError("a fault of ours")


def _make_app(**limits: Any) -> Starlette:
    routes = [Route("/", _receive, methods=["GET", "POST"]), Route("/fail", _fail)]
    app = Starlette(routes=routes)
    app.add_middleware(RequestGuard, hosts=None, max_bytes=1_000_000, **limits)
    return app


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens sockets that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def open_socket(server: str, client: str, data: bytes = b"") -> socket.socket:
            port = int(server.rsplit(":", 1)[1])
            opened = socket.create_connection(("127.0.0.1", port), 30, (client, 0))
            stack.enter_context(opened)
            opened.sendall(data)
            return opened

        yield open_socket


def _post(length: int, body: bytes = b"", *, host: str = "localhost", header: str = "") -> bytes:
    lines = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{header}\r\n"
    return lines.encode() + body


def _post_slowly(
    connect: Connect, server: str, client: str, length: int, *, header: str = ""
) -> socket.socket:
    """Begin a request, and send a byte of its body once the server waits for it."""
    opened = connect(server, client, _post(length, header=f"Expect: 100-continue\r\n{header}"))
    assert _status(opened) == 100
    opened.sendall(b"x")
    return opened


def _status(opened: socket.socket) -> int:
    return int(opened.recv(65536).split()[1])


def _is_closed(opened: socket.socket) -> bool:
    """Read to the end; a server that does not close runs into the socket's timeout."""
    with contextlib.suppress(ConnectionResetError):
        while opened.recv(65536):
            pass
    return True


def test_slow_senders_lock_nobody_out(connect: Connect):
    with run_server(_make_app()) as server:
        slow = [connect(server, B, _post(500_000, b"x")) for _ in range(130)]
        assert _status(connect(server, A, _post(3, b"abc"))) == 200
        more = [_post_slowly(connect, server, f"127.0.0.{n}", 500_000) for n in range(10, 140)]
        time.sleep(1.2)  # from then on they are known to be slow
        for client in (A, B, C):
            assert _status(connect(server, client, _post(3, b"abc"))) == 200
        assert len(slow) + len(more) == 260


def test_body_has_a_deadline(connect: Connect):
    with run_server(_make_app(grace=0.3, min_rate=100)) as server:
        slow = connect(server, A, _post(500_000, b"x"))
        fast = connect(server, A, _post(4000, bytes(3900)))  # it has 39 s
        response = b""
        slow.settimeout(0.05)
        end = time.monotonic() + 20
        while not response and time.monotonic() < end:
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                response = slow.recv(1000)
        assert b" 408 " in response
        fast.sendall(bytes(100))
        assert _status(fast) == 200


@pytest.mark.parametrize("request_", [_post(900_000, b"x", host="evil.example"), _post(9_000_000)])
def test_refused_request_is_answered_at_once_and_closed_soon(connect: Connect, request_: bytes):
    with run_server(_make_app()) as server:
        for _ in range(130):
            connect(server, A, request_)
        refused = connect(server, A, request_)
        accepted = connect(server, A, _post(3, b"abc"))
        start = time.monotonic()
        assert _status(accepted) == 200
        assert _status(refused) in (413, 421)
        refused.sendall(bytes(1000))  # a browser that is still sending gets the sentence
        assert _is_closed(refused)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(("trusted", "other"), [(True, 200), (False, 503)])
def test_clients_behind_a_trusted_proxy_are_counted_apart(
    connect: Connect, trusted: bool, other: int
):
    proxies = [ipaddress.ip_network("127.0.0.0/24")] if trusted else []
    with run_server(_make_app(max_bodies_per_client=3), proxies=proxies) as server:
        first, second = ("X-Forwarded-For: 10.0.0.1\r\n", "X-Forwarded-For: 10.0.0.2\r\n")
        for _ in range(3):
            _post_slowly(connect, server, A, 1000, header=first)
        assert _status(connect(server, A, _post(3, b"abc", header=first))) == 503
        assert _status(connect(server, A, _post(3, b"abc", header=second))) == other


def test_proxy_is_known_to_a_server_at_an_ipv6_address():
    proxy = ipaddress.ip_network("10.0.0.0/8")
    config = connections.create_server(_make_app(), proxies=[proxy]).config
    mapped = ipaddress.ip_network("::ffff:a00:0/104")
    assert mapped in map(ipaddress.ip_network, config.forwarded_allow_ips)
    assert ipaddress.ip_address("::ffff:10.1.2.3") in mapped


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("unknown", "unknown", True),
    ],
)
def test_network_of_a_client(one: str, other: str, same: bool):
    assert (client_network(one) == client_network(other)) == same


def test_header_has_a_deadline(connect: Connect, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connections, "TIMEOUT", 0.4)
    with run_server(_make_app()) as server:
        silent = connect(server, A)
        partial = connect(server, A, b"GET / HTTP/1.1\r\nHost: ")
        second = connect(server, A, _post(0))
        assert _status(second) == 200
        second.sendall(b"GET /")
        start = time.monotonic()
        assert all(map(_is_closed, (silent, partial, second)))
        assert time.monotonic() - start < 9


@pytest.mark.parametrize("limit", ["MAX_CONNECTIONS", "MAX_CLIENT_CONNECTIONS"])
def test_idle_connections_give_way(connect: Connect, monkeypatch: pytest.MonkeyPatch, limit: str):
    monkeypatch.setattr(connections, limit, 8)
    with run_server(_make_app()) as server:
        busy = _post_slowly(connect, server, A, 6)
        idle = [connect(server, A, b"GET / HT") for _ in range(20)]
        assert _status(connect(server, A, _post(3, b"abc"))) == 200
        assert _is_closed(idle[0])
        busy.sendall(b"abcde")
        assert _status(busy) == 200


def test_client_that_does_not_read_is_disconnected(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connections, "TIMEOUT", 0.4)
    ended: list[bool] = []

    async def endless(_: Request) -> Response:
        async def parts():  # type: ignore[no-untyped-def]
            try:
                while True:
                    yield bytes(1 << 20)
                    await asyncio.sleep(0)
            finally:
                ended.append(True)

        return StreamingResponse(parts())

    with run_server(Starlette(routes=[Route("/", endless)])) as server:
        connect(server, A, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + 30
        while not ended and time.monotonic() < end:
            time.sleep(0.05)
    assert ended


@pytest.mark.parametrize(("least", "complete"), [(connections.MIN_READ, True), (1 << 30, False)])
def test_client_that_reads_slowly_gets_everything(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, least: int, complete: bool
):
    monkeypatch.setattr(connections, "TIMEOUT", 1.5)
    monkeypatch.setattr(connections, "MIN_READ", least)
    size = 16_000_000

    async def large(_: Request) -> Response:
        return Response(bytes(size))

    with run_server(Starlette(routes=[Route("/", large)])) as server:
        slow = connect(server, A, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while received < size and (part := slow.recv(100_000)):
                received += len(part)
                time.sleep(0.02)
    assert (received >= size) == complete


def test_only_own_faults_are_printed(connect: Connect, capfd: pytest.CaptureFixture[str]):
    get = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    with run_server(_make_app()) as server:
        for rubbish in (
            b"\x16\x03\x01 rubbish\r\n\r\n",
            b"GET\r\n\r\n",
            get % (b"/", b"A B: c\r\n"),
        ):
            assert _status(connect(server, A, rubbish)) == 400
        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
        assert _status(connect(server, A, get % (b"/", upgrade))) == 200
        connect(server, A, _post(1000, b"x")).close()  # a reload during an upload
        connect(server, A, _post(1000, b"x"))  # cut off by the end of the server
        time.sleep(0.2)
        assert capfd.readouterr().err == ""
        assert _status(connect(server, A, get % (b"/fail", b""))) == 500
    error = capfd.readouterr().err
    assert "a fault of ours" in error
    assert error.count("Traceback") == 1
    assert "Cancel" not in error


@needs_browser
def test_browser_shows_why_a_large_upload_is_refused():
    with run_server(_make_app()) as server, launch_browser() as chromium:
        page = chromium.new_page()
        page.goto(server)
        status, text = page.evaluate(
            """async () => {
                const response = await fetch("/", { method: "POST", body: new Uint8Array(8e6) });
                return [response.status, await response.text()];
            }"""
        )
    assert status == 413
    assert "the file is too large; this server takes up to 1 MB" in text
