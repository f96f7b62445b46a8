"""results.md, generated from results.json alone."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.evaluation.tables import TABLE_1, cell, heading, markdown
from photochrom.training.loop.monitor import SAMPLES
from photochrom.training.reproduction.claims import CLAIMS, compare
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EXPERIMENTS,
    PROTOCOLS,
    REPORT_SIZE,
    SYSTEMS,
)
from photochrom.training.reproduction.results import Results, Run

_CURVES = {
    "lambda.svg": "Colourfulness against MSE for each lambda",
    "training.svg": "PSNR and colourfulness against generator steps, on the photos monitored in "
    "training",
    "scores.svg": "MSE against FID of every experiment",
}
_METRICS = (
    *("mse", "mse_ab110", "ssim", "psnr", "ciede2000", "colorfulness_ratio"),
    *("fid", "kid_paired"),
)


def results_page(results: Results, *, curves: Sequence[str], images: Sequence[str] = ()) -> str:
    """Return results.md.

    Args:
        results: From results.json.
        curves: Names of the files from `curves.draw`.
        images: Names of image files.
    """
    sections = [
        _introduction(results),
        _table_1(results),
        _claims(results, curves),
        _next_steps(results),
        _all_runs(results),
        _seeds(results),
        _speed(results),
    ]
    if images:
        links = "\n".join(f"![{name}]({name})" for name in images)
        sections.append(f"## Images\n\nThe sample photos of scikit-image.\n\n{links}\n")
    sections.append(_commands(results))
    return "\n".join(section for section in sections if section)


def _introduction(results: Results) -> str:
    protocol, data, machine = PROTOCOLS[results.protocol], results.data, results.machine
    environments = [run.environment for run in results.runs]
    commits = sorted({str(e["commit"]) for e in environments})
    devices = sorted({str(e["device"]) for e in environments})
    packages = environments[0]["packages"] if environments else {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    fid = "not measured"
    if results.fid_weights:
        fid = f"`{results.fid_weights}`, N {data['eval']}; compare FID only at the same N"
    facts = [
        f"Protocol `{results.protocol}`: {_describe_scale(results.protocol)}.",
        f"Data: `{data['name']}`, {data['train']} training photos and {data['eval']} eval photos; "
        f"SHA-256 of the manifest `{data['fingerprint']}`.",
        f"FID and KID: {fid}.",
        f"Machine: {machine['processor']}, {machine['cores']} cores{gpu}; trained on "
        f"{', '.join(devices)} in {protocol.precision}; {results.date}.",
        f"Commit {', '.join(commits)}; {versions}.",
    ]
    return f"""# The report's experiments, reproduced

Hamrick and Siu, "OrGANic Image Colorizations using Deep Learning". `photochrom reproduce` generates
this page from [results.json](results.json), which contains the recipe, environment, log, speed and
metrics of every run.

{_bullets(facts)}

[metrics.md](metrics.md) defines the metrics. Values in brackets are 95 % bootstrap intervals over
photos; they do not include the variation between seeds.
"""


def _describe_scale(name: str) -> str:
    if name == "report":
        return "the report's scale"
    protocol, report = PROTOCOLS[name], PROTOCOLS["report"]
    scale = (
        f"**not the report's scale**. Photos of {protocol.size} px instead of {REPORT_SIZE}, "
        f"{protocol.train} training photos instead of {report.train}, networks of "
        f"1/{protocol.narrower} of the width (a pretrained encoder keeps its own), batches of "
        f"{protocol.batch_size} instead of {report.batch_size}; depths and patches are reduced "
        "with the photos. Epochs and lambdas are the report's"
    )
    if protocol.most_epochs is not None:
        scale += f", but at most {protocol.most_epochs} of each phase"
    return scale


def _bullets(texts: Sequence[str]) -> str:
    wrapper = textwrap.TextWrapper(
        100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.fill(f"- {text}") for text in texts)


def _rank(values: dict[str, float], metric: str) -> dict[str, str]:
    """Return the rank of each value as ` (n)`, 1 being the best."""
    order = sorted(values, key=values.__getitem__, reverse=METRICS[metric].direction == "up")
    return {name: f" ({rank})" for rank, name in enumerate(order, 1)}


def _table_1(results: Results) -> str:
    runs = results.first_runs(part="table")
    systems = [run.experiment for run in runs if run.experiment in SYSTEMS]
    both = ("mse", "ssim")  # in the report and here
    others = [metric for metric in _METRICS if metric not in both]
    header = ["System", "Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [*map(heading, others), "Generator steps", "Images", "Minutes"]
    report_ranks = {m: _rank({k: float(row[m]) for k, row in TABLE_1.items()}, m) for m in both}
    ranks = {m: _rank({name: results.value(name, m)[0] for name in systems}, m) for m in both}

    def line(name: str, title: str, evaluation: Evaluation, effort: Sequence[str]) -> list[str]:
        cells = [title]
        for metric in both:
            report = TABLE_1[name][metric] + report_ranks[metric][name] if name in TABLE_1 else "-"
            cells += [report, *_cells(evaluation, [metric])]
            cells[-1] += ranks[metric].get(name, "")
        return [*cells, *_cells(evaluation, others), *effort]

    lines = [line(e.name, f"`{e.name}`", e, ("0", "0", "0")) for e in results.baselines]
    for run in runs:
        effort = str(run.updates("g")), str(run.images), f"{run.seconds / 60:.1f}"
        lines.append(line(run.experiment, _title(run), run.evaluation, effort))
    return f"""## Table 1

Ranks among the report's four systems in parentheses, 1 being the best. The report does not state
the colour space of its MSE; ours is of RGB in 0..1, and that of ab/110 is listed too.

{markdown(header, lines)}"""


def _title(run: Run) -> str:
    return f"{run.title} (`{run.experiment}`)"


def _cells(evaluation: Evaluation, metrics: Sequence[str] = _METRICS) -> list[str]:
    return [cell(evaluation, metric, interval=False) for metric in metrics]


def _claims(results: Results, curves: Sequence[str]) -> str:
    texts = [f"**{claim.title}** {claim.conclude(results)}" for claim in CLAIMS]
    links = "\n\n".join(f"![{text}]({name})" for name, text in _CURVES.items() if name in curves)
    return f"""## The report's claims

{_fluctuation(results)}
{_bullets(texts)}

{links}
"""


def _fluctuation(results: Results) -> str:
    """Describe how much adversarial training fluctuates, as small differences mean little."""
    steps = []
    for run in results.runs:
        ratios = [line["colorfulness_ratio"] for line in run.log if line["phase"] == "gan"][-10:]
        steps += [abs(after - before) for before, after in pairwise(ratios)]
    if not steps:
        return ""
    text = (
        f"Over the last ten epochs, the colourfulness of adversarial runs changes by "
        f"{mean(steps):.2f} of the original's from one epoch to the next on average, on the "
        f"{SAMPLES} photos monitored in training. The network after the last epoch is evaluated, "
        "so differences of that size mean little, even if the intervals do not overlap."
    )
    return textwrap.fill(text, 100) + "\n"


def _next_steps(results: Results) -> str:
    base, runs = results.of("unet-patchgan"), results.first_runs(part="next step")
    if base is None or not runs:
        return ""
    header = ["Run", *map(heading, _METRICS)]
    header += ["Generator steps", "PatchGAN steps", "Compared with system 2"]
    rows = [
        [
            _title(run),
            *_cells(run.evaluation),
            str(run.updates("g")),
            str(run.updates("d")),
            "-" if run is base else compare(results, run.experiment, base.experiment),
        ]
        for run in (base, *runs)
    ]
    return f"""## The report's next steps

Other losses, a weaker discriminator, four kinds of alternating training, and other outputs, each
with everything else as in system 2. The last column compares colourfulness and CIEDE2000; values
differ if their intervals do not overlap.

{markdown(header, rows)}"""


def _all_runs(results: Results) -> str:
    header = ["Run", "Seed", *map(heading, _METRICS)]
    rows = [[e.name, "-", *(cell(e, metric) for metric in _METRICS)] for e in results.baselines]
    rows += [
        [r.experiment, str(r.seed), *(cell(r.evaluation, metric) for metric in _METRICS)]
        for r in results.runs
    ]
    return f"## All runs, with intervals\n\n{markdown(header, rows)}"


def _seeds(results: Results) -> str:
    repeated = [name for name in SYSTEMS if len(results.seeds(name)) > 1]
    if not repeated:
        return "One seed each: differences between runs may be differences between seeds.\n"
    metrics = ("mse", "ssim", "ciede2000", "colorfulness_ratio", "fid")
    rows = []
    for name in repeated:
        evaluations = [run.evaluation for run in results.seeds(name)]
        row = [name, str(len(evaluations))]
        for metric in metrics:
            if any(metric not in e.values for e in evaluations):
                row.append("-")
                continue
            values = [e.values[metric][0] for e in evaluations]
            low, average, high = (
                f"{value:.{METRICS[metric].digits}f}"
                for value in (min(values), mean(values), max(values))
            )
            row.append(f"{average} ({low}..{high})")
        rows.append(row)
    table = markdown(["System", "Seeds", *map(heading, metrics)], rows)
    return f"## Seeds\n\nMean, minimum and maximum.\n\n{table}"


def _speed(results: Results) -> str:
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


def _commands(results: Results) -> str:
    command = f"photochrom reproduce --data DATA --out RESULTS --protocol {results.protocol}"
    if results.fid_weights:
        command += f" --inception {results.fid_weights}"
    names = [f"- `{name}`" for name in BASELINES]
    names += [f"- `{name}`: {experiment.title}" for name, experiment in EXPERIMENTS.items()]
    listed = "\n".join(names)
    return f"""## Commands

    {command}
    {command} --only unet-patchgan

The first runs all rows, the second one row. Finished runs are not repeated. Rows:

{listed}
"""
