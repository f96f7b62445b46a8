"""One training step: `gan_step` for generator and discriminator, `generator_step` without one.

Both return detached scalars with the keys of log.jsonl: `g_NAME` for each term of the generator's
loss, `d_real`, `d_fake` and `d_NAME` for each regularizer, d_real_accuracy, d_fake_accuracy, and
the number of updates, g_updates and d_updates.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.training.collectives import draw_local, mean
from photochrom.training.loop.batches import Batch
from photochrom.training.losses.objective import Losses, Objective
from photochrom.training.losses.views import DiscriminatorSample, Sample, View
from photochrom.training.recipes.recipe import Phase


@dataclass(frozen=True)
class Networks:
    """The networks of a recipe with their optimizers."""

    generator: nn.Module
    opt_g: Optimizer
    discriminator: nn.Module | None = None
    opt_d: Optimizer | None = None
    feature_networks: tuple[str, ...] = ()
    """Those whose features the discriminator takes instead of the photo."""

    def logits(self, view: View) -> Tensor:
        """Return the discriminator's logits of photos, float32."""
        assert self.discriminator is not None
        if self.feature_networks:
            index = view.index(self.feature_networks)
            features = view.features(self.feature_networks)
            logits: Tensor = self.discriminator(view.L, features, index)
        else:
            logits = self.discriminator(view.L, view.photo)
        return logits.float()


def gan_step(
    fabric: Fabric,
    networks: Networks,
    batch: Batch,
    objective: Objective,
    *,
    phase: Phase = "gan",
    step: int = 0,
) -> Losses:
    """Update the discriminator once, then the generator `objective.g_steps` times, on one batch.

    Args:
        fabric: Runs the backward passes.
        networks: Updated.
        batch: The discriminator always takes its clean L.
        objective: What the networks minimize.
        phase: `gan`, or `d` or `g` to update one network alone.
        step: Number of steps before this one.

    Returns:
        The losses of the last update, and the discriminator's accuracy before the step.

    Raises:
        ValueError: If there is no discriminator.
    """
    discriminator, opt_d, loss = networks.discriminator, networks.opt_d, objective.loss
    if discriminator is None or opt_d is None or loss is None:
        raise ValueError("gan_step needs a discriminator; use generator_step without")
    with torch.set_grad_enabled(phase != "d"):
        prediction = networks.generator(*batch.inputs).float()
    augment = augmentation(fabric, batch, objective, step)
    sample = make_sample(prediction, batch, objective, augment)
    real, fake = sample.real, sample.fake.detach()

    # Update the discriminator.
    discriminator.requires_grad_(True)
    real_logits, fake_logits = networks.logits(real), networks.logits(fake)
    d_sample = DiscriminatorSample(fake, real, networks.logits)
    updates_d = phase != "g"
    if not updates_d:
        with torch.no_grad():
            d_losses = {"d_real": loss.real(real_logits), "d_fake": loss.fake(fake_logits)}
    else:
        d_loss, d_losses = objective.discriminator_loss(real_logits, fake_logits, d_sample)
        threshold = objective.d_threshold
        updates_d = threshold is None or mean(d_loss.detach()).item() > threshold
    if updates_d:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    # Update the generator.
    discriminator.requires_grad_(False)
    g_updates = 0 if phase == "d" else objective.g_steps
    for update in range(g_updates):
        if update > 0:
            prediction = networks.generator(*batch.inputs).float()
            sample = make_sample(prediction, batch, objective, augment, real)
        with _no_gradient_sync(fabric, discriminator):
            logits = networks.logits(sample.fake)
        sample = replace(sample, fake_logits=logits)
        g_losses = _update_generator(fabric, networks, objective, sample)
    if g_updates == 0:  # logged all the same
        with torch.no_grad():
            _, g_losses = objective.generator_loss(replace(sample, fake_logits=fake_logits))

    return {
        **d_losses,
        **g_losses,
        "d_real_accuracy": (real_logits > loss.boundary).float().mean(),
        "d_fake_accuracy": (fake_logits <= loss.boundary).float().mean(),
        "g_updates": torch.full_like(d_losses["d_real"], g_updates),
        "d_updates": torch.full_like(d_losses["d_real"], updates_d),
    }


def generator_step(
    fabric: Fabric,
    networks: Networks,
    batch: Batch,
    objective: Objective,
    *,
    pretrain: bool = False,
    step: int = 0,
) -> Losses:
    """Update the generator once, without a discriminator.

    The arguments are those of `gan_step`; `pretrain` uses `objective.pretrain_terms` only.

    Raises:
        RecipeError: If a term needs a discriminator.
    """
    prediction = networks.generator(*batch.inputs).float()
    augment = augmentation(fabric, batch, replace(objective, window=1.0), step)
    sample = make_sample(prediction, batch, objective, augment)
    losses = _update_generator(fabric, networks, objective, sample, pretrain=pretrain)
    return {**losses, "g_updates": torch.ones((), device=prediction.device)}


def make_sample(
    prediction: Tensor,
    batch: Batch,
    objective: Objective,
    augment: Callable[[Tensor], View],
    real: View | None = None,
) -> Sample:
    """Return what the terms see of a prediction; `real` is that of an earlier update."""
    output, L = objective.output, batch.L
    values, target = output.values(prediction, L), output.target(L, batch.ab)
    fake = augment(output.photo(values, L))
    real = augment(output.photo(target, L)) if real is None else real
    loss = objective.loss
    return Sample(
        prediction, L, batch.ab, output, values, target, fake, real, objective.prior, loss=loss
    )


def _update_generator(
    fabric: Fabric,
    networks: Networks,
    objective: Objective,
    sample: Sample,
    *,
    pretrain: bool = False,
) -> Losses:
    """Update the generator once; return the terms of its loss."""
    loss, losses = objective.generator_loss(sample, pretrain=pretrain)
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()
    return losses


def _no_gradient_sync(fabric: Fabric, network: nn.Module) -> AbstractContextManager[object]:
    """Keep DDP from waiting for gradients of a network that is not updated."""
    if fabric.world_size == 1:
        return nullcontext()
    return fabric.no_backward_sync(cast(Any, network))


def augmentation(
    fabric: Fabric, batch: Batch, objective: Objective, step: int
) -> Callable[[Tensor], View]:
    """Return the augmentation of a step, the same for real and generated photos: crop and flip.

    Returns:
        A function from photos (B, 3, H, W) to the view of the discriminator.

    Reference:
        Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training".
    """
    crop = _random_crop(batch.L, objective.window)
    L = crop(batch.L)
    return lambda photo: View(L, crop(photo), objective.output, step, fabric.autocast)


def _random_crop(L: Tensor, window: float) -> Callable[[Tensor], Tensor]:
    """Return a function that crops and flips any batch of the size of L in the same way."""
    if window == 1.0:
        return lambda photos: photos
    count, _, height, width = L.shape
    rows, columns = round(window * height), round(window * width)
    tops = draw_local(lambda n: torch.randint(height - rows + 1, (n,)), count).tolist()
    lefts = draw_local(lambda n: torch.randint(width - columns + 1, (n,)), count).tolist()
    flips = (draw_local(torch.rand, count) < 0.5).tolist()

    def crop(photos: Tensor) -> Tensor:
        crops = []
        for photo, top, left, flip in zip(photos, tops, lefts, flips, strict=True):
            cropped = photo[:, top : top + rows, left : left + columns]
            crops.append(cropped.flip(2) if flip else cropped)
        return torch.stack(crops)

    return crop
