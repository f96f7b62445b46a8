"""The dots of hints over the picture on the page of `photochrom web`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from photochrom.web.app import create_app
from photochrom.web.service import Service
from support.browser import needs_browser
from support.models import write_model
from support.photos import draw
from support.server import get_service, run_server
from support.web_page import (
    add_files,
    click,
    reload,
    tap,
    wait_for,
    wait_for_colour,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser

SIZE = 1200, 900
COLORS = ["#8a5a44", "#a04040", "#4060a0", "#508040", "#c0a080", "#705030"]


@pytest.fixture(scope="module")
def service(
    tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Service]]:
    """A server whose first model takes hints, and whose second takes none."""
    path = tmp_path_factory.mktemp("models") / "hinted.onnx"
    write_model(path, hints=3, name="hinted")
    app = create_app([path, tiny_onnx], processes=1)
    with run_server(app) as address:
        yield address, get_service(app)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "dress.jpg"
    Image.fromarray(draw(150, 200)).convert("L").resize(SIZE).save(path)
    return path


@pytest.fixture
def show(open_page: "Callable[..., Page]", photo: Path) -> "Callable[..., Page]":
    """A function that opens the page with photos."""

    def open_and_show(*others: Path, **options: Any) -> "Page":
        page = open_page(**options)
        answer = {"colors": [{"color": color, "kind": "hue"} for color in COLORS]}
        page.route("**/suggestions?*", lambda route: route.fulfill(json=answer))
        add_files(page, photo, *others)
        wait_until_ready(page, 1 + len(others))
        wait_for_colour(page)
        return page

    return open_and_show


def saved(page: "Page", action: Callable[[], None]) -> list[dict[str, Any]]:
    """Return the hints that are saved by an action."""
    with page.expect_response(lambda response: response.request.method == "PATCH") as response:
        action()
    assert response.value.ok, response.value.text()
    hints: list[dict[str, Any]] = response.value.json()["look"]["hints"]
    return hints


def point(page: "Page", x: float, y: float) -> tuple[float, float]:
    """Return the place in the window of a place in the picture, in parts of its size."""
    box = page.locator("#frame").bounding_box()
    assert box
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def centre(page: "Page", number: int = 0) -> tuple[float, float]:
    """Return the centre of a dot in the window."""
    box = page.locator(".hint").nth(number).bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 24
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def labels(page: "Page") -> list[str]:
    texts: list[str] = page.eval_on_selector_all(
        ".hint:not([hidden])", "all => all.map(each => each.ariaLabel)"
    )
    return texts


def drag(page: "Page", start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def choose(page: "Page", color: str) -> None:
    page.locator(f"#palette [data-color='{color}']").first.click()


def set_hint(page: "Page", place: tuple[float, float], color: str) -> list[dict[str, Any]]:
    """Add a hint by mouse, and return all that are saved."""
    click(page, *point(page, *place))
    page.locator("#palette").wait_for()
    hints = saved(page, lambda: choose(page, color))
    page.keyboard.press("Escape")
    assert not page.locator("#palette").is_visible()
    return hints


def test_hint_is_added_changed_and_undone(show: "Callable[..., Page]"):
    page = show()
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/after?" in r.url else None)
    patches: list[str] = []
    page.on("request", lambda r: patches.append(r.url) if r.method == "PATCH" else None)
    tip = page.get_by_text("Wrong colour? Click it.")
    assert tip.is_visible()
    click(page, *point(page, 0.25, 0.5))
    page.locator("#palette").wait_for()
    assert not tip.is_visible()
    assert labels(page) == ["New hint without a colour, left"]
    page.keyboard.press("Escape")
    assert labels(page) == []
    click(page, *point(page, 0.25, 0.5))
    page.locator("#palette").wait_for()
    click(page, *point(page, 0.95, 0.9))  # elsewhere: only closes it
    assert labels(page) == []
    assert requests == []

    click(page, *point(page, 0.25, 0.5))
    page.locator("#palette").wait_for()
    page.locator("#palette-suggestions [data-color]").nth(2).hover()
    wait_for(page, lambda: bool(requests))
    page.locator("#palette h2").hover()
    wait_for(page, lambda: page.locator(".hint").get_attribute("data-kind") == "new")
    assert patches == []
    query = parse_qs(urlsplit(requests[0]).query)
    x, y, color = query["hints"][0].split(",")
    assert (int(x), int(y)) == pytest.approx((300, 450), abs=2)
    assert (color, query["max_size"]) == (COLORS[2], ["800"])
    hints = saved(page, lambda: choose(page, COLORS[2]))
    assert hints == [{"x": int(x), "y": int(y), "color": color}]
    click(page, *point(page, 0.45, 0.08))  # where the next hint is added
    page.locator("#palette").wait_for()
    assert labels(page) == ["Hint 1 of 2, blue, left", "New hint without a colour, top"]
    page.keyboard.press("Escape")
    assert labels(page) == ["Hint 1 of 1, blue, left"]
    wait_for(page, lambda: "max_size" not in requests[-1])  # the sharp picture

    # Under the other side of the divider, which is moved away.
    hints = set_hint(page, (0.9, 0.95), COLORS[1])
    assert [hint["color"] for hint in hints] == [COLORS[2], COLORS[1]]
    assert labels(page)[1] == "Hint 2 of 2, red, lower right"
    assert page.locator("#split").input_value() == "100"
    page.keyboard.press("Control+z")
    assert labels(page) == ["Hint 1 of 1, blue, left"]
    page.keyboard.press("Control+Shift+z")
    assert len(labels(page)) == 2
    reload(page)
    wait_for_colour(page)
    wait_for(page, lambda: len(labels(page)) == 2)
    requests.clear()
    page.locator(".hint").first.click()
    hints = saved(page, page.get_by_role("button", name="Delete").click)
    assert [hint["color"] for hint in hints] == [COLORS[1]]
    wait_for(page, lambda: ["max_size" in url for url in requests] == [True, False])
    assert page.locator(".thumbnail").count() == 1
    page.get_by_role("button", name="Start over").click()
    assert labels(page) == []


def test_hint_is_placed_and_dragged_under_zoom(show: "Callable[..., Page]"):
    page = show()
    set_hint(page, (0.3, 0.3), COLORS[0])
    size = page.locator(".hint").bounding_box()
    click(page, *point(page, 0.25, 0.25), count=2)
    wait_for(page, lambda: page.locator("#stage.zoomed").count() == 1)
    assert len(labels(page)) == 1  # the double click added none
    assert centre(page) == pytest.approx(point(page, 360.5 / 1200, 270.5 / 900), abs=2)
    box = page.locator(".hint").bounding_box()
    assert box
    assert size
    assert (box["width"], box["height"]) == (size["width"], size["height"])
    x, y = point(page, 500.5 / 1200, 300.5 / 900)
    click(page, x, y)
    page.locator("#palette").wait_for()
    hints = saved(page, lambda: choose(page, COLORS[1]))
    page.keyboard.press("Escape")
    assert (hints[1]["x"], hints[1]["y"]) == pytest.approx((500, 300), abs=1)
    hints = saved(page, lambda: drag(page, centre(page, 1), (x - 60, y + 30)))
    scale = float(page.evaluate("document.getElementById('frame').getBoundingClientRect().width"))
    step = 1200 / scale
    expected = (500 - 60 * step, 300 + 30 * step)
    assert (hints[1]["x"], hints[1]["y"]) == pytest.approx(expected, abs=3)
    assert not page.locator("#palette").is_visible()
    page.get_by_role("button", name="Undo").click()
    assert centre(page, 1) == pytest.approx((x, y), abs=2)
    drag(page, (x - 100, y + 100), (x - 2000, y + 100))  # pans, and adds none
    assert len(labels(page)) == 2
    page.keyboard.press("0")
    assert centre(page) == pytest.approx(point(page, 0.3, 0.3), abs=2)
    page.set_viewport_size({"width": 900, "height": 700})
    wait_for(page, lambda: centre(page) == pytest.approx(point(page, 0.3, 0.3), abs=2))
    page.get_by_role("button", name="Set a colour").click()
    drag(page, centre(page, 2), point(page, 0.2, 0.8))  # asks for its colour then
    page.locator("#palette").wait_for()
    hints = saved(page, lambda: choose(page, COLORS[4]))
    assert (hints[2]["x"], hints[2]["y"]) == pytest.approx((240, 720), abs=4)
    page.mouse.click(*centre(page, 2), button="right")
    assert page.locator("#palette").is_visible()


def test_hints_by_keyboard(show: "Callable[..., Page]"):
    page = show()
    focused = page.locator(":focus")
    add = page.get_by_role("button", name="Set a colour")
    add.focus()
    page.keyboard.press("Enter")
    assert focused.get_attribute("aria-label") == "New hint without a colour, middle"
    page.keyboard.press("Escape")
    page.locator("#split").fill("50")
    add.click()
    x, y = centre(page)
    assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).className", [x, y]) == "hint"
    page.keyboard.press("Escape")
    assert focused.get_attribute("id") == "add-hint"
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("Shift+ArrowLeft")
        page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    page.locator("#palette-suggestions [data-color]").first.wait_for()
    page.keyboard.press("ArrowRight")
    before = saved(page, lambda: page.keyboard.press("Enter"))
    page.keyboard.press("Escape")
    assert focused.get_attribute("aria-label") == labels(page)[0]
    assert "upper left" in labels(page)[0]
    after = saved(page, lambda: page.keyboard.press("ArrowRight"))
    assert 1 <= after[0]["x"] - before[0]["x"] <= 12
    assert after[0]["y"] == before[0]["y"]
    assert "1 of 1" in page.locator("#status").inner_text()
    set_hint(page, (0.5, 0.8), COLORS[3])
    page.locator(".hint").first.focus()
    page.keyboard.press("Tab")
    assert focused.get_attribute("aria-label") == labels(page)[1]
    page.keyboard.press("h")
    assert not page.locator(".hint").first.is_visible()
    page.keyboard.press("h")
    page.locator(".hint").nth(1).focus()
    assert len(saved(page, lambda: page.keyboard.press("Delete"))) == 1
    assert focused.get_attribute("aria-label") == labels(page)[0]
    assert page.locator(".thumbnail").count() == 1
    page.keyboard.press("Control+z")
    assert len(labels(page)) == 2
    add.click()
    page.locator(".hint").first.focus()
    assert len(saved(page, lambda: page.keyboard.press("Delete"))) == 1
    assert len(labels(page)) == 1  # the one without a colour is gone as well


def test_hints_belong_to_their_photo(show: "Callable[..., Page]", tmp_path: Path):
    other = tmp_path / "harbour.jpg"
    Image.fromarray(draw(180, 240)).convert("L").save(other)
    page = show(other)
    page.get_by_role("option", name="dress.jpg").click()
    wait_for_colour(page)
    set_hint(page, (0.5, 0.1), COLORS[2])
    page.get_by_role("button", name="Apply to all photos").click()
    page.get_by_role("option", name="harbour.jpg").click()
    wait_for_colour(page)
    assert labels(page) == []
    page.get_by_role("option", name="dress.jpg").click()
    wait_for(page, lambda: labels(page) == ["Hint 1 of 1, blue, top"])
    page.get_by_role("button", name="Crop", exact=True).click()
    page.get_by_role("button", name="Turn right").click()
    page.get_by_role("button", name="Apply", exact=True).click()
    wait_for(page, lambda: labels(page) == ["Hint 1 of 1, blue, right"])
    assert centre(page) == pytest.approx(point(page, 0.9, 0.5), abs=2)

    # A hint that is cut off is not counted, neither by the dot nor by its palette.
    set_hint(page, (0.2, 0.5), COLORS[1])
    page.get_by_role("button", name="Crop", exact=True).click()
    page.get_by_role("button", name="Right edge").press("Shift+ArrowLeft")
    page.get_by_role("button", name="Right edge").press("Shift+ArrowLeft")
    page.get_by_role("button", name="Apply", exact=True).click()
    wait_for(page, lambda: labels(page) == ["Hint 1 of 1, red, left"])
    page.get_by_role("button", name="Hint 1 of 1").click()
    page.get_by_role("dialog", name="Colour of hint 1").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    wait_for(page, lambda: labels(page) == ["Hint 1 of 1, blue, right"])

    page.get_by_text("More options").click()
    page.get_by_label("Model").select_option("tiny")
    page.get_by_role("alert").filter(has_text="tiny does not take hints").wait_for()
    assert labels(page) == []
    assert not page.get_by_role("button", name="Set a colour").is_visible()
    wait_for_colour(page)
    click(page, *point(page, 0.5, 0.2))
    page.wait_for_timeout(450)  # longer than a double click
    assert labels(page) == []
    page.get_by_role("button", name="Undo").click()
    wait_for(page, lambda: labels(page) == ["Hint 1 of 1, blue, right"])


def test_hints_by_touch(show: "Callable[..., Page]"):
    page = show(has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 844})
    tap(page, *point(page, 0.3, 0.3), count=2)
    wait_for(page, lambda: page.locator("#stage.zoomed").count() == 1)
    page.wait_for_timeout(450)  # longer than a double tap
    assert labels(page) == []
    page.get_by_role("button", name="Show the whole picture").click()
    tap(page, *point(page, 0.3, 0.3))
    page.locator("#palette").wait_for()
    hints = saved(page, lambda: page.locator("#palette-suggestions [data-color]").nth(1).tap())
    assert (hints[0]["x"], hints[0]["y"]) == pytest.approx((360, 270), abs=4)
    page.get_by_role("button", name="Close").tap()
    x, y = centre(page)
    box = page.locator(".hint").bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 44
    tap(page, x + 20, y)  # a finger is not exact
    page.locator("#palette").wait_for()
    assert len(labels(page)) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
