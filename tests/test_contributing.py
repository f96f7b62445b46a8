"""The walks of CONTRIBUTING.md do what they say, and so do parts outside photochrom."""

import csv
import importlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.color import lab_to_rgb
from photochrom.colorize.onnx_model import OnnxModel
from photochrom.training.data import sources
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.splits import SPLITS
from photochrom.training.evaluation import metrics
from photochrom.training.networks.outputs import Output
from photochrom.training.recipes import kinds
from photochrom.training.recipes.registry import Registry
from photochrom.training.runs import read_log, read_recipe
from support.data import pack
from support.photos import write_photos

ROOT = Path(__file__).parents[1]
NAMES = ("generator", "discriminator", "loss term", "output", "metric", "data source")


@dataclass(frozen=True)
class Walk:
    """A section of CONTRIBUTING.md, "To add a ..."."""

    file: str
    """Of the code, relative to the package photochrom."""
    code: str
    registry: str
    line: str
    command: str

    @property
    def module(self) -> str:
        """The name of the file as a module."""
        return "photochrom." + self.file.removesuffix(".py").replace("/", ".")


def read_walk(name: str) -> Walk:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = re.search(rf"^## To add an? {name}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    pattern = (
        r"`(training/[\w/]+\.py)`:\n\n```python\n(.*?)```.*?"
        r"One line in `([A-Z]+)`.*?```python\n(.*?\n)```.*?```\n(photochrom .*?)\n```"
    )
    found = re.search(pattern, section[1], re.DOTALL)
    assert found is not None
    return Walk(*found.groups())


WALKS = {name: read_walk(name) for name in NAMES}


@pytest.fixture
def walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Photochrom with the files and lines of all walks; the files are in `tmp_path`."""
    modules = set(sys.modules)
    for name, walk in WALKS.items():
        assert len(walk.line.splitlines()) == 1
        if name == "metric":
            namespace = vars(metrics) | {"__name__": "mine"}
            exec(compile(walk.code, walk.file, "exec"), namespace)
            monkeypatch.setitem(metrics.METRICS, *evaluate_line(walk.line, namespace))
            continue
        path = tmp_path / "photochrom" / walk.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(walk.code)
        package = importlib.import_module(walk.module.rpartition(".")[0])
        folders = list(package.__path__)
        if str(path.parent) not in folders:
            monkeypatch.setattr(package, "__path__", [*folders, str(path.parent)])
        if name == "data source":
            monkeypatch.setitem(sources.SOURCES, *evaluate_line(walk.line, vars(sources)))
        else:
            registry: Registry = getattr(kinds, walk.registry)
            monkeypatch.setitem(registry._entries, *evaluate_line(walk.line, vars(kinds)))
    yield
    for module in set(sys.modules) - modules:
        if module in {walk.module for walk in WALKS.values()}:
            parent, _, child = module.rpartition(".")
            delattr(sys.modules[parent], child)
            del sys.modules[module]


def evaluate_line(line: str, namespace: dict[str, object]) -> tuple[str, str]:
    """Return name and value of a line of a registry."""
    ((name, value),) = eval("{" + line + "}", dict(namespace)).items()
    return name, value


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def words(name: str, **paths: Path) -> list[str]:
    """Return the command of a walk, with paths in place of the words in capitals."""
    _, *arguments = shlex.split(WALKS[name].command)
    return [str(paths.get(word.lower(), word)) for word in arguments]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 8 photos, 4 of which are for training."""
    folder = tmp_path_factory.mktemp("walks")
    return pack(write_photos(folder / "photos", 8), folder / "data", size=32, validation=4)


@pytest.mark.usefixtures("walked")
def test_parts_of_the_walks_are_trained_evaluated_and_exported(data: Path, tmp_path: Path) -> None:
    settings = []
    for name in ("generator", "discriminator", "loss term", "output"):
        command, recipe, option, path, *rest = words(name, data=data)
        assert (command, recipe, option, path) == ("train", "tiny", "--data", str(data))
        assert rest[::2] == ["--set"] * (len(rest) // 2)
        settings += rest
    settings += ["--set", "schedule.pretrain_epochs=0", "--set", "objective.l1=none"]
    run("train", "tiny", "--data", data, "--out", tmp_path / "runs", "--device", "cpu", *settings)
    (path,) = (tmp_path / "runs").iterdir()

    trained = read_recipe(path)
    assert trained.generator.to_dict() == {"kind": "three_layers", "width": 16}
    assert trained.discriminator is not None
    assert trained.discriminator.to_dict() == {"kind": "pixel", "base_channels": 8}
    assert trained.output.to_dict() == {"kind": "power", "exponent": 0.7}
    assert trained.objective["huber"].to_dict() == {"kind": "huber", "weight": 10, "delta": 0.2}
    (logged,) = read_log(path)
    assert 0 < logged["g_huber"] < 0.2
    assert logged["g_total"] == pytest.approx(10 * logged["g_huber"] + logged["g_gan"], rel=1e-4)
    assert logged["g_updates"] == logged["d_updates"] == 1

    table = run(*words("metric", run=path, data=data))
    assert re.search(r"\| MAE ab \(CIELAB units\) ↓ \| +PSNR \(dB\) ↑ \|\n", table)
    (evaluated,) = json.loads((path / "metrics.json").read_text())["evaluations"]
    assert 1 < evaluated["values"]["mae_ab"][0] < 100
    scores = list(csv.DictReader((path / "scores.csv").read_text().splitlines()))
    assert len([float(row["mae_ab"]) for row in scores]) == 4
    run("export", path, tmp_path / "model.onnx")
    assert OnnxModel(tmp_path / "model.onnx").size == 32


@pytest.mark.usefixtures("walked")
def test_networks_and_output_of_the_walks_keep_their_contracts() -> None:
    L, photo = torch.rand(2, 1, 17, 33) * 2 - 1, torch.rand(2, 3, 32, 40) * 2 - 1
    generator = kinds.GENERATORS.parse({"kind": "three_layers"}).build(5)
    assert generator(L).shape == (2, 5, 17, 33)
    discriminator = kinds.DISCRIMINATORS.parse({"kind": "pixel"}).build()
    assert discriminator(photo[:, :1], photo).shape == (2, 1, 32, 40)
    output: Output = kinds.OUTPUTS.parse({"kind": "power"}).build()
    target = output.target(photo[:, :1], photo[:, 1:])
    assert target.abs().max() <= 1
    assert target.abs().mean() > photo[:, 1:].abs().mean()
    assert torch.allclose(output.photo(target, photo[:, :1]), photo, atol=1e-6)


def test_metric_of_the_walk_is_the_mean_difference_of_ab() -> None:
    namespace = vars(metrics) | {"__name__": "mine"}
    exec(compile(WALKS["metric"].code, "mine", "exec"), namespace)
    lab = torch.tensor([[[50.0, 10.0, -4.0], [50.0, 0.0, 0.0]]]).numpy()
    grey, colored = lab_to_rgb(lab * [1, 0, 0]), lab_to_rgb(lab)
    assert math.isclose(namespace["mae_ab"](colored, grey), (10 + 4) / 4, abs_tol=0.01)


@pytest.mark.usefixtures("walked")
def test_source_of_the_walk_packs_the_photos_that_a_file_names(tmp_path: Path) -> None:
    write_photos(tmp_path / "album/photos", 5)
    names = tmp_path / "album/names.txt"
    names.write_text("photos/01.png\n\nphotos/03.png\nphotos/04.png\n")
    assert "list    Pack the photos that the lines" in run("data", "--help")
    run(*words("data source", names=names, dest=tmp_path / "data"))
    parts = [PackedPhotos(tmp_path / "data", split) for split in SPLITS]
    packed = sorted(name for part in parts for name, _ in part.sources())
    assert packed == ["photos/01.png", "photos/03.png", "photos/04.png"]


# Parts outside photochrom


RUN_COMMANDS = """
import json, sys
from photochrom.cli import main
for arguments in json.loads(sys.argv[1]):
    main(arguments, standalone_mode=False)
"""


def run_with(folder: Path, *commands: tuple[object, ...]) -> None:
    """Run commands of photochrom in a new process that can import what is in a folder.

    One process runs all of them, as importing torch takes seconds.
    """
    arguments = json.dumps([[str(argument) for argument in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUN_COMMANDS, arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def write_plugins(folder: Path) -> Path:
    """Write the files of the walks, and entry points for the discriminator and the term."""
    folder.mkdir()
    for walk in WALKS.values():
        (folder / f"my_{Path(walk.file).name}").write_text(walk.code)
    info = folder / "my_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[photochrom.discriminator]\ndots = my_pixel_discriminator:PixelDiscriminator\n"
        "[photochrom.term]\nsmooth = my_huber:huber\n"
    )
    return folder


@pytest.mark.slow
def test_own_parts_work_in_every_command_and_process(data: Path, tmp_path: Path) -> None:
    folder = write_plugins(tmp_path / "plugins")
    settings = {
        "generator.kind": "my_three_layers:ThreeLayers",
        "generator.width": 4,
        "output.kind": "my_power_output:PowerOutput",
        "discriminator.kind": "dots",
        "discriminator.base_channels": 8,
        "objective.smooth.weight": 10,
        "objective.smooth.delta": 0.2,
        "schedule.pretrain_epochs": 0,
    }
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    options = ("--data", data, "--out", tmp_path / "runs", "--device", "cpu", "--devices", 2)
    path, model = tmp_path / "runs/0000-tiny", tmp_path / "model.onnx"
    run_with(
        folder,
        ("train", "tiny", *options, *changes),
        ("evaluate", path, "--data", data),
        ("export", path, model),
    )
    assert read_log(path)[0]["g_smooth"] > 0
    assert (path / "metrics.json").is_file()

    # Without the parts, the file can be used and the run cannot.
    photo = data.parent / "photos/00.png"
    run("colorize", photo, "--recolor", "--model", model, "--out", tmp_path / "colored")
    assert len(list((tmp_path / "colored").iterdir())) == 1
    without = CliRunner().invoke(main, ["evaluate", str(path), "--data", str(data)])
    assert without.exit_code == 1
    (message,) = without.stderr.splitlines()
    assert "cannot import the generator 'my_three_layers:ThreeLayers' (No module named" in message


def test_own_source_is_a_command(tmp_path: Path) -> None:
    folder = write_plugins(tmp_path / "plugins")
    photos = write_photos(tmp_path / "photos", 3)
    (photos / "names.txt").write_text("01.png\n02.png\n")
    arguments = (photos / "names.txt", tmp_path / "data", "--size", 32)
    run_with(folder, ("data", "my_photo_list:PHOTO_LIST", *arguments))
    assert sum(len(PackedPhotos(tmp_path / "data", split)) for split in SPLITS) == 2
