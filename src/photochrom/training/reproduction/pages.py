"""What a reader gets: results.md, made of results.json alone."""

import textwrap
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import mean

from photochrom.training.evaluation.metrics import METRICS
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.evaluation.tables import (
    TABLE_1,
    Published,
    cell,
    heading,
    markdown,
)
from photochrom.training.loop.monitor import SAMPLES
from photochrom.training.reproduction.claims import CLAIMS, compare, judge
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EXPERIMENTS,
    PROTOCOLS,
    REPORT_SIZE,
    SYSTEMS,
)
from photochrom.training.reproduction.results import Results, Run

_CURVES = {
    "lambda.svg": "Colourfulness against MSE over lambda",
    "training.svg": "PSNR and colourfulness over the generator's steps, on the photos that are "
    "watched in training",
    "scores.svg": "MSE against FID of every run",
}
_METRICS = ("mse", "mse_ab110", "ssim", "psnr", "ciede2000", "colorfulness_ratio", "fid", "kid")


def results_page(results: Results, *, curves: Sequence[str], pictures: Sequence[str] = ()) -> str:
    """Return results.md.

    Args:
        results: What was found.
        curves: File names of the curves that lie beside the page.
        pictures: File names of pictures that lie beside the page.
    """
    sections = [_introduction(results), _table_1(results), _claims(results, curves)]
    sections += [_next_steps(results), _everything(results), _seeds(results), _speed(results)]
    if pictures:
        shown = "\n".join(f"![{name}]({name})" for name in pictures)
        sections.append(f"## Pictures\n\nscikit-image's own samples.\n\n{shown}\n")
    sections.append(_again(results))
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
        fid = f"`{results.fid_weights}`, N {data['eval']}; FID is comparable only at the same N"
    facts = [
        f"Protocol `{results.protocol}`: {_scale(results.protocol)}.",
        f"Data: `{data['name']}`, {data['train']} photos to train on and {data['eval']} to measure "
        f"on; SHA-256 of the manifest `{data['fingerprint']}`.",
        f"FID and KID: {fid}.",
        f"Machine: {machine['processor']}, {machine['cores']} cores{gpu}; trained on "
        f"{', '.join(devices)} in {protocol.precision}; {results.date}.",
        f"Commit {', '.join(commits)}; {versions}.",
    ]
    return f"""# The report's experiments, reproduced

Hamrick and Siu, "OrGANic Image Colorizations using Deep Learning". This page is written by
`photochrom reproduce` from [results.json](results.json), which holds what every run directory does:
recipe, environment, log, speed and measurements.

{_bullets(facts)}

[metrics.md](metrics.md) defines every measure. Values in brackets are 95 % bootstrap intervals over
photos; they say nothing of other seeds.
"""


def _scale(name: str) -> str:
    """Return in words at what scale a protocol runs everything."""
    if name == "report":
        return "the report's own scale"
    protocol = PROTOCOLS[name]
    scale = (
        f"**not the report's scale**. Photos of {protocol.size} px instead of {REPORT_SIZE}, "
        f"{protocol.train} to train on instead of {PROTOCOLS['report'].train}, networks of "
        f"1/{protocol.narrower} of the width (a pretrained encoder keeps its own), batches of "
        f"{protocol.batch_size} instead of {PROTOCOLS['report'].batch_size}; depths and patches "
        "shrink with the photos. Epochs and lambdas are the report's"
    )
    if protocol.most_epochs is not None:
        scale += f", but at most {protocol.most_epochs} of each phase"
    return scale


def _bullets(texts: Sequence[str]) -> str:
    wrapped = (
        textwrap.fill(
            f"- {text}",
            100,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )
    return "\n".join(wrapped)


def _ranked(values: dict[str, float], *, less_is_better: bool) -> dict[str, str]:
    """Return a rank for each, 1 being the best, as ` (n)`."""
    order = sorted(values, key=lambda name: values[name], reverse=not less_is_better)
    return {name: f" ({order.index(name) + 1})" for name in order}


def _table_1(results: Results) -> str:
    runs = [run for run in results.first_runs() if EXPERIMENTS[run.experiment].part == "table"]
    systems = [run.experiment for run in runs if run.experiment in SYSTEMS]

    def ranks(metric: str, published: Callable[[Published], str]) -> list[dict[str, str]]:
        less = METRICS[metric].direction == "down"
        theirs = {name: float(published(row)) for name, row in TABLE_1.items()}
        ours = {name: results.value(name, metric)[0] for name in systems}
        return [_ranked(values, less_is_better=less) for values in (theirs, ours)]

    (mse_theirs, mse_ours), (ssim_theirs, ssim_ours) = (
        ranks("mse", lambda row: row.mse),
        ranks("ssim", lambda row: row.ssim),
    )
    header = ["System", "Report: MSE ↓", "Ours: MSE ↓", "Report: SSIM ↑", "Ours: SSIM ↑"]
    header += [heading(metric) for metric in _METRICS if metric not in ("mse", "ssim")]
    header += ["Generator steps", "Images", "Minutes"]

    def line(name: str, title: str, evaluation: Evaluation, run: Run | None) -> list[str]:
        row = TABLE_1.get(name)
        figures = {m: cell(evaluation, m, interval=False) for m in _METRICS}
        return [
            title,
            row.mse + mse_theirs[name] if row else "-",
            figures["mse"] + mse_ours.get(name, ""),
            row.ssim + ssim_theirs[name] if row else "-",
            figures["ssim"] + ssim_ours.get(name, ""),
            *(figures[m] for m in _METRICS if m not in ("mse", "ssim")),
            *(_effort(run) if run else ("0", "0", "0")),
        ]

    lines = [line(e.name, f"`{e.name}`", e, None) for e in results.baselines]
    lines += [line(r.experiment, f"{r.title} (`{r.experiment}`)", r.evaluation, r) for r in runs]
    return f"""## Table 1

Ranks among the report's four systems in parentheses, 1 being the best. The report does not say on
which colour space its MSE is; ours is of RGB in 0..1, beside it that of ab/110.

{markdown(header, lines)}"""


def _effort(run: Run) -> tuple[str, str, str]:
    return str(run.updates("g")), str(run.images), f"{run.seconds / 60:.1f}"


def _claims(results: Results, curves: Sequence[str]) -> str:
    texts = [f"**{claim.title}** {judge(claim, results)}" for claim in CLAIMS]
    drawn = "\n\n".join(f"![{text}]({name})" for name, text in _CURVES.items() if name in curves)
    return f"""## What the report claims

{_unrest(results)}
{_bullets(texts)}

{drawn}
"""


def _unrest(results: Results) -> str:
    """Say how much adversarial training swings, so that nobody trusts small differences."""
    steps = []
    for run in results.runs:
        ratios = [line["colorfulness_ratio"] for line in run.log if line["phase"] == "gan"][-10:]
        steps += [abs(after - before) for before, after in pairwise(ratios)]
    if not steps:
        return ""
    text = (
        f"From one epoch to the next, over the last ten, the colourfulness of adversarial runs "
        f"changes by {mean(steps):.2f} of the truth's on average, on the {SAMPLES} photos that are "
        "watched in training. What is measured is the network after the last epoch, so differences "
        "of that size mean little, whatever the intervals over photos say."
    )
    return textwrap.fill(text, 100) + "\n"


def _next_steps(results: Results) -> str:
    base = results.of("unet-patchgan")
    runs = [r for r in results.first_runs() if EXPERIMENTS[r.experiment].part == "next step"]
    if base is None or not runs:
        return ""
    header = ["Run", *(heading(metric) for metric in _METRICS)]
    header += ["Generator steps", "PatchGAN steps", "Against system 2"]
    rows = [
        [
            f"{run.title} (`{run.experiment}`)",
            *(cell(run.evaluation, metric, interval=False) for metric in _METRICS),
            str(run.updates("g")),
            str(run.updates("d")),
            "itself" if run is base else compare(results, run.experiment, base.experiment),
        ]
        for run in (base, *runs)
    ]
    return f"""## Its next steps

Other losses, a weaker discriminator, alternating training in four readings, and other outputs, each
with all else as in system 2. The last column says what differs in colourfulness and in CIEDE2000
beyond both intervals.

{markdown(header, rows)}"""


def _everything(results: Results) -> str:
    header = ["Run", "Seed", *(heading(metric) for metric in _METRICS)]
    rows = [[e.name, "-", *(cell(e, metric) for metric in _METRICS)] for e in results.baselines]
    rows += [
        [r.experiment, str(r.seed), *(cell(r.evaluation, metric) for metric in _METRICS)]
        for r in results.runs
    ]
    return f"## Every run, with intervals\n\n{markdown(header, rows)}"


def _seeds(results: Results) -> str:
    several = [name for name in SYSTEMS if len(results.seeds(name)) > 1]
    if not several:
        return "One seed of each: differences between runs may be those between seeds.\n"
    metrics = ("mse", "ssim", "ciede2000", "colorfulness_ratio", "fid")
    header = ["System", "Seeds", *(heading(metric) for metric in metrics)]
    rows = []
    for name in several:
        runs = results.seeds(name)
        row = [name, str(len(runs))]
        for metric in metrics:
            if any(metric not in run.evaluation.values for run in runs):
                row.append("-")
                continue
            values = [run.evaluation.values[metric][0] for run in runs]
            digits = METRICS[metric].digits
            ends = f"{min(values):.{digits}f}..{max(values):.{digits}f}"
            row.append(f"{mean(values):.{digits}f} ({ends})")
        rows.append(row)
    return f"## Seeds\n\nMean, smallest and largest.\n\n{markdown(header, rows)}"


def _speed(results: Results) -> str:
    runs = [run for run in results.first_runs() if EXPERIMENTS[run.experiment].part == "table"]
    if not runs:
        return ""
    header = ["Run", "Images/s", "GFLOP an image", "GFLOP/s", "Matrix product, GFLOP/s", "Share"]
    rows = [
        [
            run.experiment,
            f"{run.speed['images_per_second']:.1f}",
            f"{run.speed['flops_per_image'] / 1e9:.3g}",
            f"{run.speed['flops_per_second'] / 1e9:.3g}",
            f"{run.speed['matrix_flops_per_second'] / 1e9:.3g}",
            f"{run.speed['share_of_matrix_rate']:.0%}",
        ]
        for run in runs
    ]
    return f"""## Speed of training

Of one run while others ran beside it. FLOPs are those of the model's convolutions and products,
forward and backward; the share is that of the rate at which the same threads multiply matrices of
2048 x 2048 (8192 on a GPU) in the same precision.

{markdown(header, rows)}"""


def _again(results: Results) -> str:
    names = [*BASELINES, *EXPERIMENTS]
    command = f"photochrom reproduce --data DATA --out RESULTS --protocol {results.protocol}"
    if results.fid_weights:
        command += f" --inception {results.fid_weights}"
    listed = "\n".join(
        f"- `{name}`" + (f": {EXPERIMENTS[name].title}" if name in EXPERIMENTS else "")
        for name in names
    )
    return f"""## Again

    {command}
    {command} --only unet-patchgan

The first does everything, the second one row; what is done is not done again. Rows:

{listed}
"""
