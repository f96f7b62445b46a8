"""The first load of the site in Chromium, and its later versions."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from photochrom.site.writing import write_site
from support.browser import needs_browser
from support.models import write_model
from support.site import FOLDER, FileServer, needs_site, serve_folder
from support.web_page import add_files, wait_for, wait_for_colour

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    Visit = Callable[..., Page]

pytestmark = [needs_browser, needs_site, pytest.mark.slow]


@pytest.fixture
def blank(visit: "Visit") -> "Page":
    """A new visitor who has not opened the site yet."""
    return visit("about:blank")


@pytest.fixture
def own_server(files: Path, tmp_path: Path) -> Iterator[FileServer]:
    """A server of a site that the test may change, in the folder `root` of `tmp_path`."""
    shutil.copytree(files, tmp_path / "root")
    with serve_folder(tmp_path / "root") as server:
        yield server


def read_caches(page: "Page") -> list[str]:
    names: list[str] = page.evaluate("caches.keys()")
    return names


def is_installing(page: "Page") -> bool:
    """Return whether a new service worker is loading its files."""
    script = "navigator.serviceWorker.getRegistration().then(({ installing }) => installing)"
    return page.evaluate(script) is not None


def test_photos_can_be_chosen_while_the_engine_is_loading(
    blank: "Page", server: FileServer, photos: list[Path]
):
    held: list[Route] = []
    blank.route("**/model.onnx*", lambda route: held.append(route))
    blank.goto(server.url + FOLDER)
    progress = blank.get_by_role("progressbar", name="Loading the colorizer")
    progress.wait_for()
    wait_for(blank, lambda: progress.evaluate("bar => bar.value > 0 && bar.value < bar.max"))
    add_files(blank, photos[0])
    blank.get_by_role("option", name=photos[0].name).wait_for()
    held[0].continue_()
    wait_for_colour(blank)
    progress.wait_for(state="hidden")


def test_failed_load_is_said_and_tried_again(
    blank: "Page", server: FileServer, expected_messages: list[str]
):
    expected_messages.append("Failed to load resource")
    requests: list[str] = []
    blank.on("request", lambda request: requests.append(request.url))
    blank.route("**/model.onnx*", lambda route: route.fulfill(body="log in first"))
    blank.goto(server.url + FOLDER)
    message = blank.get_by_role("alert").filter(has_text="check the connection")
    message.wait_for()
    blank.unroute("**/model.onnx*")
    blank.route("**/model.onnx*", lambda route: route.abort())
    blank.get_by_role("button", name="Try again").click()
    wait_for(blank, lambda: sum("model.onnx" in url for url in requests) == 2)
    message.wait_for()
    blank.unroute("**/model.onnx*")
    blank.evaluate("window.dispatchEvent(new Event('online'))")
    blank.locator("#engine").wait_for(state="hidden")
    assert sum("ort.wasm.gzip" in url for url in requests) == 1


def test_engine_is_loaded_once(blank: "Page", own_server: FileServer, tmp_path: Path):
    blank.goto(own_server.url + FOLDER)
    blank.locator("#offline-note").wait_for()
    for name in ("model.onnx", "ort.wasm.gzip"):
        (size,) = [size for path, size in own_server.sent.items() if name in path]
        assert size == (tmp_path / "root" / FOLDER / "static" / name).stat().st_size


def test_language_is_the_visitors_until_another_is_chosen(visit: "Visit", server: FileServer):
    page = visit(locale="de-AT")
    page.get_by_role("button", name="Eine Astronautin").wait_for()
    page.get_by_role("link", name="English").click()
    page.get_by_role("button", name="An astronaut").wait_for()
    page.goto(server.url + FOLDER)
    page.get_by_role("button", name="An astronaut").wait_for()
    assert page.locator("html").get_attribute("lang") == "en"
    assert "server" not in page.locator("body").inner_text().lower()
    page.goto(server.url + FOLDER + "de.html")  # an address with a language
    page.get_by_role("button", name="Eine Astronautin").wait_for()


def test_page_says_that_it_does_not_run_from_a_file(
    blank: "Page", files: Path, expected_messages: list[str]
):
    expected_messages += ["CORS policy", "Failed to load resource"]
    blank.goto((files / FOLDER / "index.html").as_uri())
    blank.get_by_role("alert").filter(has_text="python -m http.server").wait_for()


def test_page_says_that_its_script_was_not_loaded(
    blank: "Page", server: FileServer, expected_messages: list[str]
):
    expected_messages.append("Failed to load resource")
    blank.route("**/page.js*", lambda route: route.abort())
    blank.goto(server.url + FOLDER)
    blank.get_by_role("alert").filter(has_text="text/javascript").wait_for()


def test_only_offline_use_is_missing_without_https(
    chromium: "Browser", server: FileServer, photos: list[Path]
):
    context = chromium.new_context(reduced_motion="reduce")
    try:
        page = context.new_page()
        # The same server by an address that is not trusted, as one in a local network.
        page.goto(server.url.replace("127.0.0.1", "0.0.0.0") + FOLDER)
        assert page.evaluate("isSecureContext") is False
        add_files(page, photos[0])
        wait_for_colour(page)
        assert page.locator("#offline-note").is_hidden()
    finally:
        context.close()


def test_addresses_of_scripts_and_codecs_have_their_hashes(
    blank: "Page", own_server: FileServer, photos: list[Path]
):
    """So that no cache answers with a file of another version."""
    blank.goto(own_server.url + FOLDER)
    add_files(blank, photos[0])
    wait_for_colour(blank)
    blank.locator("#offline-note").wait_for()
    files = [path.rpartition("/")[2].partition("?") for path in own_server.sent]
    loaded = [(name, query) for name, _, query in files if name.endswith((".js", ".wasm"))]
    loaded.remove(("service_worker.js", ""))  # always at one address
    names = [name for name, _ in loaded]
    assert {"worker.js", "ort.js", "mozjpeg_dec.wasm", "libjpegturbowasm.wasm"} <= {*names}
    assert len(names) == len({*names})
    assert all(query.startswith("v=") for _, query in loaded)


def test_new_version_is_used_once_it_is_complete(
    blank: "Page", own_server: FileServer, tmp_path: Path
):
    site = tmp_path / "root" / FOLDER
    blank.goto(own_server.url + FOLDER)
    blank.locator("#offline-note").wait_for()
    old = read_caches(blank)
    former = (site / "static/model.onnx").read_bytes()
    model = tmp_path / "new.onnx"
    write_model(model, name="newer", scale=0.5)
    write_site(site, model)
    (site / "static/model.onnx").write_bytes(former)  # the host is being updated
    own_server.sent.clear()
    blank.reload()
    wait_for(blank, lambda: any("model.onnx" in path for path in own_server.sent))
    wait_for(blank, lambda: not is_installing(blank))
    blank.reload()
    blank.locator("#offline-note").wait_for()
    assert blank.locator("body").get_attribute("data-model") != "newer"

    (site / "static/model.onnx").write_bytes(model.read_bytes())
    blank.reload()
    changed = {"service_worker.js", "static/model.onnx", "index.html", "de.html"}

    def is_loaded() -> bool:
        loaded = {path.partition("?")[0].removeprefix(f"/{FOLDER}") for path in own_server.sent}
        assert loaded <= changed
        return loaded == changed and not is_installing(blank)

    wait_for(blank, is_loaded)
    blank.reload()
    blank.locator("#offline-note").wait_for()
    assert blank.locator("body").get_attribute("data-model") == "newer"
    (before,) = old
    assert before in read_caches(blank)  # for pages that are still open
    assert len(read_caches(blank)) == 2
