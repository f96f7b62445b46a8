from pathlib import Path

import pytest
import torch

from photochrom.errors import RecipeError
from photochrom.training.networks import features as module
from photochrom.training.networks.features import (
    SHIFT_TOLERANT,
    extract_features,
    stage_channels,
)
from photochrom.training.networks.shift_tolerant import BlurPool, ShiftTolerantNetwork

NAMES = ["tu-efficientnet_lite0", "tu-efficientnet_lite2", *SHIFT_TOLERANT]


@pytest.mark.parametrize("name", NAMES)
def test_features_depend_on_the_photo(name: str) -> None:
    rgb = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rgb.requires_grad_()
    features = extract_features(name, rgb)
    assert [x.shape[1] for x in features] == stage_channels(name)
    sides = [x.shape[2] for x in features]
    assert sides == sorted(sides, reverse=True)
    assert 14 <= sides[0] <= 18
    sum(x.mean() for x in features).backward()
    assert rgb.grad is not None
    assert rgb.grad.abs().max() > 0
    network = module._feature_network(name, rgb.device)
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(layer.training for layer in network.modules())
    swapped = extract_features(name, rgb.detach().flip(1))
    assert all(not torch.allclose(a, b) for a, b in zip(features, swapped, strict=True))


def test_blur_pool_keeps_constants_and_halves_the_size() -> None:
    blurred = BlurPool()(torch.full((1, 2, 12, 16), 3.0))
    assert blurred.shape == (1, 2, 7, 9)
    assert torch.allclose(blurred, torch.tensor(3.0))


def test_invalid_or_missing_weights_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="its tensors have other shapes"):
        ShiftTolerantNetwork("vgg16").load_packaged({"net.weight": torch.zeros(3)})
    (tmp_path / "weights.pth").write_text("none")
    monkeypatch.setattr(module, "find_in_package", lambda package, file: tmp_path / "weights.pth")
    with pytest.raises(RecipeError, match="holds no weights of stlpips-vgg16"):
        module._feature_network.__wrapped__("stlpips-vgg16", torch.device("cpu"))
    monkeypatch.undo()
    monkeypatch.setattr(module, "_SHIFT_TOLERANT_PACKAGE", "no_such_package")
    with pytest.raises(RecipeError, match="package no_such_package is not installed; run `pip"):
        module._feature_network.__wrapped__("stlpips-vgg16", torch.device("cpu"))
