"""ST-LPIPS against the implementation in its package, and as a loss."""

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from photochrom.training.networks.features import SHIFT_TOLERANT
from photochrom.training.networks.lpips_network import ShiftTolerantLPIPS

THEIRS = {"stlpips-alexnet": "alex", "stlpips-vgg16": "vgg"}


def random_photos(*size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.filterwarnings("ignore")  # of the package, which is old
@pytest.mark.parametrize("name", SHIFT_TOLERANT)
def test_distances_are_those_of_the_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, attribute in (("IPython", "embed"), ("torchsummary", "summary")):
        unused = ModuleType(module)  # the package imports them, and calls neither
        setattr(unused, attribute, None)
        monkeypatch.setitem(sys.modules, module, unused)
    from stlpips_pytorch.stlpips import LPIPS

    theirs = LPIPS(net=THEIRS[name], variant="shift_tolerant", verbose=False)
    fake, real = random_photos(2, 2, 3, 72, 64)
    with torch.no_grad():
        expected = theirs(fake, real).flatten()
    distance = ShiftTolerantLPIPS(name)(fake, real)
    assert distance.shape == (2,)
    assert torch.allclose(distance, expected, atol=1e-6)
    assert distance.min() > 0.01


def test_a_photo_has_distance_zero_to_itself_and_a_near_one_a_small_one() -> None:
    distance = ShiftTolerantLPIPS()
    photo = random_photos(1, 3, 64, 64)
    assert distance(photo, photo).item() == 0
    near, far = photo + 0.01, photo.flip(1)
    assert distance(near, photo) < 0.1 * distance(far, photo)


def test_only_the_fake_photo_gets_gradients() -> None:
    distance = ShiftTolerantLPIPS().train()
    assert not distance.training
    assert not any(p.requires_grad for p in distance.parameters())
    fake = random_photos(1, 3, 64, 64).requires_grad_()
    real = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(fake, real).mean().backward()
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.isfinite().all()
    assert fake.grad.any()
    # black photos have features of length 0
    black = torch.full((1, 3, 64, 64), -1.0, requires_grad=True)
    distance(black, fake.detach()).mean().backward()
    assert black.grad is not None
    assert black.grad.isfinite().all()


def test_a_step_against_the_gradient_comes_nearer() -> None:
    distance = ShiftTolerantLPIPS()
    real = random_photos(1, 3, 64, 64)
    fake = (0.5 * real).requires_grad_()
    before = distance(fake, real).mean()
    (gradient,) = torch.autograd.grad(before, fake)
    assert distance(fake - 0.01 * gradient / gradient.abs().max(), real).mean() < before
