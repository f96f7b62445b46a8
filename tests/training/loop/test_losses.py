import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from torch import Tensor

from photochrom.training.loop.losses import gan_loss, generator_gan_loss, perceptual_loss
from photochrom.training.networks.encoders import FeatureNetworks
from photochrom.training.recipes.recipe import GanMode

LOG_2 = math.log(2)


@pytest.mark.parametrize(
    ("mode", "real", "label_real", "logits", "loss"),
    [
        # -log sigmoid(0) = log 2; sigmoid(log 3) = 3/4
        ("bce", True, 1.0, [0.0], LOG_2),
        ("bce", False, 1.0, [0.0], LOG_2),
        ("bce", True, 1.0, [math.log(3)], math.log(4 / 3)),
        ("bce", False, 1.0, [math.log(3)], math.log(4)),
        ("bce", True, 1.0, [0.0, math.log(3)], (LOG_2 + math.log(4 / 3)) / 2),
        # label smoothing changes the loss of real photos only
        ("bce", True, 0.9, [math.log(3)], 0.9 * math.log(4 / 3) + 0.1 * math.log(4)),
        ("bce", False, 0.9, [math.log(3)], math.log(4)),
        ("lsgan", True, 1.0, [1.0, 3.0], 2.0),
        ("lsgan", False, 1.0, [1.0, 3.0], 5.0),
        ("lsgan", True, 0.9, [0.9, 1.9], 0.5),
        ("lsgan", False, 0.9, [0.0], 0.0),
        ("hinge", True, 1.0, [2.0, 1.0, 0.0, -3.0], 1.25),
        ("hinge", False, 1.0, [2.0, 1.0, 0.0, -3.0], 1.5),
        ("hinge", True, 0.9, [0.0], 1.0),
    ],
)
def test_gan_loss(
    mode: GanMode, real: bool, label_real: float, logits: list[float], loss: float
) -> None:
    assert gan_loss(torch.tensor(logits), real, mode, label_real).item() == pytest.approx(loss)


@pytest.mark.parametrize(
    ("mode", "logits", "loss"),
    [
        ("bce", [0.0, math.log(3)], (LOG_2 + math.log(4 / 3)) / 2),
        ("lsgan", [1.0, 3.0], 2.0),
        ("hinge", [1.0, -4.0], 1.5),
    ],
)
def test_generator_gan_loss(mode: GanMode, logits: list[float], loss: float) -> None:
    assert generator_gan_loss(torch.tensor(logits), mode).item() == pytest.approx(loss)


@pytest.mark.parametrize("mode", ["bce", "lsgan", "hinge"])
def test_gan_loss_is_the_mean_over_logits_of_any_shape(mode: GanMode) -> None:
    logits = torch.linspace(-2, 2, 24)
    for shape in [(24, 1), (2, 1, 3, 4)]:
        loss = gan_loss(logits.reshape(shape), True, mode)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(gan_loss(logits, True, mode).item())


@pytest.mark.parametrize("mode", ["bce", "lsgan", "hinge"])
def test_losses_are_monotonic_in_the_logit(mode: GanMode) -> None:
    low, high = torch.tensor([0.1]), torch.tensor([0.7])
    assert gan_loss(high, True, mode) < gan_loss(low, True, mode)
    assert gan_loss(low, False, mode) < gan_loss(high, False, mode)
    assert generator_gan_loss(high, mode) < generator_gan_loss(low, mode)


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-20, 20), min_size=1, max_size=6),
    target=st.sampled_from([0.0, 0.8, 0.9, 1.0]),
)
def test_bce_equals_its_formula(logits: list[float], target: float) -> None:
    x = np.array(logits)
    probability = 1 / (1 + np.exp(-x))
    formula = -(target * np.log(probability) + (1 - target) * np.log1p(-probability)).mean()
    loss = gan_loss(torch.tensor(x), target > 0, "bce", target)
    assert loss.item() == pytest.approx(formula, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_bce_is_finite_for_large_logits(logit: float) -> None:
    x = torch.tensor([logit], requires_grad=True)
    loss = gan_loss(x, True) + gan_loss(x, False)
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_perceptual_loss_grows_with_the_difference() -> None:
    encoder = FeatureNetworks(["tu-efficientnet_lite0"])

    def distance(fake: Tensor, real: Tensor) -> float:
        return perceptual_loss(encoder(fake), encoder(real)).item()

    photo = torch.from_numpy(data.astronaut()[::4, ::4].copy()).permute(2, 0, 1)[None].float()
    photo = photo / 127.5 - 1.0
    grey = photo.mean(1, keepdim=True).expand_as(photo)
    assert distance(photo, photo) == 0.0
    other = photo.roll(32, dims=3)
    slightly = photo + 0.02 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < distance(slightly, photo) < distance(grey, photo) < distance(other, photo)


def test_perceptual_loss_has_gradients_only_for_the_fake_photo() -> None:
    encoder = FeatureNetworks(["tu-efficientnet_lite0"]).train()
    fake = torch.zeros(1, 3, 32, 32, requires_grad=True)
    real = torch.ones(1, 3, 32, 32, requires_grad=True)
    perceptual_loss(encoder(fake), encoder(real)).backward()
    assert fake.grad is not None
    assert fake.grad.any()
    assert real.grad is None
    assert all(p.grad is None for p in encoder.parameters())
    assert not any(module.training for module in encoder.modules())
