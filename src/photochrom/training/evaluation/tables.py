"""Markdown tables of evaluations, and the report's Table 1."""

from collections.abc import Sequence
from pathlib import Path

from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import Evaluation, read_evaluation
from photochrom.training.loop.runs import read_recipe
from photochrom.training.recipes.named import RECIPES

TABLE_1: dict[str, dict[str, str]] = {
    "custom": {"mse": ".0071", "ssim": ".91"},
    "unet-patchgan": {"mse": ".0123", "ssim": ".8503"},
    "resnet18-unet-patchgan": {"mse": ".0089", "ssim": ".8414"},
    "unet-patchgan-l1pre": {"mse": ".0085", "ssim": ".8899"},
}
"""The report's values by the name of our recipe. The report does not state their colour space."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a padded Markdown table: the first column aligned left, the others right."""
    table = [header, *rows]
    widths = [max(2, *(len(row[i]) for row in table)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(line(row) for row in (header, rule, *rows)) + "\n"


def heading(name: str) -> str:
    """Return a metric's title with its unit and an arrow towards better values."""
    metric = METRICS[name]
    unit = f" ({metric.unit})" if metric.unit and metric.unit != metric.title else ""
    return f"{metric.title}{unit}{metric.arrow}"


def cell(evaluation: Evaluation | None, name: str, *, interval: bool = True) -> str:
    """Return a value, with its confidence interval in brackets if it has one; "-" if missing."""
    if evaluation is None or name not in evaluation.values:
        return "-"
    metric = METRICS[name]
    value, low, high = (
        None if number is None else f"{number * metric.factor:.{metric.digits}f}"
        for number in evaluation.values[name]
    )
    return f"{value} [{low}, {high}]" if interval and low and high else str(value)


def markdown_table(evaluations: Sequence[Evaluation]) -> str:
    """Return a Markdown table with a row for each model: values and their 95 % intervals.

    "-" marks values that were not measured. Metrics that no model has are left out.
    """
    names = [name for name in METRICS if any(name in e.values for e in evaluations)]
    header = ["Model", "N", *(heading(name) for name in names)]
    rows = [[e.name, str(e.n), *(cell(e, name) for name in names)] for e in evaluations]
    return markdown(header, rows)


def table1(runs: Sequence[Path]) -> str:
    """Return the report's Table 1 in Markdown, with our values beside it.

    A run belongs to a system of the report if its recipe has the same `source`, even if other
    fields were overridden. Systems without a run have a row; other runs follow.

    Args:
        runs: Run directories that `photochrom evaluate` has measured.

    Raises:
        RunError: If a directory is not a run, or was not evaluated.
        RecipeError: If a recipe cannot be read.
    """
    system_of = {recipe.source: name for name, recipe in RECIPES.items()}
    by_system: dict[str, list[tuple[str, str, Evaluation | None]]] = {name: [] for name in TABLE_1}
    for run in runs:
        system = system_of.get(read_recipe(run).source, run.name)
        data, evaluation = read_evaluation(run)
        photos = f"{evaluation.n} of {data}"
        by_system.setdefault(system, []).append((run.resolve().name, photos, evaluation))

    names = ("mse", "ssim", "psnr", "ciede2000", "colorfulness_ratio")
    header = ["System", "Run", "Photos"]
    header += ["Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [f"Ours: {heading(name)}" for name in names[2:]]
    rows = []
    for system, evaluations in by_system.items():
        report = TABLE_1.get(system, {"mse": "-", "ssim": "-"})
        for run_name, photos, measured in evaluations or [("-", "-", None)]:
            ours = [cell(measured, name, interval=False) for name in names]
            rows.append(
                [system, run_name, photos, report["mse"], ours[0], report["ssim"], *ours[1:]]
            )
    return markdown(header, rows)
