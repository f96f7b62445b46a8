"""The examples in docs/web.md do what they say."""

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
from photochrom.web.service import Limits
from support.server import jpeg, running

TEXT = (Path(__file__).parents[2] / "docs/web.md").read_text()
SHOWN = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def address(tiny_onnx: Path) -> Iterator[str]:
    with running(create_app([tiny_onnx], processes=1)) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old.jpg").write_bytes(jpeg())
    return tmp_path


def assert_coloured(path: Path) -> None:
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape == (60, 80, 3)
    assert np.ptp(pixels, axis=2).mean() > 5


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("line", "".join(blocks("sh")).splitlines())
def test_curl(address: str, folder: Path, line: str):
    command = shlex.split(line.replace(SHOWN, address))
    done = subprocess.run([*command, "-sS"], cwd=folder, capture_output=True, text=True, check=True)
    if "-o" in command:
        assert_coloured(folder / command[command.index("-o") + 1])
    else:
        assert '"tiny"' in done.stdout or '"ok"' in done.stdout


def test_python(address: str, folder: Path):
    (code,) = blocks("python")
    code = code.replace(SHOWN, address)
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert_coloured(folder / "new.jpg")
    (folder / "old.jpg").write_bytes(b"no photo")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("old.jpg is not a photo in a format that can be read")


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("megabytes", "200 MB"),
        ("megapixels", "100 megapixels"),
        ("waiting", "64 wait"),
        ("seconds", "120 s"),
        ("photos", "500"),
        ("gigabytes", "8 GB"),
    ],
)
def test_the_limits_are_the_ones_that_are_documented(field: str, shown: str):
    assert f"| {shown}" in TEXT
    assert shown.split()[0] == f"{getattr(Limits(), field):g}"
