"""The command that runs the experiments of the report."""

from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.training_options import DATA, FID_WEIGHTS_HELP, PRECISION, parse_names
from photochrom.errors import PhotochromError
from photochrom.path_types import DIRECTORY, PATH


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
@DATA
@click.option("--out", type=DIRECTORY, required=True, metavar="RESULTS", help="Folder for results.")
@click.option(
    "--protocol",
    type=click.Choice(["report", "half", "reduced", "next-steps", "smoke"]),
    default="report",
)
@click.option(
    "--only",
    multiple=True,
    callback=parse_names,
    metavar="NAME,...",
    help="Only these experiments.",
)
@click.option(
    "--seeds",
    callback=_parse_integers,
    metavar="N,...",
    help="Default: those that the protocol plans, else 0.",
)
@click.option(
    "--fid-weights", "--inception", "fid_weights", type=PATH, metavar="FILE", help=FID_WEIGHTS_HELP
)
@click.option(
    "--historic",
    multiple=True,
    type=DIRECTORY,
    metavar="DIR",
    help="Old photos to show on the results page; several times for several folders.",
)
@click.option("--docs", type=DIRECTORY, metavar="DIR", help="Folder for the page of results.")
@click.option(
    "--resnet18-weights",
    default="imagenet",
    show_default=True,
    metavar="none|imagenet|FILE",
    help="What pretrained ResNet18s start from.",
)
@click.option(
    "--store",
    type=DIRECTORY,
    metavar="DIR",
    help="Folder of finished runs, small enough to commit: they are added to it, and not repeated.",
)
@click.option(
    "--precision",
    type=PRECISION,
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
        names = ("only", "seeds", "fid_weights", "resnet18_weights", "store")
        click.echo(plan(data, out, protocol, **{name: options[name] for name in names}))
        return
    outcome = run_all(data, out, protocol, **options)
    click.echo(f"{outcome.page}\n{outcome.gallery}")
    if outcome.failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
        raise PhotochromError(f"{len(outcome.failed)} runs failed: {reasons}")
