"""The speed of training in images and FLOPs, and the device's rate of matrix products."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from photochrom.training.loop.batches import Batch
from photochrom.training.loop.building import build_discriminator
from photochrom.training.loop.steps import Networks, gan_step, generator_step
from photochrom.training.losses.objective import Objective
from photochrom.training.recipes.recipe import Phase, Recipe
from photochrom.training.runs import build_generator, without_pretrained_weights


def flops_per_image(recipe: Recipe) -> dict[Phase, float]:
    """Return the model FLOPs of one image in each phase of a recipe, forward and backward.

    Convolutions and matrix products are counted, multiplication and addition separately, on tensors
    without storage. `d_threshold` is ignored: both networks learn. Feature networks of terms are
    not counted.
    """
    count, size = recipe.data.batch_size, recipe.data.image_size
    with torch.device("meta"):
        generator: nn.Module = build_generator(without_pretrained_weights(recipe))
        discriminator = build_discriminator(recipe)
        L, ab = (torch.empty(count, channels, size, size) for channels in (1, 2))
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    networks = Networks(
        generator,
        torch.optim.SGD(generator.parameters(), lr=0.0),
        discriminator,
        None if discriminator is None else torch.optim.SGD(discriminator.parameters(), lr=0.0),
    )
    batch = Batch(L, ab, [L])
    objective = Objective.of(recipe)
    terms = {
        k: v for k, v in objective.terms.items() if not {"network", "networks"} & v.settings.keys()
    }
    objective = replace(objective, terms=terms, window=1.0, d_threshold=None)
    flops: dict[Phase, float] = {}
    for phase in dict.fromkeys(recipe.phase(epoch) for epoch in range(recipe.total_epochs)):
        with FlopCounterMode(display=False, custom_mapping=_CORRECTED) as counter:
            if phase == "pretrain" or discriminator is None:
                generator_step(fabric, networks, batch, objective, pretrain=phase == "pretrain")
            else:
                gan_step(fabric, networks, batch, objective, phase=phase)
        flops[phase] = counter.get_total_flops() / count
    return flops


def _convolution_backward(
    grad_out: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, **_: Any
) -> int:
    """Count a convolution's backward pass: the forward FLOPs for each required gradient.

    PyTorch's count ignores groups.
    """
    transposed, mask = rest[4], rest[7]
    forward: int = conv_flop_count(list(x), list(weight), list(grad_out), transposed=transposed)
    return forward * (int(mask[0]) + int(mask[1]))


_CORRECTED = {torch.ops.aten.convolution_backward: _convolution_backward}


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOPs per second of products of large square matrices: the best within a second.

    Cached, so the number of threads is that of the first call.
    """
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + 1.0
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def speed(recipe: Recipe, log: list[dict[str, Any]], matrix_flops: float) -> dict[str, Any]:
    """Return the speed of a run, without the samples, metrics and disk access between epochs.

    Args:
        recipe: Its recipe.
        log: Its log.jsonl.
        matrix_flops: From `matrix_rate`.

    Returns:
        For the run and for each of its `phases`: `images_per_second`, `flops_per_image`,
        `flops_per_second` and `share_of_matrix_rate`; for the run also `matrix_flops_per_second`.
    """
    per_image = flops_per_image(recipe)

    def rates(lines: list[dict[str, Any]]) -> dict[str, float]:
        seconds = sum(line["seconds"] for line in lines)
        images = sum(line["seconds"] * line["images_per_second"] for line in lines)
        flops = sum(
            line["seconds"] * line["images_per_second"] * per_image[recipe.phase(line["epoch"] - 1)]
            for line in lines
        )
        return {
            "images_per_second": images / seconds,
            "flops_per_image": flops / images,
            "flops_per_second": flops / seconds,
            "share_of_matrix_rate": flops / seconds / matrix_flops,
        }

    phases = {
        phase: rates([x for x in log if recipe.phase(x["epoch"] - 1) == phase])
        for phase in per_image
    }
    return {**rates(log), "matrix_flops_per_second": matrix_flops, "phases": phases}
