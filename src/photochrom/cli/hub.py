"""The commands that exchange runs with a hub of models."""

from pathlib import Path

import click

from photochrom.cli.extras import need
from photochrom.path_types import DIRECTORY


@click.group()
def hub() -> None:
    """Upload runs to the Hugging Face hub, and download them."""


@hub.command()
@click.argument("run", type=DIRECTORY)
@click.argument("repository", metavar="OWNER/NAME")
@click.option(
    "--licence",
    required=True,
    metavar="NAME",
    help="Licence of the weights as the hub names it, such as apache-2.0 or cc-by-nc-4.0.",
)
@click.option("--onnx", is_flag=True, help="Also export the run and upload model.onnx.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def push(run: Path, repository: str, *, licence: str, onnx: bool, private: bool) -> None:
    """Upload a run with a generated model card.

    Uploads recipe, weights, and metrics and scores if it was evaluated; scores have the names of
    the photos. Log in first with `hf auth login`.
    """
    need("train")
    from photochrom.training.hub import push as upload

    click.echo(upload(run, repository, licence=licence, onnx=onnx, private=private))


@hub.command()
@click.argument("repository", metavar="OWNER/NAME")
@click.argument("dest", type=DIRECTORY)
@click.option("--revision", metavar="NAME", help="Branch, tag or commit. Default: the newest.")
@click.option(
    "--allow-imports",
    is_flag=True,
    help="Let the recipe import networks and losses of other installed packages.",
)
def pull(repository: str, dest: Path, *, revision: str | None, allow_imports: bool) -> None:
    """Download a run to DEST, a new run directory.

    Every command takes it that takes a run, and so does initialization.generator_weights. It
    cannot be resumed.
    """
    need("train")
    from photochrom.training.hub import pull as download

    commit = download(repository, dest, revision=revision, allow_imports=allow_imports)
    click.echo(f"{dest}: {repository} at commit {commit}; photochrom evaluate {dest} --data DIR")
