import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import stores
from support.models import write_model
from support.photos import draw

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tests run on all cores at once

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from photochrom.web.app import create_app
from photochrom.web.limits import Limits


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with tests marked slow first: at the end, other workers would wait for them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def picture() -> Image.Image:
    """RGB, 64x48."""
    return Image.fromarray(draw())


@pytest.fixture
def photo_file(tmp_path: Path, picture: Image.Image) -> Path:
    """A grey JPEG of 64x48, alone in its folder."""
    path = tmp_path / "photos" / "old.jpg"
    path.parent.mkdir()
    picture.convert("L").save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/{b.jpg, a.PNG, deep/er/c.tif}, and what is no photo or not meant."""
    root = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "deep/er/c.tif", "b-color.jpg", ".hidden/d.jpg", ".e.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 16), 99).save(root / name)
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid model file of one convolution: a* = 0.2 L* + 5, b* = 30 - 0.3 L*."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_model(path)
    return path


@pytest.fixture(scope="session")
def web_app(tiny_onnx: Path) -> FastAPI:
    """The server with the tiny model and small limits; `web_client` runs it."""
    limits = Limits(
        max_bytes=2_000_000, max_pixels=1_000_000, max_waiting=32, timeout=20, max_photos=12
    )
    return create_app([tiny_onnx], limits=limits, processes=1)


@pytest.fixture(scope="session")
def web_client(web_app: FastAPI) -> Iterator[TestClient]:
    """A client shared by the tests, which clear its cookies."""
    with TestClient(web_app, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """The file system of an object store on this computer."""
    yield from stores.serve()


@pytest.fixture
def bucket(store: Any, request: pytest.FixtureRequest) -> str:
    """A new bucket."""
    return stores.new_bucket(store, request.node.name)
