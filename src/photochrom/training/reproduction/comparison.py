"""How systems are compared, and when a difference counts.

A run's colourfulness often changes by a tenth to a quarter of the original's between two epochs.
An interval over the photos of one network is therefore no evidence about a system. The rules:

- The value of a system is the mean over its seeds of the mean of the networks of the last five
  epochs of the phase in which training ended, on the test photos. No weights are averaged.
- Its interval, with three seeds or more, is the 95 % interval of Student's t over the seeds' means.
  With fewer seeds it is the range of those epochs: from the smallest to the largest. That interval
  describes the runs; how much another seed would change it is not known.
- A system is above a threshold if this interval is above it, and also the bootstrap interval over
  photos of every seed.
- A system is above another if seeds and photos both show it. Seeds, with three or more of each:
  Welch's 95 % interval of the difference of their means is above 0; with fewer: their intervals do
  not overlap. Photos: the paired bootstrap interval of the difference of their scores by photo,
  means over the epochs, is above 0.
- FID and KID are known of the last network only, so there is no range of epochs: three seeds are
  needed.

Reference:
    Agarwal et al. 2021, on intervals over few training runs.
"""

from math import sqrt
from statistics import mean, stdev
from typing import Literal

import numpy as np
from scipy.stats import t, ttest_ind

from photochrom.training.evaluation.bootstrap import Estimate, paired_difference
from photochrom.training.evaluation.bootstrap import mean as mean_over_photos
from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.reproduction.results import Results, Run

LEAST_EPOCHS = 3
"""Runs whose last phase is shorter are not compared."""
SEEDS = 3
"""From this number on, the interval is over seeds."""

Order = Literal["above", "below", "unclear"]


class MissingDataError(Exception):
    """Data that a comparison needs were not measured; the text says which."""


def last_epochs(run: Run, metric: str) -> list[float]:
    """Return a metric in the last epochs of the phase in which training ended.

    Raises:
        MissingDataError: If the phase is too short.
    """
    if len(run.epochs) < LEAST_EPOCHS:
        raise MissingDataError(
            f"the last phase of {run.experiment} has {len(run.epochs)} of the {LEAST_EPOCHS} "
            "epochs that are needed"
        )
    return [line[metric] for line in run.epochs]


def estimate(results: Results, name: str, metric: str) -> Estimate:
    """Return the value of a system with its interval over seeds or epochs, as described above.

    Args:
        results: All runs.
        name: An experiment that was run.
        metric: A name of `METRICS`.

    Raises:
        MissingDataError: If there are too few epochs or seeds, or the metric was not measured.
    """
    values = _seed_values(results, name, metric)
    if len(values) < SEEDS:
        epochs = [value for run in results.seeds(name) for value in last_epochs(run, metric)]
        return mean(values), min(epochs), max(epochs)
    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / sqrt(len(values))
    return mean(values), mean(values) - half, mean(values) + half


def _seed_values(results: Results, name: str, metric: str) -> list[float]:
    """Return the value of each seed of a system; of FID and KID there must be three.

    Raises:
        MissingDataError: As `estimate`.
    """
    runs = results.seeds(name)
    if all(metric in run.epochs[0] for run in runs):
        return [mean(last_epochs(run, metric)) for run in runs]
    if any(metric not in run.evaluation.values for run in runs):
        raise MissingDataError(f"the {METRICS[metric].title} of {name} was not measured")
    if len(runs) < SEEDS:
        raise MissingDataError(
            f"{METRICS[metric].title} is known of the last network only, so {SEEDS} seeds of "
            f"{name} are needed; there {'is 1' if len(runs) == 1 else f'are {len(runs)}'}"
        )
    return [run.evaluation.values[metric][0] for run in runs]


def compare_colorfulness(results: Results, name: str, threshold: float) -> Order:
    """Return whether a system's share of the originals' colourfulness is above a threshold.

    Raises:
        MissingDataError: As `estimate`.
    """
    metric = "colorfulness_ratio"
    intervals = [estimate(results, name, metric)]
    intervals += [run.evaluation.values[metric] for run in results.seeds(name)]
    if all(low is not None and low > threshold for _, low, _ in intervals):
        return "above"
    if all(high is not None and high < threshold for _, _, high in intervals):
        return "below"
    return "unclear"


def compare(results: Results, name: str, base: str, metric: str) -> Order:
    """Return whether a system has a larger value than another.

    Raises:
        MissingDataError: As `estimate`.
    """
    order = compare_epochs(results, name, base, metric)
    if order == "unclear":
        return order
    a, b = ([_photo_scores(results, system, metric)] for system in (name, base))
    _, low, high = paired_difference(mean_over_photos, a, b)
    if low is None or high is None:  # too few photos
        return "unclear"
    agrees = low > 0 if order == "above" else high < 0
    return order if agrees else "unclear"


def compare_epochs(results: Results, name: str, base: str, metric: str) -> Order:
    """Compare two systems by their seeds or epochs only.

    Raises:
        MissingDataError: As `estimate`.
    """
    values = [_seed_values(results, system, metric) for system in (name, base)]
    if min(map(len, values)) >= SEEDS:
        low, high = ttest_ind(*values, equal_var=False).confidence_interval(0.95)
        return "above" if low > 0 else "below" if high < 0 else "unclear"
    (_, low, high), (_, base_low, base_high) = (
        estimate(results, system, metric) for system in (name, base)
    )
    assert low is not None  # `estimate` always has an interval
    assert high is not None
    assert base_low is not None
    assert base_high is not None
    return "above" if low > base_high else "below" if high < base_low else "unclear"


def _photo_scores(results: Results, name: str, metric: str) -> np.ndarray:
    """Return the scores by photo of a system, shape (seeds, photos)."""
    metric = "colorfulness" if metric == "colorfulness_ratio" else metric  # same originals
    return np.array([run.scores[metric] for run in results.seeds(name)])
