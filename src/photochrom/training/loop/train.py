"""The training loop of all recipes, on one process or several.

The random numbers of a step (order, crops, flips, dropout) depend only on the recipe's seed and the
number of the step or epoch. So a resumed run takes the same steps as an uninterrupted one, and
several processes take the same steps as one.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from photochrom.progress import print_message, progress_bar
from photochrom.training import runs
from photochrom.training.collectives import means
from photochrom.training.data.packed import PackedPhotos, epoch_order
from photochrom.training.evaluation.results import remove_results
from photochrom.training.loop import launching
from photochrom.training.loop.batches import class_prior, load_batch, open_photos
from photochrom.training.loop.building import build, check_size, start_from, unwrap, wrap
from photochrom.training.loop.checkpoints import (
    TrainingState,
    load_checkpoint,
    run_facts,
    save_checkpoint,
)
from photochrom.training.loop.distributed import (
    Device,
    Precision,
    all_gather,
    check_same_on_all,
    detect_disconnection,
    fail_together,
    process_group,
    run_on_rank_zero,
)
from photochrom.training.loop.monitor import check_losses, check_weights, monitor
from photochrom.training.loop.moving_average import MovingAverage
from photochrom.training.loop.schedules import Schedule
from photochrom.training.loop.steps import gan_step, generator_step
from photochrom.training.losses.objective import Objective
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.runs import Keep

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
    keep: Keep = "last",
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
        precision: `bf16` computes in bfloat16 where that is safe, with weights in float32; `fp16`
            in float16, with a gradient scaler, on a GPU with CUDA only.
        devices: Processes on each machine, each with an equal share of every batch and its own GPU
            if there are any. They are started here unless torchrun or SLURM has started them; the
            caller's main module then needs `if __name__ == "__main__"`, as for `multiprocessing`.
        nodes: Number of machines, each of which makes the same call.
        sync_batchnorm: Use the statistics of the whole batch in batch norm, so that the weights do
            not depend on the number of processes, except for rounding and for the exceptions in
            docs/training.md.
        resume: A run directory; recipe, data, precision and sync_batchnorm have to be the same.
        keep: Which epochs keep their weights, each as a run in `RUN/epochs` that `evaluate` and
            `export` take: `last` none but the run itself; `best` the one with the highest PSNR so
            far; `all`; a number the last ones.
        progress: Show a progress bar and the warnings of the log.
        on_step: Called in each process with the number of steps taken, after each step.
        on_run: Called with the run directory, before the first step, unless the processes are
            started here.

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
        must_launch = launching.must_launch(
            devices, nodes, recipe.data.batch_size, recipe.optimization.accumulate
        )
    if must_launch:
        return launching.launch(partial(train, **arguments), devices, nodes)
    options = Options(precision, sync_batchnorm, keep, progress, on_step)
    with process_group(device, precision, devices, nodes) as fabric:
        setup = _set_up(fabric, recipe, data, options)
        run = _open_run(setup, out, name, data, resume=resume, nodes=nodes)
        if on_run is not None:
            on_run(run)
        if setup.state.step < setup.total_steps:
            _train_epochs(setup, run)
        return run


@dataclass(frozen=True)
class Options:
    """Options of a run that are not part of its recipe."""

    precision: Precision
    sync_batchnorm: bool
    keep: Keep
    progress: bool
    on_step: Callable[[int], None] | None


@dataclass
class Setup:
    """Everything that the training loop works with."""

    fabric: Fabric
    recipe: Recipe
    options: Options
    objective: Objective
    photos: PackedPhotos
    validation: PackedPhotos
    usable: Tensor
    """Indices of the photos to train on."""
    state: TrainingState
    evaluated: nn.Module
    """The generator that is validated and saved: the moving average, if there is one."""

    @property
    def steps_per_epoch(self) -> int:
        """Return the number of steps in an epoch."""
        return len(self.usable) // self.recipe.data.batch_size

    @property
    def total_steps(self) -> int:
        """Return the number of steps of all epochs."""
        return self.recipe.total_epochs * self.steps_per_epoch

    @property
    def facts(self) -> dict[str, Any]:
        """Return the entries of environment.json that have to be the same to resume a run."""
        options = self.options
        return run_facts(self.photos, options.precision, sync_batchnorm=options.sync_batchnorm)


def _set_up(fabric: Fabric, recipe: Recipe, data: Path, options: Options) -> Setup:
    """Open the data and build the networks, with their initial weights."""
    sync = options.sync_batchnorm
    with fail_together(fabric):
        photos, validation, usable = open_photos(data, recipe)
        torch.manual_seed(recipe.seed)
        networks = build(recipe, fabric.device)
        check_size(networks, recipe, fabric, sync_batchnorm=sync)
    networks = wrap(networks, recipe, fabric, sync_batchnorm=sync)
    average, evaluated = None, networks.generator
    if recipe.optimization.ema is not None:
        average = MovingAverage(unwrap(networks.generator), recipe.optimization.ema)
        evaluated = fabric.setup_module(average.network)
    schedule = Schedule(recipe, networks, len(usable) // recipe.data.batch_size)
    state = TrainingState(networks, average, schedule, fabric.strategy.precision)
    prior = cache(lambda: class_prior(photos, usable, recipe.data.saturation))
    objective = replace(Objective.of(recipe), prior=prior)
    setup = Setup(fabric, recipe, options, objective, photos, validation, usable, state, evaluated)
    check_same_on_all(fabric, {"recipe": recipe.to_json(), **setup.facts})
    return setup


def _open_run(
    setup: Setup, out: Path, name: str, data: Path, *, resume: Path | None, nodes: int
) -> Path:
    """Create a run and load the initial weights, or load the state of the run to resume."""
    fabric, recipe, state = setup.fabric, setup.recipe, setup.state
    generator = state.networks.generator

    def open_run() -> tuple[Path, dict[str, Any] | None, dict[str, Any] | None]:
        checkpoint, weights = None, None
        if resume is not None:
            checkpoint = load_checkpoint(resume, recipe, setup.facts, setup.steps_per_epoch)
        initial = recipe.initialization.generator_weights
        if checkpoint is None and initial != "none":
            start_from(Path(initial), state.networks, setup.photos, recipe)
            weights = {key: value.cpu() for key, value in generator.state_dict().items()}
        if resume is not None:
            return resume, checkpoint, weights
        environment = runs.describe_environment(
            data=str(data.resolve()),
            device=str(fabric.device),
            processes=fabric.world_size,
            nodes=nodes,
            **setup.facts,
        )
        return runs.new_run(out, name, recipe, environment), None, weights

    run, checkpoint, weights = run_on_rank_zero(fabric, open_run)
    if weights is not None:
        generator.load_state_dict(weights)
        if state.average is not None:
            state.average.network.load_state_dict(unwrap(generator).state_dict())
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    return run


def _train_epochs(setup: Setup, run: Path) -> None:
    """Train all epochs that are left."""
    fabric, recipe, state = setup.fabric, setup.recipe, setup.state
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # sizes do not change from step to step
        setup.photos.load_to(fabric.device)
    writer = None
    if fabric.is_global_zero:
        remove_results(run)  # of other weights
        writer = SummaryWriter(str(run / "tensorboard"), purge_step=state.step)
    with (
        progress_bar(
            total=setup.total_steps * recipe.data.batch_size,
            initial=state.step * recipe.data.batch_size,
            unit="image",
            unit_scale=True,
            disable=not (setup.options.progress and fabric.is_global_zero),
        ) as bar,
        detect_disconnection(fabric, run),
    ):
        for epoch in range(state.step // setup.steps_per_epoch, recipe.total_epochs):
            bar.set_description(f"epoch {epoch + 1}/{recipe.total_epochs}")
            _train_epoch(setup, run, epoch, bar)
            _end_epoch(setup, run, epoch, writer)
    if writer is not None:
        writer.close()


def _train_epoch(setup: Setup, run: Path, epoch: int, bar: Any) -> None:
    """Take the steps of an epoch that are left; save the state at intervals."""
    fabric, recipe, state = setup.fabric, setup.recipe, setup.state
    networks, count = state.networks, recipe.data.batch_size
    phase = recipe.phase(epoch)
    order = setup.usable[epoch_order(recipe.seed, epoch, len(setup.usable))]
    saved_at = state.start_clock()
    if 0 < recipe.schedule.pretrain_epochs * setup.steps_per_epoch == state.step:
        # Adam's moments of the terms of pretraining do not fit the gradients of all terms.
        networks.opt_g.state.clear()
    for index in range(state.step % setup.steps_per_epoch, setup.steps_per_epoch):
        indices = order[index * count :][:count].tolist()
        state.schedule.set_rates(state.step)
        batch = load_batch(fabric, recipe, setup.photos, indices, state.step)
        networks.generator.train()
        if phase == "pretrain" or networks.discriminator is None:
            losses = generator_step(
                fabric,
                networks,
                batch,
                setup.objective,
                pretrain=phase == "pretrain",
                step=state.step,
            )
        else:
            losses = gan_step(
                fabric, networks, batch, setup.objective, phase=phase, step=state.step
            )
        state.count_step(losses)
        bar.update(count)
        if index + 1 == setup.steps_per_epoch:
            break  # the end of an epoch checks and saves as well
        is_due = time.monotonic() - saved_at > STATE_EVERY_SECONDS
        if state.step % CHECK_EVERY == 0 or (is_due and fabric.world_size == 1):
            totals = means(state.sums)
            with fail_together(fabric):
                check_losses(totals, epoch, state.step)
            if any(all_gather(fabric, is_due)):
                saved_at = time.monotonic()
                saved = {**state.state_dict(), "sums": totals}
                run_on_rank_zero(fabric, partial(save_checkpoint, run, setup.evaluated, saved))
        if setup.options.on_step is not None:
            setup.options.on_step(state.step)


def _end_epoch(setup: Setup, run: Path, epoch: int, writer: SummaryWriter | None) -> None:
    """Validate, and save log, weights and state."""
    fabric, recipe, state = setup.fabric, setup.recipe, setup.state
    totals = means(state.sums)
    with fail_together(fabric):
        check_losses(totals, epoch, state.step)
    seconds, images = state.elapsed(), setup.steps_per_epoch * recipe.data.batch_size
    line: dict[str, Any] = {
        "epoch": epoch + 1,
        "step": state.step,
        "phase": recipe.phase(epoch),
        "images": state.step * recipe.data.batch_size,
        "seconds": round(seconds, 2),
        "images_per_second": round(images / seconds, 2),
        "lr_g": state.networks.opt_g.param_groups[-1]["lr"],
        **{key: float(value) / setup.steps_per_epoch for key, value in totals.items()},
    }
    if line["phase"] != "d":
        state.schedule.end_epoch(line.get("g_l1", line["g_total"]))
    state.start_epoch()
    with fail_together(fabric):
        if writer is not None:
            check_weights(setup.evaluated, epoch)
            monitor(setup.evaluated, setup.validation, recipe, run, line, writer)
            for warning in line["warnings"] if setup.options.progress else ():
                print_message(f"warning: epoch {epoch + 1}: {warning}", file=sys.stderr)
            runs.append_log(run, line)
            runs.keep_epoch(run, setup.evaluated, recipe, setup.options.keep)
            save_checkpoint(run, setup.evaluated, state.state_dict())
    if setup.options.on_step is not None:
        setup.options.on_step(state.step)
