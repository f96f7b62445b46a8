"""Weights averaged over the steps of training."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of a network's weights and statistics.

    A generator that plays against a discriminator swings from step to step; its average does not.
    Young averages forget faster, so that the network's first weights do not linger: after n updates
    the decay is at most (1 + n) / (10 + n).

    Args:
        network: What is averaged. It stays as it is.
        decay: What an update keeps of the average, 0..1.

    Reference:
        Yazici et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training".
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights that the network has now."""
        self.updates += 1
        decay = min(self.decay, self.updates / (9 + self.updates))
        now = network.state_dict()
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[key], 1.0 - decay)
            else:
                value.copy_(now[key])

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return what `load_state_dict` takes."""
        return {"updates": self.updates, **self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Go on where another average was."""
        weights = dict(state)
        self.updates = int(weights.pop("updates"))
        self.network.load_state_dict(weights)
