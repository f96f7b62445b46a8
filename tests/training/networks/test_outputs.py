"""The contract of outputs, for every entry of the registry."""

import pytest
import torch
from torch import Tensor

from photochrom.color import AB_SCALE
from photochrom.training.networks.color_classes import BINS, soft_encode
from photochrom.training.networks.outputs import ClassesOutput, Output
from photochrom.training.recipes.kinds import OUTPUTS
from photochrom.training.tensors import to_L_ab

NAMES = pytest.mark.parametrize("name", OUTPUTS.names)


def make(name: str) -> Output:
    output: Output = OUTPUTS.parse({"kind": name}).build()
    return output


def photos() -> tuple[Tensor, Tensor, Tensor]:
    """Return sRGB (2, 3, 16, 24) in [-1, 1] of smooth photos, L and ab."""
    coarse = torch.rand(2, 3, 2, 3, generator=torch.Generator().manual_seed(0)) * 255
    rgb = torch.nn.functional.interpolate(coarse, (16, 24), mode="bilinear").round()
    L, ab = to_L_ab(rgb.permute(0, 2, 3, 1).to(torch.uint8))
    return rgb / 127.5 - 1.0, L, ab


@NAMES
def test_target_holds_the_photo(name: str) -> None:
    output = make(name)
    rgb, L, ab = photos()
    target = output.target(L, ab)
    assert torch.allclose(output.ab(target), ab, atol=2e-3)
    photo = output.photo(target, L)
    assert photo.shape == (2, 3, 16, 24)
    assert torch.allclose(output.rgb(photo), rgb, atol=2e-2)


@NAMES
def test_values_have_the_shape_of_the_target_and_gradients(name: str) -> None:
    output = make(name)
    _, L, ab = photos()
    prediction = torch.zeros(2, output.channels, 16, 24, requires_grad=True)
    values = output.values(prediction, L)
    assert values.shape == output.target(L, ab).shape
    (values - 0.3).square().mean().backward()
    assert prediction.grad is not None
    assert prediction.grad.any()


def test_classes_are_decoded_to_the_colours_that_they_encode() -> None:
    _, L, ab = photos()
    indices, weights = soft_encode(ab)
    logits = torch.full((2, BINS, 16, 24), -100.0).scatter(1, indices, weights.log())
    decoded = ClassesOutput(temperature=1.0).values(logits, L)
    assert (decoded - ab).abs().max() * AB_SCALE < 8
    smaller = ClassesOutput().values(logits[..., ::4, ::4], L)
    assert smaller.shape == ab.shape
