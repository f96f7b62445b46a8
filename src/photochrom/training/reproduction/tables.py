"""The tables of results.md."""

from collections.abc import Sequence
from statistics import mean

from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.tables import TABLE_1, cell, heading, markdown
from photochrom.training.loop.monitor import GREY_RATIO
from photochrom.training.reproduction.claims import describe_difference
from photochrom.training.reproduction.comparison import (
    SEEDS,
    MissingDataError,
    estimate,
)
from photochrom.training.reproduction.experiments import LAMBDAS, SYSTEMS, lambda_run
from photochrom.training.reproduction.results import Results, Run
from photochrom.training.reproduction.text import paragraph

_METRICS = (
    *("mse", "mse_ab110", "ssim", "psnr", "ciede2000", "colorfulness_ratio"),
    *("fid", "kid_paired"),
)


def _rank(values: dict[str, float], metric: str) -> dict[str, str]:
    """Return the rank of each value as ` (n)`, 1 being the best."""
    order = sorted(values, key=values.__getitem__, reverse=METRICS[metric].direction == "up")
    return {name: f" ({rank})" for rank, name in enumerate(order, 1)}


def table_1_section(results: Results) -> str:
    """Return the report's Table 1 with its values and ours."""
    systems = _systems(results, "table")
    both = ("mse", "ssim")  # in the report and here
    others = [metric for metric in _METRICS if metric not in both]
    header = ["System", "Seeds", "Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [*map(heading, others), "Grey pictures", "Generator steps", "Images", "Minutes"]
    report_ranks = {m: _rank({k: float(row[m]) for k, row in TABLE_1.items()}, m) for m in both}
    ranks = {m: _rank(_means(systems, m), m) for m in both}

    def line(name: str, ours: dict[str, str], more: Sequence[str]) -> list[str]:
        cells = []
        for metric in both:
            report = TABLE_1[name][metric] + report_ranks[metric][name] if name in TABLE_1 else "-"
            cells += [report, ours[metric] + ranks[metric].get(name, "")]
        return [*cells, *(ours[metric] for metric in others), *more]

    lines = [
        [
            f"`{e.name}`",
            "-",
            *line(e.name, {m: cell(e, m, interval=False) for m in _METRICS}, ("-", "0", "0", "0")),
        ]
        for e in results.baselines
    ]
    for runs in systems:
        first = runs[0]
        minutes = mean(run.seconds for run in runs) / 60
        effort = str(first.updates("g")), str(first.images), f"{minutes:.1f}"
        row = line(first.experiment, _values(results, runs), (_grey_cell(runs), *effort))
        lines.append([_title(first), str(len(runs)), *row])
    note = (
        "Ranks among the report's four systems in parentheses, 1 being the best. The report does "
        "not state the colour space of its MSE; ours is of RGB in 0..1, and that of ab/110 is "
        f"listed too. Grey pictures have less than {GREY_RATIO:.0%} of their original's "
        "colourfulness; the parentheses have the range over epochs and seeds."
    )
    return f"""## Table 1

{paragraph(note)}

{markdown(header, lines)}"""


def _values(results: Results, runs: Sequence[Run]) -> dict[str, str]:
    """Return the value of a system in each metric, with its interval."""
    return {metric: _interval_cell(results, runs, metric) for metric in _METRICS}


def _interval_cell(results: Results, runs: Sequence[Run], metric: str) -> str:
    """Return the value of a system with its interval over seeds, or the range of its epochs.

    Without an interval if the metric is of the last network only, or there are too few epochs.
    """
    if any(metric not in run.evaluation.values for run in runs):
        return "-"
    scale, digits = METRICS[metric].factor, METRICS[metric].digits
    try:
        numbers = estimate(results, runs[0].experiment, metric)
    except MissingDataError:
        return f"{scale * mean(run.evaluation.values[metric][0] for run in runs):.{digits}f}"
    value, low, high = (f"{scale * x:.{digits}f}" for x in numbers if x is not None)
    return f"{value} [{low}, {high}]" if len(runs) >= SEEDS else f"{value} ({low}..{high})"


def _grey_cell(runs: Sequence[Run]) -> str:
    """Return the share of pictures that are grey, over the last epochs of all seeds."""
    shares = [line["grey_share"] for run in runs for line in run.epochs]
    return f"{mean(shares):.0%} ({min(shares):.0%}..{max(shares):.0%})"


def _systems(results: Results, part: str) -> list[list[Run]]:
    """Return the runs of each experiment of a part."""
    return [results.seeds(run.experiment) for run in results.first_runs(part=part)]


def _means(systems: Sequence[Sequence[Run]], metric: str) -> dict[str, float]:
    """Return the mean over seeds of the report's systems among some."""
    return {
        runs[0].experiment: mean(run.evaluation.values[metric][0] for run in runs)
        for runs in systems
        if runs[0].experiment in SYSTEMS
    }


def _title(run: Run) -> str:
    return f"{run.title} (`{run.experiment}`)"


def next_steps_section(results: Results) -> str:
    """Return the report's next steps, each compared with system 2."""
    base, systems = results.seeds("unet-patchgan"), _systems(results, "next step")
    if not base or not systems:
        return ""
    note = (
        "Other losses, a weaker discriminator, four kinds of alternating training, and other "
        "outputs, each with everything else as in system 2. The last column compares colourfulness "
        "and PSNR by the rules above; *unclear* means that no difference is shown."
    )
    return f"""## The report's next steps

{paragraph(note)}

{_compared(results, [base, *systems], "unet-patchgan", "system 2")}"""


def lambda_section(results: Results) -> str:
    """Return the sweep over lambda, each value compared with that of the report."""
    systems = [runs for value in LAMBDAS if (runs := results.seeds(lambda_run(value)))]
    base = lambda_run(1)
    if len(systems) < 3 or results.of(base) is None:
        return ""
    note = (
        "The weight of L1, with everything else as in system 3, where the report has lambda 1. "
        "The last column compares by the rules above."
    )
    return f"""## Lambda

{paragraph(note)}

{_compared(results, systems, base, "lambda 1")}"""


def _compared(
    results: Results, systems: Sequence[Sequence[Run]], base: str, base_title: str
) -> str:
    """Return a table that compares each system with `base`, which is one of them."""
    header = ["Run", "Seeds", *map(heading, _METRICS)]
    header += ["Generator steps", "PatchGAN steps", f"Compared with {base_title}"]
    rows = []
    for runs in systems:
        name = runs[0].experiment
        steps = [str(runs[0].updates(network)) for network in ("g", "d")]
        compared = "-" if name == base else describe_difference(results, name, base)
        cells = (*_values(results, runs).values(), *steps, compared)
        rows.append([_title(runs[0]), str(len(runs)), *cells])
    return markdown(header, rows)


def all_runs_section(results: Results) -> str:
    """Return every run with intervals over photos."""
    header = ["Run", "Seed", *map(heading, _METRICS)]
    rows = [[e.name, "-", *(cell(e, metric) for metric in _METRICS)] for e in results.baselines]
    for run in results.runs:
        cells = [cell(run.evaluation, metric) for metric in _METRICS]
        rows.append([run.experiment, str(run.seed), *cells])
    return f"## All runs, with intervals over photos\n\n{markdown(header, rows)}"


def speed_section(results: Results) -> str:
    """Return the speed of training of the systems of Table 1."""
    runs = results.first_runs(part="table")
    if not runs:
        return ""
    header = ["Run", "Images/s", "GFLOP an image", "GFLOP/s", "Matrix product, GFLOP/s", "Share"]
    rows = []
    for run in runs:
        giga = [
            f"{run.speed[key] / 1e9:.3g}"
            for key in ("flops_per_image", "flops_per_second", "matrix_flops_per_second")
        ]
        images = f"{run.speed['images_per_second']:.1f}"
        rows.append([run.experiment, images, *giga, f"{run.speed['share_of_matrix_rate']:.0%}"])
    return f"""## Speed of training

Measured while other runs were active. FLOPs are those of the model's convolutions and matrix
products, forward and backward. The share is of the rate at which the same threads multiply matrices
of 2048 x 2048 (8192 on a GPU) in the same precision.

{markdown(header, rows)}"""
