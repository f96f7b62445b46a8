"""Results as JSON, and the page that is generated from them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from photochrom.errors import RecipeError, RunError
from photochrom.training.recipes.recipe import override
from photochrom.training.reproduction.experiments import PROTOCOLS
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import Results
from support.results import GOOD, make_epochs, make_log_line, make_results, make_run

DOCS = Path(__file__).parents[3] / "docs"


def test_updates_are_counted_by_network_and_phase() -> None:
    log = [make_log_line(1, "pretrain"), make_log_line(2, "d", g_updates=0.0, d_updates=1.0)]
    log += [make_log_line(3, "gan", g_updates=2.0, d_updates=0.5)]
    run = make_run("unet-ratio", log)
    assert (run.updates("g"), run.updates("d")) == (30, 15)
    assert run.updates_by_epoch("g", phases=("gan",)) == [0, 0, 20]
    assert (run.seconds, run.images) == (18.0, 240)


def test_results_survive_json() -> None:
    results = make_results(make_run("custom"), make_run("unet-l1"))
    again = Results.from_json(results.to_json())
    assert again.to_json() == results.to_json()
    assert again.of("unet-l1") == results.of("unet-l1")
    assert again.of("unet-rgb") is None
    assert again.of("custom").scores == results.of("custom").scores
    for damaged in ("", "[]", "{}", '{"format": 4}', '{"format": 5}', results.to_json()[:-9]):
        with pytest.raises(RunError, match=r"not a results\.json"):
            Results.from_json(damaged)


def test_results_of_a_newer_version_ask_for_an_update() -> None:
    content = json.loads(make_results(make_run("custom")).to_json())
    content["runs"][0]["recipe"]["format"] = 3
    with pytest.raises(RecipeError, match=r"^the recipe has format 3, .*; update photochrom$"):
        Results.from_json(json.dumps(content))


def test_numbers_of_results_json_are_on_one_line() -> None:
    lines = make_results(make_run("custom")).to_json().splitlines()
    assert any(line.lstrip().startswith('"psnr": [20.0, 20.2, 20.0,') for line in lines)
    assert len(lines) < 300


def test_page_of_one_run() -> None:
    page = results_page(make_results(make_run("custom")), curves=["lambda"])
    text = " ".join(page.split())
    assert "4 validation photos and 10 test photos;" in text
    assert "networks of the last 5 epochs, on 10 test photos." in text
    assert "**not the report's scale**" in page
    assert ".0071 (1)" in page
    assert "Open: not run: unet-patchgan" in page
    assert "(results-lambda.svg)" in page
    assert "next steps" not in page


def test_page_names_only_what_differs_from_the_report() -> None:
    results = replace(make_results(make_run("custom")), protocol="half")
    page = " ".join(results_page(results, curves=[]).split())
    assert "Photos of 128 px instead of 256, networks of 1/2 of the width (a ResNet18" in page
    assert "The number of training photos, the batch size, epochs and lambdas are the" in page
    assert "6400 instead" not in page
    assert "16 instead" not in page


def test_page_names_planned_runs_that_are_missing() -> None:
    runs = [
        make_run(name, seed=seed, **{metric: (1 + 0.01 * seed) * v for metric, v in GOOD.items()})
        for name, seed in PROTOCOLS["half"].planned
    ]
    missing = ("custom", 1), ("custom", 2), ("unet-l1", 0)
    left = [run for run in runs if (run.experiment, run.seed) not in missing]
    page = " ".join(results_page(make_results(*left, protocol="half"), curves=[]).split())
    assert "Planned, but not finished: `unet-l1` (seed 0), `custom` (seeds 1, 2)." in page
    assert "not finished" not in results_page(make_results(*runs, protocol="half"), curves=[])


def test_title_marks_resnet18_without_imagenet_weights() -> None:
    run = make_run("resnet18-unet-patchgan")
    assert run.title == "U-Net on ResNet18, PatchGAN, lambda 1"
    scratch = replace(run, recipe=override(run.recipe, {"generator.encoder_weights": "none"}))
    assert scratch.title == "U-Net on ResNet18 from scratch, PatchGAN, lambda 1"
    own = replace(run, recipe=override(run.recipe, {"generator.encoder_weights": "own.pth"}))
    assert own.title == "U-Net on ResNet18 from own.pth, PatchGAN, lambda 1"


def test_page_of_other_photos_says_so() -> None:
    run = make_run("custom")
    assert "not known to be COCO's" in results_page(make_results(run), curves=[])
    assert "COCO's;" not in results_page(make_results(run, coco=True), curves=[])


def test_page_has_intervals_over_seeds_and_epochs_and_controls() -> None:
    shares = (0.0, 0.05, 0.1, 0.15, 0.2)
    runs = []
    for seed in range(3):
        pairs = zip(make_epochs(psnr=20.0 + seed), shares, strict=True)
        epochs = [{**epoch, "grey_share": share} for epoch, share in pairs]
        runs.append(make_run("custom", seed=seed, epochs=epochs))
    runs += [make_run("unet-patchgan", fid=40.0), make_run("unet-l1", mse=0.011, psnr=23.0)]
    results = make_results(*runs, baselines={"mean-ab": {"colorfulness_ratio": 0.1}})
    page = results_page(Results.from_json(results.to_json()), curves=["grey"])
    table = page.split("## Table 1")[1].split("\n## ")[0]
    (custom,) = (line for line in table.splitlines() if "(`custom`)" in line)
    assert "| 21.00 [18.52, 23.48] |" in custom  # Student's t over three seeds: 2.48 on each side
    assert "| 10% (0%..20%) |" in custom
    (unet,) = (line for line in table.splitlines() if "(`unet-patchgan`)" in line)
    assert "0.0100 (0.0098..0.0102)" in unet  # the range of the epochs of one seed
    text = " ".join(page.split())
    assert "set on 2026-11-30, before these runs" in text
    assert "**Colouring with the mean colour of all photos is grey.** Reproduced" in text
    assert "higher PSNR than with the PatchGAN.** Reproduced" in text
    assert "more colourful than L1 alone.** Open" in text
    assert "(results-grey.svg)" in page


def test_page_of_next_steps_compares_them_and_the_lambdas() -> None:
    names = ("unet-patchgan", "unet-hinge", "resnet18-unet-patchgan")
    runs = [make_run(name) for name in (*names, "resnet18-lambda-0", "custom")]
    runs.append(
        make_run("resnet18-lambda-100", colorfulness_ratio=0.3, psnr=24.0, mse=0.02, fid=40.0)
    )
    page = results_page(make_results(*runs, protocol="next-steps"), curves=["lambda"])
    assert page.startswith("# The report's next steps")
    assert "Table 1" not in page
    assert "Of 5 claims" in page  # grey, receptive field (not run yet), lambda
    assert "(next-steps.json)" in page
    assert "(next-steps-lambda.svg)" in page
    assert "--protocol next-steps --fid-weights weights.pt --precision 32\n" in page
    lambdas = page.split("\n## Lambda")[1].split("\n## ")[0]
    steps = page.split("\n## The report's next steps")[1].split("\n## ")[0]
    assert steps.count("| U-Net") == 2
    assert re.search(r"`resnet18-lambda-0`.*colourfulness unclear, PSNR unclear", lambdas)
    assert re.search(r"`resnet18-unet-patchgan`.* - +\|\n", lambdas)
    assert re.search(r"`resnet18-lambda-100`.*less colourful, higher PSNR", lambdas)


def test_page_names_every_machine_and_precision() -> None:
    machine = {"processor": "Xeon", "cores": 2, "gpu": "H100"}
    run = make_run("custom")
    other = make_run("unet-l1")
    other = replace(other, environment={**other.environment, "machine": machine})
    text = " ".join(results_page(make_results(run, other), curves=[]).split())
    assert "Trained on Xeon, 2 cores, H100 (cpu, float32) and some, 2 cores (cpu, float32);" in text


@pytest.mark.parametrize("stem", ["results", "next-steps"])
def test_published_page_is_generated_from_published_results(stem: str) -> None:
    if not (DOCS / f"{stem}.json").is_file():
        pytest.skip("no results were published")
    results = Results.from_json((DOCS / f"{stem}.json").read_bytes())
    names = ("lambda", "training", "grey", "scores")
    curves = [name for name in names if (DOCS / f"{stem}-{name}.svg").exists()]
    page = results_page(results, curves=curves, images=[f"{stem}-samples.jpg"])
    assert page == (DOCS / f"{stem}.md").read_text()
