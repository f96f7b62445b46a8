"""The training loop: one for all recipes, and for any number of processes.

What is random in a step (which photos, where they are cropped, whether they are mirrored, dropout)
is drawn from the recipe's seed and the number of the step or epoch alone. So a run that was killed
and resumed takes the same steps as one that was not, and several processes take those of one.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from photochrom.errors import DataError, RunError
from photochrom.progress import print_message, progress_bar
from photochrom.training.data.degradation import degrade
from photochrom.training.data.hints import simulate_hints
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.loop import launching, runs
from photochrom.training.loop.building import bare, build, check_size, set_up, start_from
from photochrom.training.loop.distributed import (
    Device,
    Precision,
    by_first,
    check_alike,
    gathered,
    means,
    processes,
    report_lost_processes,
    share,
    together,
)
from photochrom.training.loop.monitor import monitor
from photochrom.training.loop.moving_average import MovingAverage
from photochrom.training.loop.schedules import Schedule
from photochrom.training.loop.steps import Networks, gan_step, l1_step
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.tensors import to_L_ab

STATE_EVERY_SECONDS = 300.0
"""How often, at least, the state is saved in mid-epoch."""
CHECK_EVERY = 25
"""Steps between two looks at whether the losses are finite; each look waits for the device, and
for the other processes, which save the state in mid-epoch only then."""


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
    devices: int = 1,
    nodes: int = 1,
    sync_batchnorm: bool = True,
    resume: Path | None = None,
    progress: bool = True,
    on_step: Callable[[int], None] | None = None,
    on_run: Callable[[Path], None] | None = None,
) -> Path:
    """Train a recipe, from the start or from where a run stopped.

    Args:
        recipe: What to train.
        data: A prepared data set, which every process opens.
        out: Where the new run directory is made; unused with `resume`.
        name: Ends the name of the run directory.
        device: `auto` takes a GPU if there is one.
        precision: `bf16` computes in bfloat16 where that is safe, with weights in float32.
        devices: Processes on each machine, which share every batch equally; each takes a GPU of its
            own where there are GPUs. Those that torchrun or SLURM has not started are started here,
            by `multiprocessing`: a program that calls this has to guard its main module.
        nodes: Machines, on each of which the same is called.
        sync_batchnorm: Whether batch norms see the photos of all processes, which makes the weights
            those of one process but for rounding, or each its own.
        resume: A run to go on with; recipe, data, precision and sync_batchnorm have to be the same.
            On another device, or by other processes, the weights end up the same but for rounding.
        progress: Show a bar on the terminal, and the warnings that go into the log.
        on_step: Called in each process with the number of steps taken after each of them.
        on_run: Called in each process with the run directory as soon as there is one.

    Returns:
        The run directory. Only the first process writes to it.

    Raises:
        DataError: If the data are not prepared, too few, or too small for the recipe.
        RecipeError: If a network cannot be built as told, or the processes cannot share a batch.
        RunError: If `resume` is no run, or one of another recipe, other data or precision, or
            the run that `generator_weights` names has no weights, or of another generator; if other
            processes were started than are asked for, or one of them ended.
        ModelError: If the file that `generator_weights` names is of another generator.
        NonFiniteLossError: If a loss becomes infinite or no number.
        ToldError: If another process has said what is wrong.
    """
    options: dict[str, Any] = {
        "name": name,
        "precision": precision,
        "nodes": nodes,
        "sync_batchnorm": sync_batchnorm,
        "resume": resume,
        "progress": progress,
        "on_step": on_step,
    }
    with launching.report_once():
        launch = launching.must_launch(devices, nodes, recipe.batch_size)
    if launch:
        again = partial(train, recipe, data, out, device=device, devices=devices, **options)
        return launching.launch(again, devices, nodes)
    with processes(device, precision, devices, nodes) as fabric:
        return _train(fabric, recipe, data, out, on_run=on_run, **options)


def _train(
    fabric: Fabric,
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    name: str,
    precision: Precision,
    nodes: int,
    sync_batchnorm: bool,
    resume: Path | None,
    progress: bool,
    on_step: Callable[[int], None] | None,
    on_run: Callable[[Path], None] | None,
) -> Path:
    """Do in one process what `train` says."""
    # Load the data and build the networks.
    with together(fabric):
        photos, validation = PackedPhotos(data, "train"), PackedPhotos(data, "eval")
        usable = torch.from_numpy(photos.select(recipe.min_side))
        steps_per_epoch = len(usable) // recipe.batch_size
        if steps_per_epoch == 0 or len(validation) == 0:
            enough = "" if recipe.min_side is None else f" of {recipe.min_side} px or more"
            raise DataError(
                f"{data} has {len(usable)} photos{enough} to train on and {len(validation)} to "
                f"validate on; a batch takes {recipe.batch_size} and a validation takes 1"
            )
        torch.manual_seed(recipe.seed)
        networks = build(recipe, fabric.device)
        check_size(networks, recipe, fabric, sync_batchnorm=sync_batchnorm)
        if not recipe.enlarge_small:  # too small for the recipe? say so now
            photos.batch([0], recipe.image_size, None)
    facts = {
        "data_fingerprint": photos.fingerprint,
        "precision": precision,
        "sync_batchnorm": sync_batchnorm,
    }
    check_alike(
        fabric,
        {
            "recipe": recipe,
            "data": photos.fingerprint,
            "--precision": precision,
            "--sync-batchnorm": sync_batchnorm,
        },
    )
    networks = set_up(networks, recipe, fabric, sync_batchnorm=sync_batchnorm)
    schedule = Schedule(recipe, networks, steps_per_epoch)
    total_steps = recipe.total_epochs * steps_per_epoch

    # Make the run directory, or read it.
    def begin() -> tuple[Path, dict[str, Any] | None]:
        if resume is not None:
            _check_same(resume, recipe, facts)
            state = runs.load_state(resume)
            runs.cut_log(resume, 0 if state is None else state["step"] // steps_per_epoch)
            return resume, state
        start = None
        if recipe.generator_weights != "none":
            start_from(Path(recipe.generator_weights), networks, photos, recipe)
            weights = networks.generator.state_dict()
            start = {"generator": {key: value.cpu() for key, value in weights.items()}}
        environment = runs.describe_environment(
            data=str(data.resolve()),
            device=str(fabric.device),
            processes=fabric.world_size,
            nodes=nodes,
            **facts,
        )
        return runs.new_run(out, name, recipe, environment), start

    run, state = by_first(fabric, begin)
    if on_run is not None:
        on_run(run)
    if resume is None and state is not None:
        networks.generator.load_state_dict(state["generator"])
    average, evaluated = None, networks.generator
    if recipe.ema is not None:
        average = MovingAverage(bare(networks.generator), recipe.ema)
        evaluated = fabric.setup_module(average.network)
    step, sums, seconds = 0, {}, 0.0
    if resume is not None and state is not None:
        step, sums, seconds = state["step"], state["sums"], state["seconds"]
        _restore(networks, average, schedule, state)
    if step >= total_steps:
        return run

    # Train.
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # sizes do not change from step to step
        photos.load_to(fabric.device)
    progress = progress and fabric.is_global_zero
    writer = None
    if fabric.is_global_zero:
        writer = SummaryWriter(str(run / "tensorboard"), purge_step=step)
    bar = progress_bar(
        total=total_steps * recipe.batch_size,
        initial=step * recipe.batch_size,
        unit="image",
        unit_scale=True,
        disable=not progress,
    )
    saved = time.monotonic()
    with report_lost_processes(fabric, run):
        for epoch in range(step // steps_per_epoch, recipe.total_epochs):
            bar.set_description(f"epoch {epoch + 1}/{recipe.total_epochs}")
            order = usable[epoch_order(recipe.seed, epoch, len(usable))]
            started = time.monotonic()
            if 0 < recipe.pretrain_epochs * steps_per_epoch == step:
                # Its moments are those of L1 alone, often 100 times smaller than new gradients.
                networks.opt_g.state.clear()
            for first in range(step % steps_per_epoch, steps_per_epoch):
                indices = order[first * recipe.batch_size :][: recipe.batch_size].tolist()
                schedule.set_rates(step)
                losses = _step(fabric, networks, recipe, photos, indices, step, epoch)
                if average is not None:
                    average.update(networks.generator)
                for key, value in losses.items():
                    sums[key] = sums.get(key, torch.zeros((), device=value.device)) + value
                step += 1
                bar.update(recipe.batch_size)
                if step % steps_per_epoch == 0:
                    break  # what follows an epoch looks at the losses and saves the state as well
                due = time.monotonic() - saved > STATE_EVERY_SECONDS
                if step % CHECK_EVERY == 0 or (due and fabric.world_size == 1):
                    totals = means(sums)
                    with together(fabric):
                        _check_finite(totals, epoch, step)
                    if any(gathered(fabric, due)):
                        saved = time.monotonic()
                        state = _state(networks, average, schedule, step, totals)
                        state["seconds"] = seconds + saved - started
                        by_first(fabric, partial(_save, run, evaluated, state))
                if on_step is not None:
                    on_step(step)

            totals = means(sums)
            with together(fabric):
                _check_finite(totals, epoch, step)
            seconds += time.monotonic() - started
            line: dict[str, Any] = {
                "epoch": epoch + 1,
                "step": step,
                "phase": recipe.phase(epoch),
                "images": step * recipe.batch_size,
                "seconds": round(seconds, 2),
                "images_per_second": round(steps_per_epoch * recipe.batch_size / seconds, 2),
                "lr_g": networks.opt_g.param_groups[-1]["lr"],
                **{key: float(value) / steps_per_epoch for key, value in totals.items()},
            }
            schedule.epoch_ended(line["g_l1"])
            sums, seconds = {}, 0.0
            state = _state(networks, average, schedule, step, sums)
            with together(fabric):
                if writer is not None:
                    _check_weights(evaluated, epoch)
                    monitor(evaluated, validation, recipe, run, line, writer)
                    for warning in line["warnings"] if progress else ():
                        print_message(f"warning: epoch {epoch + 1}: {warning}")
                    runs.append_log(run, line)
                    _save(run, evaluated, state)
            saved = time.monotonic()
            if on_step is not None:
                on_step(step)
    bar.close()
    if writer is not None:
        writer.close()
    return run


def _step(
    fabric: Fabric,
    networks: Networks,
    recipe: Recipe,
    photos: PackedPhotos,
    indices: list[int],
    step: int,
    epoch: int,
) -> dict[str, Tensor]:
    """Take one step of training on the photos named by `indices`, of which others see a part."""
    # Everything random comes from (seed, step): see the module's docstring.
    seed = (recipe.seed * 1_000_003 + step) * 2 + 1
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    mine = share(fabric, len(indices))
    size, enlarge = recipe.image_size, recipe.enlarge_small
    rgb = photos.batch(indices, size, draw, recipe.crop_min, mine, enlarge=enlarge)
    rgb = rgb.to(fabric.device, non_blocking=True)

    def photo_seeds() -> list[int]:
        return torch.randint(2**32, (len(indices),), generator=draw)[mine].tolist()

    if recipe.flip:
        mirror = (torch.rand(len(indices), generator=draw) < 0.5)[mine].to(fabric.device)
        rgb = torch.where(mirror[:, None, None, None], rgb.flip(2), rgb)
    L, ab = to_L_ab(rgb)
    ab = ab * recipe.target_saturation
    networks.generator.train()
    phase = recipe.phase(epoch)
    inputs = [L]
    if recipe.aging > 0:
        inputs = [degrade(L, recipe.aging, photo_seeds())]
    if recipe.hints is not None:
        inputs.append(simulate_hints(ab, recipe.hints, photo_seeds()))
    if phase == "l1":
        # Pretraining is L1 alone, and L1 alone needs no weight.
        perceptual = 0.0 if recipe.discriminator is not None else recipe.lambda_perceptual
        return l1_step(
            fabric,
            networks,
            L,
            ab,
            inputs=inputs,
            lambda_l1=recipe.lambda_l1 if perceptual > 0 else 1.0,
            lambda_perceptual=perceptual,
            window=recipe.view,
            which=step % len(recipe.features),
        )
    return gan_step(
        fabric,
        networks,
        L,
        ab,
        inputs=inputs,
        lambda_l1=recipe.lambda_l1,
        lambda_gan=recipe.lambda_gan,
        lambda_perceptual=recipe.lambda_perceptual,
        window=recipe.view,
        which=step % len(recipe.features),
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
) -> dict[str, Any]:
    """Return what resuming needs, as it is at the end of an epoch or, with `seconds`, before it."""
    state = {
        "step": step,
        "sums": sums,
        "seconds": 0.0,
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


def _save(run: Path, generator: nn.Module, state: dict[str, Any]) -> None:
    runs.save_generator(run, generator)
    runs.save_state(run, state)


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


def _check_same(run: Path, recipe: Recipe, facts: Mapping[str, object]) -> None:
    """Refuse to go on with a run under another recipe, on other data or in another way."""
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
    synced = environment.get("sync_batchnorm", True)  # one process, and older runs had no other
    if synced != facts["sync_batchnorm"]:
        raise RunError(
            f"{run} was trained with --{'sync' if synced else 'local'}-batchnorm; "
            "resume it with the same"
        )
