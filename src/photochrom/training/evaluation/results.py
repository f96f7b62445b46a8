"""The values that were measured of a model, and the files that hold them."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photochrom.errors import RunError
from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.metrics import METRICS


@dataclass(frozen=True)
class Evaluation:
    """The values of one model."""

    name: str
    n: int
    """Number of photos."""
    values: Mapping[str, Estimate]
    """By the names of `metrics.METRICS`; metrics that were not measured are missing."""

    def to_json(self) -> dict[str, Any]:
        """Return a dict for `json.dumps` and `from_json`."""
        values = {metric: list(value) for metric, value in self.values.items()}
        return {"name": self.name, "n": self.n, "values": values}

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
        return cls(str(content["name"]), int(content["n"]), values)


def to_json(facts: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> bytes:
    """Return metrics.json: the facts of a measurement and its evaluations."""
    content = {**facts, "evaluations": [e.to_json() for e in evaluations]}
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def to_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """Return metrics.csv: a row for each model, with value, low and high of every metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high")
    writer.writerow(["name", "n", *(metric + end for metric in METRICS for end in ends)])
    for e in evaluations:
        numbers = [v for metric in METRICS for v in e.values.get(metric, (None, None, None))]
        writer.writerow([e.name, e.n, *("" if v is None else repr(v) for v in numbers)])
    return text.getvalue().encode()


def read_evaluation(run: Path) -> tuple[str, Evaluation]:
    """Return the name of the data set in a run's metrics.json, and the evaluation.

    Raises:
        RunError: If the file is missing or damaged.
    """
    path = run / "metrics.json"
    command = f"`photochrom evaluate {run} --data DIR`"
    if not path.is_file():
        raise RunError(f"{run} was not evaluated on a full validation split yet; run {command}")
    try:
        content = json.loads(path.read_text())
        (evaluation,) = content["evaluations"]
        return str(content["data"]), Evaluation.from_json(evaluation)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged; run {command} again") from error
