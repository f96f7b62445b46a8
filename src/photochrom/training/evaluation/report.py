"""What people look at: tables of measurements, and grids of pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from photochrom.errors import RunError
from photochrom.training.evaluation.metrics import SCALES, SKIN_METRICS, Direction, Scale
from photochrom.training.loop.runs import read_recipe
from photochrom.training.recipes.named import RECIPES

Value = tuple[float, float | None, float | None]
"""A mean and the ends of its 95 % interval; None where there is no interval."""

_ARROWS: dict[Direction, str] = {"up": " ↑", "down": " ↓", "target": ""}


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one model."""

    name: str
    n: int
    """How many photos."""
    values: Mapping[str, Value]
    """By the names of `metrics.SCALES`; what was not measured is missing."""

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` takes and `from_json` reads."""
        return {
            "name": self.name,
            "n": self.n,
            "values": {metric: list(value) for metric, value in self.values.items()},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Evaluation":
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: If it is something else.
        """
        values = {}
        for metric, (mean, low, high) in content["values"].items():
            values[str(metric)] = (float(mean), _or_none(low), _or_none(high))
        return cls(str(content["name"]), int(content["n"]), values)


def _or_none(value: Any) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True)
class Published:
    """A row of the report's Table 1."""

    mse: str
    ssim: str


TABLE_1: dict[str, Published] = {
    "custom": Published(".0071", ".91"),
    "unet-patchgan": Published(".0123", ".8503"),
    "resnet18-unet-patchgan": Published(".0089", ".8414"),
    "unet-patchgan-l1pre": Published(".0085", ".8899"),
}
"""What the report printed, by the name of our recipe. It does not say on which colour space."""


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, padded so that it is one in a terminal as well.

    The first column is text and aligned to the left, the others to the right.
    """
    table = [header, *rows]
    widths = [max(2, *(len(row[i]) for row in table)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(line(row) for row in (header, rule, *rows)) + "\n"


def heading(scale: Scale) -> str:
    """Return a metric's name with its unit and an arrow that says which way is better."""
    unit = f" ({scale.unit})" if scale.unit and scale.unit != scale.title else ""
    return f"{scale.title}{unit}{_ARROWS[scale.direction]}"


def _scaled(metric: str, number: float) -> str:
    factor = 1000.0 if metric == "kid" else 1.0
    return f"{number * factor:.{SCALES[metric].digits}f}"


def cell(evaluation: Evaluation | None, metric: str, *, interval: bool = True) -> str:
    """Return a mean, with its interval in brackets if there is one, or "-" if it is missing."""
    if evaluation is None or metric not in evaluation.values:
        return "-"
    mean, low, high = evaluation.values[metric]
    if not interval or low is None or high is None:
        return _scaled(metric, mean)
    return f"{_scaled(metric, mean)} [{_scaled(metric, low)}, {_scaled(metric, high)}]"


def markdown_table(evaluations: Sequence[Evaluation]) -> str:
    """Return a Markdown table with a row for each model: means and their 95 % intervals.

    An arrow says which way is better; "-" stands for what was not measured. Measures of skin have
    columns only where one of the models has them.
    """
    measured = {metric for e in evaluations for metric in e.values}
    metrics = [metric for metric in SCALES if metric in measured or metric not in SKIN_METRICS]
    header = ["Model", "N", *(heading(SCALES[metric]) for metric in metrics)]
    rows = [[e.name, str(e.n), *(cell(e, metric) for metric in metrics)] for e in evaluations]
    return markdown(header, rows)


def table1(runs: Sequence[Path]) -> str:
    """Return the report's Table 1 in Markdown, with ours beside it.

    A run belongs to a system of the report if its recipe has that recipe's source, even if other
    values were overridden. Systems without a run keep their row, and other runs come after them.

    Args:
        runs: Run directories that `photochrom evaluate` has measured.

    Raises:
        RunError: If one of them is no run, or was not evaluated.
        RecipeError: If a recipe cannot be read.
    """
    by_source = {RECIPES[name].source: name for name in RECIPES}
    measured: dict[str, list[tuple[str, str, Evaluation | None]]] = {name: [] for name in TABLE_1}
    for run in runs:
        recipe = read_recipe(run)
        system = by_source.get(recipe.source, run.name)
        data, evaluation = read_evaluation(run)
        photos = f"{evaluation.n} of {data}"
        measured.setdefault(system, []).append((run.resolve().name, photos, evaluation))

    metrics = ("mse", "ssim", "psnr", "ciede2000", "colorfulness_ratio")
    header = ["System", "Run", "Photos"]
    header += ["Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [f"Ours: {heading(SCALES[metric])}" for metric in metrics[2:]]
    rows = []
    for system, found in measured.items():
        published = TABLE_1.get(system, Published("-", "-"))
        for name, photos, measures in found or [("-", "-", None)]:
            ours = [cell(measures, metric, interval=False) for metric in metrics]
            row = [system, name, photos, published.mse, ours[0], published.ssim, *ours[1:]]
            rows.append(row)
    return markdown(header, rows)


def read_evaluation(run: Path) -> tuple[str, Evaluation]:
    """Return what `photochrom evaluate` wrote into a run directory, and the name of its data.

    Raises:
        RunError: If it has not, or the file cannot be read.
    """
    path = run / "metrics.json"
    again = f"`photochrom evaluate {run} --data DIR`"
    if not path.is_file():
        raise RunError(f"{run} was not measured on a whole eval split yet; run {again}")
    try:
        content = json.loads(path.read_text())
        (evaluation,) = content["evaluations"]
        return str(content["data"]), Evaluation.from_json(evaluation)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged; run {again} again") from error


def spread(count: int, shown: int) -> list[int]:
    """Return the indices of up to `shown` of `count` things, evenly spread from first to last."""
    return sorted({round(i * (count - 1) / (shown - 1)) for i in range(shown)}) if count else []


def grid(rows: Sequence[Sequence[NDArray[np.uint8]]], headings: Sequence[str]) -> Image.Image:
    """Return photos side by side, a heading above each column.

    Args:
        rows: sRGB photos of any sizes, each (H, W, 3); every row has as many as there are headings.
        headings: Cut off where they are longer than their column is wide.

    Returns:
        The grid, white between the photos.
    """
    gap, font = 4, ImageFont.load_default(14)
    top = 18 + gap
    widths = [max((row[i].shape[1] for row in rows), default=64) for i in range(len(headings))]
    heights = [max(photo.shape[0] for photo in row) for row in rows]
    size = sum(widths) + gap * (len(widths) - 1), top + sum(heights) + gap * (len(heights) - 1)
    sheet = Image.new("RGB", size, "white")
    for i, heading in enumerate(headings):
        label = Image.new("RGB", (widths[i], top), "white")
        ImageDraw.Draw(label).text((0, 0), heading, fill="black", font=font)
        left = sum(widths[:i]) + gap * i
        sheet.paste(label, (left, 0))
        for j, row in enumerate(rows):
            place = left, top + sum(heights[:j]) + gap * j
            sheet.paste(Image.fromarray(np.ascontiguousarray(row[i])), place)
    return sheet
