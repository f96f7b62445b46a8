"""Tasks, their processes, and the command `reproduce`."""

import json
import re
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from photochrom.batch.process_pool import WorkerDiedError, WorkerPool
from photochrom.cli import main
from photochrom.errors import DataError, RecipeError, RunError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.shrink import shrink
from photochrom.training.evaluation.results import read_scores
from photochrom.training.networks.encoders import build_encoder
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction import reproduce, runner
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    PROTOCOLS,
    at_scale,
)
from photochrom.training.reproduction.results import Results, collect
from photochrom.training.reproduction.runner import ExperimentTask, perform_all
from support.data import pack, write_format_2
from support.photos import write_photos

SMOKE = PROTOCOLS["smoke"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 24, size=(48, 48))
    return pack(photos, folder / "data", size=40, validation=4, test=12)


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reproduce", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def reproduced(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a command that trains and evaluates unet-l1; tests only read it."""
    out = tmp_path_factory.mktemp("reproduced")
    arguments = ("--out", out, "--protocol", "smoke", "--only", "unet-l1", "--jobs", 1)
    result = run_command("--data", data, *arguments)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_smoke_protocol_runs_everything_once(data: Path, tmp_path: Path) -> None:
    historic = write_photos(tmp_path / "historic", 2, size=(40, 30))
    arguments = ("--data", data, "--out", tmp_path, "--protocol", "smoke", "--jobs", 1)
    arguments += ("--resnet18-weights", "none")
    result = run_command(*arguments, "--historic", historic)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "smoke"
    page = (folder / "docs/results.md").read_text()
    assert all(f"`{name}`" in page for name in ("grey", "mean-ab", *EXPERIMENTS))
    assert "ResNet18 from scratch" in page
    assert "Of 9 claims: 9 open." in page  # with one epoch each
    results = Results.from_json((folder / "docs/results.json").read_bytes())
    assert [run.experiment for run in results.runs] == [
        name for name, experiment in EXPERIMENTS.items() if not experiment.full_width
    ]
    curves = {f"results-{name}.svg" for name in ("lambda", "training", "grey")}  # no FID
    assert {p.name for p in (folder / "docs").glob("*.svg")} == curves
    gallery = (folder / "index.html").read_text()
    for run in results.runs:
        for kind in ("test", "historic"):
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
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 2})
    small = at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0)
    diverging = override(small, {"optimization.lr_g": 1e30})
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
        perform_all([make_task(tmp_path, "custom", named_recipe("tiny"))], jobs=2, progress=False)


def test_run_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 2})
    recipe = at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0)
    task = make_task(tmp_path, "unet-l1", recipe)
    task.perform()
    assert task.is_done()
    other = make_task(tmp_path, "unet-l1", override(recipe, {"optimization.lr_g": 1e-3}))
    assert not other.is_done()
    with pytest.raises(RunError, match=r"another recipe: optimization\.lr_g was 0\.0002"):
        other.perform()
    (run,) = (tmp_path / "runs").iterdir()
    (run / "metrics-test.json").write_text("{")
    assert not task.is_done()
    task.perform()
    assert task.is_done()


def test_interrupted_run_is_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 2})
    recipe = override(at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0), {"schedule.epochs": 2})
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
    tiny = named_recipe("tiny")
    (run / "recipe.json").write_text(tiny.to_json())
    assert make_task(tmp_path, "unet-patchgan", tiny).find_run() is None
    assert make_task(tmp_path, "resnet18-unet-patchgan", tiny).find_run() == run


def test_other_resnet18_weights_than_those_of_earlier_runs_are_refused(tmp_path: Path) -> None:
    planned, scale = [("resnet18-lambda-3", 0)], PROTOCOLS["reduced"]
    (task,) = runner.make_tasks(planned, tmp_path, scale, None, resnet18_weights="none")
    assert task.recipe is not None
    assert task.recipe.generator.settings["encoder_weights"] == "none"
    run = tmp_path / "runs/0000-resnet18-lambda-0-seed0"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(
        override(task.recipe, {"generator.encoder_weights": "imagenet"}).to_json()
    )
    with pytest.raises(RunError, match="imagenet, not none; give --resnet18-weights imagenet, or"):
        runner.make_tasks(planned, tmp_path, scale, None, resnet18_weights="none")


def test_own_resnet18_weights(tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(build_encoder("resnet18").state_dict(), path)
    (task,) = runner.make_tasks(
        [("resnet18-lambda-3", 0)], tmp_path, SMOKE, None, resnet18_weights=str(path)
    )
    assert task.recipe is not None
    settings = task.recipe.generator.settings
    assert (settings["encoder"], settings["encoder_weights"]) == ("resnet18", str(path))


def test_missing_resnet18_weights_stop_before_any_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    arguments = ("--data", data, "--out", tmp_path, "--protocol", "smoke")
    result = run_command(*arguments)
    assert result.exit_code == 1
    assert "HF_HUB_OFFLINE is set); go online, or give none or the path of a state" in result.output
    assert not list(tmp_path.iterdir())
    # Rows without a ResNet18 do not need them.
    result = run_command(*arguments, "--only", "unet-l1,lite0-unet-patchgan", "--dry-run")
    assert result.exit_code == 0, result.output


def test_resnet18_weights_that_are_no_file_are_refused(tmp_path: Path) -> None:
    planned = [("resnet18-lambda-3", 0)]
    with pytest.raises(RecipeError, match="cannot read encoder weights"):
        runner.make_tasks(planned, tmp_path, SMOKE, None, resnet18_weights="missing.pth")


@pytest.mark.parametrize(("option", "expected"), [((), "32"), (("--precision", "bf16"), "bf16")])
def test_precision_of_the_protocol_can_be_replaced(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: tuple[str, ...],
    expected: str,
) -> None:
    asked: list[ExperimentTask] = []

    def perform_all(tasks: list[ExperimentTask], **_: object) -> dict[str, str]:
        asked.extend(tasks)
        return {}

    monkeypatch.setattr(reproduce, "perform_all", perform_all)
    arguments = ("--data", data, "--out", tmp_path, "--protocol", "smoke", "--only", "unet-l1")
    result = run_command(*arguments, *option)
    assert result.exit_code == 0, result.output
    assert [task.precision for task in asked if task.recipe is not None] == [expected]


def test_dry_run_says_what_is_finished_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    arguments = ("--data", data, "--out", tmp_path / "out", "--protocol", "smoke", "--jobs", 1)
    arguments += ("--only", "unet-l1,unet-patchgan,unet-patchgan-l1pre", "--seeds", "0")
    result = run_command(*arguments, "--dry-run")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out").exists()
    assert "photos of 32 px" in result.output
    assert "8 for training, 4 for validation and 12 for the test" in result.output
    assert re.search(r"unet-patchgan-l1pre-seed0 +2 +\S+ +not started", result.output)
    assert "4 of 4 are not finished" in result.output

    folder = tmp_path / "out" / "smoke"
    runner.prepare_data(data, folder, SMOKE)
    tasks = runner.make_tasks([("unet-l1", 0), ("unet-patchgan-l1pre", 0)], folder, SMOKE, None)
    for task in tasks:
        task.perform()
    (run,) = folder.glob("runs/*-unet-patchgan-l1pre-seed0")
    (run / "log.jsonl").write_text((run / "log.jsonl").read_text().splitlines()[0] + "\n")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    result = run_command(*arguments, "--dry-run")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert re.search(r"unet-l1-seed0 +1 +\S+ +finished", result.output)
    assert re.search(r"l1pre-seed0 +2 +\S+ +1 epochs are trained", result.output)
    assert "3 of 4 are not finished" in result.output


def test_dry_run_refuses_what_a_run_would(data: Path, tmp_path: Path) -> None:
    arguments = ("--data", data, "--out", tmp_path / "out", "--dry-run", "--only", "unet-l1")
    result = run_command(*arguments, "--protocol", "reduced")
    assert result.exit_code == 1
    assert (
        "has photos: 8 for train, 4 for validation, 12 for test; needed are 1200" in result.output
    )


def test_run_without_scores_by_photo_is_evaluated_again(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, counts={"train": 8, "validation": 2, "test": 2})
    task = make_task(tmp_path, "unet-l1", at_scale(EXPERIMENTS["unet-l1"].recipe, SMOKE, 0))
    task.perform()
    (run,) = (tmp_path / "runs").iterdir()
    (run / "scores-test.csv").unlink()
    assert not task.is_done()
    task.perform()
    assert task.is_done()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "unet-l2"), "unknown experiment 'unet-l2'"),
        (("--seeds", "0,x"), "'0,x'; give integers, such as 0,1,2"),
        (("--jobs", "0"), "jobs is 0; give 1 or more"),
        (("--fid-weights", "missing.pt"), "missing.pt is not a file"),
        (("--inception", "missing.pt"), "missing.pt is not a file"),
        (("--historic", "missing"), "missing is not a folder"),
        (("--historic", ".", "--historic", "."), "give them different names, none of them test"),
        (
            ("--protocol", "reduced"),
            "12 for test; needed are 1200 for train, 64 for validation, 300 for test",
        ),
    ],
)
def test_invalid_options_are_refused(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run_command(
        *("--data", data, "--out", tmp_path / "out", "--protocol", "smoke"),
        *("--resnet18-weights", "none", *arguments),
    )
    assert result.exit_code != 0
    assert message in result.output
    assert not list(tmp_path.glob("out/*/runs"))


def test_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    runner.prepare_data(data, tmp_path, SMOKE)
    runner.prepare_data(data, tmp_path, SMOKE)
    photos = write_photos(tmp_path / "photos", 24, size=(33, 33))
    pack(photos, tmp_path / "other", size=32, validation=4, test=12)
    with pytest.raises(DataError, match="was made from other photos than"):
        runner.prepare_data(tmp_path / "other", tmp_path, SMOKE)


def test_data_without_a_test_split_is_refused(data: Path, tmp_path: Path) -> None:
    write_format_2(tmp_path / "format-2")
    arguments = ("--out", tmp_path / "out", "--protocol", "smoke", "--only", "unet-l1")
    result = run_command("--data", tmp_path / "format-2", *arguments)
    assert result.exit_code == 1
    assert "format 2, which has no test split; prepare the photos again with" in result.output
    # The folder of an earlier version, with validation photos only.
    folder = tmp_path / "out/smoke"
    folder.mkdir(parents=True)
    shrink(data, folder / "data", size=32, counts={"train": 8, "validation": 4})
    result = run_command("--data", data, *arguments)
    assert result.exit_code == 1
    assert "8 for train, 4 for validation, 0 for test; the protocol has 8" in result.output
    assert "give another --out" in result.output
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(("name", "coco"), [("{:012}.jpg", True), ("img_{}.jpg", False)])
def test_photos_named_like_cocos_are_taken_for_them(tmp_path: Path, name: str, coco: bool) -> None:
    photos = write_photos(tmp_path / "photos", 24)
    for i, path in enumerate(photos.iterdir()):
        path.rename(path.with_name(name.format(i)))
    pack(photos, tmp_path / "data", size=32, validation=4, test=12)
    runner.prepare_data(tmp_path / "data", tmp_path / "out", SMOKE)
    assert collect(tmp_path / "out", "smoke", "data", None).data["coco"] is coco


def test_results_are_of_the_test_split(data: Path, reproduced: Path) -> None:
    (run,) = reproduced.glob("smoke/runs/*")
    assert not (run / "metrics.json").exists()
    for metrics in (run / "metrics-test.json", reproduced / "smoke/baselines/metrics.json"):
        assert json.loads(metrics.read_text())["split"] == "test"
    results = Results.from_json((reproduced / "smoke/docs/results.json").read_bytes())
    assert results.data.items() >= {"train": 8, "validation": 4, "test": 12}.items()
    (result,) = results.runs
    (scores,) = read_scores(run / "scores-test.csv").values()
    assert list(scores.photos) == list(PackedPhotos(data, "test").sources())
    assert result.scores["psnr"] == pytest.approx(scores.values["psnr"], rel=1e-3)


def test_results_have_machine_but_no_local_paths(reproduced: Path) -> None:
    (run,) = reproduced.glob("smoke/runs/*")
    assert run.name == "0000-unet-l1-seed0"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["machine"]["cores"] > 0
    (result,) = Results.from_json((reproduced / "smoke/docs/results.json").read_bytes()).runs
    assert "data" not in result.environment  # a path of this machine
    assert result.environment["data_fingerprint"]
