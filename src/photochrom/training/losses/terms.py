"""The terms of the generator's loss.

A term is a function from a `Sample` to a scalar; its keyword-only parameters are settings. Register
it in `photochrom.training.recipes.kinds.TERMS`. The loss is the sum of the terms times their
weights: with `gan` and `l1`, equation (7) of the report.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.losses.views import Sample

Networks = Annotated[tuple[str, ...], MinLen(1)]
"""Feature networks of `photochrom.training.networks.features`, which the steps use in turn."""


def l1(sample: Sample) -> Tensor:
    """Return the mean absolute error of the generator's values.

    The report's equation (7) writes a sum; without the mean, the usual weight of 100 makes no
    sense.
    """
    return F.l1_loss(sample.values, sample.target)


def gan(sample: Sample) -> Tensor:
    """Return the generator's adversarial loss.

    Raises:
        RecipeError: If there is no discriminator.
    """
    if sample.loss is None or sample.fake_logits is None:
        raise RecipeError("the term gan needs a discriminator; set discriminator.kind")
    return sample.loss.generator(sample.fake_logits)


def perceptual(sample: Sample, *, networks: Networks = ("tu-efficientnet_lite0",)) -> Tensor:
    """Return the distance of features of unit length, the mean over scales.

    Args:
        sample: The views of the discriminator are compared.
        networks: The feature networks.

    Reference:
        Johnson et al. 2016, eq. (2), with L1; unit length as in Zhang et al. 2018 (LPIPS).
    """
    return feature_distance(sample.fake.features(networks), sample.real.features(networks))


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mean over scales of the mean absolute difference of features of unit length.

    Args:
        fake: Features (B, C, h, w) of each scale.
        real: Features of the real photos; they get no gradients.
    """
    distances = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1)).abs().sum(1).mean()
        for a, b in zip(fake, real, strict=True)
    ]
    return torch.stack(distances).mean()
