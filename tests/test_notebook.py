"""The notebook runs: its cells are run in order, with fewer photos and a smaller network."""

import ast
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli import main
from photochrom.training.recipes.loading import recipe_names
from support.photos import write_photos

NOTEBOOK = Path(__file__).parents[1] / "notebooks/train_on_a_free_gpu.ipynb"
SMALLER = {"PHOTOS = 4000": "PHOTOS = 30", "EPOCHS = 20": "EPOCHS = 1", "unet-patchgan": "tiny"}


def read_cells(kind: str) -> list[str]:
    """Return the sources of the cells of a kind."""
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def run_cell(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """Run a cell as IPython does, but `photochrom` in this process.

    Returns:
        What it printed, and the value of its last line, if that is an expression.
    """
    python, printed = [], ""
    for line in source.replace("\\\n", "").splitlines():
        if line.startswith("!"):
            exec("\n".join(python), names)
            python.clear()
            program, *arguments = shlex.split(eval(f"f{line[1:]!r}", names))
            assert program == "photochrom"
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            printed += result.output
        elif line.startswith("%"):
            assert re.fullmatch(r'%pip install -q "\{SOURCE\}\[train\]"', line)
        else:
            python.append(line)
    body = ast.parse("\n".join(python)).body
    last = ast.unparse(body.pop()) if body and isinstance(body[-1], ast.Expr) else "None"
    exec(ast.unparse(body), names)
    value = eval(last, names)
    if isinstance(value, Image.Image):
        value.load()  # it is shown
    return printed, value


@pytest.fixture
def no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of COCO are drawn."""

    def fetch(folder: Path, *, count: int, split: str, seed: int, workers: int) -> list[Path]:
        photos = write_photos(tmp_path / "drawn", count, size=(64, 64))
        (folder / split).mkdir(parents=True)
        copies = [folder / split / f"{photo.stem}.jpg" for photo in sorted(photos.iterdir())]
        for photo, copy in zip(sorted(photos.iterdir()), copies, strict=True):
            shutil.copy(photo, copy)
        return copies

    monkeypatch.setattr("photochrom.training.data.coco.fetch", fetch)


def test_the_notebook_can_be_run_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_download: None
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, *others = read_cells("code")
    for text, smaller in SMALLER.items():
        assert text in settings
        settings = settings.replace(text, smaller)
    names: dict[str, Any] = {}
    results = [run_cell(source, names) for source in (settings, *others)]
    assert any("CIEDE2000" in text and "0000-tiny" in text for text, _ in results)
    assert (tmp_path / "photochrom-run/model.onnx").is_file()
    _samples, _contact, colored = (v for _, v in results if isinstance(v, Image.Image))
    assert colored.size == (64, 64)


def test_the_notebook_is_short_and_says_what_each_cell_does() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len(notebook["cells"]) < 15
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    for source in read_cells("code"):
        comment = [line for line in source.splitlines() if line.startswith("# ")]
        assert source.startswith("# ")
        assert 1 <= len(comment) <= 2


def test_the_recipe_of_the_notebook_exists() -> None:
    (recipe,) = re.findall(r'RECIPE = "(.+)"', read_cells("code")[0])
    assert recipe in recipe_names()
