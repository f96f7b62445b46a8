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


def make_log(**values: float) -> list[dict[str, Any]]:
    """Return the log of five epochs whose values vary by 1 %."""
    return [
        make_log_line(i + 1, "gan", **{k: v * (0.98 + 0.01 * i) for k, v in values.items()})
        for i in range(5)
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
    **values: float,
) -> Run:
    """Return a run whose epochs, evaluation and scores by photo agree, unless they are given."""
    if "colorfulness_ratio" in values:
        values = {"colorfulness": 40 * values["colorfulness_ratio"], **values}
    logged = {m: {**GOOD, **values}[m] for m in ("psnr", "colorfulness_ratio")}
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
            "processes": 1,
        },
        {
            "images_per_second": 10.0,
            "flops_per_image": 1e9,
            "flops_per_second": 1e10,
            "matrix_flops_per_second": 1e11,
            "share_of_matrix_rate": 0.1,
        },
        make_evaluation(name, **values),
        make_log(**logged) if log is None else log,
        make_scores(**values) if scores is None else scores,
    )


def make_results(
    *runs: Run,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    protocol: str = "smoke",
    coco: bool = False,
) -> Results:
    given = {"grey": {"colorfulness_ratio": 0.0}} if baselines is None else baselines
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
        {"processor": "some", "cores": 2, "gpu": None},
        [make_evaluation(name, **values) for name, values in given.items()],
        runs,
    )
