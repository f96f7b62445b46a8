"""Runs whose last epochs are measured, and the store that keeps them when a machine is lost."""

import errno
import gzip
import json
import os
import shutil
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from torch import nn

from photochrom.errors import RecipeError, RunError
from photochrom.training.data.shrink import shrink
from photochrom.training.loop import train as train_module
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction import runner, store
from photochrom.training.reproduction.experiments import EXPERIMENTS, PROTOCOLS, at_scale
from photochrom.training.reproduction.reproduce import reproduce
from photochrom.training.reproduction.results import Results, last_networks, read_run
from photochrom.training.reproduction.runner import ExperimentTask
from support.data import pack
from support.photos import write_photos
from support.results import make_log_line

SMOKE = PROTOCOLS["smoke"]
OPTIONS: Any = {"only": ("custom",), "jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 24, size=(40, 40))
    return pack(photos, folder / "data", size=32, validation=4, test=12)


@pytest.fixture(scope="module")
def reproduced(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `reproduce` with its store in `kept`; tests only read it."""
    out = tmp_path_factory.mktemp("reproduced")
    reproduce(data, out, "smoke", store=out / "kept", **OPTIONS)
    return out


def recipe_of_epochs(count: int) -> Recipe:
    recipe = at_scale(EXPERIMENTS["custom"].recipe, SMOKE, 0)
    return override(recipe, {"schedule.epochs": count})


def make_task(folder: Path, recipe: Recipe, kept: Path | None = None) -> ExperimentTask:
    return ExperimentTask("custom-seed0", recipe, folder, "32", None, 1.0, kept)


def test_epochs_of_earlier_phases_are_not_measured(tmp_path: Path) -> None:
    phases = ("l1", "l1", "d", "gan", "gan", "gan")
    lines = [json.dumps(make_log_line(i, phase)) for i, phase in enumerate(phases, 1)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    networks = [tmp_path / "epochs/004", tmp_path / "epochs/005", tmp_path]
    assert last_networks(tmp_path) == networks


def test_the_last_five_epochs_are_measured_and_averaged(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 5})
    make_task(tmp_path, recipe_of_epochs(6)).perform()
    (path,) = (tmp_path / "runs").iterdir()
    run, scores = read_run(path)
    assert [line["epoch"] for line in run.epochs] == [2, 3, 4, 5, 6]
    for metric in ("mse", "psnr", "ssim", "colorfulness_ratio"):
        values = [line[metric] for line in run.epochs]
        assert len(set(values)) > 1
        value, low, high = run.evaluation.values[metric]
        assert value == pytest.approx(mean(values))
        assert low is not None
        assert high is not None
        assert low <= value <= high
    assert run.scores["psnr"] == pytest.approx(
        [mean(of_photo) for of_photo in zip(*(s["psnr"] for s in scores), strict=True)], rel=1e-3
    )
    assert all(0 <= line["grey_share"] <= 1 for line in run.epochs)
    assert (path / "generator.safetensors").is_file()
    assert not list(path.glob("epochs/*/generator.safetensors"))
    assert len(list(path.glob("samples/*.png"))) == 6


def test_epochs_without_the_generator_are_not_measured(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 3})
    turns = override(recipe_of_epochs(12), {"adversarial.turn_epochs": 1})
    make_task(tmp_path, turns).perform()
    (path,) = (tmp_path / "runs").iterdir()
    run, _ = read_run(path)
    assert {line["epoch"]: line["phase"] for line in run.log}[12] == "g"
    assert [line["epoch"] for line in run.epochs] == [4, 6, 8, 10, 12]


def test_finished_run_in_the_store_is_not_repeated(
    data: Path, reproduced: Path, tmp_path: Path
) -> None:
    kept = reproduced / "kept"
    assert {path.name for path in kept.iterdir()} == {
        *("baselines.json.gz", "custom-seed0.json.gz", "custom-seed0.jpg"),
    }
    # On another machine, which has neither the run nor its weights.
    second = reproduce(data, tmp_path, "smoke", store=kept, **OPTIONS)
    assert not list(tmp_path.glob("smoke/runs/*"))
    assert second.page.read_text() == (reproduced / "smoke/docs/results.md").read_text()
    results = Results.from_json((second.page.parent / "results.json").read_bytes())
    assert [run.experiment for run in results.runs] == ["custom"]
    assert len(results.runs[0].scores["psnr"]) == SMOKE.test
    assert {e.name for e in results.baselines} == {"grey", "mean-ab"}


def test_store_keeps_scores_of_every_epoch_and_photo(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 3})
    kept = tmp_path / "kept"
    task = make_task(tmp_path, recipe_of_epochs(2), kept)
    assert not task.is_done()
    task.perform()
    assert task.is_done()
    content = json.loads(gzip.decompress((kept / "custom-seed0.json.gz").read_bytes()))
    assert [len(epoch["mse"]) for epoch in content["photos"]] == [3, 3]
    assert "original_colorfulness" in content["photos"][-1]
    assert str(tmp_path) not in json.dumps(content)


def test_damaged_store_or_one_of_other_runs_is_refused(
    data: Path, reproduced: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(reproduced / "kept", kept)
    good = (kept / "custom-seed0.json.gz").read_bytes()
    content = json.loads(gzip.decompress(good))

    def reproduce_with(run: bytes) -> None:
        (kept / "custom-seed0.json.gz").write_bytes(run)
        reproduce(data, tmp_path / "out", "smoke", store=kept, **OPTIONS)

    with pytest.raises(RunError, match="is damaged"):
        reproduce_with(good[:100])
    content["run"]["recipe"]["seed"] = 5
    with pytest.raises(RunError, match="has another recipe than this version trains"):
        reproduce_with(gzip.compress(json.dumps(content).encode()))
    content["run"]["environment"]["data_fingerprint"] = "other"
    with pytest.raises(RunError, match="was made with other photos"):
        reproduce_with(gzip.compress(json.dumps(content).encode()))
    content["run"]["recipe"]["format"] = 3
    with pytest.raises(RecipeError, match=r"^the recipe has format 3, .*; update photochrom$"):
        reproduce_with(gzip.compress(json.dumps(content).encode()))


@pytest.mark.parametrize("stopped_at", [1, 5])  # an epoch has 2 steps
def test_unfinished_run_goes_on_from_the_store(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    counts = {"train": 8, "validation": 2, "test": 3}
    kept, folders = tmp_path / "kept", [tmp_path / name for name in ("whole", "first", "second")]
    for folder in folders:
        shrink(data, folder / "data", size=32, counts=counts)
    whole, first, second = folders
    make_task(whole, recipe_of_epochs(3)).perform()

    def stop(step: int) -> None:
        if step == stopped_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "train", partial(runner.train, on_step=stop))
    monkeypatch.setattr("photochrom.training.loop.train.STATE_EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        make_task(first, recipe_of_epochs(3)).perform()
    monkeypatch.undo()
    (kept / "unfinished").mkdir(parents=True)
    store.copy_all(first / "store", first / "runs", kept)
    assert not list(kept.rglob("*.png"))  # of photos that may not be published
    shutil.rmtree(first)

    store.restore_unfinished(kept, second / "runs")
    task = make_task(second, recipe_of_epochs(3), second / "store")
    assert task.share_trained() == pytest.approx(stopped_at // 2 / 3)
    task.perform()
    (of_whole, _), (of_second, _) = (
        read_run(next((folder / "runs").iterdir())) for folder in (whole, second)
    )
    assert of_second.epochs == of_whole.epochs
    store.copy_all(second / "store", second / "runs", kept)
    assert not list((kept / "unfinished").iterdir())
    assert (kept / "custom-seed0.json.gz").is_file()


def test_run_whose_last_weights_were_not_saved_is_trained_to_its_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of an epoch is written before its weights, which a full disk refuses here."""
    whole, full = tmp_path / "whole", tmp_path / "full"
    for folder in (whole, full):
        shrink(data, folder / "data", size=32, counts={"train": 8, "validation": 2, "test": 3})
    make_task(whole, recipe_of_epochs(2)).perform()
    save = train_module.save_checkpoint

    def save_first(run: Path, generator: nn.Module, state: dict[str, Any]) -> None:
        if state["step"] == 4:  # an epoch has 2 steps
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(run, generator, state)

    monkeypatch.setattr(train_module, "save_checkpoint", save_first)
    with pytest.raises(OSError, match="No space left"):
        make_task(full, recipe_of_epochs(2)).perform()
    monkeypatch.undo()
    task = make_task(full, recipe_of_epochs(2))
    assert task.share_trained() == 1.0
    task.perform()
    (of_whole, _), (of_full, _) = (
        read_run(next((folder / "runs").iterdir())) for folder in (whole, full)
    )
    assert of_full.epochs == of_whole.epochs


def test_earlier_copy_stays_if_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs/0000-custom-seed0"
    run.mkdir(parents=True)
    for name in ("recipe.json", "environment.json", "state.pt"):
        (run / name).write_text("first")
    kept = tmp_path / "kept"
    store.save_unfinished(kept, run)
    copy = shutil.copy

    def copy_the_state(source: Path, dest: Path) -> None:
        if source.name != "state.pt":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(source, dest)

    (run / "state.pt").write_text("second")
    monkeypatch.setattr(store.shutil, "copy", copy_the_state)
    with pytest.raises(OSError, match="No space left"):
        store.save_unfinished(kept, run)
    monkeypatch.undo()
    (saved,) = (kept / "unfinished").iterdir()
    assert {path.name: path.read_text() for path in saved.iterdir()} == dict.fromkeys(
        ["recipe.json", "environment.json", "state.pt"], "first"
    )
    store.save_unfinished(kept, run)
    assert (saved / "state.pt").read_text() == "second"


def test_large_state_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "runs/0000-custom-seed0"
    run.mkdir(parents=True)
    for name in ("recipe.json", "environment.json", "log.jsonl"):
        (run / name).touch()
    (run / "state.pt").write_bytes(bytes(100))
    monkeypatch.setattr(store, "STATE_LIMIT", 99)
    assert not store.save_unfinished(tmp_path / "kept", run)
    monkeypatch.setattr(store, "STATE_LIMIT", 100)
    assert store.save_unfinished(tmp_path / "kept", run)
