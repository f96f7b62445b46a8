"""Train and evaluate every experiment, several at a time, and resume unfinished runs.

OUT/PROTOCOL/data/                  the photos at the protocol's size
OUT/PROTOCOL/runs/NNNN-NAME-seedS/  a run directory, with metrics-test.json, scores-test.csv and
                                    speed.json
OUT/PROTOCOL/baselines/metrics.json
"""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from photochrom.batch.process_pool import WorkerError, WorkerPool
from photochrom.cores import count_cores
from photochrom.errors import DataError, PhotochromError, RunError
from photochrom.imagefile.atomic import write_atomic
from photochrom.progress import progress_bar
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.shrink import check_enough, describe_counts, shrink
from photochrom.training.data.splits import Split
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.evaluation.results import metrics_path
from photochrom.training.loop.distributed import Precision
from photochrom.training.loop.launching import exit_with_parent
from photochrom.training.loop.train import train
from photochrom.training.networks.encoders import build_encoder, check_download
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EXPERIMENTS,
    Protocol,
    at_scale,
    uses_resnet18_weights,
)
from photochrom.training.reproduction.results import epochs_to_keep, is_measured, last_networks
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate, speed
from photochrom.training.reproduction.store import file_of, save_baselines, save_run

_DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By precision of training."""
_NUMBER = "[0-9]" * 4
"""Pattern of the prefix that `runs.new_run` adds; without it, one name may end in another."""
_TIMEOUT = 20 * 86400.0
"""Of a task, in seconds; about the longest that a pipe can wait."""
_REFRESH_INTERVAL = 2.0
"""Of the progress bar, in seconds."""


@dataclass(frozen=True)
class ExperimentTask:
    """A run, or the baselines, which have no recipe."""

    name: str
    """Including the seed."""
    recipe: Recipe | None
    folder: Path
    """OUT/PROTOCOL."""
    precision: Precision
    fid_weights: Path | None
    flops: float
    """Of its training."""
    store: Path | None = None
    """A folder of finished runs, that this one is added to."""

    def is_stored(self) -> bool:
        """Return whether the store has the run, so that it is not repeated here."""
        return self.store is not None and file_of(self.store, self.name).is_file()

    def find_run(self) -> Path | None:
        """Return the run directory, or None if the run was not started."""
        paths = sorted(self.folder.glob(f"runs/{_NUMBER}-{self.name}"))
        paths = [path for path in paths if runs.is_run(path)]
        if len(paths) > 1:
            raise RunError(f"{paths[0]} and {paths[1]} are the same experiment; remove one of them")
        return paths[0] if paths else None

    def share_trained(self) -> float:
        """Return the share of epochs that are trained: 0..1."""
        if self.is_stored():
            return 1.0
        run = self.find_run()
        if self.recipe is None or run is None or runs.read_recipe(run) != self.recipe:
            return 0.0  # resuming a run of another recipe is refused
        return len(runs.read_log(run)) / self.recipe.total_epochs

    def is_done(self) -> bool:
        """Return whether the task is trained and evaluated, including FID if there are weights.

        With a store, it is done when the store has it.
        """
        if self.store is not None:
            return self.is_stored()
        metrics = self.folder / "baselines" / "metrics.json"
        if self.recipe is not None:
            run = self.find_run()
            if run is None or self.share_trained() < 1 or not (run / "speed.json").is_file():
                return False
            metrics = metrics_path(run, "test")
            if not all(is_measured(network) for network in last_networks(run)):
                return False
        try:
            evaluations = json.loads(metrics.read_text("utf-8"))["evaluations"]
            return self.fid_weights is None or all("fid" in e["values"] for e in evaluations)
        except (OSError, ValueError, KeyError, TypeError):  # missing or damaged
            return False

    def perform(self) -> None:
        """Train what is not trained, then measure speed and metrics.

        Raises:
            PhotochromError: If it cannot be trained or evaluated.
        """
        data = self.folder / "data"
        options: Any = {"split": "test", "fid_weights": self.fid_weights}
        options |= {"device": "auto", "progress": False}
        if self.recipe is None:
            evaluate(BASELINES, data, out=self.folder / "baselines", **options)
            if self.store is not None:
                save_baselines(self.store, self.folder / "baselines")
            return
        run = self.find_run()
        # Without speed.json the last weights may be missing: their epoch is logged before them.
        if run is None or self.share_trained() < 1 or not (run / "speed.json").is_file():
            run = train(
                self.recipe,
                data,
                self.folder / "runs",
                name=self.name,
                precision=self.precision,
                resume=run,
                keep=epochs_to_keep(self.recipe),
                progress=False,
            )
        if not (run / "speed.json").is_file():
            dtype = _DTYPES[self.precision]
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            rates = speed(self.recipe, runs.read_log(run), matrix_rate(device, dtype))
            write_atomic(run / "speed.json", (json.dumps(rates, indent=2) + "\n").encode())
        networks = last_networks(run)
        for network in networks[:-1]:
            if not runs.is_run(network):
                raise RunError(
                    f"{run} was trained by an earlier version, which kept no epochs; remove it"
                )
            if not is_measured(network):
                evaluate([str(network)], data, **{**options, "fid_weights": None})
        evaluate([str(run)], data, **options)
        for weights in run.glob("epochs/*/generator.safetensors"):
            weights.unlink()
        if self.store is not None:
            save_run(self.store, run)


def prepare_data(data: Path, folder: Path, protocol: Protocol) -> None:
    """Write the photos at the protocol's size to `folder`/data, unless they are there.

    Raises:
        DataError: If `data` has too few or too small photos, or no test split, or if `folder` has
            photos of another data set or another number of them.
    """
    check_data(data, folder, protocol)
    dest = folder / "data"
    if not dest.exists():
        shrink(data, dest, size=protocol.size, counts=_count_photos(protocol))


def check_data(data: Path, folder: Path, protocol: Protocol) -> None:
    """Raise `DataError` if `prepare_data` would, and write nothing."""
    dest, counts = folder / "data", _count_photos(protocol)
    if not dest.exists():
        check_enough(data, size=protocol.size, counts=counts)
        return
    info = json.loads((dest / "data.json").read_text("utf-8"))
    if info["from_fingerprint"] != PackedPhotos(data, "train").fingerprint:
        raise DataError(
            f"{dest} was made from other photos than {data}; give the data of the first call, or "
            "another --out"
        )
    found = {split: info.get(split, 0) for split in counts}
    if found != counts:
        raise DataError(
            f"{dest} has photos: {describe_counts(found)}; the protocol has "
            f"{describe_counts(counts)} (a folder of an earlier version has none for test); give "
            "another --out"
        )


def _count_photos(protocol: Protocol) -> dict[Split, int]:
    return {"train": protocol.train, "validation": protocol.validation, "test": protocol.test}


def make_tasks(
    planned: Sequence[tuple[str, int]],
    folder: Path,
    protocol: Protocol,
    fid_weights: Path | None,
    *,
    resnet18_weights: str = "imagenet",
    download: bool = True,
    store: Path | None = None,
) -> list[ExperimentTask]:
    """Return the tasks for the runs of `experiments.select_runs`.

    Args:
        planned: Experiments and seeds.
        folder: OUT/PROTOCOL.
        protocol: The scale.
        fid_weights: The file of a feature network; None skips FID.
        resnet18_weights: What pretrained ResNet18s start from: `imagenet`, `none`, or the path of a
            state dict.
        download: Download ImageNet weights; otherwise it is only checked that this is possible.
        store: A folder of finished runs.

    Raises:
        RecipeError: If a recipe is not possible at this scale, or the weights cannot be had.
        RunError: If a run directory cannot be read, or ResNet18 started from other weights there.
    """
    if any(uses_resnet18_weights(EXPERIMENTS[name].recipe) for name, _ in planned):
        if resnet18_weights not in ("none", "imagenet"):
            resnet18_weights = str(Path(resnet18_weights).resolve())
        if resnet18_weights == "imagenet" and not download:
            check_download("resnet18")
        else:
            build_encoder("resnet18", resnet18_weights)  # before any training
        _check_earlier_runs(folder, resnet18_weights)
    tasks = []
    for name, seed in planned:
        original, full_width = EXPERIMENTS[name].recipe, EXPERIMENTS[name].full_width
        recipe = at_scale(
            original, protocol, seed, resnet18_weights=resnet18_weights, full_width=full_width
        )
        if uses_resnet18_weights(original):
            recipe = override(recipe, {"generator.encoder_weights": resnet18_weights})
        per_image = flops_per_image(recipe)
        batch_size = recipe.data.batch_size
        images = protocol.train // batch_size * batch_size
        flops = sum(images * per_image[recipe.phase(epoch)] for epoch in range(recipe.total_epochs))
        run_name = f"{name}-seed{seed}"
        tasks.append(
            ExperimentTask(run_name, recipe, folder, protocol.precision, fid_weights, flops, store)
        )
    return tasks


def _check_earlier_runs(folder: Path, resnet18_weights: str) -> None:
    """Raise `RunError` if a pretrained ResNet18 started from other weights in an earlier run."""
    names = [name for name, e in EXPERIMENTS.items() if uses_resnet18_weights(e.recipe)]
    for path in (path for name in names for path in folder.glob(f"runs/{_NUMBER}-{name}-seed*")):
        if not runs.is_run(path):
            continue
        used = runs.read_recipe(path).generator.settings["encoder_weights"]
        if used != resnet18_weights:
            raise RunError(
                f"{path} started from ResNet18 weights {used}, not {resnet18_weights}; give "
                f"--resnet18-weights {used}, or another --out"
            )


def describe_plan(tasks: Sequence[ExperimentTask]) -> str:
    """Return a table of runs: epochs, training FLOPs, and what is finished."""
    rows = [("run", "epochs", "TFLOP", "state")]
    for task in tasks:
        epochs, tera = "-", "-"
        if task.recipe is not None:
            epochs, tera = str(task.recipe.total_epochs), f"{task.flops / 1e12:.3g}"
        rows.append((task.name, epochs, tera, _describe_state(task)))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{name:{widths[0]}}  {epochs:>{widths[1]}}  {tera:>{widths[2]}}  {state}"
        for name, epochs, tera, state in rows
    ]
    left = sum(task.flops * (1 - task.share_trained()) for task in tasks)
    unfinished = sum(not task.is_done() for task in tasks)
    lines.append(
        f"{unfinished} of {len(tasks)} are not finished; {left / 1e12:.3g} of "
        f"{sum(task.flops for task in tasks) / 1e12:.3g} TFLOP of training are left"
    )
    return "\n".join(lines)


def _describe_state(task: ExperimentTask) -> str:
    if task.is_done():
        return "finished"
    if task.recipe is None or (run := task.find_run()) is None:
        return "not started"
    if (read := runs.read_recipe(run)) != task.recipe:
        return f"{run.name} has another recipe"
    epochs = len(runs.read_log(run))
    if epochs == read.total_epochs:
        return "trained, to be evaluated"
    return f"{epochs} epochs are trained"


def perform_all(tasks: Sequence[ExperimentTask], *, jobs: int, progress: bool) -> dict[str, str]:
    """Perform all tasks that are not done, in order, several at a time.

    Args:
        tasks: Tasks.
        jobs: Number of processes, each with its share of the cores.
        progress: Show a progress bar, in FLOPs of training.

    Returns:
        Error messages of the tasks that failed, by name. The others are performed all the same.

    Raises:
        RunError: If a process died.
    """
    unfinished = [task for task in tasks if not task.is_done()]
    failures: dict[str, str] = {}
    if not unfinished:
        return failures

    def trained_flops() -> float:
        return sum(task.flops * task.share_trained() for task in tasks)

    bar = progress_bar(
        total=sum(task.flops for task in tasks),
        initial=trained_flops(),
        unit="FLOP",
        unit_scale=True,
        disable=not progress,
    )
    initializer = partial(_initialize, max(1, count_cores() // jobs))
    jobs = min(jobs, len(unfinished))
    with bar, WorkerPool(initializer, processes=jobs, timeout=_TIMEOUT) as pool:
        pending = {pool.submit(task): task for task in unfinished}
        while pending:
            finished = wait(pending, _REFRESH_INTERVAL, FIRST_COMPLETED).done
            running = [task.name for future, task in pending.items() if future.running()]
            bar.set_description(", ".join(running))
            bar.update(trained_flops() - bar.n)
            for future in finished:
                task = pending.pop(future)
                try:
                    message = future.result()
                except WorkerError as error:
                    raise RunError(
                        f"{error}; run the same command again, with fewer --jobs if memory ran out"
                    ) from error
                if message is not None:
                    failures[task.name] = message
    return failures


def _initialize(threads: int) -> Callable[[ExperimentTask], str | None]:
    torch.set_num_threads(threads)
    # Otherwise a run would continue after its parent was killed, beside the next call's.
    threading.Thread(target=exit_with_parent, daemon=True).start()
    return _perform


def _perform(task: ExperimentTask) -> str | None:
    try:
        task.perform()
    except PhotochromError as error:
        return str(error)
    return None
