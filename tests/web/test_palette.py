"""Choosing a colour for a hint on the page of `photochrom web`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from photochrom.color.lab import lab_to_rgb, rgb_to_lab
from photochrom.web.app import create_app
from photochrom.web.service import Service
from support.browser import needs_browser
from support.models import write_model
from support.photos import draw
from support.server import get_service, run_server
from support.web_page import add_files, click, wait_for, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

pytestmark = needs_browser

NAMES = {
    "#000000": "black",
    "#ffffff": "white",
    "#808080": "grey",
    "dimgrey": "grey",
    "#404040": "dark grey",
    "firebrick": "red",
    "darkred": "dark red",
    "#390400": "dark red",
    "#722f37": "dark red",
    "pink": "light pink",
    "darkorange": "orange",
    "#8a5a44": "brown",
    "#5c3a21": "dark brown",
    "#e0ac69": "light brown",
    "#ffdbac": "beige",
    "gold": "yellow",
    "olive": "olive",
    "yellowgreen": "yellow-green",
    "darkgreen": "dark green",
    "teal": "turquoise",
    "navy": "dark blue",
    "skyblue": "light blue",
    "lightsteelblue": "pale blue",
    "slategray": "greyish blue",
    "rebeccapurple": "purple",
    "purple": "purple",
    "fuchsia": "magenta",
    "#B22": "red",
    "neutral": "grey",
    "original": "the photo's own colour",
}
"""What people call them."""


def test_colours(page: "Page"):
    """Their names, and their values, which are those of the library."""
    colors = ["#b22222", "#1e90ff", "#ffff00", "#808080"]
    lightness = [15, 50, 90]
    css = [*ImageColor.colormap, "#1a2", "#a0b1c2"]
    names, values, shown = page.evaluate(
        """async ([named, css, colors, lightness]) => {
            const { atLightness, colorName, toHex } = await import("/static/colors.js");
            const shown = colors.map((color) => lightness.map((l) => atLightness(color, l)));
            return [named.map(colorName), css.map(toHex), shown];
        }""",
        [list(NAMES), css, colors, lightness],
    )
    assert dict(zip(NAMES, names, strict=True)) == NAMES
    assert [rgb_of(value) for value in values] == [rgb_of(color) for color in css]
    # At the photo's L*, with the chroma that sRGB allows.
    lab = rgb_to_lab(np.float32([[rgb_of(color)] * 3 for color in colors]) / 255)
    lab[..., 0] = lightness
    expected = 255 * lab_to_rgb(lab)
    assert np.abs(expected - [[rgb_of(value) for value in row] for row in shown]).max() < 1.5
    dark = ["#001a3c", "#3e0100", "#281701", "#1e191c", "#111111", "#000000", "#8a5a44"]
    bright = page.evaluate(
        """async (colors) => {
            const { colorName, inBrightLight } = await import("/static/colors.js");
            return colors.map(inBrightLight).map((color) => [color, colorName(color)]);
        }""",
        dark,
    )
    assert [name for _, name in bright] == [
        *("blue", "red", "brown", "greyish purple", "grey", "black", "brown"),
    ]
    assert bright[-1][0] == dark[-1]


def rgb_of(color: str) -> tuple[int, ...]:
    return ImageColor.getrgb(color)


SUGGESTIONS = [
    ("#8a5a44", "model"), ("#7a6a30", "hue"), ("#8a4a64", "hue"),
    ("#965a3c", "skin"), ("#5a6e46", "foliage"), ("#50648c", "cloth"),
]  # fmt: skip
OPEN_PALETTE = """async ([index, color, place]) => {
    const { openPalette } = await import("/static/palette.js");
    const { photos } = await import("/static/photos.js");
    document.getElementById("dot")?.remove();
    const dot = document.createElement("button");
    Object.assign(dot, { id: "dot", ariaLabel: "dot" });
    const [left, top] = place.map((part) => `calc(${100 * part}% - 10px)`);
    Object.assign(dot.style, { position: "absolute", left, top, width: "20px", padding: 0 });
    document.getElementById("frame").append(dot);
    window.calls = [];
    const log = (name) => (...values) => window.calls.push([name, ...values]);
    openPalette({
        photo: photos[index], look: photos[index].look, hint: { x: 48, y: 72, color },
        number: 2, anchor: dot, onPreview: log("preview"), onChoose: log("choose"),
        onDelete: log("delete"), onClose: log("close"),
    });
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    """A server whose model takes hints."""
    path = tmp_path_factory.mktemp("models") / "hinted.onnx"
    write_model(path, hints=3)
    app = create_app([path], processes=1)
    with run_server(app) as address:
        yield address, get_service(app)


@pytest.fixture
def shown(page: "Page", photos: list[Path], tmp_path: Path) -> "Page":
    """The page with a grey photo, and one in colour."""
    show_photos(page, photos[0], tmp_path)
    return page


def show_photos(page: "Page", grey: Path, folder: Path) -> None:
    Image.fromarray(draw(180, 240)).save(folder / "colored.png")
    answer = {"colors": [{"color": color, "kind": kind} for color, kind in SUGGESTIONS]}
    page.route("**/suggestions?*", lambda route: route.fulfill(json=answer))
    add_files(page, grey, folder / "colored.png")
    wait_until_ready(page, 2)
    wait_for_colour(page)


def open_palette(
    page: "Page",
    color: str | None = None,
    *,
    index: int = 0,
    place: tuple[float, float] = (0.2, 0.4),
) -> "Locator":
    page.evaluate(OPEN_PALETTE, [index, color, place])
    return page.get_by_role("dialog", name="Colour of hint 2")


def box_of(locator: "Locator") -> dict[str, float]:
    box = locator.bounding_box()
    assert box
    return dict(box)


def bottom_of(locator: "Locator") -> float:
    box = box_of(locator)
    return box["y"] + box["height"]


def centre_of(locator: "Locator") -> tuple[float, float]:
    box = box_of(locator)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    """Return whether two boxes overlap, or one is nearly at the other."""
    return all(
        a[start] < b[start] + b[size] + 8 and b[start] < a[start] + a[size] + 8
        for start, size in (("x", "width"), ("y", "height"))
    )


def calls(page: "Page") -> list[list[str | None]]:
    """Return the calls of the palette since the latest call of this function."""
    made: list[list[str | None]] = page.evaluate("window.calls.splice(0)")
    return made


def test_colour_is_chosen_by_mouse(shown: "Page"):
    page = shown
    with page.expect_request("**/suggestions?*") as request:
        palette = open_palette(page)
    assert "x=48&y=72" in request.value.url
    skin = palette.get_by_role("button", name="skin, brown")
    skin.hover()
    wait_for(page, lambda: page.evaluate("window.calls.length") == 1)
    palette.get_by_role("heading", name="Colour of hint 2").hover()
    wait_for(page, lambda: page.evaluate("window.calls.length") == 2)
    assert calls(page) == [["preview", "#965a3c"], ["preview", None]]
    box, dot = box_of(palette), box_of(page.locator("#dot"))
    [first, last] = [centre_of(palette.locator(".swatch").nth(index)) for index in (0, 5)]
    page.mouse.move(*first)
    page.mouse.move(*last, steps=6)  # over all of them
    wait_for(page, lambda: ["preview", "#50648c"] in page.evaluate("window.calls"))
    assert len(calls(page)) < 6  # not one for each
    assert not overlap(box, dot)
    assert not palette.get_by_role("button", name="Delete").is_visible()
    assert not palette.get_by_role("button", name="The photo's own").is_visible()
    skin.click()
    assert calls(page)[-1] == ["choose", "#965a3c"]
    assert skin.get_attribute("aria-pressed") == "true"
    palette.get_by_role("button", name="Grey").click()
    assert calls(page)[-1] == ["choose", "neutral"]
    picker = palette.get_by_label("More colours")
    picker.evaluate(
        """(input) => {
            for (const value of ["#00ff00", "#008000"]) {
                input.value = value;
                input.dispatchEvent(new Event("input", { bubbles: true }));
            }
            input.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
    )
    made = [call for call in calls(page) if call[1]]
    assert made == [["preview", "#00ff00"], ["preview", "#008000"], ["choose", "#008000"]]
    recent = palette.get_by_role("group", name="Last used").get_by_role("button")
    assert [each.get_attribute("title") for each in recent.all()] == ["green", "brown"]
    help_text = page.locator("#palette-help")
    assert help_text.inner_text() == "Light and dark stay as in the photo."
    picker.fill("#fff0b0")
    assert help_text.inner_text() == "Light and dark stay as in the photo: it looks olive there."
    page.locator("#stage").click(position={"x": 3, "y": 3})
    assert not palette.is_visible()
    assert [name for name, *_ in calls(page)].count("close") == 1
    open_palette(page, "#008000", index=1).get_by_role("button", name="The photo's own").click()
    assert calls(page)[-1] == ["choose", "original"]
    palette.get_by_role("button", name="Delete").click()
    assert [name for name, *_ in calls(page)] == ["close", "delete"]


def test_colour_is_chosen_by_keys(shown: "Page"):
    page = shown
    palette = open_palette(page)
    focused = "document.activeElement.title || document.activeElement.id"
    skin = palette.get_by_role("button", name="skin, brown")
    skin.wait_for()
    assert page.evaluate(focused) == "palette"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "automatic, brown"
    wait_for(page, lambda: page.evaluate("window.calls.length") == 1)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "skin, brown"
    wait_for(page, lambda: ["preview", "#965a3c"] in page.evaluate("window.calls"))
    page.keyboard.press("Enter")
    assert calls(page)[-1] == ["choose", "#965a3c"]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "palette-grey"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "automatic, brown"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == "palette-close" or page.evaluate(focused) == "Close"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "palette-picker"
    page.keyboard.press("Escape")
    assert not palette.is_visible()
    assert page.evaluate(focused) == "dot"
    open_palette(page, "#965a3c")
    page.keyboard.press("Delete")
    assert [name for name, *_ in calls(page)][-2:] == ["close", "delete"]
    assert page.locator(".thumbnail").count() == 2
    palette = open_palette(page, "#965a3c")
    page.locator("#split").focus()
    assert not palette.is_visible()


def test_eyedropper(shown: "Page"):
    page = shown
    late: list[Route] = []
    page.route("**/suggestions?*", lambda route: late.append(route))
    palette = open_palette(page)
    box = box_of(page.locator("#frame"))
    start = palette.get_by_role("button", name="From a picture")
    # The palette uncovers the picture at once, before the next frame.
    moved = page.evaluate(
        """() => {
            document.getElementById("palette-eyedropper").click();
            return document.getElementById("palette").getBoundingClientRect().top;
        }"""
    )
    assert moved > bottom_of(page.locator("#stage"))
    wait_for(page, lambda: bool(late))
    late[0].fulfill(json={"colors": [{"color": "#8a5a44", "kind": "model"}]})
    page.locator("#palette-suggestions[aria-busy=false]").wait_for(state="attached")
    page.keyboard.press("Escape")
    assert palette.locator(".swatch").first.get_attribute("tabindex") == "0"
    start.click()
    assert not page.locator("#loupe").is_visible()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.locator("#loupe").is_visible()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.9 * box["height"])
    [[name, color]] = calls(page)
    assert name == "choose"
    assert np.ptp(rgb_of(str(color))) > 5  # the picture is in colour there
    assert palette.is_visible()
    assert not page.locator("#loupe").is_visible()
    start.click()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 0.9 * box["height"])
    [[name, color]] = calls(page)
    assert name == "choose"
    assert np.ptp(rgb_of(str(color))) == 0  # the original is grey
    start.click()
    page.evaluate(  # stands for a thumbnail in known colours
        """async () => {
            const image = new Image();
            const canvas = new OffscreenCanvas(200, 100);
            const context = canvas.getContext("2d");
            context.fillStyle = "#ff0000";
            context.fillRect(0, 0, 50, 100);
            context.fillStyle = "#0000ff";
            context.fillRect(50, 0, 50, 100);
            context.fillStyle = "#00ff00";
            context.fillRect(100, 0, 100, 100);
            image.src = URL.createObjectURL(await canvas.convertToBlob());
            await image.decode();
            document.querySelectorAll(".thumbnail .preview")[1].append(image);
        }"""
    )
    thumbnail = page.locator(".thumbnail").nth(1)
    thumbnail.click(position={"x": 12, "y": 30})
    assert calls(page) == [["choose", "#0000ff"]]  # the red quarter is cut off
    assert thumbnail.get_attribute("aria-selected") == "false"
    start.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert palette.is_visible()
    assert calls(page) == []
    assert page.evaluate("document.activeElement.id") == "palette-eyedropper"
    page.keyboard.press("Enter")
    place = box_of(page.locator("#loupe"))
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    moved = box_of(page.locator("#loupe"))
    step = 0.01 * max(box["width"], box["height"])
    assert moved["x"] - place["x"] == pytest.approx(5 * step, abs=1)
    page.keyboard.press("Enter")
    assert [name for name, *_ in calls(page)] == ["choose"]
    assert page.locator(".thumbnail").first.get_attribute("aria-selected") == "true"
    assert page.locator(".hint").count() == 0  # no click added one


def test_suggestions_of_the_server(shown: "Page"):
    page = shown
    page.unroute("**/suggestions?*")
    stage = box_of(page.locator("#stage"))
    click(page, stage["x"] + 200, stage["y"] + 200)
    palette = page.get_by_role("dialog", name="Colour of hint 1")
    suggestions = palette.get_by_role("group", name="Suggestions").get_by_role("button")
    suggestions.first.wait_for()
    names = [str(each.get_attribute("title")) for each in suggestions.all()]
    assert len(names) == 6
    assert names[0].startswith("automatic, ")
    assert {name.split(", ")[0] for name in names} - {"automatic", "similar"}
    suggestions.nth(3).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="hint 1 of 1").wait_for()
    assert page.evaluate("document.activeElement.className") == "hint"


def test_palette_without_suggestions(shown: "Page"):
    page = shown
    page.unroute("**/suggestions?*")
    held: list[Any] = []
    page.route("**/suggestions?*", lambda route: held.append(route))
    palette = open_palette(page)
    suggestions = palette.get_by_role("group", name="Suggestions")
    wait_for(page, lambda: bool(held))
    assert suggestions.get_attribute("aria-busy") == "true"
    assert suggestions.locator(".swatch").count() == 6
    held[0].fulfill(status=400, json={"detail": "no"})
    palette.get_by_text("There are no suggestions at the moment.").wait_for()
    assert suggestions.locator(".swatch").count() == 0
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert calls(page)[-1] == ["choose", "neutral"]


def test_sheet_on_a_phone(open_page: "Callable[..., Page]", photos: list[Path], tmp_path: Path):
    page = open_page(has_touch=True)
    page.set_viewport_size({"width": 390, "height": 700})
    show_photos(page, photos[0], tmp_path)
    palette = open_palette(page, place=(0.5, 0.9))
    palette.get_by_role("button", name="skin, brown").tap()
    assert calls(page) == [["choose", "#965a3c"]]
    sheet, dot = box_of(palette), box_of(page.locator("#dot"))
    assert (sheet["x"], sheet["width"]) == (0, 390)
    assert sheet["y"] + sheet["height"] == pytest.approx(700, abs=1)
    assert dot["y"] > 0
    assert bottom_of(page.locator("#dot")) < sheet["y"]
    palette.get_by_role("button", name="From a picture").tap()
    box = box_of(page.locator("#frame"))
    page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    assert [name for name, *_ in calls(page)] == ["choose"]
    wait_for(page, lambda: box_of(palette)["height"] > sheet["height"])  # by the last colours
    wait_for(page, lambda: bottom_of(page.locator("#dot")) < box_of(palette)["y"])
    palette.get_by_role("button", name="Close").tap()
    assert not palette.is_visible()
