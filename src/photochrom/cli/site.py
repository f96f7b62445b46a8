"""`photochrom site`."""

from pathlib import Path

import click

from photochrom.cli.extras import need
from photochrom.cli.text import printable
from photochrom.path_types import PATH


@click.command()
@click.argument("folder", type=PATH, metavar="DEST")
@click.option(
    "--model",
    metavar="M",
    type=PATH,
    help="An ONNX file. Default: the default model of photochrom.",
)
def site(folder: Path, model: Path | None) -> None:
    """Write the page as a static site, which colorizes in the visitor's browser.

    DEST is a new folder, or one with a former site, which is replaced. Put it on any web server, or
    run `python -m http.server` in it.
    """
    need("web")
    from photochrom.site.writing import write_site

    write_site(folder, model)
    click.echo(f"Wrote {printable(folder)}.")
