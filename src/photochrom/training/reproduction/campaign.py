"""Running everything: each experiment trained and measured once, and resumed where it stopped.

OUT/PROTOCOL/data/                  the photos at the protocol's size
OUT/PROTOCOL/runs/NNNN-NAME-seedS/  a run directory, with metrics.json and speed.json
OUT/PROTOCOL/baselines/metrics.json
"""

import json
import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from photochrom.errors import DataError, PhotochromError, RecipeError, RunError
from photochrom.imagefile.atomic import write_atomic
from photochrom.progress import print_message, progress_bar
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.shrink import shrink
from photochrom.training.evaluation.evaluate import evaluate
from photochrom.training.loop import runs
from photochrom.training.loop.train import train
from photochrom.training.networks.encoders import build_encoder
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EXPERIMENTS,
    Protocol,
    at_scale,
    on_resnet18,
)
from photochrom.training.reproduction.speed import flops_per_image, matrix_rate, speed

_NUMBER = "[0-9]" * 4
"""What `runs.new_run` puts before a name, as a pattern: one name may end in another."""

Report = Callable[[float], Any]
"""Takes note of so many FLOPs of training that are done."""


@dataclass(frozen=True)
class Task:
    """One run, or with no recipe the baselines; everything that a process needs to do it."""

    name: str
    """With its seed."""
    recipe: Recipe | None
    place: Path
    """OUT/PROTOCOL."""
    precision: Any
    inception: Path | None
    work: float
    """FLOPs of its whole training."""


def prepare_data(data: Path, place: Path, protocol: Protocol) -> Path:
    """Return the photos at the protocol's size, made from `data` unless they are there.

    Raises:
        DataError: If `data` has too few photos or too small ones, or the ones that are there were
            made from other data.
    """
    made = place / "data"
    if made.exists():
        origin = json.loads((made / "data.json").read_text())["from_fingerprint"]
        if origin != PackedPhotos(data, "train").fingerprint:
            raise DataError(
                f"{made} was made from other photos than {data}; give the data that the campaign "
                "began with, or another --out"
            )
    else:
        shrink(data, made, size=protocol.size, train=protocol.train, held_out=protocol.held_out)
    return made


def find_run(place: Path, name: str) -> Path | None:
    """Return the directory of a run of a campaign, or None if it was not begun."""
    found = sorted(path for path in place.glob(f"runs/{_NUMBER}-{name}") if runs.is_run(path))
    if len(found) > 1:
        raise RunError(f"{found[0]} and {found[1]} are of the same experiment; remove one of them")
    return found[0] if found else None


def make_tasks(
    planned: Sequence[tuple[str, int]], place: Path, protocol: Protocol, inception: Path | None
) -> list[Task]:
    """Return what is to be done for `experiments.plan`'s runs, done or not.

    System 3 and the others on ResNet18 start from ImageNet weights where they can be fetched; what
    the first of them did, all do.

    Raises:
        RecipeError: If a recipe does not work at this scale.
        RunError: If a run directory cannot be read.
    """
    resnet18 = _resnet18_weights(planned, place, protocol)
    tasks = []
    for name, seed in planned:
        recipe = at_scale(EXPERIMENTS[name].recipe, protocol, seed, resnet18_weights=resnet18)
        per_image = flops_per_image(recipe)
        images = protocol.train // recipe.batch_size * recipe.batch_size
        work = sum(images * per_image[recipe.phase(epoch)] for epoch in range(recipe.total_epochs))
        whole_name = f"{name}-seed{seed}"
        tasks.append(Task(whole_name, recipe, place, protocol.precision, inception, work))
    return tasks


def _resnet18_weights(planned: Sequence[tuple[str, int]], place: Path, protocol: Protocol) -> str:
    """Return `imagenet` or `none`, for every run on a pretrained ResNet18 alike."""
    names = [name for name, experiment in EXPERIMENTS.items() if on_resnet18(experiment.recipe)]
    begun = [p for name in names for p in sorted(place.glob(f"runs/{_NUMBER}-{name}-seed*"))]
    begun = [run for run in begun if runs.is_run(run)]
    if begun:
        return runs.read_recipe(begun[0]).encoder_weights
    if not any(name in names for name, _ in planned) or protocol.most_epochs is not None:
        return "none"  # not asked for; and a smoke test fetches nothing
    try:
        build_encoder("resnet18", "imagenet")
    except RecipeError as error:
        print_message(f"ResNet18 is trained from scratch, and called so: {error}")
        return "none"
    return "imagenet"


def is_done(task: Task) -> bool:
    """Return whether a task has been trained and measured, with FID if that is wanted."""
    if task.recipe is None:
        measured = task.place / "baselines" / "metrics.json"
    else:
        run = find_run(task.place, task.name)
        if run is None or share_trained(task) < 1 or not (run / "speed.json").is_file():
            return False
        measured = run / "metrics.json"
    try:
        evaluations = json.loads(measured.read_text())["evaluations"]
        return task.inception is None or all("fid" in e["values"] for e in evaluations)
    except (OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        return False


def perform(task: Task, report: Report) -> None:
    """Do what is left of a task.

    Args:
        task: What to do.
        report: Is told of training that is done here, of what `share_trained` does not count.

    Raises:
        PhotochromError: If it cannot be trained or measured.
    """
    data = task.place / "data"
    fid: dict[str, Any] = {"fid_weights": task.inception, "device": "auto", "progress": False}
    if task.recipe is None:
        evaluate(BASELINES, data, out=task.place / "baselines", **fid)
        return
    run = find_run(task.place, task.name)
    steps = task.recipe.total_epochs * (len(PackedPhotos(data, "train")) // task.recipe.batch_size)
    done = round(steps * share_trained(task))

    def on_step(step: int) -> None:
        nonlocal done
        report(task.work * (step - done) / steps)
        done = step

    if run is None or share_trained(task) < 1:
        run = train(
            task.recipe,
            data,
            task.place / "runs",
            name=task.name,
            precision=task.precision,
            resume=run,
            progress=False,
            on_step=on_step,
        )
    on_step(steps)
    if not (run / "speed.json").is_file():
        dtype = torch.bfloat16 if task.precision == "bf16" else torch.float32
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        measured = speed(task.recipe, runs.read_log(run), matrix_rate(device, dtype))
        write_atomic(run / "speed.json", (json.dumps(measured, indent=2) + "\n").encode())
    evaluate([str(run)], data, **fid)


def share_trained(task: Task) -> float:
    """Return what share of a task's epochs was trained, by now or before: 0..1."""
    run = None if task.recipe is None else find_run(task.place, task.name)
    if run is None or task.recipe is None or runs.read_recipe(run) != task.recipe:
        return 0.0  # a run of another recipe is refused once it is resumed
    return len(runs.read_log(run)) / task.recipe.total_epochs


def perform_all(tasks: Sequence[Task], *, jobs: int, progress: bool) -> dict[str, str]:
    """Do all tasks that are not done, several at a time, behind one bar.

    Args:
        tasks: The first come first.
        jobs: How many at a time, each in a process of its own with its share of the cores; 1 stays
            in this process.
        progress: Show the bar, with the time that is left.

    Returns:
        The reason of every task that failed, by its name; the others were done all the same.

    Raises:
        RunError: If one of the processes was killed.
    """
    left = [task for task in tasks if not is_done(task)]
    failed: dict[str, str] = {}
    bar = progress_bar(
        total=sum(task.work for task in tasks),
        initial=sum(task.work * share_trained(task) for task in tasks),
        unit="FLOP",
        unit_scale=True,
        disable=not progress,
    )
    with bar:
        if jobs == 1:
            for task in left:
                bar.set_description(task.name)
                try:
                    perform(task, bar.update)
                except PhotochromError as refused:
                    failed[task.name] = str(refused)
            return failed
        with _pool(jobs) as (pool, reports):
            pending: dict[Future[None], Task] = {pool.submit(_in_process, t): t for t in left}
            while pending:
                _drain(reports, bar)
                running = [pending[f].name for f in pending if f.running()][:jobs]
                bar.set_description(", ".join(running))
                for future in [future for future in pending if future.done()]:
                    task = pending.pop(future)
                    reason = future.exception()
                    if isinstance(reason, PhotochromError):
                        failed[task.name] = str(reason)
                    elif isinstance(reason, BrokenProcessPool):
                        raise RunError(
                            "one of the processes was killed, most likely for want of memory; run "
                            "the same command again, with fewer --jobs"
                        ) from reason
                    elif reason is not None:
                        raise reason
            _drain(reports, bar)
    return failed


_reports: "multiprocessing.Queue[float] | None" = None
"""In a process of the pool: where training that is done is told of."""


@contextmanager
def _pool(jobs: int) -> Iterator[tuple[ProcessPoolExecutor, "multiprocessing.Queue[float]"]]:
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork
    reports: multiprocessing.Queue[float] = context.Queue()
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(jobs, context, _start, (reports, threads))
    try:
        yield pool, reports
    finally:
        pool.shutdown(cancel_futures=True)


def _start(reports: "multiprocessing.Queue[float]", threads: int) -> None:
    global _reports
    _reports = reports
    torch.set_num_threads(threads)


def _in_process(task: Task) -> None:
    reports, parent = _reports, multiprocessing.parent_process()
    assert reports is not None
    assert parent is not None

    def report(work: float) -> None:
        if not parent.is_alive():  # killed; two campaigns would write into the same runs
            os._exit(1)
        reports.put(work)

    perform(task, report)


def _drain(reports: "multiprocessing.Queue[float]", bar: Any) -> None:
    """Take what the processes have told of, waiting for the first a moment."""
    try:
        bar.update(reports.get(timeout=0.5))
        while True:
            bar.update(reports.get_nowait())
    except queue.Empty:
        pass
