"""The strip of thumbnails, the grid with its selection, and what is dropped or pasted."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from support.browser import needs_browser
from support.server import make_jpeg
from support.web_page import (
    add_files,
    wait_for,
    wait_for_colour,
    wait_until_ready,
    wait_until_unchanged,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = needs_browser

LOOK = {
    **{"saturation": 1, "strength": 1, "size": None, "mark": True, "model": "tiny"},
    **{"turn": 0, "straighten": 0, "crop": None, "format": None, "truncated": False},
    "hints": [],
}


@pytest.fixture
def open_many(open_page: Callable[..., "Page"]) -> Callable[..., "Page"]:
    """A function that opens the page with many photos, which a server is imitated for."""

    def open_with_photos(count: int, **options: Any) -> "Page":
        page = open_page(**options)
        jpeg = make_jpeg(40, 30)

        def answer(route: "Route") -> None:
            url, method = route.request.url, route.request.method
            if method != "GET":
                route.fulfill(status=204)
            elif url.endswith("/photos"):
                route.fulfill(json={"server": "1", "gone": None, "photos": states})
            else:
                route.fulfill(body=jpeg, content_type="image/jpeg")

        states = [fake_state(number) for number in range(1, count + 1)]
        page.route(re.compile(r"/photos(/|$)"), answer)
        page.reload()
        page.locator(".thumbnail").nth(count - 1).wait_for(state="attached")
        return page

    return open_with_photos


def fake_state(number: int) -> dict[str, Any]:
    """Return what the server tells about a photo that is ready."""
    return {
        **{"id": f"id{number}", "name": f"{number}.jpg", "status": "ready", "position": None},
        **{"error": None, "error_code": None, "width": 40, "height": 30, "pages": 1},
        **{"look": LOOK, "max_size": 256, "notes": [], "warnings": []},
    }


def chroma(png: bytes) -> float:
    """Return the mean distance from grey."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return float(np.ptp(pixels, axis=2).mean())


def selected_names(page: "Page") -> list[str]:
    return page.locator(".thumbnail[aria-selected=true] .file-name").all_inner_texts()


def list_requests(page: "Page", part: str) -> list[str]:
    """Return a list, to which the URLs of requests with a part are added from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url) if part in request.url else None)
    return urls


def test_strip_scrolls_by_wheel_and_shows_the_position(open_many: Callable[..., "Page"]):
    page = open_many(31)
    position = page.locator("#position")
    assert position.inner_text() == "1 of 31"
    box = page.locator("#thumbnails").bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + 50)
    scrolled = "document.getElementById('thumbnails').scrollLeft"
    page.mouse.wheel(0, 300)
    wait_for(page, lambda: page.evaluate(scrolled) == 300)
    page.mouse.wheel(0, -500)
    wait_for(page, lambda: page.evaluate(scrolled) == 0)
    page.locator(".thumbnail").nth(1).click()
    assert position.inner_text() == "2 of 31"
    page.keyboard.press("End")
    assert position.inner_text() == "31 of 31"
    wait_for(page, lambda: page.evaluate(scrolled) > 1000)
    page.keyboard.press("Home")
    assert position.inner_text() == "1 of 31"
    page.keyboard.press("ArrowRight")
    assert position.inner_text() == "2 of 31"


def test_only_thumbnails_in_view_are_loaded(open_many: Callable[..., "Page"]):
    page = open_many(200)
    urls = list_requests(page, "/thumbnail?")
    page.reload()
    wait_for(page, lambda: len(set(urls)) >= 7)
    wait_until_unchanged(page, lambda: len(urls), 0.3)
    assert len(set(urls)) <= 20
    page.locator(".thumbnail").nth(0).press("End")
    wait_for(page, lambda: any("/id200/" in url for url in urls))
    assert len(set(urls)) <= 40


def test_a_poll_without_news_changes_no_element(open_many: Callable[..., "Page"]):
    page = open_many(500)
    page.locator(".thumbnail .colored").nth(6).wait_for()
    # The thumbnails in view replace what they cover.
    wait_until_unchanged(page, lambda: page.locator("#thumbnails").inner_html(), 1)
    changes = page.evaluate(
        """async () => {
            let count = 0;
            const observer = new MutationObserver(records => { count += records.length; });
            const options = { childList: true, subtree: true, attributes: true };
            observer.observe(document.getElementById("thumbnails"), options);
            for (let i = 0; i < 3; i++) {
                document.querySelectorAll(".thumbnail")[i].click();
                await new Promise(resolve => setTimeout(resolve, 50));
            }
            return count;
        }"""
    )
    assert changes < 60  # of the thumbnails that are selected, not of all
    page.get_by_role("button", name="Show all").click()
    page.locator(".thumbnail .colored").nth(12).wait_for()
    milliseconds = page.evaluate(
        """() => [...document.querySelectorAll(".thumbnail .check")].slice(3, 13).map((check) => {
            const begin = performance.now();
            check.click();
            document.body.offsetHeight;
            return performance.now() - begin;
        })"""
    )
    assert min(milliseconds) < 300  # the computer may be busy


def test_grid_selects_by_mouse(open_many: Callable[..., "Page"]):
    page = open_many(31)
    page.get_by_role("button", name="Show all").click()
    assert not page.locator("#panel").is_visible()
    assert selected_names(page) == []
    download = page.locator("#selection-download")
    assert download.is_disabled()
    circles = page.locator(".check")
    circles.nth(1).click()
    assert selected_names(page) == ["2.jpg"]
    assert page.locator("#position").inner_text() == "1 selected"
    page.locator(".thumbnail").nth(4).click(modifiers=["Shift"])
    assert selected_names(page) == ["2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    page.locator(".thumbnail").nth(3).click()  # toggles, as there is a selection
    page.locator(".thumbnail").nth(0).click(modifiers=["ControlOrMeta"])
    assert selected_names(page) == ["1.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert download.is_enabled()
    page.get_by_role("button", name="Select all").click()
    assert len(selected_names(page)) == 31
    page.get_by_role("button", name="Select none").click()
    page.locator(".thumbnail").nth(6).click()  # opens, as there is none
    assert page.locator("#photo-name").inner_text() == "7.jpg"
    assert selected_names(page) == ["7.jpg"]


def test_grid_selects_by_keyboard(open_many: Callable[..., "Page"]):
    page = open_many(31)
    page.locator(".thumbnail").nth(0).focus()
    page.get_by_role("button", name="Show all").press("Enter")
    page.locator(".thumbnail[tabindex='0']").focus()
    widths = "getComputedStyle(document.getElementById('thumbnails')).gridTemplateColumns"
    columns = len(page.evaluate(widths).split())
    assert columns > 4
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert selected_names(page) == [f"{columns + 1}.jpg"]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected_names(page) == [f"{columns + i}.jpg" for i in (1, 2, 3)]
    page.keyboard.press("Control+a")
    assert len(selected_names(page)) == 31
    page.keyboard.press("Escape")
    assert selected_names(page) == []
    assert page.locator(".thumbnail").first.is_visible()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.locator("#panel").is_visible()
    assert page.locator("#photo-name").inner_text() == "1.jpg"
    focused = "document.activeElement.querySelector('.file-name').textContent"
    assert page.evaluate(focused) == "1.jpg"


def test_selection_is_removed_and_the_focus_stays(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    page.get_by_role("button", name="Show all").click()
    page.locator(".check").nth(0).click()
    page.locator(".thumbnail").nth(1).click()
    page.locator(".thumbnail").nth(1).focus()
    page.keyboard.press("Delete")
    assert page.locator(".file-name").all_inner_texts() == ["wedding.jpeg", "scan.tif"]
    assert page.evaluate("document.activeElement.className") == "thumbnail"
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    assert page.locator("#welcome").is_visible()


def test_buttons_of_the_selection_keep_the_focus_on_the_page(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    page.get_by_role("button", name="Show all").click()
    download = page.locator("#selection-download")
    page.locator(".check").nth(1).click()
    download.focus()
    page.keyboard.press("Escape")
    assert download.get_attribute("aria-disabled") == "true"
    assert page.evaluate("document.activeElement.id") == "selection-download"
    page.keyboard.press("Enter")
    assert not page.locator("#notice").is_visible()
    page.locator(".check").nth(1).click()
    page.locator("#selection-remove").press("Enter")
    assert len(page.locator(".thumbnail").all()) == 3
    focused = "document.activeElement.querySelector('.file-name')?.textContent"
    assert page.evaluate(focused) == "wedding.jpeg"
    page.keyboard.press("Control+a")
    page.locator("#selection-remove").press("Enter")
    assert page.evaluate("document.activeElement.id") == "file-input"


def test_look_of_the_shown_photo_is_applied_to_the_selection(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    page.get_by_role("option", name="grandma.jpg").click()
    wait_for_colour(page)
    page.fill("#option-saturation", "0")
    page.locator("#option-saturation").dispatch_event("change")
    page.get_by_role("button", name="Show all").click()
    page.locator(".check").nth(2).click()
    urls = list_requests(page, "/thumbnail?")
    page.get_by_role("button", name="Apply the options of grandma.jpg").click()
    wait_for(page, lambda: len(urls) == 1)
    assert "saturation=0&" in urls[0]
    page.get_by_role("button", name="Back to the photo").click()
    for name, value in (("wedding.jpeg", "0"), ("harbour.jpg", "1")):
        page.get_by_role("option", name=name).click()
        assert page.locator("#option-saturation").input_value() == value


def test_thumbnails_show_the_look_of_the_download(page: "Page", photos: list[Path]):
    add_files(page, *photos[:3])
    wait_until_ready(page, 3)
    wait_for_colour(page)
    page.locator(".thumbnail .colored").nth(2).wait_for()
    requests = list_requests(page, "/thumbnail?")

    def urls() -> list[str]:
        return [url for url in requests if "&size=&" in url]  # others are those of versions

    slider = page.locator("#option-saturation")
    moved = list_requests(page, "/after?saturation=0&")
    for value in ("0.9", "0.5", "0"):
        slider.evaluate("(slider, value) => { slider.value = value; }", value)
        slider.dispatch_event("input")
    wait_for(page, lambda: bool(moved))
    assert urls() == []  # the slider is moving
    slider.dispatch_event("change")
    wait_for(page, lambda: len(urls()) == 1)
    page.get_by_role("button", name="Apply to all").click()
    wait_for(page, lambda: len(urls()) == 3)
    assert all("saturation=0&" in url for url in urls())

    preview = page.locator(".preview").nth(2)
    wait_for(page, lambda: chroma(preview.screenshot()) < 3)


DROP = """async ([type, value]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.setData(type, value);
    const options = { dataTransfer, bubbles: true, cancelable: true };
    return document.querySelector("h2").dispatchEvent(new DragEvent("drop", options));
}"""
PASTE = """([type, value]) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData(type, value);
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""


def test_photo_that_cannot_be_read_shows_its_type(page: "Page", tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_text("this is not a photo")
    add_files(page, path)
    page.locator(".thumbnail[data-status=failed]").wait_for()
    page.locator(".file-type").filter(has_text="JPG").wait_for()


def test_dropped_and_pasted_addresses_get_a_sentence(page: "Page"):
    notice = page.locator("#notice")
    address = "This is an address, not a file. Save the picture first, then drop the file here."
    for script, type_, value, sentence in (
        (DROP, "text/uri-list", "https://example.org/a.jpg", address),
        (PASTE, "text/plain", " https://example.org/a.jpg\n", address),
        (PASTE, "text/html", '<p><img src="a.jpg"></p>', address),
        (PASTE, "text/plain", "Dear grandma", "There is no picture in the clipboard."),
    ):
        page.evaluate(script, [type_, value])
        notice.filter(has_text=sentence).wait_for()
        notice.get_by_role("button").click()
        assert not notice.is_visible()
    assert page.evaluate(DROP, ["text/uri-list", "https://example.org/"]) is False  # no navigation
    assert page.evaluate(DROP, ["text/plain", "words"]) is True


def test_folder_without_photos_gets_a_sentence(page: "Page"):
    page.evaluate(
        """() => {
            const reader = { readEntries: resolve => resolve([]) };
            const folder = { isDirectory: true, name: "Letters", createReader: () => reader };
            const item = { kind: "file", webkitGetAsEntry: () => folder, getAsFile: () => null };
            const event = new DragEvent("drop", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "dataTransfer", {
                value: { types: ["Files"], items: [item] },
            });
            document.querySelector("h2").dispatchEvent(event);
        }"""
    )
    page.locator("#notice").filter(has_text="There are no photos in the folder Letters.").wait_for()


def test_what_can_be_read_of_a_dropped_folder_is_added(page: "Page"):
    page.evaluate(
        """(bytes) => {
            const refuse = (_, reject) => reject(new DOMException("", "NotReadableError"));
            const makeFolder = (name, entries, readRest) => {
                const batches = [entries, []];
                const readEntries = readRest ?? ((resolve) => resolve(batches.shift()));
                return { isDirectory: true, name, createReader: () => ({ readEntries }) };
            };
            const content = new Uint8Array(bytes);
            const makeFile = (name, type) => new File([content], name, { type });
            const entries = [
                { name: "1.jpg", file: (resolve) => resolve(makeFile("1.jpg", "image/jpeg")) },
                { name: "2.jpg", file: refuse },
                { name: "3.JFIF", file: (resolve) => resolve(makeFile("3.JFIF", "")) },
                { name: "4.txt", file: (resolve) => resolve(makeFile("4.txt", "text/plain")) },
                makeFolder("private", [], refuse),
            ];
            const folder = makeFolder("Album", entries);
            const item = { kind: "file", webkitGetAsEntry: () => folder, getAsFile: () => null };
            const event = new DragEvent("drop", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "dataTransfer", {
                value: { types: ["Files"], items: [item] },
            });
            document.querySelector("h2").dispatchEvent(event);
        }""",
        list(make_jpeg()),
    )
    wait_until_ready(page, 2)
    assert page.locator(".thumbnail .file-name").all_inner_texts() == ["1.jpg", "3.JFIF"]
    sentence = "2 files or folders could not be read, among them 2.jpg."
    page.locator("#notice").filter(has_text=sentence).wait_for()


def test_phone_has_no_dropping_and_large_buttons(open_many: Callable[..., "Page"]):
    page = open_many(31, has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 390, "height": 844})
    too_small = """() => [...document.querySelectorAll("button, .button, summary, footer a")]
        .filter(each => each.checkVisibility())
        .filter(each => each.getBoundingClientRect().height < 44)
        .map(each => each.outerHTML)"""
    wait_for(page, lambda: page.evaluate(too_small) == [])
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 390
    page.get_by_role("button", name="Show all").tap()
    assert page.evaluate(width) <= 390
    page.locator(".check").nth(2).tap()
    assert selected_names(page) == ["3.jpg"]
    assert page.evaluate(too_small) == []
    assert page.evaluate(width) <= 390


def test_page_in_german(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page(locale="de-DE")
    assert (
        page.get_by_role("heading", level=2).first.inner_text() == "Schwarz-Weiß-Fotos hier ablegen"
    )
    assert page.get_by_text("Bis zu 4 MB pro Foto.").is_visible()
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    assert page.locator("#summary").inner_text() == "2 von 2 fertig"
    page.get_by_role("button", name="Alle zeigen").click()
    page.locator(".check").first.click()
    assert page.locator("#position").inner_text() == "1 ausgewählt"
    page.locator("#selection-remove").click()
    page.get_by_role("link", name="English").click()
    page.locator("#summary").filter(has_text="1 of 1 ready").wait_for()


def test_heading_for_fingers(open_page: Callable[..., "Page"]):
    headings = {}
    for touch in (False, True):
        page = open_page(has_touch=touch, is_mobile=touch)
        headings[touch] = page.get_by_role("heading", level=2).first.inner_text()
    assert headings[False] == "Drop black-and-white photos here"
    assert headings[True] == "Choose black-and-white photos"
