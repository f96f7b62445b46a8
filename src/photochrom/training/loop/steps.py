"""One training step of generator and discriminator: every gradient is computed here.

The steps take networks and tensors and return detached scalars, under the keys of log.jsonl:
d_real, d_fake, g_gan, g_l1, g_perceptual, d_real_accuracy, d_fake_accuracy, and g_updates,
d_updates: how often a network's weights changed. They know nothing of files, recipes or progress.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.training.loop.distributed import drawn, mean
from photochrom.training.loop.losses import gan_loss, generator_gan_loss, perceptual_loss
from photochrom.training.recipes.recipe import GanMode, Output, Phase
from photochrom.training.tensors import photo_to_rgb, prediction_to_photo, target

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """What is trained, each network with its optimizer; without a discriminator, L1 alone."""

    generator: nn.Module
    opt_g: Optimizer
    discriminator: nn.Module | None = None
    opt_d: Optimizer | None = None
    output: Output = "ab"
    """What the generator predicts."""
    features: nn.Module | None = None
    """`photochrom.training.networks.encoders.FeatureNetworks`, for a discriminator of features and
    the perceptual loss."""
    uses_features: bool = False
    """Whether the discriminator takes features, and not the photo."""


@dataclass(frozen=True)
class DiscriminatorInput:
    """A batch of photos, real or fake, as discriminator and perceptual loss take them."""

    L: Tensor
    """Shape (B, 1, h, w), in [-1, 1]."""
    photo: Tensor
    """Lab or RGB (B, 3, h, w), in [-1, 1]: what `prediction_to_photo` returns."""
    features: list[Tensor]
    """Shape (B, C, h', w') each, from fine to coarse; empty without feature networks."""
    which: int = 0
    """Index of the feature network that they are of."""

    def detach(self) -> "DiscriminatorInput":
        """Return the same without gradients to the generator."""
        return replace(
            self, photo=self.photo.detach(), features=[x.detach() for x in self.features]
        )


def augmentation(
    networks: Networks, L: Tensor, window: float = 1.0, which: int = 0
) -> Callable[[Tensor], DiscriminatorInput]:
    """Return the step's augmentation, which is the same for real and fake photos.

    It crops a window of each photo, at a random place, and flips half of them.

    Args:
        networks: With the feature networks, if there are any.
        L: Shape (B, 1, H, W), in [-1, 1].
        window: Side of the window as a share of the photo's; 1 leaves photos as they are.
        which: Index of the feature network to use.

    Returns:
        A function from the generator's output, or `target`'s, to the discriminator's input.

    Reference:
        Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training".
    """
    crop = _random_crop(L, window)
    cropped_L = crop(L)

    def augment(output: Tensor) -> DiscriminatorInput:
        photo = crop(prediction_to_photo(output, L, networks.output))
        features = []
        if networks.features is not None:
            features = networks.features(photo_to_rgb(photo, networks.output), which)
        return DiscriminatorInput(cropped_L, photo, features, which)

    return augment


def _random_crop(L: Tensor, window: float) -> Callable[[Tensor], Tensor]:
    """Return a function that crops and flips batches of the shape of L, always in the same way."""
    if window == 1.0:
        return lambda photos: photos
    count, _, height, width = L.shape
    rows, columns = round(window * height), round(window * width)
    tops = drawn(lambda n: torch.randint(height - rows + 1, (n,)), count).tolist()
    lefts = drawn(lambda n: torch.randint(width - columns + 1, (n,)), count).tolist()
    flips = (drawn(torch.rand, count) < 0.5).tolist()

    def crop(photos: Tensor) -> Tensor:
        crops = []
        for photo, top, left, flip in zip(photos, tops, lefts, flips, strict=True):
            cropped = photo[:, top : top + rows, left : left + columns]
            crops.append(cropped.flip(2) if flip else cropped)
        return torch.stack(crops)

    return crop


def l1_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    inputs: Sequence[Tensor] | None = None,
    lambda_l1: float = 1.0,
    lambda_perceptual: float = 0.0,
    window: float = 1.0,
    which: int = 0,
) -> Losses:
    """Train the generator for one step without a discriminator: with L1 and, if asked, features.

    L1 is the mean absolute error over all that the generator predicts. Equation (7) of the report
    writes a sum; only with the mean does the usual lambda of 100 make sense.

    Args:
        fabric: Runs the backward pass.
        networks: The generator and its optimizer are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        inputs: The generator's inputs, if not L alone: degraded L, and hints.
        lambda_l1: Weight of the mean absolute error; it matters only beside another term.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` need features.
        window: As for `augmentation`, of the perceptual loss.
        which: Index of the feature network to use.

    Returns:
        `g_l1`, `g_updates` and, if it has a weight, `g_perceptual`: detached scalars.

    Raises:
        ValueError: If features are needed and missing.
    """
    real = target(L, ab, networks.output)
    fake = networks.generator(*(inputs or [L])).float()
    losses = {"g_l1": F.l1_loss(fake, real)}
    if lambda_perceptual > 0:
        augment = augmentation(networks, L, window, which)
        losses["g_perceptual"] = _perceptual(augment(fake), augment(real))
    _update_generator(
        fabric, networks, losses, {"g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    )
    logged = {key: value.detach() for key, value in losses.items()}
    return {**logged, "g_updates": torch.ones_like(logged["g_l1"])}


def _perceptual(fake: DiscriminatorInput, real: DiscriminatorInput) -> Tensor:
    if not fake.features:
        raise ValueError("lambda_perceptual is above 0, and the networks have no features")
    return perceptual_loss(fake.features, real.features)


def _update_generator(
    fabric: Fabric, networks: Networks, losses: Losses, weights: dict[str, float]
) -> None:
    """Update the generator once by the weighted sum of its losses."""
    loss = torch.stack([weights[key] * value for key, value in losses.items()]).sum()
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()


def _without_gradients(fabric: Fabric, network: nn.Module) -> AbstractContextManager[object]:
    """Keep DDP, where there are several processes, from waiting for gradients of a network."""
    if fabric.world_size == 1:
        return nullcontext()
    return fabric.no_backward_sync(cast(Any, network))


def discriminate(networks: Networks, photos: DiscriminatorInput) -> Tensor:
    """Return the discriminator's logits, float32, of a batch of photos.

    Raises:
        ValueError: If the networks have no discriminator.
    """
    if networks.discriminator is None:
        raise ValueError("there is no discriminator; use l1_step without one")
    if networks.uses_features:
        logits: Tensor = networks.discriminator(photos.L, photos.features, photos.which)
    else:
        logits = networks.discriminator(photos.L, photos.photo)
    return logits.float()


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, mode: GanMode, label_real: float = 1.0
) -> tuple[Tensor, Losses]:
    """Return the discriminator's loss: the mean of the terms of equation (8), negated.

    Args:
        real_logits: Of real photos, any shape.
        fake_logits: Of fake photos, any shape.
        mode: The form of the adversarial loss.
        label_real: The target for real photos.

    Returns:
        The loss to minimise, and its two terms, `d_real` and `d_fake`.
    """
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    return 0.5 * (d_real + d_fake), {"d_real": d_real.detach(), "d_fake": d_fake.detach()}


def generator_loss(
    networks: Networks,
    output: Tensor,
    real: Tensor,
    fake: DiscriminatorInput,
    augmented_real: DiscriminatorInput,
    *,
    mode: GanMode,
    perceptual: bool,
) -> Losses:
    """Return the terms of the generator's loss, unweighted: equation (7) of the report.

    Args:
        networks: With a discriminator.
        output: What the generator predicted.
        real: What it should have predicted, as of `target`.
        fake: `output`, augmented.
        augmented_real: `real`, augmented.
        mode: The form of the adversarial loss.
        perceptual: Whether to add the perceptual loss.

    Returns:
        `g_gan`, `g_l1` and, if asked, `g_perceptual`.
    """
    losses = {
        "g_gan": generator_gan_loss(discriminate(networks, fake), mode),
        "g_l1": F.l1_loss(output, real),
    }
    if perceptual:
        losses["g_perceptual"] = _perceptual(fake, augmented_real)
    return losses


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    inputs: Sequence[Tensor] | None = None,
    lambda_l1: float,
    lambda_gan: float = 1.0,
    lambda_perceptual: float = 0.0,
    window: float = 1.0,
    which: int = 0,
    mode: GanMode = "bce",
    label_real: float = 1.0,
    g_steps: int = 1,
    phase: Phase = "gan",
    d_threshold: float | None = None,
) -> Losses:
    """Train the discriminator for one step and then the generator for `g_steps`, on one batch.

    The discriminator minimises (d_real + d_fake) / 2: equation (8) of the report. The generator
    minimises lambda_gan * g_gan + lambda_l1 * g_l1 + lambda_perceptual * g_perceptual: equation (7)
    with weights on its other terms.

    Args:
        fabric: Runs the backward passes.
        networks: All parts are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        inputs: The generator's inputs, if not L alone: degraded L, and hints. The discriminator
            takes ab together with L.
        lambda_l1: Weight of the mean absolute error.
        lambda_gan: Weight of the adversarial loss.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` need features.
        window: As for `augmentation`.
        which: Index of the feature network to use.
        mode: The form of the adversarial loss.
        label_real: The discriminator's target for real photos.
        g_steps: Generator updates for the one discriminator update.
        phase: `gan`; with `d` or `g` only that network is updated.
        d_threshold: The discriminator is updated only if its loss, over the photos of all
            processes, is above this; None: always.

    Returns:
        Detached scalars: `d_real`, `d_fake`; the last generator update's `g_gan`, `g_l1` and, if it
        has a weight, `g_perceptual`; the discriminator's accuracy before the step,
        `d_real_accuracy` and `d_fake_accuracy`; and `g_updates`, `d_updates`.

    Raises:
        ValueError: If the networks lack a discriminator, or features that are needed.
    """
    generator, discriminator, opt_d = networks.generator, networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None:
        raise ValueError("gan_step needs a discriminator and its optimizer; use l1_step without")
    inputs = inputs or [L]
    real = target(L, ab, networks.output)
    with torch.set_grad_enabled(phase != "d"):
        output = generator(*inputs).float()

    augment = augmentation(networks, L, window, which)
    with torch.no_grad():
        augmented_real = augment(real)
    fake = augment(output)

    discriminator.requires_grad_(True)
    real_logits = discriminate(networks, augmented_real)
    fake_logits = discriminate(networks, fake.detach())
    d_loss, d_terms = discriminator_loss(real_logits, fake_logits, mode, label_real)
    updates_d = phase != "g" and (d_threshold is None or mean(d_loss.detach()).item() > d_threshold)
    if updates_d:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    discriminator.requires_grad_(False)
    losses = {"g_gan": generator_gan_loss(fake_logits, mode), "g_l1": F.l1_loss(output, real)}
    weights = {"g_gan": lambda_gan, "g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    g_updates = 0 if phase == "d" else g_steps
    for update in range(g_updates):
        if update > 0:
            output = generator(*inputs).float()
            fake = augment(output)
        with _without_gradients(fabric, discriminator):
            losses = generator_loss(
                networks,
                output,
                real,
                fake,
                augmented_real,
                mode=mode,
                perceptual=lambda_perceptual > 0,
            )
        _update_generator(fabric, networks, losses, weights)

    boundary = 0.5 if mode == "lsgan" else 0.0
    return {
        **d_terms,
        **{key: value.detach() for key, value in losses.items()},
        "d_real_accuracy": (real_logits > boundary).float().mean(),
        "d_fake_accuracy": (fake_logits <= boundary).float().mean(),
        "g_updates": torch.full_like(d_loss.detach(), g_updates),
        "d_updates": torch.full_like(d_loss.detach(), updates_d),
    }
