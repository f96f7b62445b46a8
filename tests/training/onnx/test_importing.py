from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.errors import ModelError
from photochrom.training.onnx.export import export
from photochrom.training.onnx.importing import load_onnx_weights
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.runs import build_generator, without_pretrained_weights
from support.models import write_run

SMALL = Recipe.from_dict(
    {
        "generator": {
            "kind": "encoder_unet",
            "encoder": "tu-test_efficientnet",
            "encoder_weights": "none",
            "decoder_channels": [24, 16, 8, 8],
        }
    }
)


@pytest.fixture(scope="module")
def L() -> Tensor:
    return torch.rand(4, 1, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def trained(L: Tensor) -> nn.Module:
    """Return a generator whose norms have random parameters and the statistics of photos."""
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


def test_imported_generator_equals_the_file_at_inference(
    file: Path, trained: nn.Module, L: Tensor
) -> None:
    generator = build_generator(SMALL)
    load_onnx_weights(generator, file, L)
    assert generator.training  # unchanged
    other = L[:2, :, :64, :80].flip(2)  # other photos than those of the norms' statistics
    with torch.no_grad():
        output, expected = generator.eval()(other), trained(other)
    assert expected.std() > 0.01
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)


def test_imported_generator_is_the_same_in_training_mode_on_the_given_photos(
    file: Path, trained: nn.Module, L: Tensor
) -> None:
    generator = build_generator(SMALL)
    load_onnx_weights(generator, file, L)
    with torch.no_grad():
        in_eval = generator.eval()(L)
        in_training = generator.train()(L)
    torch.testing.assert_close(in_training, in_eval, rtol=1e-3, atol=1e-3)


def test_default_model_can_be_imported(L: Tensor) -> None:
    model = OnnxModel(default_model_path())
    recipe = Recipe.from_json(model.metadata["recipe"])
    generator = build_generator(without_pretrained_weights(recipe))
    load_onnx_weights(generator, default_model_path(), L)
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
        (
            lambda: build_generator(
                override(SMALL, {"generator.decoder_channels": (24, 16, 8, 4)})
            ),
            "are not those",
        ),
        (lambda: build_generator(named_recipe("tiny")), "are not those of the recipe's generator"),
        (with_another_layer, "has layers other than convolutions and batch norms after them"),
    ],
)
def test_files_of_other_generators_are_rejected_without_changes(
    file: Path, build: Callable[[], nn.Module], reason: str, L: Tensor
) -> None:
    generator = build()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    with pytest.raises(ModelError, match=reason):
        load_onnx_weights(generator, file, L)
    for key, value in generator.state_dict().items():
        assert torch.equal(value, before[key])


def test_invalid_onnx_files_are_rejected(tmp_path: Path, L: Tensor) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"no\.onnx is not a readable ONNX file"):
        load_onnx_weights(build_generator(SMALL), tmp_path / "no.onnx", L)
