"""What the page saves: files, a zip with progress, the clipboard, the share sheet."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from support.browser import needs_browser
from support.photos import draw
from support.web_page import add_files, wait_for, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = needs_browser

SHARE = """
    navigator.canShare = ({ files }) => files.length === 1;
    window.shared = [];
    window.refusals = 0;
    navigator.share = async ({ files }) => {
        if (window.refusals-- > 0) throw new DOMException("too late", "NotAllowedError");
        window.shared.push([files[0].name, files[0].type, files[0].size]);
    };
"""
"""A share sheet, which headless Chromium has not."""


def open_menu(page: "Page") -> None:
    page.get_by_role("button", name="More ways to save").click()


def menu_items(page: "Page") -> list[str]:
    return page.locator("#save-menu button:visible").all_inner_texts()


def chroma(image: Image.Image) -> Any:
    """Return the distance from grey of each pixel."""
    return np.ptp(np.asarray(image.convert("RGB")).astype(int), axis=2)


def save(page: "Page", button: str) -> tuple[str, bytes]:
    """Return the name and the content of the file that a button of the menu saves."""
    open_menu(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_jpeg_is_offered_for_other_formats(page: "Page", photos: list[Path]):
    add_files(page, photos[0], photos[3])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    open_menu(page)
    assert menu_items(page) == ["Copy the picture", "Save before and after"]
    page.keyboard.press("Escape")
    page.get_by_role("option", name="scan.tif").click()
    name, content = save(page, "Save as JPEG")
    assert name == "scan.tif-color.jpg"
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("JPEG", (264, 180))
        assert chroma(image).mean() > 10
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "scan-color.tif"


def test_heic_is_downloaded_as_jpeg(page: "Page", tmp_path: Path):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "phone.heic"
    picture = Image.fromarray(draw(180, 240)).convert("L").convert("RGB")
    pillow_heif.from_pillow(picture).save(path)
    add_files(page, path)
    wait_for_colour(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "phone.heic-color.jpg"
    name, content = save(page, "Save as PNG, a large file")
    assert name == "phone.heic-color.png"
    assert content.startswith(b"\x89PNG")


def test_menu_by_keyboard(page: "Page", photos: list[Path]):
    add_files(page, photos[3])
    wait_for_colour(page)
    button = page.get_by_role("button", name="More ways to save")
    focused = "document.activeElement.id"
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert page.evaluate(focused) == "save-as-jpeg"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "copy"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "save-comparison"
    page.keyboard.press("Tab")
    assert not page.locator("#save-menu").is_visible()
    button.press("Enter")
    page.keyboard.press("Escape")
    assert not page.locator("#save-menu").is_visible()
    assert page.evaluate(focused) == "save-menu-button"
    button.click()
    page.locator("#photo-name").click()
    assert not page.locator("#save-menu").is_visible()


def test_menu_button_keeps_the_focus_while_a_file_is_made(page: "Page", photos: list[Path]):
    add_files(page, photos[3])
    wait_for_colour(page)
    requests: list[Route] = []
    page.route("**/result?*", lambda route: requests.append(route))
    button = page.get_by_role("button", name="More ways to save")
    button.press("Enter")
    page.keyboard.press("Enter")
    wait_for(page, lambda: len(requests) == 1)
    focused = "document.activeElement.id"
    assert button.get_attribute("aria-disabled") == "true"
    assert page.evaluate(focused) == "save-menu-button"
    page.keyboard.press("Enter")
    assert not page.locator("#save-menu").is_visible()
    with page.expect_download():
        requests[0].continue_()
    wait_for(page, lambda: button.get_attribute("aria-disabled") == "false")
    assert page.evaluate(focused) == "save-menu-button"


def test_picture_is_copied(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    add_files(page, photos[3])
    wait_for_colour(page)
    open_menu(page)
    page.get_by_role("button", name="Copy the picture").click()
    page.locator("#status").filter(has_text="scan.tif was copied.").wait_for(state="attached")
    content = page.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            return [...new Uint8Array(await (await item.getType("image/png")).arrayBuffer())];
        }"""
    )
    with Image.open(io.BytesIO(bytes(content))) as image:
        assert (image.format, image.size) == ("PNG", (264, 180))
        assert chroma(image).mean() > 10


def test_failed_copy_is_shown(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page()
    refuse = "async () => { throw new DOMException('no', 'NotAllowedError'); }"
    page.evaluate(f"() => {{ navigator.clipboard.write = {refuse}; }}")
    add_files(page, photos[0])
    wait_for_colour(page)
    open_menu(page)
    page.get_by_role("button", name="Copy the picture").click()
    sentence = "The browser could not do this with grandma.jpg."
    page.locator("#notice").filter(has_text=sentence).wait_for()
    assert page.locator("#download").inner_text() == "Download"


def test_result_is_shared(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page()
    page.add_init_script(SHARE)
    page.reload()
    add_files(page, photos[3])
    wait_for_colour(page)
    open_menu(page)
    page.evaluate("window.refusals = 1")
    page.get_by_role("button", name="Share…", exact=True).click()
    page.locator("#notice").filter(has_text="scan.tif-color.jpg is ready.").wait_for()
    open_menu(page)
    page.get_by_role("button", name="Share…", exact=True).click()
    wait_for(page, lambda: len(page.evaluate("window.shared")) == 1)
    open_menu(page)
    page.get_by_role("button", name="Share before and after…").click()
    wait_for(page, lambda: len(page.evaluate("window.shared")) == 2)
    shared = page.evaluate("window.shared")
    assert [name for name, _, _ in shared] == ["scan.tif-color.jpg", "scan-before-after.jpg"]
    assert {type_ for _, type_, _ in shared} == {"image/jpeg"}
    assert min(size for _, _, size in shared) > 1000


@pytest.mark.parametrize(
    ("size", "saved"),
    [((240, 300), (488, 300)), ((300, 200), (300, 408)), ((1500, 1600), (1870, 995))],
)
def test_comparison_has_the_original_and_the_result(
    page: "Page", tmp_path: Path, size: tuple[int, int], saved: tuple[int, int]
):
    path = tmp_path / "grandma.old.png"
    Image.fromarray(draw(180, 240)).convert("L").resize(size).save(path)
    add_files(page, path)
    wait_for_colour(page)
    name, content = save(page, "Save before and after")
    assert name == "grandma.old-before-after.jpg"
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "JPEG"
        assert max(image.size) <= 2000
        if max(size) < 1000:
            assert image.size == saved
        width, height = image.size
        sides = (width // 2 - 10, height) if saved[0] > saved[1] else (width, height // 2 - 10)
        colours = chroma(image)
        assert colours[: sides[1], : sides[0]].mean() < 3
        assert colours[-sides[1] :, -sides[0] :].mean() > 10


def download_all(page: "Page", button: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    assert download.value.suggested_filename == "photochrom.zip"
    return download.value.path().read_bytes()


def test_selection_is_downloaded(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    page.get_by_role("button", name="Show all").click()
    for index in (0, 3):
        page.locator(".check").nth(index).click()
    with page.expect_download() as download:
        page.locator("#selection-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert set(archive.namelist()) == {"grandma-color.jpg", "scan-color.tif"}
    page.locator(".thumbnail").nth(0).click()
    with page.expect_download() as download:
        page.locator("#selection-download").click()
    assert download.value.suggested_filename == "scan-color.tif"


def imitate_archives(page: "Page", states: list[dict[str, Any]]) -> list[str]:
    """Answer each request for the state of an archive with the next one; list the requests."""
    requests: list[str] = []

    def answer(route: "Route") -> None:
        request = route.request
        requests.append(request.method)
        if request.url.endswith(".zip"):
            headers = {"Content-Disposition": 'attachment; filename="photochrom.zip"'}
            route.fulfill(body=b"PK", content_type="application/zip", headers=headers)
        elif request.method == "POST":
            assert len(json.loads(request.post_data or "")["photos"]) == 3
            route.fulfill(json={"id": "z1"})
        elif request.method == "DELETE":
            states[:] = states[-1:]
            route.fulfill(status=204)
        else:
            route.fulfill(json=states.pop(0) if len(states) > 1 else states[0])

    page.route("**/archives**", answer)
    page.route("**/archives/**", answer)
    return requests


BUSY = {
    "total": 3,
    "done": 1,
    "name": "harbour.jpg",
    "failed": [],
    "finished": False,
    "stopped": False,
}


def test_progress_of_a_zip_and_its_failures_are_shown(
    page: "Page", photos: list[Path], tmp_path: Path
):
    add_files(page, *photos[:3])
    wait_until_ready(page, 3)
    bad = tmp_path / "notes.jpg"
    bad.write_text("this is not a photo")
    add_files(page, bad)
    page.locator(".thumbnail[data-status=failed]").wait_for()
    last = BUSY | {"done": 3, "name": None, "failed": ["grandma.jpg"], "finished": True}
    requests = imitate_archives(page, [BUSY, BUSY, BUSY, last])
    page.get_by_role("button", name="Download all").click()
    page.locator("#archive").filter(has_text="Making 2 of 3: harbour.jpg").wait_for()
    bar = page.get_by_role("progressbar", name="Making 2 of 3: harbour.jpg")
    assert bar.evaluate("bar => bar.value / bar.max") == pytest.approx(1 / 3)
    sentence = "2 of 4 photos are in photochrom.zip. Missing: grandma.jpg, notes.jpg."
    page.locator("#notice").filter(has_text=sentence).wait_for()
    assert not page.locator("#archive").is_visible()
    assert requests.count("POST") == 1


def test_zip_is_stopped(page: "Page", photos: list[Path]):
    add_files(page, *photos[:3])
    wait_until_ready(page, 3)
    requests = imitate_archives(page, [BUSY] * 100 + [BUSY | {"stopped": True}])
    page.get_by_role("button", name="Download all").click()
    page.locator("#archive").filter(has_text="Making 2 of 3").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#archive").wait_for(state="hidden")
    assert "DELETE" in requests
    status = page.locator("#status")
    status.filter(has_text="Stopped: 1 of 3 photos is in photochrom.zip.").wait_for(
        state="attached"
    )
