"""The site in Chromium: what is loaded, kept, and used without a network."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import needs_browser
from support.site import FOLDER, FileServer, needs_site, serve_folder
from support.web_page import add_files, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, needs_site, pytest.mark.slow]


def wait_until_offline_works(page: "Page") -> None:
    """Wait until the service worker has all files."""
    page.locator("#offline-note").wait_for()


def test_first_load_is_within_25_megabytes(
    visit: "Callable[..., Page]", default_files: Path, photos: list[Path]
):
    with serve_folder(default_files) as server:
        page = visit(server.url + FOLDER)
        add_files(page, photos[0])
        wait_for_colour(page)
        wait_until_offline_works(page)
        assert 10_000_000 < sum(server.sent.values()) < 25_000_000
        assert all(path.startswith(f"/{FOLDER}") for path in server.sent)


def test_site_works_without_a_network(
    visit: "Callable[..., Page]",
    files: Path,
    photos: list[Path],
    expected_messages: list[str],
):
    with serve_folder(files) as server:
        page = visit(server.url + FOLDER)
        add_files(page, photos[0])
        wait_for_colour(page)
        wait_until_offline_works(page)
    page.reload()
    wait_for_colour(page)
    add_files(page, photos[2])
    wait_until_ready(page, 2)
    page.get_by_role("link", name="Deutsch").click()
    page.locator("#download", has_text="Herunterladen").wait_for()
    assert page.locator(".thumbnail").count() == 2


def test_policy_allows_only_files_of_the_site(
    page: "Page", server: FileServer, files: Path, expected_messages: list[str]
):
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"',
        html.unescape((files / FOLDER / "index.html").read_text("utf-8")),
    )
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";") if rule.strip())
    assert rules["default-src"] == "'none'"
    sources = {source for rule in rules.values() for source in rule.split()}
    assert sources <= {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:", "data:"}
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
    expected_messages.append("Content Security Policy")
    with serve_folder(files) as other:
        failed = page.evaluate("(url) => fetch(url).then(() => 0, () => 1)", other.url)
        assert failed == 1
        assert other.sent == {}


def test_site_can_be_installed(page: "Page", server: FileServer):
    manifest = page.evaluate(
        """async () => {
            const url = document.querySelector("link[rel=manifest]").href;
            const manifest = await (await fetch(url)).json();
            const icons = await Promise.all(manifest.icons.map(async (icon) => {
                const image = new Image();
                image.src = new URL(icon.src, url);
                await image.decode();
                return [image.naturalWidth, image.naturalHeight];
            }));
            return { ...manifest, sizes: icons };
        }"""
    )
    assert manifest["name"]
    assert manifest["display"] == "standalone"
    assert [192, 192] in manifest["sizes"]
    assert [512, 512] in manifest["sizes"]
    assert not manifest["start_url"].startswith(("/", "http"))
    errors = page.context.new_cdp_session(page).send("Page.getInstallabilityErrors")
    assert [error["errorId"] for error in errors["installabilityErrors"]] == ["in-incognito"]
