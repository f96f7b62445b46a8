"""One training step: `gan_step` for generator and discriminator, `generator_step` without one.

Both return detached scalars with the keys of log.jsonl: `g_NAME` for each term of the generator's
loss, `d_real`, `d_fake` and `d_NAME` for each regularizer, d_real_accuracy, d_fake_accuracy, and
the number of updates, g_updates and d_updates.
"""

from collections.abc import Callable, Iterable, Sequence
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
    accumulate: int = 1
    """Number of micro-batches whose gradients are averaged for one update."""
    clip_norm: float | None = None
    """Largest norm of the gradient of each network; None: not limited."""

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
    discriminator, opt_d = networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None or objective.loss is None:
        raise ValueError("gan_step needs a discriminator; use generator_step without")
    micro_batches = batch.split(networks.accumulate)
    # The generator runs again for its own update if there are several micro-batches, so that only
    # one of them has a graph at a time.
    keeps_graph = len(micro_batches) == 1 and phase != "d"

    def is_above_threshold(d_loss: Tensor) -> bool:
        threshold = objective.d_threshold
        return threshold is None or mean(d_loss).item() > threshold

    # Update the discriminator.
    discriminator.requires_grad_(True)
    opt_d.zero_grad(set_to_none=True)
    samples, augments, d_losses = [], [], []
    updates_d = phase != "g"
    total = torch.zeros((), device=batch.L.device)
    for micro_batch in micro_batches:
        with torch.set_grad_enabled(keeps_graph):
            prediction = networks.generator(*micro_batch.inputs).float()
        augment = augmentation(fabric, micro_batch, objective, step)
        sample = make_sample(prediction, micro_batch, objective, augment)
        d_loss, losses, fake_logits = _discriminate(networks, objective, sample, updates=updates_d)
        total += d_loss.detach() / len(micro_batches)
        if updates_d and len(micro_batches) == 1:
            updates_d = is_above_threshold(total)
        if updates_d:
            fabric.backward(d_loss / len(micro_batches))
        samples.append(replace(sample, fake_logits=fake_logits))
        augments.append(augment)
        d_losses.append(losses)
    if updates_d and len(micro_batches) > 1:  # the loss is known only after their backward passes
        updates_d = is_above_threshold(total)
    if updates_d:
        _take_step(fabric, networks, discriminator, opt_d)

    # Update the generator.
    discriminator.requires_grad_(False)
    g_updates = 0 if phase == "d" else objective.g_steps

    def sample_again(
        micro_batch: Batch, augment: Callable[[Tensor], View], sample: Sample
    ) -> Sample:
        prediction = networks.generator(*micro_batch.inputs).float()
        return make_sample(prediction, micro_batch, objective, augment, sample.real)

    def with_logits(sample: Sample) -> Sample:
        with _no_gradient_sync(fabric, discriminator):
            return replace(sample, fake_logits=networks.logits(sample.fake))

    for update in range(g_updates):
        current: Iterable[Sample] = samples
        if update > 0 or not keeps_graph:
            current = map(sample_again, micro_batches, augments, samples)
        g_losses = _update_generator(fabric, networks, objective, map(with_logits, current))
    if g_updates == 0:  # logged all the same
        with torch.no_grad():
            g_losses = _mean([objective.generator_loss(sample)[1] for sample in samples])

    return {
        **_mean(d_losses),
        **g_losses,
        "g_updates": torch.full_like(total, g_updates),
        "d_updates": torch.full_like(total, updates_d),
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
    without_window = replace(objective, window=1.0)

    def sample(micro_batch: Batch) -> Sample:
        prediction = networks.generator(*micro_batch.inputs).float()
        augment = augmentation(fabric, micro_batch, without_window, step)
        return make_sample(prediction, micro_batch, objective, augment)

    samples = map(sample, batch.split(networks.accumulate))
    losses = _update_generator(fabric, networks, objective, samples, pretrain=pretrain)
    return {**losses, "g_updates": torch.ones((), device=batch.L.device)}


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


def _discriminate(
    networks: Networks, objective: Objective, sample: Sample, *, updates: bool
) -> tuple[Tensor, Losses, Tensor]:
    """Return the discriminator's loss, what is logged of it, and the detached logits of `fake`.

    Without `updates`, the loss is without gradients and regularizers.
    """
    loss, real, fake = objective.loss, sample.real, sample.fake.detach()
    assert loss is not None
    # With gradients in any case: the generator's update uses features of the photos again.
    real_logits, fake_logits = networks.logits(real), networks.logits(fake)
    with torch.set_grad_enabled(updates):
        d_sample = DiscriminatorSample(fake, real, networks.logits)
        regularized = objective if updates else replace(objective, regularizers={})
        total, losses = regularized.discriminator_loss(real_logits, fake_logits, d_sample)
    losses["d_real_accuracy"] = (real_logits > loss.boundary).float().mean()
    losses["d_fake_accuracy"] = (fake_logits <= loss.boundary).float().mean()
    return total, losses, fake_logits.detach()


def _update_generator(
    fabric: Fabric,
    networks: Networks,
    objective: Objective,
    samples: Iterable[Sample],
    *,
    pretrain: bool = False,
) -> Losses:
    """Update the generator once on micro-batches; return the mean terms of its loss."""
    networks.opt_g.zero_grad(set_to_none=True)
    all_losses = []
    for sample in samples:  # each is made when it is needed
        loss, losses = objective.generator_loss(sample, pretrain=pretrain)
        fabric.backward(loss / networks.accumulate)
        all_losses.append(losses)
    _take_step(fabric, networks, networks.generator, networks.opt_g)
    return _mean(all_losses)


def _take_step(
    fabric: Fabric, networks: Networks, network: nn.Module, optimizer: Optimizer
) -> None:
    """Clip the gradients of a network, if the recipe does, and update its weights."""
    if networks.clip_norm is not None:
        # Infinite gradients are for the gradient scaler, or for the check of losses and weights.
        fabric.clip_gradients(
            network,
            optimizer,
            max_norm=networks.clip_norm,
            error_if_nonfinite=False,
        )
    optimizer.step()


def _mean(all_losses: Sequence[Losses]) -> Losses:
    """Return the mean of each loss over micro-batches."""
    return {
        key: torch.stack([losses[key] for losses in all_losses]).mean() for key in all_losses[0]
    }


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
