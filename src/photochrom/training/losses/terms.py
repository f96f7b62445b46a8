"""The terms of the generator's loss.

A term is a function from a `Sample` to a scalar; its keyword-only parameters are settings. Register
it in `photochrom.training.recipes.kinds.TERMS`. The loss is the sum of the terms times their
weights: with `gan` and `l1`, equation (7) of the report.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.losses.color import colorfulness_loss, focal_frequency_loss
from photochrom.training.losses.views import Sample
from photochrom.training.networks.color_classes import class_loss, rebalancing_weights
from photochrom.training.networks.features import FeatureNetworks
from photochrom.training.networks.lpips_network import ShiftTolerantLPIPS
from photochrom.training.networks.outputs import ClassesOutput
from photochrom.training.recipes.registry import NonNegative, PositiveFraction


def l1(sample: Sample) -> Tensor:
    """Return the mean absolute error of the generator's values.

    Equation (7) of the report writes a sum, but its weight of 100 is usual for the mean.
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


def classes(sample: Sample, *, uniform: PositiveFraction = 0.5) -> Tensor:
    """Return the rebalanced cross-entropy of the output `classes`.

    Args:
        sample: With the prior of the training photos.
        uniform: Share of the uniform distribution in the prior, lambda; 1 weighs all classes
            equally.

    Raises:
        RecipeError: If the output is another one.

    Reference:
        Zhang, Isola and Efros 2016, equations (2) to (4), with lambda = 1/2.
    """
    if not isinstance(sample.output, ClassesOutput):
        raise RecipeError("the term classes needs classes of ab; set output.kind=classes")
    weights = _class_weights(sample.prior(), uniform, sample.ab.device)
    return class_loss(sample.prediction, sample.ab, weights)


@lru_cache(maxsize=1)
def _class_weights(prior: Tensor, uniform: float, device: torch.device) -> Tensor:
    """Return `rebalancing_weights`; cached, as all steps have the same prior."""
    return rebalancing_weights(prior, uniform).to(device)


def perceptual(sample: Sample, *, networks: FeatureNetworks = ("tu-efficientnet_lite0",)) -> Tensor:
    """Return the distance of generated and real photos in features of a network.

    Args:
        sample: Its crops for the discriminator are compared, by `feature_distance`.
        networks: The feature networks.

    Reference:
        Johnson et al. 2016, eq. (2), with L1; unit length as in Zhang et al. 2018 (LPIPS).
    """
    return feature_distance(sample.fake.features(networks), sample.real.features(networks))


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance of feature vectors of unit length.

    It is summed over channels, and averaged over positions, photos and scales.

    Args:
        fake: Features (B, C, h, w) of each scale.
        real: Features of the real photos; they get no gradients.
    """
    distances = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1)).abs().sum(1).mean()
        for a, b in zip(fake, real, strict=True)
    ]
    return torch.stack(distances).mean()


def st_lpips(
    sample: Sample, *, network: Literal["stlpips-alexnet", "stlpips-vgg16"] = "stlpips-alexnet"
) -> Tensor:
    """Return the mean ST-LPIPS, a perceptual distance fitted to human judgements.

    Reference:
        Ghildyal and Liu 2022; see `ShiftTolerantLPIPS`.
    """
    with sample.fake.autocast():
        distance: Tensor = _lpips_network(network, sample.L.device)(
            sample.fake.rgb, sample.real.rgb
        )
    return distance.float().mean()


@cache
def _lpips_network(name: str, device: torch.device) -> ShiftTolerantLPIPS:
    return ShiftTolerantLPIPS(name).to(device)


def colorfulness(sample: Sample) -> Tensor:
    """Return the colourfulness loss of DDColor: `colorfulness_loss`."""
    return colorfulness_loss(0.5 * (sample.fake.rgb + 1.0))


def focal_frequency(sample: Sample, *, alpha: NonNegative = 1.0) -> Tensor:
    """Return the focal frequency loss of the photos: `focal_frequency_loss`."""
    fake, real = (0.5 * (view.rgb + 1.0) for view in (sample.fake, sample.real))
    return focal_frequency_loss(fake, real, alpha)
