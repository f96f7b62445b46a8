"""Helpers for the tests of the servers."""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from PIL import Image

from photochrom.server.connections import create_server
from photochrom.web.service import Service


def make_jpeg(width: int = 80, height: int = 60, **options: object) -> bytes:
    """Return a grey JPEG."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def get_service(app: FastAPI) -> Service:
    """Return the service of an application of `photochrom web`."""
    service: Service = app.state.service
    return service


@contextlib.contextmanager
def run_server(app: Any, **options: Any) -> Iterator[str]:
    """Serve an application in a thread and yield its URL.

    Args:
        app: An ASGI application.
        options: Of `create_server`.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = create_server(app, **options)
        server.config.timeout_graceful_shutdown = 1  # of requests that a test left unfinished
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.02)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
