"""The commands that prepare data sets, one for each of `SOURCES`."""

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from photochrom.cli.extras import need
from photochrom.path_types import DIRECTORY, FILE
from photochrom.training.data.sources import SOURCES, load_source

_FRACTIONS = ("validation_fraction", "test_fraction")
_OLD_OPTIONS = {
    "--eval-fraction": "--validation-fraction and --test-fraction",
    "--eval-names": "--split-file, a CSV file with the columns name,split",
}


_PACKING_PARAMS: tuple[click.Parameter, ...] = (
    click.Argument(["dest"], type=DIRECTORY),
    click.Option(
        ["--size"], default=256, show_default=True, help="Side of the packed photos in px."
    ),
    click.Option(
        ["--validation-fraction"],
        default=0.1,
        show_default=True,
        help="Share of the split `validation`, drawn by the contents of the files.",
    ),
    click.Option(
        ["--test-fraction"], default=0.1, show_default=True, help="Share of the split `test`."
    ),
    click.Option(
        ["--split-file"],
        type=FILE,
        metavar="CSV",
        help="Splits given by name, in place of fractions: a CSV file with the columns "
        "name,split. Photos that it does not name are for training.",
    ),
    click.Option(
        ["--seed"], default=0, show_default=True, help="Seed of the choice and the splits."
    ),
    click.Option(
        ["--keep-aspect"],
        is_flag=True,
        help="Resize the short side to --size and keep the aspect ratio; training crops.",
    ),
    click.Option(
        ["--min-chroma"],
        default=2.0,
        show_default=True,
        help="Drop near-grey photos: smaller mean chroma in CIELAB.",
    ),
    click.Option(
        ["--small"],
        type=click.Choice(["enlarge", "keep", "drop"]),
        default="enlarge",
        show_default=True,
        help="What to do with photos whose short side is below --size.",
    ),
    *(click.Option([name], hidden=True) for name in _OLD_OPTIONS),
)
"""The options that all sources have."""


class _Sources(click.Group):
    """Looks commands up in `SOURCES` when they are needed."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(SOURCES)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in SOURCES and ":" not in name:
            return None
        source = load_source(name)
        params = [*source.params, *_PACKING_PARAMS]
        return click.Command(name, params=params, help=source.help, callback=partial(_pack, name))


@click.group(cls=_Sources)
def data() -> None:
    """Pack photos into a data set.

    COMMAND is a source: one of those below, or module:name of your own.
    """


def _pack(name: str, /, dest: Path, split_file: Path | None, **options: Any) -> None:
    """Find the photos of a source and pack them."""
    from photochrom.training.data.prepare import check_settings, prepare
    from photochrom.training.data.splits import read_split_file

    for old, new in _OLD_OPTIONS.items():
        if options.pop(old.removeprefix("--").replace("-", "_")) is not None:
            raise click.UsageError(f"{old} was replaced by {new}")
    source, context = load_source(name), click.get_current_context()
    if source.extra is not None:
        need(source.extra)
    given = [
        name for name in _FRACTIONS if context.get_parameter_source(name) != ParameterSource.DEFAULT
    ]
    if split_file is not None and given:
        raise click.UsageError("--split-file takes the place of fractions; give one or the other")
    own = {param.name: options[param.name] for param in source.params if param.name is not None}
    packing = {key: value for key, value in options.items() if key not in own}
    count = own["count"]
    to_check = (*_FRACTIONS, "size", "min_chroma")
    check_settings(dest, count=count, **{key: packing[key] for key in to_check})
    splits = None if split_file is None else read_split_file(split_file)
    photos = source.find(dest=dest, seed=packing["seed"], **own)
    _print_summary(prepare(photos, dest, count=count, splits=splits, **packing), dest)


def _print_summary(info: dict[str, Any], dest: Path) -> None:
    dropped = info["dropped"]
    click.echo(
        f"{dest}: {info['train']} photos for training, {info['validation']} for validation, "
        f"{info['test']} for test; dropped {dropped['near-grey']} near-grey (mean chroma below "
        f"{info['min_chroma']:g}), {dropped['unreadable']} unreadable and {dropped['duplicate']} "
        "duplicate"
    )
    if dropped["small"]:
        click.echo(f"dropped {dropped['small']} smaller than {info['size']} px")
    if info["smaller"]:
        action = "enlarged" if info["small"] == "enlarge" else "kept"
        click.echo(f"{action} {info['smaller']} smaller than {info['size']} px")
    if any(dropped.values()) or info["smaller"]:
        click.echo(f"{dest / 'problems.csv'} names them")
