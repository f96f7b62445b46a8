"""The server and the browser of the tests of the page; support/web_page.py acts on the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from photochrom.web.app import create_app
from photochrom.web.limits import Limits
from photochrom.web.service import Service
from support.browser import launch_browser
from support.photos import draw
from support.server import get_service, run_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXPECTED_MESSAGES = (
    "net::ERR_INTERNET_DISCONNECTED",
    "a status of 400",
    "a status of 404",
    "a status of 503",
    "a status of 504",
)
"""Console messages that some tests provoke."""


@pytest.fixture(scope="module")
def service(tiny_onnx: Path) -> Iterator[tuple[str, Service]]:
    """The URL of a server, and its service."""
    app = create_app(
        [tiny_onnx], limits=Limits(max_bytes=4_000_000, max_pixels=13_000_000), processes=1
    )
    with run_server(app) as address:
        yield address, get_service(app)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    with launch_browser() as chromium:
        yield chromium


@pytest.fixture
def open_page(service: tuple[str, Service], chromium: "Browser") -> Iterator[Callable[..., "Page"]]:
    """A function that opens the page in a new context; checks for errors at the end."""
    messages: list[str] = []
    requested: list[str] = []
    missing: list[str] = []
    contexts = []

    def check_status(response: Any) -> None:
        if response.status == 404 and "/photos/" not in response.url:
            missing.append(response.url)

    def open_new_page(motion: Any = "reduce", **options: Any) -> "Page":
        context = chromium.new_context(
            viewport={"width": 1280, "height": 800}, reduced_motion=motion, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.on("response", check_status)
        page.goto(service[0])
        return page

    yield open_new_page
    for context in contexts:
        context.close()
    assert [text for text in messages if not any(part in text for part in EXPECTED_MESSAGES)] == []
    assert missing == []
    prefixes = (service[0], f"blob:{service[0]}")
    assert [url for url in requested if not url.startswith(prefixes)] == []


@pytest.fixture
def page(open_page: Callable[..., "Page"]) -> "Page":
    return open_page()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three grey JPEGs, and a TIFF that browsers cannot show."""
    paths = []
    for number, name in enumerate(["grandma.jpg", "harbour.jpg", "wedding.jpeg", "scan.tif"]):
        paths.append(tmp_path / name)
        Image.fromarray(draw(180, 240 + 8 * number)).convert("L").save(paths[-1])
    return paths
