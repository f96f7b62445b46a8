"""`photochrom web`."""

from pathlib import Path
from typing import Any

import click

from photochrom.cli.extras import need
from photochrom.cli.server import address_options, allowed_hosts, serve


@click.command()
@address_options(8000)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M",
    type=click.Path(path_type=Path),
    help="An ONNX file to offer, or several; else the model that comes with photochrom.",
)
@click.option("--device", metavar="D", default="auto", help="auto, cpu, cuda, coreml or directml.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes; else one for each core.")
@click.option(
    "--max-megabytes",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="Refuse a larger file; 200 if not given.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    help="Refuse a photo of more; 100 million if not given.",
)
@click.option(
    "--waiting",
    type=click.IntRange(1),
    metavar="N",
    help="Photos that may wait; further ones are sent away for a while; 64 if not given.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Give a photo up after so long; 120 if not given.",
)
def web(
    host: str,
    port: int,
    names: tuple[str, ...],
    models: tuple[Path, ...],
    device: str,
    jobs: int | None,
    max_pixels: int | None,
    max_megabytes: float | None,
    **limits: Any,
) -> None:
    """Open a page that colorizes, for people, and an HTTP API, for programs.

    The address is printed; Ctrl-C ends it, and the photos on it are forgotten.
    """
    need("web")
    from photochrom.web.app import create_app
    from photochrom.web.service import Limits

    limits["megabytes"] = max_megabytes
    limits["megapixels"] = None if max_pixels is None else max_pixels / 1e6
    given = {name: value for name, value in limits.items() if value is not None}
    app = create_app(
        models or (None,),
        device=device,
        limits=Limits(**given),
        hosts=allowed_hosts(names, host),
        processes=jobs,
    )
    serve(app, host, port)
