"""Validation after an epoch, and its warnings."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.loop.monitor import list_warnings, monitor
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override
from photochrom.training.runs import build_generator, new_run, save_generator
from support.data import pack
from support.photos import write_photos


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.19, "nearly grey: 19%"), (0.2, None), (1.5, None), (2.34, "oversaturated: 234%")],
)
def test_grey_and_oversaturated_output_have_a_warning(ratio: float, expected: str | None) -> None:
    warnings = list_warnings({"colorfulness_ratio": ratio})
    assert len(warnings) == (expected is not None)
    assert all(str(expected) in warning for warning in warnings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tiny", {}),
        ("tiny", {"inference.batch_statistics": True}),
        ("nazeri-code", {"data.image_size": 32, "generator.base_channels": 4}),
    ],
)
def test_the_log_has_the_psnr_of_evaluate(
    name: str, settings: dict[str, object], tmp_path: Path
) -> None:
    """Batch norms that depend on the photos get one at a time, as in `evaluate`."""
    write_photos(tmp_path / "photos", 16)
    data = pack(tmp_path / "photos", tmp_path / "data", size=32, validation=5)
    recipe = override(named_recipe(name), {"data.image_size": 32, "quoted": (), **settings})
    torch.manual_seed(0)
    generator = build_generator(recipe)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    run = new_run(tmp_path / "runs", "run", recipe, {})
    save_generator(run, generator)
    line: dict[str, Any] = {"epoch": 1, "step": 1}
    with SummaryWriter(str(tmp_path / "tensorboard")) as writer:
        monitor(generator, PackedPhotos(data, "validation"), recipe, run, line, writer)
    (measured,) = evaluate([str(run)], data, progress=False)
    assert line["psnr"] == pytest.approx(measured.values["psnr"][0], abs=0.5)
    after = generator.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
