"""From an exported file back to a generator: it does in torch what the file does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.errors import ModelError
from photochrom.training.networks.generators import build_generator
from photochrom.training.onnx.export import export
from photochrom.training.onnx.importing import load_exported
from photochrom.training.recipes.named import RECIPES
from photochrom.training.recipes.recipe import Recipe
from support.models import write_run

SMALL = Recipe(
    generator="encoder_unet", encoder="tu-efficientnet_lite0", decoder_channels=(24, 16, 8, 8)
)


@pytest.fixture(scope="module")
def L() -> Tensor:
    return torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def trained(L: Tensor) -> nn.Module:
    """A generator whose norms have seen photos, so that they do something."""
    torch.manual_seed(0)
    generator = build_generator(SMALL).train()
    for parameter in generator.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    with torch.no_grad():
        for _ in range(30):
            generator(L)
    return generator.eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, trained: nn.Module) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "small", SMALL, trained)
    return export(run, run / "small.onnx", half=False, saturation=1.5)


def test_in_use_it_is_the_exported_generator(file: Path, trained: nn.Module, L: Tensor) -> None:
    generator = build_generator(SMALL)
    load_exported(generator, file, L)
    assert generator.training  # as it was
    other = L[:2, :, :64, :80].flip(2)  # not what the norms were fitted to
    with torch.no_grad():
        found, expected = generator.eval()(other), trained(other)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_in_training_it_is_the_trained_one_on_the_photos_given(
    file: Path, trained: nn.Module, L: Tensor
) -> None:
    generator = build_generator(SMALL)
    load_exported(generator, file, L)
    with torch.no_grad():
        in_use = generator.eval()(L)
        in_training = generator.train()(L)
    torch.testing.assert_close(in_training, in_use, rtol=1e-3, atol=1e-3)


def test_the_default_model_can_be_trained_further(L: Tensor) -> None:
    model = OnnxModel(default_model_path())
    recipe = Recipe.from_json(model.metadata["recipe"])
    generator = build_generator(replace(recipe, encoder_weights="none"))
    load_exported(generator, default_model_path(), L)
    with torch.no_grad():
        ab = generator.eval()(L) * 110 * float(model.metadata["saturation"])
    np.testing.assert_allclose(ab.numpy(), model(((L + 1) * 50).numpy()), rtol=1e-3, atol=0.01)


def with_another_layer() -> nn.Module:
    generator = build_generator(SMALL)
    generator.last = nn.Sequential(generator.last, nn.PReLU())
    return generator


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: build_generator(replace(SMALL, decoder_channels=(24, 16, 8, 4))), "are not those"),
        (lambda: build_generator(RECIPES["tiny"]), "are not those of the recipe's generator"),
        (with_another_layer, "has layers other than convolutions and the batch norms behind them"),
    ],
)
def test_a_file_of_another_generator_is_refused_and_nothing_changes(
    file: Path, build: Callable[[], nn.Module], reason: str, L: Tensor
) -> None:
    generator = build()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    with pytest.raises(ModelError, match=reason):
        load_exported(generator, file, L)
    for key, value in generator.state_dict().items():
        assert torch.equal(value, before[key])


def test_what_is_no_onnx_file_is_refused(tmp_path: Path, L: Tensor) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"no\.onnx is no ONNX file that can be read"):
        load_exported(build_generator(SMALL), tmp_path / "no.onnx", L)
