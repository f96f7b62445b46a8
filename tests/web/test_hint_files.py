"""Files of hints on the page, and versions of a photo that differ by hints."""

import base64
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from photochrom.colorize.hints import format_hints, hints_from_json
from support.browser import needs_browser
from support.models import write_model
from support.photos import draw_cloths
from support.web_page import add_files, wait_for, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = needs_browser

HINTS = [{"x": 60, "y": 40, "color": "firebrick"}, {"x": 200, "y": 150, "color": "#00aa00"}]


@pytest.fixture(scope="module")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes hints, and is unsure."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_model(path, hints=3, scale=2, asymmetry=0.003, size="64")
    return path


def write_hints(photo: Path, hints: Any) -> Path:
    path = photo.with_name(f"{photo.name}.hints.json")
    path.write_text(hints if isinstance(hints, str) else json.dumps(hints))
    return path


def states(page: "Page") -> list[dict[str, Any]]:
    """Return the photos on the server."""
    photos: list[dict[str, Any]] = page.request.get(f"{page.url}photos").json()["photos"]
    return photos


def saved_hints(page: "Page") -> dict[str, Any]:
    """Return the hints of each photo on the server, by its name."""
    return {photo["name"]: photo["look"]["hints"] for photo in states(page)}


def download_all(page: "Page") -> dict[str, bytes]:
    """Return the content of the zip."""
    with page.expect_download() as waiting:
        page.locator("#download-all").click()
    page.locator("#archive").wait_for(state="hidden")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_hints_come_back_from_the_zip(page: "Page", photos: list[Path], tmp_path: Path):
    grandma, harbour, _, scan = photos
    add_files(page, write_hints(scan, HINTS[:1]), grandma, harbour, scan)
    wait_until_ready(page, 3)
    wait_for(page, lambda: saved_hints(page)["scan.tif"] == HINTS[:1])
    page.get_by_role("option", name="grandma.jpg").click()
    wait_for_colour(page)
    page.locator("#save-menu-button").click()
    assert not page.locator("#save-hints").is_visible()
    page.keyboard.press("Escape")
    add_files(page, write_hints(grandma, HINTS))  # alone: of a photo on the page
    wait_for(page, lambda: saved_hints(page)["grandma.jpg"] == HINTS)
    undo = page.locator("#undo")
    undo.click()
    assert undo.get_attribute("aria-disabled") == "true"  # it was one change
    page.locator("#redo").click()
    page.locator("#save-menu-button").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the colours you chose").click()
    assert waiting.value.suggested_filename == "grandma.jpg.hints.json"
    text = format_hints(hints_from_json(HINTS))
    assert waiting.value.path().read_text() == text
    wait_for(page, lambda: saved_hints(page)["grandma.jpg"] == HINTS)

    first = download_all(page)
    files = ["grandma.jpg.hints.json", "scan.tif.hints.json"]
    results = ["grandma-color.jpg", "harbour-color.jpg", "scan-color.tif"]
    assert sorted(first) == sorted(files + results)
    assert first[files[0]].decode() == text
    page.locator("#remove-all").click()
    page.locator("#confirm-remove button[value=yes]").click()
    for name in files:
        (tmp_path / name).write_bytes(first[name])
    add_files(page, tmp_path / files[0], harbour, scan, grandma, tmp_path / files[1])
    wait_until_ready(page, 3)
    expected = {"grandma.jpg": HINTS, "harbour.jpg": [], "scan.tif": HINTS[:1]}
    wait_for(page, lambda: saved_hints(page) == expected)
    assert not page.locator("#notice").is_visible()
    assert download_all(page) == first


def test_files_that_cannot_be_used_are_named(page: "Page", photos: list[Path], tmp_path: Path):
    grandma, harbour, wedding, scan = photos
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "PATCH" else None)
    add_files(
        page,
        *(grandma, harbour, wedding, scan),
        write_hints(grandma, "[{"),
        write_hints(harbour, [{"x": 1, "y": 2, "color": "redd"}]),
        write_hints(wedding, [{"x": 256, "y": 2, "color": "red"}]),  # it has 256 px
        write_hints(scan, HINTS),
        write_hints(tmp_path / "uncle.jpg", HINTS),
    )
    wait_until_ready(page, 4)
    for sentence in (
        "grandma.jpg.hints.json was not used: it is no list of colours",
        "harbour.jpg.hints.json was not used: the hint's colour is 'redd'; it has to be",
        r"wedding.jpeg.hints.json was not used: [^:]* lies outside",
        "uncle.jpg.hints.json was not used: its photo is not here.",
    ):
        page.locator("#notice").filter(has_text=re.compile(sentence)).wait_for()
    expected = {"grandma.jpg": [], "harbour.jpg": [], "wedding.jpeg": [], "scan.tif": HINTS}
    wait_for(page, lambda: saved_hints(page) == expected)
    page.get_by_role("option", name="wedding.jpeg").click()
    assert page.locator("#undo").get_attribute("aria-disabled") == "true"
    # The server has them: sent again, they might be refused.
    id = next(state["id"] for state in states(page) if state["name"] == "scan.tif")
    assert sent.count(f"{page.url}photos/{id}") == 1


ADD = """async ([picture, photos, hints]) => {
    const { addFiles } = await import("/static/photos.js");
    const { addHintFiles } = await import("/static/hint_files.js");
    const content = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    const folders = new Map();
    const create = (path, content) => {
        const file = new File([content], path.split("/").at(-1));
        folders.set(file, path.slice(0, path.lastIndexOf("/")));
        return file;
    };
    const files = photos.map((path) => create(path, content));
    const hintFiles = hints.map(([path, text]) => create(path, text));
    await addHintFiles(hintFiles, addFiles(files, "tiny", 1e7), (file) => folders.get(file));
}"""
"""What a drop of folders does, which tests cannot make."""


def test_photos_of_one_name_get_the_hints_of_their_folder(page: "Page", photos: list[Path]):
    picture = base64.b64encode(photos[0].read_bytes()).decode()
    hints = [
        ["/zip/a_.jpg.hints (2).json", json.dumps(HINTS[:1])],  # as a zip and browsers name it
        ["/0/a_.jpg.hints.json", json.dumps(HINTS)],
    ]
    page.evaluate(ADD, [picture, ["/0/a?.jpg", "/1/a?.jpg", "/2/a?.jpg"], hints])
    wait_until_ready(page, 3)
    # Uploads may end in another order, which is the server's.
    ids = page.evaluate(
        """async () => {
            const { photos } = await import("/static/photos.js");
            return photos.map(({ id }) => id);
        }"""
    )
    expected = dict(zip(ids, [HINTS, HINTS[:1], []], strict=True))
    wait_for(page, lambda: {p["id"]: p["look"]["hints"] for p in states(page)} == expected)


def test_version_of_hints_is_chosen_by_a_click(page: "Page", photos: list[Path], tmp_path: Path):
    Image.fromarray(draw_cloths(300, 400)).convert("L").save(tmp_path / "cloths.png")
    add_files(page, tmp_path / "cloths.png", photos[0])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    pictures = page.locator(".version img")
    pictures.nth(3).wait_for()
    versions = page.get_by_role("group", name="Versions").get_by_role("radio")
    assert versions.nth(0).is_checked()
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/versions" in r.url else None)
    page.locator("label.version").nth(2).click()
    wait_for(page, lambda: len(saved_hints(page)["cloths.png"]) == 3)
    chosen = saved_hints(page)["cloths.png"]
    assert versions.nth(2).is_checked()
    page.wait_for_timeout(1000)  # longer than a change waits for its versions
    assert requests == []

    page.get_by_role("option", name="grandma.jpg").click()
    page.get_by_role("option", name="cloths.png").click()
    pictures.nth(3).wait_for()
    assert versions.nth(2).is_checked()  # the server knows what it is a version of
    page.evaluate(
        """async (hints) => {
            const { photos } = await import("/static/photos.js");
            const { changeLook } = await import("/static/looks.js");
            changeLook(photos.slice(0, 1), { hints });
        }""",
        chosen[:1],
    )
    pictures.nth(3).wait_for()
    assert versions.nth(0).is_checked()  # of the look with the hint that is left
    page.locator("#undo").click()
    pictures.nth(3).wait_for()
    assert versions.nth(2).is_checked()
    page.locator("#undo").click()
    assert versions.nth(0).is_checked()
    wait_for(page, lambda: saved_hints(page)["cloths.png"] == [])
