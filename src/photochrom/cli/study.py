"""The commands of the study, in which people say what they take for real."""

from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.server import address_options, allowed_hosts
from photochrom.cli.server import serve as serve_app
from photochrom.cli.text import printable
from photochrom.errors import PhotochromError

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_STUDY = click.argument("folder", type=_DIRECTORY, metavar="DIR")


@click.group()
def study() -> None:
    """Find out whether people can tell: make a study, serve it, report on it."""


@study.command()
@_STUDY
@click.option("--real", multiple=True, type=_DIRECTORY, metavar="PHOTOS", help="Colour photos.")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="M",
    help="An ONNX file, or `default`; give one for each system to be compared.",
)
@click.option(
    "--historic",
    multiple=True,
    type=_DIRECTORY,
    metavar="PHOTOS",
    help="Photos without true colours: people say which of two models looks better.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(["pair", "single", "timed"]),
    default=("pair",),
    show_default=True,
    help="How people are asked; give several to have all.",
)
@click.option("--count", type=int, metavar="N", help="Photos drawn; up to 100 if not given.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same photos.")
@click.option("--size", default=256, show_default=True, help="Short side of the pictures in px.")
@click.option("--trials", default=40, show_default=True, help="Tests of one person, at most.")
@click.option(
    "--practice", default=10, show_default=True, help="Trials with feedback before the tests."
)
@click.option("--checks", default=4, show_default=True, help="Obvious fakes among the tests.")
@click.option(
    "--seconds", default=1.0, show_default=True, help="How long each picture of a pair is shown."
)
@click.option(
    "--allowed-misses",
    default=1,
    show_default=True,
    help="Who takes more obvious fakes than this for real is not counted.",
)
@click.option(
    "--least-trials",
    default=10,
    show_default=True,
    help="Who answers fewer tests than this is not counted.",
)
@click.option("--title", help="Of the page.")
@click.option(
    "--consent", type=_FILE, metavar="FILE", help="Text that people agree to, instead of our own."
)
def new(folder: Path, title: str | None, consent: Path | None, **options: Any) -> None:
    """Make a study in the new folder DIR, from photos and the models that colorize them.

    Nobody who takes part may see the folder: study.json says which picture is whose.
    """
    from photochrom.study.creation import make_study
    from photochrom.study.trials import SETTLED, most_tests

    if title is not None:
        options["title"] = title
    if consent is not None:
        options["consent"] = _text(consent)
    made = make_study(folder, **options)
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(made.left_out.items()))
    click.echo(
        f"{folder}: {len(made.study.items)} photos, {most_tests(made.study)} tests for each person"
        f"{f'; left out {left_out}' if left_out else ''}; "
        f"show it to people: photochrom study serve {folder}"
    )
    if "timed" in made.study.protocols and most_tests(made.study) < SETTLED:
        click.echo(
            f"a threshold of timed takes about {SETTLED} tests of one person; give --trials "
            f"{SETTLED}, and photos for them",
            err=True,
        )


def _text(path: Path) -> str:
    """Return what a text file says.

    Raises:
        PhotochromError: If it cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise PhotochromError(f"cannot read {path}: {reason}") from error


@study.command()
@_STUDY
@address_options(8001)
def serve(folder: Path, host: str, port: int, names: tuple[str, ...]) -> None:
    """Show the study in DIR to people, until Ctrl-C.

    Every answer is on the disk before the next picture is shown. Nobody's address is kept.
    """
    need("web")
    from photochrom.study.app import create_app

    serve_app(create_app(folder, allowed_hosts(names, host)), host, port)


@study.command()
@_STUDY
@click.option("--out", type=_DIRECTORY, metavar="OUT", help="Where to; DIR/report if not given.")
@click.option(
    "--metrics",
    type=_FILE,
    metavar="FILE",
    help="A metrics.json of `photochrom evaluate`, to compare people with metrics.",
)
def report(folder: Path, out: Path | None, metrics: Path | None) -> None:
    """Say what came out of the study in DIR; a server may go on meanwhile."""
    need("web")
    from photochrom.study.report import write_report

    click.echo(printable(write_report(folder, out, metrics, progress=True)))
