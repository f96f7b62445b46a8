"""One step of training: every gradient of the project is computed here.

The steps take networks and tensors and return detached scalars; they know nothing of files,
recipes or progress. The keys are those of log.jsonl: d_real, d_fake, g_gan, g_l1, and
d_real_accuracy, d_fake_accuracy.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from photochrom.darkroom.losses import gan_loss, generator_gan_loss
from photochrom.darkroom.recipes import GanMode

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Networks:
    """What is trained, each network with its optimizer; without a discriminator, L1 alone."""

    generator: nn.Module
    opt_g: Optimizer
    discriminator: nn.Module | None = None
    opt_d: Optimizer | None = None


def l1_loss(output: Tensor, L: Tensor, ab: Tensor) -> Tensor:
    """Return the mean absolute error of a generator's output, over ab or over Lab.

    Args:
        output: What the generator made of `L`: ab (B, 2, H, W) or Lab (B, 3, H, W).
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: The truth, shape (B, 2, H, W), in [-1, 1].

    Returns:
        A scalar: the mean, where equation (7) writes a sum; only with the mean does the usual
        lambda of 100 make sense.
    """
    truth = torch.cat([L, ab], dim=1)[:, -output.shape[1] :]
    return F.l1_loss(output, truth)


def as_lab(output: Tensor, L: Tensor) -> Tensor:
    """Return Lab (B, 3, H, W) of a generator's output, which is ab or already Lab."""
    return output if output.shape[1] == 3 else torch.cat([L, output], dim=1)


def l1_step(fabric: Fabric, networks: Networks, L: Tensor, ab: Tensor) -> Losses:
    """Take one step of the generator on L1 alone.

    Args:
        fabric: What runs the backward pass.
        networks: Their generator and its optimizer are used, and changed.
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].

    Returns:
        `g_l1`, a detached scalar.
    """
    loss = l1_loss(networks.generator(L).float(), L, ab)
    networks.opt_g.zero_grad(set_to_none=True)
    fabric.backward(loss)
    networks.opt_g.step()
    return {"g_l1": loss.detach()}


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

    Returns:
        Detached scalars: `d_real`, `d_fake`, `g_gan`, `g_l1` (the last generator step's), and the
        shares of right verdicts before the step, `d_real_accuracy` and `d_fake_accuracy`.

    Raises:
        ValueError: If the networks lack a discriminator.
    """
    generator, discriminator, opt_d = networks.generator, networks.discriminator, networks.opt_d
    if discriminator is None or opt_d is None:
        raise ValueError("gan_step needs a discriminator and its optimizer; use l1_step without")
    real_lab = torch.cat([L, ab], dim=1)
    output = generator(L).float()

    discriminator.requires_grad_(True)
    real_logits = discriminator(L, real_lab).float()
    fake_logits = discriminator(L, as_lab(output, L).detach()).float()
    d_real = gan_loss(real_logits, True, mode, label_real)
    d_fake = gan_loss(fake_logits, False, mode)
    opt_d.zero_grad(set_to_none=True)
    fabric.backward(0.5 * (d_real + d_fake))
    opt_d.step()

    discriminator.requires_grad_(False)
    for step in range(g_steps):
        if step > 0:
            output = generator(L).float()
        g_gan = generator_gan_loss(discriminator(L, as_lab(output, L)).float(), mode)
        g_l1 = l1_loss(output, L, ab)
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
    }
