"""The quota of the disk, and the folders of servers that were killed."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.geometry import Geometry
from photochrom.web import storage
from photochrom.web.app import create_app
from photochrom.web.limits import Limits
from photochrom.web.renderer import TaskFailure
from photochrom.web.storage import Storage, StorageFullError
from photochrom.web.tasks import FindVersions, PredictionKey
from support.server import get_service, make_jpeg, run_server

pytestmark = pytest.mark.slow

MB = 1_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_folders_of_killed_servers_are_removed(folder: Path):
    code = f"import tempfile; tempfile.tempdir = {str(folder)!r}\n"
    code += "from photochrom.web.storage import Storage; storage = Storage(9)\n"
    code += "print(storage.folder, flush=True); input()"
    killed = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert killed.stdout is not None
    stale = Path(killed.stdout.readline().strip())
    (stale / "photo.jpg").write_bytes(b"photo")
    other = folder / "photochrom-web-notes"
    other.mkdir()
    (other / "note.txt").write_text("not of a server")
    first = Storage(MB)
    assert (stale / "photo.jpg").exists()
    killed.kill()
    killed.communicate()
    second = Storage(MB)
    assert not stale.exists()
    assert first.folder.exists()
    first.close()
    second.close()
    assert list(folder.iterdir()) == [other]


def test_folder_that_is_being_removed_is_locked(folder: Path, monkeypatch: pytest.MonkeyPatch):
    stale = folder / "photochrom-web-started"  # its server is about to lock it
    stale.mkdir()
    (stale / "lock").touch()
    locked = []

    def remove(path: Path, *, ignore_errors: bool) -> None:
        if path.exists():
            with (path / "lock").open("r+b") as lock:
                locked.append(storage._try_lock(lock))
            remove_tree(path, ignore_errors=ignore_errors)

    remove_tree = storage.shutil.rmtree
    monkeypatch.setattr("photochrom.web.storage.shutil.rmtree", remove)
    storage._remove_stale_folders()
    assert locked == [False]
    assert not stale.exists()


def test_folder_is_removed_at_the_end_of_the_process(folder: Path):
    code = f"import tempfile; tempfile.tempdir = {str(folder)!r}\n"
    code += "from photochrom.web.storage import Storage; Storage(9); raise SystemExit(1)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1
    assert list(folder.iterdir()) == []


def test_files_count_before_and_after_they_are_written(folder: Path):
    async def run() -> None:
        storage = Storage(100, headroom=12)
        path = storage.folder / "a"
        async with storage.reserve(60, path=path, client="A"):
            with pytest.raises(StorageFullError, match="too many uploads at once") as error:
                async with storage.reserve(60, client="B"):
                    pass
            assert error.value.status == 503
            path.write_bytes(bytes(50))
            async with storage.reserve(40, client="B"):
                pass
        async with storage.reserve(50, client="A"):  # 50 were written, and no more
            pass
        with pytest.raises(StorageFullError, match="try again in 5 min") as error:
            async with storage.reserve(51, client="A", wait=290):
                pass
        assert error.value.status == 507
        path.unlink()
        (storage.folder / "result").write_bytes(bytes(80))
        await storage.measure()
        with pytest.raises(StorageFullError):
            async with storage.reserve(21, client="A"):
                pass
        (storage.folder / "result").unlink()
        async with storage.reserve(100, client="A"):  # what was removed counts no more
            pass
        (storage.folder / "mine").mkdir()
        (storage.folder / "mine" / "b").write_bytes(bytes(100))
        with pytest.raises(StorageFullError, match="download and remove some"):
            async with storage.reserve(1, owner="mine", client="A"):
                pass
        async with storage.reserve(12):  # an album that is full can be downloaded
            pass
        storage.close()

    asyncio.run(run())


def test_one_client_cannot_reserve_everything(folder: Path):
    async def run() -> None:
        storage = Storage(100)
        async with storage.reserve(10, client="A"), storage.reserve(15, client="A"):
            with pytest.raises(StorageFullError, match="too many uploads at once"):
                async with storage.reserve(1, client="A"):
                    pass
            async with storage.reserve(75, client="B"):
                pass
        storage.close()

    asyncio.run(run())


@pytest.fixture
def server(tiny_onnx: Path, folder: Path) -> Iterator[tuple[FastAPI, str]]:
    """A server with a quota of 5 MB, and its URL."""
    limits = Limits(max_bytes=4 * MB, max_disk_bytes=5 * MB, max_idle=600)
    app = create_app([tiny_onnx], limits=limits, processes=1)
    with run_server(app) as url:
        yield app, url


def _noise(size: int) -> bytes:
    """Return a JPEG with a comment of a size."""
    return make_jpeg() + bytes(size)


def _upload(url: str, how: str, content: Any) -> httpx2.Response:
    with httpx2.Client(base_url=url, timeout=30) as client:
        if how == "API":
            return client.post("/api/colorize", files={"file": ("a.jpg", content)})
        client.get("/")
        return client.post("/photos?name=a.jpg", content=content)


@pytest.mark.parametrize(("how", "size"), [("page", 3 * MB), ("API", 2 * MB)])
def test_simultaneous_uploads_do_not_exceed_the_quota(
    server: tuple[FastAPI, str], how: str, size: int
):
    app, url = server
    responses: list[httpx2.Response] = []
    started = threading.Barrier(8, timeout=60)

    def slowly() -> Iterator[bytes]:
        yield _noise(size // 2)
        started.wait()
        yield bytes(size // 2)

    def send() -> None:
        content: Any = _noise(size) if how == "API" else slowly()
        responses.append(_upload(url, how, content))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    peak = 0
    storage = get_service(app).storage
    while any(thread.is_alive() for thread in threads):
        files = [path for path in storage.folder.rglob("*") if path.is_file()]
        peak = max(peak, sum(path.stat().st_size for path in files))
        time.sleep(0.01)
    refused = [r for r in responses if r.status_code in (503, 507)]
    assert len(responses) == 8
    assert len(refused) >= 1
    assert all(r.status_code in (200, 201, 503, 507) for r in responses)
    assert len(refused) < 8
    assert peak <= 5 * MB
    assert all(int(r.headers["retry-after"]) >= 10 for r in refused)
    assert all("; try again in " in r.json()["detail"] for r in refused)


def test_who_fills_the_server_hears_what_to_do(server: tuple[FastAPI, str]):
    _, url = server
    with httpx2.Client(base_url=url, timeout=30) as owner:
        owner.get("/")
        send = {"params": {"name": "a.jpg"}, "content": _noise(3 * MB)}
        photo = owner.post("/photos", **send).json()  # type: ignore[arg-type]
        while owner.get("/photos").json()["photos"][0]["status"] != "ready":
            time.sleep(0.05)
        full = owner.post("/photos", **send)  # type: ignore[arg-type]
        assert full.status_code == 507
        assert full.json()["detail"].startswith("your photos take 3 of the 5 MB")
        for how, size in (("page", 3 * MB), ("API", 2 * MB)):
            other = _upload(url, how, _noise(size))
            assert other.status_code == 507
            assert other.json()["detail"].endswith("photos of others; try again in 10 min")
            assert 500 < int(other.headers["retry-after"]) <= 600
        assert owner.get(f"/photos/{photo['id']}/result").status_code == 200
        owner.delete(f"/photos/{photo['id']}")
        assert owner.post("/photos", **send).status_code == 201  # type: ignore[arg-type]


@pytest.mark.parametrize(("how", "size"), [("page", 6 * MB), ("API", 3 * MB)])
def test_file_that_never_fits_is_refused_for_good(
    tiny_onnx: Path, folder: Path, how: str, size: int
):
    limits = Limits(max_bytes=8 * MB, max_disk_bytes=5 * MB)
    with run_server(create_app([tiny_onnx], limits=limits, processes=1)) as url:
        response = _upload(url, how, bytes(size))
    assert response.status_code == 413
    assert response.json()["detail"] == (
        "the file is too large: it takes up to 6 MB of disk space, and this server has 5 MB; "
        "send a smaller one"
    )
    assert "retry-after" not in response.headers


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the address 127.0.0.2")
def test_slow_uploads_give_up_their_space(server: tuple[FastAPI, str]):
    _, url = server
    port = int(url.rsplit(":", 1)[1])
    header = (
        "POST /photos?name=a.jpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n"
        f"Cookie: photochrom={'k' * 43}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), 30, ("127.0.0.2", 0)) as slow:
        slow.sendall(header.encode())
        assert b" 100 " in slow.recv(1000)  # the server waits for the body
        slow.sendall(b"x")
        time.sleep(1.2)  # from then on it is known to be slow
        assert _upload(url, "page", _noise(MB)).status_code == 201
        assert b" 408 " in slow.recv(1000)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"saturation": "9" * 2 * MB}}, 413),
        ({"data": {"strength": "1" * 60_000}}, 400),
        ({"data": {f"x{n}": "1" for n in range(30)}, "files": {"file": b"x"}}, 400),
    ],
)
def test_what_is_read_into_memory_is_small(
    server: tuple[FastAPI, str], body: dict[str, Any], status: int
):
    path = "/photos/x" if status == 413 else "/api/colorize"
    method = "PATCH" if status == 413 else "POST"
    assert httpx2.request(method, server[1] + path, timeout=30, **body).status_code == status


@pytest.mark.parametrize("how", ["page", "API"])
def test_full_disk_is_explained(
    server: tuple[FastAPI, str], how: str, monkeypatch: pytest.MonkeyPatch
):
    app, url = server

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    service = get_service(app)
    monkeypatch.setattr(service.storage, "reserve", fail)
    response = _upload(url, how, _noise(MB))
    assert response.status_code == 507
    assert response.json() == {"detail": "the disk of this server is full; try again later"}


@pytest.mark.parametrize("how", ["page", "API"])
def test_full_disk_in_a_worker_is_explained(
    server: tuple[FastAPI, str], tiny_onnx: Path, how: str, monkeypatch: pytest.MonkeyPatch
):
    app, url = server
    colorizer = Colorizer(tiny_onnx, device="cpu")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run_here(task: Any, **_: Any) -> Any:
        return task([colorizer])

    monkeypatch.setattr("photochrom.imagefile.writing.open_atomic", fail)
    monkeypatch.setattr("photochrom.web.tasks.write_prediction", fail)
    monkeypatch.setattr(get_service(app).queue, "run", run_here)
    if how == "API":
        response = _upload(url, how, make_jpeg())
        assert response.status_code == 507
        assert response.json() == {"detail": "the disk of this server is full; try again later"}
        return
    with httpx2.Client(base_url=url, timeout=30) as client:
        client.get("/")
        client.post("/photos?name=a.jpg", content=make_jpeg())
        while (photo := client.get("/photos").json()["photos"][0])["status"] != "failed":
            time.sleep(0.05)
    assert photo["error_code"] == "server"
    assert photo["error"].endswith("the disk of this server is full; try again later")


def test_full_disk_is_no_removed_photo(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("photochrom.web.tasks.read_prediction", fail)
    key = PredictionKey(0, 32, Geometry(), False)
    task = FindVersions(Path("a"), key, (), (80, 60), Path("b"))
    failure = task([Colorizer(tiny_onnx, device="cpu")])
    assert isinstance(failure, TaskFailure)
    assert failure.code == "disk_full"


def test_upload_is_deleted_if_the_client_leaves_while_the_disk_is_measured(
    server: tuple[FastAPI, str], monkeypatch: pytest.MonkeyPatch
):
    app, url = server
    storage = get_service(app).storage
    reserve = storage.reserve

    @contextlib.asynccontextmanager
    async def measure_first(*sizes: int, **options: Any) -> AsyncIterator[None]:
        if "client" not in options:  # a result
            await asyncio.sleep(60)
        async with reserve(*sizes, **options):
            yield

    monkeypatch.setattr(storage, "reserve", measure_first)
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(
            f"{url}/api/colorize",
            files={"file": make_jpeg()},
            timeout=httpx2.Timeout(20, read=0.5),
        )
    end = time.monotonic() + 30
    while len(list(storage.folder.iterdir())) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert [path.name for path in storage.folder.iterdir()] == ["lock"]
