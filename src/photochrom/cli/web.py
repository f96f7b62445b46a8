"""`photochrom web`, and what it shares with `photochrom study serve`."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from photochrom.cli.extras import need
from photochrom.errors import PhotochromError

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def address_options(port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds the options of where a server listens.

    Args:
        port: The one that is taken unasked.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(
            [
                click.option("--host", default="127.0.0.1", show_default=True),
                click.option(
                    "--port",
                    type=click.IntRange(0, 65535),
                    default=port,
                    show_default=True,
                    help="0: any free one.",
                ),
                click.option(
                    "--name",
                    "names",
                    multiple=True,
                    metavar="HOST",
                    help="A name by which browsers may call it, besides localhost and addresses.",
                ),
            ]
        ):
            command = option(command)
        return command

    return add


def hosts_for(names: tuple[str, ...], host: str) -> list[str] | None:
    """Return what `Guard` is to take for hosts: None unless names were given."""
    from photochrom.web.guard import LOOPBACK

    return [*names, host, *LOOPBACK] if names else None


def serve(app: "ASGIApp", host: str, port: int) -> None:
    """Serve an application until Ctrl-C, and say where.

    Raises:
        OSError: If the port is taken.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        with socket.create_server(
            (host, port), family=family, backlog=256, dualstack_ipv6=both
        ) as listening:
            click.echo(f"http://{_reached(host)}:{listening.getsockname()[1]}/", err=True)
            if host not in ("127.0.0.1", "localhost", "::1"):
                click.echo("everybody who can reach this computer can use it", err=True)
            config = uvicorn.Config(
                app,
                access_log=False,  # who came is nobody's business
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=3,
            )
            uvicorn.Server(config).run(sockets=[listening])
    except OSError as error:
        raise PhotochromError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; give another --port"
        ) from error


def _reached(host: str) -> str:
    """Return how others call what listens at an address; of all addresses, this computer's own."""
    import socket

    if host in ("0.0.0.0", "::"):
        with (
            contextlib.suppress(OSError),  # no network
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as looking,
        ):
            looking.connect(("10.255.255.255", 1))  # which sends nothing
            host = looking.getsockname()[0]
    return f"[{host}]" if ":" in host else host


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
        hosts=hosts_for(names, host),
        processes=jobs,
    )
    serve(app, host, port)
