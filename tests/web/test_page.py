"""The private routes of the page, without a browser."""

import asyncio
import io
import os
import re
import signal
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from photochrom import open_photo
from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerTimeoutError
from photochrom.batch.runner import colorize_file
from photochrom.cli.colorize import colorize
from photochrom.colorize.colorizer import Colorizer
from photochrom.web.app import create_app
from photochrom.web.limits import Limits
from photochrom.web.looks import Look
from photochrom.web.responses import ResultResponse
from photochrom.web.service import ResultFile
from photochrom.web.sessions import UploadedPhoto
from support.models import write_model
from support.photos import draw
from support.server import get_service, make_jpeg, run_server
from support.web_client import read_image, upload, wait_until_ready

pytestmark = pytest.mark.slow

DEFAULT_LOOK = {
    "saturation": 1.0,
    "strength": 1.0,
    "size": None,
    "mark": True,
    "model": "tiny",
    "turn": 0,
    "straighten": 0.0,
    "crop": None,
    "format": None,
    "truncated": False,
    "hints": [],
}


@pytest.fixture
def client(web_app: FastAPI, web_client: TestClient) -> TestClient:
    """A client with a new session."""
    web_client.cookies.clear()
    web_client.get("/")
    return web_client


def test_photo_from_upload_to_download(client: TestClient, tiny_onnx: Path, tmp_path: Path):
    content = make_jpeg(700, 500)
    arrived = upload(client, content, "Großmutter 1910.jpg")
    assert arrived["name"] == "Großmutter 1910.jpg"
    assert arrived["status"] in ("waiting", "working")
    (photo,) = wait_until_ready(client)
    assert (photo["width"], photo["height"], photo["pages"]) == (700, 500, 1)
    address = f"/photos/{photo['id']}"
    before, after = (read_image(client.get(f"{address}/{view}")) for view in ("before", "after"))
    assert before.shape == after.shape == (500, 700, 3)
    assert np.ptp(before, axis=2).max() == 0
    assert np.ptp(after, axis=2).mean() > 10
    assert read_image(client.get(f"{address}/thumbnail")).shape[:2] == (229, 320)

    options = {"saturation": 0.5, "strength": 0.8, "mark": False}
    assert client.patch(address, json=options).json()["look"] == DEFAULT_LOOK | options
    (tmp_path / "old.jpg").write_bytes(content)
    job = Job(tmp_path / "old.jpg", tmp_path / "new.jpg")
    assert not colorize_file(job, Colorizer(tiny_onnx), **options).error
    result = client.get(f"{address}/result", params=options)
    assert result.content == job.output.read_bytes()
    assert "Gro%C3%9Fmutter%201910-color.jpg" in result.headers["content-disposition"]


@pytest.mark.parametrize(
    "look",
    [
        {"turn": 90},
        {"straighten": -3.5},
        {"crop": [20, 30, 200, 150]},
        {"turn": 270, "straighten": 2, "crop": [40, 50, 120, 160], "size": 48, "strength": 0.5},
        {"format": "jpeg", "saturation": 2, "mark": False},
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_result_equals_command_line(
    client: TestClient, tiny_onnx: Path, tmp_path: Path, look: dict[str, Any], suffix: str
):
    path = tmp_path / f"old.{suffix}"
    Image.fromarray(draw(240, 320)).convert("L").save(path)
    upload(client, path.read_bytes(), path.name)
    (photo,) = wait_until_ready(client)
    query = {k: ",".join(map(str, v)) if k == "crop" else v for k, v in look.items()}
    result = client.get(f"/photos/{photo['id']}/result", params=query)
    arguments = [str(path), "--model", str(tiny_onnx)]
    for name, value in query.items():
        arguments += ["--no-mark"] if name == "mark" else [f"--{name}", str(value)]
    ran = CliRunner().invoke(colorize, arguments)
    assert ran.exit_code == 0, ran.output
    (expected,) = tmp_path.glob("old*-color*")
    assert result.content == expected.read_bytes()
    assert f'filename="{expected.name}"' in result.headers["content-disposition"]
    assert client.patch(f"/photos/{photo['id']}", json=look).status_code == 200
    image = np.asarray(Image.open(expected).convert("RGB")).astype(int)
    after = read_image(client.get(f"/photos/{photo['id']}/after", params=query))
    before = read_image(client.get(f"/photos/{photo['id']}/before", params=query))
    assert np.abs(after - image).mean() < 4  # both are JPEGs
    assert before.shape == image.shape
    assert np.corrcoef(before[..., 1].ravel(), image[..., 1].ravel())[0, 1] > 0.95


def test_photo_that_is_cut_off_is_offered_as_far_as_it_goes(
    client: TestClient, tiny_onnx: Path, tmp_path: Path
):
    path = tmp_path / "old.jpg"
    path.write_bytes(make_jpeg(200, 200)[:-400])
    upload(client, path.read_bytes())
    (failed,) = wait_until_ready(client)
    assert (failed["status"], failed["error_code"]) == ("failed", "truncated")
    assert re.fullmatch(r"old\.jpg is cut off: the first \d\d % can be decoded", failed["error"])
    client.post(f"/photos/{failed['id']}/retry", json={"truncated": True})
    (photo,) = wait_until_ready(client)
    assert (photo["status"], photo["error"], photo["error_code"]) == ("ready", None, None)
    assert photo["notes"] == ["truncated"]
    assert photo["warnings"][0].startswith("The file is cut off: ")
    address, query = f"/photos/{photo['id']}", {"truncated": True}
    job = Job(path, tmp_path / "new.jpg")
    assert not colorize_file(job, Colorizer(tiny_onnx), truncated=True).error
    assert client.get(f"{address}/result", params=query).content == job.output.read_bytes()
    shown = [
        read_image(client.get(f"{address}/{view}", params=query | more))
        for view, more in (
            ("before", {}),
            ("after", {}),
            ("before", {"turn": 180}),
            ("region", {"left": 0, "top": 0, "width": 200, "height": 200}),
        )
    ]
    assert shown[0][-1].min() == shown[1][-1].min() == shown[2][0].min() == 255  # left white
    assert np.abs(shown[3] - shown[1]).mean() < 2


def test_too_large_photo_has_a_reason_without_options(client: TestClient):
    upload(client, make_jpeg(1200, 1000))
    (photo,) = wait_until_ready(client)
    assert photo["error_code"] == "too_large"
    assert photo["error"] == "old.jpg has 1.2 megapixels; the limit is 1"


def test_photo_in_colour_has_a_note(client: TestClient):
    for mode in ("RGB", "L"):
        buffer = io.BytesIO()
        Image.fromarray(draw(100, 100)).convert(mode).save(buffer, "PNG")
        upload(client, buffer.getvalue(), "old.png")
    in_color, grey = wait_until_ready(client, 2)
    assert (in_color["notes"], grey["notes"]) == (["in_color"], [])


def test_versions_are_predicted_by_one_job(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg(400, 300))
    (photo,) = wait_until_ready(client)
    address = f"/photos/{photo['id']}"
    tasks = record_tasks(web_app, monkeypatch)
    assert client.get(f"{address}/after", params={"size": 192}).status_code == 200
    tasks.clear()
    versions = client.get(f"{address}/versions").json()["versions"]
    assert versions == [{"size": 128}, {"size": 192}, {"size": 256}]
    assert client.get(f"{address}/versions").json()["versions"] == versions
    views = [read_image(client.get(f"{address}/thumbnail", params=each)) for each in versions]
    assert {view.shape for view in views} == {(240, 320, 3)}
    assert [[key.size for key in task.folders] for task in tasks] == [[128, 256]]
    cropped = client.get(f"{address}/versions", params={"crop": "0,0,100,130"})
    assert cropped.json() == {"versions": []}  # smaller than all of them
    assert photo == wait_until_ready(client)[0]


def test_versions_that_nobody_waits_for_are_not_predicted(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg(400, 300))
    (photo,) = wait_until_ready(client)
    service = get_service(web_app)
    cancelled = threading.Event()

    async def wait_for_ever(*_: object, **__: object) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    monkeypatch.setattr("photochrom.web.pictures._HOLD_SECONDS", 0.1)
    monkeypatch.setattr(service.queue, "run", wait_for_ever)
    assert len(client.get(f"/photos/{photo['id']}/versions").json()["versions"]) == 3
    assert cancelled.wait(30)
    monkeypatch.undo()
    view = client.get(f"/photos/{photo['id']}/after", params={"size": 128})
    assert view.status_code == 200


def test_versions_that_nobody_waits_for_are_deleted(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg(400, 300))
    (photo,) = wait_until_ready(client)
    service = get_service(web_app)
    session = service.sessions.get(client.cookies["photochrom"])
    assert session is not None
    run = service.queue.run

    async def run_slowly(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(1)
        return await run(*args, **options)

    monkeypatch.setattr("photochrom.web.pictures._HOLD_SECONDS", 0.3)
    monkeypatch.setattr(service.queue, "run", run_slowly)
    address = f"/photos/{photo['id']}"
    assert len(client.get(f"{address}/versions").json()["versions"]) == 3
    assert client.get(f"{address}/after", params={"size": 128}).status_code == 200
    folder = session.photos[photo["id"]].folder
    assert sum(path.is_dir() for path in folder.iterdir()) == 2  # the default, and 128


def test_original_with_another_geometry_needs_no_network(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg(300, 200))
    (photo,) = wait_until_ready(client)
    tasks = record_tasks(web_app, monkeypatch)
    address = f"/photos/{photo['id']}/before"
    for query, size in (
        ({}, (300, 200)),
        ({"turn": 90}, (200, 300)),
        ({"turn": 90, "crop": "10,20,100,50"}, (100, 50)),
        ({"turn": 90, "crop": "10,20,100,50", "max_size": 50}, (50, 25)),
        ({"max_size": 30}, (30, 20)),
    ):
        response = client.get(address, params=query)
        assert Image.open(io.BytesIO(response.content)).size == size
    part = {"side": "before", "left": 5, "top": 6, "width": 70, "height": 80}
    response = client.get(f"/photos/{photo['id']}/region", params=part | {"turn": 90})
    assert Image.open(io.BytesIO(response.content)).size == (70, 80)
    assert tasks == []
    outside = client.get(address, params={"crop": "290,0,20,20"})
    assert outside.status_code == 400
    assert outside.json()["detail"].startswith("the crop 290,0,20,20 (left, top, width, height)")


@pytest.mark.parametrize("depth", [8, 16])
def test_regions_equal_the_result(client: TestClient, depth: int):
    pixels = draw(500, 700)[..., 0]
    image = Image.fromarray(pixels if depth == 8 else pixels.astype(np.uint16) * 257)
    if depth == 8:  # sent as PNG, without loss
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    upload(client, buffer.getvalue(), "old.png")
    (photo,) = wait_until_ready(client)
    address = f"/photos/{photo['id']}"
    look = {"turn": 90, "straighten": 2, "saturation": 1.5}
    content = client.get(f"{address}/result", params=look).content
    whole = open_photo(io.BytesIO(content)).to_srgb().astype(int)
    height, width = whole.shape[:2]
    for left, top, w, h in ((0, 0, 100, 80), (37, 111, 301, 200), (width - 60, height - 1, 60, 1)):
        query = look | {"left": left, "top": top, "width": w, "height": h}
        region = read_image(client.get(f"{address}/region", params=query))
        difference = np.abs(region - whole[top : top + h, left : left + w])
        assert difference.max() <= 1 if depth == 8 else difference.mean() < 2
        original = read_image(client.get(f"{address}/region", params=query | {"side": "before"}))
        assert original.shape == region.shape
        assert np.ptp(original, axis=2).max() == 0
    small = read_image(client.get(f"{address}/region", params=query | {"max_size": 30}))
    assert small.shape == (1, 30, 3)
    for left, top, w, h in ((-1, 0, 9, 9), (0, 0, width + 1, 9), (0, 0, 9, 0), (0, 0, 9, 10**9)):
        query = look | {"left": left, "top": top, "width": w, "height": h}
        refused = client.get(f"{address}/region", params=query)
        assert refused.status_code == 400
        assert f"reaches out of the result of {width}x{height} pixels" in refused.json()["detail"]


def test_regions_are_limited(client: TestClient):
    upload(client, make_jpeg(2100, 400))
    (photo,) = wait_until_ready(client)
    query = {"left": 0, "top": 0, "width": 2049, "height": 400}
    response = client.get(f"/photos/{photo['id']}/region", params=query)
    assert response.json() == {
        "detail": "the region has 2049x400 pixels; it has to have at most 2048x2048"
    }


def test_photo_removed_during_rendering_is_not_found(
    client: TestClient, web_app: FastAPI, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg(60, 40))
    (photo,) = wait_until_ready(client)
    queue = get_service(web_app).rendering_queue
    rendering, removed = threading.Event(), threading.Event()
    run = queue.run

    async def run_after_removal(task: Any) -> Any:
        rendering.set()
        while not removed.is_set():
            await asyncio.sleep(0.01)
        return await run(task)

    monkeypatch.setattr(queue, "run", run_after_removal)
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(client.get, f"/photos/{photo['id']}/after")
        assert rendering.wait(30)
        assert client.delete(f"/photos/{photo['id']}").status_code == 204
        removed.set()
        assert response.result(30).status_code == 404


def test_preview_equals_download(client: TestClient):
    upload(client, make_jpeg(300, 200))
    (photo,) = wait_until_ready(client)
    shown, result = (
        read_image(client.get(f"/photos/{photo['id']}/{view}", params={"saturation": 0.5}))
        for view in ("after", "result")
    )
    assert np.abs(shown - result).mean() < 1.5  # two JPEGs of the same pixels


def test_preview_can_be_smaller(client: TestClient):
    upload(client, make_jpeg(900, 600))
    (photo,) = wait_until_ready(client)
    address = f"/photos/{photo['id']}/after"
    large, small = (read_image(client.get(address, params={"max_size": n})) for n in (1600, 300))
    assert large.shape == (600, 900, 3)
    assert small.shape == (200, 300, 3)
    shrunk = Image.fromarray(large.astype(np.uint8)).resize((300, 200), Image.Resampling.BOX)
    assert np.abs(small - np.asarray(shrunk)).mean() < 2
    assert client.get(address, params={"max_size": 5000}).status_code == 422


def test_slider_does_not_run_network(web_app: FastAPI, client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    queue = get_service(web_app).queue
    asked: list[Any] = []
    run = queue.run
    queue.run = lambda *a, **k: asked.append(a) or run(*a, **k)  # type: ignore[assignment]
    try:
        views = [
            read_image(client.get(f"/photos/{photo['id']}/after", params={"saturation": s}))
            for s in (0, 1, 2)
        ]
        client.patch(f"/photos/{photo['id']}", json={"saturation": 2})
    finally:
        queue.run = run  # type: ignore[method-assign]
    assert asked == []
    chroma = [np.ptp(view, axis=2).mean() for view in views]
    assert chroma[0] < 1 < chroma[1] < chroma[2]


def record_tasks(web_app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which the tasks of the network are appended."""
    queue = get_service(web_app).queue
    tasks: list[Any] = []
    run = queue.run
    monkeypatch.setattr(queue, "run", lambda task, **kw: tasks.append(task) or run(task, **kw))
    return tasks


def test_new_size_is_predicted_once_and_changes_nothing_else(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    address = f"/photos/{photo['id']}"
    tasks = record_tasks(web_app, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        views = ("after", "after", "thumbnail", "thumbnail")
        responses = pool.map(lambda v: client.get(f"{address}/{v}", params={"size": 48}), views)
        assert [response.status_code for response in responses] == [200] * 4
    assert [key.size for task in tasks for key in task.folders] == [48]
    assert client.get(f"{address}/after").status_code == 200  # still there
    assert client.patch(address, json={"size": 40}).json()["look"]["size"] == 40
    assert len(tasks) == 1
    assert wait_until_ready(client) == [
        photo | {"look": DEFAULT_LOOK | {"size": 40}}  # the status does not change
    ]


def test_polls_do_not_open_the_file(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr("photochrom.web.sessions.becomes_png", lambda p: bool(opened.append(p)))
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    assert len(opened) == 1  # by its preparation
    assert list(photo) == [
        *("id", "name", "status", "position", "error", "error_code", "width", "height", "pages"),
        *("look", "max_size", "notes", "warnings"),
    ]


def test_old_predictions_are_deleted(web_app: FastAPI, client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    session = get_service(web_app).sessions.get(client.cookies["photochrom"])
    assert session is not None
    folder = session.photos[photo["id"]].folder
    address = f"/photos/{photo['id']}/after"
    for size in range(40, 50):
        assert client.get(address, params={"size": size}).status_code == 200
        client.get(address)  # the default is used again and again
    assert sum(path.is_dir() for path in folder.iterdir()) == 6
    assert client.get(address, params={"size": 40}).status_code == 200


def test_hints_need_a_model_that_takes_them(client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    message = "model tiny takes no colour hints; use a model that was trained with them"
    address = f"/photos/{photo['id']}"
    for view in ("before", "after", "thumbnail", "result", "versions"):
        refused = client.get(f"{address}/{view}", params={"hints": "10,20,red"})
        assert (refused.status_code, refused.json()) == (400, {"detail": message})
    hint = {"x": 10, "y": 20, "color": "red"}
    assert client.patch(address, json={"hints": [hint]}).json() == {"detail": message}
    assert 'data-hints="false"' in client.get("/").text


def test_size_is_bounded_by_photo_and_memory(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_service(web_app).models, "_max_network_pixels", 10_000)
    sizes = {(60, 90): 60, (20, 30): 32, (120, 120): 100, (400, 100): 50, (900, 90): 50}
    for size in sizes:
        upload(client, make_jpeg(*size))
    photos = wait_until_ready(client, len(sizes))
    assert [photo["max_size"] for photo in photos] == list(sizes.values())
    for photo in photos:
        address = f"/photos/{photo['id']}"
        largest, larger = photo["max_size"], photo["max_size"] + 1
        for view in ("after", "thumbnail", "result"):
            assert client.get(f"{address}/{view}", params={"size": largest}).status_code == 200
            refused = client.get(f"{address}/{view}", params={"size": larger})
            message = (
                f"size is {larger}; for this photo of {photo['width']}x{photo['height']} pixels it "
                f"has to be from 16 to {largest}"
            )
            assert (refused.status_code, refused.json()) == (400, {"detail": message})
        assert client.patch(address, json={"size": larger}).json() == {"detail": message}
    assert wait_until_ready(client, len(sizes)) == photos


async def time_out(*_: object, **__: object) -> None:
    """Fail as a `JobQueue` does."""
    raise WorkerTimeoutError("the worker process took more than 1 s")


def test_predictions_make_room_for_photos(web_app: FastAPI, client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    service = get_service(web_app)
    session = service.sessions.get(client.cookies["photochrom"])
    assert session is not None
    address = f"/photos/{photo['id']}/after"
    for size in (40, 41, 42):
        client.get(address, params={"size": size})
    folder = session.photos[photo["id"]].folder
    assert sum(path.is_dir() for path in folder.iterdir()) == 4
    service.sessions.drop_predictions()
    assert sum(path.is_dir() for path in folder.iterdir()) == 1
    assert client.get(address, params={"size": 40}).status_code == 200


def test_look_that_fails_leaves_the_photo_as_it_was(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    address = f"/photos/{photo['id']}"
    monkeypatch.setattr(get_service(web_app).queue, "run", time_out)
    response = client.get(f"{address}/after", params={"size": 50})
    assert response.status_code == 504
    message = "the photo took more than 20 s; send a smaller one, or try again later"
    assert response.json()["detail"] == message
    monkeypatch.undo()
    assert wait_until_ready(client) == [photo]
    for view in ("before", "after", "thumbnail", "result"):
        assert client.get(f"{address}/{view}").status_code == 200
    assert client.get(f"{address}/after", params={"size": 50}).status_code == 200  # tried again


def test_failed_photo_is_prepared_again(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_service(web_app).queue, "run", time_out)
    upload(client, make_jpeg())
    (failed,) = wait_until_ready(client)
    assert (failed["status"], failed["error_code"]) == ("failed", "server")
    assert failed["error"] == "old.jpg took more than 20 s; try again later"
    monkeypatch.undo()
    answer = client.post(f"/photos/{failed['id']}/retry", json={"saturation": 2})
    assert answer.json()["status"] in ("waiting", "working")
    (photo,) = wait_until_ready(client)
    assert (photo["status"], photo["error"], photo["look"]["saturation"]) == ("ready", None, 2)
    assert client.post(f"/photos/{photo['id']}/retry", json={}).json() == photo


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"saturation": 5}, 400, "saturation is 5.0; it has to be from 0 to 4"),
        ({"saturation": "1"}, 400, "saturation is '1'; it has to be a number"),
        ({"saturation": None}, 400, "saturation is 'None'; it has to be a number"),
        ({"size": 20.5}, 400, "size is '20.5'; it has to be a whole number"),
        ({"mark": 1}, 400, "mark is '1'; it has to be true or false"),
        ({"contrast": 1}, 400, "there is no option 'contrast'; it has to be one of saturation, "),
        ({"model": "/etc/passwd"}, 400, "there is no model '/etc/passwd'"),
    ],
)
def test_invalid_looks_are_not_saved(
    client: TestClient, changes: dict[str, Any], status: int, message: str
):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    response = client.patch(f"/photos/{photo['id']}", json=changes)
    assert response.status_code == status
    assert response.json()["detail"].startswith(message)
    assert wait_until_ready(client) == [photo]


def test_invalid_looks_in_a_query_are_rejected(client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    for view in ("after", "thumbnail", "result"):
        for query, message in {
            "saturation=5": "saturation is 5.0; it has to be from 0 to 4",
            "strength=nan": "strength is nan; it has to be from 0 to 1",
            "mark=perhaps": "mark is 'perhaps'; it has to be true or false",
            "size=1e3": "size is '1e3'; it has to be a whole number",
            "crop=1,2,3": "crop is '1,2,3'; it has to be left, top, width and height in whole",
        }.items():
            response = client.get(f"/photos/{photo['id']}/{view}?{query}")
            assert response.status_code == 400
            assert response.json()["detail"].startswith(message)


def test_invalid_photo_fails_alone_with_its_name(client: TestClient):
    upload(client, b"no photo at all", "../../etc/notes.jpg")
    upload(client, make_jpeg(), "good.jpg")
    bad, good = wait_until_ready(client, 2)
    assert bad["status"] == "failed"
    assert bad["error"].startswith("notes.jpg is not a photo in a format that can be read")
    assert good["status"] == "ready"
    for view in ("before", "after", "thumbnail", "result"):
        response = client.get(f"/photos/{bad['id']}/{view}")
        assert (response.status_code, response.json()["detail"]) == (409, "notes.jpg is not ready")


def start_archive(client: TestClient, items: list[dict[str, Any]]) -> str:
    """Return the address of a new archive."""
    response = client.post("/archives", json={"photos": items})
    assert response.status_code == 201, response.text
    return f"/archives/{response.json()['id']}"


def test_zip_has_the_looks_that_are_asked_for(web_app: FastAPI, client: TestClient):
    for content in (make_jpeg(90, 60), make_jpeg(60, 90), make_jpeg(64, 64), b"rubbish"):
        upload(client, content, "IMG_1.jpg")
    *photos, bad = wait_until_ready(client, 4)
    looks: list[dict[str, Any]] = [{}, {"saturation": 0, "turn": 90}, {"format": "jpeg"}]
    items = [{"id": photo["id"], "look": look} for photo, look in zip(photos, looks, strict=True)]
    address = start_archive(client, [*items, {"id": bad["id"]}])
    progress = {"total": 4, "done": 0, "name": None, "failed": []}
    progress |= {"finished": False, "stopped": False}
    assert client.get(address).json() == progress
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{address}/photochrom.zip").content))
    assert archive.testzip() is None
    *names, text = archive.namelist()
    assert names == ["IMG_1-color.jpg", "IMG_1-color (2).jpg", "IMG_1-color (3).jpg"]
    assert text == "NOT COLORIZED.txt"
    assert archive.read(text) == b"IMG_1.jpg: it is not ready\r\n"
    for photo, look, name in zip(photos, looks, names, strict=True):
        result = client.get(f"/photos/{photo['id']}/result", params=look)
        assert archive.read(name) == result.content
    assert client.get(address).json() == progress | {
        "done": 4,
        "failed": ["IMG_1.jpg"],
        "finished": True,
    }
    assert client.get(f"{address}/photochrom.zip").status_code == 409
    session = get_service(web_app).sessions.get(client.cookies["photochrom"])
    assert session is not None
    assert not list(session.folder.rglob("result-*"))


def test_zip_lists_failed_photos(web_app: FastAPI, client: TestClient):
    for _ in range(2):
        upload(client, make_jpeg())
    first, second = wait_until_ready(client, 2)
    for session in get_service(web_app).sessions._sessions.values():
        if first["id"] in session.photos:
            session.photos[first["id"]].path.unlink()
    address = start_archive(client, [{"id": first["id"]}, {"id": second["id"]}])
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{address}/photochrom.zip").content))
    assert archive.namelist() == ["old-color.jpg", "NOT COLORIZED.txt"]
    message = archive.read("NOT COLORIZED.txt").decode()
    assert message == "old.jpg: cannot read old.jpg: No such file or directory\r\n"


def test_zip_lists_a_photo_that_is_removed_while_it_is_made(
    web_app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a.jpg", "b.jpg"):
        upload(client, make_jpeg(), name)
    first, second = wait_until_ready(client, 2)
    service = get_service(web_app)
    session = service.sessions.get(client.cookies["photochrom"])
    assert session is not None
    colorize = service.colorize

    async def colorize_and_remove(photo: UploadedPhoto, look: Look) -> ResultFile:
        result = await colorize(photo, look)
        if photo.id == first["id"]:
            session.remove(photo)
        return result

    monkeypatch.setattr(service, "colorize", colorize_and_remove)
    address = start_archive(client, [{"id": first["id"]}, {"id": second["id"]}])
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{address}/photochrom.zip").content))
    assert archive.testzip() is None
    assert archive.namelist() == ["b-color.jpg", "NOT COLORIZED.txt"]
    assert archive.read("NOT COLORIZED.txt") == b"a.jpg: it was removed meanwhile\r\n"
    state = client.get(address).json()
    assert (state["done"], state["failed"], state["finished"]) == (2, ["a.jpg"], True)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"photos": []}, 400, "the list of photos is empty"),
        ({"photos": [{"id": "none"}]}, 404, "the server does not have this photo"),
        ({"photos": [{"look": {}}]}, 422, "photos.0.id: Field required"),
        ({"photos": [{"id": "", "look": {"size": "1"}}]}, 400, "size is '1'; it has to be"),
    ],
)
def test_invalid_archives_are_rejected(
    client: TestClient, body: dict[str, Any], status: int, message: str
):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    for item in body["photos"]:
        if item.get("id") == "":
            item["id"] = photo["id"]
    response = client.post("/archives", json=body)
    assert response.status_code == status
    assert response.json()["detail"].startswith(message)
    for address in ("/archives/none", "/archives/none/photochrom.zip"):
        assert client.get(address).status_code == 404


def test_stopped_archive_is_complete_as_far_as_it_goes(tiny_onnx: Path):
    app = create_app([tiny_onnx], processes=1)
    with run_server(app) as address, httpx2.Client(base_url=address, timeout=20) as browser:
        browser.get("/")
        ids = [
            browser.post("/photos", params={"name": f"{n}.png"}, content=make_jpeg(900, 800)).json()
            for n in range(4)
        ]
        while any(p["status"] != "ready" for p in browser.get("/photos").json()["photos"]):
            time.sleep(0.05)
        queue = get_service(app).queue
        run = queue.run
        jobs: list[Any] = []
        ended: list[Any] = []

        async def run_slowly(task: Any, **options: Any) -> Any:
            jobs.append(task)
            try:
                await asyncio.sleep(0 if len(jobs) <= 2 else 60)
                return await run(task, **options)
            finally:
                ended.append(task)

        queue.run = run_slowly  # type: ignore[method-assign]
        items = [{"id": photo["id"]} for photo in ids]
        for stops in (True, False):
            jobs.clear()
            ended.clear()
            archive = browser.post("/archives", json={"photos": items}).json()["id"]
            path = f"/archives/{archive}"
            with (
                httpx2.Client(base_url=address, cookies=browser.cookies, timeout=20) as other,
                other.stream("GET", f"{path}/photochrom.zip") as response,
            ):
                parts = response.iter_raw()
                content = next(parts)
                while (state := browser.get(path).json())["done"] < 2 or len(jobs) < 3:
                    time.sleep(0.02)
                assert (state["name"], state["finished"]) == ("2-color.png", False)
                if stops:
                    assert browser.delete(path).status_code == 204
                    content += b"".join(parts)
            while len(ended) < len(jobs):
                time.sleep(0.02)
            while not (state := browser.get(path).json())["finished"]:
                time.sleep(0.02)
            assert (state["done"], state["failed"], state["stopped"]) == (2, [], True)
            assert len(jobs) == 3
            assert not list(get_service(app).sessions.folder.rglob("result-*"))
            if stops:
                whole = zipfile.ZipFile(io.BytesIO(content))
                assert whole.testzip() is None
                assert whole.namelist() == ["0-color.png", "1-color.png", "NOT COLORIZED.txt"]
                assert whole.read("NOT COLORIZED.txt").decode().splitlines() == [
                    f"{n}.png: the download was stopped" for n in (2, 3)
                ]


def test_reasons_why_photos_are_gone(web_app: FastAPI, client: TestClient):
    sessions = get_service(web_app).sessions

    def gone() -> str | None:
        answer = client.get("/photos").json()
        assert answer["server"] == sessions.server_id
        assert (answer["gone"] is None) or (answer["photos"] == [])
        return answer["gone"]  # type: ignore[no-any-return]

    assert gone() is None
    upload(client, make_jpeg())
    assert gone() is None
    client.delete("/photos")
    assert gone() == "removed"
    upload(client, make_jpeg())
    assert gone() is None
    sessions.remove_idle(-1)
    assert gone() == "idle"
    client.cookies.clear()
    client.cookies.set("photochrom", "x" * 43)  # of an earlier start
    assert gone() == "restarted"
    client.cookies.clear()
    assert gone() is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_session_survives_a_link_from_another_site(web_client: TestClient, scheme: str):
    web_client.cookies.clear()
    _, *attributes = web_client.get(f"{scheme}://localhost/").headers["set-cookie"].split("; ")
    expected = ["HttpOnly", "Path=/", "SameSite=lax"]  # strict: the link would begin another one
    assert attributes == expected + (["Secure"] if scheme == "https" else [])


def test_sessions_are_separate(client: TestClient):
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    mine = client.cookies["photochrom"]
    client.cookies.clear()
    client.get("/")
    assert client.cookies["photochrom"] != mine
    assert client.get("/photos").json()["photos"] == []
    address = f"/photos/{photo['id']}"
    for response in (
        *(client.get(f"{address}/{view}") for view in ("before", "after", "result")),
        client.patch(address, json={}),
        client.delete(address),
    ):
        assert response.status_code == 404


def test_upload_without_cookie_is_rejected(client: TestClient):
    for cookie in (None, "guess", "../" * 20):
        client.cookies.clear()
        if cookie:
            client.cookies.set("photochrom", cookie)
        response = client.post("/photos", params={"name": "old.jpg"}, content=make_jpeg())
        assert response.status_code == 403


def test_removed_photos_are_deleted_from_disk(web_app: FastAPI, client: TestClient):
    for _ in range(3):
        upload(client, make_jpeg())
    photos = wait_until_ready(client, 3)
    sessions = get_service(web_app).sessions
    session = sessions.get(client.cookies["photochrom"])
    assert session is not None
    assert len(list(session.folder.iterdir())) == 3
    assert client.delete(f"/photos/{photos[0]['id']}").status_code == 204
    assert len(list(session.folder.iterdir())) == 2
    assert client.delete("/photos").status_code == 204
    assert not session.folder.exists()
    assert client.get("/photos").json()["photos"] == []


def test_idle_session_is_removed(web_app: FastAPI, client: TestClient):
    upload(client, make_jpeg())
    wait_until_ready(client)
    sessions = get_service(web_app).sessions
    session = sessions.get(client.cookies["photochrom"])
    assert session is not None
    sessions.remove_idle(60)
    assert session.folder.exists()
    session.last_access -= 61
    sessions.remove_idle(60)
    assert not session.folder.exists()


def test_photos_of_a_session_are_limited(client: TestClient):
    for _ in range(12):
        upload(client, make_jpeg(20, 20))
    response = client.post("/photos", params={"name": "old.jpg"}, content=make_jpeg())
    assert response.status_code == 409
    assert response.json()["detail"].startswith("there are 12 photos on the page")


def test_too_large_file_is_rejected_and_leaves_no_files(web_app: FastAPI, client: TestClient):
    response = client.post(
        "/photos", params={"name": "old.tif"}, content=iter([bytes(1 << 20)] * 3)
    )
    assert response.status_code == 413
    assert response.json()["detail"] == "the file is too large; this server takes up to 2 MB"
    assert client.get("/photos").json()["photos"] == []
    session = get_service(web_app).sessions.get(client.cookies["photochrom"])
    assert session is not None
    assert list(session.folder.iterdir()) == []


def test_multipage_tiff_keeps_its_pages(client: TestClient):
    pages = [Image.linear_gradient("L").resize((50 + i, 40)) for i in range(3)]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    upload(client, buffer.getvalue(), "album.tif")
    (photo,) = wait_until_ready(client)
    assert photo["pages"] == 3
    client.get(f"/photos/{photo['id']}/after", params={"size": 40})
    assert wait_until_ready(client) == [photo]
    result = Image.open(io.BytesIO(client.get(f"/photos/{photo['id']}/result").content))
    assert getattr(result, "n_frames", 1) == 3


def test_transparent_photo_has_png_preview(client: TestClient):
    image = Image.linear_gradient("L").convert("LA")
    image.putalpha(Image.radial_gradient("L"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    upload(client, buffer.getvalue(), "cut-out.png")
    (photo,) = wait_until_ready(client)
    response = client.get(f"/photos/{photo['id']}/after")
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).mode == "RGBA"
    for view in ("before", "thumbnail"):
        shown = Image.open(io.BytesIO(client.get(f"/photos/{photo['id']}/{view}").content))
        assert shown.getchannel("A").getextrema() == (0, 255)


def test_each_size_is_shown_as_it_is_downloaded(client: TestClient):
    upload(client, make_jpeg(900, 700))
    (photo,) = wait_until_ready(client)
    for size in (64, 16, 96):
        shown, result = (
            read_image(client.get(f"/photos/{photo['id']}/{view}", params={"size": size}))
            for view in ("after", "result")
        )
        assert np.abs(shown - result).mean() < 1.5


def wait_for_positions(client: TestClient, expected: list[tuple[str, int | None]]) -> None:
    """Wait until the photos have these states and positions."""
    end = time.monotonic() + 30
    found = None
    while found != expected:
        assert time.monotonic() < end, found
        photos = client.get("/photos").json()["photos"]
        found = [(photo["status"], photo["position"]) for photo in photos]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
def test_photos_that_wait_have_positions(web_app: FastAPI, client: TestClient):
    process = get_service(web_app).queue._pool._workers[0]._process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        arrived = [upload(client, make_jpeg()) for _ in range(3)]
        expected = [("working", None), ("waiting", 1), ("waiting", 2)]
        wait_for_positions(client, expected)
        client.delete(f"/photos/{arrived[1]['id']}")
        wait_for_positions(client, expected[:2])
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert [photo["status"] for photo in wait_until_ready(client, 2)] == ["ready"] * 2


def test_photo_removed_during_preparation(client: TestClient):
    for _ in range(6):
        arrived = upload(client, make_jpeg(900, 900))
        client.delete(f"/photos/{arrived['id']}")
    upload(client, make_jpeg())
    (photo,) = wait_until_ready(client)
    assert photo["status"] == "ready"


def test_clients_succeed_after_503(tiny_onnx: Path):
    app = create_app([tiny_onnx], limits=Limits(max_waiting=2), processes=1)
    statuses: list[int] = []
    with run_server(app) as address:

        def download_twice() -> None:
            with httpx2.Client(base_url=address, timeout=30) as browser:
                browser.get("/")
                while browser.post("/photos?name=a.jpg", content=make_jpeg(1500, 1200)).is_error:
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


def test_disconnected_client_leaves_no_files(tiny_onnx: Path):
    app = create_app([tiny_onnx], processes=1)
    with run_server(app) as address:
        folder = get_service(app).sessions.folder
        for patience in (0.05, 0.1, 0.2, 0.3):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.post(
                    f"{address}/api/colorize",
                    files={"file": make_jpeg(6000, 5000)},
                    timeout=httpx2.Timeout(20, read=patience),
                )
        response = httpx2.post(f"{address}/api/colorize", files={"file": make_jpeg()}, timeout=30)
        assert response.status_code == 200
        end = time.monotonic() + 30
        while len(list(folder.iterdir())) > 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
def test_photos_fail_when_worker_cannot_restart(tmp_path: Path):
    model = tmp_path / "tiny.onnx"
    write_model(model)
    app = create_app([model], processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        client.get("/")
        model.unlink()
        pool = get_service(app).queue._pool
        (worker,) = pool._workers
        os.kill(worker._process.pid, signal.SIGSTOP)
        upload(client, make_jpeg())
        while pool._idle:
            time.sleep(0.01)
        time.sleep(0.2)  # the worker now has the photo
        worker._process.kill()
        for _ in range(2):
            upload(client, make_jpeg())
        photos = wait_until_ready(client, 3)
        assert {photo["status"] for photo in photos} == {"failed"}
        assert "old.jpg could not be colorized: the worker process was killed" in photos[0]["error"]
        assert f"there is no model file {model}" in photos[1]["error"]


def test_result_is_deleted_when_it_cannot_be_sent(tmp_path: Path):
    path = tmp_path / "result.jpg"
    path.write_bytes(bytes(1_000_000))

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client left")

    async def receive() -> Any:
        await asyncio.sleep(60)

    response = ResultResponse(path, remove=path.unlink)
    with pytest.raises(OSError, match="the client left"):
        asyncio.run(response({"type": "http", "method": "GET", "headers": []}, receive, send))
    assert not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
def test_work_of_a_client_that_left_is_stopped(tiny_onnx: Path):
    app = create_app([tiny_onnx], processes=1)
    with run_server(app) as address, httpx2.Client(base_url=address, timeout=60) as other:
        pool = get_service(app).queue._pool
        other.get("/")
        photo = other.post("/photos", params={"name": "old.jpg"}, content=make_jpeg()).json()
        while other.get("/photos").json()["photos"][0]["status"] != "ready":
            time.sleep(0.05)
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/api/colorize", {"files": {"file": make_jpeg()}}),
            ("GET", f"/photos/{photo['id']}/after", {"params": {"size": 40}}),
        ]
        for method, path, content in requests:
            os.kill(pool._workers[0]._process.pid, signal.SIGSTOP)  # works for ever
            with pytest.raises(httpx2.ReadTimeout):
                other.request(method, path, timeout=httpx2.Timeout(60, read=0.3), **content)
            assert other.request(method, path, **content).status_code == 200  # in 60 s
