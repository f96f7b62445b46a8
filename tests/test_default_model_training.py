"""All training stages of the default model, with tiny networks and data."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from photochrom.colorize.onnx_model import OnnxModel
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.onnx.export import export
from photochrom.training.runs import read_log, read_recipe
from support.data import pack
from support.photos import write_photos

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from train_default_model import STAGES, train_stages

TINY_SETTINGS = {
    "data.image_size": "32",
    "data.min_side": "24",
    "data.batch_size": "4",
    "generator.decoder_channels": "16,8,8,8",
    "schedule.epochs": "1",
    "inference.size": "32",
}


@pytest.mark.slow
def test_all_stages_from_photos_to_an_exported_model_with_hints(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 14, size=(48, 40))
    write_photos(tmp_path / "photos/small", 4, size=(24, 24))
    options = {"size": 32, "keep_aspect": True, "small": "keep"}
    data = pack(tmp_path / "photos", tmp_path / "data", validation=3, **options)
    runs = train_stages(tmp_path, TINY_SETTINGS, progress=False)
    assert [run.name[5:] for run in runs] == list(STAGES)
    lines = [read_log(run)[-1] for run in runs]
    assert [line["phase"] for line in lines] == ["g", "g", "gan", "gan", "gan"]
    for run, line in zip(runs, lines, strict=True):
        assert {f"g_{term}" for term in read_recipe(run).objective} <= line.keys()
    weights = [run / "generator.safetensors" for run in runs]
    before = [file.stat().st_mtime_ns for file in weights]
    assert train_stages(tmp_path, TINY_SETTINGS, progress=False) == runs  # complete: no training
    assert [file.stat().st_mtime_ns for file in weights] == before

    path = export(runs[-1], tmp_path / "model.onnx")
    model = OnnxModel(path)
    assert model.takes_hints
    assert model.metadata["hints"] == "a*, b*, mask"
    assert json.loads(model.metadata["recipe"])["data"]["hints"] == 0.5
    L = np.full((1, 1, 32, 32), 60, np.float32)
    hints = np.zeros((1, 3, 32, 32), np.float32)
    hints[0, :, 8:16, 8:16] = np.array([50, 30, 1], np.float32)[:, None, None]
    assert np.abs(model(L, hints) - model(L)).max() > 1e-3
    with_hints, without_hints = (
        evaluate([str(path)], data, hints=n, progress=False)[0] for n in (9, 0)
    )
    assert with_hints.values["psnr"] != without_hints.values["psnr"]
