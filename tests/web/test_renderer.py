from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.geometry import Geometry
from photochrom.web.renderer import (
    Colors,
    Renderer,
    RenderRegion,
    Source,
    without_options,
    write_prediction,
)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The photos that were decoded."""
    paths: list[Path] = []
    load = Source.load
    monkeypatch.setattr(Source, "load", lambda source: paths.append(source.path) or load(source))
    return paths


def write_photo(path: Path, side: int) -> Source:
    Image.linear_gradient("L").resize((side, side)).save(path)
    return Source(path, Geometry(), False, 10**8)


def test_photo_is_decoded_once_for_all_regions(
    tmp_path: Path, tiny_onnx: Path, decoded: list[Path]
):
    source = write_photo(tmp_path / "old.png", 100)
    renderer = Renderer(ThreadPoolExecutor(1))
    write_prediction(Colorizer(tiny_onnx).predict(source.load()), tmp_path / "prediction")
    decoded.clear()
    for left in range(20):
        task = RenderRegion(source, Colors(tmp_path / "prediction"), 1, 1, (left, 0, 10, 10))
        assert isinstance(task(renderer), bytes)
    assert decoded == [source.path]


def test_advice_of_the_command_line_is_left_out():
    assert without_options("a is too large: 9; allow more with --max-pixels") == "a is too large: 9"
    for text in ("a--b.jpg is damaged; save it again", "a: 5 -- 6", "--x"):
        assert without_options(text) == text


def test_memory_is_bounded(tmp_path: Path, decoded: list[Path]):
    renderer = Renderer(ThreadPoolExecutor(1), max_memory=25_000)
    small, other = (write_photo(tmp_path / f"{name}.png", 100) for name in "ab")
    large = write_photo(tmp_path / "large.png", 200)
    for source in (small, other, small, large, small, large):
        assert renderer.load_photo(source).size == ((200, 200) if source is large else (100, 100))
    assert [path.stem for path in decoded] == ["a", "b", "large", "large"]
    turned = Source(small.path, Geometry(turn=90), False, 10**8)
    assert np.array_equal(
        renderer.load_photo(turned).pixels[..., 0], np.rot90(Image.open(small.path), -1)
    )
