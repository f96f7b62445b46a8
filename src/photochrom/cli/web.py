"""`photochrom web`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.extras import need
from photochrom.cli.rendering_options import device_option
from photochrom.cli.server import address_options, allowed_hosts, serve
from photochrom.path_types import PATH

if TYPE_CHECKING:
    from photochrom.server.connections import Network


@click.command()
@address_options(8000)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M",
    type=PATH,
    help="An ONNX file; give several for a choice. Default: the default model of photochrom.",
)
@device_option
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. Default: one for each core.")
@click.option(
    "--max-megabytes",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="Maximum size of an upload. Default: 200.",
)
@click.option(
    "--max-disk-megabytes",
    type=click.FloatRange(0, min_open=True),
    metavar="MB",
    help="Maximum size of all uploads and results. Default: 8000.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of pixels of a photo. Default: 100 million.",
)
@click.option(
    "--waiting",
    "max_waiting",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of photos that wait; more get status 503. Default: 64.",
)
@click.option(
    "--seconds",
    "timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Timeout for one photo. Default: 120.",
)
@click.option(
    "--browser/--no-browser",
    default=True,
    help="Whether to open the page in a browser. Default: yes, if the command is typed into a "
    "terminal on a computer with a display, and not with --host or --root-path.",
)
def web(
    host: str,
    port: int,
    names: tuple[str, ...],
    proxies: "tuple[Network, ...]",
    models: tuple[Path, ...],
    device: str,
    jobs: int | None,
    max_megabytes: float | None,
    max_disk_megabytes: float | None,
    root_path: str,
    browser: bool,
    **options: Any,
) -> None:
    """Serve a web page and an HTTP API that colorize photos.

    The address is printed and opened in a browser. Ctrl-C stops the server and deletes its photos.
    """
    need("web")
    from photochrom.web.app import create_app
    from photochrom.web.limits import Limits

    limits = {name: value for name, value in options.items() if value is not None}
    if max_megabytes is not None:
        limits["max_bytes"] = int(max_megabytes * 1e6)
    if max_disk_megabytes is not None:
        limits["max_disk_bytes"] = int(max_disk_megabytes * 1e6)
    app = create_app(
        models or (None,),
        device=device,
        limits=Limits(**limits),
        hosts=allowed_hosts(names, host),
        processes=jobs,
    )
    serve(app, host, port, proxies=proxies, root_path=root_path, browser=browser)
