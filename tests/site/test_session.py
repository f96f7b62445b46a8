"""The site in Chromium: what is kept over a reload, and a worker that dies."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import needs_browser
from support.site import needs_site
from support.web_page import add_files, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [needs_browser, needs_site, pytest.mark.slow]

COUNT_RECORDS = """async () => {
    const [{ name }] = await indexedDB.databases();
    const request = indexedDB.open(name);
    await new Promise((resolve) => (request.onsuccess = resolve));
    const stores = [...request.result.objectStoreNames];
    const transaction = request.result.transaction(stores);
    const counts = stores.map((store) => transaction.objectStore(store).count());
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    request.result.close();
    return Object.fromEntries(stores.map((store, index) => [store, counts[index].result]));
}"""
MAKE_OLD = """async () => {
    const [{ name }] = await indexedDB.databases();
    const request = indexedDB.open(name);
    await new Promise((resolve) => (request.onsuccess = resolve));
    const transaction = request.result.transaction("sessions", "readwrite");
    const sessions = transaction.objectStore("sessions");
    sessions.getAllKeys().onsuccess = ({ target }) => {
        for (const key of target.result) sessions.put(Date.now() - 25 * 3600 * 1000, key);
    };
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    request.result.close();
}"""
WITHOUT_DATABASE = """
    IDBFactory.prototype.open = () => { throw new DOMException("", "SecurityError"); };
"""
DIES_ONCE = """
    const post = self.postMessage.bind(self);
    const names = new Map();
    let isDead = false;
    self.postMessage = (message) => {
        post(message);
        if (message.type === "keep") names.set(message.photo.id, message.photo);
        const photo = names.get(message.type === "working" ? message.photo : null);
        if (!photo?.name.startsWith("bomb") || photo.failure || isDead) return;
        isDead = true;
        setTimeout(() => { throw new Error("no memory"); });
    };
"""
"""The worker ends while it works on a photo, but not on one that has failed before."""


def count_photos(page: "Page") -> int:
    return page.locator(".thumbnail").count()


def test_reload_shows_the_photos_and_their_looks(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 3)
    page.get_by_role("option", name="wedding.png").click()
    wait_for_colour(page)
    page.fill("#option-saturation", "0.5")
    page.locator("#option-saturation").dispatch_event("change")
    wait_for_colour(page)
    page.reload()
    wait_for_colour(page)
    assert count_photos(page) == 3
    assert page.locator("#photo-name").inner_text() == "wedding.png"
    assert page.locator("#option-saturation").input_value() == "0.5"
    page.get_by_role("button", name="Undo", exact=True).click()
    assert page.locator("#option-saturation").input_value() == "1"


def test_tabs_do_not_share_photos(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_for_colour(page)
    with page.expect_popup() as popup:
        page.evaluate("window.open(location.href)")  # which has a copy of the tab's storage
    copy = popup.value
    copy.locator("#drop-zone").wait_for()
    add_files(copy, photos[1])
    wait_for_colour(copy)
    assert copy.locator(".thumbnail .file-name").all_inner_texts() == ["harbour.jpeg"]
    copy.get_by_role("button", name="Remove all").click()
    copy.locator("#confirm-remove button[value=yes]").click()
    copy.locator("#drop-zone").wait_for()
    page.reload()
    wait_for_colour(page)
    assert page.locator(".thumbnail .file-name").all_inner_texts() == ["grandma.jpg"]


def test_removed_photos_are_deleted(page: "Page", photos: list[Path]):
    add_files(page, *photos)
    wait_until_ready(page, 3)
    assert page.evaluate(COUNT_RECORDS) == {"files": 3, "photos": 3, "sessions": 1}
    page.get_by_role("button", name="Remove all").click()
    page.locator("#confirm-remove button[value=yes]").click()
    page.locator("#drop-zone").wait_for()
    page.reload()
    page.locator("#drop-zone").wait_for()
    assert page.evaluate(COUNT_RECORDS) == {"files": 0, "photos": 0, "sessions": 1}
    assert page.locator("#notice").is_hidden()


def test_photos_of_a_closed_tab_are_deleted_after_a_day(page: "Page", photos: list[Path]):
    add_files(page, photos[0])
    wait_until_ready(page)
    other = page.context.new_page()
    other.goto(page.url)
    add_files(other, photos[1])
    wait_until_ready(other)
    url = page.url
    page.goto("about:blank")
    other.evaluate(MAKE_OLD)
    third = page.context.new_page()
    third.goto(url)
    add_files(third, photos[2])
    wait_until_ready(third)
    # The other tab is old, but open.
    assert third.evaluate(COUNT_RECORDS) == {"files": 2, "photos": 2, "sessions": 2}
    page.goto(url)
    page.get_by_text("because the page was not used for a while").wait_for()
    assert count_photos(page) == 0


def test_without_a_database_photos_are_kept_until_a_reload(page: "Page", photos: list[Path]):
    page.add_init_script(WITHOUT_DATABASE)
    page.reload()
    add_files(page, photos[0])
    wait_for_colour(page)
    page.reload()
    page.get_by_text("please add the photos again").wait_for()
    add_files(page, photos[1])
    wait_for_colour(page)


def test_photo_that_ends_the_worker(
    visit: "Callable[..., Page]", photos: list[Path], expected_messages: list[str]
):
    expected_messages += ["the worker has ended", "Service Worker registration blocked"]
    page = visit(service_workers="block")

    def answer(route: "Route") -> None:
        response = route.fetch()
        route.fulfill(response=response, body=DIES_ONCE + response.text())

    page.route("**/worker.js*", answer)
    page.reload()
    bomb = photos[1].rename(photos[1].with_name("bomb.jpg"))
    add_files(page, photos[0], bomb, photos[2])
    page.locator(".thumbnail[data-status=failed]").wait_for()
    wait_until_ready(page, 2)  # by another worker
    page.get_by_role("option", name="bomb.jpg").click()
    page.locator("#error-text").wait_for()
    assert "the work on bomb.jpg was broken off" in page.locator("#error-text").inner_text()
    page.get_by_role("option", name="wedding.png").click()
    wait_for_colour(page)
