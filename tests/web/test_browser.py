"""The page of `photochrom web` in a browser, against the real server."""

import io
import re
import statistics
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from photochrom.batch.planning import Job
from photochrom.batch.process_pool import WorkerTimeoutError
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from photochrom.web.service import Service
from support.browser import needs_browser
from support.photos import draw
from support.web_page import (
    add_files,
    check_phone_layout,
    chroma,
    read_split,
    reload,
    shown_sizes,
    use_readable_part,
    wait_for,
    wait_for_colour,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, pytest.mark.slow]


def test_dropped_photo_is_colorized(page: "Page", photos: list[Path]):
    assert page.locator("#welcome").is_visible()
    content = list(photos[0].read_bytes())
    page.evaluate(
        """content => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(content)], "grandma.jpg"));
            for (const type of ["dragenter", "drop"])
                document.querySelector("h2").dispatchEvent(
                    new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    wait_until_ready(page)
    wait_for_colour(page)
    assert not page.locator("#welcome").is_visible()
    assert shown_sizes(page) == [240, 240]
    columns = chroma(page.locator("#frame").screenshot())
    middle = round(len(columns) * 0.65)
    assert columns[10 : middle - 30].mean() > 15
    assert columns[middle + 30 : -10].mean() < 2
    assert page.locator("#photo-name").inner_text() == "grandma.jpg"
    assert "240 \u00d7 180 px" in page.locator("#photo-info").inner_text()
    assert page.locator("#status").inner_text() == "grandma.jpg is ready. 1 of 1 ready."
    assert page.title() == "photochrom: 1 of 1 ready"


def test_colour_is_revealed_once(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page(motion="no-preference")
    add_files(page, *photos[:2])
    page.locator("#split").wait_for()
    assert read_split(page) < 64
    wait_for_colour(page)
    wait_until_ready(page, 2)
    page.locator("#split").press("End")
    page.get_by_role("option", name="harbour.jpg").click()
    wait_for(page, lambda: read_split(page) < 64)
    wait_for_colour(page)
    page.locator("#split").press("End")
    page.get_by_role("option", name="grandma.jpg").click()
    page.get_by_role("img", name="grandma.jpg, in colour").wait_for()
    assert read_split(page) == 100


def test_comparison_slider_by_keyboard(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_for_colour(page)
    slider = page.get_by_role("slider", name="Percentage shown in colour")
    slider.focus()
    for key, least, most in (("Home", 0, 0), ("ArrowRight", 0.5, 5), ("End", 100, 100)):
        page.keyboard.press(key)
        assert least <= read_split(page) <= most
    assert slider.get_attribute("aria-valuetext") == "100%"
    page.keyboard.press("ArrowLeft")
    assert 95 <= read_split(page) < 100


MOVES = """async (attempt) => {
    const slider = document.getElementById("option-saturation");
    const durations = [];
    const shift = 0.05 * attempt; // pictures of an earlier attempt are kept
    for (const value of [...[0.5, 1.5, 2, 0.2, 0.8, 1.2].map((value) => value + shift), 2.5]) {
        const swapped = new Promise(resolve => {
            new MutationObserver((_, observer) => { observer.disconnect(); resolve(); })
                .observe(document.getElementById("after"), { childList: true });
        });
        slider.value = value;
        const begin = performance.now();
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await swapped;
        durations.push(performance.now() - begin);
    }
    return durations;
}"""
"""Moves the slider, and returns the ms until each new preview is shown."""


@pytest.mark.parametrize("size", [(240, 180), (4000, 3000)])
def test_saturation_is_rendered_within_200_ms(page: "Page", tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "large.jpg"
    Image.fromarray(draw(180, 240)).convert("L").resize(size).save(path)
    add_files(page, path)
    wait_for_colour(page)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))
    before = chroma(page.locator("#frame").screenshot())[20:100].mean()
    for attempt in range(10):  # the computer may be busy
        durations = page.evaluate(MOVES, attempt)
        if statistics.median(durations) < 200:
            break
    after = chroma(page.locator("#frame").screenshot())[20:100].mean()
    assert statistics.median(durations) < 200, durations
    assert after > 1.3 * before
    assert set(requests) == {"GET"}
    assert page.locator(".thumbnail").get_attribute("data-status") == "ready"
    assert page.locator("#value-saturation").inner_text() == "250%"


def test_latest_slider_value_wins(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_for_colour(page)
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/after?" in r.url else None)
    page.evaluate(
        """() => {
            const slider = document.getElementById("option-saturation");
            for (let value = 0; value <= 3; value += 0.25) {
                slider.value = value;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }"""
    )
    wait_for(page, lambda: any("saturation=3&" in url for url in requests))
    assert len(requests) <= 3


def test_many_files_some_invalid(page: "Page", photos: list[Path], tmp_path: Path):
    bad = tmp_path / "notes.jpg"
    bad.write_text("this is not a photo")
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(4_100_000))
    add_files(page, photos[0], bad, large, *photos[1:])
    wait_until_ready(page, 4)
    page.locator(".thumbnail[data-status=failed]").nth(1).wait_for()
    assert page.locator("#summary").inner_text() == "4 of 6 ready, 2 failed"
    page.get_by_role("option", name="notes.jpg").click()
    assert "notes.jpg" in page.locator("#error").inner_text()
    assert page.locator("#download").get_attribute("aria-disabled") == "true"
    page.get_by_role("option", name="large.jpg").click()
    message = "large.jpg has 4.1 MB; the limit is 4 MB."
    assert page.locator("#error").inner_text() == message
    page.get_by_role("option", name="scan.tif").click()
    page.locator("#split").wait_for()
    assert not page.locator("#error").is_visible()


def colorize(photo: Path, model: Path, **options: Any) -> bytes:
    output = photo.with_name(f"result-{photo.name}")
    colorizer = Colorizer(model, threads=1)
    result = colorize_file(Job(photo, output), colorizer, overwrite=True, **options)
    assert result.error is None
    return output.read_bytes()


def test_download_equals_command_line(page: "Page", photos: list[Path], tiny_onnx: Path):
    add_files(page, photos[0])
    wait_for_colour(page)
    page.fill("#option-saturation", "0.5")
    page.locator("#option-saturation").dispatch_event("change")
    page.get_by_text("More options").click()
    page.get_by_role("checkbox").uncheck()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert download.value.suggested_filename == "grandma-color.jpg"
    expected = colorize(photos[0], tiny_onnx, saturation=0.5, mark=False)
    assert download.value.path().read_bytes() == expected
    assert expected != colorize(photos[0], tiny_onnx, mark=False)


def test_options_for_all_photos_and_zip(page: "Page", photos: list[Path], tiny_onnx: Path):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    page.fill("#option-strength", "0.4")
    page.locator("#option-strength").dispatch_event("change")
    page.get_by_role("button", name="Apply to all photos").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    assert download.value.suggested_filename == "photochrom.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 4
        for photo in photos:
            content = archive.read(f"{photo.stem}-color{photo.suffix}")
            assert content == colorize(photo, tiny_onnx, strength=0.4)


@pytest.fixture
def large_photo(tmp_path: Path) -> Path:
    """Large enough for three versions."""
    path = tmp_path / "street.jpg"
    Image.fromarray(draw(300, 400)).convert("L").save(path)
    return path


def test_versions_are_chosen_by_a_click(page: "Page", large_photo: Path, tiny_onnx: Path):
    add_files(page, large_photo)
    wait_for_colour(page)
    page.locator(".version img").nth(2).wait_for()
    versions = page.get_by_role("group", name="Versions").get_by_role("radio")
    assert versions.count() == 3
    assert (
        page.locator(".version :checked").count() <= 1
    )  # of the size of the model, if it is there
    page.locator("label.version").nth(2).click()
    third = page.get_by_role("radio", name="Version C")
    assert third.is_checked()
    assert download(page) == colorize(large_photo, tiny_onnx, size=256)
    third.press("ArrowLeft")
    assert page.get_by_role("radio", name="Version B").is_checked()
    assert page.evaluate("document.activeElement.ariaLabel") == "Version B"
    assert download(page) == colorize(large_photo, tiny_onnx, size=192)
    page.keyboard.press("Control+z")
    assert third.is_checked()
    panel = page.locator("#panel")
    panel.get_by_text("More options").click()
    assert panel.locator("input[type=number]").count() == 0
    assert not re.search(r"\b(128|192|256|XMP|network|max-pixels)\b", panel.inner_text())


def test_versions_cost_nothing_while_photos_are_skipped(page: "Page", photos: list[Path]):
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url) if "/versions" in r.url else None)
    add_files(page, *photos[:3])
    wait_until_ready(page, 3)
    _, skipped, shown = (p["id"] for p in page.request.get(f"{page.url}photos").json()["photos"])
    page.get_by_role("option", name="grandma.jpg").click()
    with page.expect_response(lambda answer: f"{shown}/versions" in answer.url):
        page.evaluate(  # both at once, however slow the computer is
            """() => {
                const event = { key: "ArrowRight", bubbles: true };
                for (let i = 0; i < 2; i++)
                    document.body.dispatchEvent(new KeyboardEvent("keydown", event));
            }"""
        )
    assert not any(skipped in url for url in requests)
    wait_for(page, lambda: not page.locator("#versions").is_visible())  # there is only one


def test_photo_in_colour_is_noted(page: "Page", tmp_path: Path):
    path = tmp_path / "modern.png"
    Image.fromarray(draw(100, 120)).save(path)
    add_files(page, path)
    note = page.get_by_role("listitem").filter(has_text="This photo is in colour already")
    note.wait_for()


def test_photo_that_is_cut_off(page: "Page", photos: list[Path]):
    use_readable_part(page, photos[0])
    assert page.evaluate("document.activeElement.role") == "option"  # the focus is not dropped
    assert not page.locator("#error").is_visible()
    page.get_by_role("listitem").filter(has_text="A part of this file is missing").wait_for()
    assert "truncated=true" in str(page.locator("#download").get_attribute("href"))
    for name in ("Undo", "Start over"):  # there is no way back
        button = page.get_by_role("button", name=name, exact=True)
        assert button.get_attribute("aria-disabled") == "true"


def test_undo_redo_and_start_over(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_for_colour(page)
    saturation = page.locator("#option-saturation")
    undo, redo, start_over = (
        page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo", "Start over")
    )
    assert (
        undo.get_attribute("aria-disabled") == start_over.get_attribute("aria-disabled") == "true"
    )
    for option, value in (("saturation", "0.5"), ("strength", "0.4")):
        page.fill(f"#option-{option}", value)
        page.locator(f"#option-{option}").dispatch_event("change")
    undo.press("Enter")
    assert page.locator("#option-strength").input_value() == "1"
    undo.press("Enter")
    undo.press("Enter")  # there is nothing to undo
    assert saturation.input_value() == "1"
    assert page.evaluate("document.activeElement.id") == "undo"  # the focus is not dropped
    redo.press("Enter")
    assert saturation.input_value() == "0.5"
    start_over.press("Enter")
    assert saturation.input_value() == "1"
    assert redo.get_attribute("aria-disabled") == "true"
    assert page.evaluate("document.activeElement.id") == "start-over"
    saturation.focus()
    page.keyboard.press("Control+z")
    assert saturation.input_value() == "0.5"
    reload(page)
    wait_for_colour(page)
    for key, value in (("Control+z", "1"), ("Control+y", "0.5"), ("Control+Shift+z", "1")):
        page.keyboard.press(key)
        assert saturation.input_value() == value


def set_slider(page: "Page", option: str, value: str) -> None:
    page.fill(f"#option-{option}", value)
    page.locator(f"#option-{option}").dispatch_event("change")


def download(page: "Page") -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download", exact=True).click()
    return waiting.value.path().read_bytes()


def shown_chroma(page: "Page") -> float:
    """Return the mean distance from grey in the part that is shown in colour."""
    return float(chroma(page.locator("#frame").screenshot())[10:100].mean())


def test_two_tabs_show_and_download_the_same_look(
    page: "Page", photos: list[Path], tiny_onnx: Path
):
    add_files(page, photos[0])
    wait_for_colour(page)
    other = page.context.new_page()
    other.emulate_media(reduced_motion="reduce")
    other.goto(page.url)
    wait_for_colour(other)
    set_slider(page, "saturation", "0")
    slider = other.locator("#option-saturation")
    wait_for(other, lambda: slider.input_value() == "0")
    wait_for(other, lambda: shown_chroma(other) < 2)
    assert download(other) == download(page) == colorize(photos[0], tiny_onnx, saturation=0)
    other.keyboard.press("Control+z")  # what the first tab did is in the history of both
    wait_for(page, lambda: page.locator("#option-saturation").input_value() == "1")
    wait_for(page, lambda: shown_chroma(page) > 10)
    assert download(page) == colorize(photos[0], tiny_onnx)


@pytest.mark.parametrize(("route", "status"), [("**/after?*", 504), ("**/photos/*", 400)])
def test_look_that_cannot_be_made_is_taken_back(
    page: "Page", photos: list[Path], route: str, status: int
):
    def refuse(route: Any) -> None:
        request = route.request
        if "strength=0.4" in request.url or '"strength":0.4' in (request.post_data or ""):
            route.fulfill(status=status, json={"detail": "it takes too long"})
        else:
            route.fallback()

    page.route(route, refuse)
    add_files(page, photos[0])
    wait_for_colour(page)
    set_slider(page, "saturation", "2")
    wait_for(page, lambda: shown_chroma(page) > 60)
    strength = page.locator("#option-strength")
    for reloaded in (False, True):
        set_slider(page, "strength", "0.4")
        page.get_by_role("alert").filter(has_text="it takes too long").wait_for()
        wait_for(page, lambda: strength.input_value() == "1")
        assert page.locator("#option-saturation").input_value() == "2"
        wait_for(page, lambda: shown_chroma(page) > 60)
        assert strength.is_enabled()
        assert not page.locator("#error").is_visible()
        assert "strength=1" in str(page.locator("#download").get_attribute("href"))
        if not reloaded:
            page.wait_for_load_state("networkidle")
            reload(page)
            wait_for_colour(page)
            wait_for(page, lambda: page.locator("#option-saturation").input_value() == "2")
    page.get_by_role("button", name="Close").click()
    assert page.evaluate("document.activeElement.role") == "option"
    page.get_by_role("button", name="Undo", exact=True).click()
    assert page.locator("#option-saturation").input_value() == "1"


@pytest.mark.parametrize("reloaded", [False, True])
def test_look_that_is_painted_before_it_is_refused_is_taken_back(
    page: "Page", photos: list[Path], reloaded: bool
):
    held: list[Any] = []

    def hold(route: Any) -> None:
        if '"strength":0.4' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.fallback()

    page.route("**/photos/*", hold)
    add_files(page, photos[0])
    wait_for_colour(page)
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        set_slider(page, "saturation", "2")
    wait_for(page, lambda: shown_chroma(page) > 60)
    set_slider(page, "strength", "0.4")
    wait_for(page, lambda: len(held) == 1)
    if reloaded:  # it is sent again
        reload(page)
        wait_for(page, lambda: len(held) == 2)
        wait_for_colour(page)
    wait_for(page, lambda: shown_chroma(page) < 60)
    held[-1].fulfill(status=400, json={"detail": "it takes too long"})
    page.get_by_role("alert").filter(has_text="it takes too long").wait_for()
    wait_for(page, lambda: page.locator("#option-strength").input_value() == "1")
    wait_for(page, lambda: shown_chroma(page) > 60)
    assert page.locator("#option-saturation").input_value() == "2"
    page.get_by_role("button", name="Undo", exact=True).click()
    wait_for(page, lambda: page.locator("#option-saturation").input_value() == "1")
    assert page.locator("#option-strength").input_value() == "1"


def test_busy_server_blocks_no_other_picture(page: "Page", photos: list[Path]):
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "it is busy"}}
    requests: list[str] = []

    def refuse(route: Any) -> None:
        requests.append(route.request.url)
        route.fulfill(**busy)

    page.route("**/after?*strength=0.4*", refuse)
    add_files(page, photos[0])
    wait_for_colour(page)
    set_slider(page, "strength", "0.4")
    page.get_by_text("Colorizing").wait_for()
    assert shown_chroma(page) > 10
    wait_for(page, lambda: len(requests) == 2)
    page.get_by_role("button", name="Undo", exact=True).click()
    set_slider(page, "saturation", "0")
    wait_for(page, lambda: shown_chroma(page) < 2)


def crop(page: "Page", *rectangle: int) -> None:
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as saved:
        page.evaluate(
            """async (crop) => {
                const { photos } = await import("/static/photos.js");
                const { changeLook } = await import("/static/looks.js");
                changeLook(photos, { crop });
            }""",
            rectangle,
        )
    assert saved.value.ok


def test_crop_that_is_smaller_than_a_version(page: "Page", large_photo: Path):
    add_files(page, large_photo)
    wait_for_colour(page)
    versions = page.locator("label.version")
    versions.nth(2).click()
    assert "size=256&" in str(page.locator("#download").get_attribute("href"))
    crop(page, 0, 0, 200, 200)
    assert "size=&" in str(page.locator("#download").get_attribute("href"))
    assert not page.locator("#notice").is_visible()
    wait_for(page, lambda: versions.count() == 2)
    crop(page, 0, 0, 100, 100)
    page.locator("#versions").wait_for(state="hidden")
    page.get_by_role("button", name="Start over").click()
    wait_for(page, lambda: versions.count() == 3)


@pytest.mark.parametrize("arrives", [False, True])
def test_change_is_not_lost_by_a_reload_before_it_is_saved(
    page: "Page", photos: list[Path], arrives: bool
):
    add_files(page, photos[0])
    wait_for_colour(page)
    held: list[Any] = []  # the first request, which is never answered

    def hold(route: Any) -> None:
        if held:
            route.fallback()
        else:
            if arrives:
                route.fetch()
            held.append(route)

    page.route("**/photos/*", hold)
    set_slider(page, "saturation", "0.75")
    wait_for(page, lambda: len(held) == 1)
    set_slider(page, "saturation", "0.25")
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        reload(page)
    wait_for_colour(page)
    assert page.locator("#option-saturation").input_value() == "0.25"
    look = page.request.get(f"{page.url}photos").json()["photos"][0]["look"]
    assert look["saturation"] == 0.25


def test_photo_that_the_server_gave_up_is_tried_again(
    page: "Page", photos: list[Path], service: tuple[str, Service], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(service[1].queue, "run", Mock(side_effect=WorkerTimeoutError("given up")))
        add_files(page, photos[0])
        again = page.get_by_role("button", name="Try again")
        again.wait_for()
    again.click()
    wait_for_colour(page)
    assert not again.is_visible()


def test_removal_can_be_undone(page: "Page", photos: list[Path]):
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    add_files(page, *photos[:3])
    wait_until_ready(page, 3)
    page.get_by_role("option", name="harbour.jpg").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    notice = page.get_by_role("status").filter(has_text="harbour.jpg was removed.")
    notice.get_by_role("button", name="Undo").click()
    names = page.locator(".thumbnail .file-name")
    assert names.all_inner_texts() == ["grandma.jpg", "harbour.jpg", "wedding.jpeg"]
    assert page.locator("#photo-name").inner_text() == "harbour.jpg"
    assert not page.locator("#removal").is_visible()
    for _ in range(3):
        page.keyboard.press("Delete")
    page.get_by_text("3 photos were removed.").wait_for()
    assert page.locator("#welcome").is_visible()
    page.keyboard.press("Control+z")
    assert names.all_inner_texts() == ["grandma.jpg", "harbour.jpg", "wedding.jpeg"]
    assert "DELETE" not in sent
    wait_for_colour(page)


def test_reload_does_not_bring_removed_photos_back(page: "Page", photos: list[Path]):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    page.get_by_role("option", name="grandma.jpg").click()
    page.keyboard.press("Delete")
    reload(page)
    wait_until_ready(page)
    assert page.locator(".file-name").all_inner_texts() == ["harbour.jpg"]
    list_photos = f"{page.url}photos"
    wait_for(page, lambda: len(page.request.get(list_photos).json()["photos"]) == 1)


def test_removal_is_sent_after_some_seconds(open_page: Callable[..., "Page"], photos: list[Path]):
    page = open_page()
    page.clock.install()
    reload(page)
    add_files(page, photos[0])
    page.clock.resume()
    wait_for_colour(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.clock.fast_forward(8_500)
    assert not page.locator("#removal").is_visible()


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("restarted", "The server was started again; please add the photos again."),
        ("idle", "was not used for a while"),
        ("removed", "removed in another tab"),
        (None, "grandma.jpg was removed in another tab"),
    ],
)
def test_reason_why_photos_are_gone(
    page: "Page", photos: list[Path], gone: str | None, message: str
):
    add_files(page, photos[0])
    wait_for_colour(page)
    page.route(
        "**/photos", lambda route: route.fulfill(json={"server": "", "gone": gone, "photos": []})
    )
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.get_by_role("alert").filter(has_text=message).wait_for()
    assert page.locator("#welcome").is_visible()


def test_sessions_are_separate(open_page: Callable[..., "Page"], photos: list[Path]):
    own, other = open_page(), open_page()
    add_files(own, photos[0])
    wait_until_ready(own)
    address = own.locator("#download").get_attribute("href")
    reload(other)
    assert other.request.get(f"{other.url}photos").json()["photos"] == []
    assert other.locator(".thumbnail").count() == 0
    assert other.locator("#welcome").is_visible()
    assert other.request.get(f"{other.url}{address[1:]}").status == 404  # type: ignore[index]


def test_reload_keeps_photos_and_options(page: "Page", photos: list[Path]):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    page.get_by_role("option", name="harbour.jpg").click()
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        set_slider(page, "saturation", "0.25")
    reload(page)
    wait_until_ready(page, 2)
    wait_for_colour(page)
    assert page.locator("#photo-name").inner_text() == "harbour.jpg"
    assert page.locator("#option-saturation").input_value() == "0.25"


def test_lost_connection_is_retried(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_for_colour(page)
    page.context.set_offline(True)
    add_files(page, photos[1])
    alert = page.get_by_role("alert").filter(has_text="No connection to the server; trying again")
    alert.wait_for()
    page.context.set_offline(False)
    wait_until_ready(page, 2)
    alert.wait_for(state="hidden")


def test_full_server_is_retried(page: "Page", photos: list[Path]):
    times = iter([True])

    def answer(route: Any) -> None:
        if route.request.method == "POST" and next(times, False):
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "it is full"})
        else:
            route.fallback()

    page.route("**/photos?*", answer)
    add_files(page, photos[0])
    page.get_by_role("option", name="Server full, waiting").wait_for()
    wait_until_ready(page)


def test_expired_session_is_reported(
    page: "Page", photos: list[Path], service: tuple[str, Service]
):
    add_files(page, photos[0])
    wait_for_colour(page)
    page.context.clear_cookies()
    page.request.get(service[0])  # a new session, as after a restart of the server
    page.fill("#option-saturation", "0.5")
    page.locator("#option-saturation").dispatch_event("change")
    page.get_by_role("alert").filter(has_text="grandma.jpg was removed").wait_for()
    assert page.locator("#welcome").is_visible()


def test_thumbnails_by_keyboard(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 4)
    name = page.locator("#photo-name")
    page.get_by_role("option", name="grandma.jpg").click()
    page.keyboard.press("ArrowRight")
    assert name.inner_text() == "harbour.jpg"
    page.keyboard.press("End")
    assert name.inner_text() == "scan.tif"
    page.keyboard.press("ArrowLeft")
    assert name.inner_text() == "wedding.jpeg"
    page.keyboard.press("Delete")
    assert name.inner_text() == "scan.tif"
    assert page.locator(".thumbnail").count() == 3
    focused = "document.activeElement.getAttribute('aria-selected')"
    assert page.evaluate(focused) == "true"
    reload(page)
    wait_until_ready(page, 3)
    assert page.get_by_role("option", name="wedding.jpeg").count() == 0
    page.get_by_role("option", name="grandma.jpg").click()
    for _ in range(3):
        page.keyboard.press("Delete")
    assert page.locator("#welcome").is_visible()
    assert page.evaluate("document.activeElement.id") == "file-input"


def test_all_controls_are_reached_with_tab(page: "Page", photos: list[Path]):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(28):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.role"))
    expected = {"add-input", "split", "option", "option-saturation", "option-strength"}
    expected |= {
        "undo",
        "redo",
        "start-over",
        "apply-to-all",
        "download-all",
        "remove-all",
        "download",
        "remove",
    }
    assert expected <= set(reached)


def test_remove_all_asks_for_confirmation(page: "Page", photos: list[Path]):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    page.get_by_role("button", name="Remove all").click()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator(".thumbnail").count() == 2
    page.get_by_role("button", name="Remove all").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("dialog").get_by_role("button", name="Remove all").click()
    assert page.locator("#welcome").is_visible()
    reload(page)
    assert page.locator("#welcome").is_visible()


def test_photo_that_is_added_while_all_are_removed_stays(page: "Page", photos: list[Path]):
    held: list[Any] = []

    def hold(route: Any) -> None:
        if route.request.method == "DELETE":
            held.append(route)
        else:
            route.fallback()

    add_files(page, photos[0])
    wait_until_ready(page)
    page.route("**/photos", hold)
    page.get_by_role("button", name="Remove all").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove all").click()
    wait_for(page, lambda: len(held) == 1)
    add_files(page, photos[1])
    page.wait_for_timeout(500)  # in which it would be uploaded
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        held[0].continue_()
    wait_until_ready(page)
    reload(page)
    wait_until_ready(page)
    assert page.locator(".thumbnail .file-name").all_inner_texts() == ["harbour.jpg"]


def test_question_that_is_closed_after_a_removal_removes_nothing(page: "Page", photos: list[Path]):
    remove_all = page.get_by_role("button", name="Remove all")
    dialog = page.get_by_role("dialog")
    add_files(page, photos[0])
    wait_until_ready(page)
    remove_all.click()
    dialog.get_by_role("button", name="Remove all").click()
    page.locator("#welcome").wait_for()
    add_files(page, photos[1])
    wait_until_ready(page)
    remove_all.click()
    dialog.evaluate("dialog => dialog.close()")  # Escape, where it keeps an old returnValue
    dialog.wait_for(state="hidden")
    page.evaluate("new Promise(requestAnimationFrame)")  # after the event of closing
    assert page.locator(".thumbnail .file-name").all_inner_texts() == ["harbour.jpg"]


def test_sample_is_colorized(page: "Page"):
    samples = page.locator("[data-sample] img")
    widths = samples.evaluate_all("all => all.map(each => each.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 0
    samples.first.click()
    wait_for_colour(page)


def test_nothing_is_seen_through_a_transparent_thumbnail(page: "Page", tmp_path: Path):
    path = tmp_path / "oval.png"
    image = Image.fromarray(draw(180, 240)).convert("LA")
    image.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda v: 255 * (v > 150)))
    image.save(path)
    add_files(page, path)
    wait_until_ready(page)
    page.locator(".thumbnail img.colored").wait_for()
    shown = np.asarray(Image.open(io.BytesIO(page.locator(".thumbnail .preview").screenshot())))
    height, width = shown.shape[:2]
    middle = shown[height // 2 - 8 : height // 2 + 8, width // 2 - 20 : width // 2 + 20, :3]
    assert np.ptp(middle, axis=(0, 1)).max() <= 2
    assert page.locator(".thumbnail .file-type").text_content() == "PNG"


def test_pasted_image_is_colorized(page: "Page", photos: list[Path]):
    page.evaluate(
        """content => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(content)], "image.jpg"));
            document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        }""",
        list(photos[0].read_bytes()),
    )
    wait_until_ready(page)


def test_every_control_has_an_accessible_name(page: "Page", photos: list[Path]):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    page.get_by_text("More options").click()
    for control in page.locator("#panel .control:visible").all():
        help_text, field = control.locator(".help").first, control.locator("[data-option]").first
        assert field.get_attribute("aria-describedby") == help_text.get_attribute("id")
        distance = control.evaluate(  # in one call, as the panel may be moving
            """control => {
                const [label, help] = ["label", ".help"].map((part) => control.querySelector(part));
                return help.getBoundingClientRect().top - label.getBoundingClientRect().top;
            }"""
        )
        assert 0 < distance < 60
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "slider", "checkbox", "option", "listbox", "image"}
    landmarks = {"region", "main", "banner", "contentinfo"}
    found = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in roles | landmarks and not node["ignored"]:
            found.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert set(found) >= landmarks | (roles - {"image"})
    assert [role for role in roles | {"region"} if not all(found.get(role, []))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_layout_fits(open_page: Callable[..., "Page"], photos: list[Path], scheme: Any):
    page = open_page(color_scheme=scheme, has_touch=True)
    check_phone_layout(page, photos, ready=4)
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(re.findall(r"\d+", dark)[0]) < 60) == (scheme == "dark")
