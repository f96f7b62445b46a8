"""Pictures with hints, from a server whose model takes them."""

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint, hints_from_json, place_hints
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.reading import open_photo
from photochrom.web.app import create_app
from photochrom.web.hint_renderer import HintRenderer, write_prepared
from photochrom.web.renderer import Colors, RenderPreview, write_prediction
from support.models import write_model
from support.photos import draw, draw_cloths
from support.server import get_service, make_jpeg
from support.web_client import read_image, upload, wait_until_ready

HINTS = "100,80,blue;300,200,neutral"


@pytest.fixture(scope="module")
def hinted_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds hints to its colours."""
    path = tmp_path_factory.mktemp("model") / "hinted.onnx"
    write_model(path, hints=3, name="hinted")
    return path


@pytest.fixture(scope="module")
def app(hinted_onnx: Path, tiny_onnx: Path) -> FastAPI:
    return create_app([hinted_onnx, tiny_onnx], processes=1)


@pytest.fixture(scope="module")
def running(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def client(running: TestClient) -> TestClient:
    """A client with a new session."""
    running.cookies.clear()
    running.get("/")
    return running


@pytest.fixture
def address(client: TestClient) -> str:
    """Of a photo of 400x300."""
    upload(client, make_jpeg(400, 300))
    (photo,) = wait_until_ready(client)
    return f"/photos/{photo['id']}"


def read_picture(content: Any) -> NDArray[np.int_]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def make_predictions(model: Path, file: Path, folder: Path) -> None:
    colorizer, photo = Colorizer(model), open_photo(file)
    prepared = colorizer.prepare(photo)
    write_prediction(colorizer.predict(photo, prepared=prepared), folder)
    write_prepared(prepared, folder)


def test_hints_need_no_decoding_and_equal_those_of_the_whole_photo(
    tmp_path: Path, hinted_onnx: Path
):
    file, geometry = tmp_path / "old.png", Geometry()
    Image.fromarray(draw(1800, 2400)).save(file)
    make_predictions(hinted_onnx, file, tmp_path / "prediction")
    hints = place_hints([Hint(400, 500, "red"), Hint(900, 40, "original")], (2400, 1800), geometry)
    expected = Colorizer(hinted_onnx).predict(open_photo(file), hints=hints)
    file.unlink()
    renderer = HintRenderer(ThreadPoolExecutor(1), models=(hinted_onnx,), device="cpu")
    colors = Colors(tmp_path / "prediction", 0, hints)
    prediction = renderer.load_prediction(colors)
    assert prediction.photo.size == (1600, 1200)
    assert np.abs(prediction.coefficients - expected.coefficients).mean() < 0.05
    assert renderer.load_prediction(colors) is prediction
    plain, hinted = (
        read_picture(RenderPreview(Colors(colors.folder, 0, placed), "after", 1, 1, 800)(renderer))
        for placed in ((), hints)
    )
    changed = np.abs(plain - hinted).max(axis=2)
    assert changed[500 // 3, 400 // 3] > 40
    assert changed[500, 700] < 8


def test_models_are_loaded_when_they_are_needed(tmp_path: Path, hinted_onnx: Path):
    file = tmp_path / "old.png"
    Image.fromarray(draw(60, 80)).save(file)
    make_predictions(hinted_onnx, file, tmp_path / "prediction")
    renderer = HintRenderer(ThreadPoolExecutor(1), models=(Path("missing"), hinted_onnx))
    hints = place_hints([Hint(40, 30, "red")], (80, 60), Geometry())
    assert renderer.load_prediction(Colors(tmp_path / "prediction", 0)).hint_count == 0
    assert renderer.load_prediction(Colors(tmp_path / "prediction", 1, hints)).hint_count == 1


def test_what_is_shown_is_what_is_downloaded(client: TestClient, address: str):
    look = {"hints": HINTS, "turn": 90, "crop": "20,30,200,300", "saturation": 0.8}
    plain = read_image(client.get(f"{address}/after", params=look | {"hints": ""}))
    shown = read_image(client.get(f"{address}/after", params=look))
    result = read_image(client.get(f"{address}/result", params=look))
    assert shown.shape == result.shape == (300, 200, 3)
    assert np.abs(shown - result).mean() < 2
    assert np.abs(shown - plain).max() > 40
    rectangle = {"left": 100, "top": 50, "width": 90, "height": 120}
    region = read_image(client.get(f"{address}/region", params=look | rectangle))
    assert np.abs(region - result[50:170, 100:190]).mean() < 2
    thumbnail = client.get(f"{address}/thumbnail", params=look)
    assert read_image(thumbnail).shape == (300, 200, 3)
    cropped = look | {"crop": "0,0,100,100"}
    views = [client.get(f"{address}/after", params=cropped | {"hints": h}) for h in (HINTS, "")]
    assert views[0].content == views[1].content


def test_hints_do_not_wait_for_the_predictions_of_other_photos(
    app: FastAPI, client: TestClient, address: str, monkeypatch: pytest.MonkeyPatch
):
    async def wait_for_ever(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    service = get_service(app)
    monkeypatch.setattr(service.queue, "run", wait_for_ever)
    monkeypatch.setattr(service.rendering_queue, "run", wait_for_ever)
    for color in ("red", "original", "%23b22222"):
        response = client.get(f"{address}/after?hints=30,40,{color}&max_size=100")
        if color == "original":
            assert response.status_code == 400
            assert "this photo is grey and has none" in response.json()["detail"]
        else:
            assert read_image(response).shape == (75, 100, 3)


def test_suggestions(client: TestClient, address: str):
    def suggest(x: int, y: int, **look: Any) -> Any:
        response = client.get(f"{address}/suggestions", params={"x": x, "y": y, **look})
        return response.json()["detail" if response.status_code == 400 else "colors"]

    colors = suggest(100, 80)
    assert len({color["color"] for color in colors}) == len(colors) == 6
    assert colors[0]["kind"] == "model"
    assert suggest(100, 80, hints="100,80,blue") == colors  # the place's own hint does not count
    assert suggest(100, 80, hints="101,80,blue") != colors
    assert suggest(100, 80, turn=90, crop="150,50,150,100") == suggest(100, 80)
    assert suggest(400, 80) == (
        "the place 400,80 lies outside the photo of 400x300 pixels; x has to be from 0 to 399, y "
        "from 0 to 299"
    )
    assert suggest(100, 80, crop="200,0,100,100") == (
        "the place 100,80 lies in a part of the photo that is cropped away; choose one inside of "
        "the crop"
    )
    assert suggest(100, 80, model="tiny").startswith("model tiny takes no colour hints")


def test_versions_differ_by_hints_and_stay(
    tmp_path: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
):
    write_model(
        tmp_path / "unsure.onnx", hints=3, scale=2, asymmetry=0.003, size="64", name="unsure"
    )
    app = create_app([tmp_path / "unsure.onnx", tiny_onnx], processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        client.get("/")
        Image.fromarray(draw_cloths(300, 400)).save(tmp_path / "cloths.png")
        upload(client, (tmp_path / "cloths.png").read_bytes())
        (photo,) = wait_until_ready(client)
        check_versions(app, client, f"/photos/{photo['id']}", monkeypatch)


def check_versions(
    app: FastAPI, client: TestClient, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(hints: Any = "", **look: Any) -> Any:
        query = look | {"hints": write_query(hints)}
        return client.get(f"{address}/versions", params=query).json()["versions"]

    def write_query(hints: Any) -> str:
        return ";".join(map(str, hints_from_json(hints))) if hints else ""

    queue = get_service(app).queue
    tasks: list[Any] = []
    run = queue.run
    monkeypatch.setattr(queue, "run", lambda task, **o: tasks.append(task) or run(task, **o))
    first, *others = versions = ask()
    assert first == {"hints": []}
    assert len(others) == 3
    assert ask() == versions
    assert ask(others[1]["hints"], saturation=0.5) == versions  # it is the one that was chosen
    assert len(tasks) == 1
    own = others[0]["hints"][:1]
    mine = ask(own)
    assert [version["hints"][:1] for version in mine] == [own] * 4
    assert mine[0]["hints"] == own
    assert mine != versions
    assert ask(own, crop="0,0,300,150")[0]["hints"] == own  # also where it is cropped away
    assert ask(model="tiny") == [{"size": size} for size in (128, 192, 256)]
    queries = [{"hints": write_query(version["hints"])} for version in mine]
    large = [client.get(f"{address}/after", params=query) for query in queries]

    async def wait_for_ever(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    hint_queue, sessions = get_service(app).hint_queue, get_service(app).sessions
    run_hints = hint_queue.run if hint_queue else None
    monkeypatch.setattr(hint_queue, "run", wait_for_ever)
    tasks.clear()
    small = [client.get(f"{address}/thumbnail", params=query) for query in queries]
    assert not tasks
    assert len({view.content for view in small}) == 4
    for view, preview in zip(small, large, strict=True):
        expected = Image.open(io.BytesIO(preview.content)).resize((320, 240))
        assert np.abs(read_image(view) - np.asarray(expected).astype(int)).mean() < 3
    monkeypatch.setattr(hint_queue, "run", run_hints)
    folders = [path.parent for path in sessions.folder.rglob("*/0/prediction")]
    assert len(folders) == 3
    sessions.drop_predictions()  # there is little space on the disk
    assert not any(folder.exists() for folder in folders)
    again = client.get(f"{address}/thumbnail", params=queries[1])
    assert np.abs(read_image(again) - read_image(small[1])).mean() < 2


def test_hints_are_saved_and_checked(client: TestClient, address: str):
    hints = [{"x": 399, "y": 299, "color": "firebrick"}]
    assert client.patch(address, json={"hints": hints}).json()["look"]["hints"] == hints
    assert wait_until_ready(client)[0]["look"]["hints"] == hints
    message = (
        "the hint 400,20,red lies outside the photo of 400x300 pixels; x has to be from 0 to 399, "
        "y from 0 to 299"
    )
    outside = [{"x": 400, "y": 20, "color": "red"}]
    assert client.patch(address, json={"hints": outside}).json() == {"detail": message}
    for view in ("after", "thumbnail", "result"):
        response = client.get(f"{address}/{view}", params={"hints": "400,20,red"})
        assert (response.status_code, response.json()) == (400, {"detail": message})
    page = client.get("/").text
    assert [page.count(f'data-hints="{value}"') for value in ("true", "false")] == [1, 1]
