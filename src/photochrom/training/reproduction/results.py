"""What a campaign found: every run directory's JSON files in one, and reading it back.

`results.json` is all that the pages are made of, so that every figure in them can be traced to the
run that it is from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from photochrom.errors import RunError
from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.loop import runs
from photochrom.training.recipes.recipe import Recipe
from photochrom.training.reproduction.experiments import EXPERIMENTS

_FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A run that was trained and measured."""

    experiment: str
    """A key of `experiments.EXPERIMENTS`."""
    seed: int
    directory: str
    """Its name under OUT/PROTOCOL/runs."""
    recipe: Recipe
    environment: Mapping[str, Any]
    speed: Mapping[str, Any]
    evaluation: Evaluation
    log: Sequence[Mapping[str, Any]]
    """A line for each epoch."""

    @property
    def title(self) -> str:
        """What it is, for tables; it says where a ResNet18 had no ImageNet weights."""
        title = EXPERIMENTS[self.experiment].title
        wanted = EXPERIMENTS[self.experiment].recipe.encoder_weights
        if wanted != self.recipe.encoder_weights:
            title = title.replace("ResNet18", "ResNet18 from scratch")
        return title

    @property
    def seconds(self) -> float:
        """How long it was trained."""
        return float(sum(line["seconds"] for line in self.log))

    @property
    def images(self) -> int:
        """How many images it has seen, every epoch's counted."""
        return int(self.log[-1]["images"])

    def updates(self, network: str, *, phases: Sequence[str] = ("l1", "gan", "d", "g")) -> int:
        """Return how often the weights of `g` or `d` were changed, in some phases or all."""
        return self.updates_by_epoch(network, phases=phases)[-1]

    def updates_by_epoch(
        self, network: str, *, phases: Sequence[str] = ("l1", "gan", "d", "g")
    ) -> list[int]:
        """Return the same after each epoch."""
        totals, total, before = [], 0.0, 0
        for line in self.log:
            if line["phase"] in phases:
                total += line.get(f"{network}_updates", 0.0) * (line["step"] - before)
            before = line["step"]
            totals.append(round(total))
        return totals


@dataclass(frozen=True)
class Results:
    """Everything that a campaign found."""

    protocol: str
    date: str
    """When the last run was measured: YYYY-MM-DD."""
    data: Mapping[str, Any]
    """`name`, `fingerprint` of the manifest, and how many photos: `train`, `eval`."""
    fid_weights: str | None
    """Name of the Inception file that FID and KID were measured with."""
    machine: Mapping[str, Any]
    baselines: Sequence[Evaluation]
    runs: Sequence[Run]

    def of(self, experiment: str) -> Run | None:
        """Return the first run of an experiment, if there is one."""
        return next(iter(self.seeds(experiment)), None)

    def evaluation(self, name: str) -> Evaluation | None:
        """Return what was measured of a baseline, or of the first run of an experiment."""
        run = self.of(name)
        if run is not None:
            return run.evaluation
        return next((e for e in self.baselines if e.name == name), None)

    def value(self, name: str, metric: str) -> Estimate:
        """Return a figure of a baseline or experiment that is known to be there."""
        evaluation = self.evaluation(name)
        if evaluation is None or metric not in evaluation.values:
            raise KeyError(f"{name} has no {metric}")
        return evaluation.values[metric]

    def first_runs(self) -> list[Run]:
        """Return one run of each experiment, in the order of the experiments."""
        found = (self.of(name) for name in EXPERIMENTS)
        return [run for run in found if run is not None]

    def seeds(self, experiment: str) -> list[Run]:
        """Return all runs of an experiment."""
        return [run for run in self.runs if run.experiment == experiment]

    def to_json(self) -> str:
        """Return the results as JSON, a line for each epoch of each run."""
        content = {
            "format": _FORMAT,
            "protocol": self.protocol,
            "date": self.date,
            "data": dict(self.data),
            "fid_weights": self.fid_weights,
            "machine": dict(self.machine),
            "baselines": [e.to_json() for e in self.baselines],
            "runs": [
                {
                    "experiment": run.experiment,
                    "seed": run.seed,
                    "directory": run.directory,
                    "recipe": json.loads(run.recipe.to_json()),
                    "environment": dict(run.environment),
                    "speed": dict(run.speed),
                    "evaluation": run.evaluation.to_json(),
                    "log": [dict(line) for line in run.log],
                }
                for run in self.runs
            ],
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Results":
        """Read what `to_json` wrote.

        Raises:
            RunError: If it is something else.
            RecipeError: If a recipe in it cannot be read.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}")
            found = [
                Run(
                    run["experiment"],
                    run["seed"],
                    run["directory"],
                    Recipe.from_json(json.dumps(run["recipe"])),
                    run["environment"],
                    run["speed"],
                    Evaluation.from_json(run["evaluation"]),
                    run["log"],
                )
                for run in content["runs"]
            ]
            return cls(
                content["protocol"],
                content["date"],
                content["data"],
                content["fid_weights"],
                content["machine"],
                [Evaluation.from_json(e) for e in content["baselines"]],
                found,
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(
                f"these are no results of a campaign ({error}); run `photochrom reproduce` again"
            ) from error


def collect(place: Path, protocol: str, data_name: str, fid_weights: str | None) -> Results:
    """Read all runs of a campaign that are trained and measured.

    Args:
        place: OUT/PROTOCOL.
        protocol: Its name.
        data_name: What the data set is called.
        fid_weights: Name of the Inception file, if FID was measured.

    Raises:
        RunError: If a file of a run cannot be read.
        RecipeError: If a recipe cannot be read.
    """
    found: list[Run] = []
    dates = []
    for run in sorted((place / "runs").glob("*")):
        experiment, _, seed = run.name[5:].rpartition("-seed")
        finished = all((run / name).is_file() for name in ("metrics.json", "speed.json"))
        if experiment not in EXPERIMENTS or not finished:
            continue
        measured = run / "metrics.json"
        dates.append(measured.stat().st_mtime)
        found.append(
            Run(
                experiment,
                int(seed),
                run.name,
                runs.read_recipe(run),
                _without_places(runs.read_environment(run)),
                _read(run / "speed.json"),
                Evaluation.from_json(_read(measured)["evaluations"][0]),
                runs.read_log(run),
            )
        )
    order = list(EXPERIMENTS)
    found.sort(key=lambda run: (order.index(run.experiment), run.seed))
    baselines = place / "baselines" / "metrics.json"
    measured_baselines = []
    if baselines.is_file():
        dates.append(baselines.stat().st_mtime)
        measured_baselines = [Evaluation.from_json(e) for e in _read(baselines)["evaluations"]]
    info = _read(place / "data" / "data.json")
    facts = {
        "name": data_name,
        "fingerprint": info["from_fingerprint"],
        "size": info["size"],
        "train": info["train"],
        "eval": info["eval"],
    }
    last = datetime.fromtimestamp(max(dates), UTC) if dates else datetime.now(UTC)
    return Results(
        protocol,
        last.date().isoformat(),
        facts,
        fid_weights,
        runs.describe_machine(),
        measured_baselines,
        found,
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged; delete it and run the same command again") from error


def _without_places(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where things lay: it says nothing to anyone else."""
    return {k: v for k, v in environment.items() if k not in ("command", "data")}
