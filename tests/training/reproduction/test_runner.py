"""Tasks, their processes, and the command `reproduce`."""

import json
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from photochrom.batch.process_pool import WorkerDiedError, WorkerPool
from photochrom.cli import main
from photochrom.errors import DataError, RecipeError, RunError
from photochrom.training.data.shrink import shrink
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction import runner
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    PROTOCOLS,
    at_scale,
)
from photochrom.training.reproduction.results import Results
from photochrom.training.reproduction.runner import ExperimentTask, perform_all
from support.data import pack
from support.photos import write_photos

SMOKE = PROTOCOLS["smoke"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 24, size=(48, 48))
    return pack(photos, folder / "data", size=40, validation=12)


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reproduce", *(str(argument) for argument in arguments)])


@pytest.mark.slow
def test_smoke_protocol_runs_everything_once(data: Path, tmp_path: Path) -> None:
    historic = write_photos(tmp_path / "historic", 2, size=(40, 30))
    arguments = ("--data", data, "--out", tmp_path, "--protocol", "smoke", "--jobs", 1)
    result = run_command(*arguments, "--historic", historic)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "smoke"
    page = (folder / "docs/results.md").read_text()
    assert all(f"`{name}`" in page for name in ("grey", "mean-ab", *EXPERIMENTS))
    assert "ResNet18 from scratch" in page
    results = Results.from_json((folder / "docs/results.json").read_bytes())
    assert [run.experiment for run in results.runs] == list(EXPERIMENTS)
    assert {p.name for p in (folder / "docs").iterdir()} >= {"lambda.svg", "training.svg"}
    gallery = (folder / "index.html").read_text()
    for run in results.runs:
        for kind in ("eval", "historic"):
            name = f"pictures/{run.experiment}-seed0-{kind}.jpg"
            assert name in gallery
            assert (folder / name).is_file()

    # A second call does not repeat runs, but adds a seed.
    weights = sorted(folder.glob("runs/*/generator.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    result = run_command(
        *arguments, "--only", "custom, unet-l1", "--seeds", "0,1", "--docs", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert len(list(folder.glob("runs/*/generator.safetensors"))) == len(weights) + 2
    assert len(Results.from_json((tmp_path / "results.json").read_bytes()).runs) == len(weights) + 2


def make_task(folder: Path, name: str, recipe: Recipe) -> ExperimentTask:
    return ExperimentTask(f"{name}-seed0", recipe, folder, "32", None, 1.0)


def test_failed_task_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2})
    small = at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0)
    diverging = replace(small, lr_g=1e30)
    tasks = [make_task(tmp_path, name, small) for name in ("unet-l1", "custom")]
    tasks.insert(0, make_task(tmp_path, "unet-rgb", diverging))
    failed = perform_all(tasks, jobs=2, progress=False)
    assert failed.keys() == {"unet-rgb-seed0"}
    assert "finite" in failed["unet-rgb-seed0"]
    assert [task.is_done() for task in tasks] == [False, True, True]


def test_death_of_a_process_stops_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(_pool: object, _task: ExperimentTask) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(WorkerDiedError("the worker process was killed"))
        return future

    monkeypatch.setattr(WorkerPool, "submit", submit)
    with pytest.raises(RunError, match="was killed; run the same command again, with fewer --jobs"):
        perform_all([make_task(tmp_path, "custom", RECIPES["tiny"])], jobs=2, progress=False)


def test_run_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2})
    recipe = at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0)
    task = make_task(tmp_path, "unet-l1", recipe)
    task.perform()
    assert task.is_done()
    other = make_task(tmp_path, "unet-l1", replace(recipe, lr_g=1e-3))
    assert not other.is_done()
    with pytest.raises(RunError, match=r"another recipe: lr_g was 0\.0002"):
        other.perform()
    (run,) = (tmp_path / "runs").iterdir()
    (run / "metrics.json").write_text("{")
    assert not task.is_done()
    task.perform()
    assert task.is_done()


def test_interrupted_run_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2})
    recipe = replace(at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0), epochs=2)
    task = make_task(tmp_path, "unet-l1", recipe)

    class Interrupted(Exception):  # noqa: N818 (it represents a signal)
        pass

    def interrupt_second_epoch(step: int) -> None:
        if step == 3:  # an epoch has 2 steps
            raise Interrupted

    monkeypatch.setattr(runner, "train", partial(runner.train, on_step=interrupt_second_epoch))
    with pytest.raises(Interrupted):
        task.perform()
    monkeypatch.undo()
    assert not task.is_done()
    assert task.share_trained() == 0.5
    task.perform()
    assert task.is_done()
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_find_run_matches_the_full_name(tmp_path: Path) -> None:
    run = tmp_path / "runs/0000-resnet18-unet-patchgan-seed0"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(RECIPES["tiny"].to_json())
    assert make_task(tmp_path, "unet-patchgan", RECIPES["tiny"]).find_run() is None
    assert make_task(tmp_path, "resnet18-unet-patchgan", RECIPES["tiny"]).find_run() == run


def test_resnet18_weights_follow_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []

    def fetch(name: str, weights: str) -> None:
        requests.append(f"{name} {weights}")
        raise RecipeError("offline")

    monkeypatch.setattr(runner, "build_encoder", fetch)
    planned = [("resnet18-lambda-3", 0)]
    (task,) = runner.make_tasks(planned, tmp_path, PROTOCOLS["reduced"], None)
    assert requests == ["resnet18 imagenet"]
    assert task.recipe is not None
    assert task.recipe.encoder_weights == "none"
    runner.make_tasks([("unet-l1", 0)], tmp_path, PROTOCOLS["reduced"], None)
    runner.make_tasks(planned, tmp_path, SMOKE, None)
    assert len(requests) == 1  # no request if it is not needed
    run = tmp_path / "runs/0000-resnet18-lambda-0-seed0"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(replace(task.recipe, encoder_weights="imagenet").to_json())
    monkeypatch.setattr(runner, "build_encoder", lambda name, weights: None)
    (task,) = runner.make_tasks(planned, tmp_path, PROTOCOLS["reduced"], None)
    assert task.recipe is not None
    assert task.recipe.encoder_weights == "imagenet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "unet-l2"), "unknown experiment 'unet-l2'"),
        (("--seeds", "0,x"), "'0,x'; give integers, such as 0,1,2"),
        (("--jobs", "0"), "jobs is 0; give 1 or more"),
        (("--inception", "missing.pt"), "missing.pt is not a file"),
        (("--historic", "missing"), "missing is not a folder"),
        (
            ("--protocol", "reduced"),
            "12 for validation; needed are 1200 for train, 300 for validation",
        ),
    ],
)
def test_invalid_options_are_refused(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run_command(
        "--data", data, "--out", tmp_path / "out", "--protocol", "smoke", *arguments
    )
    assert result.exit_code != 0
    assert message in result.output
    assert not list(tmp_path.glob("out/*/runs"))


def test_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    runner.prepare_data(data, tmp_path, SMOKE)
    runner.prepare_data(data, tmp_path, SMOKE)
    photos = write_photos(tmp_path / "photos", 24, size=(33, 33))
    pack(photos, tmp_path / "other", size=32, validation=12)
    with pytest.raises(DataError, match="was made from other photos than"):
        runner.prepare_data(tmp_path / "other", tmp_path, SMOKE)


def test_results_have_machine_but_no_local_paths(data: Path, tmp_path: Path) -> None:
    arguments = ("--out", tmp_path, "--protocol", "smoke", "--only", "unet-l1", "--jobs", 1)
    assert run_command("--data", data, *arguments).exit_code == 0
    (run,) = tmp_path.glob("smoke/runs/*")
    assert run.name == "0000-unet-l1-seed0"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["machine"]["cores"] > 0
    (result,) = Results.from_json((tmp_path / "smoke/docs/results.json").read_bytes()).runs
    assert "data" not in result.environment  # a path of this machine
    assert result.environment["data_fingerprint"]
