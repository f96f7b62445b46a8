"""Monitoring after every epoch: samples, metrics on validation photos, warnings."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.image_grid import image_grid
from photochrom.training.evaluation.metrics import colorfulness, psnr
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import denormalize_lab, lab_to_rgb, prediction_to_ab, to_L_ab

SAMPLES = 64
"""Photos of the eval split on which colourfulness and PSNR are watched."""
SHOWN = 6
"""How many of them make the picture grid."""
GREY_RATIO = 0.2
"""Below this share of the truth's colourfulness, the output counts as collapsed to grey."""
WON_ACCURACY = 0.98
"""Above this on real and on generated photos alike, the discriminator has won outright."""


def monitor(
    generator: nn.Module,
    photos: PackedPhotos,
    recipe: Recipe,
    run: Path,
    line: dict[str, Any],
    writer: SummaryWriter,
) -> None:
    """Colorize fixed photos of the eval split after an epoch; log metrics and a grid of samples.

    The log's `line` gets PSNR, colourfulness and the warnings; TensorBoard gets all of it and the
    grid.
    """
    rows, seen = _samples(generator, photos, recipe)
    line |= seen
    line["colorfulness_ratio"] = seen["colorfulness"] / max(seen["colorfulness_truth"], 1e-6)
    line["warnings"] = warnings_of(line)
    picture = image_grid(rows, ["grey", "generated", "truth"])
    picture.save(run / "samples" / f"epoch_{line['epoch']:03d}.png")
    for key, value in line.items():
        if isinstance(value, int | float) and key not in ("epoch", "step"):
            writer.add_scalar(key, value, line["step"])
    writer.add_image("samples", np.asarray(picture), line["step"], dataformats="HWC")
    writer.flush()


@torch.no_grad()
def _samples(
    generator: nn.Module, photos: PackedPhotos, recipe: Recipe
) -> tuple[list[list[NDArray[np.uint8]]], dict[str, float]]:
    """Return rows of grey, generated and true photos, and the log's figures of them."""
    watched = list(range(min(SAMPLES, len(photos))))
    size, enlarge = recipe.image_size, recipe.enlarge_small
    rgb = photos.batch(watched, size, None, recipe.crop_min, enlarge=enlarge)
    L, ab = to_L_ab(rgb.to(next(generator.parameters()).device))
    generator.eval()
    made = torch.cat([generator(part).float() for part in torch.split(L, 8)])
    fake = lab_to_rgb(denormalize_lab(L, prediction_to_ab(made, recipe.output)))
    grey = lab_to_rgb(denormalize_lab(L, torch.zeros_like(ab)))
    columns = [x.permute(0, 2, 3, 1).cpu().numpy() for x in (grey, fake)]
    columns.append(rgb.numpy().astype(np.float32) / 255)
    seen = {
        "psnr": np.mean([psnr(*pair) for pair in zip(*columns[1:], strict=True)]),
        "colorfulness": np.mean([colorfulness(x) for x in columns[1]]),
        "colorfulness_truth": np.mean([colorfulness(x) for x in columns[2]]),
    }
    shown = range(min(SHOWN, len(rgb)))
    rows = [[np.rint(column[i] * 255).astype(np.uint8) for column in columns] for i in shown]
    return rows, {key: float(value) for key, value in seen.items()}


def warnings_of(line: dict[str, Any]) -> list[str]:
    """Return what is wrong with an epoch, a sentence each, from its line of the log."""
    found = []
    if line["colorfulness_ratio"] < GREY_RATIO:
        found.append(
            f"the output is nearly grey: {line['colorfulness_ratio']:.0%} of the truth's "
            "colourfulness; a lower lambda_l1 or a stronger generator may help"
        )
    if min(line.get("d_real_accuracy", 0), line.get("d_fake_accuracy", 0)) > WON_ACCURACY:
        found.append(
            "the discriminator is right about nearly every photo, so the generator learns little "
            "from it; a lower lr_d or label_real=0.9 may help"
        )
    return found
