"""The results of all runs: collected from the run directories, kept in results.json.

results.md and the curves are generated from results.json alone.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from photochrom.errors import RecipeError, RunError
from photochrom.training import runs
from photochrom.training.data.packed import PackedPhotos
from photochrom.training.data.splits import SPLITS
from photochrom.training.evaluation.bootstrap import Estimate
from photochrom.training.evaluation.measurement import estimate_photo_metrics
from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import (
    Evaluation,
    metrics_path,
    read_scores,
    scores_path,
)
from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.recipes.recipe import Recipe, override
from photochrom.training.reproduction.experiments import EPOCHS, EXPERIMENTS, PROTOCOLS

_FORMAT = 5
_COCO_NAME = re.compile(r"(.*/)?\d{12}\.jpg")
_SCORES = ("mse", "psnr", "ssim", "colorfulness")
"""What `comparison` compares photo by photo."""
_DIGITS = 4
"""Significant digits of scores by photo in results.json."""


def _encoder_weights(recipe: Recipe) -> str | None:
    weights: str | None = recipe.generator.settings.get("encoder_weights")
    return weights


@dataclass(frozen=True)
class Run:
    """A run that was trained and evaluated."""

    experiment: str
    """A key of `EXPERIMENTS`."""
    seed: int
    directory: str
    """Name of the run directory."""
    recipe: Recipe
    environment: Mapping[str, Any]
    speed: Mapping[str, Any]
    evaluation: Evaluation
    """Means over the networks of the last epochs; FID and KID are of the last network."""
    log: Sequence[Mapping[str, Any]]
    """A line for each epoch."""
    scores: Mapping[str, Sequence[float]]
    """Metrics by photo, means over the last epochs, in the order of the photos."""
    epochs: Sequence[Mapping[str, float]]
    """Values of the network of each of the last epochs: `epoch`, names of `METRICS`, and
    `grey_share`, the share of photos whose output is grey."""

    @property
    def title(self) -> str:
        """Title for tables; it marks a ResNet18 without ImageNet weights."""
        title = EXPERIMENTS[self.experiment].title
        if self.other_weights:
            return title.replace("ResNet18", f"ResNet18 from {self.encoder_origin}")
        return title

    @property
    def encoder_origin(self) -> str:
        """What the weights of the encoder started from: `scratch`, `imagenet` or a file name."""
        weights = _encoder_weights(self.recipe)
        return "scratch" if weights in (None, "none") else weights

    @property
    def other_weights(self) -> bool:
        """Whether the encoder started from other weights than those of the experiment."""
        return _encoder_weights(EXPERIMENTS[self.experiment].recipe) != _encoder_weights(
            self.recipe
        )

    @property
    def seconds(self) -> float:
        """Duration of training."""
        return float(sum(line["seconds"] for line in self.log))

    @property
    def images(self) -> int:
        """Number of training images over all epochs."""
        return int(self.log[-1]["images"])

    def updates(self, network: str) -> int:
        """Return the number of optimizer steps of network `g` or `d`."""
        return self.updates_by_epoch(network)[-1]

    def updates_by_epoch(self, network: str, *, phases: Sequence[str] | None = None) -> list[int]:
        """Return the cumulative number of optimizer steps of a network, in all or some phases."""
        totals, total, previous = [], 0.0, 0
        for line in self.log:
            if phases is None or line["phase"] in phases:
                total += line.get(f"{network}_updates", 0.0) * (line["step"] - previous)
            previous = line["step"]
            totals.append(round(total))
        return totals

    def to_json(self) -> dict[str, Any]:
        """Return a dict for `json.dumps` and `from_json`."""
        more = {"recipe": self.recipe.to_dict(), "evaluation": self.evaluation.to_json()}
        return {**vars(self), **more}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Run":
        """Read the dict that `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
            RecipeError: If the recipe cannot be read.
        """
        recipe = Recipe.from_dict(content["recipe"])
        evaluation = Evaluation.from_json(content["evaluation"])
        return cls(**{**content, "recipe": recipe, "evaluation": evaluation})


@dataclass(frozen=True)
class Results:
    """The content of results.json."""

    protocol: str
    date: str
    """Of the last evaluation: YYYY-MM-DD."""
    data: Mapping[str, Any]
    """`name`, `fingerprint` of the manifest, `size`, and numbers of photos: `train`, `validation`
    and `test`; `coco`: whether all photos are named like COCO's."""
    fid_weights: str | None
    """Name of the file of the feature network."""
    baselines: Sequence[Evaluation]
    runs: Sequence[Run]

    @property
    def photos(self) -> int:
        """Number of test photos, which values are of."""
        return int(self.data["test"])

    @property
    def at_report_scale(self) -> bool:
        """Whether size, networks and photos are those of the report."""
        return self.protocol == "report" and bool(self.data["coco"])

    def of(self, experiment: str) -> Run | None:
        """Return the first run of an experiment, if any."""
        return next(iter(self.seeds(experiment)), None)

    def evaluation(self, name: str) -> Evaluation | None:
        """Return the evaluation of a baseline or of the first run of an experiment, if any."""
        if (run := self.of(name)) is not None:
            return run.evaluation
        return next((e for e in self.baselines if e.name == name), None)

    def value(self, name: str, metric: str) -> Estimate:
        """Return a value of a baseline or an experiment.

        Raises:
            KeyError: If it was not measured.
        """
        evaluation = self.evaluation(name)
        if evaluation is None or metric not in evaluation.values:
            raise KeyError(f"{name} has no {metric}")
        return evaluation.values[metric]

    def with_metric(self, metric: str) -> list[str]:
        """Return the baselines and experiments for which a metric was measured."""
        evaluations = [(e.name, e) for e in self.baselines]
        evaluations += [(run.experiment, run.evaluation) for run in self.first_runs()]
        return [name for name, e in evaluations if metric in e.values]

    def first_runs(self, *, part: str | None = None) -> list[Run]:
        """Return one run of each experiment, or of those of a part, in the usual order."""
        names = [name for name, e in EXPERIMENTS.items() if part in (None, e.part)]
        return [run for name in names if (run := self.of(name)) is not None]

    def shown_runs(self) -> list[Run]:
        """Return one run of each experiment that the protocol shows, as far as they were run."""
        names = PROTOCOLS[self.protocol].shown
        return [run for name in names if (run := self.of(name)) is not None]

    def seeds(self, experiment: str) -> list[Run]:
        """Return all runs of an experiment."""
        return [run for run in self.runs if run.experiment == experiment]

    def to_json(self) -> str:
        """Return results.json, with lists of numbers on one line."""
        content = {
            "format": _FORMAT,
            **vars(self),
            "baselines": [e.to_json() for e in self.baselines],
            "runs": [run.to_json() for run in self.runs],
        }
        text = json.dumps(content, indent=1)
        numbers = re.compile(r"\[([^][{}\"]+)\]")
        return numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Results":
        """Read results.json.

        Raises:
            RunError: If it is something else, or of another format.
            RecipeError: If a recipe in it cannot be read, such as one of a later version.
        """
        try:
            content = json.loads(text)
            if (version := content.pop("format")) != _FORMAT:
                raise ValueError(f"format {version}")
            content["baselines"] = [Evaluation.from_json(e) for e in content["baselines"]]
            content["runs"] = [Run.from_json(run) for run in content["runs"]]
            return cls(**content)
        except RecipeError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RunError(
                f"this is not a results.json ({error}); run `photochrom reproduce` again"
            ) from error


@dataclass(frozen=True)
class Stored:
    """What a folder of finished runs holds (`store.read`)."""

    runs: Sequence[Run] = ()
    baselines: Sequence[Evaluation] = ()
    date: str = ""
    """Of the last evaluation: YYYY-MM-DD."""


def epochs_to_keep(recipe: Recipe) -> int:
    """Return how many of the last epochs have to keep weights for `last_networks`."""
    phases = [recipe.phase(epoch) for epoch in range(recipe.total_epochs)]
    measured = [epoch for epoch, phase in enumerate(phases) if phase == phases[-1]][-EPOCHS:]
    return recipe.total_epochs - measured[0]


def _last_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the log of the last epochs of the phase in which training ended."""
    log = runs.read_log(path)
    return [line for line in log if line["phase"] == log[-1]["phase"]][-EPOCHS:]


def last_networks(run: Path) -> list[Path]:
    """Return the runs that hold the networks of the last epochs, in order; the last is `run`.

    Epochs of another phase than that in which training ended are left out.
    """
    epochs = [line["epoch"] for line in _last_lines(run)]
    return [*(run / "epochs" / f"{epoch:03d}" for epoch in epochs[:-1]), run]


def is_measured(network: Path) -> bool:
    """Return whether a network has metrics and scores of the test split."""
    return metrics_path(network, "test").is_file() and scores_path(network, "test").is_file()


def read_run(path: Path) -> tuple[Run, list[Mapping[str, Any]]]:
    """Read a run that is trained and whose last networks are measured.

    Args:
        path: Its directory, `NNNN-EXPERIMENT-seedS`.

    Returns:
        The run, and the scores of each of its last networks: by metric, an array (N,).

    Raises:
        RunError: If a file of the run cannot be read.
        RecipeError: If a recipe cannot be read.
    """
    experiment, _, seed = runs.bare_name(path.name).rpartition("-seed")
    environment, networks = runs.read_environment(path), last_networks(path)
    scores = [
        next(iter(read_scores(scores_path(network, "test")).values())).values
        for network in networks
    ]
    last = Evaluation.from_json(_read(metrics_path(path, "test"))["evaluations"][0])
    epochs = []
    for network, of_network, line in zip(networks, scores, _last_lines(path), strict=True):
        found = Evaluation.from_json(_read(metrics_path(network, "test"))["evaluations"][0])
        values = {k: v for k, (v, *_) in found.values.items() if METRICS[k].features is None}
        grey = of_network["colorfulness"] < GREY_RATIO * of_network["original_colorfulness"]
        epochs.append({"epoch": line["epoch"], **values, "grey_share": float(grey.mean())})
    means = {metric: np.mean([s[metric] for s in scores], axis=0) for metric in _SCORES}
    run = Run(
        experiment,
        int(seed),
        path.name,
        without_folder(runs.read_recipe(path)),
        {k: v for k, v in environment.items() if k not in ("command", "data")},  # local paths
        _read(path / "speed.json"),
        Evaluation(last.name, last.n, {**last.values, **estimate_photo_metrics(*scores)}),
        runs.read_log(path),
        {metric: rounded(values) for metric, values in means.items()},
        epochs,
    )
    return run, scores


def rounded(scores: Iterable[float]) -> list[float]:
    """Return scores with the digits of results.json."""
    return [float(f"{value:.{_DIGITS}g}") for value in scores]


def collect(
    folder: Path,
    protocol: str,
    data_name: str,
    fid_weights: str | None,
    stored: Stored | None = None,
) -> Results:
    """Read all runs that are trained and evaluated.

    Args:
        folder: OUT/PROTOCOL.
        protocol: Its name.
        data_name: Name of the data set.
        fid_weights: Name of the file of the feature network, if FID was measured.
        stored: Runs and baselines that were finished elsewhere; those in the folder come first.

    Raises:
        RunError: If a file of a run cannot be read.
        RecipeError: If a recipe cannot be read.
    """
    collected: dict[str, Run] = {}
    stored = stored or Stored()
    dates = [stored.date] if stored.date else []
    for path in sorted((folder / "runs").glob("*")):
        name = runs.bare_name(path.name)
        experiment = name.rpartition("-seed")[0]
        if experiment not in EXPERIMENTS or not (path / "speed.json").is_file():
            continue
        if all(is_measured(network) for network in last_networks(path)):
            dates.append(day(metrics_path(path, "test").stat().st_mtime))
            collected[name] = read_run(path)[0]
    collected = {runs.bare_name(run.directory): run for run in stored.runs} | collected
    order = list(EXPERIMENTS)
    in_order = sorted(collected.values(), key=lambda run: (order.index(run.experiment), run.seed))
    baselines = stored.baselines
    metrics = folder / "baselines" / "metrics.json"
    if metrics.is_file():
        dates.append(day(metrics.stat().st_mtime))
        baselines = [Evaluation.from_json(e) for e in _read(metrics)["evaluations"]]
    info = _read(folder / "data" / "data.json")
    data = {"name": data_name, "fingerprint": info["from_fingerprint"]}
    data |= {key: info[key] for key in ("size", *SPLITS)}
    sources = PackedPhotos(folder / "data", "train").sources()
    data["coco"] = all(_COCO_NAME.fullmatch(name) for name, _ in sources)
    date = max(dates, default=day(time.time()))
    return Results(protocol, date, data, fid_weights, baselines, in_order)


def day(timestamp: float) -> str:
    """Return the date of a time in seconds since 1970: YYYY-MM-DD, in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).date().isoformat()


def without_folder(recipe: Recipe) -> Recipe:
    """Return a recipe without the folder of the encoder's weights, a local path."""
    weights = _encoder_weights(recipe)
    if weights is None:
        return recipe
    return override(recipe, {"generator.encoder_weights": Path(weights).name})


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged; delete it and run the same command again") from error
