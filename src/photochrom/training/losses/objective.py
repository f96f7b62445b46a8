"""`Objective`: what generator and discriminator minimize."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from photochrom.errors import RecipeError
from photochrom.training.losses.adversarial import AdversarialLoss
from photochrom.training.losses.views import DiscriminatorSample, Sample
from photochrom.training.networks.color_classes import uniform_prior
from photochrom.training.networks.outputs import Output
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.recipes.registry import Term

Losses = dict[str, Tensor]
"""Unweighted terms, by their keys in log.jsonl."""


@dataclass(frozen=True)
class Objective:
    """The losses of a recipe."""

    output: Output
    terms: Mapping[str, Term]
    """Of the generator's loss, by name."""
    pretrain_terms: Sequence[str] = ("l1",)
    loss: AdversarialLoss | None = None
    """None without a discriminator."""
    regularizers: Mapping[str, Term] = field(default_factory=dict)
    """Further terms of the discriminator's loss, by name."""
    window: float = 1.0
    """Side of the crop that the discriminator sees, as a share of the photo's."""
    g_steps: int = 1
    d_threshold: float | None = None
    prior: Callable[[], Tensor] = uniform_prior
    """The share of the training photos' pixels in each class of ab."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Objective":
        """Return the objective of a recipe."""
        output, terms = recipe.output.build(), recipe.objective
        pretrain_terms, adversarial = recipe.schedule.pretrain_terms, recipe.adversarial
        if adversarial is None:
            return cls(output, terms, pretrain_terms)
        return cls(
            output,
            terms,
            pretrain_terms,
            adversarial.loss.build(),
            adversarial.regularization,
            adversarial.window,
            adversarial.g_steps,
            adversarial.d_threshold,
        )

    def generator_loss(self, sample: Sample, *, pretrain: bool = False) -> tuple[Tensor, Losses]:
        """Return the weighted sum of the terms, and the terms and `g_total`, detached.

        Args:
            sample: The input of the terms.
            pretrain: Use `pretrain_terms` only.
        """
        names = self.pretrain_terms if pretrain else self.terms
        total, losses = _weighted_sum({name: self.terms[name] for name in names}, sample, "g")
        return total, {**losses, "g_total": total.detach()}

    def discriminator_loss(
        self, real_logits: Tensor, fake_logits: Tensor, sample: DiscriminatorSample
    ) -> tuple[Tensor, Losses]:
        """Return (d_real + d_fake) / 2 + the regularizers, and all terms, detached.

        With `bce` of `label_real` 1, it is half the negative of equation (8) of the report.

        Raises:
            ValueError: If there is no adversarial loss.
        """
        if self.loss is None:
            raise ValueError("the objective has no adversarial loss")
        d_real, d_fake = self.loss.real(real_logits), self.loss.fake(fake_logits)
        losses = {"d_real": d_real.detach(), "d_fake": d_fake.detach()}
        total = 0.5 * (d_real + d_fake)
        if self.regularizers:
            penalty, terms = _weighted_sum(self.regularizers, sample, "d")
            return total + penalty, losses | terms
        return total, losses


def _weighted_sum(
    terms: Mapping[str, Term], sample: Sample | DiscriminatorSample, prefix: str
) -> tuple[Tensor, Losses]:
    losses = {f"{prefix}_{name}": term(sample) for name, term in terms.items()}
    for name, loss in zip(terms, losses.values(), strict=True):
        if loss.ndim > 0:
            raise RecipeError(
                f"the term {name} returns a tensor of shape {tuple(loss.shape)}; return a scalar, "
                "such as its mean"
            )
    weights = [term.weight for term in terms.values()]
    weighted = [weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]
    return torch.stack(weighted).sum(), {key: loss.detach() for key, loss in losses.items()}
