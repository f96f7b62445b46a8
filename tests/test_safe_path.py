"""Files beside the photos that are called like modules are not executed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from photochrom.batch.process_pool import WorkerPool
from photochrom.safe_path import safe_path

NAMES = ("selectors", "numpy", "cv2", "PIL", "onnxruntime", "imagecodecs", "tifffile", "queue")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two photos, and modules that leave a file when they are imported."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (20, 16), 99).save(folder / name)
    for name in NAMES:
        code = f"open({str(tmp_path / f'executed {name}')!r}, 'w')\nraise SystemExit(3)\n"
        (folder / f"{name}.py").write_text(code)
    monkeypatch.chdir(folder)
    return folder


def executed(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.glob("executed *")]


def square(number: int) -> int:
    return number * number


def create_square() -> Callable[[int], int]:
    return square


def test_worker_processes_do_not_import_from_the_current_folder(folder: Path):
    with WorkerPool(create_square, processes=1) as pool:
        assert pool.submit(3).result() == 9
    assert executed(folder) == []


@pytest.mark.parametrize("as_module", [True, False])
def test_commands_do_not_import_from_the_current_folder(
    folder: Path, tiny_onnx: Path, as_module: bool
):
    script = folder.parent / "bin" / "photochrom"  # as pip writes it
    script.parent.mkdir()
    script.write_text("from photochrom.cli import main\nif __name__ == '__main__':\n    main()\n")
    start = ["-m", "photochrom"] if as_module else [str(script)]
    command = [sys.executable, *start, "colorize", "a.png", "b.png", "--model", str(tiny_onnx)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.stderr.splitlines()[-1] == "2 done, 0 skipped, 0 failed"
    assert executed(folder) == []


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch):
    for value in (None, "", "1"):
        if value is None:
            monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        else:
            monkeypatch.setenv("PYTHONSAFEPATH", value)
        with safe_path():
            assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ.get("PYTHONSAFEPATH") == value
