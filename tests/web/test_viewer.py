"""The viewer of the page of `photochrom web` in a browser."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from support.browser import needs_browser
from support.photos import draw
from support.web_page import (
    add_files,
    click,
    read_split,
    tap,
    wait_for,
    wait_for_colour,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, pytest.mark.slow]


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


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A grainy photo of 2400x1600, which is larger than a preview."""
    path = tmp_path / "large.png"
    smooth = np.asarray(Image.fromarray(draw(160, 240)).convert("L").resize((2400, 1600)))
    grain = np.random.default_rng(0).integers(-40, 40, smooth.shape)
    Image.fromarray((60 + smooth // 2 + grain).astype(np.uint8)).save(path)
    return path


def zoom_of(page: "Page") -> float:
    """Return the enlargement, times the size at which the whole picture fits."""
    return float(
        page.evaluate(
            "new DOMMatrix(getComputedStyle(document.getElementById('frame')).transform).a"
        )
    )


def place_of(page: "Page", selector: str = "#frame") -> dict[str, float]:
    box = page.locator(selector).bounding_box()
    assert box
    return dict(box)


def centre_of(page: "Page", selector: str = "#frame") -> tuple[float, float]:
    box = place_of(page, selector)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def divider_of(page: "Page") -> float:
    """Return the place of the divider in the window, in px."""
    return centre_of(page, "#handle")[0]


def show(page: "Page", photo: Path) -> None:
    add_files(page, photo)
    wait_for_colour(page)


class Fingers:
    """Touches of the page, by the protocol of Chromium's developer tools."""

    def __init__(self, page: "Page") -> None:
        self._session = page.context.new_cdp_session(page)

    def __call__(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        event = {"type": f"touch{kind}", "touchPoints": touches}
        self._session.send("Input.dispatchTouchEvent", event)

    def move(self, *paths: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Move one finger or more, each from one point to another."""
        self("Start", *[start for start, _ in paths])
        for step in range(1, 9):
            points = [(a + (c - a) * step / 8, b + (d - b) * step / 8) for (a, b), (c, d) in paths]
            self("Move", *points)
        self("End")


def test_only_handle_and_keys_move_the_divider(page: "Page", photo: Path):
    show(page, photo)
    x, y = centre_of(page)
    page.mouse.move(x - 100, y - 60)
    page.mouse.down()
    page.mouse.move(x + 60, y)
    page.mouse.up()
    assert read_split(page) == pytest.approx(65)
    box = place_of(page)
    page.mouse.move(*centre_of(page, "#handle"))
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], y + 80)
    page.mouse.up()
    assert read_split(page) == pytest.approx(25, abs=0.5)
    page.keyboard.press("ArrowRight")
    assert 25.5 < read_split(page) < 40
    handle = place_of(page, "#handle")
    assert min(handle["width"], handle["height"]) >= 44


def test_pointer_reaches_the_coloured_picture(page: "Page", photo: Path):
    """So that a long press, or the right button of a mouse, offers to save it."""
    show(page, photo)
    box = place_of(page)
    for part in (0.1, 0.9):
        alt = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y).alt",
            [box["x"] + part * box["width"], box["y"] + 40],
        )
        assert alt == "large.png, in colour"
    page.evaluate(  # raises if the URL from which a browser saves a picture is gone
        """async () => {
            const image = new Image();
            image.src = document.querySelector("#after img").src;
            await image.decode();
        }"""
    )


def test_wheel_zooms_at_the_pointer(page: "Page", photo: Path):
    show(page, photo)
    box = place_of(page)
    x, y = box["x"] + 0.5 * box["width"], box["y"] + 0.25 * box["height"]
    page.mouse.move(x, y)
    for _ in range(3):
        page.mouse.wheel(0, -500)
    wait_for(page, lambda: zoom_of(page) > 2.7)  # so that the picture is wider than the stage
    after = place_of(page)
    assert (x - after["x"]) / after["width"] == pytest.approx(0.5, abs=0.01)
    assert (y - after["y"]) / after["height"] == pytest.approx(0.25, abs=0.01)
    for _ in range(4):
        page.mouse.wheel(0, 500)
    wait_for(page, lambda: zoom_of(page) == 1)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -30)
    page.keyboard.up("Control")
    wait_for(page, lambda: zoom_of(page) > 1.2)


def test_wheel_scrolls_a_page_that_scrolls(page: "Page", photo: Path):
    page.set_viewport_size({"width": 800, "height": 600})
    show(page, photo)
    page.mouse.move(*centre_of(page))
    page.mouse.wheel(0, 100)
    wait_for(page, lambda: page.evaluate("scrollY") > 50)
    assert zoom_of(page) == 1


def test_zoom_by_keys_and_buttons(page: "Page", photo: Path):
    show(page, photo)
    level = page.locator("#zoom-level")
    scale = place_of(page)["width"] / 2400
    assert level.inner_text() == f"{round(100 * scale)}%"
    assert page.get_by_role("button", name="Zoom out").is_disabled()
    page.keyboard.press("+")
    assert zoom_of(page) == pytest.approx(1.5)
    page.get_by_role("button", name="Zoom in").click()
    assert zoom_of(page) == pytest.approx(2.25)
    page.keyboard.press("-")
    assert zoom_of(page) == pytest.approx(1.5)
    page.locator("#stage").click(position={"x": 5, "y": 5})
    before = place_of(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    after = place_of(page)
    assert (after["x"], after["y"]) < (before["x"], before["y"])
    for _ in range(12):
        page.keyboard.press("+")
    assert level.inner_text() == "400%"
    assert page.get_by_role("button", name="Zoom in").is_disabled()
    page.keyboard.press("0")
    assert zoom_of(page) == 1
    page.keyboard.press("+")
    page.get_by_role("button", name="Show the whole picture").click()
    assert zoom_of(page) == 1
    assert page.evaluate("document.activeElement.id") == "zoom-fit"


def test_enlarged_picture_is_dragged_and_compared(page: "Page", photo: Path):
    show(page, photo)
    click(page, *centre_of(page), count=2)
    assert page.locator("#zoom-level").inner_text() == "100%"
    before, stage = place_of(page), place_of(page, "#stage")
    x, y = stage["x"] + 60, stage["y"] + 60
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y + 30)
    page.mouse.up()
    after = place_of(page)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((50, 30))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 2000, y)
    page.mouse.up()
    assert place_of(page)["x"] == pytest.approx(stage["x"], abs=0.1)  # never beyond the edge
    assert divider_of(page) == pytest.approx(stage["x"] + 0.65 * stage["width"], abs=1)
    cut = place_of(page)["x"] + read_split(page) / 100 * place_of(page)["width"]
    assert cut == pytest.approx(divider_of(page), abs=1)
    click(page, x, y, count=2)
    assert zoom_of(page) == 1


def test_another_photo_is_shown_whole(page: "Page", photo: Path, light_and_dark: list[Path]):
    add_files(page, photo, *light_and_dark)
    wait_until_ready(page, 3)
    page.get_by_role("option", name="large.png").click()
    wait_for_colour(page)
    page.keyboard.press("+")
    page.get_by_role("option", name="dark.png").click()
    assert zoom_of(page) == 1


def test_touch(open_page: Callable[..., "Page"], photo: Path):
    """One finger scrolls the page, two zoom, one pans the enlarged picture, and two taps."""
    page = open_page(has_touch=True)
    page.set_viewport_size({"width": 390, "height": 600})
    show(page, photo)
    page.evaluate("scrollTo(0, 0)")
    fingers = Fingers(page)
    x, y = centre_of(page)
    fingers.move(((x - 20, y - 20), (x - 60, y - 60)), ((x + 20, y + 20), (x + 60, y + 60)))
    assert zoom_of(page) == pytest.approx(3, abs=0.05)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("visualViewport.scale") == 1
    before = place_of(page)
    fingers.move(((x - 60, y), (x - 30, y - 20)))
    after = place_of(page)
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((30, -20), abs=0.1)
    assert page.evaluate("scrollY") == 0
    assert read_split(page) != pytest.approx(65)  # of the whole picture; the divider stays
    tap(page, x - 60, y, count=2)
    wait_for(page, lambda: zoom_of(page) == 1)
    fingers.move(((x, y + 60), (x + 5, y - 60)))
    wait_for(page, lambda: page.evaluate("scrollY") > 50)
    assert read_split(page) == pytest.approx(65)


def test_full_screen(page: "Page", photo: Path):
    show(page, photo)
    button = page.get_by_role("button", name="Full screen")
    button.click()
    wait_for(page, lambda: button.get_attribute("aria-pressed") == "true")
    window = page.evaluate("[innerWidth, innerHeight]")
    wait_for(page, lambda: list(place_of(page, "#viewer").values()) == [0, 0, *window])
    assert not page.get_by_role("link", name="Download", exact=True).is_visible()
    page.keyboard.press("f")
    page.wait_for_function("document.fullscreenElement === null")
    wait_for(page, lambda: button.get_attribute("aria-pressed") == "false")


def test_enlarged_picture_has_the_photos_own_pixels(page: "Page", photo: Path):
    show(page, photo)
    page.locator("#split").press("Home")  # the original, whose pixels are known
    click(page, *centre_of(page), count=2)
    page.locator("#before-detail img").wait_for()
    stage, picture = place_of(page, "#stage"), place_of(page)
    shown = Image.open(io.BytesIO(page.locator("#stage").screenshot())).convert("L")
    left, top = round(stage["x"] - picture["x"]), round(stage["y"] - picture["y"])
    assert picture["width"] == pytest.approx(2400, abs=0.1)
    expected = Image.open(photo).crop((left, top, left + shown.width, top + shown.height))
    part = (50, 50, 400, 200)  # without handle and tags
    difference = np.abs(
        np.asarray(shown.crop(part), float) - np.asarray(expected.crop(part), float)
    )
    assert difference.mean() < 6


def test_regions_are_loaded_when_a_movement_pauses(page: "Page", photo: Path):
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/region?" in r.url else None)
    show(page, photo)
    click(page, *centre_of(page), count=2)
    page.locator("#after-detail img").wait_for()
    assert len(requests) == 2
    stage = place_of(page, "#stage")
    x, y = stage["x"] + 60, stage["y"] + 60
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=5)  # within the margin
    page.mouse.up()
    page.wait_for_timeout(400)
    assert len(requests) == 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 500, y)  # in one step: a slow computer would pause between several
    page.mouse.up()
    wait_for(page, lambda: len(requests) == 4)
    originals = [url for url in requests if "side=before" in url]
    page.fill("#option-saturation", "0.5")
    page.locator("#option-saturation").dispatch_event("change")
    wait_for(page, lambda: "saturation=0.5" in requests[-1])
    page.locator("#after-detail img").wait_for()
    assert [url for url in requests if "side=before" in url] == originals  # they are kept
    page.keyboard.press("0")
    wait_for(page, lambda: page.locator("#after-detail img").count() == 0)


def test_region_that_fails_leaves_the_picture(page: "Page", photo: Path):
    page.route(
        "**/region?*", lambda route: route.fulfill(status=400, json={"detail": "it is too busy"})
    )
    show(page, photo)
    click(page, *centre_of(page), count=2)
    page.get_by_role("alert").filter(has_text="it is too busy").wait_for()
    assert page.get_by_role("img", name="large.png, in colour").count() == 1
    assert page.locator("#undo").get_attribute("aria-disabled") == "true"
