"""results.md, generated from results.json alone."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, stdev

from scipy.stats import spearmanr

from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.evaluation.tables import TABLE_1, cell, heading, markdown
from photochrom.training.loop.monitor import GREY_RATIO, SAMPLES
from photochrom.training.reproduction.claims import CLAIMS, CONTROLS, describe_difference
from photochrom.training.reproduction.comparison import (
    LEAST_EPOCHS,
    LOGGED,
    SEEDS,
    MissingDataError,
    estimate,
    last_epochs,
)
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EPOCHS,
    EXPERIMENTS,
    PROTOCOLS,
    REPORT_SIZE,
    SYSTEMS,
)
from photochrom.training.reproduction.results import Results, Run

_CURVES = {
    "lambda.svg": "Colourfulness against MSE for each lambda",
    "training.svg": "PSNR and colourfulness against generator steps, on validation photos",
    "grey.svg": "Colourfulness and share of grey pictures of the custom pair against generator "
    "steps, on validation photos",
    "scores.svg": "MSE against FID of every experiment",
}
_METRICS = (
    *("mse", "mse_ab110", "ssim", "psnr", "ciede2000", "colorfulness_ratio"),
    *("fid", "kid_paired"),
)
_RULES_DATE, _OLD_RULES_DATE = "2026-11-30", "2026-11-29"
"""Of the rules for runs whose last epochs are measured, and for earlier ones."""
_OLD_SAMPLES = 64
"""`SAMPLES` of the earlier runs."""
_LOST = " †"
"""Marks runs whose pretraining was lost (`Run.lost_pretraining`)."""


def results_page(results: Results, *, curves: Sequence[str], images: Sequence[str] = ()) -> str:
    """Return results.md.

    Args:
        results: From results.json.
        curves: Names of the files from `curves.draw`.
        images: Names of image files.
    """
    sections = [
        _introduction(results),
        _claims(results),
        _rules(results),
        _table_1(results),
        _next_steps(results),
        _all_runs(results),
        _curves(results, curves),
        _speed(results),
    ]
    if images:
        links = "\n".join(f"![{name}]({name})" for name in images)
        sections.append(f"## Images\n\nThe sample photos of scikit-image.\n\n{links}\n")
    sections.append(_commands(results))
    return "\n".join(section for section in sections if section)


def _introduction(results: Results) -> str:
    protocol, data, machine = PROTOCOLS[results.protocol], results.data, results.machine
    kind = "" if data.get("coco") else ", not known to be COCO's"
    environments = [run.environment for run in results.runs]
    commits = sorted({str(e["commit"]) for e in environments})
    devices = sorted({str(e["device"]) for e in environments})
    precisions = sorted({str(e["precision"]) for e in environments})
    packages = environments[0]["packages"] if environments else {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    fid = "not measured"
    if results.fid_weights:
        fid = f"`{results.fid_weights}`, N {results.photos}; compare FID only at the same N"
    seeds = sorted({len(results.seeds(run.experiment)) for run in results.runs})
    facts = [
        f"Protocol `{results.protocol}`: {_describe_scale(results.protocol)}.",
        f"Data: `{data['name']}`{kind}; {_describe_splits(results)}; "
        f"SHA-256 of the manifest `{data['fingerprint']}`.",
        f"FID and KID: {fid}.",
        f"Seeds of each experiment: {' or '.join(map(str, seeds))}.",
        f"Machine: {machine['processor']}, {machine['cores']} cores{gpu}; trained on "
        f"{', '.join(devices)} in {' and '.join(precisions)}; {results.date}.",
        f"Commit {', '.join(commits)}; {versions}.",
    ]
    tables = "In the tables after Table 1" if results.has_epochs else "In the tables"
    notes = (
        f"[metrics.md](metrics.md) defines the metrics. {tables}, values of several seeds are "
        "mean ± standard deviation; values in brackets are 95 % bootstrap intervals over photos, "
        "which do not include the variation between epochs or seeds."
    )
    if results.has_epochs:
        notes += " Values are of the test photos."
    elif results.split == "test":
        notes += (
            " Values are of the test photos, except for those of epochs, which are of the "
            "validation photos that are watched in training."
        )
    else:
        notes += (
            " All values are of the validation photos, which were watched in training, as these "
            "runs were made before there was a test split."
        )
    if any(run.lost_pretraining for run in results.runs):
        notes += (
            f" Runs with{_LOST} were trained before a fault was mended (commit a527a83): their "
            "first adversarial steps destroyed the L1 pretraining, so they say nothing about it."
        )
    return f"""# The report's experiments, reproduced

Hamrick and Siu, "OrGANic Image Colorizations using Deep Learning". `photochrom reproduce` generates
this page from [results.json](results.json), which contains the recipe, environment, log, speed and
metrics of every run.

{_bullets(facts)}

{_paragraph(notes)}
"""


def _describe_splits(results: Results) -> str:
    data = results.data
    splits = f"{data['train']} training photos, {data['validation']} validation photos"
    if results.split == "test":
        return f"{splits} and {data['test']} test photos"
    return f"{splits} and no test photos"


def _describe_scale(name: str) -> str:
    if name == "report":
        return "the report's scale"
    protocol, report = PROTOCOLS[name], PROTOCOLS["report"]
    own_width = "a pretrained encoder keeps its own"
    if protocol.scratch_encoder_narrower == 1:
        own_width = "a ResNet18 or a pretrained encoder keeps its own"
    scale = (
        f"**not the report's scale**. Photos of {protocol.size} px instead of {REPORT_SIZE}, "
        f"{protocol.train} training photos instead of {report.train}, networks of "
        f"1/{protocol.narrower} of the width ({own_width}), batches of "
        f"{protocol.batch_size} instead of {report.batch_size}; depths and patches are reduced "
        "with the photos. Epochs and lambdas are the report's"
    )
    if protocol.most_epochs is not None:
        scale += f", but at most {protocol.most_epochs} of each phase"
    return scale


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


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
    systems = _systems(results, "table")
    both = ("mse", "ssim")  # in the report and here
    others = [metric for metric in _METRICS if metric not in both]
    header = ["System", "Seeds", "Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    more_headings = ("Grey pictures",) if results.has_epochs else _EPOCH_HEADINGS
    header += [*map(heading, others), *more_headings, "Generator steps", "Images", "Minutes"]
    report_ranks = {m: _rank({k: float(row[m]) for k, row in TABLE_1.items()}, m) for m in both}
    ranks = {m: _rank(_means(systems, m), m) for m in both}

    def line(name: str, ours: dict[str, str], more: Sequence[str]) -> list[str]:
        cells = []
        for metric in both:
            report = TABLE_1[name][metric] + report_ranks[metric][name] if name in TABLE_1 else "-"
            cells += [report, ours[metric] + ranks[metric].get(name, "")]
        return [*cells, *(ours[metric] for metric in others), *more]

    def ours(runs: Sequence[Run]) -> dict[str, str]:
        if results.has_epochs:
            return {metric: _interval_cell(results, runs, metric) for metric in _METRICS}
        return dict(zip(_METRICS, _cells([run.evaluation for run in runs]), strict=True))

    nothing = ["-"] * len(more_headings)
    lines = [
        [
            f"`{e.name}`",
            "-",
            *line(e.name, dict(zip(_METRICS, _cells([e]), strict=True)), (*nothing, "0", "0", "0")),
        ]
        for e in results.baselines
    ]
    for runs in systems:
        first = runs[0]
        minutes = mean(run.seconds for run in runs) / 60
        effort = str(first.updates("g")), str(first.images), f"{minutes:.1f}"
        epochs = [_grey_cell(runs)] if results.has_epochs else _epoch_cells(runs)
        row = line(first.experiment, ours(runs), (*epochs, *effort))
        lines.append([_title(first), str(len(runs)), *row])
    note = (
        "Ranks among the report's four systems in parentheses, 1 being the best. The report does "
        "not state the colour space of its MSE; ours is of RGB in 0..1, and that of ab/110 is "
        "listed too. "
    )
    if results.has_epochs:
        note += (
            f"Values are means over the networks of the last {EPOCHS} epochs, on {results.photos} "
            f"test photos. In brackets is the 95 % interval over the seeds, if there are {SEEDS}; "
            "in parentheses the range of those epochs. FID and KID are of the last epoch. Grey "
            f"pictures have less than {GREY_RATIO:.0%} of their original's colourfulness."
        )
    else:
        note += (
            f"The columns of the last {EPOCHS} epochs are of the {_watched(results)} "
            "validation photos watched in training; with one seed they have the range of the "
            "epochs in parentheses. The others are of the network after the last epoch, on "
            f"{results.photos} {results.split} photos."
        )
    return f"""## Table 1

{_paragraph(note)}

{markdown(header, lines)}"""


def _interval_cell(results: Results, runs: Sequence[Run], metric: str) -> str:
    """Return the value of a system with its interval over seeds, or the range of its epochs."""
    if any(metric not in run.evaluation.values for run in runs):
        return "-"
    try:
        numbers = estimate(results, runs[0].experiment, metric)
    except MissingDataError:  # of the last network only, or with too few epochs
        return _cells([run.evaluation for run in runs], [metric])[0]
    scale, digits = METRICS[metric].factor, METRICS[metric].digits
    value, low, high = (f"{scale * x:.{digits}f}" for x in numbers if x is not None)
    return f"{value} [{low}, {high}]" if len(runs) >= SEEDS else f"{value} ({low}..{high})"


def _grey_cell(runs: Sequence[Run]) -> str:
    """Return the share of pictures that are grey, over the last epochs of all seeds."""
    shares = [line["grey_share"] for run in runs for line in run.epochs]
    if not shares:
        return "-"
    return f"{mean(shares):.0%} ({min(shares):.0%}..{max(shares):.0%})"


def _watched(results: Results) -> int:
    """Return the number of photos whose metrics are logged in each epoch."""
    most = SAMPLES if results.has_epochs else _OLD_SAMPLES
    return min(most, int(results.data["validation"]))


_EPOCH_HEADINGS = (
    f"Colourfulness ratio, last {EPOCHS} epochs",
    f"PSNR, last {EPOCHS} epochs (dB) ↑",
)


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
    return f"{run.title} (`{run.experiment}`){_LOST if run.lost_pretraining else ''}"


def _cells(evaluations: Sequence[Evaluation], metrics: Sequence[str] = _METRICS) -> list[str]:
    """Return the value of each metric, of several seeds mean ± standard deviation."""
    if len(evaluations) == 1:
        return [cell(evaluations[0], metric, interval=False) for metric in metrics]
    cells = []
    for metric in metrics:
        values = [e.values[metric][0] for e in evaluations if metric in e.values]
        complete = len(values) == len(evaluations)
        cells.append(_mean_and_deviation(values, metric) if complete else "-")
    return cells


def _epoch_cells(runs: Sequence[Run]) -> list[str]:
    """Return the metrics of `LOGGED` over the last epochs; of one seed with their range."""
    cells = []
    for metric in LOGGED:
        try:
            epochs = [last_epochs(run, metric) for run in runs]
        except MissingDataError:
            cells.append("-")
            continue
        if len(runs) > 1:
            cells.append(_mean_and_deviation([mean(of_run) for of_run in epochs], metric))
            continue
        low, average, high = (
            f"{value:.{METRICS[metric].digits}f}"
            for value in (min(epochs[0]), mean(epochs[0]), max(epochs[0]))
        )
        cells.append(f"{average} ({low}..{high})")
    return cells


def _mean_and_deviation(values: Sequence[float], metric: str) -> str:
    definition = METRICS[metric]
    average, deviation = (
        f"{value * definition.factor:.{definition.digits}f}"
        for value in (mean(values), stdev(values))
    )
    return f"{average} ± {deviation}"


def _claims(results: Results) -> str:
    verdicts = [claim.conclude(results) for claim in CLAIMS]
    texts = [f"**{c.title}** {verdict}" for c, verdict in zip(CLAIMS, verdicts, strict=True)]
    counts = Counter(verdict.outcome for verdict in verdicts)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    return f"""## The report's claims

Of {len(CLAIMS)} claims: {summary}.

{_bullets(texts)}
"""


def _rules(results: Results) -> str:
    if results.has_epochs:
        value = (
            f"The value of a system is the mean of the networks of the last {EPOCHS} epochs of its "
            f"last phase of training (at least {LEAST_EPOCHS}), over its seeds, on the "
            f"{results.photos} test photos, which nothing is chosen by. No weights are averaged. "
            f"{_fluctuation(results)}"
        )
        photos = (
            "paired bootstrap interval of the differences between their scores by photo, means "
            f"over these epochs and the seeds, must exclude 0 on the same side. FID and KID are "
            f"measured after the last epoch only, so they need {SEEDS} seeds."
        )
    else:
        value = (
            f"The value of a system is the mean of the last {EPOCHS} epochs of its last phase of "
            f"training (at least {LEAST_EPOCHS}), over its seeds, on the {_watched(results)} "
            "validation photos watched in training. Nothing is chosen by them: epochs and recipes "
            f"are fixed beforehand. {_fluctuation(results)}"
        )
        photos = (
            "paired bootstrap interval of the differences between their scores by photo, of the "
            f"networks after the last epoch on the {results.split} photos, must exclude 0 on the "
            "same side. Other metrics than colourfulness and PSNR are measured after the last "
            f"epoch only, so they need {SEEDS} seeds."
        )
    texts = [
        "*Confirmed* and *refuted* are verdicts at the report's scale: its size, number and kind "
        "of photos (COCO), full width, and ResNet18 with ImageNet weights. Elsewhere a claim is "
        "*reproduced* or *not reproduced at this scale*. *Open* means that runs or measurements "
        "are missing, or that the intervals do not decide.",
        value,
        f"Its interval, in brackets above, is the 95 % interval of Student's t over the seeds, if "
        f"there are {SEEDS} or more. With fewer seeds it is the range of those epochs; it then "
        "describes the runs, and how much another seed would differ is not known.",
        f"Two systems with {SEEDS} seeds or more differ if Welch's 95 % interval of the difference "
        "of their means excludes 0, others if the intervals above do not overlap. In addition, the "
        f"{photos}",
        f"A system is grey if its interval, and those over photos, are below {GREY_RATIO:.2f} of "
        "the original's colourfulness, and a control that was trained in the same way is above.",
    ]
    if results.has_epochs:
        texts.append(
            "Positive controls: effects that are known have to be found first. Colouring with the "
            "mean colour has to count as grey; the U-Net with L1 alone has to be less colourful "
            "than with the PatchGAN, and to have a higher PSNR. A claim is open if the control of "
            "its metric fails."
        )
    texts.append("Intervals are not corrected for the number of comparisons.")
    date = _RULES_DATE if results.has_epochs else _OLD_RULES_DATE
    controls = ""
    if results.has_epochs:
        verdicts = [f"**{c.title}** {c.conclude(results)}" for c in CONTROLS.values()]
        controls = f"\nThe controls:\n\n{_bullets(verdicts)}\n"
    when = "before" if results.has_epochs else "after"
    return f"""## How verdicts are reached

These rules were set on {date}, {when} these runs.

{_bullets(texts)}
{controls}"""


def _curves(results: Results, names: Sequence[str]) -> str:
    links = [f"![{text}]({name})" for name, text in _CURVES.items() if name in names]
    if not links:
        return ""
    rows = results.with_metric("fid")
    note = ""
    if len(rows) > 2:
        fid, mse = ([results.value(row, m)[0] for row in rows] for m in ("fid", "mse"))
        note = (
            f"Over the {len(rows)} rows with an FID, FID and MSE have a rank correlation "
            f"(Spearman) of {spearmanr(fid, mse).statistic:+.2f}.\n"
        )
    if any(len(results.seeds(run.experiment)) > 1 for run in results.runs):
        note = f"Curves and correlation are of the first seed of each experiment. {note}"
    return "\n\n".join(["## Curves", *links, note])


def _fluctuation(results: Results) -> str:
    """Describe how much adversarial training fluctuates from epoch to epoch."""
    steps = []
    for run in results.runs:
        ratios = [line["colorfulness_ratio"] for line in run.log if line["phase"] == "gan"][-10:]
        steps += [abs(after - before) for before, after in pairwise(ratios)]
    if not steps:
        return ""
    return (
        f"In these runs, the colourfulness of adversarial training changes by {mean(steps):.2f} of "
        "the original's from one epoch to the next, on average over the last ten epochs."
    )


def _next_steps(results: Results) -> str:
    base, systems = results.seeds("unet-patchgan"), _systems(results, "next step")
    if not base or not systems:
        return ""
    header = ["Run", "Seeds", *map(heading, _METRICS), *_EPOCH_HEADINGS]
    header += ["Generator steps", "PatchGAN steps", "Compared with system 2"]
    rows = []
    for runs in (base, *systems):
        name = runs[0].experiment
        compared = "-" if runs is base else describe_difference(results, name, "unet-patchgan")
        rows.append(
            [
                _title(runs[0]),
                str(len(runs)),
                *_cells([run.evaluation for run in runs]),
                *_epoch_cells(runs),
                str(runs[0].updates("g")),
                str(runs[0].updates("d")),
                compared,
            ]
        )
    note = (
        "Other losses, a weaker discriminator, four kinds of alternating training, and other "
        "outputs, each with everything else as in system 2. The last column compares colourfulness "
        "and PSNR by the rules above; *unclear* means that no difference is shown. A difference in "
        "parentheses is open: seeds or epochs differ, but there are no scores by photo to compare."
    )
    return f"""## The report's next steps

{_paragraph(note)}

{markdown(header, rows)}"""


def _all_runs(results: Results) -> str:
    header = ["Run", "Seed", *map(heading, _METRICS)]
    rows = [[e.name, "-", *(cell(e, metric) for metric in _METRICS)] for e in results.baselines]
    for run in results.runs:
        name = run.experiment + (_LOST if run.lost_pretraining else "")
        cells = [cell(run.evaluation, metric) for metric in _METRICS]
        rows.append([name, str(run.seed), *cells])
    return f"## All runs, with intervals over photos\n\n{markdown(header, rows)}"


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
    if any(run.other_weights for run in results.runs):
        command += " --resnet18-weights none"
    if results.fid_weights:
        command += f" --inception {results.fid_weights}"
    names = [f"- `{name}`" for name in BASELINES]
    names += [f"- `{name}`: {experiment.title}" for name, experiment in EXPERIMENTS.items()]
    listed = "\n".join(names)
    return f"""## Commands

    {command}
    {command} --only unet-patchgan --seeds 0,1,2
    {command} --dry-run

The first runs all rows, the second three seeds of one row; the third prints what the first would
run. Finished runs are not repeated. Rows:

{listed}
"""
