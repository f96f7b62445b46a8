"""The examples and numbers in docs/web.md."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.web.app import create_app
from photochrom.web.limits import Limits
from support.server import make_jpeg, run_server

TEXT = (Path(__file__).parents[2] / "docs/web.md").read_text()
DOCUMENTED_URL = "http://127.0.0.1:8000"


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address(tiny_onnx: Path) -> Iterator[str]:
    with run_server(create_app([tiny_onnx], processes=1)) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old.jpg").write_bytes(make_jpeg())
    return tmp_path


def assert_coloured(path: Path) -> None:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape == (60, 80, 3)
    assert np.ptp(pixels, axis=2).mean() > 5


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("line", "".join(code_blocks("sh")).splitlines())
def test_curl_examples(address: str, folder: Path, line: str):
    command = shlex.split(line.replace(DOCUMENTED_URL, address))
    done = subprocess.run([*command, "-sS"], cwd=folder, capture_output=True, text=True, check=True)
    if "-o" in command:
        assert_coloured(folder / command[command.index("-o") + 1])
    else:
        assert '"tiny"' in done.stdout or '"ok"' in done.stdout


def test_python_example(address: str, folder: Path):
    (code,) = code_blocks("python")
    code = code.replace(DOCUMENTED_URL, address)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert_coloured(folder / "new.jpg")
    (folder / "old.jpg").write_bytes(b"no photo")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("old.jpg is not a photo in a format that can be read")


@pytest.mark.parametrize(
    ("field", "unit", "documented"),
    [
        ("max_bytes", 1e6, "200 MB"),
        ("max_pixels", 1e6, "100 megapixels"),
        ("max_waiting", 1, "64 wait"),
        ("timeout", 1, "120 s"),
        ("max_photos", 1, "500"),
        ("max_disk_bytes", 1e9, "8 GB"),
    ],
)
def test_documented_limits(field: str, unit: float, documented: str):
    assert f"| {documented}" in TEXT
    assert documented.split()[0] == f"{getattr(Limits(), field) / unit:g}"
