"""Results of the report's experiments, without runs."""

from collections.abc import Mapping
from typing import Any

from photochrom.training.evaluation.results import Evaluation
from photochrom.training.reproduction.experiments import EXPERIMENTS
from photochrom.training.reproduction.results import Results, Run

GOOD = {"mse": 0.01, "ssim": 0.9, "ciede2000": 10.0, "colorfulness_ratio": 0.5, "fid": 50.0}


def make_evaluation(name: str, **values: float) -> Evaluation:
    """Return values with intervals of 5 % on either side, except for FID."""
    given = {**GOOD, **values}
    found = {k: (v, 0.95 * v, 1.05 * v) for k, v in given.items() if k != "fid"}
    return Evaluation(name, 10, {**found, "fid": (given["fid"], None, None)})


def make_log_line(epoch: int, phase: str, **values: float) -> dict[str, Any]:
    line = {"epoch": epoch, "step": 10 * epoch, "images": 80 * epoch, "phase": phase}
    line |= {"seconds": 6.0, "images_per_second": 10.0, "psnr": 20.0, "colorfulness_ratio": 0.5}
    return {**line, "g_updates": 1.0, "d_updates": float(phase == "gan"), **values}


def make_run(name: str, log: list[dict[str, Any]] | None = None, **values: float) -> Run:
    return Run(
        name,
        0,
        f"0000-{name}-seed0",
        EXPERIMENTS[name].recipe,
        {"commit": "abc", "device": "cpu", "packages": {"torch": "2.14"}},
        {
            "images_per_second": 10.0,
            "flops_per_image": 1e9,
            "flops_per_second": 1e10,
            "matrix_flops_per_second": 1e11,
            "share_of_matrix_rate": 0.1,
        },
        make_evaluation(name, **values),
        log or [make_log_line(1, "gan")],
    )


def make_results(*runs: Run, baselines: Mapping[str, Mapping[str, float]] | None = None) -> Results:
    given = {"grey": {"colorfulness_ratio": 0.0}} if baselines is None else baselines
    return Results(
        "smoke",
        "2026-11-24",
        {"name": "data", "fingerprint": "f", "size": 32, "train": 8, "eval": 10},
        "weights.pt",
        {"processor": "some", "cores": 2, "gpu": None},
        [make_evaluation(name, **values) for name, values in given.items()],
        runs,
    )
