"""The curves, as SVG files that are identical for identical results."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from photochrom.training.reproduction.experiments import (
    BASELINES,
    GREY_PAIR,
    LAMBDAS,
    SYSTEMS,
    lambda_run,
)
from photochrom.training.reproduction.results import Results, Run

_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "photochrom", "font.size": 9}


def draw(results: Results) -> dict[str, bytes]:
    """Return the curves for which there are runs, as SVG by name.

    `lambda`: colourfulness against MSE for the sweep over lambda; `training`: PSNR and
    colourfulness against generator steps; `grey`: colourfulness and the share of grey pictures of
    the custom pair, of every seed; `scores`: MSE against FID of every experiment.
    """
    curves: dict[str, bytes] = {}
    with matplotlib.rc_context(_STYLE):
        if all(results.of(lambda_run(value)) for value in LAMBDAS):
            curves["lambda"] = _draw_lambda(results)
        runs = results.shown_runs()
        if runs:
            curves["training"] = _draw_training(runs)
        pair = [run for name in GREY_PAIR for run in results.seeds(name)]
        if pair:
            curves["grey"] = _draw_grey(pair)
        if len(results.with_metric("fid")) > 2:
            curves["scores"] = _draw_scores(results)
    return curves


def _draw_lambda(results: Results) -> bytes:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    points = [_point(results, lambda_run(v), "mse", "colorfulness_ratio") for v in LAMBDAS]
    run = results.of(lambda_run(LAMBDAS[0]))
    assert run is not None  # `draw` has checked
    axes.plot(*zip(*points, strict=True), "o-", label=run.title.rpartition(", ")[0])
    for value, point in zip(LAMBDAS, points, strict=True):
        _annotate(axes, f"λ {value}", point)
    if results.evaluation("grey") is not None:
        point = _point(results, "grey", "mse", "colorfulness_ratio")
        axes.plot(*point, "kx")
        _annotate(axes, "grey", point)
    axes.axhline(1.0, color="grey", linewidth=0.5)
    axes.set_xlabel("MSE of RGB (less is better)")
    axes.set_ylabel("colourfulness / the original's")
    axes.legend(loc="best", fontsize=7)
    return _svg(figure)


def _draw_training(runs: Sequence[Run]) -> bytes:
    figure = Figure(figsize=(8, 4), layout="constrained")
    for i, (key, label) in enumerate(
        (("psnr", "PSNR (dB)"), ("colorfulness_ratio", "colourfulness / the original's"))
    ):
        axes = figure.add_subplot(1, 2, i + 1)
        for run in runs:
            steps = run.updates_by_epoch("g")
            axes.plot(steps, [line[key] for line in run.log], label=run.experiment, linewidth=1)
        axes.set_xlabel("generator steps")
        axes.set_ylabel(label)
    axes.legend(fontsize=7)
    return _svg(figure)


def _draw_grey(runs: Sequence[Run]) -> bytes:
    figure = Figure(figsize=(8, 4), layout="constrained")
    keys = ("colorfulness_ratio", "colourfulness / the original's"), ("grey_share", "grey pictures")
    colors = {name: f"C{i}" for i, name in enumerate(GREY_PAIR)}
    for i, (key, label) in enumerate(keys):
        axes = figure.add_subplot(1, 2, i + 1)
        for run in runs:
            values = [line[key] for line in run.log]
            name = run.experiment if run.seed == 0 else None
            color = colors[run.experiment]
            axes.plot(run.updates_by_epoch("g"), values, label=name, color=color, linewidth=1)
        axes.set_xlabel("generator steps")
        axes.set_ylabel(label)
        axes.set_ylim(0, 1 if key == "grey_share" else None)
    axes.legend(fontsize=7)
    return _svg(figure)


def _draw_scores(results: Results) -> bytes:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in results.with_metric("fid"):
        point = _point(results, name, "fid", "mse")
        labelled = name in (*SYSTEMS, *BASELINES)
        axes.plot(*point, "o" if labelled else ".", color="C1" if labelled else "C0")
        if labelled:
            _annotate(axes, name, point)
    axes.set_xlabel("FID (less is better)")
    axes.set_ylabel("MSE of RGB (less is better)")
    return _svg(figure)


def _point(results: Results, name: str, x: str, y: str) -> tuple[float, float]:
    return results.value(name, x)[0], results.value(name, y)[0]


def _annotate(axes: Axes, text: str, point: tuple[float, float]) -> None:
    axes.annotate(text, point, xytext=(4, 4), textcoords="offset points", fontsize=7)


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
