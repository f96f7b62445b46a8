"""The values that were measured of a model, its scores by photo, and the files that hold them."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photochrom.errors import RunError
from photochrom.training.data.splits import SPLITS, Split
from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.metrics import METRICS, rename_old


@dataclass(frozen=True, eq=False)
class PhotoScores:
    """The scores of one model, photo by photo."""

    photos: Sequence[tuple[str, str]]
    """Name and SHA-256 of the source file of each photo, from the manifest."""
    values: Mapping[str, NDArray[np.float64]]
    """Shape (N,), by metric; names of the originals' scores begin with `original_`."""


@dataclass(frozen=True)
class Evaluation:
    """The values of one model, or their means over the runs of a system with several seeds."""

    name: str
    n: int
    """Number of photos."""
    values: Mapping[str, Estimate]
    """By the names of `metrics.METRICS`; metrics that were not measured are missing."""
    seeds: int = 1
    """Number of runs."""
    deviations: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation over the runs of each metric, if there are several."""

    def to_json(self) -> dict[str, Any]:
        """Return a dict for `json.dumps` and `from_json`."""
        values = {metric: list(value) for metric, value in self.values.items()}
        content = {"name": self.name, "n": self.n, "values": values}
        if self.seeds > 1:
            content |= {"seeds": self.seeds, "deviations": dict(self.deviations)}
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evaluation":
        """Read the dict that `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
        """
        values: dict[str, Estimate] = {}
        for metric, (value, *interval) in content["values"].items():
            low, high = (None if end is None else float(end) for end in interval)
            values[str(metric)] = float(value), low, high
        deviations = {str(k): float(v) for k, v in content.get("deviations", {}).items()}
        seeds = int(content.get("seeds", 1))
        return cls(str(content["name"]), int(content["n"]), rename_old(values), seeds, deviations)


def to_json(facts: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> bytes:
    """Return metrics.json: the facts of a measurement and its evaluations."""
    content = {**facts, "evaluations": [e.to_json() for e in evaluations]}
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def to_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """Return metrics.csv: a row for each model; of every metric value, low, high and deviation."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high", "_sd")
    writer.writerow(["name", "n", "seeds", *(metric + end for metric in METRICS for end in ends)])
    for e in evaluations:
        numbers: list[float | None] = []
        for metric in METRICS:
            numbers += [*e.values.get(metric, (None, None, None)), e.deviations.get(metric)]
        writer.writerow([e.name, e.n, e.seeds, *("" if v is None else repr(v) for v in numbers)])
    return text.getvalue().encode()


def metrics_path(run: Path, split: Split) -> Path:
    """Return the path of a run's metrics.json; metrics-SPLIT.json unless it is of `validation`."""
    return run / ("metrics.json" if split == "validation" else f"metrics-{split}.json")


def scores_path(run: Path, split: Split) -> Path:
    """Return the path of scores.csv in a run, as `metrics_path`."""
    return run / ("scores.csv" if split == "validation" else f"scores-{split}.csv")


@dataclass(frozen=True)
class RunEvaluation:
    """What the metrics.json of a run holds."""

    data: str
    """The name of the data set."""
    fingerprint: str
    """Of the data set; empty in a file of an earlier version."""
    evaluation: Evaluation


def remove_results(run: Path) -> None:
    """Remove what `evaluate` has written to a run."""
    for split in SPLITS:
        metrics_path(run, split).unlink(missing_ok=True)
        scores_path(run, split).unlink(missing_ok=True)


def read_evaluation(run: Path, split: Split = "validation") -> RunEvaluation:
    """Read a run's metrics.json.

    Raises:
        RunError: If the file is missing or damaged.
    """
    path = metrics_path(run, split)
    command = f"`photochrom evaluate {run} --data DIR --split {split}`"
    if not path.is_file():
        raise RunError(f"{run} was not evaluated on a full {split} split yet; run {command}")
    try:
        content = json.loads(path.read_text("utf-8"))
        (evaluation,) = content["evaluations"]
        return RunEvaluation(
            str(content["data"]),
            str(content.get("fingerprint", "")),
            Evaluation.from_json(evaluation),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged; run {command} again") from error


def scores_to_csv(scores: Mapping[str, PhotoScores]) -> bytes:
    """Return scores.csv: a row for each photo of each model, by the names of the models."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = list(next(iter(scores.values())).values)
    writer.writerow(["model", "photo", "sha256", *metrics])
    for name, model in scores.items():
        columns = [model.values[metric].tolist() for metric in metrics]
        for (photo, sha256), *values in zip(model.photos, *columns, strict=True):
            writer.writerow([name, photo, sha256, *map(repr, values)])
    return text.getvalue().encode(errors="surrogateescape")


def read_scores(path: Path) -> dict[str, PhotoScores]:
    """Return the scores in a scores.csv by the names of the models.

    Args:
        path: The file, or the folder it is in: a run, or the folder `evaluate --out`.

    Raises:
        RunError: If the file is missing or damaged.
    """
    path = path / "scores.csv" if path.is_dir() else path
    advice = "evaluate the models on a full split with `photochrom evaluate`"
    if not path.is_file():
        raise RunError(f"{path} does not exist; {advice}")
    if path.suffix.lower() != ".csv":
        raise RunError(f"{path} is no scores.csv; give one, a run, or a folder of evaluate --out")
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
        if header[:3] != ["model", "photo", "sha256"] or not rows:
            raise ValueError("not the columns of scores.csv")
        found = {}
        for model in dict.fromkeys(row[0] for row in rows):
            of_model = [row for row in rows if row[0] == model]
            table = np.array([row[3:] for row in of_model], np.float64)
            columns = dict(zip(header[3:], table.T, strict=True))
            found[model] = PhotoScores([(row[1], row[2]) for row in of_model], columns)
        return found
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{path} is damaged; {advice} again") from error
