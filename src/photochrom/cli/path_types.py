"""The types of arguments and options that are paths."""

from pathlib import Path

import click

DIRECTORY = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
