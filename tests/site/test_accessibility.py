"""The site in Chromium: keyboard, accessible names, phones, languages."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import needs_browser
from support.site import PACKAGES, needs_packages, needs_site
from support.web_page import (
    add_files,
    check_phone_layout,
    read_split,
    wait_for_colour,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, needs_site, pytest.mark.slow]


def violations(page: "Page") -> list[str]:
    """Return what axe finds against WCAG 2.2 AA."""
    page.evaluate((PACKAGES / "axe-core/axe.min.js").read_text("utf-8"))
    found: list[str] = page.evaluate(
        """async () => {
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
            const { violations } = await axe.run(document, { runOnly: tags });
            return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
        }"""
    )
    return found


@needs_packages
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: "Callable[..., Page]", photos: list[Path], scheme: str):
    page = visit(color_scheme=scheme)
    page.locator("#welcome").wait_for()
    assert violations(page) == []
    add_files(page, *photos)
    wait_until_ready(page, 3)
    wait_for_colour(page)
    page.get_by_text("More options").click()
    page.get_by_role("button", name="Set a colour").click()
    page.locator(".hint").press("Enter")
    page.locator("#palette").wait_for()
    assert violations(page) == []


def test_photo_is_made_by_keyboard(page: "Page", photos: list[Path], tmp_path: Path):
    add_files(page, *photos[:2])
    wait_until_ready(page, 2)
    wait_for_colour(page)
    page.get_by_role("option", name="grandma.jpg").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#photo-name").inner_text() == "harbour.jpeg"
    wait_for_colour(page)
    page.locator("#split").focus()
    page.keyboard.press("End")
    assert read_split(page) == 100
    page.locator("#option-saturation").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#option-saturation").input_value() != "1"
    page.keyboard.press("Control+z")
    assert page.locator("#option-saturation").input_value() == "1"
    page.locator("#download").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "harbour-color.jpeg"


def test_page_of_a_phone_fits(visit: "Callable[..., Page]", photos: list[Path]):
    page = visit(has_touch=True, device_scale_factor=2)
    check_phone_layout(page, photos, ready=3)
