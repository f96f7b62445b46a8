import asyncio

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from photochrom.cli.server import allowed_hosts
from photochrom.server.guard import SECURITY_HEADERS, STOP_SLOW_BODIES, RequestGuard
from support.server import make_jpeg


@pytest.mark.parametrize("path", ["/", "/healthz", "/api", "/static/page.css", "/nothing"])
def test_every_response_has_security_headers(web_client: TestClient, path: str):
    headers = web_client.get(path).headers
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "192.168.0.7:80")),
        *(
            (host, 421)
            for host in ("evil.example", "localhost.evil.example", "", "[", "127.0.0.1.x")
        ),
    ],
)
def test_unknown_hosts_are_rejected(web_client: TestClient, host: str, status: int):
    assert web_client.get("/healthz", headers={"host": host}).status_code == status


def test_given_hosts_are_accepted():
    app = FastAPI()
    app.add_middleware(RequestGuard, hosts=["photos.example.org"], max_bytes=10)
    client = TestClient(app)
    for host, status in (("Photos.example.org:80", 404), ("10.0.0.1", 404), ("localhost", 421)):
        assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("names", "host"), [((), "0.0.0.0"), (("nas.local",), "0.0.0.0"), ((), "nas.local")]
)
def test_address_that_is_printed_is_accepted(names: tuple[str, ...], host: str):
    app = FastAPI()
    app.add_middleware(RequestGuard, hosts=allowed_hosts(names, host), max_bytes=10)
    client = TestClient(app)
    printed = "192.168.1.5" if host == "0.0.0.0" else host
    for accepted in (f"{printed}:8000", "localhost:8000", "127.0.0.1", "[::1]:8000", *names):
        assert client.get("/", headers={"host": accepted}).status_code == 404
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        *(("http://localhost", 200), ("HTTP://LOCALHOST", 200), (None, 200)),
        *((origin, 403) for origin in ("http://evil.example", "null", "http://[", "http://a]b")),
    ],
)
def test_other_origins_are_rejected(web_client: TestClient, origin: str | None, status: int):
    headers = {} if origin is None else {"origin": origin}
    response = web_client.post("/api/colorize", files={"file": make_jpeg()}, headers=headers)
    assert response.status_code == status


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"),
        *("/photos/../../etc/passwd/before", "/photos/x/%2e%2e%2fbefore", "/photos/x/draft"),
    ],
)
def test_path_traversal_is_not_found(web_client: TestClient, path: str):
    response = web_client.get(path)
    assert response.status_code == 404
    assert "root:" not in response.text
    assert "import" not in response.text


def test_stalled_upload_times_out():
    async def upload() -> list[dict[str, object]]:
        async def app(scope, receive, send):  # type: ignore[no-untyped-def]
            while (await receive()).get("more_body"):
                pass

        sent: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            await asyncio.sleep(60)
            raise AssertionError

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        inner = FastAPI()
        inner.mount("/", app)
        guard = RequestGuard(inner, hosts=None, max_bytes=10, timeout=0.05)
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        await guard(scope, receive, send)  # type: ignore[arg-type]
        return sent

    start, *_ = asyncio.run(upload())
    assert start["status"] == 408


def test_concurrent_bodies_are_limited():
    async def run() -> list[int]:
        free = asyncio.Event()

        async def app(scope, receive, send):  # type: ignore[no-untyped-def]
            await free.wait()
            await Response()(scope, receive, send)

        guard = RequestGuard(app, hosts=None, max_bytes=10, max_bodies=2)
        statuses: list[int] = []

        async def ask(method: str) -> None:
            async def receive() -> Message:
                return {"type": "http.request", "body": b""}

            async def send(message: Message) -> None:
                if "status" in message:
                    statuses.append(message["status"])

            headers = [(b"host", b"localhost")]
            await guard({"type": "http", "method": method, "headers": headers}, receive, send)

        asked = [asyncio.create_task(ask(method)) for method in ("POST", "POST", "GET", "POST")]
        await asyncio.sleep(0.01)
        free.set()
        await asyncio.gather(*asked)
        await ask("POST")
        return statuses

    assert asyncio.run(run()) == [503, 200, 200, 200, 200]


@pytest.mark.parametrize(("max_bodies", "statuses"), [(2, [408, 200]), (1, [200, 503])])
def test_bodies_that_are_not_read_yet_are_not_slow(
    max_bodies: int, statuses: list[int], monkeypatch: pytest.MonkeyPatch
):
    """The second request makes room for itself; with one body at most, the first one waits."""
    monkeypatch.setattr("photochrom.server.guard._BodyReader.rate", lambda _: 0.0)

    async def run() -> list[int]:
        free = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/second":
                scope["extensions"][STOP_SLOW_BODIES]()
            elif max_bodies == 1:
                await free.wait()
            await receive()
            await Response()(scope, receive, send)

        guard = RequestGuard(app, hosts=None, max_bytes=10, max_bodies=max_bodies)

        async def ask(path: str) -> int:
            sent: list[Message] = []

            async def receive() -> Message:
                await asyncio.sleep(60 if (path, max_bodies) == ("/first", 2) else 0.01)
                return {"type": "http.request", "body": b""}

            async def send(message: Message) -> None:
                sent.append(message)

            headers = [(b"host", b"localhost")]
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
            try:
                await guard(scope, receive, send)
            except HTTPException as error:
                return error.status_code
            status: int = sent[0]["status"]
            return status

        first = asyncio.create_task(ask("/first"))
        await asyncio.sleep(0.01)
        second = await ask("/second")
        free.set()
        return [await first, second]

    assert asyncio.run(run()) == statuses
