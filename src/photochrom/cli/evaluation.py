"""The commands that evaluate runs and compare them; torch is imported when one runs."""

from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.training_options import DATA, FID_WEIGHTS_HELP, parse_names
from photochrom.path_types import DIRECTORY, FILE, PATH

_COLUMNS = click.option(
    "--columns",
    multiple=True,
    callback=parse_names,
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


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@DATA
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "eval"]),
    default="validation",
    show_default=True,
    help="Choose on `validation`, then report `test` once. `eval` is the old name of `validation`.",
)
@click.option(
    "--out", type=DIRECTORY, help="Folder for JSON, CSV and Markdown tables and a contact sheet."
)
@click.option("--limit", type=int, help="Number of photos. Default: the whole split.")
@click.option(
    "--hints",
    default=0,
    show_default=True,
    help="Number of true colour hints per photo, at uniformly random positions that are the same "
    "for every model; 7 px wide at a short side of 256 px.",
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
@click.option("--fid-weights", type=PATH, metavar="FILE", help=FID_WEIGHTS_HELP)
@click.option(
    "--fid-ct2-weights",
    type=FILE,
    metavar="FILE",
    help="torchvision's Inception v3, for FID as CT2 computes it.",
)
@click.option(
    "--lpips-weights",
    type=PATH,
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
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=DIRECTORY)
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
    type=PATH,
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
