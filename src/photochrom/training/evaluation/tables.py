"""Tables of evaluations in Markdown, LaTeX and CSV, and the report's Table 1."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from photochrom.errors import DataError, RunError
from photochrom.training.data.splits import Split
from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import Evaluation, read_evaluation, to_csv
from photochrom.training.evaluation.systems import group_runs, mean_over_seeds
from photochrom.training.recipes.loading import read_source, recipe_names
from photochrom.training.runs import read_recipe

TableFormat = Literal["markdown", "latex", "csv"]

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


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "Δ": r"$\Delta$"}
    | {"<": "$<$", ">": "$>$", "*": r"$^{*}$"}
)


def latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX table with the rules of booktabs: a tabular, to be put into a table."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_latex_text(cell) for cell in cells) + r" \\"

    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        line(header),
        r"\midrule",
        *map(line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_text(text: str) -> str:
    escaped = re.sub(r"(?<![\w.])-(\d*\.?\d+)", r"$-\1$", text.translate(_LATEX))
    # After the end of a row, a bracket would be an option of it.
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def render(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    evaluations: Sequence[Evaluation],
    format_: TableFormat,
) -> str:
    """Return a table in a format; CSV has the numbers of the evaluations, not rounded."""
    if format_ == "csv":
        return to_csv(evaluations).decode()
    return (latex if format_ == "latex" else markdown)(header, rows)


def heading(name: str) -> str:
    """Return a metric's title with its unit and an arrow towards better values."""
    metric = METRICS[name]
    unit = f" ({metric.unit})" if metric.unit and metric.unit != metric.title else ""
    return f"{metric.title}{unit}{metric.arrow}"


def cell(evaluation: Evaluation | None, name: str, *, interval: bool = True) -> str:
    """Return a value, with its interval in brackets or its deviation if there is one.

    A value that was not measured is "-".
    """
    if evaluation is None or name not in evaluation.values:
        return "-"
    metric = METRICS[name]
    if name in evaluation.deviations:
        numbers = evaluation.values[name][0], evaluation.deviations[name]
        return " ± ".join(f"{x * metric.factor:.{metric.digits}f}" for x in numbers)
    value, low, high = (
        None if number is None else f"{number * metric.factor:.{metric.digits}f}"
        for number in evaluation.values[name]
    )
    return f"{value} [{low}, {high}]" if interval and low and high else str(value)


def check_columns(columns: Sequence[str]) -> None:
    """Check that columns are names of metrics.

    Raises:
        DataError: If one is not.
    """
    for name in columns:
        if name not in METRICS:
            raise DataError(f"{name} is no metric; give some of {', '.join(METRICS)}")


def evaluation_table(
    evaluations: Sequence[Evaluation],
    format_: TableFormat = "markdown",
    columns: Sequence[str] = (),
) -> str:
    """Return a table with a row for each model: values and their 95 % intervals.

    Means over several seeds have their standard deviation instead. "-" marks values that were not
    measured.

    Args:
        evaluations: Of the models.
        format_: Of the table. CSV has all metrics.
        columns: Metrics to show, in this order; empty: all that a model has.
    """
    names = columns or [name for name in METRICS if any(name in e.values for e in evaluations)]
    header = ["Model", "N", *(heading(name) for name in names)]
    rows = [[e.name, str(e.n), *(cell(e, name) for name in names)] for e in evaluations]
    return render(header, rows, evaluations, format_)


def comparison_table(
    base: str,
    differences: Sequence[Evaluation],
    format_: TableFormat = "markdown",
    columns: Sequence[str] = (),
) -> str:
    """Return a table of differences from a system, with a star where the interval excludes 0.

    Args:
        base: The name of that system.
        differences: As `comparison.compare` returns them.
        format_: Of the table. CSV has all metrics.
        columns: Metrics to show, in this order; empty: all that a system has. "-" marks others.
    """

    def difference(evaluation: Evaluation, name: str) -> str:
        if name not in evaluation.values:
            return "-"
        metric = METRICS[name]
        value, low, high = evaluation.values[name]
        ends = [f"{(x or 0.0) * metric.factor:+.{metric.digits}f}" for x in (value, low, high)]
        if low is None or high is None:
            return ends[0]
        return f"{ends[0]} [{ends[1]}, {ends[2]}]{'*' if low > 0 or high < 0 else ''}"

    names = columns or [name for name in METRICS if any(name in e.values for e in differences)]
    header = [f"Minus {base}", "Seeds", "N", *(heading(name) for name in names)]
    rows = [
        [e.name, str(e.seeds), str(e.n), *(difference(e, name) for name in names)]
        for e in differences
    ]
    return render(header, rows, differences, format_)


def table1(
    runs: Sequence[Path], format_: TableFormat = "markdown", split: Split = "validation"
) -> str:
    """Return the report's Table 1, with our values beside it.

    Runs of one recipe with different seeds have one row: means and standard deviations. They belong
    to a system of the report if their recipe has the same `source`, even if other fields were
    overridden. Systems without a run have a row; other runs follow.

    Args:
        runs: Run directories that `photochrom evaluate` has measured.
        format_: Of the table. CSV has our values only.
        split: Split that they were measured on.

    Raises:
        RunError: If a directory is not a run, or was not evaluated, or if the runs of a system were
            evaluated on different photos.
        RecipeError: If a recipe cannot be read.
    """
    system_of = {read_source(name): name for name in recipe_names()}
    by_system: dict[str, list[tuple[str, Evaluation]]] = {name: [] for name in TABLE_1}
    for name, of_group in group_runs(runs).items():
        system = system_of.get(read_recipe(of_group[0]).source, of_group[0].name)
        measured = [read_evaluation(run, split) for run in of_group]
        first = measured[0]
        for run, other in zip(of_group, measured, strict=True):
            if other.fingerprint != first.fingerprint:
                raise RunError(
                    f"{of_group[0]} was evaluated on {first.data} and {run} on other photos, of "
                    f"{other.data}; evaluate both on one data set"
                )
        photos = f"{first.evaluation.n} of {first.data}"
        mean = mean_over_seeds(name, [one.evaluation for one in measured])
        by_system.setdefault(system, []).append((photos, mean))

    names = ("mse", "ssim", "psnr", "ciede2000", "colorfulness_ratio")
    header = ["System", "Run", "Seeds", "Photos"]
    header += ["Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [f"Ours: {heading(name)}" for name in names[2:]]
    rows, ours = [], []
    for system, evaluations in by_system.items():
        mse, ssim = (TABLE_1.get(system, {}).get(name, "-") for name in ("mse", "ssim"))
        if not evaluations:
            rows.append([system, "-", "-", "-", mse, "-", ssim, *["-"] * 4])
        for photos, e in evaluations:
            ours.append(e)
            cells = [cell(e, name, interval=False) for name in names]
            rows.append([system, e.name, str(e.seeds), photos, mse, cells[0], ssim, *cells[1:]])
    return render(header, rows, ours, format_)
