"""The crop tool of the page of `photochrom web`, and its geometry against the library's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from support.browser import needs_browser
from support.photos import draw
from support.web_page import add_files, wait_for, wait_for_colour

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser

SIZES = [(600, 400), (400, 600), (333, 334), (64, 48), (5000, 17), (1, 9)]
TURNS = (0, 90, 180, 270)
ANGLES = (0, 0.1, -0.1, 1.5, -7.3, 15, 45, -45)


def evaluate(page: "Page", expression: str, cases: list[Any]) -> list[Any]:
    """Return the values of an expression of geometry.js for cases, in the browser."""
    result: list[Any] = page.evaluate(
        f"""async (cases) => {{
            const geometry = await import("/static/geometry.js");
            return cases.map(({expression}));
        }}""",
        cases,
    )
    return result


def test_sizes_are_those_of_the_library(page: "Page"):
    cases = [
        {"turn": turn, "straighten": angle, "crop": None, "size": size}
        for size in SIZES
        for turn in TURNS
        for angle in ANGLES
    ]
    sizes = evaluate(page, "(look) => geometry.resultSize(look, ...look.size)", cases)
    for case, size in zip(cases, sizes, strict=True):
        expected = Geometry(case["turn"], case["straighten"]).size(*case["size"])
        assert tuple(size) == expected, case
    rectangles = evaluate(page, "([w, h, a]) => geometry.largestRectangle(w, h, a)", [
        [*size, angle] for size in SIZES for angle in ANGLES
    ])  # fmt: skip
    expected = [Geometry(0, angle).rectangle(*size) for size in SIZES for angle in ANGLES]
    assert [tuple(each) for each in rectangles] == expected


def test_empty_corners_are_those_of_the_library(page: "Page"):
    width, height = 60, 40
    cases = [
        [left, top, w, h, angle]
        for left in range(0, 20, 3)
        for top in range(0, 14, 3)
        for w in (1, 20, 41, 60)
        for h in (1, 17, 28, 40)
        for angle in (0, 3, -8, 30)
    ]
    inside = evaluate(
        page, f"([...c]) => geometry.isInside(c.slice(0, 4), {width}, {height}, c[4])", cases
    )
    assert 100 < sum(inside) < len(cases) - 100
    for case, is_inside in zip(cases, inside, strict=True):
        *crop, angle = case
        try:
            Geometry(0, angle, tuple(crop)).size(width, height)  # type: ignore[arg-type]
        except PhotochromError:
            assert not is_inside, case
        else:
            assert is_inside, case


def test_dragged_crops_are_allowed_by_the_library(page: "Page"):
    random = np.random.default_rng(0)
    width, height = 301, 200
    cases = [
        [float(random.uniform(-45, 45)), *map(float, random.uniform(0, 300, 4))] for _ in range(300)
    ]
    crops = evaluate(
        page,
        f"""([angle, ...target]) => {{
            const fits = (rectangle) => geometry.isInside(rectangle, {width}, {height}, angle);
            const start = [{width / 2}, {height / 2}, 0, 0];
            return geometry.roundInwards(geometry.advance(start, target, fits), fits);
        }}""",
        cases,
    )
    for (angle, *_), crop in zip(cases, crops, strict=True):
        assert Geometry(0, angle, tuple(crop)).size(width, height) == tuple(crop[2:])


def test_rectangle_is_turned_like_a_photo(page: "Page"):
    picture = Image.new("L", (60, 40))
    picture.paste(255, (10, 5, 10 + 20, 5 + 15))
    turned = picture.transpose(Image.Transpose.ROTATE_270)  # clockwise
    left, top, right, bottom = turned.getbbox()  # type: ignore[misc]
    expected = [left, top, right - left, bottom - top]
    case = [[10, 5, 20, 15], 60, 40]
    assert evaluate(page, "(c) => geometry.turnRectangle(...c)", [case]) == [expected]


def test_places_are_those_of_the_library(page: "Page"):
    """A white spot lies in the library's result where geometry.js says."""
    width, height, x, y = 90, 60, 49, 23
    pixels = np.zeros((height, width, 1), np.uint8)
    pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    photo = Photo(pixels)
    cases = [
        {"turn": turn, "straighten": angle, "crop": crop}
        for turn in TURNS
        for angle in (0, 7.5, -30)
        for crop in (None, (20, 25, 20, 18))
    ]
    places = evaluate(
        page, f"(c) => geometry.toResult(c, {width}, {height}, {x} + 0.5, {y} + 0.5)", cases
    )
    back = evaluate(
        page,
        f"([c, place]) => geometry.toPhoto(c, {width}, {height}, ...place)",
        list(zip(cases, places, strict=True)),
    )
    assert back == [pytest.approx((x + 0.5, y + 0.5))] * len(cases)
    seen = 0
    for case, place in zip(cases, places, strict=True):
        geometry = Geometry(case["turn"], case["straighten"], case["crop"])
        spot = geometry.apply(photo).pixels[..., 0].astype(float)
        rows, columns = np.indices(spot.shape) + 0.5
        w, h = geometry.size(width, height)
        if not (3 < place[0] < w - 3 and 3 < place[1] < h - 3):
            continue
        centre = [(spot * places).sum() / spot.sum() for places in (columns, rows)]
        assert place == pytest.approx(centre, abs=0.1), case
        seen += 1
    assert seen > 12


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "house.jpg"
    Image.fromarray(draw(200, 300)).convert("L").save(path)
    return path


def open_tool(page: "Page", photo: Path) -> None:
    add_files(page, photo)
    wait_for_colour(page)
    page.get_by_role("button", name="Crop", exact=True).click()
    page.locator("#crop-box").wait_for()


def apply(page: "Page") -> dict[str, Any]:
    """Apply, and return the look that is saved."""
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.get_by_role("button", name="Apply", exact=True).click()
    assert saved.value.ok, saved.value.text()
    look: dict[str, Any] = saved.value.json()["look"]
    page.get_by_role("img", name="house.jpg, in colour").wait_for()
    return look


def drag(page: "Page", selector: str, dx: float, dy: float) -> None:
    """Drag an element's centre, in parts of the photo's shown width and height."""
    box, area = (page.locator(name).bounding_box() for name in (selector, "#crop-area"))
    assert box
    assert area
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx * area["width"] / 2, y + dy * area["height"] / 2)
    page.mouse.move(x + dx * area["width"], y + dy * area["height"])
    page.mouse.up()


def shown_size(page: "Page") -> list[int]:
    """Return width and height of the picture in colour; none: it is not there yet."""
    size: list[int] = page.evaluate(
        """() => {
            const image = document.querySelector("#after img");
            return image ? [image.naturalWidth, image.naturalHeight] : [];
        }"""
    )
    return size


def test_crop_by_handles(page: "Page", photo: Path):
    open_tool(page, photo)
    drag(page, "[data-handle=nw]", 0.2, 0.1)
    drag(page, "[data-handle=e]", -0.1, 0.3)
    drag(page, "#crop-box", -1, -1)  # as far as the photo reaches
    look = apply(page)
    assert look["crop"] == pytest.approx([0, 0, 210, 180], abs=1)
    assert (look["turn"], look["straighten"]) == (0, 0)
    wait_for(page, lambda: shown_size(page) == look["crop"][2:])
    assert f"{look['crop'][2]} \u00d7" in page.locator("#photo-info").inner_text()


def test_crop_reaches_the_edges(page: "Page", photo: Path):
    open_tool(page, photo)
    size = page.locator("#crop-size")
    drag(page, "[data-handle=nw]", 0.31, 0.17)
    text = size.inner_text()
    for dx, dy in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        drag(page, "#crop-box", dx, dy)
        assert size.inner_text() == text  # it is moved, and stays as large
    drag(page, "[data-handle=ne]", 1, -1)
    page.get_by_role("button", name="Apply", exact=True).click()
    page.locator("#stage").wait_for()
    assert page.locator("#undo").get_attribute("aria-disabled") == "true"  # it is the whole photo


def test_crop_is_changed_turned_and_undone(page: "Page", photo: Path):
    open_tool(page, photo)
    drag(page, "[data-handle=w]", 0.5, 0)
    first = apply(page)["crop"]
    assert first == pytest.approx([150, 0, 150, 200], abs=1)
    wait_for(page, lambda: shown_size(page) == first[2:])
    page.get_by_role("button", name="Crop", exact=True).click()
    page.locator("#crop-box").wait_for()
    assert page.locator("#crop-size").inner_text() == f"{first[2]} \u00d7 200 px"
    page.get_by_role("button", name="Turn right").click()
    look = apply(page)
    assert (look["turn"], look["crop"]) == (90, [0, first[0], 200, first[2]])
    page.get_by_role("button", name="Undo").click()
    wait_for(page, lambda: shown_size(page) == first[2:])
    page.get_by_role("button", name="Undo").click()
    wait_for(page, lambda: shown_size(page) == [300, 200])


def test_straightened_photo_has_no_empty_corners(page: "Page", photo: Path):
    open_tool(page, photo)
    page.get_by_label("Straighten", exact=True).fill("6.5")
    look = apply(page)
    assert (look["straighten"], look["crop"]) == (6.5, None)
    wait_for(page, lambda: tuple(shown_size(page)) == Geometry(0, 6.5).size(300, 200))
    page.get_by_role("button", name="Crop", exact=True).click()
    page.locator("#crop-box").wait_for()
    drag(page, "[data-handle=se]", 0.5, 0.5)
    drag(page, "[data-handle=nw]", -0.5, -0.5)
    drag(page, "#crop-box", 0.3, 0.3)
    crop = apply(page)["crop"]
    assert Geometry(0, 6.5, tuple(crop)).size(300, 200) == tuple(crop[2:])
    assert crop[2] > 250


def test_crop_returns_when_straightening_does(page: "Page", photo: Path):
    open_tool(page, photo)
    drag(page, "[data-handle=s]", 0, -0.1)
    size = page.locator("#crop-size").inner_text()
    slider = page.get_by_label("Straighten", exact=True)
    slider.fill("10")
    assert page.locator("#crop-size").inner_text() != size
    slider.fill("0")
    assert page.locator("#crop-size").inner_text() == size


def test_crop_by_keyboard(page: "Page", photo: Path):
    open_tool(page, photo)
    page.get_by_role("button", name="Bottom right corner").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert page.locator("#crop-size").inner_text() == "270 \u00d7 197 px"
    page.locator("#crop-box").focus()
    page.keyboard.press("ArrowRight")
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.keyboard.press("Enter")
    assert saved.value.json()["look"]["crop"] == [3, 0, 270, 197]
    page.locator("#stage").wait_for()
    assert page.evaluate("document.activeElement.id") == "crop-open"


@pytest.mark.parametrize(("shape", "ratio"), [("Square", 1), ("The photo's shape", 1.5)])
def test_shape_is_kept(page: "Page", photo: Path, shape: str, ratio: float):
    open_tool(page, photo)
    page.get_by_label("Shape").select_option(shape)
    for handle, dx, dy in (("nw", 0.2, 0.0), ("s", 0.0, -0.2), ("e", -0.5, 0.1), ("ne", 1, -1)):
        drag(page, f"[data-handle={handle}]", dx, dy)
        box = page.locator("#crop-box").bounding_box()
        assert box
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)


def test_cancelled_crop_changes_nothing(page: "Page", photo: Path):
    open_tool(page, photo)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))
    page.get_by_role("button", name="Turn left").click()
    drag(page, "[data-handle=s]", 0, -0.3)
    page.keyboard.press("Delete")  # removes no photo
    page.keyboard.press("Escape")
    page.locator("#stage").wait_for()
    page.get_by_role("button", name="Crop", exact=True).click()
    page.get_by_role("button", name="Apply", exact=True).click()
    page.locator("#stage").wait_for()
    assert shown_size(page) == [300, 200]
    assert set(requests) <= {"GET"}  # the photo's picture, or a poll
    assert page.locator(".thumbnail").count() == 1


def test_crop_tool_on_a_phone(page: "Page", photo: Path):
    page.set_viewport_size({"width": 390, "height": 844})
    open_tool(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for handle in page.locator(".crop-handle").all():
        box = handle.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44
    tool = page.locator("#crop").bounding_box()
    assert tool
    assert tool["height"] < 844
