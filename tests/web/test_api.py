import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from photochrom import open_photo, save_photo
from photochrom.batch.planning import Job
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint, hints_to_json
from photochrom.web.api_reference import operations
from photochrom.web.app import create_app
from photochrom.web.limits import Limits
from support.models import write_model
from support.server import get_service, make_jpeg


def test_result_equals_command_line(web_client: TestClient, tiny_onnx: Path, tmp_path: Path):
    (tmp_path / "old.jpg").write_bytes(make_jpeg(dpi=(300, 300), comment=b"grandmother"))
    job = Job(tmp_path / "old.jpg", tmp_path / "new.jpg")
    assert not colorize_file(job, Colorizer(tiny_onnx), saturation=0.5, strength=0.9, size=40).error
    with (tmp_path / "old.jpg").open("rb") as file:
        response = web_client.post(
            "/api/colorize",
            files={"file": file},
            data={"saturation": "0.5", "strength": "0.9", "size": "40"},
        )
    assert response.status_code == 200
    assert response.content == job.output.read_bytes()
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"] == 'attachment; filename="old-color.jpg"'
    assert b"grandmother" in response.content


def test_geometry_and_format_equal_command_line(
    web_client: TestClient, tiny_onnx: Path, tmp_path: Path
):
    save_photo(open_photo(io.BytesIO(make_jpeg())), tmp_path / "old.png")
    job = Job(tmp_path / "old.png", tmp_path / "new.jpg")
    result = colorize_file(
        job,
        Colorizer(tiny_onnx),
        turn=90,
        straighten=-1.5,
        crop=(3, 4, 30, 40),
        format="jpeg",
    )
    assert not result.error
    data = {"turn": "90", "straighten": "-1.5", "crop": "3,4,30,40", "format": "jpeg"}
    with (tmp_path / "old.png").open("rb") as file:
        response = web_client.post("/api/colorize", files={"file": file}, data=data)
    assert response.status_code == 200
    assert response.content == job.output.read_bytes()
    assert response.headers["content-disposition"].endswith('"old.png-color.jpg"')
    empty = dict.fromkeys(data, "")
    response = web_client.post("/api/colorize", files={"file": make_jpeg()}, data=empty)
    assert response.status_code == 200


@pytest.fixture(scope="module")
def hinted_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server with a model that takes hints."""
    model = tmp_path_factory.mktemp("hinted") / "hinted.onnx"
    write_model(model, hints=3, name="hinted")
    with TestClient(create_app([model], processes=1), base_url="http://localhost") as client:
        yield client


def test_hints_equal_command_line(hinted_client: TestClient, tmp_path: Path):
    write_model(tmp_path / "hinted.onnx", hints=3, name="hinted")
    (tmp_path / "old.jpg").write_bytes(make_jpeg())
    hints = (Hint(5, 6, "firebrick"), Hint(40, 30, "neutral"))
    job = Job(tmp_path / "old.jpg", tmp_path / "new.jpg", hints=hints)
    result = colorize_file(job, Colorizer(tmp_path / "hinted.onnx"), turn=90)
    assert result.error is None
    text = json.dumps(hints_to_json(hints), indent=4)
    response = hinted_client.post(
        "/api/colorize",
        files={"file": ("old.jpg", make_jpeg())},
        data={"hints": text, "turn": "90"},
    )
    assert response.content == job.output.read_bytes()
    assert b"a person gave the colours at 2 places" in response.content
    many = json.dumps([{"x": 10, "y": 10, "color": "lightgoldenrodyellow"}] * 200, indent=4)
    for given in ("", "[]", many):
        response = hinted_client.post(
            "/api/colorize", files={"file": ("old.jpg", make_jpeg())}, data={"hints": given}
        )
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        ("red", "hints is not JSON; it has to be a list such as [{"),
        ("[" * 9999, "hints is not JSON; it has to be a list such as [{"),
        ("{}", "hints: the hints have to be a list such as [{"),
        ('[{"x": 1, "y": 2, "color": "reddish"}]', "hints: the hint's colour is 'reddish'"),
        (
            '[{"x": 80, "y": 2, "color": "red"}]',
            "old.jpg: the hint 80,2,red lies outside the photo",
        ),
        ('[{"x": 1, "y": 2, "color": "original"}]', "a hint asks for the photo's original colour"),
        ("[" + " " * 60_000 + "]", "send one file and up to 20 fields of up to 50000 bytes"),
    ],
)
def test_wrong_hints_are_refused(hinted_client: TestClient, hints: str, message: str):
    response = hinted_client.post(
        "/api/colorize", files={"file": ("old.jpg", make_jpeg())}, data={"hints": hints}
    )
    assert response.status_code == 400
    assert message in response.json()["detail"]


def test_hints_for_a_model_without_hints_are_refused(web_client: TestClient):
    hints = '[{"x": 1, "y": 2, "color": "red"}]'
    response = web_client.post("/api/colorize", files={"file": make_jpeg()}, data={"hints": hints})
    assert response.status_code == 400
    assert response.json()["detail"].startswith("model tiny takes no colour hints; use a model")


def test_mark_can_be_switched_off(web_client: TestClient):
    for mark, message in (("true", True), ("false", False)):
        response = web_client.post(
            "/api/colorize", files={"file": make_jpeg()}, data={"mark": mark}
        )
        assert (open_photo(io.BytesIO(response.content)).metadata.mark is not None) == message


@pytest.mark.parametrize(
    ("content", "data", "status", "message"),
    [
        (b"no photo", {}, 400, "old.jpg is not a photo in a format that can be read"),
        (b"", {}, 400, "old.jpg is empty: 0 bytes"),
        (make_jpeg()[:300], {}, 400, "old.jpg is damaged or cut off"),
        (
            make_jpeg()[:-200],
            {},
            400,
            "old.jpg is cut off: the first 27 % can be decoded; send the whole file,",
        ),
        (
            make_jpeg(1100, 1000),
            {},
            400,
            "old.jpg has 1.1 megapixels; the limit is 1",
        ),
        (make_jpeg(), {"saturation": "9"}, 422, "saturation is '9'"),
        (make_jpeg(), {"turn": "45"}, 400, "turn is 45; it has to be 0, 90, 180 or 270"),
        (make_jpeg(), {"straighten": "46"}, 422, "straighten is '46'"),
        (make_jpeg(), {"crop": "1,2,3"}, 400, "crop is '1,2,3'; it has to be left, top, width"),
        (make_jpeg(), {"crop": "0,0,9.0,9"}, 400, "crop is '0,0,9.0,9'; it has to be left, top"),
        (make_jpeg(), {"crop": "0,0,999,999"}, 400, "old.jpg: the crop 0,0,999,999"),
        (make_jpeg(), {"format": "gif"}, 400, "format is 'gif'; it has to be jpeg"),
        (make_jpeg(), {"strength": "much"}, 422, "strength is 'much'"),
        (make_jpeg(), {"strength": "nan"}, 422, "strength is 'nan'"),
        (
            make_jpeg(),
            {"model": "../default"},
            400,
            "there is no model '../default'; it has to be tiny",
        ),
        (bytes(2_200_000), {}, 413, "the file is too large; this server takes up to 2 MB"),
    ],
)
def test_errors_are_one_sentence(
    web_client: TestClient, content: bytes, data: dict[str, str], status: int, message: str
):
    files = {"file": ("../../old.jpg", content)}
    response = web_client.post("/api/colorize", files=files, data=data)
    assert response.status_code == status
    assert response.json()["detail"].startswith(message)
    assert list(response.json()) == ["detail"]
    assert "/tmp" not in response.text


def test_warnings_are_in_a_header(web_client: TestClient):
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("CMYK").save(buffer, "JPEG")
    for content, warning in (
        (make_jpeg(), None),
        (buffer.getvalue(), "CMYK without a colour profile is converted to RGB as if inks were"),
    ):
        response = web_client.post("/api/colorize", files={"file": ("old.jpg", content)})
        assert response.status_code == 200
        header = response.headers.get("photochrom-warnings")
        if warning is None:
            assert header is None
        else:
            assert json.loads(header)[0].startswith(warning)


def test_size_is_bounded_by_the_photo(web_client: TestClient):
    for content, size, status, message in (
        (make_jpeg(80, 60), 61, 400, "for this photo of 80x60 pixels it has to be from 16 to 60"),
        (make_jpeg(80, 60), 60, 200, ""),
        (b"no photo", 4096, 400, "old.jpg is not a photo in a format that can be read"),
    ):
        response = web_client.post(
            "/api/colorize", files={"file": ("old.jpg", content)}, data={"size": str(size)}
        )
        assert response.status_code == status
        assert status == 200 or message in response.json()["detail"]


def test_crop_hints_and_size_are_those_of_the_upright_photo(hinted_client: TestClient):
    orientation = Image.Exif()
    orientation[0x112] = 6
    photo = make_jpeg(80, 60, exif=orientation)
    for data, status, message in (
        ({"crop": "0,0,60,80"}, 200, ""),
        ({"crop": "0,0,60,70", "hints": '[{"x": 1, "y": 79, "color": "red"}]'}, 200, ""),
        ({"crop": "0,0,70,70"}, 400, "reaches out of the photo of"),
        ({"crop": "0,0,50,80"}, 400, "for this photo of 50x80 pixels it has to be from 16 to 50"),
    ):
        response = hinted_client.post(
            "/api/colorize", files={"file": ("old.jpg", photo)}, data={"size": "60", **data}
        )
        assert response.status_code == status, response.text
        assert status == 200 or message in response.json()["detail"]


def test_unknown_and_repeated_fields_are_refused(web_client: TestClient):
    file = ("file", ("old.jpg", make_jpeg()))
    fields = "file, saturation, strength, size, mark, "
    for files, data, message in (
        ([file], {"colour": "1"}, f"there is no field 'colour'; the fields are {fields}"),
        ([file, file], {}, "file is given 2 times; give it once"),
        ([file], {"size": ["16", "20"]}, "size is given 2 times; give it once"),
        ([file, ("mask", ("m.png", b"x"))], {}, "there is no field 'mask'; the fields are file, "),
        ([file, ("hints", ("a.json", b"[]"))], {}, "hints is sent as a file; send its content as"),
    ):
        response = web_client.post("/api/colorize", files=files, data=data)
        assert response.status_code == 422
        assert response.json()["detail"].startswith(message)


def test_missing_file_is_named(web_client: TestClient):
    response = web_client.post("/api/colorize", data={"saturation": "1"})
    assert response.status_code == 422
    assert response.json() == {"detail": "file: Field required"}


def test_request_leaves_no_files(web_app: FastAPI, web_client: TestClient):
    folder = get_service(web_app).sessions.folder
    before = set(folder.iterdir())
    web_client.post("/api/colorize", files={"file": make_jpeg()})
    web_client.post("/api/colorize", files={"file": b"rubbish"})
    assert set(folder.iterdir()) == before


def test_models_and_health(web_client: TestClient):
    assert web_client.get("/api/models").json() == {
        "models": [{"name": "tiny", "note": "", "size": 32, "takes_hints": False}]
    }
    assert web_client.get("/healthz").json()["status"] == "ok"


def test_full_queue_answers_503(tiny_onnx: Path):
    app = create_app([tiny_onnx], limits=Limits(max_waiting=1), processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        responses = []

        def send() -> None:
            files = {"file": make_jpeg(3000, 3000)}
            responses.append(client.post("/api/colorize", files=files))

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    done = [response for response in responses if response.status_code == 200]
    rejected = [response for response in responses if response.status_code == 503]
    assert len(done) + len(rejected) == 8
    assert 2 <= len(done) < 8
    assert all(1 <= int(response.headers["retry-after"]) <= 60 for response in rejected)
    assert all("too many photos are waiting" in response.json()["detail"] for response in rejected)


def test_slow_photo_times_out(tiny_onnx: Path):
    app = create_app([tiny_onnx], limits=Limits(timeout=3), processes=1)
    with TestClient(app, base_url="http://localhost") as client:
        service = get_service(app)
        service.queue._pool.timeout = 0.05
        response = client.post("/api/colorize", files={"file": make_jpeg(4000, 4000)})
        assert response.status_code == 504
        assert response.json()["detail"] == (
            "the photo took more than 3 s; send a smaller one, or try again later"
        )
        service.queue._pool.timeout = 20
        assert client.post("/api/colorize", files={"file": make_jpeg()}).status_code == 200


def test_reference_lists_every_field(web_app: FastAPI, web_client: TestClient):
    document = web_client.get("/api/openapi.json").json()
    assert set(document["paths"]) == {"/api/colorize", "/api/models", "/healthz"}
    page = web_client.get("/api")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    (colorize,) = [o for o in operations(web_app.openapi()) if o["path"] == "/api/colorize"]
    assert [f["name"] for f in colorize["fields"] if f["required"]] == ["file"]
    assert set(colorize["responses"]) >= {"200", "400", "413", "503", "504"}
    for field in colorize["fields"]:
        assert f"<code>{field['name']}</code>" in page.text


def test_openapi_lists_only_values_that_are_accepted(web_client: TestClient):
    schemas = web_client.get("/api/openapi.json").json()["components"]["schemas"]
    (form,) = (schema for name, schema in schemas.items() if name.startswith("Body_"))
    assert "null" not in str(form)
    assert form["properties"]["model"]["enum"] == ["tiny"]
    for name, field in form["properties"].items():
        values = field.get("enum") or [field.get("minimum"), field.get("maximum")]
        for value in [*values, field.get("default")]:
            if value is not None and name != "file":
                response = web_client.post(
                    "/api/colorize", files={"file": make_jpeg()}, data={name: str(value).lower()}
                )
                is_too_large = "for this photo of" in response.text  # size is bounded by the photo
                assert response.status_code == 200 or is_too_large, (name, value, response.text)


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz", "/api", "/api/models", "/api/openapi.json", "/static/page.css"],
)
def test_head_equals_get_without_body(web_client: TestClient, path: str):
    get, head = web_client.get(path), web_client.head(path)
    assert head.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) == len(get.content)


def test_torch_is_not_imported():
    code = (
        "import sys, photochrom.web.app\n"
        "assert not {'torch', 'photochrom.training', 'lightning_fabric'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
