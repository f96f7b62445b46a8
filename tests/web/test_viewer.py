"""The viewer of the page of `photochrom web` in a browser."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from support.browser import needs_browser
from support.web_page import add_files, wait_for, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser


@pytest.fixture
def light_and_dark(tmp_path: Path) -> list[Path]:
    """Two grey photos whose thumbnails and pictures differ in lightness and in shape."""
    paths = [tmp_path / "light.png", tmp_path / "dark.png"]
    Image.new("L", (240, 180), 220).save(paths[0])
    Image.new("L", (180, 240), 40).save(paths[1])
    return paths


def lightness(page: "Page") -> float:
    pixels = Image.open(io.BytesIO(page.locator("#frame").screenshot())).convert("L")
    return float(np.asarray(pixels)[30:-30, 30:60].mean())


def delay(page: "Page", pattern: str) -> Callable[[], None]:
    """Hold back the responses until the returned function is called."""
    held: list[Any] = []
    page.route(pattern, lambda route: held.append(route))

    def release() -> None:
        for route in held:
            route.continue_()
        page.unroute(pattern)

    return release


def test_other_photo_is_shown_at_once(page: "Page", light_and_dark: list[Path]):
    add_files(page, *light_and_dark)
    wait_until_ready(page, 2)
    page.get_by_role("option", name="light.png").click()
    page.get_by_role("img", name="light.png, in colour").wait_for()
    page.locator(".thumbnail img.colored").nth(1).wait_for()
    release_before = delay(page, "**/before*")
    release_after = delay(page, "**/after?*")
    page.get_by_role("option", name="dark.png").click()
    assert page.get_by_role("img", name="dark.png, original").count() == 1
    assert page.locator("#frame [role=img], #frame img").count() == 1
    assert lightness(page) < 80
    release_before()
    page.locator("#before img").wait_for()
    assert not page.locator("#compare").is_visible()
    page.locator("#busy").wait_for()
    release_after()
    page.get_by_role("img", name="dark.png, in colour").wait_for()
    assert page.locator("#compare").is_visible()
    assert not page.locator("#busy").is_visible()


def test_error_is_not_shown_over_another_photo(
    page: "Page", light_and_dark: list[Path], tmp_path: Path
):
    invalid = tmp_path / "notes.jpg"
    invalid.write_text("this is not a photo")
    add_files(page, light_and_dark[0], invalid)
    page.locator(".thumbnail[data-status=failed]").wait_for()
    page.get_by_role("option", name="light.png").click()
    wait_for_colour(page)
    page.get_by_role("option", name="notes.jpg").click()
    assert page.locator("#error").is_visible()
    assert not page.locator("#frame").is_visible()
    assert page.locator("#placeholder").inner_text() == "JPG"


def test_pictures_are_kept_in_memory(page: "Page", light_and_dark: list[Path]):
    add_files(page, *light_and_dark)
    wait_until_ready(page, 2)
    for name in ("dark.png", "light.png"):
        page.get_by_role("option", name=name).click()
        page.get_by_role("img", name=f"{name}, in colour").wait_for()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_role("option", name="dark.png").click()
    assert page.get_by_role("img", name="dark.png, in colour").count() == 1
    assert [url for url in requests if "/after" in url or "/before" in url] == []


def test_kept_pictures_are_bounded(page: "Page"):
    """The least recently used are dropped, and those of a removed photo."""
    image = io.BytesIO()
    Image.new("L", (2000, 2000)).save(image, "PNG")
    requests: list[str] = []

    def answer(route: Any) -> None:
        requests.append(route.request.url[-1])
        route.fulfill(body=image.getvalue(), content_type="image/png")

    page.route("**/photos/*/after*", answer)
    page.evaluate(
        """async () => {
            const { picture, forgetPictures } = await import("/static/pictures.js");
            const load = (name) => picture(`/photos/a/after?${name}`);
            for (const name of "0123456789abcd" + "0d") await load(name);
            forgetPictures({ id: "a" });
            await load("d");
        }"""
    )
    assert "".join(requests) == "0123456789abcd" + "0" + "d"


def test_requests_of_a_left_photo_are_aborted(page: "Page", light_and_dark: list[Path]):
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    release = delay(page, "**/after?*")
    add_files(page, *light_and_dark)
    wait_until_ready(page, 2)
    page.get_by_role("img", name="light.png, original").wait_for()
    wait_for(page, lambda: page.locator("#busy").is_visible())
    page.get_by_role("option", name="dark.png").click()
    wait_for(page, lambda: any("/after" in url for url in failed))
    page.get_by_role("img", name="dark.png, original").wait_for()
    release()
    page.get_by_role("img", name="dark.png, in colour").wait_for()


def test_last_good_picture_stays_after_an_error(page: "Page", light_and_dark: list[Path]):
    add_files(page, light_and_dark[0])
    wait_for_colour(page)
    page.route(
        "**/after?*", lambda route: route.fulfill(status=400, json={"detail": "it is too large"})
    )
    page.fill("#option-saturation", "0.5")
    page.locator("#option-saturation").dispatch_event("change")
    page.get_by_role("alert").filter(has_text="it is too large").wait_for()
    assert page.get_by_role("img", name="light.png, in colour").count() == 1
    page.unroute("**/after?*")
    with page.expect_response("**/after?*"):
        page.fill("#option-saturation", "0.6")
        page.locator("#option-saturation").dispatch_event("change")
