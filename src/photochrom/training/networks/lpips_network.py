"""ST-LPIPS: a perceptual distance of two photos, as a loss."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from photochrom.training.networks.features import load_shift_tolerant


class ShiftTolerantLPIPS(nn.Module):
    """ST-LPIPS, frozen: LPIPS on antialiased networks, with weights of stlpips-pytorch.

    The sum over five layers of the mean over positions of sum_c w_c (x_c - y_c)^2, with x and y the
    features, scaled to unit length, and w >= 0 fitted to human judgements. It is not LPIPS
    v0.1, whose values differ.

    Args:
        name: `stlpips-alexnet` or `stlpips-vgg16`.

    Raises:
        RecipeError: If the weights are unavailable.
        ModelError: If the file of weights differs from the known one.

    Reference:
        Ghildyal and Liu 2022, "Shift-tolerant Perceptual Similarity Metric"; Zhang et al. 2018,
        "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", equation (1).
    """

    def __init__(self, name: str = "stlpips-alexnet") -> None:
        super().__init__()
        self.network, state = load_shift_tolerant(name)
        weights = [state[f"lin{i}.model.1.weight"] for i in range(len(self.network.stages))]
        self.weights = nn.ParameterList(weights)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "ShiftTolerantLPIPS":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the distance (B,), 0 or more, of sRGB photos (B, 3, H, W) in [-1, 1].

        Args:
            fake: Generated photos.
            real: Real photos; they get no gradients.
        """
        with torch.no_grad():
            expected = self.network.all_features(real)
        distance = fake.new_zeros(len(fake))
        for x, y, weight in zip(
            self.network.all_features(fake), expected, self.weights, strict=True
        ):
            difference = F.normalize(x.float(), eps=1e-10) - F.normalize(y.float(), eps=1e-10)
            distance = distance + (weight * difference.square()).sum(1).mean((1, 2))
        return distance
