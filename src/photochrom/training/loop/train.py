"""The training loop of all recipes, on one process or several.

The random numbers of a step (order, crops, flips, dropout) follow from the recipe's seed and the
number of the step or epoch alone. A resumed run therefore takes the same steps as an uninterrupted
one, and several processes take those of one.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from photochrom.progress import print_message, progress_bar
from photochrom.training.data.packed import epoch_order
from photochrom.training.loop import launching, runs
from photochrom.training.loop.batches import load_batch, open_photos
from photochrom.training.loop.building import bare, build, check_size, set_up, start_from
from photochrom.training.loop.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from photochrom.training.loop.distributed import (
    Device,
    Precision,
    all_gather,
    check_same_on_all,
    detect_disconnection,
    fail_together,
    means,
    process_group,
    run_on_rank_zero,
)
from photochrom.training.loop.monitor import check_losses, check_weights, monitor
from photochrom.training.loop.moving_average import MovingAverage
from photochrom.training.loop.schedules import Schedule
from photochrom.training.loop.steps import gan_step, l1_step
from photochrom.training.recipes.recipe import Recipe

STATE_EVERY_SECONDS = 300.0
"""Longest time between two saves of the state within an epoch."""
CHECK_EVERY = 25
"""Steps between two checks that the losses are finite. Each check waits for the device and for the
other processes; several processes save the state within an epoch only at a check."""

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it repeats the precision


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
    """Train a recipe, from the start or from the state of a run.

    Args:
        recipe: The recipe.
        data: A prepared data set; every process opens it.
        out: Parent of the new run directory; unused with `resume`.
        name: End of the name of the run directory.
        device: `auto` takes a GPU if there is one.
        precision: `bf16` computes in bfloat16 where that is safe, with weights in float32.
        devices: Processes on each machine, each with an equal share of every batch and its own GPU
            if there are any. They are started here unless torchrun or SLURM has started them; the
            caller's main module then needs a guard, as for `multiprocessing`.
        nodes: Number of machines, on each of which the same is called.
        sync_batchnorm: Use the statistics of the whole batch in batch norm, so that the weights do
            not depend on the number of processes, except for rounding.
        resume: A run directory; recipe, data, precision and sync_batchnorm have to be the same.
        progress: Show a progress bar and the warnings of the log.
        on_step: Called in each process with the number of steps taken, after each step.
        on_run: Called in each process with the run directory, before the first step.

    Returns:
        The run directory. Only the first process writes to it.

    Raises:
        DataError: If the data are not prepared, too few, or too small for the recipe.
        RecipeError: If a network cannot be built, or the batch cannot be divided equally.
        RunError: If `resume` is not a run of the same recipe, data and options, the weights of
            `generator_weights` are missing or do not fit, other processes were started than
            requested, or one of them ended.
        ModelError: If the file `generator_weights` does not fit the generator.
        NonFiniteLossError: If a loss is infinite or not a number.
        ReportedElsewhereError: If another process raises the error.
    """
    arguments = {key: value for key, value in locals().items() if key != "on_run"}
    with launching.report_once():
        must_launch = launching.must_launch(devices, nodes, recipe.batch_size)
    if must_launch:
        return launching.launch(partial(train, **arguments), devices, nodes)
    with process_group(device, precision, devices, nodes) as fabric:
        # Initialize.
        with fail_together(fabric):
            photos, validation, usable = open_photos(data, recipe)
            torch.manual_seed(recipe.seed)
            networks = build(recipe, fabric.device)
            check_size(networks, recipe, fabric, sync_batchnorm=sync_batchnorm)
        settings = {
            "data_fingerprint": photos.fingerprint,
            "precision": precision,
            "sync_batchnorm": sync_batchnorm,
        }
        check_same_on_all(fabric, {"recipe": recipe, **settings})
        networks = set_up(networks, recipe, fabric, sync_batchnorm=sync_batchnorm)
        steps_per_epoch = len(usable) // recipe.batch_size
        schedule = Schedule(recipe, networks, steps_per_epoch)

        # Resume a run, or create a new one.
        def open_run() -> tuple[Path, dict[str, Any] | None, dict[str, Any] | None]:
            checkpoint, weights = None, None
            if resume is not None:
                checkpoint = load_checkpoint(resume, recipe, settings, steps_per_epoch)
            if checkpoint is None and recipe.generator_weights != "none":
                start_from(Path(recipe.generator_weights), networks, photos, recipe)
                state = networks.generator.state_dict()
                weights = {key: value.cpu() for key, value in state.items()}
            if resume is not None:
                return resume, checkpoint, weights
            environment = runs.describe_environment(
                data=str(data.resolve()),
                device=str(fabric.device),
                processes=fabric.world_size,
                nodes=nodes,
                **settings,
            )
            return runs.new_run(out, name, recipe, environment), None, weights

        run, checkpoint, weights = run_on_rank_zero(fabric, open_run)
        if on_run is not None:
            on_run(run)
        if weights is not None:
            networks.generator.load_state_dict(weights)
        average, evaluated = None, networks.generator
        if recipe.ema is not None:
            average = MovingAverage(bare(networks.generator), recipe.ema)
            evaluated = fabric.setup_module(average.network)
        state = TrainingState(networks, average, schedule)
        if checkpoint is not None:
            state.load_state_dict(checkpoint)
        total_steps = recipe.total_epochs * steps_per_epoch
        if state.step >= total_steps:
            return run

        # Train.
        if fabric.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # sizes do not change from step to step
            photos.load_to(fabric.device)
        progress = progress and fabric.is_global_zero
        writer = None
        if fabric.is_global_zero:
            writer = SummaryWriter(str(run / "tensorboard"), purge_step=state.step)
        bar = progress_bar(
            total=total_steps * recipe.batch_size,
            initial=state.step * recipe.batch_size,
            unit="image",
            unit_scale=True,
            disable=not progress,
        )
        saved_at = time.monotonic()
        with detect_disconnection(fabric, run):
            for epoch in range(state.step // steps_per_epoch, recipe.total_epochs):
                bar.set_description(f"epoch {epoch + 1}/{recipe.total_epochs}")
                phase = recipe.phase(epoch)
                order = usable[epoch_order(recipe.seed, epoch, len(usable))]
                started, seconds_before = time.monotonic(), state.seconds
                if 0 < recipe.pretrain_epochs * steps_per_epoch == state.step:
                    # Adam's moments of L1 alone are often 100 times smaller than the new gradients.
                    networks.opt_g.state.clear()
                for index in range(state.step % steps_per_epoch, steps_per_epoch):
                    indices = order[index * recipe.batch_size :][: recipe.batch_size].tolist()
                    schedule.set_rates(state.step)
                    batch = load_batch(fabric, recipe, photos, indices, state.step)
                    networks.generator.train()
                    which = state.step % len(recipe.features)
                    if phase == "l1":
                        losses = l1_step(fabric, networks, batch, recipe, which=which)
                    else:
                        losses = gan_step(fabric, networks, batch, recipe, phase=phase, which=which)
                    if average is not None:
                        average.update(networks.generator)
                    for key, value in losses.items():
                        zero = torch.zeros((), device=value.device)
                        state.sums[key] = state.sums.get(key, zero) + value
                    state.step += 1
                    bar.update(recipe.batch_size)
                    if index + 1 == steps_per_epoch:
                        break  # the end of an epoch checks and saves as well
                    is_due = time.monotonic() - saved_at > STATE_EVERY_SECONDS
                    if state.step % CHECK_EVERY == 0 or (is_due and fabric.world_size == 1):
                        totals = means(state.sums)
                        with fail_together(fabric):
                            check_losses(totals, epoch, state.step)
                        if any(all_gather(fabric, is_due)):
                            saved_at = time.monotonic()
                            state.seconds = seconds_before + saved_at - started
                            saved = {**state.state_dict(), "sums": totals}
                            run_on_rank_zero(
                                fabric, partial(save_checkpoint, run, evaluated, saved)
                            )
                    if on_step is not None:
                        on_step(state.step)

                # Validate and save.
                totals = means(state.sums)
                with fail_together(fabric):
                    check_losses(totals, epoch, state.step)
                seconds = seconds_before + time.monotonic() - started
                line: dict[str, Any] = {
                    "epoch": epoch + 1,
                    "step": state.step,
                    "phase": phase,
                    "images": state.step * recipe.batch_size,
                    "seconds": round(seconds, 2),
                    "images_per_second": round(steps_per_epoch * recipe.batch_size / seconds, 2),
                    "lr_g": networks.opt_g.param_groups[-1]["lr"],
                    **{key: float(value) / steps_per_epoch for key, value in totals.items()},
                }
                schedule.end_epoch(line["g_l1"])
                state.sums, state.seconds = {}, 0.0
                with fail_together(fabric):
                    if writer is not None:
                        check_weights(evaluated, epoch)
                        monitor(evaluated, validation, recipe, run, line, writer)
                        for warning in line["warnings"] if progress else ():
                            print_message(f"warning: epoch {epoch + 1}: {warning}")
                        runs.append_log(run, line)
                        save_checkpoint(run, evaluated, state.state_dict())
                saved_at = time.monotonic()
                if on_step is not None:
                    on_step(state.step)
        bar.close()
        if writer is not None:
            writer.close()
        return run
