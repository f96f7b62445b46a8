"""The curves of a campaign, as SVG: the same results always make the same files."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from photochrom.training.reproduction.experiments import BASELINES, LAMBDAS, SYSTEMS, lambda_run
from photochrom.training.reproduction.results import Results, Run

_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "photochrom", "font.size": 9}
_TRAINED = (*SYSTEMS, "lite0-unet-patchgan", "unet-l1")


def draw(results: Results) -> dict[str, bytes]:
    """Return the curves that the runs are there for, by file name.

    `lambda.svg`: colourfulness against MSE over the sweep; `training.svg`: PSNR and colourfulness
    over the generator's steps; `scores.svg`: MSE against FID of every run.
    """
    found: dict[str, bytes] = {}
    with matplotlib.rc_context(_STYLE):
        sweep = [(value, results.of(lambda_run(value))) for value in LAMBDAS]
        if all(run is not None for _, run in sweep):
            found["lambda.svg"] = _lambda(results, [(v, run) for v, run in sweep if run])
        trained = [run for name in _TRAINED if (run := results.of(name)) is not None]
        if trained:
            found["training.svg"] = _training(trained)
        if len(_with_fid(results)) > 2:
            found["scores.svg"] = _scores(results)
    return found


def _lambda(results: Results, sweep: Sequence[tuple[int, Run]]) -> bytes:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    points = [_mse_and_ratio(results, run.experiment) for _, run in sweep]
    axes.plot(*zip(*points, strict=True), "o-", label=sweep[0][1].title.rpartition(", ")[0])
    for (value, _), point in zip(sweep, points, strict=True):
        _note(axes, f"λ {value}", point)
    if results.evaluation("grey") is not None:
        point = _mse_and_ratio(results, "grey")
        axes.plot(*point, "kx")
        _note(axes, "grey", point)
    axes.axhline(1.0, color="grey", linewidth=0.5)
    axes.set_xlabel("MSE of RGB (less is better)")
    axes.set_ylabel("colourfulness / the truth's")
    axes.legend(loc="best", fontsize=7)
    return _svg(figure)


def _training(trained: Sequence[Run]) -> bytes:
    figure = Figure(figsize=(8, 4), layout="constrained")
    for i, (key, label) in enumerate(
        (("psnr", "PSNR (dB)"), ("colorfulness_ratio", "colourfulness / the truth's"))
    ):
        axes = figure.add_subplot(1, 2, i + 1)
        for run in trained:
            steps = run.updates_by_epoch("g")
            axes.plot(steps, [line[key] for line in run.log], label=run.experiment, linewidth=1)
        axes.set_xlabel("generator steps")
        axes.set_ylabel(label)
    axes.legend(fontsize=7)
    return _svg(figure)


def _scores(results: Results) -> bytes:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in _with_fid(results):
        point = results.value(name, "fid")[0], results.value(name, "mse")[0]
        marked = name in (*SYSTEMS, *BASELINES)
        axes.plot(*point, "o" if marked else ".", color="C1" if marked else "C0")
        if marked:
            _note(axes, name, point)
    axes.set_xlabel("FID (less is better)")
    axes.set_ylabel("MSE of RGB (less is better)")
    return _svg(figure)


def _with_fid(results: Results) -> list[str]:
    names = [e.name for e in results.baselines] + [r.experiment for r in results.first_runs()]
    return [name for name in names if "fid" in results.evaluation(name).values]  # type: ignore[union-attr]


def _mse_and_ratio(results: Results, name: str) -> tuple[float, float]:
    return results.value(name, "mse")[0], results.value(name, "colorfulness_ratio")[0]


def _note(axes: Axes, text: str, point: tuple[float, float]) -> None:
    axes.annotate(text, point, xytext=(4, 4), textcoords="offset points", fontsize=7)


def _svg(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
