import json
from collections.abc import Callable
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
    assert "| 0000-tiny/epochs/001 |" in result.stdout
    result = run("train", "tiny", *options, "--resume", epochs[0])
    assert result.exit_code == 1
    assert "epochs/001 has no state to resume from; give a run that train" in result.stderr
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
        (["train", "tiny", "--sweep", "seed"], "write --sweep KEY=VALUE,VALUE"),
        (["train", "tiny", "--sweep", "seed=0", "--sweep", "seed=1"], "seed is given twice"),
        (["train", "tiny", "--sweep", "seed=0", "--set", "seed=1"], "seed is in --set and in --"),
        (["train", "tiny", "--sweep", "seed=0", "--resume", "x"], "--resume is for one run"),
        (
            ["train", "tiny", "--sweep", "seed=0,1", "--sweep", "optimization.accumulate=1,3"],
            "accumulate is 3 and cannot divide data.batch_size=4; give a divisor",
        ),
        (["train", "tiny", "--sweep", "seed=0,1"], "is not a prepared data set"),
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


def test_an_interrupt_says_how_to_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, on_run: Callable[[Path], None], **__: object) -> None:
        on_run(tmp_path / "0000-tiny")
        raise KeyboardInterrupt

    monkeypatch.setattr("photochrom.training.loop.train.train", interrupted)
    result = run("train", "tiny", "--data", tmp_path)
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [
        f"training {tmp_path / '0000-tiny'}",
        "",
        f"stopped; continue with --resume {tmp_path / '0000-tiny'}",
    ]


def test_a_share_without_a_blend_is_wrong_usage(tmp_path: Path) -> None:
    result = run("export", tmp_path, tmp_path / "a.onnx", "--blend-share", "0.9")
    assert result.exit_code == 2
    assert "--blend-share has no effect without --blend" in result.stderr


def test_sweep_trains_a_run_for_each_combination_once(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12, size=(48, 48))
    data, runs = tmp_path / "data", tmp_path / "runs"
    run("data", "folder", photos, data, "--size", 40)
    options = ("tiny", "--data", data, "--out", runs, "--device", "cpu")
    assert run("train", *options, "--set", "seed=1").exit_code == 0
    sweep = ("--sweep", "objective.l1.weight=10,100", "--sweep", "seed=0,1")
    result = run("train", *options, *sweep)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in runs.iterdir())
    assert names == [
        "0000-tiny",  # its weight of L1 is 100
        "0001-tiny-objective.l1.weight=10-seed=0",
        "0002-tiny-objective.l1.weight=10-seed=1",
        "0003-tiny-objective.l1.weight=100-seed=0",
    ]
    recipe = load_recipe(str(runs / names[1] / "recipe.json"))
    assert (recipe.objective["l1"].weight, recipe.seed) == (10, 0)
    table = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    rows = [line.split() for line in table[2:]]
    order = [runs / names[i] for i in (1, 2, 3, 0)]
    assert [row[1:6:2] for row in rows] == [
        [str(path), weight, seed]
        for path, weight, seed in zip(order, ("10", "10", "100", "100"), "0101", strict=True)
    ]
    logs = {path: (path / "log.jsonl").read_bytes() for path in order}
    (runs / names[2] / "state.pt").unlink()  # as if interrupted in its first epoch
    (runs / names[2] / "log.jsonl").unlink()
    again = run("train", *options, *sweep)
    assert [line for line in again.stdout.splitlines() if line.startswith("| ")] == table
    assert sorted(path.name for path in runs.iterdir()) == names
    for path in order:
        same = (path / "log.jsonl").read_bytes() == logs[path]
        assert same == (path.name != names[2])  # trained again, in another time
    # Runs on other data or of another precision are other runs.
    other = run("train", *options, "--sweep", "seed=0", "--precision", "bf16")
    assert other.exit_code == 0, other.output
    assert (runs / "0004-tiny-seed=0").is_dir()


def test_sweep_goes_on_after_a_run_whose_loss_is_not_finite(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 12, size=(48, 48))
    run("data", "folder", photos, tmp_path / "data", "--size", 40)
    options = ("tiny", "--data", tmp_path / "data", "--out", tmp_path / "runs", "--device", "cpu")
    result = run("train", *options, "--sweep", "optimization.lr_g=1e30,1e-4")
    assert result.exit_code == 1
    assert "1 of 2 runs failed, as a loss or weight was no longer finite" in result.output
    assert "| failed" in result.output
    assert (tmp_path / "runs/0001-tiny-optimization.lr_g=1e-4/generator.safetensors").exists()


def test_sweep_of_tuples(tmp_path: Path) -> None:
    values = "generator.decoder_channels=64,32,16,8,8;32,16,8,8,8"
    options = ("resnet18-unet-patchgan", "--data", tmp_path, "--dry-run")
    result = run("train", *options, "--sweep", values, "--sweep", "seed=3")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "generator.decoder_channels=64,32,16,8,8-seed=3",
        "generator.decoder_channels=32,16,8,8,8-seed=3",
    ]


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
