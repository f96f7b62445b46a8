"""The commands that train runs and export them; torch is imported when one runs."""

import json
from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.training_options import DATA, PRECISION
from photochrom.errors import PhotochromError, RecipeError
from photochrom.path_types import DIRECTORY, FILE


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
        values = flatten(recipe.to_dict())
        width = 2 + max(map(len, values))
        for key, value in values.items():
            if key not in ("format", "source", "quoted"):
                mark = "quoted" if key in recipe.quoted else "filled in"
                click.echo(f"  {key:{width}}{value!s:34}{mark}")


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
@DATA
@click.option("--out", type=DIRECTORY, default=Path("runs"), show_default=True, metavar="RUNS")
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
    type=PRECISION,
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
@click.option("--resume", type=DIRECTORY, metavar="RUN", help="Resume an interrupted run.")
@click.option(
    "--keep",
    type=click.Choice(["last", "best", "all"]),
    default="last",
    show_default=True,
    help="Epochs whose weights are kept in RUN/epochs; best: by PSNR.",
)
@click.option("--dry-run", is_flag=True, help="Describe the networks without training.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
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

    started: list[Path] = []

    def note_start(run: Path) -> None:
        started.append(run)
        if launching.is_main_process():
            click.echo(f"training {run}", err=True)

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

        run = run_training(chosen, data, out, on_run=note_start, **options)
    except launching.ReportedElsewhereError:
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        hint = launching.resume_hint(started[0]) if started else ""
        click.echo(f"\nstopped{hint}", err=True)
        ctx.exit(130)
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
@click.argument("run", type=DIRECTORY)
@click.argument("path", type=FILE, metavar="MODEL.onnx")
@click.option("--licence", default="Apache-2.0", show_default=True, help="Licence of the weights.")
@click.option("--data-note", default="", help="Description of the training data, for the metadata.")
@click.option("--saturation", default=1.0, show_default=True, help="Factor for ab.")
@click.option(
    "--blend",
    type=FILE,
    metavar="MODEL.onnx",
    help="Another export of the same generator, whose weights are mixed in.",
)
@click.option("--blend-share", type=float, help="Share of --blend, 0 to 1. Default: 0.5.")
@click.option(
    "--metrics", type=FILE, help="A metrics.json for the metadata. Default: that of the run."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option(
    "--half/--full", default=True, help="Store weights as fp16 if the output does not change."
)
def export(run: Path, path: Path, blend_share: float | None, **options: Any) -> None:
    """Export a run to an ONNX file.

    `photochrom colorize --model` and the other commands take such files.
    """
    need("train")
    from photochrom.training.onnx.export import export as write_onnx

    if blend_share is not None:
        if options["blend"] is None:
            raise click.UsageError("--blend-share has no effect without --blend; give both")
        options["blend_share"] = blend_share
    write_onnx(run, path, **options)
    click.echo(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; try photochrom colorize --model {path}"
    )
