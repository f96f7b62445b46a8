import math

import numpy as np
import pytest
import torch
from torch import Tensor

from photochrom.training.evaluation.metrics import colorfulness
from photochrom.training.losses.color import colorfulness_loss, focal_frequency_loss


def random_photos(seed: int, *size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def test_colorfulness_loss_by_hand() -> None:
    """Half red (255, 0, 0), half green (0, 255, 0).

    rg is 255 and -255: mean 0, deviation 255. yb is 127.5: deviation 0.
    """
    photo = torch.zeros(1, 3, 2, 2)
    photo[0, 0, 0], photo[0, 1, 1] = 1, 1
    expected = 1 - (255 + 0.3 * 127.5) / 100
    assert colorfulness_loss(photo).item() == pytest.approx(expected, rel=1e-6)


def test_colorfulness_loss_is_the_mean_over_photos() -> None:
    photos = random_photos(0, 3, 3, 20, 30)
    photos[1] *= 0.2
    values = [colorfulness(photo.permute(1, 2, 0).numpy()) for photo in photos]
    expected = 1 - np.mean(values) / 100
    assert colorfulness_loss(photos).item() == pytest.approx(expected, rel=1e-5)


def test_colorfulness_loss_of_grey_is_one_and_has_finite_gradients() -> None:
    grey = random_photos(0, 2, 1, 8, 8).expand(-1, 3, -1, -1).clone().requires_grad_()
    loss = colorfulness_loss(grey)
    assert loss.item() == pytest.approx(1, abs=1e-4)
    loss.backward()
    assert grey.grad is not None
    assert grey.grad.isfinite().all()


def test_a_step_against_the_gradient_makes_photos_more_colourful() -> None:
    photos = (0.5 + 0.1 * random_photos(0, 2, 3, 8, 8)).requires_grad_()
    before = colorfulness_loss(photos)
    (gradient,) = torch.autograd.grad(before, photos)
    assert colorfulness_loss(photos - 0.1 * gradient) < before


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_focal_frequency_loss_by_hand(alpha: float) -> None:
    """The difference (a + b, a - b) in both rows has the frequencies 2a and 2b.

    Weights are 1 and (b/a)^alpha; divided by four frequencies: a^2 + b^2 (b/a)^alpha.
    """
    a, b = 0.3, 0.1
    real = torch.zeros(1, 1, 2, 2)
    fake = torch.tensor([[a + b, a - b], [a + b, a - b]])[None, None]
    expected = a**2 + b**2 * (b / a) ** alpha
    assert focal_frequency_loss(fake, real, alpha).item() == pytest.approx(expected, rel=1e-5)


def test_focal_frequency_loss_without_weights_is_the_squared_error() -> None:
    fake, real = random_photos(0, 2, 3, 8, 12), random_photos(1, 2, 3, 8, 12)
    loss = focal_frequency_loss(fake, real, alpha=0.0)
    assert loss.item() == pytest.approx((fake - real).square().mean().item(), rel=1e-5)


def test_focal_frequency_loss_by_numpy() -> None:
    fake, real = random_photos(0, 2, 3, 7, 10), random_photos(1, 2, 3, 7, 10)
    losses = []
    for x, y in zip(fake.flatten(0, 1).numpy(), real.flatten(0, 1).numpy(), strict=True):
        distance = np.abs(np.fft.fft2(x - y)) / np.sqrt(x.size)
        losses.append((distance / distance.max() * distance**2).mean())
    assert focal_frequency_loss(fake, real).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_weights_of_frequencies_are_per_photo_and_channel_and_constant() -> None:
    """So the loss is quadratic: a difference twice as large costs four times as much.

    Its gradient is 2 w F, of which the loss is half the product with the difference.
    """
    real, noise = random_photos(0, 2, 3, 8, 8), random_photos(1, 2, 3, 8, 8)
    fake = (real + 0.1 * noise).requires_grad_()
    loss = focal_frequency_loss(fake, real)
    scaled = focal_frequency_loss(real + 0.2 * noise, real)
    assert scaled.item() == pytest.approx(4 * loss.item(), rel=1e-4)
    alone = [
        focal_frequency_loss(fake[i : i + 1, j : j + 1], real[i : i + 1, j : j + 1])
        for i in range(2)
        for j in range(3)
    ]
    assert loss.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, fake)
    product = (gradient * (fake - real)).sum().item()
    assert product == pytest.approx(2 * loss.item(), rel=1e-4)


def test_focal_frequency_loss_of_equal_photos_is_zero_with_finite_gradients() -> None:
    photo = random_photos(0, 1, 3, 8, 8)
    fake = photo.clone().requires_grad_()
    loss = focal_frequency_loss(fake, photo)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, fake)
    assert not gradient.any()
    assert not math.isnan(focal_frequency_loss(fake, photo, alpha=0.0).item())
