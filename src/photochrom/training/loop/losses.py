"""The losses of discriminator and generator, with the keys that they have in log.jsonl."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from photochrom.training.recipes.recipe import GanMode

Losses = dict[str, Tensor]


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, mode: GanMode, label_real: float = 1.0
) -> tuple[Tensor, Losses]:
    """Return the discriminator's loss, (d_real + d_fake) / 2, and its two terms, detached.

    Equation (8) of the report, negated.
    """
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    return 0.5 * (d_real + d_fake), {"d_real": d_real.detach(), "d_fake": d_fake.detach()}


def generator_loss(
    fake_logits: Tensor,
    output: Tensor,
    real: Tensor,
    mode: GanMode,
    features: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
) -> Losses:
    """Return the unweighted terms of the generator's loss: equation (7) of the report.

    The equation is g_gan + lambda_l1 * g_l1. It writes L1 as a sum; here it is the mean over all
    elements, without which the usual lambda of 100 makes no sense.

    Args:
        fake_logits: The discriminator's logits of the fake photos.
        output: The generator's output.
        real: The true value of `output`, as returned by `photochrom.training.tensors.target`.
        mode: As for `gan_loss`.
        features: Features of the fake and of the real photos, for `perceptual_loss`.

    Returns:
        `g_gan`, `g_l1` and, with `features`, `g_perceptual`.
    """
    losses = {"g_gan": generator_gan_loss(fake_logits, mode), "g_l1": F.l1_loss(output, real)}
    if features is not None:
        losses["g_perceptual"] = perceptual_loss(*features)
    return losses


def gan_loss(logits: Tensor, real: bool, mode: GanMode = "bce", label_real: float = 1.0) -> Tensor:
    """Return the discriminator's mean loss on logits of photos that are all real or all fake.

    Args:
        logits: Any shape.
        real: Whether the photos are real.
        mode: `bce`: -log sigmoid(x) for real, -log(1 - sigmoid(x)) for fake (Goodfellow et al.
            2014). `lsgan`: (x - 1)^2 and x^2 (Mao et al. 2017, eq. (9) without the factor 1/2).
            `hinge`: max(0, 1 - x) and max(0, 1 + x) (Lim and Ye 2017).
        label_real: The target of `bce` and `lsgan` for real photos; 0.9 is one-sided label
            smoothing (Salimans et al. 2016). `hinge` ignores it.
    """
    if mode == "hinge":
        return F.relu(1.0 - logits if real else 1.0 + logits).mean()
    target = torch.full_like(logits, label_real if real else 0.0)
    if mode == "lsgan":
        return F.mse_loss(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target)


def generator_gan_loss(logits: Tensor, mode: GanMode = "bce") -> Tensor:
    """Return the generator's mean adversarial loss on the logits of fake photos.

    Args:
        logits: Any shape.
        mode: `bce`: -log sigmoid(x), the non-saturating form. `lsgan`: (x - 1)^2. `hinge`: -x.
    """
    if mode == "hinge":
        return -logits.mean()
    return gan_loss(logits, real=True, mode=mode)


def perceptual_loss(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mean over scales of the mean absolute difference of features of unit length.

    Args:
        fake: Features (B, C, h, w) of each scale, from
            `photochrom.training.networks.encoders.FeatureNetworks`.
        real: Features of the real photos; they get no gradients.

    Raises:
        ValueError: If there are no features.

    Reference:
        Johnson et al. 2016, eq. (2), with L1; unit length as in Zhang et al. 2018 (LPIPS).
    """
    if not fake:
        raise ValueError("the perceptual loss needs a feature network, and there are no features")
    distances = [
        (F.normalize(a.float(), dim=1) - F.normalize(b.detach().float(), dim=1)).abs().sum(1).mean()
        for a, b in zip(fake, real, strict=True)
    ]
    return torch.stack(distances).mean()
