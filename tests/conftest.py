import os
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tests run on all cores at once

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from photochrom.web.app import create_app
from photochrom.web.service import Limits


def draw(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Smooth colours with some edges and grain: enough of a photo for these tests."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 4, (height, width))
    red = 255 * x / width
    green = 255 * y / height
    blue = np.where((x // 16 + y // 16) % 2, 200, 60)
    return np.clip(np.dstack([red, green, blue]) + noise[..., None], 0, 255).astype(np.uint8)


def default_sigint() -> None:
    """Undo that SIGINT is ignored, as it is in what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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


def write_model(
    path: Path,
    *,
    names: tuple[str, str] = ("L", "ab"),
    channels: int = 2,
    sides: tuple[int | str, int | str] = ("height", "width"),
    scale: float = 1.0,
    hints: int = 0,
    **metadata: str,
) -> None:
    """Write a model file of one convolution; metadata given as "" are left out.

    With hints, their number of channels, the file adds the first two to what the convolution makes.
    """
    import onnx
    from onnx import TensorProto, helper

    weight = np.resize(np.float32([0.2, -0.3]), (channels, 1, 1, 1)) * np.float32(scale)
    bias = np.resize(np.float32([5, 30]), channels)
    inputs = [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", 1, *sides])]
    nodes = [helper.make_node("Conv", [names[0], "weight", "bias"], [names[1]])]
    constants = []
    if hints:
        shape = ["batch", hints, *sides]
        inputs.append(helper.make_tensor_value_info("hints", TensorProto.FLOAT, shape))
        nodes[0].output[0] = "guess"
        nodes.append(helper.make_node("Slice", ["hints", "zero", "two", "one"], ["known"]))
        nodes.append(helper.make_node("Add", ["guess", "known"], [names[1]]))
        for name, number in (("zero", 0), ("one", 1), ("two", 2)):
            constants.append(onnx.numpy_helper.from_array(np.array([number]), name))
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", channels, *sides])],
        [
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(bias, "bias"),
            *constants,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    says = {"photochrom_format": "1", "name": "tiny", "size": "32", **metadata}
    helper.set_model_props(model, {key: value for key, value in says.items() if value})
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def web_app(tiny_onnx: Path) -> FastAPI:
    """The server with the tiny model and small limits; `web_client` runs it."""
    limits = Limits(megabytes=2, megapixels=1, waiting=32, seconds=20, photos=12)
    return create_app([tiny_onnx], limits=limits, processes=1)


@pytest.fixture(scope="session")
def web_client(web_app: FastAPI) -> Iterator[TestClient]:
    """One browser, whose cookies each test forgets."""
    with TestClient(web_app, base_url="http://localhost") as client:
        yield client
