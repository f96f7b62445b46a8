import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import Response
from starlette.types import Message

from photochrom.web.guard import HEADERS, Guard
from photochrom.web.job_queue import FullError, JobQueue, Ticket
from photochrom.web.sessions import Sessions, plain_name
from support.server import jpeg, service_of


@pytest.mark.parametrize("path", ["/", "/healthz", "/api", "/static/page.css", "/nothing"])
def test_every_answer_has_the_headers(web_client: TestClient, path: str):
    headers = web_client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
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
def test_only_its_own_names_are_answered(web_client: TestClient, host: str, status: int):
    assert web_client.get("/healthz", headers={"host": host}).status_code == status


def test_names_that_were_given_are_answered():
    app = FastAPI()
    app.add_middleware(Guard, hosts=["photos.example.org"], max_bytes=10)
    client = TestClient(app)
    for host, status in (("Photos.example.org:80", 404), ("10.0.0.1", 421), ("localhost", 421)):
        assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost", 200), ("http://evil.example", 403), ("null", 403), (None, 200)],
)
def test_pages_of_others_cannot_have_photos_colorized(
    web_client: TestClient, origin: str | None, status: int
):
    headers = {} if origin is None else {"origin": origin}
    answer = web_client.post("/api/colorize", files={"file": jpeg()}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"),
        *("/photos/../../etc/passwd/before", "/photos/x/%2e%2e%2fbefore", "/photos/x/draft"),
    ],
)
def test_no_path_from_outside_reaches_the_disk(web_client: TestClient, path: str):
    answer = web_client.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\photos\\old.jpg", "old.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\nb\0c.jpg", "abc.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_names_are_one_short_line(given: str, kept: str):
    assert plain_name(given) == kept


def test_a_body_that_stands_still_is_given_up():
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
        guard = Guard(inner, hosts=None, max_bytes=10, timeout=0.05)
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


def test_so_many_bodies_at_once_and_no_more():
    async def run() -> list[int]:
        free = asyncio.Event()

        async def app(scope, receive, send):  # type: ignore[no-untyped-def]
            await free.wait()
            await Response()(scope, receive, send)

        guard = Guard(app, hosts=None, max_bytes=10, at_once=2)
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


class Slow:
    """A worker that takes its time, and tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, question: int) -> int:
        time.sleep(0.02)
        self.asked.append(question)
        if question == 13:
            raise ValueError("unlucky")
        return question * 2

    def close(self) -> None:
        pass


def test_a_line_is_first_come_first_served_and_has_an_end():
    async def run() -> None:
        worker = Slow()
        line = JobQueue([worker], places=3)  # type: ignore[list-item]
        tickets = [Ticket() for _ in range(4)]
        tasks = [asyncio.create_task(line.ask(i, ticket)) for i, ticket in enumerate(tickets)]
        await asyncio.sleep(0)
        assert [line.place(ticket) for ticket in tickets] == [None, 1, 2, 3]
        with pytest.raises(FullError, match="too many photos are waiting; try again in") as full:
            await line.ask(9)
        assert full.value.seconds >= 1
        admitted = asyncio.create_task(line.ask(5, admitted=True))
        await asyncio.sleep(0)
        tasks[2].cancel()
        results = await asyncio.gather(*tasks, admitted, return_exceptions=True)
        assert [results[i] for i in (0, 1, 3, 4)] == [0, 2, 6, 10]
        assert isinstance(results[2], asyncio.CancelledError)
        assert worker.asked == [0, 1, 3, 5]
        line.close()

    asyncio.run(run())


def test_a_worker_goes_on_after_an_error_and_after_who_asked_is_gone():
    async def run() -> None:
        worker = Slow()
        line = JobQueue([worker], places=3)  # type: ignore[list-item]
        with pytest.raises(ValueError, match="unlucky"):
            await line.ask(13)
        gone = asyncio.create_task(line.ask(13))
        await asyncio.sleep(0.005)
        gone.cancel()
        assert await line.ask(4) == 8
        assert worker.asked == [13, 13, 4]
        line.close()

    asyncio.run(run())


def test_folders_of_killed_servers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"photochrom-web-{ended.pid}-abc"
    left.mkdir()
    other = tmp_path / "photochrom-web-notes-abc"
    other.mkdir()
    first = Sessions()
    assert not left.exists()
    assert other.exists()
    second = Sessions()
    assert first.folder.exists()
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == [other]


def test_a_full_disk_is_said_before_the_upload(web_app: FastAPI, web_client: TestClient):
    service = service_of(web_app)
    room, service._room = service._room, int(9e9)
    try:
        web_client.cookies.clear()
        web_client.get("/")
        answer = web_client.post("/photos", params={"name": "old.jpg"}, content=jpeg())
    finally:
        service._room = room
    assert answer.status_code == 507
    assert answer.json()["detail"] == "this server is full of photos; try again in an hour"
    assert web_client.get("/photos").json() == {"photos": []}
