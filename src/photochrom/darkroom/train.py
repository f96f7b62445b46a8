"""The training loop: one for all recipes.

What is random in a step (which photos, where they are cropped, whether they are mirrored, dropout)
is drawn from the recipe's seed and the number of the step or epoch alone. So a run that was killed
and resumed takes the same steps as one that was not.
"""

import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from photochrom.darkroom import runs
from photochrom.darkroom.aging import age
from photochrom.darkroom.averaging import MovingAverage
from photochrom.darkroom.building import build, check_size, start_from
from photochrom.darkroom.data import PackedPhotos
from photochrom.darkroom.discriminators import build_discriminator
from photochrom.darkroom.gan import Networks, gan_step, l1_step
from photochrom.darkroom.generators import build_generator
from photochrom.darkroom.recipe import Recipe
from photochrom.darkroom.schedules import Schedule
from photochrom.darkroom.tensors import to_L_ab
from photochrom.darkroom.watch import look
from photochrom.errors import DataError, RunError

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32", "bf16"]

STATE_EVERY_SECONDS = 300.0
"""How often, at least, the state is saved in mid-epoch."""
CHECK_EVERY = 25
"""Steps between two looks at whether the losses are finite; each look waits for the device."""


# It would say in what precision it was just told to train.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


class NonFiniteLossError(RunError):
    """A loss became infinite or no number; the state saved before it is untouched."""


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    name: str = "run",
    device: Device = "auto",
    precision: Precision = "32",
    resume: Path | None = None,
    progress: bool = True,
    on_step: Callable[[int], None] | None = None,
) -> Path:
    """Train a recipe, from the start or from where a run stopped.

    Args:
        recipe: What to train.
        data: A prepared data set.
        out: Where the new run directory is made; unused with `resume`.
        name: Ends the name of the run directory.
        device: `auto` takes a GPU if there is one.
        precision: `bf16` computes in bfloat16 where that is safe, with weights in float32.
        resume: A run to go on with; recipe, data and precision have to be the same. On another
            device the weights end up the same but for rounding.
        progress: Show a bar on the terminal, and the warnings that go into the log.
        on_step: Called with the number of steps taken after each of them.

    Returns:
        The run directory.

    Raises:
        DataError: If the data are not prepared, too few, or too small for the recipe.
        RecipeError: If a network cannot be built as told.
        RunError: If `resume` is no run, or one of another recipe, other data or precision, or
            the run that `generator_weights` names has no weights, or of another generator.
        ModelError: If the file that `generator_weights` names is of another generator.
        NonFiniteLossError: If a loss becomes infinite or no number.
    """
    # Load the data.
    photos = {split: PackedPhotos(data, split) for split in ("train", "eval")}
    steps_per_epoch = len(photos["train"]) // recipe.batch_size
    if steps_per_epoch == 0 or len(photos["eval"]) == 0:
        raise DataError(
            f"{data} has {len(photos['train'])} photos to train on and {len(photos['eval'])} to "
            f"look at; a batch takes {recipe.batch_size} and a look takes 1"
        )
    total_steps = recipe.total_epochs * steps_per_epoch

    # Build the networks.
    fabric = _fabric(device, precision)
    torch.manual_seed(recipe.seed)
    networks = build(recipe, fabric)
    check_size(networks, recipe, fabric.device)
    schedule = Schedule(recipe, networks, steps_per_epoch)
    average = None if recipe.ema is None else MovingAverage(networks.generator, recipe.ema)
    watched = networks.generator if average is None else average.network

    # Make the run directory, or read it.
    run_facts = {
        "data": str(data.resolve()),
        "data_fingerprint": photos["train"].fingerprint,
        "device": str(fabric.device),
        "precision": precision,
    }
    photos["train"].batch([0], recipe.image_size, None)  # too small for the recipe? say so now
    step, sums, seconds = 0, {}, 0.0
    if resume is None:
        if recipe.generator_weights != "none":
            start_from(Path(recipe.generator_weights), networks, photos["train"], recipe)
        run = runs.new_run(out, name, recipe, runs.describe_environment(**run_facts))
    else:
        run = resume
        _check_same(run, recipe, run_facts)
        state = runs.load_state(run)
        if state is not None:
            step, sums, seconds = state["step"], state["sums"], state["seconds"]
            _restore(networks, average, schedule, state)
        runs.cut_log(run, step // steps_per_epoch)
        if step >= total_steps:
            return run

    # Train.
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # sizes do not change from step to step
        photos["train"].keep_on(fabric.device)
    writer = SummaryWriter(str(run / "tensorboard"), purge_step=step)
    bar = tqdm(
        total=total_steps * recipe.batch_size,
        initial=step * recipe.batch_size,
        unit="image",
        unit_scale=True,
        disable=not progress,
    )
    saved = time.monotonic()
    for epoch in range(step // steps_per_epoch, recipe.total_epochs):
        bar.set_description(f"epoch {epoch + 1}/{recipe.total_epochs}")
        order = _order(recipe.seed, epoch, len(photos["train"]))
        started = time.monotonic()
        for first in range(step % steps_per_epoch, steps_per_epoch):
            indices = order[first * recipe.batch_size :][: recipe.batch_size]
            schedule.set_rates(step)
            losses = _step(fabric, networks, recipe, photos["train"], indices, step, epoch)
            if average is not None:
                average.update(networks.generator)
            for key, value in losses.items():
                sums[key] = sums.get(key, torch.zeros((), device=value.device)) + value
            step += 1
            bar.update(recipe.batch_size)
            if step % CHECK_EVERY == 0:
                _check_finite(sums, epoch, step)
            if step % steps_per_epoch == 0:
                break  # what follows an epoch saves the state as well
            if time.monotonic() - saved > STATE_EVERY_SECONDS:
                _check_finite(sums, epoch, step)
                saved = time.monotonic()
                spent = seconds + saved - started
                runs.save_state(run, _state(networks, average, schedule, step, sums, spent))
            if on_step is not None:
                on_step(step)

        _check_finite(sums, epoch, step)
        means = {key: float(value) / steps_per_epoch for key, value in sums.items()}
        seconds += time.monotonic() - started
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "step": step,
            "phase": recipe.phase(epoch),
            "images": step * recipe.batch_size,
            "seconds": round(seconds, 2),
            "images_per_second": round(steps_per_epoch * recipe.batch_size / seconds, 2),
            "lr_g": networks.opt_g.param_groups[-1]["lr"],
            **means,
        }
        schedule.epoch_ended(means["g_l1"])
        _check_weights(watched, epoch)
        look(watched, photos["eval"], recipe, run, line, writer)
        for warning in line["warnings"] if progress else ():
            tqdm.write(f"warning: epoch {epoch + 1}: {warning}")
        runs.append_log(run, line)
        runs.save_generator(run, watched)
        sums, seconds, saved = {}, 0.0, time.monotonic()
        runs.save_state(run, _state(networks, average, schedule, step, sums, seconds))
        if on_step is not None:
            on_step(step)
    bar.close()
    writer.close()
    return run


def _fabric(device: Device, precision: Precision) -> Fabric:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device != "auto" and not available[device]:
        usable = ", ".join(name for name, there in available.items() if there)
        raise RunError(f"there is no {device} here; give one of auto, {usable}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about workers and devices that we do not use
        fabric = Fabric(
            accelerator=device,
            devices=1,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
        fabric.launch()
    return fabric


def _order(seed: int, epoch: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def _step(
    fabric: Fabric,
    networks: Networks,
    recipe: Recipe,
    photos: PackedPhotos,
    indices: list[int],
    step: int,
    epoch: int,
) -> dict[str, Tensor]:
    """Take one step of training on the photos named by `indices`."""
    # Everything random comes from (seed, step): see the module's docstring.
    seed = (recipe.seed * 1_000_003 + step) * 2 + 1
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    rgb = photos.batch(indices, recipe.image_size, draw, recipe.crop_min)
    rgb = rgb.to(fabric.device, non_blocking=True)
    if recipe.flip:
        mirror = (torch.rand(len(indices), generator=draw) < 0.5).to(fabric.device)
        rgb = torch.where(mirror[:, None, None, None], rgb.flip(2), rgb)
    L, ab = to_L_ab(rgb)
    ab = ab * recipe.target_saturation
    networks.generator.train()
    phase = recipe.phase(epoch)
    L_seen = age(L, recipe.aging, draw) if recipe.aging > 0 else None
    if phase == "l1":
        # Pretraining is L1 alone, and L1 alone needs no weight.
        perceptual = 0.0 if recipe.discriminator is not None else recipe.lambda_perceptual
        return l1_step(
            fabric,
            networks,
            L,
            ab,
            L_seen=L_seen,
            lambda_l1=recipe.lambda_l1 if perceptual > 0 else 1.0,
            lambda_perceptual=perceptual,
            view=recipe.view,
        )
    return gan_step(
        fabric,
        networks,
        L,
        ab,
        L_seen=L_seen,
        lambda_l1=recipe.lambda_l1,
        lambda_gan=recipe.lambda_gan,
        lambda_perceptual=recipe.lambda_perceptual,
        view=recipe.view,
        mode=recipe.gan_mode,
        label_real=recipe.label_real,
        g_steps=recipe.g_steps,
        phase=phase,
        d_threshold=recipe.d_threshold,
    )


def _check_finite(sums: dict[str, Tensor], epoch: int, step: int) -> None:
    if not all(math.isfinite(float(value)) for value in sums.values()):
        values = ", ".join(f"{key} {float(value):g}" for key, value in sums.items())
        raise NonFiniteLossError(
            f"a loss is no longer finite in epoch {epoch + 1} by step {step} (sums: {values}); "
            "lower lr_g or lr_d, or train with --precision 32"
        )


def _check_weights(generator: nn.Module, epoch: int) -> None:
    """Refuse weights with which nothing can be colorized, though the losses have not shown it."""
    state = generator.state_dict()
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise NonFiniteLossError(
            f"the generator's weights are no longer finite after epoch {epoch + 1} ({broken[0]}); "
            "lower lr_g or lr_d"
        )


def _state(
    networks: Networks,
    average: MovingAverage | None,
    schedule: Schedule,
    step: int,
    sums: dict[str, Tensor],
    seconds: float,
) -> dict[str, Any]:
    state = {
        "step": step,
        "sums": sums,
        "seconds": seconds,
        "schedule": schedule.state_dict(),
        "generator": networks.generator.state_dict(),
        "opt_g": networks.opt_g.state_dict(),
    }
    if networks.discriminator is not None and networks.opt_d is not None:
        state["discriminator"] = networks.discriminator.state_dict()
        state["opt_d"] = networks.opt_d.state_dict()
    if average is not None:
        state["average"] = average.state_dict()
    return state


def _restore(
    networks: Networks, average: MovingAverage | None, schedule: Schedule, state: dict[str, Any]
) -> None:
    networks.generator.load_state_dict(state["generator"])
    networks.opt_g.load_state_dict(state["opt_g"])
    if networks.discriminator is not None and networks.opt_d is not None:
        networks.discriminator.load_state_dict(state["discriminator"])
        networks.opt_d.load_state_dict(state["opt_d"])
    if average is not None:
        average.load_state_dict(state["average"])
    schedule.load_state_dict(state["schedule"])


def _check_same(run: Path, recipe: Recipe, facts: Mapping[str, str]) -> None:
    """Refuse to go on with a run under another recipe, on other data or in another precision."""
    before = runs.read_recipe(run)
    if before != recipe:
        different = [
            f"{key} was {getattr(before, key)!r} and is {getattr(recipe, key)!r}"
            for key in recipe.__dataclass_fields__
            if getattr(before, key) != getattr(recipe, key)
        ]
        raise RunError(
            f"{run} was made with another recipe: {'; '.join(different)}; "
            "resume it with its own, or start a new run"
        )
    environment = runs.read_environment(run)
    if environment.get("data_fingerprint") != facts["data_fingerprint"]:
        raise RunError(f"{run} was trained on other data; give the data that it began with")
    if environment.get("precision") != facts["precision"]:
        raise RunError(
            f"{run} was trained with --precision {environment.get('precision')}; "
            "resume it with the same"
        )


def describe(recipe: Recipe) -> str:
    """Return a recipe as JSON, followed by the number of parameters of its networks."""
    networks = {"generator": build_generator(recipe), "discriminator": build_discriminator(recipe)}
    lines = [
        f"{key}: {sum(p.numel() for p in network.parameters()):,} parameters"
        for key, network in networks.items()
        if network is not None
    ]
    return recipe.to_json() + "\n".join(lines)
