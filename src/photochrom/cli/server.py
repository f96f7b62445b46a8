"""The options and the start of an HTTP server: `photochrom web`, `photochrom study serve`."""

import contextlib
import functools
import io
import ipaddress
import os
import re
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from photochrom.errors import PhotochromError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from photochrom.server.connections import Network

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1", "[::1]")


def address_options(port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --host, --port, --name, --proxy and --root-path.

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
        proxy = click.option(
            "--proxy",
            "proxies",
            multiple=True,
            metavar="ADDRESS",
            callback=_parse_networks,
            help="A reverse proxy, or a network such as 10.0.0.0/8, that names the client in "
            "X-Forwarded-For. Limits count each client behind it.",
        )
        root_path = click.option(
            "--root-path",
            default="",
            metavar="PATH",
            callback=_parse_root_path,
            help="Path of the page at a reverse proxy that strips it, such as /photos.",
        )
        return host(port_option(name(proxy(root_path(command)))))

    return add


def _parse_root_path(_: click.Context, __: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"(/[\w.~-]+)+/?", value, re.ASCII):
        raise click.BadParameter(f"{value!r} is not a path such as /photos")
    return value.rstrip("/")


def _parse_networks(
    _: click.Context, __: click.Parameter, values: tuple[str, ...]
) -> "tuple[Network, ...]":
    try:
        return tuple(ipaddress.ip_network(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(
            f"{error}; give an IP address such as 127.0.0.1, or a network such as 10.0.0.0/8"
        ) from error


def allowed_hosts(names: tuple[str, ...], host: str) -> list[str]:
    """Return the `hosts` of `RequestGuard` for the options --name and --host."""
    return [*names, host, "localhost"]


def serve(
    app: "ASGIApp",
    host: str,
    port: int,
    *,
    proxies: "Sequence[Network]" = (),
    root_path: str = "",
    browser: bool = False,
) -> None:
    """Serve an application until Ctrl-C; its URL is printed.

    A server that is stopped by a signal has done what it should: the exit code is 0.

    Args:
        app: The application.
        host: The address to listen at. For one in the network, a QR code of the URL is printed too.
        port: 0: any free port.
        proxies: As for `create_server`.
        root_path: As for `create_server`.
        browser: Open the URL in a browser, if somebody seems to sit at this computer.

    Raises:
        PhotochromError: If the address cannot be bound.
    """
    from photochrom.server.connections import create_server

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual_stack = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server(
            (host, port), family=family, backlog=256, dualstack_ipv6=dual_stack
        )
    except OSError as error:
        raise PhotochromError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; give another --port"
        ) from error
    local = host in _LOCAL_HOSTS
    with listener:
        public = _public_host(host)
        url = f"http://{public}:{listener.getsockname()[1]}/"
        click.echo(url, err=True)
        if not local:
            click.echo("everybody who can reach this computer can use it", err=True)
        if public not in _LOCAL_HOSTS and not root_path:
            _print_qr_code(url)
        # A server for others, or behind a proxy, is used from elsewhere.
        browser = browser and local and not root_path and _has_user()
        on_started = functools.partial(_open_browser, url) if browser else lambda: None
        server = create_server(app, proxies=proxies, root_path=root_path, on_started=on_started)
        with contextlib.suppress(KeyboardInterrupt):  # before it handles signals
            server.run(sockets=[listener])
    with contextlib.suppress(OSError):  # the terminal may be closed
        after_ctrl_c = "\n" if sys.stderr.isatty() else ""  # the terminal shows ^C
        click.echo(f"{after_ctrl_c}stopped", err=True)


def _has_user() -> bool:
    """Return whether the command was typed into a terminal on a computer with a display."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or "SSH_CONNECTION" in os.environ:
        return False
    has_display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return has_display or sys.platform in ("darwin", "win32")


def _open_browser(url: str) -> None:
    """Open a URL, without waiting for the browser."""
    threading.Thread(target=webbrowser.open, args=(url,), name="browser", daemon=True).start()


def _print_qr_code(url: str) -> None:
    """Print a QR code of a URL on a terminal that can show it, for a phone's camera."""
    import segno

    text = io.StringIO()
    segno.make(url, micro=False).terminal(text, compact=True, border=2)
    try:
        text.getvalue().encode(sys.stderr.encoding)
    except UnicodeEncodeError:
        return
    if sys.stderr.isatty():
        for line in text.getvalue().splitlines():
            click.secho(line, fg="bright_white", bg="black", err=True)


def _public_host(host: str) -> str:
    """Return the host part of the URL; for a wildcard address, this computer's own address."""
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
        with (
            contextlib.suppress(OSError),  # no network
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect(("10.255.255.255", 1))  # selects a route; UDP sends nothing here
            host = probe.getsockname()[0]
    return f"[{host}]" if ":" in host else host
