"""Results of the report's experiments, without runs."""

from collections.abc import Mapping
from typing import Any

from photochrom.training.evaluation.results import Evaluation
from photochrom.training.reproduction.experiments import EXPERIMENTS
from photochrom.training.reproduction.results import Results, Run

GOOD = {
    "mse": 0.01,
    "ssim": 0.9,
    "psnr": 20.0,
    "ciede2000": 10.0,
    "colorfulness": 20.0,
    "colorfulness_ratio": 0.5,
    "fid": 50.0,
}
PHOTOS = 10


def make_evaluation(name: str, **values: float) -> Evaluation:
    """Return values with intervals of 5 % on either side, except for FID."""
    given = {**GOOD, **values}
    found = {k: (v, 0.95 * v, 1.05 * v) for k, v in given.items() if k != "fid"}
    return Evaluation(name, PHOTOS, {**found, "fid": (given["fid"], None, None)})


def make_log_line(epoch: int, phase: str, **values: float) -> dict[str, Any]:
    line = {"epoch": epoch, "step": 10 * epoch, "images": 80 * epoch, "phase": phase}
    line |= {"seconds": 6.0, "images_per_second": 10.0, "psnr": 20.0, "colorfulness_ratio": 0.5}
    return {**line, "g_updates": 1.0, "d_updates": float(phase == "gan"), **values}


def make_epochs(count: int = 5, **values: float) -> list[dict[str, float]]:
    """Return values on the test photos of the last epochs, which vary by 1 %."""
    given = {k: v for k, v in {**GOOD, **values}.items() if k != "fid"}
    return [
        {"epoch": i + 1, "grey_share": 0.0, **{k: v * (0.98 + 0.01 * i) for k, v in given.items()}}
        for i in range(count)
    ]


def make_scores(**values: float) -> dict[str, list[float]]:
    """Return scores by photo around the values, which vary by 1 %."""
    given = {**GOOD, **values}
    return {
        metric: [given[metric] * (1 + 0.01 * (i % 2)) for i in range(PHOTOS)]
        for metric in ("mse", "psnr", "ssim", "colorfulness")
    }


def make_run(
    name: str,
    log: list[dict[str, Any]] | None = None,
    *,
    seed: int = 0,
    scores: Mapping[str, list[float]] | None = None,
    epochs: list[dict[str, float]] | None = None,
    **values: float,
) -> Run:
    """Return a run whose evaluation, scores by photo and epochs agree, unless they are given."""
    if "colorfulness_ratio" in values:
        values = {"colorfulness": 40 * values["colorfulness_ratio"], **values}
    return Run(
        name,
        seed,
        f"000{seed}-{name}-seed{seed}",
        EXPERIMENTS[name].recipe,
        {
            "commit": "abc",
            "device": "cpu",
            "precision": "32",
            "packages": {"torch": "2.14"},
            "machine": {"processor": "some", "cores": 2, "gpu": None},
        },
        {
            "images_per_second": 10.0,
            "flops_per_image": 1e9,
            "flops_per_second": 1e10,
            "matrix_flops_per_second": 1e11,
            "share_of_matrix_rate": 0.1,
        },
        make_evaluation(name, **values),
        [make_log_line(i, "gan") for i in range(1, 6)] if log is None else log,
        make_scores(**values) if scores is None else scores,
        make_epochs(**values) if epochs is None else epochs,
    )


def make_results(
    *runs: Run,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    protocol: str = "smoke",
    coco: bool = False,
) -> Results:
    mean_ab = {"colorfulness_ratio": 0.1, "mse": 0.009, "fid": 60.0}
    grey = {"grey": {"colorfulness_ratio": 0.0}, "mean-ab": mean_ab}
    given = grey if baselines is None else baselines
    return Results(
        protocol,
        "2026-11-24",
        {
            "name": "data",
            "fingerprint": "f",
            "size": 32,
            "train": 8,
            "validation": 4,
            "test": PHOTOS,
            "coco": coco,
        },
        "weights.pt",
        [make_evaluation(name, **values) for name, values in given.items()],
        runs,
    )
