"""The adversarial losses of discriminator and generator.

Every entry of `photochrom.training.recipes.kinds.ADVERSARIAL_LOSSES` follows `AdversarialLoss`.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from photochrom.training.recipes.registry import PositiveFraction


class AdversarialLoss(Protocol):
    """A loss on logits of any shape."""

    boundary: float
    """The discriminator takes photos with logits above it for real."""

    def real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on real photos."""

    def fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on generated photos."""

    def generator(self, logits: Tensor) -> Tensor:
        """Return the generator's mean loss on generated photos."""


class BinaryCrossEntropy:
    """-log s(x) for real, -log(1 - s(x)) for fake, -log s(x) for the generator; s is the sigmoid.

    Equations (7) and (8) of the report, in the non-saturating form.

    Args:
        label_real: Target for real photos; 0.9 is one-sided label smoothing (Salimans et al. 2016).

    Reference:
        Goodfellow et al. 2014, section 3.
    """

    boundary = 0.0

    def __init__(self, *, label_real: PositiveFraction = 1.0) -> None:
        self.label_real = label_real

    def real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on real photos."""
        target = torch.full_like(logits, self.label_real)
        return F.binary_cross_entropy_with_logits(logits, target)

    def fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on generated photos."""
        return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))

    def generator(self, logits: Tensor) -> Tensor:
        """Return the generator's mean loss."""
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


class LeastSquares:
    """(x - 1)^2 for real, x^2 for fake, (x - 1)^2 for the generator.

    Args:
        label_real: Replaces the 1 for real photos.

    Reference:
        Mao et al. 2017, equation (9) without the factor 1/2.
    """

    boundary = 0.5

    def __init__(self, *, label_real: PositiveFraction = 1.0) -> None:
        self.label_real = label_real

    def real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on real photos."""
        return (logits - self.label_real).square().mean()

    def fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on generated photos."""
        return logits.square().mean()

    def generator(self, logits: Tensor) -> Tensor:
        """Return the generator's mean loss."""
        return (logits - 1.0).square().mean()


class Hinge:
    """max(0, 1 - x) for real, max(0, 1 + x) for fake, -x for the generator.

    Reference:
        Lim and Ye 2017, "Geometric GAN".
    """

    boundary = 0.0

    def real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on real photos."""
        return F.relu(1.0 - logits).mean()

    def fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on generated photos."""
        return F.relu(1.0 + logits).mean()

    def generator(self, logits: Tensor) -> Tensor:
        """Return the generator's mean loss."""
        return -logits.mean()


class Wasserstein:
    """-x for real, x for fake, -x for the generator; use it with `gradient_penalty`.

    Reference:
        Arjovsky et al. 2017, equation (2); Gulrajani et al. 2017.
    """

    boundary = 0.0

    def real(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on real photos."""
        return -logits.mean()

    def fake(self, logits: Tensor) -> Tensor:
        """Return the discriminator's mean loss on generated photos."""
        return logits.mean()

    def generator(self, logits: Tensor) -> Tensor:
        """Return the generator's mean loss."""
        return -logits.mean()
