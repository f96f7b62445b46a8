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
from photochrom.darkroom.tensors import target, whole_photo

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


def l1_step(fabric: Fabric, networks: Networks, L: Tensor, ab: Tensor) -> Losses:
    """Take one step of the generator on L1 alone.

    L1 is the mean absolute error over all that the generator makes, where equation (7) of the
    report writes a sum; only with the mean does the usual lambda of 100 make sense.

    Args:
        fabric: What runs the backward pass.
        networks: Their generator and its optimizer are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].

    Returns:
        `g_l1` and `g_updates`, detached scalars.
    """
    loss = F.l1_loss(networks.generator(L).float(), target(L, ab, networks.output))
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()
    return {"g_l1": loss.detach(), "g_updates": torch.ones_like(loss)}


def gan_step(
    fabric: Fabric,
    networks: Networks,
    L: Tensor,
    ab: Tensor,
    *,
    lambda_l1: float,
    mode: GanMode = "bce",
    label_real: float = 1.0,
    g_steps: int = 1,
    phase: Phase = "gan",
    d_threshold: float | None = None,
) -> Losses:
    """Take one step of the discriminator and then `g_steps` of the generator, on the same photos.

    The discriminator minimises the mean of its two losses, (d_real + d_fake) / 2; the generator
    minimises g_gan + lambda_l1 * g_l1, equation (7) of the report.

    Args:
        fabric: What runs the backward passes.
        networks: All four parts are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        lambda_l1: Weight of the mean absolute error.
        mode: The form of the adversarial loss.
        label_real: The discriminator's target for real photos.
        g_steps: Generator steps for the one discriminator step.
        phase: `gan`; with `d` or `g` only that network learns.
        d_threshold: The discriminator learns only if its loss is above this; None: always.

    Returns:
        Detached scalars: `d_real`, `d_fake`, `g_gan`, `g_l1` (the last generator step's); the
        shares of right verdicts before the step, `d_real_accuracy` and `d_fake_accuracy`; and
        `g_updates`, `d_updates`.

    Raises:
        ValueError: If the networks lack a discriminator.
    """
    generator, discriminator, opt_d = networks.generator, networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None:
        raise ValueError("gan_step needs a discriminator and its optimizer; use l1_step without")
    truth = target(L, ab, networks.output)
    with torch.set_grad_enabled(phase != "d"):
        made = generator(L).float()

    def judge(photo: Tensor) -> Tensor:
        logits: Tensor = discriminator(L, whole_photo(photo, L, networks.output))
        return logits.float()

    discriminator.requires_grad_(True)
    real_logits, fake_logits = judge(truth), judge(made.detach())
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    d_loss = 0.5 * (d_real + d_fake)
    d_learns = phase != "g" and (d_threshold is None or d_loss.item() > d_threshold)
    if d_learns:
        opt_d.zero_grad(set_to_none=True)
        fabric.backward(d_loss)
        opt_d.step()

    discriminator.requires_grad_(False)
    g_gan, g_l1 = generator_gan_loss(fake_logits, mode), F.l1_loss(made, truth)
    g_updates = 0 if phase == "d" else g_steps
    for step in range(g_updates):
        if step > 0:
            made = generator(L).float()
        g_gan, g_l1 = generator_gan_loss(judge(made), mode), F.l1_loss(made, truth)
        networks.opt_g.zero_grad(set_to_none=True)
        fabric.backward(g_gan + lambda_l1 * g_l1)
        networks.opt_g.step()

    boundary = 0.5 if mode == "lsgan" else 0.0
    return {
        "d_real": d_real.detach(),
        "d_fake": d_fake.detach(),
        "g_gan": g_gan.detach(),
        "g_l1": g_l1.detach(),
        "d_real_accuracy": (real_logits > boundary).float().mean(),
        "d_fake_accuracy": (fake_logits <= boundary).float().mean(),
        "g_updates": torch.full_like(g_l1.detach(), g_updates),
        "d_updates": torch.full_like(d_loss.detach(), d_learns),
    }
