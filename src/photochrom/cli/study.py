"""`photochrom study`: perceptual studies."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.extras import need
from photochrom.cli.server import address_options, allowed_hosts
from photochrom.cli.server import serve as serve_app
from photochrom.cli.text import printable
from photochrom.errors import PhotochromError
from photochrom.path_types import DIRECTORY, FILE

if TYPE_CHECKING:
    from photochrom.server.connections import Network

_WATCH_SECONDS = 5
_STUDY = click.argument("folder", type=DIRECTORY, metavar="DIR")


@click.group()
def study() -> None:
    """Test whether people can tell generated photos from real ones."""


@study.command()
@_STUDY
@click.option("--real", multiple=True, type=DIRECTORY, metavar="PHOTOS", help="Colour photos.")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="M",
    help="An ONNX file, or `default`; repeat it for each system to compare.",
)
@click.option(
    "--historic",
    multiple=True,
    type=DIRECTORY,
    metavar="PHOTOS",
    help="Photos without true colours; participants say which of two models looks better.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(["pair", "single", "timed"]),
    default=("pair",),
    show_default=True,
    help="Task of the participants; repeat it for several.",
)
@click.option("--count", type=int, metavar="N", help="Number of photos; default: at most 100.")
@click.option("--seed", default=0, show_default=True, help="Seed of the choice of photos.")
@click.option("--size", default=256, show_default=True, help="Short side of the images in px.")
@click.option(
    "--trials", default=40, show_default=True, help="Maximum number of test trials per participant."
)
@click.option("--practice", default=10, show_default=True, help="Practice trials, with feedback.")
@click.option("--checks", default=4, show_default=True, help="Attention checks (obvious fakes).")
@click.option("--seconds", default=1.0, show_default=True, help="Exposure of each image of a pair.")
@click.option(
    "--allowed-misses",
    default=1,
    show_default=True,
    help="Exclude participants who fail more attention checks.",
)
@click.option(
    "--least-trials",
    default=10,
    show_default=True,
    help="Exclude participants who respond to fewer test trials.",
)
@click.option(
    "--least-reaction-ms",
    default=200.0,
    show_default=True,
    help="Leave out responses sooner than this after the image appeared; 0: none.",
)
@click.option(
    "--color-vision",
    type=click.Choice(["exclude", "include", "unasked"]),
    default="exclude",
    show_default=True,
    help="What to do with participants who report a colour-vision deficiency.",
)
@click.option("--title", help="Title of the page.")
@click.option("--consent", type=FILE, metavar="FILE", help="Consent text, instead of the default.")
def new(folder: Path, title: str | None, consent: Path | None, **options: Any) -> None:
    """Create a study in the new folder DIR from photos and the models that colorize them.

    Keep the folder from participants: study.json reveals which images are real.
    """
    from photochrom.study.creation import create_study
    from photochrom.study.trials import CONVERGENCE_TESTS, count_tests

    if title is not None:
        options["title"] = title
    if consent is not None:
        options["consent"] = _read_text(consent)
    created = create_study(folder, **options)
    tests = count_tests(created)
    skipped = ", ".join(f"{n} {reason}" for reason, n in (created.skipped or {}).items())
    click.echo(
        f"{folder}: {len(created.items)} photos, {tests} test trials per participant"
        f"{f'; skipped {skipped}' if skipped else ''}; "
        f"next: photochrom study serve {folder}"
    )
    if "timed" in created.protocols and tests < CONVERGENCE_TESTS:
        click.echo(
            f"a threshold of timed needs about {CONVERGENCE_TESTS} test trials per participant; "
            f"give --trials {CONVERGENCE_TESTS}, and as many photos",
            err=True,
        )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PhotochromError(f"cannot read {path}: {reason}") from error


@study.command()
@_STUDY
@address_options(8001)
def serve(
    folder: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    proxies: "tuple[Network, ...]",
    root_path: str,
) -> None:
    """Serve the study in DIR to participants, until Ctrl-C.

    Every response is on disk before the next trial begins. Network addresses are not stored.
    """
    need("web")
    from photochrom.study.app import create_app

    app = create_app(folder, allowed_hosts(names, host))
    serve_app(app, host, port, proxies=proxies, root_path=root_path)


@study.command()
@_STUDY
@click.option("--watch", is_flag=True, help="Print it again every 5 seconds, until Ctrl-C.")
def status(folder: Path, watch: bool) -> None:
    """Print how many participants and responses the study in DIR has; it shows no results.

    Active: a request within 30 minutes. Left: none, and trials remain.
    """
    from photochrom.study.design import RESPONSE_FILE, load_study
    from photochrom.study.status import format_status
    from photochrom.study.store import Store

    design = load_study(folder)
    with Store(folder / RESPONSE_FILE, read_only=True) as store:
        while True:
            text = format_status(design, *store.read())
            if watch:
                click.clear()
            click.echo(text)
            if not watch:
                return
            try:
                time.sleep(_WATCH_SECONDS)
            except KeyboardInterrupt:
                return


@study.command()
@_STUDY
@click.argument("code")
def withdraw(folder: Path, code: str) -> None:
    """Delete what the study in DIR stores about the participant who has CODE.

    The study may be running. Only the number of participants who withdrew is kept.
    """
    from photochrom.study.design import RESPONSE_FILE, load_study
    from photochrom.study.store import Store
    from photochrom.study.text import count_noun

    load_study(folder)
    with Store(folder / RESPONSE_FILE) as store:
        participant = store.find_code(code)
        if participant is None:
            raise PhotochromError(
                f"no participant of {folder} has the code {code}; check it, a code has 8 letters "
                "and digits, or the participant has withdrawn already"
            )
        deleted = store.withdraw(participant)
    click.echo(
        f"deleted a participant with {count_noun(deleted, 'response')}; a report written before "
        f"still has them, so write it again: photochrom study report {folder}"
    )


@study.command()
@_STUDY
@click.option(
    "--out", type=DIRECTORY, metavar="OUT", help="Folder of the report; default: DIR/report."
)
@click.option(
    "--metrics",
    type=FILE,
    metavar="FILE",
    help="A metrics.json of `photochrom evaluate`, to compare with the fooling rates.",
)
@click.option(
    "--least-responses",
    default=5,
    show_default=True,
    metavar="N",
    help="Fewer responses keep an image off the lists of highest and lowest fooling rates.",
)
def report(folder: Path, out: Path | None, metrics: Path | None, least_responses: int) -> None:
    """Write the report of the study in DIR; the study may be running."""
    need("web")
    from photochrom.study.report import write_report

    path = write_report(folder, out, metrics, least_responses=least_responses, progress=True)
    click.echo(printable(path))
