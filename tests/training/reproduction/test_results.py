"""Results as JSON, and the page that is generated from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from photochrom.errors import RunError
from photochrom.training.reproduction.pages import results_page
from photochrom.training.reproduction.results import Results
from support.results import make_log_line, make_results, make_run

DOCS = Path(__file__).parents[3] / "docs"


def test_updates_are_counted_by_network_and_phase() -> None:
    log = [make_log_line(1, "l1"), make_log_line(2, "d", g_updates=0.0, d_updates=1.0)]
    log += [make_log_line(3, "gan", g_updates=2.0, d_updates=0.5)]
    run = make_run("unet-ratio", log)
    assert (run.updates("g"), run.updates("d")) == (30, 15)
    assert run.updates("g", phases=("gan",)) == 20
    assert (run.seconds, run.images) == (18.0, 240)


def test_results_survive_json() -> None:
    results = make_results(make_run("custom"), make_run("unet-l1"))
    again = Results.from_json(results.to_json())
    assert again.to_json() == results.to_json()
    assert again.of("unet-l1") == results.of("unet-l1")
    assert again.of("unet-rgb") is None
    for damaged in ("", "[]", "{}", '{"format": 2}', results.to_json()[:-9]):
        with pytest.raises(RunError, match=r"not a results\.json"):
            Results.from_json(damaged)


def test_page_of_one_run() -> None:
    page = results_page(make_results(make_run("custom")), curves=["lambda.svg"])
    assert "**not the report's scale**" in page
    assert ".0071 (1)" in page
    assert "Open: not run: custom-no-l1" in page
    assert "(lambda.svg)" in page
    assert "next steps" not in page


def test_title_marks_resnet18_without_imagenet_weights() -> None:
    run = make_run("resnet18-unet-patchgan")
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
