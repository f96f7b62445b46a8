"""uvicorn with what it lacks: deadlines and limits of connections, and a quiet end on a signal."""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from photochrom.server.guard import client_network

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_CONNECTIONS = 512
MAX_CLIENT_CONNECTIONS = 128
TIMEOUT = 30.0
"""Seconds for a request's header, and for a client to read `MIN_READ` of a response."""
MIN_READ = 32_000
"""Bytes, of the 64 KiB or more that a client has yet to read when its timer starts."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Connection(H11Protocol):
    """A connection that is closed if its header takes too long, or its client reads too slowly.

    If there are too many connections, the one that has waited longest for a header, or was refused,
    is closed for a new one. uvicorn has neither: connections without a header would use up all file
    descriptors, and clients that do not read would keep their results on the disk.
    """

    proxies: Sequence[Network] = ()
    """Addresses whose connections are those of many clients."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start, or close the connection if there are too many."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self.network = client_network(self.client[0] if self.client else "")
        others = [c for c in self.connections if isinstance(c, Connection) and c is not self]
        of_client = [other for other in others if other.network == self.network]
        if any(_is_in(self.client, proxy) for proxy in self.proxies):
            of_client = []
        for group, limit in ((of_client, MAX_CLIENT_CONNECTIONS), (others, MAX_CONNECTIONS)):
            if len(group) >= limit:
                waiting = [other for other in group if other.is_waiting() or other.is_refused()]
                min(waiting, key=lambda other: other.waiting_since, default=self).abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._unwatch()

    def data_received(self, data: bytes) -> None:
        """Process bytes of the client."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        self._watch()

    def is_waiting(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def is_refused(self) -> bool:
        """Return whether the response was sent before the request, of which no more is used."""
        return self.cycle is not None and self.cycle.response_started and self.cycle.more_body

    def abort(self) -> None:
        """Close the connection at once; what was not sent is lost."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        """Start the timer, or stop it while the server works."""
        if not (self.is_waiting() or self.flow.write_paused):
            self._unwatch()
        elif self._timer is None:
            self._start_timer()

    def _start_timer(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(TIMEOUT, self._time_out)

    def _time_out(self) -> None:
        """Close the connection, or go on if the client reads."""
        if self._unread - self.transport.get_write_buffer_size() < MIN_READ:
            self.abort()
        else:
            self._start_timer()

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_in(client: tuple[str, int] | None, network: Network) -> bool:
    try:
        return client is not None and ipaddress.ip_address(client[0]) in network
    except ValueError:
        return False


class Server(uvicorn.Server):
    """A server that every usual signal ends in the same way: without an exception or a message."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        """Create a server.

        Args:
            config: Of uvicorn.
            on_started: Called when the server answers requests.
        """
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and listen."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End the server by SIGINT, SIGTERM, or SIGHUP, which a closed terminal sends.

        uvicorn does not know SIGHUP, skips the end of the application at a second Ctrl-C, and
        raises the signal again.
        """
        if threading.current_thread() is not threading.main_thread():  # where no signal arrives
            yield
            return

        def stop(_: int, __: FrameType | None) -> None:
            self.should_exit = True

        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        # A signal that is ignored, as SIGHUP under nohup, stays so.
        numbers = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        former = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def create_server(
    app: Any,
    *,
    proxies: Sequence[Network] = (),
    root_path: str = "",
    on_started: Callable[[], object] = lambda: None,
) -> Server:
    """Return a server; `run(sockets=[listener])` runs it until a signal.

    Args:
        app: An ASGI application.
        proxies: Addresses that are trusted to name the client in X-Forwarded-For, and its scheme in
            X-Forwarded-Proto.
        root_path: The path of the application at the proxy, which strips it from requests.
        on_started: Called when the server answers requests.
    """
    _raise_file_limit()
    proxies = [*proxies, *(_mapped(network) for network in proxies if network.version == 4)]
    config = uvicorn.Config(
        app,
        http=type("_Connection", (Connection,), {"proxies": proxies}),
        ws="none",
        access_log=False,  # visitors' addresses are private
        log_level="error",  # a client's invalid request is only a warning
        server_header=False,
        root_path=root_path,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=[str(network) for network in proxies],
        timeout_graceful_shutdown=3,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_error)
    return Server(config, on_started)


def _mapped(network: Network) -> Network:
    """Return an IPv4 network as a server sees it that listens at an IPv6 address."""
    return ipaddress.ip_network(f"::ffff:{network.network_address}/{96 + network.prefixlen}")


def _is_error(record: logging.LogRecord) -> bool:
    """Return whether a message of uvicorn is not about requests that the end cuts off."""
    cancelled = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cancelled and not record.getMessage().startswith("Cancel ")


def _raise_file_limit() -> None:
    """Allow a file and a socket for each connection, where the system's default is too low."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * MAX_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
