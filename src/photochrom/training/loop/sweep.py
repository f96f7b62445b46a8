"""A sweep: one run for each combination of values of some keys of a recipe."""

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photochrom import progress
from photochrom.errors import PhotochromError, RecipeError, RunError
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.evaluation.tables import markdown
from photochrom.training.loop import launching
from photochrom.training.loop.checkpoints import recorded_facts, run_facts
from photochrom.training.loop.monitor import NonFiniteLossError
from photochrom.training.loop.train import train
from photochrom.training.recipes.recipe import Recipe, override


@dataclass(frozen=True)
class Variant:
    """A recipe with one combination of values."""

    values: Mapping[str, str]
    """By dotted key."""
    recipe: Recipe

    @property
    def name(self) -> str:
        """The values as part of a file name, such as `objective.l1.weight=10-seed=0`."""
        text = "-".join(f"{key}={value}" for key, value in self.values.items())
        return re.sub(r"[^\w.,=+-]+", "_", text)[:200]


def parse_sweep(options: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of each key of `KEY=VALUE,VALUE` or `KEY=VALUE;VALUE`.

    Raises:
        RecipeError: If an option has no values, or a key is given twice.
    """
    sweep: dict[str, list[str]] = {}
    for option in options:
        key, _, text = (part.strip() for part in option.partition("="))
        values = [value.strip() for value in text.split(";" if ";" in text else ",")]
        values = [value for value in values if value]
        if not values:
            raise RecipeError(f"--sweep {option!r} has no values; write --sweep KEY=VALUE,VALUE")
        if key in sweep:
            raise RecipeError(f"--sweep {key} is given twice; give all its values in one")
        sweep[key] = values
    return sweep


def make_variants(recipe: Recipe, sweep: Mapping[str, Sequence[str]]) -> list[Variant]:
    """Return a variant of a recipe for each combination of values, the last key varying fastest.

    Raises:
        RecipeError: If a key is unknown or a value is invalid.
    """
    combinations = [
        dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())
    ]
    return [Variant(values, override(recipe, values)) for values in combinations]


def train_variants(
    variants: Sequence[Variant],
    data: Path,
    out: Path,
    *,
    name: str,
    precision: Any = "32",
    sync_batchnorm: bool = True,
    nodes: int = 1,
    **options: Any,
) -> list[Path | None]:
    """Train variants one after the other; continue, or keep, runs of the same recipe and data.

    Args:
        variants: The variants.
        data: As for `photochrom.training.loop.train.train`, as all other arguments.
        out: Parent of the run directories.
        name: Start of the names of new runs.
        precision: Runs of another precision are not continued.
        sync_batchnorm: Likewise.
        nodes: Has to be 1.
        **options: Further arguments of `train`.

    Returns:
        The run directories, with None where a loss or weight was no longer finite.

    Raises:
        PhotochromError: As `train`, except for `NonFiniteLossError`.
        RunError: Also if there are several machines, or if torchrun or SLURM has started the
            processes.
    """
    launcher = launching.find_launcher()
    with launching.report_once():
        # torchrun's processes can be connected only once.
        if nodes > 1 or (launcher is not None and launcher.world_size > 1):
            raise RunError(
                "--sweep trains on one machine and starts its processes itself; leave out "
                "torchrun, srun and --nodes, or start the runs one by one with --set"
            )
        photos = PackedPhotos(data, "train")
    facts = run_facts(photos, precision, sync_batchnorm=sync_batchnorm)
    trained: list[Path | None] = []
    for number, variant in enumerate(variants, start=1):
        found = find_run(out, variant.recipe, facts)
        start = "new run" if found is None else found
        _print(f"run {number} of {len(variants)}, {variant.name}: {start}")
        try:
            run = train(
                variant.recipe,
                data,
                out,
                name=f"{name}-{variant.name}",
                precision=precision,
                sync_batchnorm=sync_batchnorm,
                resume=found,  # a finished run takes no more steps
                **options,
            )
        except NonFiniteLossError as error:
            _print(f"{variant.name} failed: {error}")
            trained.append(None)
        else:
            trained.append(run)
    return trained


def find_run(out: Path, recipe: Recipe, facts: Mapping[str, Any]) -> Path | None:
    """Return the run of a recipe in `out` that has most epochs, or None.

    `facts` are `run_facts`.
    """
    found = []
    for path in sorted(out.glob("[0-9]*")):
        try:
            if recorded_facts(path) == facts and runs.read_recipe(path) == recipe:
                found.append(path)
        except PhotochromError:  # no run, or one that cannot be read
            continue
    return max(found, key=lambda path: len(runs.read_log(path)), default=None)


def sweep_table(variants: Sequence[Variant], trained: Sequence[Path | None]) -> str:
    """Return a Markdown table of runs, their values, and metrics of training's last epoch."""
    keys = list(variants[0].values)
    rows = []
    for variant, run in zip(variants, trained, strict=True):
        cells = ["failed", *variant.values.values(), "-", "-"]
        if run is not None:
            cells[0] = str(run)
            for line in runs.read_log(run)[-1:]:  # there is none if log.jsonl was deleted
                cells[-2:] = [f"{line['psnr']:.2f}", f"{line['colorfulness_ratio']:.2f}"]
        rows.append(cells)
    return markdown(["Run", *keys, "PSNR (dB)", "Colourfulness ratio"], rows)


def _print(message: str) -> None:
    progress.print_message(message, file=sys.stderr)
