"""One step of training: every gradient of the project is computed here.

The steps take networks and tensors and return detached scalars; they know nothing of files,
recipes or progress. The keys are those of log.jsonl: d_real, d_fake, g_gan, g_l1,
d_real_accuracy, d_fake_accuracy, and g_updates, d_updates: how often a network's weights changed.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.darkroom.losses import gan_loss, generator_gan_loss
from photochrom.darkroom.recipes import GanMode, Output, Phase
from photochrom.darkroom.tensors import target, to_rgb, whole_photo

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
    perceptual: nn.Module | None = None
    """A `PerceptualLoss`, where the generator learns from one."""


def l1_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    L_seen: Tensor | None = None,
    lambda_l1: float = 1.0,
    lambda_perceptual: float = 0.0,
) -> Losses:
    """Take one step of the generator without a discriminator: on L1, and on features if asked.

    L1 is the mean absolute error over all that the generator makes, where equation (7) of the
    report writes a sum; only with the mean does the usual lambda of 100 make sense.

    Args:
        fabric: What runs the backward pass.
        networks: Their generator and its optimizer are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        L_seen: What the generator is shown instead of L: the same photos, aged.
        lambda_l1: Weight of the mean absolute error; it matters only beside another term.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` has to have one.

    Returns:
        `g_l1`, `g_updates` and, if it has a weight, `g_perceptual`: detached scalars.
    """
    truth = target(L, ab, networks.output)
    made = networks.generator(L if L_seen is None else L_seen).float()
    losses = {"g_l1": F.l1_loss(made, truth)}
    if lambda_perceptual > 0:
        losses["g_perceptual"] = _perceptual(networks, made, truth, L)
    _update_generator(
        fabric, networks, losses, {"g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    )
    found = {key: value.detach() for key, value in losses.items()}
    return {**found, "g_updates": torch.ones_like(found["g_l1"])}


def _perceptual(networks: Networks, made: Tensor, truth: Tensor, L: Tensor) -> Tensor:
    if networks.perceptual is None:
        raise ValueError("lambda_perceptual is above 0, and the networks have no perceptual loss")
    photos = [to_rgb(whole_photo(x, L, networks.output), networks.output) for x in (made, truth)]
    loss: Tensor = networks.perceptual(*photos)
    return loss


def _update_generator(
    fabric: Fabric, networks: Networks, losses: Losses, weights: dict[str, float]
) -> None:
    """Take one step of the generator on the weighted sum of its losses."""
    loss = torch.stack([weights[key] * value for key, value in losses.items()]).sum()
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()


def _let_learn(optimizer: Optimizer, learn: bool) -> None:
    """Let gradients reach the weights of an optimizer, and no frozen ones of its network."""
    for group in optimizer.param_groups:
        for weights in group["params"]:
            weights.requires_grad_(learn)


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    L_seen: Tensor | None = None,
    lambda_l1: float,
    lambda_gan: float = 1.0,
    lambda_perceptual: float = 0.0,
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
        L_seen: What the generator is shown instead of L: the same photos, aged. The discriminator
            judges ab together with L.
        lambda_l1: Weight of the mean absolute error.
        lambda_gan: Weight of the adversarial loss.
        lambda_perceptual: Weight of the perceptual loss; above 0, `networks` has to have one.
        mode: The form of the adversarial loss.
        label_real: The discriminator's target for real photos.
        g_steps: Generator steps for the one discriminator step.
        phase: `gan`; with `d` or `g` only that network learns.
        d_threshold: The discriminator learns only if its loss is above this; None: always.

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
    shown = L if L_seen is None else L_seen
    with torch.set_grad_enabled(phase != "d"):
        made = generator(shown).float()

    def judge(photo: Tensor) -> Tensor:
        logits: Tensor = discriminator(L, whole_photo(photo, L, networks.output))
        return logits.float()

    _let_learn(opt_d, True)
    real_logits, fake_logits = judge(truth), judge(made.detach())
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    d_loss = 0.5 * (d_real + d_fake)
    d_learns = phase != "g" and (d_threshold is None or d_loss.item() > d_threshold)
    if d_learns:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    _let_learn(opt_d, False)
    losses = {"g_gan": generator_gan_loss(fake_logits, mode), "g_l1": F.l1_loss(made, truth)}
    weights = {"g_gan": lambda_gan, "g_l1": lambda_l1, "g_perceptual": lambda_perceptual}
    g_updates = 0 if phase == "d" else g_steps
    for step in range(g_updates):
        if step > 0:
            made = generator(shown).float()
        losses = {"g_gan": generator_gan_loss(judge(made), mode), "g_l1": F.l1_loss(made, truth)}
        if lambda_perceptual > 0:
            losses["g_perceptual"] = _perceptual(networks, made, truth, L)
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
