import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from photochrom.cli import main
from photochrom.training.recipes.loading import load_recipe, named_recipe
from support.photos import write_photos


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_train_evaluate_export_and_colorize(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12, size=(48, 48))
    data, runs, model = tmp_path / "data", tmp_path / "runs", tmp_path / "tiny.onnx"

    (tmp_path / "splits.csv").write_text("name,split\n03.png,validation\n07.png,validation\n")
    options = ("--size", 40, "--count", 10, "--split-file", tmp_path / "splits.csv")
    result = run("data", "folder", photos, data, *options)
    assert result.exit_code == 0, result.output
    assert "8 photos for training, 2 for validation, 0 for test; dropped 0 near" in result.output

    result = run("train", "tiny", "--data", data, "--out", runs, "--device", "cpu")
    assert result.exit_code == 0, result.output
    trained = runs / "0000-tiny"

    result = run("table", trained)
    assert result.exit_code == 1
    assert "evaluate" in result.output

    out = tmp_path / "results"
    result = run("evaluate", trained, "grey", "mean-ab", "--data", data, "--out", out)
    assert result.exit_code == 0, result.output
    assert "grey" in result.output
    assert {p.name for p in out.iterdir()} >= {
        *("metrics.json", "metrics.csv", "metrics.md", "contact.png"),
    }

    options = ("--batch-statistics", "--no-dropout", "--limit", 2)
    result = run("evaluate", trained, "--data", data, *options)
    assert "(batch statistics, no dropout)" in result.output

    result = run("table", trained)
    assert result.exit_code == 0, result.output
    assert ".0071" in result.output

    columns = ("--columns", "ciede2000,psnr")
    result = run("compare", out, "--against", "grey", "--format", "latex", *columns)
    assert result.exit_code == 0, result.output
    header = r"Minus grey & Seeds & N & CIEDE2000 $\downarrow$ & PSNR (dB) $\uparrow$ \\"
    assert header in result.output
    result = run("compare", out, "--columns", "PSNR")
    assert result.exit_code == 1
    assert "PSNR is no metric; give some of mse, psnr," in result.output

    result = run("export", trained, model)
    assert result.exit_code == 0, result.output

    result = run("colorize", photos / "00.png", "--model", model, "-o", tmp_path / "colored")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "colored/00.png") as image:
        assert image.size == (48, 48)


def test_recipes_are_listed_and_shown() -> None:
    assert "unet-patchgan-l1pre" in run("recipes").output
    shown = run("recipes", "resnet18-unet-patchgan").output
    assert any("objective.l1.weight" in line and "quoted" in line for line in shown.splitlines())
    assert any("lr_g" in line and "filled in" in line for line in shown.splitlines())
    assert json.loads(run("recipes", "tiny", "--json").output)["generator"]["kind"] == "unet"
    everything = json.loads(run("recipes", "--json").output)
    assert everything["tiny"] == named_recipe("tiny").to_dict()


def test_a_printed_recipe_can_be_trained_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    for name in ("tiny", "unet-l1"):  # the second has values of None
        file.write_text(run("recipes", name, "--toml").output)
        assert load_recipe(str(file)) == named_recipe(name)
    file.write_text('base = "tiny"\ngenerator.depth = 5\n')
    result = run("train", file, "--data", tmp_path, "--dry-run", "--set", "generator.depth=3")
    assert result.exit_code == 0, result.output
    assert '"depth": 3' in result.output


def test_kept_epochs_are_runs(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12, size=(48, 48))
    data, runs = tmp_path / "data", tmp_path / "runs"
    run("data", "folder", photos, data, "--size", 40)
    options = ("--data", data, "--out", runs, "--device", "cpu", "--keep", "all")
    result = run("train", "tiny", *options)
    assert result.exit_code == 0, result.output
    epochs = sorted((runs / "0000-tiny/epochs").iterdir())
    assert [epoch.name for epoch in epochs] == ["001", "002"]
    result = run("evaluate", epochs[0], "--data", data)
    assert result.exit_code == 0, result.output
    result = run("export", epochs[1], tmp_path / "model.onnx")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "unet-patchgun"], "unknown recipe 'unet-patchgun'; choose from custom"),
        (["train", "tiny", "--set", "lamda_l1=3"], "a recipe has no key 'lamda_l1'; its keys are"),
        (
            ["train", "tiny", "--set", "generator.widht=3"],
            "generator (unet) has no key 'widht'; its keys are base_channels, depth",
        ),
        (
            ["train", "tiny", "--set", "schedule.epochs=many"],
            "schedule.epochs is 'many'; it should be a valid integer",
        ),
        (["train", "tiny", "--set", "schedule.epochs"], "write --set KEY=VALUE"),
        (["train", "mine.toml"], "cannot read the recipe mine.toml: No such file or directory"),
        (["train", "tiny"], "is not a prepared data set"),
    ],
)
def test_invalid_input_gives_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--data", tmp_path)
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_dry_run_trains_nothing(tmp_path: Path) -> None:
    result = run("train", "tiny", "--data", tmp_path, "--out", tmp_path / "runs", "--dry-run")
    assert result.exit_code == 0
    assert "parameters" in result.output
    assert not list(tmp_path.iterdir())


def test_missing_models_are_refused(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 5, size=(48, 48))
    options = ("--size", 40, "--validation-fraction", 1, "--test-fraction", 0)
    run("data", "folder", photos, tmp_path / "data", *options)
    result = run("evaluate", tmp_path / "missing.onnx", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "missing.onnx" in result.output
    result = run("export", tmp_path, tmp_path / "model.onnx")
    assert result.exit_code == 1
    assert "is not a run" in result.output
    assert not (tmp_path / "model.onnx").exists()
