"""Further terms of the discriminator's loss.

A regularizer is a function from a `DiscriminatorSample` to a scalar; its keyword-only parameters
are settings. Register it in `photochrom.training.recipes.kinds.REGULARIZERS`.
"""

import torch
from torch import Tensor

from photochrom.training.collectives import draw_local
from photochrom.training.losses.views import DiscriminatorSample
from photochrom.training.recipes.registry import Count


def r1(sample: DiscriminatorSample, *, interval: Count = 1) -> Tensor:
    """Return half the mean squared norm of the gradient on real photos.

    The weight in the recipe is half the paper's gamma, as the losses of real and fake photos are
    averaged (`Objective.discriminator_loss`), not added.

    Args:
        sample: The photos.
        interval: The term is computed in one of `interval` steps and multiplied by `interval`; in
            the others it is 0 (Karras et al. 2020, lazy regularization). Which one it is moves on
            by one each time, so that all networks that steps use in turn are regularized.

    Reference:
        Mescheder et al. 2018, equation (9).
    """
    cycle, position = divmod(sample.real.step, interval)
    if position != cycle % interval:
        return torch.zeros((), device=sample.real.photo.device)
    gradient = sample.gradient(sample.real.photo)
    return 0.5 * interval * gradient.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(sample: DiscriminatorSample) -> Tensor:
    """Return the mean of (norm of the gradient - 1)^2 over random mixtures of real and fake photos.

    The weight in the recipe is half the paper's lambda, as for `r1`: 5 for the paper's 10.

    Reference:
        Gulrajani et al. 2017 (WGAN-GP), equation (3).
    """
    real, fake = sample.real.photo, sample.fake.photo
    share = draw_local(lambda n: torch.rand(n, 1, 1, 1), len(real)).to(real.device)
    gradient = sample.gradient(share * real + (1.0 - share) * fake)
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2, 3))
    return (norm - 1.0).square().mean()
