"""Moving average of a network's weights."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of the weights and statistics of a network.

    It evens out the oscillation of a generator against its discriminator. In update n, counted from
    1, the decay is at most n / (n + 9), so that the initial weights are soon forgotten.

    Args:
        network: Copied.
        decay: Weight of the previous average in an update, 0..1.

    Reference:
        Yazici et al. 2019, "The Unusual Effectiveness of Averaging in GAN Training".
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average with the current weights of the network."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        current = network.state_dict()
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[key], 1.0 - decay)
            else:
                value.copy_(current[key])

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the number of updates and the weights."""
        return {"updates": self.updates, **self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Restore what `state_dict` returned."""
        weights = dict(state)
        self.updates = int(weights.pop("updates"))
        self.network.load_state_dict(weights)
