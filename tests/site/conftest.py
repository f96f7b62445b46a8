"""Two sites, their servers and their visitors; support/web_page.py acts on the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from photochrom.site.writing import write_site
from support.browser import launch_browser
from support.models import write_model
from support.photos import draw
from support.site import FOLDER, FileServer, refuse_connections, serve_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes hints, and whose colours differ in a mirrored photo."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_model(path, hints=3, scale=2, asymmetry=0.003, size="64")
    return path


@pytest.fixture(scope="session")
def files(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a server, with the site of `model` in a folder of it."""
    root = tmp_path_factory.mktemp("tiny")
    write_site(root / FOLDER, model)
    return root


@pytest.fixture(scope="session")
def default_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a server, with the site of the default model in a folder of it."""
    root = tmp_path_factory.mktemp("default")
    write_site(root / FOLDER)
    return root


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[FileServer]:
    with serve_folder(files) as server:
        yield server


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    with launch_browser() as chromium:
        yield chromium


@pytest.fixture
def expected_messages() -> list[str]:
    """Parts of the console messages that a test provokes; it appends them."""
    return []


@pytest.fixture
def visit(
    server: FileServer, chromium: "Browser", expected_messages: list[str]
) -> Iterator[Callable[..., "Page"]]:
    """A function that opens the site as a new visitor.

    At the end nothing was written to the console, and no other host was asked for anything.
    """
    messages: list[str] = []
    contexts = []
    with refuse_connections() as (proxy, requests):

        def open_site(url: str = server.url + FOLDER, **options: Any) -> "Page":
            context = chromium.new_context(
                viewport={"width": 1280, "height": 800},
                reduced_motion="reduce",
                proxy={"server": proxy, "bypass": "127.0.0.1"},
                **options,
            )
            contexts.append(context)
            context.set_default_timeout(60_000)
            context.on("console", lambda m: messages.append(f"{m.text} {m.location['url']}"))
            context.on("weberror", lambda error: messages.append(str(error.error)))
            page = context.new_page()
            page.goto(url)
            return page

        yield open_site
        for context in contexts:
            context.close()
    unexpected = [text for text in messages if not any(part in text for part in expected_messages)]
    assert unexpected == []
    assert requests == []


@pytest.fixture
def page(visit: Callable[..., "Page"]) -> "Page":
    return visit()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three grey photos, of which the last is a PNG."""
    paths = []
    for number, name in enumerate(["grandma.jpg", "harbour.jpeg", "wedding.png"]):
        paths.append(tmp_path / name)
        Image.fromarray(draw(180, 240 + 8 * number)).convert("L").save(paths[-1])
    return paths
