"""Compare systems photo by photo, from the scores that `photochrom evaluate` wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photochrom.errors import RunError
from photochrom.training.data.splits import Split
from photochrom.training.evaluation.bootstrap import paired_difference
from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import (
    Evaluation,
    PhotoScores,
    read_scores,
    scores_path,
)
from photochrom.training.evaluation.systems import group_runs
from photochrom.training.runs import is_run, run_name

_ORIGINAL = "original_colorfulness"


@dataclass(frozen=True, eq=False)
class System:
    """The scores of the runs of a system, or of one model."""

    name: str
    runs: Mapping[str, PhotoScores]
    """By the name of the run, S of them."""

    def scores(self, name: str) -> NDArray[np.float64]:
        """Return one of the scores, shape (S, N)."""
        return np.array([run.values[name] for run in self.runs.values()])

    def has(self, name: str) -> bool:
        """Return whether all runs have a score."""
        return all(name in run.values for run in self.runs.values())


def read_systems(paths: Sequence[Path], split: Split = "validation") -> list[System]:
    """Read the scores of systems.

    Args:
        paths: Runs, which are grouped by recipe; and folders `evaluate --out`, or scores.csv
            files, of which every model is a system.
        split: Split that the runs were evaluated on.

    Raises:
        RunError: If scores are missing or damaged, or not of the same photos.
    """
    systems = []
    for name, runs in group_runs([path for path in paths if is_run(path)]).items():
        of_runs = [next(iter(read_scores(scores_path(run, split)).values())) for run in runs]
        names = list(map(run_name, runs))
        systems.append(System(name, dict(zip(names, of_runs, strict=True))))
    for path in paths:
        if not is_run(path):
            systems += [System(name, {name: of}) for name, of in read_scores(path).items()]
    for i, system in enumerate(systems):
        if any(system.name == other.name for other in systems[:i]):
            raise RunError(f"there are two systems named {system.name}; give one of them")
    all_runs = [item for system in systems for item in system.runs.items()]
    for name, scores in all_runs[1:]:
        _check_photos(*all_runs[0], name, scores)
    return systems


def _check_photos(name: str, scores: PhotoScores, other_name: str, other: PhotoScores) -> None:
    """Raise an error unless both have the same photos in the same order and of the same size."""
    pairs = zip(scores.photos, other.photos, strict=False)
    differing = next((i for i, (one, two) in enumerate(pairs) if one[1] != two[1]), None)
    if differing is not None:
        difference = (
            f"photo {differing + 1} is {scores.photos[differing][0]} in the one and "
            f"{other.photos[differing][0]} in the other"
        )
    elif len(scores.photos) != len(other.photos):
        difference = f"{len(scores.photos)} and {len(other.photos)}"
    elif not np.allclose(scores.values[_ORIGINAL], other.values[_ORIGINAL], rtol=1e-6):
        difference = "the same files, prepared differently"
    else:
        return
    raise RunError(
        f"{name} and {other_name} were evaluated on different photos ({difference}); evaluate both "
        "on the same split of the same data set"
    )


def compare(systems: Sequence[System], against: str | None = None) -> tuple[str, list[Evaluation]]:
    """Return the differences of every metric of single photos from one of the systems.

    Args:
        systems: Two or more.
        against: The name of a system, or of one of its runs; None: the first.

    Returns:
        The name of that system; and of each other one, the difference of the means over photos and
        runs, with the interval of `bootstrap.paired_difference`.

    Raises:
        RunError: If there is no such system, or only one.
    """
    names = {run: system for system in systems for run in (system.name, *system.runs)}
    if len(systems) < 2:
        raise RunError("there is one system to compare; give two or more, such as a baseline")
    if against is not None and against not in names:
        raise RunError(f"{against} is none of the systems; give one of {', '.join(names)}")
    base = systems[0] if against is None else names[against]
    differences = []
    for system in systems:
        if system is base:
            continue
        values = {}
        for name, metric in METRICS.items():
            columns = metric.scores or (name,)
            if all(s.has(column) for s in (system, base) for column in columns):
                a, b = ([s.scores(column) for column in columns] for s in (system, base))
                values[name] = paired_difference(metric.statistic, a, b)
        n = len(next(iter(system.runs.values())).photos)
        differences.append(Evaluation(system.name, n, values, seeds=len(system.runs)))
    return base.name, differences
