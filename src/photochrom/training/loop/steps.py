"""One step of training: every gradient of the project is computed here.

The steps take networks and tensors and return detached scalars; they know nothing of files,
recipes or progress. The keys are those of log.jsonl: d_real, d_fake, g_gan, g_l1,
d_real_accuracy, d_fake_accuracy, and g_updates, d_updates: how often a network's weights changed.
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
from photochrom.training.tensors import target, to_rgb, whole_photo

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """What is trained, each network with its optimizer; without a discriminator, L1 alone."""

    generator: nn.Module
    opt_g: Optimizer
    discriminator: nn.Module | None = None
    opt_d: Optimizer | None = None
    output: Output = "ab"
    """What the generator makes."""
    features: nn.Module | None = None
    """`photochrom.training.networks.encoders.FeatureNetworks`, where the discriminator judges
    features or the generator learns from the distance of features."""
    judges_features: bool = False
    """Whether it is those that the discriminator takes, and not the photo."""


@dataclass(frozen=True)
class Seen:
    """Photos as the discriminator and the perceptual loss see them, all of them alike."""

    L: Tensor
    photo: Tensor
    """Lab or RGB: what `whole_photo` returns."""
    features: list[Tensor]
    """From fine to coarse; none where the networks have no `features`."""
    which: int = 0
    """The place of the feature network that gave them."""

    def detach(self) -> "Seen":
        """Return the same without the way back to the generator."""
        return replace(
            self, photo=self.photo.detach(), features=[x.detach() for x in self.features]
        )


def see(
    networks: Networks, L: Tensor, view: float = 1.0, which: int = 0
) -> Callable[[Tensor], Seen]:
    """Return a look at photos: from what `target` returns or a generator made to what is seen.

    Args:
        networks: What says whether there are features to see.
        L: Shape (B, 1, H, W), in [-1, 1].
        view: Side of what is seen, as a share of the photo's. Below 1 it is placed at random and
            every other time mirrored, for each photo of the batch anew, but the same in every look.
        which: The place of the feature network that is used.
    """
    cut = _cutter(L, view)
    seen_L = cut(L)

    def look(made: Tensor) -> Seen:
        photo = cut(whole_photo(made, L, networks.output))
        if networks.features is None:
            return Seen(seen_L, photo, [])
        features = networks.features(to_rgb(photo, networks.output), which)
        return Seen(seen_L, photo, features, which)

    return look


def _cutter(L: Tensor, view: float) -> Callable[[Tensor], Tensor]:
    """Return what cuts the same windows out of photos of the shape of L, mirroring some."""
    if view == 1.0:
        return lambda photos: photos
    count, _, height, width = L.shape
    rows, columns = round(view * height), round(view * width)
    tops = drawn(lambda n: torch.randint(height - rows + 1, (n,)), count).tolist()
    lefts = drawn(lambda n: torch.randint(width - columns + 1, (n,)), count).tolist()
    mirrored = (drawn(torch.rand, count) < 0.5).tolist()

    def cut(photos: Tensor) -> Tensor:
        windows = []
        for photo, top, left, mirror in zip(photos, tops, lefts, mirrored, strict=True):
            window = photo[:, top : top + rows, left : left + columns]
            windows.append(window.flip(2) if mirror else window)
        return torch.stack(windows)

    return cut


def l1_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    shown: Sequence[Tensor] | None = None,
    lambda_l1: float = 1.0,
    lambda_perceptual: float = 0.0,
    view: float = 1.0,
    which: int = 0,
) -> Losses:
    """Take one step of the generator without a discriminator: on L1, and on features if asked.

    L1 is the mean absolute error over all that the generator makes, where equation (7) of the
    report writes a sum; only with the mean does the usual lambda of 100 make sense.

    Args:
        fabric: What runs the backward pass.
        networks: Their generator and its optimizer are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        shown: The generator's inputs, if they are not L alone: L degraded, and hints.
        lambda_l1: Weight of the mean absolute error; it matters only beside another term.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` have to have features.
        view: What of the photos the perceptual loss sees, as in `see`.
        which: The place of the feature network that is used.

    Returns:
        `g_l1`, `g_updates` and, if it has a weight, `g_perceptual`: detached scalars.
    """
    truth = target(L, ab, networks.output)
    made = networks.generator(*(shown or [L])).float()
    losses = {"g_l1": F.l1_loss(made, truth)}
    if lambda_perceptual > 0:
        look = see(networks, L, view, which)
        losses["g_perceptual"] = _perceptual(look(made), look(truth))
    _update_generator(
        fabric, networks, losses, {"g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    )
    found = {key: value.detach() for key, value in losses.items()}
    return {**found, "g_updates": torch.ones_like(found["g_l1"])}


def _perceptual(made: Seen, truth: Seen) -> Tensor:
    if not made.features:
        raise ValueError("lambda_perceptual is above 0, and the networks have no features")
    return perceptual_loss(made.features, truth.features)


def _update_generator(
    fabric: Fabric, networks: Networks, losses: Losses, weights: dict[str, float]
) -> None:
    """Take one step of the generator on the weighted sum of its losses."""
    loss = torch.stack([weights[key] * value for key, value in losses.items()]).sum()
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()


def _without_gradients(fabric: Fabric, network: nn.Module) -> AbstractContextManager[object]:
    """Have DDP, where there are several processes, wait for no gradients of a network."""
    if fabric.world_size == 1:
        return nullcontext()
    return fabric.no_backward_sync(cast(Any, network))


def judge(networks: Networks, seen: Seen) -> Tensor:
    """Return the discriminator's logits on photos.

    Raises:
        ValueError: If the networks have no discriminator.
    """
    if networks.discriminator is None:
        raise ValueError("there is no discriminator to judge photos; use l1_step without one")
    given = (seen.features, seen.which) if networks.judges_features else (seen.photo,)
    logits: Tensor = networks.discriminator(seen.L, *given)
    return logits.float()


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    shown: Sequence[Tensor] | None = None,
    lambda_l1: float,
    lambda_gan: float = 1.0,
    lambda_perceptual: float = 0.0,
    view: float = 1.0,
    which: int = 0,
    mode: GanMode = "bce",
    label_real: float = 1.0,
    g_steps: int = 1,
    phase: Phase = "gan",
    d_threshold: float | None = None,
) -> Losses:
    """Take one step of the discriminator and then `g_steps` of the generator, on the same photos.

    The discriminator minimises the mean of its two losses, (d_real + d_fake) / 2; the generator
    minimises lambda_gan * g_gan + lambda_l1 * g_l1 + lambda_perceptual * g_perceptual: equation
    (7) of the report with weights on its other terms.

    Args:
        fabric: What runs the backward passes.
        networks: All four parts are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        shown: The generator's inputs, if they are not L alone: L degraded, and hints. The
            discriminator judges ab together with L.
        lambda_l1: Weight of the mean absolute error.
        lambda_gan: Weight of the adversarial loss.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` have to have features.
        view: What of the photos discriminator and perceptual loss see, as in `see`.
        which: The place of the feature network that both use in this step.
        mode: The form of the adversarial loss.
        label_real: The discriminator's target for real photos.
        g_steps: Generator steps for the one discriminator step.
        phase: `gan`; with `d` or `g` only that network learns.
        d_threshold: The discriminator learns only if its loss, over the photos of all processes, is
            above this; None: always.

    Returns:
        Detached scalars: `d_real`, `d_fake`; the last generator step's `g_gan`, `g_l1` and, if it
        has a weight, `g_perceptual`; the shares of right verdicts before the step,
        `d_real_accuracy` and `d_fake_accuracy`; and `g_updates`, `d_updates`.

    Raises:
        ValueError: If the networks lack a discriminator.
    """
    generator, discriminator, opt_d = networks.generator, networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None:
        raise ValueError("gan_step needs a discriminator and its optimizer; use l1_step without")
    truth = target(L, ab, networks.output)
    shown = shown or [L]
    with torch.set_grad_enabled(phase != "d"):
        made = generator(*shown).float()

    look = see(networks, L, view, which)
    with torch.no_grad():
        real_seen = look(truth)
    made_seen = look(made)

    discriminator.requires_grad_(True)
    real_logits = judge(networks, real_seen)
    fake_logits = judge(networks, made_seen.detach())
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    d_loss = 0.5 * (d_real + d_fake)
    d_learns = phase != "g" and (d_threshold is None or mean(d_loss.detach()).item() > d_threshold)
    if d_learns:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    discriminator.requires_grad_(False)
    losses = {"g_gan": generator_gan_loss(fake_logits, mode), "g_l1": F.l1_loss(made, truth)}
    weights = {"g_gan": lambda_gan, "g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    g_updates = 0 if phase == "d" else g_steps
    for step in range(g_updates):
        if step > 0:
            made = generator(*shown).float()
            made_seen = look(made)
        with _without_gradients(fabric, discriminator):
            verdict = judge(networks, made_seen)
        losses = {"g_gan": generator_gan_loss(verdict, mode), "g_l1": F.l1_loss(made, truth)}
        if lambda_perceptual > 0:
            losses["g_perceptual"] = _perceptual(made_seen, real_seen)
        _update_generator(fabric, networks, losses, weights)

    boundary = 0.5 if mode == "lsgan" else 0.0
    return {
        "d_real": d_real.detach(),
        "d_fake": d_fake.detach(),
        **{key: value.detach() for key, value in losses.items()},
        "d_real_accuracy": (real_logits > boundary).float().mean(),
        "d_fake_accuracy": (fake_logits <= boundary).float().mean(),
        "g_updates": torch.full_like(d_loss.detach(), g_updates),
        "d_updates": torch.full_like(d_loss.detach(), d_learns),
    }
