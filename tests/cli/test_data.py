import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from photochrom.cli import main
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.sources import SOURCES, Source
from photochrom.training.data.splits import SPLITS
from support.photos import write_photos


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", *(str(argument) for argument in arguments)])


def test_folder_says_what_it_packed_and_dropped(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 6)
    (photos / "copy.png").write_bytes((photos / "03.png").read_bytes())
    (photos / "broken.png").write_bytes((photos / "03.png").read_bytes()[:99])
    Image.new("RGB", (40, 40), (120, 121, 120)).save(photos / "grey.png")
    Image.fromarray(np.array(Image.open(photos / "00.png"))[:20]).save(photos / "tiny.png")
    (tmp_path / "splits.csv").write_text("name,split\n00.png,validation\n01.png,test\n")
    result = run(
        *("folder", photos, tmp_path / "data", "--size", 32),
        *("--split-file", tmp_path / "splits.csv"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{tmp_path}/data: 5 photos for training, 1 for validation, 1 for test; dropped 1 "
        "near-grey (mean chroma below 2), 1 unreadable and 1 duplicate",
        "enlarged 1 smaller than 32 px",
        f"{tmp_path}/data/problems.csv names them",
    ]
    named = (tmp_path / "data/problems.csv").read_text()
    assert "tiny.png,enlarge,small,its short side has 20 px\n" in named
    assert "broken.png,drop,unreadable," in named


def test_fractions_reach_the_data_set(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    options = ("--size", 16, "--validation-fraction", 0, "--test-fraction", 1)
    assert run("folder", photos, tmp_path / "data", *options).exit_code == 0
    assert [len(PackedPhotos(tmp_path / "data", split)) for split in SPLITS] == [0, 0, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--eval-fraction", 0.2), "--eval-fraction was replaced by --validation-fraction and"),
        (("--eval-names", "names.txt"), "--eval-names was replaced by --split-file, a CSV"),
        (("--split-file", "s.csv", "--test-fraction", 0.2), "takes the place of fractions"),
        (("--split-file", "s.csv"), "cannot read s.csv: No such file"),
        (("--test-fraction", 0.95), "together 1 at most"),
    ],
)
def test_invalid_splits_are_refused(
    tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    result = run("folder", photos, tmp_path / "data", *options)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "data").exists()


def test_coco_checks_settings_before_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("photochrom.training.data.coco.fetch", fetched)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for arguments, reason in [
        (("full",), "not an empty folder"),
        (("new", "--size", "8"), "size of 16"),
        (("new", "--min-chroma", "nan"), "chroma threshold is nan"),
    ]:
        result = run("coco", tmp_path / arguments[0], *arguments[1:])
        assert result.exit_code == 1
        assert reason in result.output


def test_coco_packs_what_was_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_photos(tmp_path / "photos", 5)
    calls = []

    def fetch(*arguments: object, **options: object) -> list[Path]:
        calls.append((*arguments, options))
        return sorted(photos.iterdir())

    monkeypatch.setattr("photochrom.training.data.coco.fetch", fetch)
    options = ("--size", 16, "--count", 4, "--seed", 3, "--test-fraction", 0)
    result = run("coco", tmp_path / "data", *options, "--validation-fraction", 0)
    assert result.exit_code == 0, result.output
    expected = {"count": 4, "split": "train2017", "seed": 3, "workers": 8}
    assert calls == [(tmp_path / "data-photos", expected)]
    names = {name for name, _ in PackedPhotos(tmp_path / "data", "train").sources()}
    assert len(names) == 4
    assert names < {path.name for path in photos.iterdir()}


@pytest.mark.parametrize("way", ["registered", "own"])
def test_a_source_gets_its_own_options_and_those_of_all(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_photos(tmp_path / "photos", 6)

    def find(dest: Path, seed: int, count: int | None, even: bool) -> Mapping[str, Path]:
        assert (dest, seed, count) == (tmp_path / "data", 7, None)
        return {path.name: path for path in photos.iterdir() if int(path.stem) % 2 != even}

    params = (
        click.Option(["--count"], type=int, help="Number of photos."),
        click.Option(["--even"], is_flag=True, help="Photos of even numbers."),
    )
    module = ModuleType("numbered_photos")
    module.__dict__["NUMBERED"] = Source("Pack numbered photos.", find, params)
    monkeypatch.setitem(sys.modules, "numbered_photos", module)
    name = "numbered_photos:NUMBERED"
    if way == "registered":
        monkeypatch.setitem(SOURCES, "numbered", name)
        name = "numbered"
        assert "numbered  Pack numbered photos." in run("--help").output
    assert "--even" in run(name, "--help").output
    result = run(name, tmp_path / "data", "--even", "--size", 16, "--seed", 7)
    assert result.exit_code == 0, result.output
    parts = [PackedPhotos(tmp_path / "data", split) for split in SPLITS]
    names = sorted(name for part in parts for name, _ in part.sources())
    assert names == ["00.png", "02.png", "04.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flickr", "No such command 'flickr'"),
        ("no_module:SOURCE", "no source 'no_module:SOURCE' (No module named 'no_module'); choose"),
        ("json:SOURCE", "(module 'json' has no attribute 'SOURCE'); choose from folder, coco, or"),
        ("json:dumps", "json:dumps is <function dumps at"),
        (":x", "there is no source ':x'"),
    ],
)
def test_unknown_sources_are_refused(name: str, message: str, tmp_path: Path) -> None:
    result = run(name, tmp_path / "data")
    assert result.exit_code > 0
    assert message in result.output
    assert len(result.stderr.splitlines()) == (1 if ":" in name else 4)
