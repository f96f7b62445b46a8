"""Monitoring of training: samples, metrics on validation photos, warnings, finite losses."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from photochrom.errors import RunError
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.image_grid import image_grid
from photochrom.training.evaluation.metrics import colorfulness, psnr
from photochrom.training.recipes.recipe import Inference, Recipe
from photochrom.training.runs import prepare_inference
from photochrom.training.tensors import denormalize_lab, lab_to_rgb, to_L_ab

SAMPLES = 400
"""Largest number of photos of the validation split for colourfulness and PSNR."""
_BATCH_SIZE = 8
"""Number of photos that are colorized at once, if batch norms do not depend on it."""
GRID_ROWS = 6
"""Number of them in the image grid."""
GREY_RATIO = 0.2
"""Below this share of the real photos' colourfulness, the output has collapsed to grey."""
MAX_RATIO = 1.5
"""Above this multiple of the real photos' colourfulness, the output is oversaturated."""
MAX_ACCURACY = 0.98
"""Above this on both real and fake photos, the discriminator no longer helps the generator."""


class NonFiniteLossError(RunError):
    """A loss or weight is infinite or not a number. The state saved before it stays."""


def check_losses(sums: dict[str, Tensor], epoch: int, step: int) -> None:
    """Raise `NonFiniteLossError` if a sum of losses is not finite."""
    if not all(math.isfinite(float(value)) for value in sums.values()):
        values = ", ".join(f"{key} {float(value):g}" for key, value in sums.items())
        raise NonFiniteLossError(
            f"a loss is no longer finite in epoch {epoch + 1} by step {step} (sums: {values}); "
            "lower optimization.lr_g or adversarial.lr_d, or train with --precision 32"
        )


def check_weights(generator: nn.Module, epoch: int) -> None:
    """Raise `NonFiniteLossError` if a weight or statistic is not finite.

    The statistics of a norm can overflow without any effect on the losses.
    """
    for key, value in generator.state_dict().items():
        if not torch.isfinite(value).all():
            raise NonFiniteLossError(
                f"the generator's weights are no longer finite after epoch {epoch + 1} ({key}); "
                "lower optimization.lr_g or adversarial.lr_d"
            )


def monitor(
    generator: nn.Module,
    photos: PackedPhotos,
    recipe: Recipe,
    run: Path,
    line: dict[str, Any],
    writer: SummaryWriter,
) -> None:
    """Colorize fixed photos of the validation split; save metrics and a grid of samples.

    PSNR, colourfulness and warnings are added to `line`, the epoch's line of log.jsonl. TensorBoard
    gets its numbers and the grid.

    Raises:
        NonFiniteLossError: If a photo is colorized with infinite values or NaN.
    """
    with _ready_for_inference(generator, recipe.inference):
        rows, metrics = _colorize_samples(generator, photos, recipe)
    line |= metrics
    line["colorfulness_ratio"] = metrics["colorfulness"] / max(metrics["colorfulness_truth"], 1e-6)
    line["warnings"] = list_warnings(line)
    image = image_grid(rows, ["grey", "generated", "truth"])
    image.save(run / "samples" / f"epoch_{line['epoch']:03d}.png")
    for key, value in line.items():
        if isinstance(value, int | float) and key not in ("epoch", "step"):
            writer.add_scalar(key, value, line["step"])
    writer.add_image("samples", np.asarray(image), line["step"], dataformats="HWC")
    writer.flush()


@contextmanager
def _ready_for_inference(generator: nn.Module, inference: Inference) -> Iterator[None]:
    """Prepare a generator for inference; give its batch norms their running averages back."""
    norms = [
        (layer, layer.track_running_stats, layer.running_mean, layer.running_var)
        for layer in generator.modules()
        if isinstance(layer, nn.BatchNorm2d)
    ]
    prepare_inference(generator, inference)
    try:
        yield
    finally:
        for layer, is_tracked, mean, variance in norms:
            layer.track_running_stats = is_tracked
            layer.running_mean, layer.running_var = mean, variance


@torch.no_grad()
def _colorize_samples(
    generator: nn.Module, photos: PackedPhotos, recipe: Recipe
) -> tuple[list[list[NDArray[np.uint8]]], dict[str, float]]:
    """Return rows of grey, generated and real photos, and metrics for the log.

    Photos have `data.image_size`. `grey_share` is the share of photos whose output is grey.
    """
    count = min(SAMPLES, len(photos))
    data, output = recipe.data, recipe.output.build()
    norms = [layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]
    size = _BATCH_SIZE if all(norm.running_mean is not None for norm in norms) else 1
    rows: list[list[NDArray[np.uint8]]] = []
    scores: list[tuple[float, float, float]] = []
    for start in range(0, count, size):
        indices = list(range(start, min(start + size, count)))
        rgb = photos.batch(
            indices, data.image_size, None, data.crop_min, enlarge=data.enlarge_small
        )
        L, ab = to_L_ab(rgb.to(next(generator.parameters()).device))
        predicted = output.ab(output.values(generator(L).float(), L))
        if not torch.isfinite(predicted).all():  # finite weights can overflow
            raise NonFiniteLossError(
                "the generator's output for validation photos is no longer finite; "
                "lower optimization.lr_g or adversarial.lr_d"
            )
        generated = lab_to_rgb(denormalize_lab(L, predicted))
        grey = lab_to_rgb(denormalize_lab(L, torch.zeros_like(ab)))
        columns = [x.permute(0, 2, 3, 1).cpu().numpy() for x in (grey, generated)]
        columns.append(rgb.numpy().astype(np.float32) / 255)
        for photo in zip(*columns, strict=True):
            _, fake, real = photo
            scores.append((psnr(fake, real), colorfulness(fake), colorfulness(real)))
            if len(rows) < GRID_ROWS:
                rows.append([np.rint(image * 255).astype(np.uint8) for image in photo])
    psnrs, fake_colors, real_colors = np.array(scores).T
    metrics = {
        "psnr": psnrs.mean(),
        "colorfulness": fake_colors.mean(),
        "colorfulness_truth": real_colors.mean(),
        "grey_share": (fake_colors < GREY_RATIO * real_colors).mean(),
    }
    return rows, {key: float(value) for key, value in metrics.items()}


def list_warnings(line: dict[str, Any]) -> list[str]:
    """Return the warnings about an epoch, from its line of log.jsonl."""
    warnings = []
    if line["colorfulness_ratio"] < GREY_RATIO:
        warnings.append(
            f"the output is nearly grey: {line['colorfulness_ratio']:.0%} of the real photos' "
            "colourfulness; a lower objective.l1.weight or a stronger generator may help"
        )
    if line["colorfulness_ratio"] > MAX_RATIO:
        warnings.append(
            f"the output is oversaturated: {line['colorfulness_ratio']:.0%} of the real photos' "
            "colourfulness; a higher objective.l1.weight or a lower optimization.lr_g may help"
        )
    if min(line.get("d_real_accuracy", 0), line.get("d_fake_accuracy", 0)) > MAX_ACCURACY:
        warnings.append(
            "the discriminator is right about nearly every photo, so the generator learns little "
            "from it; a lower adversarial.lr_d may help, or label_real=0.9 of the losses that "
            "have it"
        )
    return warnings
