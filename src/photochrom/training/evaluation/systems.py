"""Systems: the runs of one recipe that differ in the seed only, and their mean over seeds."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from photochrom.errors import RunError
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.recipes.recipe import override
from photochrom.training.runs import kept_epoch, read_environment, read_recipe, run_name


def group_runs(runs: Sequence[Path]) -> dict[str, list[Path]]:
    """Group runs that differ in the seed only: of one recipe, data set, precision and epoch.

    A run with a seed that its group already has starts another group: it is no further sample.

    Returns:
        The runs of each system, in the order given, by the name of the system: the name of the run
        if there is one, else what the names have in common.

    Raises:
        RunError: If a folder is not a run.
        RecipeError: If a recipe cannot be read.
    """
    groups: list[tuple[tuple[object, ...], dict[int, Path]]] = []
    for run in runs:
        recipe = read_recipe(run)
        key = (override(recipe, {"seed": 0}), kept_epoch(run), *_training_facts(run))
        fitting = (g for other, g in groups if other == key and recipe.seed not in g)
        group = next(fitting, None)
        if group is None:
            group = {}
            groups.append((key, group))
        group[recipe.seed] = run
    names = [_name(list(seeds.values())) for _, seeds in groups]
    systems = {}
    for name, (_, seeds) in zip(names, groups, strict=True):
        paths = list(seeds.values())
        unique = name if names.count(name) == 1 else f"{name} ({paths[0].resolve()})"
        systems[unique] = paths
    return systems


def _training_facts(run: Path) -> tuple[object, ...]:
    """Return data set, precision and kind of batch norm that a run was trained with.

    The data set is its fingerprint, or of an older run the name of the folder. Of a run without
    environment.json, nothing is known.
    """
    path = run if kept_epoch(run) is None else run.resolve().parent.parent
    if not (path / "environment.json").is_file():
        return ()
    environment = read_environment(path)
    name = Path(str(environment.get("data", ""))).name
    data = str(environment.get("data_fingerprint", name))
    return data, environment.get("precision"), environment.get("sync_batchnorm", True)


def _name(runs: Sequence[Path]) -> str:
    names = list(map(run_name, runs))
    if len(names) == 1:
        return names[0]
    bare = {re.sub(r"^\d{4}-|-seed\d+(?=/|$)", "", name) for name in names}
    return bare.pop() if len(bare) == 1 else names[0]


def mean_over_seeds(name: str, evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the mean of each metric over the runs of a system, with its standard deviation.

    Args:
        name: Of the system.
        evaluations: Of its runs. That of one run is returned with the name only.

    Returns:
        Deviations are over S - 1. There are no intervals.

    Raises:
        RunError: If the runs were evaluated on different numbers of photos.
    """
    first = evaluations[0]
    if len(evaluations) == 1:
        return dataclasses.replace(first, name=name)
    for other in evaluations:
        if other.n != first.n:
            raise RunError(
                f"{first.name} was evaluated on {first.n} photos and {other.name} on {other.n}; "
                "evaluate both on one data set"
            )
    columns = {
        metric: np.array([e.values[metric][0] for e in evaluations])
        for metric in first.values
        if all(metric in e.values for e in evaluations)
    }
    return Evaluation(
        name=name,
        n=first.n,
        values={metric: (float(x.mean()), None, None) for metric, x in columns.items()},
        seeds=len(evaluations),
        deviations={metric: float(x.std(ddof=1)) for metric, x in columns.items()},
    )
