"""The options and the start of an HTTP server: `photochrom web`, `photochrom study serve`."""

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from photochrom.errors import PhotochromError

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def address_options(port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --host, --port and --name to a command.

    Args:
        port: The default port.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        name = click.option(
            "--name",
            "names",
            multiple=True,
            metavar="HOST",
            help="A host name that browsers use, besides localhost and IP addresses.",
        )
        port_option = click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=port,
            show_default=True,
            help="0: any free port.",
        )
        host = click.option("--host", default="127.0.0.1", show_default=True)
        return host(port_option(name(command)))

    return add


def allowed_hosts(names: tuple[str, ...], host: str) -> list[str] | None:
    """Return the `hosts` of `RequestGuard` for the options --name and --host."""
    from photochrom.server.guard import LOOPBACK_HOSTS

    return [*names, host, *LOOPBACK_HOSTS] if names else None


def serve(app: "ASGIApp", host: str, port: int) -> None:
    """Serve an application until Ctrl-C; its URL is printed.

    Raises:
        PhotochromError: If the address cannot be bound.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual_stack = host == "::" and socket.has_dualstack_ipv6()
    try:
        with socket.create_server(
            (host, port), family=family, backlog=256, dualstack_ipv6=dual_stack
        ) as listener:
            click.echo(f"http://{_public_host(host)}:{listener.getsockname()[1]}/", err=True)
            if host not in ("127.0.0.1", "localhost", "::1"):
                click.echo("everybody who can reach this computer can use it", err=True)
            config = uvicorn.Config(
                app,
                access_log=False,  # visitors' addresses are private
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=3,
            )
            uvicorn.Server(config).run(sockets=[listener])
    except OSError as error:
        raise PhotochromError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; give another --port"
        ) from error


def _public_host(host: str) -> str:
    """Return the host part of the URL; for a wildcard address, this computer's own address."""
    if host in ("0.0.0.0", "::"):
        with (
            contextlib.suppress(OSError),  # no network
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect(("10.255.255.255", 1))  # selects a route; UDP sends nothing here
            host = probe.getsockname()[0]
    return f"[{host}]" if ":" in host else host
