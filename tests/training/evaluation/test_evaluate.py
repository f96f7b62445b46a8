"""Evaluation of models on a small data set, and its files and tables."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from photochrom.batch.folders import find_photos
from photochrom.color import rgb_to_lab
from photochrom.colorize.colorizer import Colorizer
from photochrom.errors import (
    DataError,
    ModelError,
    NoHintsError,
    PhotochromError,
    RecipeError,
    RunError,
)
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.prepare import prepare
from photochrom.training.evaluation import measurement, metrics
from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.evaluation.measurement import Measurement
from photochrom.training.evaluation.models import RunModel, load_model, mean_ab
from photochrom.training.evaluation.results import Evaluation, read_evaluation, read_scores
from photochrom.training.evaluation.tables import evaluation_table, table1
from photochrom.training.onnx.export import export
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import build_generator
from support.data import pack
from support.models import write_model, write_run
from support.photos import write_photos


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set of 14 colourful validation photos and 6 training photos."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(20):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC)
        image.save(folder / f"{i:02d}.png")
    dest = tmp_path_factory.mktemp("prepared") / "data"
    return pack(folder, dest, size=32, validation=14)


def make_run(path: Path, name: str = "tiny", seed: int = 0) -> Path:
    """Write a run directory with an untrained network of `tiny` and the recipe `name`."""
    path.mkdir(parents=True)
    torch.manual_seed(seed)
    generator = build_generator(named_recipe("tiny"))
    (path / "recipe.json").write_text(override(named_recipe(name), {"seed": seed}).to_json())
    runs.save_generator(path, generator)
    return path


def test_evaluate_returns_values_and_writes_files(data: Path, tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "0000-tiny"), tmp_path / "out"
    models = [str(run), "grey", "mean-ab"]
    found = evaluate(models, data, out=out, progress=False)
    assert [e.name for e in found] == ["0000-tiny", "grey", "mean-ab"]
    assert {e.n for e in found} == {14}
    for evaluation in found:
        ratios = {"colorfulness_ratio", "colorfulness_abs_difference"}
        assert set(evaluation.values) == {*metrics.photo_metrics(), *ratios}
        for mean, low, high in evaluation.values.values():
            assert low is not None
            assert high is not None
            assert low <= mean <= high
    grey = found[1].values
    assert grey["colorfulness"][0] == pytest.approx(0, abs=0.5)
    assert grey["colorfulness_ratio"][0] == pytest.approx(0, abs=0.01)

    written = json.loads((out / "metrics.json").read_text())
    assert [Evaluation.from_json(e) for e in written["evaluations"]] == found
    assert written["split"] == "validation"
    assert read_evaluation(run).data == "data"
    assert read_evaluation(run).fingerprint == PackedPhotos(data, "validation").fingerprint
    assert read_evaluation(run).evaluation == found[0]
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    assert float(rows[1]["mse"]) == grey["mse"][0]
    assert float(rows[1]["mse_low"]) == grey["mse"][1]
    assert rows[1]["fid"] == ""
    assert (out / "metrics.md").read_text() == evaluation_table(found)
    assert (out / "metrics.tex").read_text() == evaluation_table(found, "latex")
    with Image.open(out / "contact.png") as sheet:
        assert sheet.width == 5 * 32 + 4 * 4
        assert sheet.height > 12 * 32


def test_scores_of_every_photo_are_written(data: Path, tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "0000-tiny"), tmp_path / "out"
    found = evaluate([str(run), "grey"], data, out=out, progress=False)
    scores = read_scores(out)
    photos = PackedPhotos(data, "validation")
    assert list(scores) == ["0000-tiny", "grey"]
    for evaluation in found:
        model = scores[evaluation.name]
        assert list(model.photos) == list(photos.sources())
        originals = {"original_colorfulness", "original_colorfulness_abs"}
        assert set(model.values) == {*metrics.photo_metrics(), *originals}
        for metric in metrics.photo_metrics():
            assert model.values[metric].mean() == evaluation.values[metric][0], metric
    original = metrics.colorfulness(photos.photo(3).astype(np.float32) / 255)
    assert scores["grey"].values["original_colorfulness"][3] == original
    (of_run,) = read_scores(run).values()
    assert np.array_equal(of_run.values["mse"], scores["0000-tiny"].values["mse"])
    with pytest.raises(DataError, match="grey is given twice"):
        evaluate(["grey", "grey"], data, progress=False)


def test_missing_and_damaged_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"scores\.csv does not exist; evaluate the models"):
        read_scores(tmp_path)
    for text in ("", "model,photo,sha256,mse\n", "model,photo,sha256,mse\ngrey,a.png,00,x\n"):
        (tmp_path / "scores.csv").write_text(text)
        with pytest.raises(RunError, match="damaged"):
            read_scores(tmp_path)


def test_runs_with_several_seeds_have_a_mean(data: Path, tmp_path: Path) -> None:
    paths = [make_run(tmp_path / f"000{seed}-tiny", seed=seed) for seed in range(2)]
    one, two, mean = evaluate([str(path) for path in paths], data, limit=4, progress=False)
    assert mean.name == "tiny (mean of 2 seeds)"
    assert mean.values["mse"][0] == pytest.approx((one.values["mse"][0] + two.values["mse"][0]) / 2)
    difference = abs(one.values["mse"][0] - two.values["mse"][0])
    assert mean.deviations["mse"] == pytest.approx(difference / 2**0.5)


def test_evaluation_on_the_test_split_has_files_of_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    photos = find_photos([write_photos(tmp_path / "photos", 4)])
    prepare(photos, tmp_path / "data", size=32, splits=dict.fromkeys(photos, "test"))
    (found,) = evaluate([str(run)], tmp_path / "data", split="test", progress=False)
    assert read_evaluation(run, "test").evaluation == found
    assert len(read_scores(run / "scores-test.csv")["run"].photos) == found.n == 4
    with pytest.raises(RunError, match="not evaluated on a full validation split yet"):
        read_evaluation(run)


def test_evaluate_measures_the_output_of_the_colorizer(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (found,) = evaluate([str(run)], data, limit=3, progress=False)
    colorizer, photos = Colorizer(RunModel(run)), PackedPhotos(data, "validation")
    expected = []
    for i in range(3):
        made = np.asarray(colorizer(Image.fromarray(photos.photo(i))), np.float32) / 255
        expected.append(metrics.mse(made, photos.photo(i).astype(np.float32) / 255))
    assert found.n == 3
    assert not (run / "metrics.json").exists()  # written for the full validation split only
    assert found.values["mse"][0] == pytest.approx(np.mean(expected), rel=1e-6)


def test_run_and_export_have_equal_values(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = export(run, tmp_path / "model.onnx", half=False)
    one, two = evaluate([str(run), str(path)], data, limit=4, progress=False)
    for metric, (mean, _, _) in one.values.items():
        assert two.values[metric][0] == pytest.approx(mean, rel=1e-2, abs=1e-4), metric
    assert (one.name, two.name) == (str(run), str(path))  # both files are named "run"


def test_run_with_a_recipe_of_format_1_is_evaluated(data: Path, tmp_path: Path) -> None:
    run, old = make_run(tmp_path / "run"), make_run(tmp_path / "old")
    settings = {"generator": "unet", "base_channels": 4, "depth": 4, "image_size": 32}
    (old / "recipe.json").write_text(json.dumps(settings))
    one, two = evaluate([str(run), str(old)], data, limit=2, progress=False)
    assert one.values == two.values
    (old / "recipe.json").write_text(json.dumps({**settings, "bounced": True}))
    with pytest.raises(RecipeError, match="unknown key 'bounced' in a recipe of format 1"):
        evaluate([str(old)], data, progress=False)


def test_dropout_and_batch_statistics_change_what_is_evaluated(data: Path, tmp_path: Path) -> None:
    recipe = named_recipe("tiny")
    changes = [{}, {"inference.batch_statistics": True}, {"inference.dropout": True}]
    runs = [make_run(tmp_path / str(i)) for i in range(len(changes))]
    for path, change in zip(runs, changes, strict=True):
        change = {**change, "generator.dropout_stages": 2}
        (path / "recipe.json").write_text(override(recipe, change).to_json())
    found = evaluate(list(map(str, runs)), data, limit=2, progress=False)
    assert len({e.values["mse"][0] for e in found}) == len(runs)


def test_inference_can_be_chosen_without_changing_the_run(data: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    recipe = override(named_recipe("tiny"), {"generator.dropout_stages": 2})
    (run / "recipe.json").write_text(recipe.to_json())

    def values(**options: Any) -> Evaluation:
        (found,) = evaluate([str(run)], data, progress=False, **options)
        return found

    plain = values()
    before = (run / "metrics.json").read_bytes()
    batch = values(batch_statistics=True, out=tmp_path / "out")
    assert batch.name == "run (batch statistics)"
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["batch_statistics"] is True
    assert "dropout" not in written
    random, again, other = (values(dropout=True, seed=seed) for seed in (0, 0, 1))
    assert random == again
    assert len({e.values["mse"][0] for e in (plain, batch, random, other)}) == 4
    assert (run / "metrics.json").read_bytes() == before
    assert not (run / "metrics-test.json").exists()
    # The other way round: a recipe with both, measured without them.
    both = {"inference.batch_statistics": True, "inference.dropout": True}
    (run / "recipe.json").write_text(override(recipe, both).to_json())
    none = values(batch_statistics=False, dropout=False)
    assert none.name == "run (no batch statistics, no dropout)"
    assert none.values == plain.values


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("grey", {"dropout": True}, "grey is not a run, and dropout can be chosen for runs only"),
        (
            "run",
            {"dropout": True},
            "dropout changes nothing, as the generator has no Dropout",
        ),
        ("run", {"seed": -1}, "the seed is -1; give a number from 0"),
    ],
)
def test_inference_that_changes_nothing_is_refused(
    data: Path, tmp_path: Path, model: str, options: dict[str, Any], message: str
) -> None:
    run = make_run(tmp_path / "run")
    without = override(named_recipe("tiny"), {"generator.dropout_stages": 0})
    (run / "recipe.json").write_text(without.to_json())
    given = str(run) if model == "run" else model
    with pytest.raises(PhotochromError, match=message):
        evaluate([given], data, progress=False, **options)


def test_hints_improve_psnr(data: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "hinted.onnx", hints=3, scale=0.0, size="32")
    psnr = [
        evaluate([str(tmp_path / "hinted.onnx")], data, hints=n, progress=False)[0].values["psnr"][
            0
        ]
        for n in (0, 10, 10, 1000)
    ]
    assert psnr[0] < psnr[1] == psnr[2] < psnr[3]
    with pytest.raises(ModelError, match="model grey takes no colour hints"):
        evaluate(["grey"], data, hints=1, progress=False)
    with pytest.raises(DataError, match="hints is -1; give a number of colours from 0 to 1000"):
        evaluate(["grey"], data, hints=-1, progress=False)


def test_mean_ab_uses_the_training_photos(data: Path) -> None:
    photos = PackedPhotos(data, "train")
    everything = np.stack([photos.photo(i) for i in range(len(photos))]).astype(np.float32) / 255
    expected = rgb_to_lab(everything)[..., 1:].reshape(-1, 2).mean(axis=0)
    assert len(photos) == 6
    assert mean_ab(photos) == pytest.approx(expected, abs=1e-3)


def test_mean_ab_of_other_data(data: Path, tmp_path: Path) -> None:
    photos = find_photos([write_photos(tmp_path / "photos", 4)])
    prepare(
        photos, tmp_path / "check", size=32, validation_fraction=1, test_fraction=0, progress=False
    )
    with pytest.raises(DataError, match=r"the data has none; give mean-ab=DIR"):
        load_model("mean-ab", tmp_path / "check")
    model = load_model(f"mean-ab={data}", tmp_path / "check")
    expected = mean_ab(PackedPhotos(data, "train"))
    assert model.name == "mean-ab"
    assert model(np.zeros((1, 1, 2, 2), np.float32))[0, :, 0, 0] == pytest.approx(expected)


class MeanColor:
    """A feature network that returns the mean colour of each photo."""

    def __init__(self, path: Path, device: str, name: str) -> None:
        assert (path, device) == (Path("weights.pt"), "cpu")
        self._exponent = 1 if name == "tensorflow" else 2

    def __call__(self, photos: list[np.ndarray]) -> np.ndarray:
        found = [np.asarray(p, np.float32).mean(axis=(0, 1)) / 255 for p in photos]
        return np.stack(found) ** self._exponent


def test_fid_and_kid_are_measured_with_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "FeatureNetwork", MeanColor)
    (grey,) = evaluate(["grey"], data, fid_weights=Path("weights.pt"), progress=False)
    assert grey.values["fid"][0] > 1e-4
    assert grey.values["kid"][0] < grey.values["kid_paired"][0]  # a photo is like its original
    for metric in ("fid", "kid", "kid_paired"):
        value, low, high = grey.values[metric]
        assert low is not None
        assert high is not None
        assert low < value < high
    assert "fid_ct2" not in grey.values
    weights = {"fid_weights": Path("weights.pt"), "fid_ct2_weights": Path("weights.pt")}
    (both,) = evaluate(["grey"], data, **weights, progress=False)
    assert both.values["fid"] == grey.values["fid"]
    assert both.values["fid_ct2"][0] not in (0, grey.values["fid"][0])
    (few,) = evaluate(["grey"], data, limit=2, fid_weights=Path("weights.pt"), progress=False)
    assert few.values["fid"][1:] == (None, None)
    with pytest.raises(DataError, match="2 photos or more"):
        evaluate(["grey"], data, limit=1, fid_weights=Path("weights.pt"), progress=False)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["sepia"], {}, "sepia is not a model"),
        (["grey"], {"split": "half"}, "give train, validation or test"),
        (["grey"], {"limit": 0}, "1 photo or more"),
        (["grey"], {"fid_weights": Path("missing.pt")}, "not a TorchScript network"),
        (["grey"], {"fid_ct2_weights": Path("missing.pt")}, "torchvision's Inception v3"),
        (["grey"], {"lpips_weights": Path("missing.pt")}, "AlexNet"),
    ],
)
def test_invalid_input_is_refused(
    data: Path, models: list[str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(PhotochromError, match=message) as caught:
        evaluate(models, data, progress=False, **options)
    assert "\n" not in str(caught.value)


def test_unusable_data_model_and_folder_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a prepared data set"):
        evaluate(["grey"], tmp_path, progress=False)
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(ModelError):
        evaluate([str(text)], data, progress=False)
    with pytest.raises(DataError, match="cannot make folder"):
        evaluate(["grey"], data, limit=1, out=text / "out", progress=False)


def test_models_without_hints_are_refused_before_any_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a model was measured")

    monkeypatch.setattr(Measurement, "__call__", fail)
    write_model(tmp_path / "hinted.onnx", hints=3, scale=0.0, size="32")
    with pytest.raises(NoHintsError, match="model grey takes no colour hints"):
        evaluate([str(tmp_path / "hinted.onnx"), "grey"], data, hints=2, progress=False)


def test_photos_that_are_too_small_for_ssim_are_refused(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4, size=(60, 8))
    options = {"size": 32, "small": "keep", "keep_aspect": True}
    data = pack(photos, tmp_path / "data", validation=2, **options)
    with pytest.raises(DataError, match="has a photo of 60x8 px, and SSIM needs sides of 11 px"):
        evaluate(["grey"], data, progress=False)


def test_a_photo_that_is_too_small_for_its_statistics_is_refused(tmp_path: Path) -> None:
    settings = {"kind": "encoder_unet", "encoder": "tu-test_efficientnet"}
    settings |= {"encoder_weights": "none", "decoder_channels": [24, 16, 8, 8]}
    recipe = Recipe.from_dict({"generator": settings})
    run = write_run(tmp_path / "run", recipe, build_generator(recipe))
    model = RunModel(run, inference={"batch_statistics": True})
    assert model(np.zeros((1, 1, 64, 64), np.float32)).shape == (1, 2, 64, 64)
    with pytest.raises(ModelError, match=r"run .batch statistics. cannot colorize 32x32 px"):
        model(np.zeros((1, 1, 32, 32), np.float32))


def test_evaluation_table_marks_missing_values() -> None:
    values: dict[str, Estimate] = {"mse": (0.01234, 0.01, 0.02), "fid": (64.27, None, None)}
    values["kid"] = (0.01234, None, None)
    evaluations = [Evaluation("ours", 5, values), Evaluation("grey", 5, {"psnr": (20, 19, 21)})]
    head, rule, row, other = evaluation_table(evaluations).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["ours", "5", "0.0123 [0.0100, 0.0200]", "-", "64.3", "12.34"]
    assert len(head) == len(rule) == len(row) == len(other)
    assert "PSNR (dB) ↑" in head
    assert "SSIM" not in head


def test_old_kid_is_read_as_the_paired_one() -> None:
    old = {"name": "grey", "n": 5, "values": {"kid": [0.006, None, None], "fid": [9, None, None]}}
    assert Evaluation.from_json(old).values == {
        "kid_paired": (0.006, None, None),
        "fid": (9, None, None),
    }
    values: dict[str, Estimate] = {"kid": (-0.004, None, None), "kid_paired": (0.006, None, None)}
    new = Evaluation("grey", 5, values)
    assert Evaluation.from_json(new.to_json()) == new


def test_st_lpips_needs_no_file(data: Path) -> None:
    weights = Path("package")
    (grey,) = evaluate(["grey"], data, limit=1, lpips_weights=weights, progress=False)
    assert "lpips" not in grey.values
    assert 0.05 < grey.values["st_lpips"][0] < 1
    assert metrics.StLpips()(np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 3))) == 0


def test_a_registered_metric_is_in_every_file_and_table(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CONTRIBUTING says: a function and one line in METRICS, for each kind of metric."""
    red = metrics.Metric("Red", "down", "", 3, lambda output, _: float(output[..., 0].mean()))
    shift = metrics.Metric("Shift", "down", "", 3, features=lambda x, y: float((x - y).mean()))
    spread = metrics.Metric(
        "Spread", "up", "dB", 3, scores=("psnr",), statistic=lambda psnr: float(np.ptp(psnr))
    )
    for name, metric in (("red", red), ("shift", shift), ("spread", spread)):
        monkeypatch.setitem(metrics.METRICS, name, metric)
    monkeypatch.setattr(measurement, "FeatureNetwork", MeanColor)
    options = {"fid_weights": Path("weights.pt"), "limit": 4, "progress": False}
    (grey,) = evaluate(["grey"], data, out=tmp_path, **options)
    written = json.loads((tmp_path / "metrics.json").read_text())["evaluations"][0]["values"]
    scores = read_scores(tmp_path)["grey"].values
    assert written["red"][0] == pytest.approx(scores["red"].mean())
    assert written["spread"][0] == pytest.approx(np.ptp(scores["psnr"]))
    assert written["shift"][0] == grey.values["shift"][0] != 0
    for title in ("Red ↓", "Shift ↓", "Spread (dB) ↑"):
        assert title in (tmp_path / "metrics.md").read_text()
    row = next(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert float(row["shift"]) == written["shift"][0]


def test_table_1_has_published_and_measured_values(tmp_path: Path) -> None:
    names = ["0000-custom", "0001-unet-l1"]
    for name in names:
        run = make_run(tmp_path / name, name[5:])
        found = {"mse": (0.0101, 0.01, 0.02), "ssim": (0.9, 0.8, 1.0)}
        content = {"data": "flickr", "evaluations": [Evaluation(name, 5, found).to_json()]}
        (run / "metrics.json").write_text(json.dumps(content))
    paths = [tmp_path / name for name in names]
    table = table1(paths)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    ours = ["1", "5 of flickr", ".0071", "0.0101", ".91", "0.9000"]
    assert rows[0][:8] == ["custom", "0000-custom", *ours]
    assert rows[1][:8] == ["unet-patchgan", "-", "-", "-", ".0123", "-", ".8503", "-"]
    assert rows[2][4:7:2] == [".0089", ".8414"]
    assert rows[3][4:7:2] == [".0085", ".8899"]
    run = ["unet-l1", "0001-unet-l1", "1", "5 of flickr"]
    assert rows[4][:8] == [*run, "-", "0.0101", "-", "0.9000"]
    assert r"custom & 0000-custom & 1 & 5 of flickr & .0071 & 0.0101 &" in table1(paths, "latex")
    (measured, _) = csv.DictReader(table1(paths, "csv").splitlines())
    assert (measured["name"], float(measured["mse"])) == ("0000-custom", 0.0101)


def test_table_1_refuses_runs_that_were_not_evaluated(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(RunError, match="run `photochrom evaluate"):
        table1([run])
    (run / "metrics.json").write_text('{"evaluations": 3}')
    with pytest.raises(RunError, match="damaged"):
        table1([run])
