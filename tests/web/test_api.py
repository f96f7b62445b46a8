import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from photochrom import open_photo
from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.web.api_reference import operations
from photochrom.web.service import Limits
from support.server import jpeg, service_of


def test_a_result_is_what_the_command_line_makes(
    web_client: TestClient, tiny_onnx: Path, tmp_path: Path
):
    (tmp_path / "old.jpg").write_bytes(jpeg(dpi=(300, 300), comment=b"grandmother"))
    job = Job(tmp_path / "old.jpg", tmp_path / "new.jpg")
    assert not colorize_file(job, Colorizer(tiny_onnx), saturation=0.5, strength=0.9, size=40).error
    with (tmp_path / "old.jpg").open("rb") as file:
        answer = web_client.post(
            "/api/colorize",
            files={"file": file},
            data={"saturation": "0.5", "strength": "0.9", "size": "40"},
        )
    assert answer.status_code == 200
    assert answer.content == job.output.read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-disposition"] == 'attachment; filename="old-color.jpg"'
    assert b"grandmother" in answer.content


def test_the_mark_can_be_left_out(web_client: TestClient):
    for mark, said in (("true", True), ("false", False)):
        answer = web_client.post("/api/colorize", files={"file": jpeg()}, data={"mark": mark})
        assert (open_photo(io.BytesIO(answer.content)).metadata.mark is not None) == said


@pytest.mark.parametrize(
    ("content", "data", "status", "said"),
    [
        (b"no photo", {}, 400, "old.jpg is not a photo in a format that can be read"),
        (b"", {}, 400, "old.jpg is empty: 0 bytes"),
        (jpeg()[:300], {}, 400, "old.jpg is damaged or cut off"),
        (jpeg(1100, 1000), {}, 400, "old.jpg is too large: 1100x1000 is 1100000 pixels"),
        (jpeg(), {"saturation": "9"}, 422, "saturation is '9'"),
        (jpeg(), {"strength": "much"}, 422, "strength is 'much'"),
        (jpeg(), {"strength": "nan"}, 422, "strength is 'nan'"),
        (jpeg(), {"model": "../default"}, 400, "there is no model '../default'; it has to be tiny"),
        (bytes(2_200_000), {}, 413, "the file is too large; this server takes up to 2 MB"),
    ],
)
def test_refusals_are_one_sentence(
    web_client: TestClient, content: bytes, data: dict[str, str], status: int, said: str
):
    files = {"file": ("../../old.jpg", content)}
    answer = web_client.post("/api/colorize", files=files, data=data)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(said)
    assert list(answer.json()) == ["detail"]
    assert "/tmp" not in answer.text


def test_a_missing_file_is_named(web_client: TestClient):
    answer = web_client.post("/api/colorize", data={"saturation": "1"})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "file: Field required"}


def test_nothing_is_left_on_the_disk(web_app: FastAPI, web_client: TestClient):
    folder = service_of(web_app).sessions.folder
    before = set(folder.iterdir())
    web_client.post("/api/colorize", files={"file": jpeg()})
    web_client.post("/api/colorize", files={"file": b"rubbish"})
    assert set(folder.iterdir()) == before


def test_models_and_health(web_client: TestClient):
    assert web_client.get("/api/models").json() == {
        "models": [{"name": "tiny", "note": "", "size": 32}]
    }
    assert web_client.get("/healthz").json()["status"] == "ok"


def test_who_comes_to_a_full_line_is_sent_away_for_a_while(tiny_onnx: Path):
    from photochrom.web.app import create_app

    app = create_app([tiny_onnx], limits=Limits(waiting=1), processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        answers = []

        def ask() -> None:
            files = {"file": jpeg(3000, 3000)}
            answers.append(client.post("/api/colorize", files=files))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done = [answer for answer in answers if answer.status_code == 200]
    away = [answer for answer in answers if answer.status_code == 503]
    assert len(done) + len(away) == 8
    assert 2 <= len(done) < 8
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in away)
    assert all("too many photos are waiting" in answer.json()["detail"] for answer in away)


def test_a_photo_that_takes_too_long_is_given_up(tiny_onnx: Path):
    from photochrom.web.app import create_app

    app = create_app([tiny_onnx], limits=Limits(seconds=3), processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        service = service_of(app)
        service.queue._pool.timeout = 0.05
        answer = client.post("/api/colorize", files={"file": jpeg(4000, 4000)})
        assert answer.status_code == 504
        assert answer.json()["detail"] == "the worker process took more than 0.05 s"
        service.queue._pool.timeout = 20
        assert client.post("/api/colorize", files={"file": jpeg()}).status_code == 200


def test_the_reference_names_every_field(web_app: FastAPI, web_client: TestClient):
    document = web_client.get("/api/openapi.json").json()
    assert set(document["paths"]) == {"/api/colorize", "/api/models", "/healthz"}
    page = web_client.get("/api")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    (colorize,) = [o for o in operations(web_app.openapi()) if o["path"] == "/api/colorize"]
    assert [f["name"] for f in colorize["fields"] if f["needed"]] == ["file"]
    assert {a["status"] for a in colorize["answers"]} >= {"200", "400", "413", "503", "504"}
    for field in colorize["fields"]:
        assert f"<code>{field['name']}</code>" in page.text


def test_torch_is_not_imported():
    code = (
        "import sys, photochrom.web.app\n"
        "assert not {'torch', 'photochrom.training', 'lightning_fabric'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
