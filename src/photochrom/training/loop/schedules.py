"""Learning rate schedules."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from photochrom.training.loop.steps import Networks
from photochrom.training.recipes.recipe import Recipe


class Schedule:
    """Sets the learning rates of all optimizers by `Optimization.lr_schedule` of a recipe.

    Only `plateau` has a state; the other schedules are functions of the step.

    Args:
        recipe: Gives schedule and epochs.
        networks: Their optimizers hold the initial rates.
        steps_per_epoch: Number of steps in an epoch.
    """

    def __init__(self, recipe: Recipe, networks: Networks, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.kind = recipe.optimization.lr_schedule
        self.steps_per_epoch = steps_per_epoch
        self.optimizers = [opt for opt in (networks.opt_g, networks.opt_d) if opt is not None]
        self.initial = [[group["lr"] for group in opt.param_groups] for opt in self.optimizers]
        # torch's rule for a plateau is applied to a proxy with rate 1, the factor of all rates.
        self._proxy = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
        self._plateau = ReduceLROnPlateau(self._proxy, factor=0.1, patience=5)

    def factor(self, step: int) -> float:
        """Return the factor on all initial rates after `step` steps."""
        if self.kind == "cosine":
            total = self.recipe.total_epochs * self.steps_per_epoch
            return 0.5 * (1.0 + math.cos(math.pi * step / total))
        if self.kind == "exponential":
            return float(0.1 ** (step / 500_000))
        if self.kind == "plateau":
            return float(self._proxy.param_groups[0]["lr"])
        return 1.0

    def set_rates(self, step: int) -> None:
        """Set the rates of the next step after `step` steps."""
        factor = self.factor(step)
        lr_pretrain = self.recipe.optimization.lr_pretrain
        if step >= self.recipe.schedule.pretrain_epochs * self.steps_per_epoch:
            lr_pretrain = None
        for i, (optimizer, rates) in enumerate(zip(self.optimizers, self.initial, strict=True)):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                if i == 0 and lr_pretrain is not None:
                    rate = lr_pretrain
                group["lr"] = rate * factor

    def end_epoch(self, loss: float) -> None:
        """Update `plateau` with the mean loss of an epoch."""
        if self.kind == "plateau":
            self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of `plateau`."""
        return {"plateau": self._plateau.state_dict(), "lr": self._proxy.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._plateau.load_state_dict(state["plateau"])
        self._proxy.param_groups[0]["lr"] = state["lr"]
