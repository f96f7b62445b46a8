"""The inputs of losses: photos as discriminators and feature networks get them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from photochrom.training.losses.adversarial import AdversarialLoss
from photochrom.training.networks.color_classes import uniform_prior
from photochrom.training.networks.features import extract_features
from photochrom.training.networks.outputs import Output


@dataclass(frozen=True)
class View:
    """Real or generated photos, augmented."""

    L: Tensor
    """Shape (B, 1, h, w), in [-1, 1]."""
    photo: Tensor
    """Lab or RGB, shape (B, 3, h, w), in [-1, 1]."""
    output: Output
    step: int = 0
    """Number of steps before this one."""
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    """Precision of the feature networks."""
    _attached: "View | None" = None
    """The view with gradients that this one was detached from."""
    _features: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def rgb(self) -> Tensor:
        """sRGB, shape (B, 3, h, w), in [-1, 1]."""
        return self.output.rgb(self.photo)

    def features(self, networks: Sequence[str]) -> list[Tensor]:
        """Return the features (B, C, h', w') of one network, from fine to coarse.

        Each step uses one of the networks, in turn. Features are computed once for each view.
        """
        name = networks[self.index(networks)]
        if self._attached is not None:
            return [x.detach() for x in self._attached.features([name])]
        if name not in self._features:
            with self.autocast():
                self._features[name] = extract_features(name, self.rgb)
        return self._features[name]

    def index(self, networks: Sequence[str]) -> int:
        """Return the index of the network that this step uses."""
        return self.step % len(networks)

    def detach(self) -> "View":
        """Return the same without gradients to the generator."""
        return replace(self, photo=self.photo.detach(), _attached=self, _features={})

    def with_photo(self, photo: Tensor) -> "View":
        """Return a view of another photo with the same L."""
        return replace(self, photo=photo, _attached=None, _features={})


@dataclass(frozen=True)
class Sample:
    """The input of the terms of the generator's loss, in one update."""

    prediction: Tensor
    """The generator's output."""
    L: Tensor
    """Shape (B, 1, H, W), in [-1, 1]."""
    ab: Tensor
    """True ab, shape (B, 2, H, W), in [-1, 1]."""
    output: Output
    values: Tensor
    """`output.values` of the prediction."""
    target: Tensor
    """The true values."""
    fake: View
    real: View
    prior: Callable[[], Tensor] = uniform_prior
    """The share of the training photos' pixels in each class of ab."""
    fake_logits: Tensor | None = None
    """The discriminator's logits of `fake`, if there is a discriminator."""
    loss: AdversarialLoss | None = None


@dataclass(frozen=True)
class DiscriminatorSample:
    """The input of the regularizers of the discriminator's loss, in one update."""

    fake: View
    """Without gradients to the generator."""
    real: View
    logits: Callable[[View], Tensor]
    """The discriminator."""

    def gradient(self, photo: Tensor) -> Tensor:
        """Return the gradient of the sum of the logits by a photo, which can be differentiated."""
        photo = photo.detach().requires_grad_()
        logits = self.logits(self.real.with_photo(photo))
        (gradient,) = torch.autograd.grad(logits.sum(), photo, create_graph=True)
        return gradient
