"""The report's experiments: scales, claims, pages, and the runner."""

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from photochrom.batch.folders import find_photos
from photochrom.batch.process_pool import WorkerDiedError, WorkerPool
from photochrom.cli import main
from photochrom.errors import DataError, RecipeError, RunError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.prepare import prepare
from photochrom.training.data.shrink import shrink
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction import claims, runner
from photochrom.training.reproduction.experiments import (
    EXPERIMENTS,
    LAMBDAS,
    PROTOCOLS,
    SYSTEMS,
    at_scale,
    lambda_run,
    plan,
)
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import Results, Run
from photochrom.training.reproduction.runner import Task, perform_all
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate, speed
from support.photos import write_photos

DOCS = Path(__file__).parents[3] / "docs"
SMOKE = PROTOCOLS["smoke"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photos = write_photos(folder / "photos", 24, size=(48, 48))
    prepare(find_photos([photos]), folder / "data", size=40, eval_fraction=0.5, progress=False)
    return folder / "data"


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reproduce", *(str(argument) for argument in arguments)])


# Scale.


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_report_protocol_keeps_recipes(name: str) -> None:
    recipe = EXPERIMENTS[name].recipe
    scaled = at_scale(recipe, PROTOCOLS["report"], 0)
    assert replace(scaled, quoted=recipe.quoted) == recipe


def test_reduced_protocol_keeps_ratios() -> None:
    def scaled(name: str) -> Recipe:
        return at_scale(EXPERIMENTS[name].recipe, PROTOCOLS["reduced"], 3)

    unet, custom = scaled("unet-patchgan"), scaled("custom")
    assert (unet.image_size, unet.base_channels, unet.depth, unet.patch_depth) == (128, 16, 7, 2)
    assert (unet.epochs, unet.lambda_l1, unet.seed) == (20, 100, 3)
    assert (custom.depth, custom.dilations) == (4, (1,))  # sees 21 of 128 px: 37 of 256
    assert scaled("custom-dilated").dilations == (1, 4, 16, 8)  # 121 of 128 px: 241 of 256
    assert scaled("unet-narrow-d").discriminator_channels == 4
    assert scaled("unet-patchgan-l1pre").pretrain_epochs == 20
    assert "lambda_l1" in scaled("resnet18-unet-patchgan").quoted
    assert "image_size" not in unet.quoted
    report, reduced = PROTOCOLS["report"], PROTOCOLS["reduced"]
    assert report.train / report.held_out == reduced.train / reduced.held_out == 4


def test_resnet18_is_narrower_only_from_scratch() -> None:
    recipe = EXPERIMENTS["resnet18-lambda-10"].recipe
    pretrained = at_scale(recipe, PROTOCOLS["reduced"], 0)
    assert (pretrained.encoder, pretrained.encoder_channels) == ("resnet18", None)
    scratch = at_scale(recipe, PROTOCOLS["reduced"], 0, resnet18_weights="none")
    assert scratch.encoder_weights == "none"
    assert scratch.encoder_channels == (16, 32, 64, 128)
    assert scratch.decoder_channels == pretrained.decoder_channels == (64, 32, 16, 8, 4)
    assert at_scale(recipe, SMOKE, 0).epochs == 1


def test_every_claim_and_lambda_has_an_experiment() -> None:
    known = {"grey", "mean-ab", *EXPERIMENTS}
    assert {name for claim in claims.CLAIMS for name in claim.requires} <= known
    values = {value: EXPERIMENTS[lambda_run(value)].recipe.lambda_l1 for value in LAMBDAS}
    assert all(key == value for key, value in values.items())


def test_plan_orders_experiments_and_seeds() -> None:
    everything = plan()
    assert [name for name, _ in everything] == list(EXPERIMENTS)
    assert {seed for _, seed in everything} == {0}
    more = plan(seeds=(0, 1, 2))
    assert len(more) == len(EXPERIMENTS) + 2 * len(SYSTEMS)
    assert more[-1] == (SYSTEMS[-1], 2)
    assert plan(("unet-l1", "grey"), (4, 5)) == [("unet-l1", 4), ("unet-l1", 5)]
    assert plan(("grey",)) == []


@pytest.mark.parametrize(
    ("only", "seeds", "message"),
    [
        (("unet-l2",), (0,), "unknown experiment 'unet-l2'; choose from grey, mean-ab, custom"),
        ((), (), "the seeds are none"),
        ((), (1, 1), "the seeds are 1,1; give different"),
        ((), (-1,), "the seeds are -1"),
    ],
)
def test_plan_refuses_unknown_experiments_and_invalid_seeds(
    only: tuple[str, ...], seeds: tuple[int, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        plan(only, seeds)


def test_shrink_writes_the_first_photos(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "small", size=16, train=3, held_out=2)
    photos, whole = (PackedPhotos(folder, "train") for folder in (tmp_path / "small", data))
    assert photos.shapes.tolist() == [[16, 16]] * 3
    assert list(photos.sources()) == list(whole.sources())[:3]
    image = Image.fromarray(np.array(whole.photo(2))).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(photos.photo(2), np.asarray(image))
    with pytest.raises(DataError, match="has 12 photos to train on and 12 set aside, and 99 and 2"):
        shrink(data, tmp_path / "more", size=16, train=99, held_out=2)
    with pytest.raises(DataError, match="photos of 40 px, and 64 px are needed"):
        shrink(data, tmp_path / "more", size=64, train=3, held_out=2)
    assert not (tmp_path / "more").exists()


# Speed.


def test_flops_of_a_residual_generator() -> None:
    recipe = Recipe(generator="residual", base_channels=4, depth=1, image_size=16, batch_size=2)
    weights = 9 * (1 * 4 + 4 * 4 + 4 * 4 + 4 * 2)
    forward = 2 * weights * 16 * 16
    first = 2 * 9 * 4 * 16 * 16  # the photo needs no gradient
    assert flops_per_image(recipe) == {"l1": 3 * forward - first}


def test_flops_of_phases_and_groups() -> None:
    recipe = replace(RECIPES["tiny"], d_only_epochs=1, epochs=1)
    found = flops_per_image(recipe)
    assert found.keys() == {"l1", "d", "gan"}
    assert found["gan"] > found["l1"]
    twice = flops_per_image(replace(recipe, g_steps=2))
    assert found["gan"] < twice["gan"] < 2 * found["gan"]
    # EfficientNet has depthwise convolutions, for which PyTorch counts the gradients of all pairs.
    recipe = replace(
        RECIPES["lite0-unet-l1"], decoder_channels=(8,), image_size=64, batch_size=2, epochs=1
    )
    with torch.device("meta"):
        parameters = 3_300_000  # of EfficientNet-Lite0, without its classifier
    assert flops_per_image(recipe)["l1"] < 2 * 3 * parameters * 32 * 32 / 4


def test_speed_of_a_run() -> None:
    recipe = replace(RECIPES["tiny"], pretrain_epochs=1, epochs=2)
    per_image = flops_per_image(recipe)
    log = [
        {"phase": "l1", "seconds": 1.0, "images_per_second": 30.0},
        {"phase": "gan", "seconds": 2.0, "images_per_second": 10.0},
        {"phase": "gan", "seconds": 2.0, "images_per_second": 20.0},
    ]
    found = speed(recipe, log, 1e12)
    assert found["images_per_second"] == pytest.approx(90 / 5)
    flops = 30 * per_image["l1"] + 60 * per_image["gan"]
    assert found["flops_per_second"] == pytest.approx(flops / 5)
    assert found["share_of_matrix_rate"] == pytest.approx(flops / 5 / 1e12)
    assert found["phases"]["gan"]["images_per_second"] == pytest.approx(15)


def test_matrix_rate() -> None:
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32) < 1e14


# Claims and pages.

GOOD = {"mse": 0.01, "ssim": 0.9, "ciede2000": 10.0, "colorfulness_ratio": 0.5, "fid": 50.0}


def evaluation(name: str, **values: float) -> Evaluation:
    """Return values with intervals of 5 % on either side, except for FID."""
    given = {**GOOD, **values}
    found = {k: (v, 0.95 * v, 1.05 * v) for k, v in given.items() if k != "fid"}
    return Evaluation(name, 10, {**found, "fid": (given["fid"], None, None)})


def log_line(epoch: int, phase: str, **values: float) -> dict[str, Any]:
    line = {"epoch": epoch, "step": 10 * epoch, "images": 80 * epoch, "phase": phase}
    line |= {"seconds": 6.0, "images_per_second": 10.0, "psnr": 20.0, "colorfulness_ratio": 0.5}
    return {**line, "g_updates": 1.0, "d_updates": float(phase == "gan"), **values}


def a_run(name: str, log: list[dict[str, Any]] | None = None, **values: float) -> Run:
    return Run(
        name,
        0,
        f"0000-{name}-seed0",
        EXPERIMENTS[name].recipe,
        {"commit": "abc", "device": "cpu", "packages": {"torch": "2.14"}},
        {
            "images_per_second": 10.0,
            "flops_per_image": 1e9,
            "flops_per_second": 1e10,
            "matrix_flops_per_second": 1e11,
            "share_of_matrix_rate": 0.1,
        },
        evaluation(name, **values),
        log or [log_line(1, "gan")],
    )


def some_results(*runs: Run, baselines: Mapping[str, Mapping[str, float]] | None = None) -> Results:
    given = {"grey": {"colorfulness_ratio": 0.0}} if baselines is None else baselines
    return Results(
        "smoke",
        "2026-11-24",
        {"name": "data", "fingerprint": "f", "size": 32, "train": 8, "eval": 10},
        "weights.pt",
        {"processor": "some", "cores": 2, "gpu": None},
        [evaluation(name, **values) for name, values in given.items()],
        runs,
    )


def verdict(number: int, *runs: Run) -> claims.Verdict:
    return claims.CLAIMS[number].conclude(some_results(*runs))


@pytest.mark.parametrize(
    ("with_l1", "without", "outcome"),
    [(0.1, 0.19, "confirmed"), (0.1, 0.3, "partly"), (0.2, 0.3, "refuted")],
)
def test_verdict_on_grey(with_l1: float, without: float, outcome: str) -> None:
    found = verdict(
        0,
        a_run("custom", colorfulness_ratio=with_l1),
        a_run("custom-no-l1", colorfulness_ratio=without),
    )
    assert found.outcome == outcome
    assert f"{with_l1:.2f} [" in found.message


@pytest.mark.parametrize(
    ("dilated", "distance", "outcome"),
    [(0.4, 8.0, "confirmed"), (0.4, 10.0, "partly"), (0.2, 8.0, "partly"), (0.2, 12.0, "refuted")],
)
def test_verdict_on_receptive_field(dilated: float, distance: float, outcome: str) -> None:
    plain = a_run("custom", colorfulness_ratio=0.2)
    other = a_run("custom-dilated", colorfulness_ratio=dilated, ciede2000=distance)
    assert verdict(1, plain, other).outcome == outcome


@pytest.mark.parametrize(
    ("at_1", "at_100", "outcome"),
    [(0.5, 0.1, "confirmed"), (0.5, 0.3, "partly"), (0.1, 0.1, "partly"), (0.3, 0.5, "refuted")],
)
def test_verdict_on_lambda(at_1: float, at_100: float, outcome: str) -> None:
    ratios = {1: at_1, 100: at_100}
    runs = [a_run(lambda_run(v), colorfulness_ratio=ratios.get(v, 0.4)) for v in LAMBDAS]
    found = verdict(2, *runs)
    assert found.outcome == outcome
    assert "30: 0.40 at 0.0100" in found.message


def test_verdict_on_pretraining() -> None:
    plain = a_run("unet-patchgan", [log_line(i, "gan", psnr=18.0 + i) for i in (1, 2, 3)])
    first = log_line(1, "l1", psnr=25.0)  # L1 alone does not count
    sooner = [first, log_line(2, "gan", psnr=21.0), log_line(3, "gan")]
    found = verdict(3, plain, a_run("unet-patchgan-l1pre", sooner))
    assert found.outcome == "confirmed"
    assert "after 10 generator steps with the PatchGAN, the plain one after 30" in found.message
    assert "took 30 and 30 generator steps" in found.message
    later = [first, *(log_line(i, "gan", psnr=18.0 + i - 1) for i in (2, 3, 4))]
    assert verdict(3, plain, a_run("unet-patchgan-l1pre", later)).outcome == "refuted"
    never = [first, log_line(2, "gan", psnr=25.0, colorfulness_ratio=0.1)]
    found = verdict(3, plain, a_run("unet-patchgan-l1pre", never))
    assert found.outcome == "refuted"
    assert "never reached" in found.message


@pytest.mark.parametrize(
    ("mse", "ssim", "outcome"),
    [(0.02, 0.7, "confirmed"), (0.02, 0.95, "partly"), (0.009, 0.95, "refuted")],
)
def test_verdict_on_best_images_and_worst_scores(mse: float, ssim: float, outcome: str) -> None:
    runs = [a_run(name) for name in SYSTEMS if name != "unet-patchgan"]
    runs.append(a_run("unet-patchgan", fid=10.0, mse=mse, ssim=ssim))
    found = verdict(4, *runs)
    assert found.outcome == outcome
    assert "unet-patchgan has the best FID, 10.0" in found.message


def test_verdict_is_open_without_runs_or_fid() -> None:
    found = verdict(0, a_run("custom"))
    assert (found.outcome, found.message) == ("open", "not run: custom-no-l1")
    runs = [a_run(name) for name in SYSTEMS]
    values = {k: v for k, v in runs[0].evaluation.values.items() if k != "fid"}
    runs[0] = replace(runs[0], evaluation=Evaluation("custom", 10, values))
    assert "FID was not measured" in verdict(4, *runs).message


@pytest.mark.parametrize(
    ("ratio", "distance", "expected"),
    [
        (0.8, 10.0, "more colourful, as close to the original"),
        (0.2, 12.0, "less colourful, farther from the original"),
        (0.51, 8.0, "as colourful, closer to the original"),
    ],
)
def test_compare(ratio: float, distance: float, expected: str) -> None:
    other = a_run("unet-hinge", colorfulness_ratio=ratio, ciede2000=distance)
    results = some_results(a_run("unet-patchgan"), other)
    assert claims.compare(results, "unet-hinge", "unet-patchgan") == expected


def test_updates_are_counted_by_network_and_phase() -> None:
    log = [log_line(1, "l1"), log_line(2, "d", g_updates=0.0, d_updates=1.0)]
    log += [log_line(3, "gan", g_updates=2.0, d_updates=0.5)]
    run = a_run("unet-ratio", log)
    assert (run.updates("g"), run.updates("d")) == (30, 15)
    assert run.updates("g", phases=("gan",)) == 20
    assert (run.seconds, run.images) == (18.0, 240)


def test_results_survive_json() -> None:
    results = some_results(a_run("custom"), a_run("unet-l1"))
    again = Results.from_json(results.to_json())
    assert again.to_json() == results.to_json()
    assert again.of("unet-l1") == results.of("unet-l1")
    assert again.of("unet-rgb") is None
    for damaged in ("", "[]", "{}", '{"format": 2}', results.to_json()[:-9]):
        with pytest.raises(RunError, match=r"not a results\.json"):
            Results.from_json(damaged)


def test_page_of_one_run() -> None:
    page = results_page(some_results(a_run("custom")), curves=["lambda.svg"])
    assert "**not the report's scale**" in page
    assert ".0071 (1)" in page
    assert "Open: not run: custom-no-l1" in page
    assert "(lambda.svg)" in page
    assert "next steps" not in page


def test_title_marks_resnet18_without_imagenet_weights() -> None:
    run = a_run("resnet18-unet-patchgan")
    assert run.title == "U-Net on ResNet18, PatchGAN, lambda 1"
    scratch = replace(run, recipe=replace(run.recipe, encoder_weights="none"))
    assert scratch.title == "U-Net on ResNet18 from scratch, PatchGAN, lambda 1"


@pytest.mark.skipif(not (DOCS / "results.json").is_file(), reason="no results were published")
def test_published_page_is_generated_from_published_results() -> None:
    results = Results.from_json((DOCS / "results.json").read_bytes())
    curves = [
        name for name in ("lambda.svg", "training.svg", "scores.svg") if (DOCS / name).exists()
    ]
    page = results_page(results, curves=curves, images=["results-samples.jpg"])
    assert page == (DOCS / "results.md").read_text()


# The runner.


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


def make_task(folder: Path, name: str, recipe: Recipe) -> Task:
    return Task(f"{name}-seed0", recipe, folder, "32", None, 1.0)


def test_failed_task_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, train=8, held_out=2)
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
    def submit(_pool: object, _task: Task) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(WorkerDiedError("the worker process was killed"))
        return future

    monkeypatch.setattr(WorkerPool, "submit", submit)
    with pytest.raises(RunError, match="was killed; run the same command again, with fewer --jobs"):
        perform_all([make_task(tmp_path, "custom", RECIPES["tiny"])], jobs=2, progress=False)


def test_run_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    shrink(data, tmp_path / "data", size=32, train=8, held_out=2)
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
    shrink(data, tmp_path / "data", size=32, train=8, held_out=2)
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
        (("--protocol", "reduced"), "has 12 photos to train on and 12 set aside, and 1200 and 300"),
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
    prepare(find_photos([photos]), tmp_path / "other", size=32, eval_fraction=0.5, progress=False)
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
