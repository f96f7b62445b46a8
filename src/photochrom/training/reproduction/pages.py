"""results.md or next-steps.md, generated from the JSON file of the same name alone."""

from collections.abc import Sequence

from scipy.stats import spearmanr

from photochrom.training.reproduction.comparison import SEEDS
from photochrom.training.reproduction.experiments import (
    BASELINES,
    EPOCHS,
    EXPERIMENTS,
    PROTOCOLS,
    REPORT_SIZE,
    SYSTEMS,
)
from photochrom.training.reproduction.results import Results
from photochrom.training.reproduction.rules import claims_section, rules_section
from photochrom.training.reproduction.tables import (
    all_runs_section,
    lambda_section,
    next_steps_section,
    speed_section,
    table_1_section,
)
from photochrom.training.reproduction.text import bullets, paragraph

_HEADINGS = {
    "results": "The report's experiments, reproduced",
    "next-steps": "The report's next steps, lambda and the receptive field",
}
"""By `Protocol.stem`."""
_PRECISIONS = {"32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_CURVES = {
    "lambda": "Colourfulness against MSE for each lambda",
    "training": "PSNR and colourfulness against generator steps, on validation photos",
    "grey": "Colourfulness and share of grey pictures of the custom pair against generator "
    "steps, on validation photos",
    "scores": "MSE against FID of every experiment",
}


def results_page(results: Results, *, curves: Sequence[str], images: Sequence[str] = ()) -> str:
    """Return the page.

    Args:
        results: All runs.
        curves: Names of curves from `curves.draw`, whose files are STEM-NAME.svg.
        images: Names of image files.
    """
    has_table_1 = PROTOCOLS[results.protocol].covers(*SYSTEMS)
    sections = [
        _introduction(results),
        claims_section(results),
        rules_section(results),
        table_1_section(results) if has_table_1 else "",
        next_steps_section(results),
        lambda_section(results),
        all_runs_section(results),
        _curves(results, curves),
        speed_section(results) if has_table_1 else "",
    ]
    if images:
        links = "\n".join(f"![{name}]({name})" for name in images)
        sections.append(f"## Images\n\nThe sample photos of scikit-image.\n\n{links}\n")
    sections.append(_commands(results))
    return "\n".join(section for section in sections if section)


def _introduction(results: Results) -> str:
    protocol, data = PROTOCOLS[results.protocol], results.data
    kind = "" if data["coco"] else ", not known to be COCO's"
    environments = [run.environment for run in results.runs]
    commits = sorted({str(e["commit"]) for e in environments})
    packages = environments[0]["packages"] if environments else {}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    fid = "not measured"
    if results.fid_weights:
        fid = f"`{results.fid_weights}`, N {results.photos}; compare FID only at the same N"
    seeds = sorted({len(results.seeds(run.experiment)) for run in results.runs})
    facts = [
        f"Protocol `{results.protocol}`: {_describe_scale(results.protocol)}.",
        f"Data: `{data['name']}`{kind}; {data['train']} training photos, {data['validation']} "
        f"validation photos and {data['test']} test photos; "
        f"SHA-256 of the manifest `{data['fingerprint']}`.",
        f"FID and KID: {fid}.",
        f"Seeds of each experiment: {' or '.join(map(str, seeds))}.",
        f"Trained on {_describe_machines(results)}; {results.date}.",
        f"Commit {', '.join(commits)}; {versions}.",
    ]
    if missing := _describe_missing(results):
        facts.append(f"Planned, but not finished: {missing}.")
    notes = (
        "[metrics.md](metrics.md) defines the metrics. Values are means over the networks of the "
        f"last {EPOCHS} epochs, on {results.photos} test photos. In brackets is the 95 % interval "
        f"over the seeds, if there are {SEEDS}; in parentheses the range of those epochs. FID and "
        "KID are of the last epoch. In the table of all runs, brackets are 95 % bootstrap "
        "intervals over photos, which do not include the variation between epochs or seeds."
    )
    json_name = f"{protocol.stem}.json"
    return f"""# {_HEADINGS[protocol.stem]}

Hamrick and Siu, "OrGANic Image Colorizations using Deep Learning". `photochrom reproduce` generates
this page from [{json_name}]({json_name}), which contains the recipe, environment, log, speed and
metrics of every run.

{bullets(facts)}

{paragraph(notes)}
"""


def _describe_missing(results: Results) -> str:
    """Return the experiments of the protocol's plan that were not run, with their seeds."""
    finished = {(run.experiment, run.seed) for run in results.runs}
    missing: dict[str, list[str]] = {}
    for name, seed in PROTOCOLS[results.protocol].planned:
        if (name, seed) not in finished:
            missing.setdefault(name, []).append(str(seed))
    return ", ".join(
        f"`{name}` (seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)})"
        for name, seeds in missing.items()
    )


def _describe_machines(results: Results) -> str:
    """Return processor, cores, GPU and precision, of each kind of machine that runs came from."""
    machines = set()
    for run in results.runs:
        environment = run.environment
        machine = environment["machine"]
        gpu = f", {machine['gpu']}" if machine["gpu"] else ""
        machines.add(
            f"{machine['processor']}, {machine['cores']} cores{gpu} ({environment['device']}, "
            f"{_PRECISIONS[environment['precision']]})"
        )
    return " and ".join(sorted(machines))


def _describe_scale(name: str) -> str:
    if name == "report":
        return "the report's scale"
    protocol, report = PROTOCOLS[name], PROTOCOLS["report"]
    own_width = "a pretrained encoder keeps its own"
    if protocol.scratch_encoder_narrower == 1:
        own_width = "a ResNet18 or a pretrained encoder keeps its own"
    differing, same = [f"photos of {protocol.size} px instead of {REPORT_SIZE}"], []
    if protocol.train == report.train:
        same.append("the number of training photos")
    else:
        differing.append(f"{protocol.train} training photos instead of {report.train}")
    differing.append(f"networks of 1/{protocol.narrower} of the width ({own_width})")
    if protocol.batch_size == report.batch_size:
        same.append("the batch size")
    else:
        differing.append(f"batches of {protocol.batch_size} instead of {report.batch_size}")
    listed = ", ".join([*same, "epochs and lambdas"])
    scale = (
        f"**not the report's scale**. {_capitalize(', '.join(differing))}; depths and patches are "
        f"reduced with the photos. {_capitalize(listed)} are the report's"
    )
    if protocol.most_epochs is not None:
        scale += f", but at most {protocol.most_epochs} of each phase"
    return scale


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def _curves(results: Results, names: Sequence[str]) -> str:
    stem = PROTOCOLS[results.protocol].stem
    links = [f"![{text}]({stem}-{name}.svg)" for name, text in _CURVES.items() if name in names]
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


def _commands(results: Results) -> str:
    command = f"photochrom reproduce --data DATA --out RESULTS --protocol {results.protocol}"
    if any(run.other_weights for run in results.runs):
        command += " --resnet18-weights none"
    if results.fid_weights:
        command += f" --fid-weights {results.fid_weights}"
    protocol = PROTOCOLS[results.protocol]
    precisions = {str(run.environment["precision"]) for run in results.runs}
    if len(precisions) == 1 and precisions != {protocol.precision}:
        command += f" --precision {min(precisions)}"
    names = [f"- `{name}`" for name in BASELINES]
    names += [f"- `{name}`: {experiment.title}" for name, experiment in EXPERIMENTS.items()]
    listed = "\n".join(names)
    planned = "what the protocol plans" if protocol.planned else "all rows"
    explanation = paragraph(
        f"The first runs {planned}, the second three seeds of one row; the third prints what the "
        "first would run. Finished runs are not repeated. Rows:"
    )
    return f"""## Commands

    {command}
    {command} --only unet-patchgan --seeds 0,1,2
    {command} --dry-run

{explanation}

{listed}
"""
