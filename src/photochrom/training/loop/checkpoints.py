"""The state of a training run that state.pt holds, and the check before a run is resumed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.precision import Precision
from torch import Tensor, nn

from photochrom.errors import RunError
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.loop.moving_average import MovingAverage
from photochrom.training.loop.schedules import Schedule
from photochrom.training.loop.steps import Networks
from photochrom.training.recipes.recipe import Recipe, flatten


@dataclass
class TrainingState:
    """Everything that changes during training."""

    networks: Networks
    average: MovingAverage | None
    schedule: Schedule
    precision: Precision
    """Has the gradient scaler, if there is one."""
    step: int = 0
    """Number of steps taken."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sum of each loss over the steps of the current epoch."""
    seconds: float = 0.0
    """Training time of the current epoch before `start_clock`."""
    _started: float | None = None

    def start_clock(self) -> float:
        """Start, or resume, the time of an epoch; return `time.monotonic()`."""
        self._started = time.monotonic()
        return self._started

    def elapsed(self) -> float:
        """Return the training time of the current epoch in seconds."""
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self.seconds + running

    def count_step(self, losses: Mapping[str, Tensor]) -> None:
        """Count a step: update the moving average and the sums of the losses."""
        if self.average is not None:
            self.average.update(self.networks.generator)
        for key, value in losses.items():
            zero = torch.zeros((), device=value.device)
            self.sums[key] = self.sums.get(key, zero) + value
        self.step += 1

    def start_epoch(self) -> None:
        """Set sums and time to 0, and stop the clock."""
        self.sums, self.seconds, self._started = {}, 0.0, None

    def state_dict(self) -> dict[str, Any]:
        """Return the content of state.pt."""
        networks = self.networks
        state = {
            "step": self.step,
            "sums": self.sums,
            "seconds": self.elapsed(),
            "schedule": self.schedule.state_dict(),
            "generator": networks.generator.state_dict(),
            "opt_g": networks.opt_g.state_dict(),
            "precision": self.precision.state_dict(),
        }
        if networks.discriminator is not None and networks.opt_d is not None:
            state["discriminator"] = networks.discriminator.state_dict()
            state["opt_d"] = networks.opt_d.state_dict()
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.step, self.sums, self.seconds = state["step"], state["sums"], state["seconds"]
        networks = self.networks
        networks.generator.load_state_dict(state["generator"])
        networks.opt_g.load_state_dict(state["opt_g"])
        if networks.discriminator is not None and networks.opt_d is not None:
            networks.discriminator.load_state_dict(state["discriminator"])
            networks.opt_d.load_state_dict(state["opt_d"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.schedule.load_state_dict(state["schedule"])
        self.precision.load_state_dict(state.get("precision", {}))  # older states have none


def save_checkpoint(run: Path, generator: nn.Module, state: Mapping[str, Any]) -> None:
    """Write generator.safetensors, from the moving average if there is one, and state.pt."""
    runs.save_generator(run, generator)
    runs.save_state(run, state)


def run_facts(photos: PackedPhotos, precision: str, *, sync_batchnorm: bool) -> dict[str, Any]:
    """Return the entries of environment.json that have to be the same to resume a run."""
    return {
        "data_fingerprint": photos.fingerprint,
        "precision": precision,
        "sync_batchnorm": sync_batchnorm,
    }


def recorded_facts(run: Path) -> dict[str, Any]:
    """Return the `run_facts` of a run.

    Raises:
        RunError: If its environment.json cannot be read.
    """
    environment = runs.read_environment(run)
    return {
        "data_fingerprint": environment.get("data_fingerprint"),
        "precision": environment.get("precision"),
        "sync_batchnorm": environment.get("sync_batchnorm", True),  # older versions: not recorded
    }


def load_checkpoint(
    run: Path, recipe: Recipe, facts: Mapping[str, object], steps_per_epoch: int
) -> dict[str, Any] | None:
    """Return the state of a run to resume, or None if there is none yet; truncate its log to match.

    `facts` are `run_facts`.

    Raises:
        RunError: If recipe, data, precision or the kind of batch norm have changed, or a file is
            damaged or removed.
    """
    recorded = runs.read_recipe(run)
    if recorded != recipe:
        old, new = flatten(recorded.to_dict()), flatten(recipe.to_dict())
        different = [
            f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
        raise RunError(
            f"{run} was trained with another recipe: {'; '.join(different)}; "
            "resume it with its own, or start a new run"
        )
    if not (run / "environment.json").is_file():
        raise RunError(f"{run} has no state to resume from; give a run that train created")
    before = recorded_facts(run)
    if before["data_fingerprint"] != facts["data_fingerprint"]:
        raise RunError(f"{run} was trained on other data; give the data that it started with")
    option = ""
    if before["precision"] != facts["precision"]:
        option = f"--precision {before['precision']}"
    if before["sync_batchnorm"] != facts["sync_batchnorm"]:
        option = f"--{'sync' if before['sync_batchnorm'] else 'local'}-batchnorm"
    if option:
        raise RunError(f"{run} was trained with {option}; resume it with the same")
    state = runs.load_state(run)
    if state is None and (epochs := len(runs.read_log(run))) > 1:  # the first is logged before it
        raise RunError(
            f"{run} has a log of {epochs} epochs and no state.pt to resume from; start a new run"
        )
    runs.cut_log(run, 0 if state is None else state["step"] // steps_per_epoch)
    return state
