"""What the networks are trained to minimise."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from photochrom.training.recipes.recipe import GanMode


def gan_loss(logits: Tensor, real: bool, mode: GanMode = "bce", label_real: float = 1.0) -> Tensor:
    """Return the discriminator's loss on logits of photos that are all real or all generated.

    Args:
        logits: Any shape; every element is one verdict, and the result is their mean.
        real: Whether the photos are real.
        mode: `bce`: -log sigmoid(x) for real, -log(1 - sigmoid(x)) for generated (Goodfellow et
            al. 2014, equation (8) of the report with its sign turned). `lsgan`: (x - 1)^2 and x^2
            (Mao et al. 2017, eq. (9) without the factor 1/2). `hinge`: max(0, 1 - x) and
            max(0, 1 + x) (Lim and Ye 2017).
        label_real: The target of `bce` and `lsgan` for real photos; 0.9 is one-sided label
            smoothing (Salimans et al. 2016). It means nothing to `hinge`.

    Returns:
        A scalar.
    """
    if mode == "hinge":
        return F.relu(1.0 - logits if real else 1.0 + logits).mean()
    target = torch.full_like(logits, label_real if real else 0.0)
    if mode == "lsgan":
        return F.mse_loss(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target)


def generator_gan_loss(logits: Tensor, mode: GanMode = "bce") -> Tensor:
    """Return the generator's adversarial loss on the logits of what it made.

    Args:
        logits: Any shape; every element is one verdict, and the result is their mean.
        mode: `bce`: -log sigmoid(x), the non-saturating form, equation (7) of the report. `lsgan`:
            (x - 1)^2. `hinge`: -x.

    Returns:
        A scalar.
    """
    if mode == "hinge":
        return -logits.mean()
    return gan_loss(logits, real=True, mode=mode)


def perceptual_loss(made: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Return how far the features of two photos are apart.

    The mean over the scales of the mean absolute difference of features that have unit length at
    every place.

    Args:
        made: Features (B, C, h, w) of each scale, as of
            `photochrom.training.networks.encoders.FeatureNetworks`.
        truth: Of the true photo; gradients do not reach them.

    Returns:
        A scalar.

    Reference:
        Johnson et al. 2016, eq. (2), with L1; unit length as in Zhang et al. 2018 (LPIPS).
    """
    distances = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1)).abs().sum(1).mean()
        for a, b in zip(made, truth, strict=True)
    ]
    return torch.stack(distances).mean()
