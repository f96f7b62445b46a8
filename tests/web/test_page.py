"""What the page asks the server; tests/web/test_browser.py has a browser do it."""

import asyncio
import io
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.web.app import create_app
from photochrom.web.service import Limits
from support.models import write_model
from support.server import jpeg, running, service_of


@pytest.fixture
def client(web_app: FastAPI, web_client: TestClient) -> TestClient:
    """A browser that has just opened the page."""
    web_client.cookies.clear()
    web_client.get("/")
    return web_client


def ready(client: TestClient, count: int = 1) -> list[dict[str, Any]]:
    """Wait until no photo is waiting."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        photos = client.get("/photos").json()["photos"]
        if len(photos) == count and all(p["status"] in ("ready", "failed") for p in photos):
            return list(photos)
        time.sleep(0.02)
    raise AssertionError(photos)


def upload(client: TestClient, content: bytes, name: str = "old.jpg") -> dict[str, Any]:
    answer = client.post("/photos", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def picture(answer: Any) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def test_a_photo_from_the_drop_to_the_download(client: TestClient, tiny_onnx: Path, tmp_path: Path):
    content = jpeg(700, 500)
    arrived = upload(client, content, "Großmutter 1910.jpg")
    assert arrived["name"] == "Großmutter 1910.jpg"
    assert arrived["status"] in ("waiting", "working")
    (photo,) = ready(client)
    assert (photo["width"], photo["height"], photo["pages"]) == (700, 500, 1)
    assert photo["output"] == "Großmutter 1910-color.jpg"
    address = f"/photos/{photo['id']}"
    before, after = (picture(client.get(f"{address}/{view}")) for view in ("before", "after"))
    assert before.shape == after.shape == (500, 700, 3)
    assert np.ptp(before, axis=2).max() == 0
    assert np.ptp(after, axis=2).mean() > 10
    assert picture(client.get(f"{address}/thumbnail")).shape[:2] == (229, 320)

    look = {"saturation": 0.5, "strength": 0.8, "mark": False}
    assert client.patch(address, json=look).json()["look"] == look | {"size": None}
    (tmp_path / "old.jpg").write_bytes(content)
    job = Job(tmp_path / "old.jpg", tmp_path / "new.jpg")
    assert not colorize_file(job, Colorizer(tiny_onnx), **look).error
    result = client.get(f"{address}/result")
    assert result.content == job.output.read_bytes()
    assert "Gro%C3%9Fmutter%201910-color.jpg" in result.headers["content-disposition"]


def test_a_photo_removed_while_it_is_rendered_is_not_found(
    client: TestClient, web_app: FastAPI, monkeypatch: pytest.MonkeyPatch
):
    upload(client, jpeg(60, 40))
    (photo,) = ready(client)
    queue = service_of(web_app).rendering_queue
    rendering, removed = threading.Event(), threading.Event()
    ask = queue.ask

    async def ask_after_removal(task: Any) -> Any:
        rendering.set()
        while not removed.is_set():
            await asyncio.sleep(0.01)
        return await ask(task)

    monkeypatch.setattr(queue, "ask", ask_after_removal)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get, f"/photos/{photo['id']}/after")
        assert rendering.wait(5)
        assert client.delete(f"/photos/{photo['id']}").status_code == 204
        removed.set()
        assert answer.result(5).status_code == 404


def test_what_is_shown_is_what_is_downloaded(client: TestClient):
    upload(client, jpeg(300, 200))
    (photo,) = ready(client)
    address = f"/photos/{photo['id']}"
    client.patch(address, json={"saturation": 0.5})
    shown = picture(client.get(f"{address}/after", params={"saturation": 0.5}))
    result = picture(client.get(f"{address}/result"))
    assert np.abs(shown - result).mean() < 1.5  # two JPEGs of the same pixels


def test_while_a_slider_moves_a_small_picture_will_do(client: TestClient):
    upload(client, jpeg(900, 600))
    (photo,) = ready(client)
    address = f"/photos/{photo['id']}/after"
    large, small = (picture(client.get(address, params={"longest": n})) for n in (1600, 300))
    assert large.shape == (600, 900, 3)
    assert small.shape == (200, 300, 3)
    shrunk = Image.fromarray(large.astype(np.uint8)).resize((300, 200), Image.Resampling.BOX)
    assert np.abs(small - np.asarray(shrunk)).mean() < 2
    assert client.get(address, params={"longest": 5000}).status_code == 422


def test_a_slider_asks_no_network(web_app: FastAPI, client: TestClient):
    upload(client, jpeg())
    (photo,) = ready(client)
    queue = service_of(web_app).queue
    asked: list[Any] = []
    kept = queue.ask
    queue.ask = lambda *a, **k: asked.append(a) or kept(*a, **k)  # type: ignore[assignment]
    try:
        views = [
            picture(client.get(f"/photos/{photo['id']}/after", params={"saturation": s}))
            for s in (0, 1, 2)
        ]
        client.patch(f"/photos/{photo['id']}", json={"saturation": 2})
    finally:
        queue.ask = kept  # type: ignore[method-assign]
    assert asked == []
    chroma = [np.ptp(view, axis=2).mean() for view in views]
    assert chroma[0] < 1 < chroma[1] < chroma[2]


def test_another_size_asks_the_network_again(client: TestClient):
    upload(client, jpeg())
    (photo,) = ready(client)
    changed = client.patch(f"/photos/{photo['id']}", json={"size": 48}).json()
    assert changed["status"] in ("waiting", "working")
    (again,) = ready(client)
    assert again["revision"] == photo["revision"] + 1
    assert again["look"]["size"] == 48


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"saturation": 5}, 400, "saturation is 5; it has to be from 0 to 4"),
        ({"saturation": "1"}, 400, "saturation is '1'; its type has to be number"),
        ({"saturation": None}, 400, "saturation is 'None'; its type has to be number"),
        ({"size": 20.5}, 400, "size is '20.5'; its type has to be integer"),
        ({"mark": 1}, 400, "mark is '1'; its type has to be flag"),
        ({"contrast": 1}, 400, "a look has no 'contrast'; it has saturation, strength, size, mark"),
        ({"model": "/etc/passwd"}, 400, "there is no model '/etc/passwd'"),
    ],
)
def test_what_is_no_look_is_refused(
    client: TestClient, changes: dict[str, Any], status: int, said: str
):
    upload(client, jpeg())
    (photo,) = ready(client)
    answer = client.patch(f"/photos/{photo['id']}", json=changes)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(said)
    assert ready(client)[0]["look"] == photo["look"]


def test_a_bad_photo_fails_by_its_own_name_and_the_rest_go_on(client: TestClient):
    upload(client, b"no photo at all", "../../etc/notes.jpg")
    upload(client, jpeg(), "good.jpg")
    bad, good = ready(client, 2)
    assert bad["status"] == "failed"
    assert bad["error"].startswith("notes.jpg is not a photo in a format that can be read")
    assert good["status"] == "ready"
    for view in ("before", "after", "thumbnail", "result"):
        answer = client.get(f"/photos/{bad['id']}/{view}")
        assert (answer.status_code, answer.json()["detail"]) == (409, "notes.jpg is not ready")


def test_all_as_a_zip(client: TestClient):
    contents = [jpeg(90, 60), jpeg(60, 90), jpeg(64, 64), b"rubbish"]
    for content in contents:
        upload(client, content, "IMG_1.jpg")
    photos = ready(client, 4)
    client.patch(f"/photos/{photos[1]['id']}", json={"saturation": 0})
    archive = zipfile.ZipFile(io.BytesIO(client.get("/photos.zip").content))
    assert archive.testzip() is None
    assert archive.namelist() == ["IMG_1-color.jpg", "IMG_1-color (2).jpg", "IMG_1-color (3).jpg"]
    for photo, name in zip(photos, archive.namelist(), strict=False):
        assert archive.read(name) == client.get(f"/photos/{photo['id']}/result").content


def test_a_zip_says_what_is_missing(web_app: FastAPI, client: TestClient):
    for _ in range(2):
        upload(client, jpeg())
    first, _ = ready(client, 2)
    for session in service_of(web_app).sessions._sessions.values():
        if first["id"] in session.pictures:
            session.pictures[first["id"]].file.unlink()
    archive = zipfile.ZipFile(io.BytesIO(client.get("/photos.zip").content))
    assert archive.namelist() == ["old-color.jpg", "NOT COLORIZED.txt"]
    said = archive.read("NOT COLORIZED.txt").decode()
    assert said == "old.jpg: cannot read old.jpg: No such file or directory\n"


def test_nothing_ready_is_no_zip(client: TestClient):
    answer = client.get("/photos.zip")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "no photo is ready; drop some on the page first"


def test_browsers_do_not_see_each_others_photos(client: TestClient):
    upload(client, jpeg())
    (photo,) = ready(client)
    mine = client.cookies["photochrom"]
    client.cookies.clear()
    client.get("/")
    assert client.cookies["photochrom"] != mine
    assert client.get("/photos").json() == {"photos": []}
    address = f"/photos/{photo['id']}"
    for answer in (
        *(client.get(f"{address}/{view}") for view in ("before", "after", "result")),
        client.patch(address, json={}),
        client.delete(address),
    ):
        assert answer.status_code == 404


def test_a_browser_without_the_pages_cookie_has_no_session(client: TestClient):
    for cookie in (None, "guess", "../" * 20):
        client.cookies.clear()
        if cookie:
            client.cookies.set("photochrom", cookie)
        answer = client.post("/photos", params={"name": "old.jpg"}, content=jpeg())
        assert answer.status_code == 403


def test_what_is_forgotten_leaves_the_disk(web_app: FastAPI, client: TestClient):
    for _ in range(3):
        upload(client, jpeg())
    photos = ready(client, 3)
    sessions = service_of(web_app).sessions
    session = sessions.get(client.cookies["photochrom"])
    assert session is not None
    assert len(list(session.folder.iterdir())) == 3
    assert client.delete(f"/photos/{photos[0]['id']}").status_code == 204
    assert len(list(session.folder.iterdir())) == 2
    assert client.delete("/photos").status_code == 204
    assert not session.folder.exists()
    assert client.get("/photos").json() == {"photos": []}


def test_an_idle_session_is_removed(web_app: FastAPI, client: TestClient):
    upload(client, jpeg())
    ready(client)
    sessions = service_of(web_app).sessions
    session = sessions.get(client.cookies["photochrom"])
    assert session is not None
    sessions.remove_idle(60)
    assert session.folder.exists()
    session.seen -= 61
    sessions.remove_idle(60)
    assert not session.folder.exists()


def test_a_session_takes_so_many_photos(client: TestClient):
    for _ in range(12):
        upload(client, jpeg(20, 20))
    answer = client.post("/photos", params={"name": "old.jpg"}, content=jpeg())
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("there are 12 photos on the page")


def test_too_large_a_file_is_refused_and_leaves_nothing(web_app: FastAPI, client: TestClient):
    answer = client.post("/photos", params={"name": "old.tif"}, content=iter([bytes(1 << 20)] * 3))
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the file is too large; this server takes up to 2 MB"
    assert client.get("/photos").json() == {"photos": []}
    session = service_of(web_app).sessions.get(client.cookies["photochrom"])
    assert session is not None
    assert list(session.folder.iterdir()) == []


def test_a_tiff_of_several_pages_keeps_them(client: TestClient):
    pages = [Image.linear_gradient("L").resize((50 + i, 40)) for i in range(3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    upload(client, buffer.getvalue(), "album.tif")
    (photo,) = ready(client)
    assert photo["pages"] == 3
    result = Image.open(io.BytesIO(client.get(f"/photos/{photo['id']}/result").content))
    assert getattr(result, "n_frames", 1) == 3


def test_a_partly_transparent_photo_is_shown_as_one(client: TestClient):
    image = Image.linear_gradient("L").convert("LA")
    image.putalpha(Image.radial_gradient("L"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    upload(client, buffer.getvalue(), "cut-out.png")
    (photo,) = ready(client)
    answer = client.get(f"/photos/{photo['id']}/after")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).mode == "RGBA"


def test_many_changes_of_size_end_with_the_last(client: TestClient):
    upload(client, jpeg(900, 700))
    (photo,) = ready(client)
    for size in (64, 16, 128, 16, 96):
        client.patch(f"/photos/{photo['id']}", json={"size": size})
    (last,) = ready(client)
    shown = picture(client.get(f"/photos/{photo['id']}/after"))
    result = picture(client.get(f"/photos/{photo['id']}/result"))
    assert last["look"]["size"] == 96
    assert np.abs(shown - result).mean() < 1.5


def test_a_photo_removed_while_it_is_worked_on_harms_nobody(client: TestClient):
    for _ in range(6):
        arrived = upload(client, jpeg(900, 900))
        client.delete(f"/photos/{arrived['id']}")
    upload(client, jpeg())
    (photo,) = ready(client)
    assert photo["status"] == "ready"


def test_who_is_sent_away_comes_in_later(tiny_onnx: Path):
    app = create_app([tiny_onnx], limits=Limits(waiting=2), processes=1)
    statuses: list[int] = []
    with running(app) as address:

        def download_twice() -> None:
            with httpx2.Client(base_url=address, timeout=30) as browser:
                browser.get("/")
                while browser.post("/photos?name=a.jpg", content=jpeg(1500, 1200)).is_error:
                    time.sleep(0.05)
                while (photo := browser.get("/photos").json()["photos"][0])["status"] != "ready":
                    time.sleep(0.05)
                for _ in range(2):
                    while browser.get(f"/photos/{photo['id']}/result").status_code == 503:
                        statuses.append(503)
                        time.sleep(0.05)
                    statuses.append(200)

        threads = [threading.Thread(target=download_twice) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses.count(200) == 20
    assert 503 in statuses


def test_a_client_that_goes_leaves_nothing_on_the_disk(tiny_onnx: Path):
    app = create_app([tiny_onnx], processes=1)
    with running(app) as address:
        folder = service_of(app).sessions.folder
        for patience in (0.05, 0.1, 0.2, 0.3):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(
                    f"{address}/api/colorize",
                    files={"file": jpeg(6000, 5000)},
                    timeout=httpx2.Timeout(20, read=patience),
                )
        answer = httpx2.post(f"{address}/api/colorize", files={"file": jpeg()}, timeout=30)
        assert answer.status_code == 200
        end = time.monotonic() + 10
        while list(folder.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        assert list(folder.iterdir()) == []


def test_a_photo_does_not_wait_for_ever_when_its_process_cannot_start_again(tmp_path: Path):
    model = tmp_path / "tiny.onnx"
    write_model(model)
    app = create_app([model], processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        client.get("/")
        model.unlink()
        (worker,) = service_of(app).queue._pool._workers
        worker._process.kill()
        for _ in range(3):
            upload(client, jpeg())
        photos = ready(client, 3)
        assert {photo["status"] for photo in photos} == {"failed"}
        assert "old.jpg was given up: the worker process was killed" in photos[0]["error"]
        assert f"there is no model file {model}" in photos[1]["error"]
