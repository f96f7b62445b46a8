"""One training step: `gan_step` for generator and discriminator, `l1_step` for the generator alone.

Both return detached scalars with the keys of log.jsonl: the losses of
`photochrom.training.loop.losses`, d_real_accuracy, d_fake_accuracy, and the number of updates,
g_updates and d_updates.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.training.loop.batches import Batch
from photochrom.training.loop.distributed import draw_local, mean
from photochrom.training.loop.losses import (
    Losses,
    discriminator_loss,
    generator_loss,
    perceptual_loss,
)
from photochrom.training.recipes.recipe import Output, Phase, Recipe
from photochrom.training.tensors import photo_to_rgb, prediction_to_photo, target


@dataclass(frozen=True)
class Networks:
    """The networks of a recipe with their optimizers."""

    generator: nn.Module
    opt_g: Optimizer
    discriminator: nn.Module | None = None
    opt_d: Optimizer | None = None
    output: Output = "ab"
    """What the generator predicts."""
    features: nn.Module | None = None
    """`photochrom.training.networks.encoders.FeatureNetworks`, for the perceptual loss and for
    discriminators that take features."""
    uses_features: bool = False
    """Whether the discriminator takes features instead of the photo."""


def gan_step(
    fabric: Fabric,
    networks: Networks,
    batch: Batch,
    recipe: Recipe,
    *,
    phase: Phase = "gan",
    which: int = 0,
) -> Losses:
    """Update the discriminator once, then the generator `recipe.g_steps` times, on one batch.

    The discriminator minimizes `discriminator_loss`. The generator minimizes
    lambda_gan * g_gan + lambda_l1 * g_l1 + lambda_perceptual * g_perceptual (`generator_loss`).

    Args:
        fabric: Runs the backward passes.
        networks: Updated.
        batch: The discriminator always takes its clean L.
        recipe: Gives losses, weights and the number of updates.
        phase: `gan`, or `d` or `g` to update one network alone.
        which: Index of the feature network to use.

    Returns:
        The losses of the last update, and the discriminator's accuracy before the step.

    Raises:
        ValueError: If there is no discriminator, or no feature network for the perceptual loss.
    """
    generator, discriminator, opt_d = networks.generator, networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None:
        raise ValueError("gan_step needs a discriminator and its optimizer; use l1_step without")
    mode = recipe.gan_mode
    real = target(batch.L, batch.ab, networks.output)
    with torch.set_grad_enabled(phase != "d"):
        output = generator(*batch.inputs).float()

    augment = augmentation(networks, batch.L, recipe.view, which)
    with torch.no_grad():
        augmented_real = augment(real)
    augmented_fake = augment(output)

    # Update the discriminator.
    discriminator.requires_grad_(True)
    real_logits = discriminate(networks, augmented_real)
    fake_logits = discriminate(networks, augmented_fake.detach())
    d_loss, d_losses = discriminator_loss(real_logits, fake_logits, mode, recipe.label_real)
    updates_d = phase != "g" and (
        recipe.d_threshold is None or mean(d_loss.detach()).item() > recipe.d_threshold
    )
    if updates_d:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    # Update the generator.
    discriminator.requires_grad_(False)
    g_losses = generator_loss(fake_logits, output, real, mode)  # logged if it is not updated
    weights = {
        "g_gan": recipe.lambda_gan,
        "g_l1": recipe.lambda_l1,
        "g_perceptual": recipe.lambda_perceptual,
    }
    g_updates = 0 if phase == "d" else recipe.g_steps
    for update in range(g_updates):
        if update > 0:
            output = generator(*batch.inputs).float()
            augmented_fake = augment(output)
        with _no_gradient_sync(fabric, discriminator):
            logits = discriminate(networks, augmented_fake)
        features = None
        if recipe.lambda_perceptual > 0:
            features = augmented_fake.features, augmented_real.features
        g_losses = generator_loss(logits, output, real, mode, features)
        _update_generator(fabric, networks, g_losses, weights)

    boundary = 0.5 if mode == "lsgan" else 0.0
    return {
        **d_losses,
        **{key: value.detach() for key, value in g_losses.items()},
        "d_real_accuracy": (real_logits > boundary).float().mean(),
        "d_fake_accuracy": (fake_logits <= boundary).float().mean(),
        "g_updates": torch.full_like(d_loss.detach(), g_updates),
        "d_updates": torch.full_like(d_loss.detach(), updates_d),
    }


def l1_step(
    fabric: Fabric, networks: Networks, batch: Batch, recipe: Recipe, *, which: int = 0
) -> Losses:
    """Update the generator once with L1 and, unless it is pretrained, the perceptual loss.

    The arguments are those of `gan_step`.

    Raises:
        ValueError: If there is no feature network for the perceptual loss.
    """
    real = target(batch.L, batch.ab, networks.output)
    output = networks.generator(*batch.inputs).float()
    losses = {"g_l1": F.l1_loss(output, real)}
    weights = {"g_l1": 1.0}
    if recipe.discriminator is None and recipe.lambda_perceptual > 0:
        weights = {"g_l1": recipe.lambda_l1, "g_perceptual": recipe.lambda_perceptual}
        augment = augmentation(networks, batch.L, recipe.view, which)
        losses["g_perceptual"] = perceptual_loss(augment(output).features, augment(real).features)
    _update_generator(fabric, networks, losses, weights)
    detached = {key: value.detach() for key, value in losses.items()}
    return {**detached, "g_updates": torch.ones_like(detached["g_l1"])}


def _update_generator(
    fabric: Fabric, networks: Networks, losses: Losses, weights: dict[str, float]
) -> None:
    """Update the generator once by the weighted sum of its losses."""
    loss = torch.stack([weights[key] * value for key, value in losses.items()]).sum()
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()


def _no_gradient_sync(fabric: Fabric, network: nn.Module) -> AbstractContextManager[object]:
    """Keep DDP from waiting for gradients of a network that is not updated."""
    if fabric.world_size == 1:
        return nullcontext()
    return fabric.no_backward_sync(cast(Any, network))


@dataclass(frozen=True)
class DiscriminatorInput:
    """Real or fake photos as inputs of the discriminator and the perceptual loss."""

    L: Tensor
    """Shape (B, 1, h, w), in [-1, 1]."""
    photo: Tensor
    """Lab or RGB, shape (B, 3, h, w), in [-1, 1]."""
    features: list[Tensor]
    """Shape (B, C, h', w') each, from fine to coarse; empty without feature networks."""
    which: int = 0
    """Index of the feature network that computed them."""

    def detach(self) -> "DiscriminatorInput":
        """Return the same without gradients to the generator."""
        return replace(
            self, photo=self.photo.detach(), features=[x.detach() for x in self.features]
        )


def augmentation(
    networks: Networks, L: Tensor, window: float = 1.0, which: int = 0
) -> Callable[[Tensor], DiscriminatorInput]:
    """Return the augmentation of a step, the same for real and fake photos: crop and flip.

    Args:
        networks: Give the feature networks, if there are any.
        L: Shape (B, 1, H, W), in [-1, 1].
        window: Side of the crop as a share of the photo's; 1 disables the augmentation.
        which: Index of the feature network to use.

    Returns:
        A function from the generator's output, or its true value, to the discriminator's input.

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


def discriminate(networks: Networks, photos: DiscriminatorInput) -> Tensor:
    """Return the discriminator's logits, float32, of a batch of photos."""
    assert networks.discriminator is not None
    if networks.uses_features:
        logits: Tensor = networks.discriminator(photos.L, photos.features, photos.which)
    else:
        logits = networks.discriminator(photos.L, photos.photo)
    return logits.float()
