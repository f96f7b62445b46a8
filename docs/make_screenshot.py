"""Make docs/web.png and docs/site-phone.png: `python docs/make_screenshot.py`.

They show the page of the server, and of the site on a phone, with samples. It needs Playwright
and Chromium, as tests/web/test_browser.py does, and the bundle of the site.
"""

import sys
import tempfile
from pathlib import Path

from photochrom.site.writing import write_site
from photochrom.web.app import STATIC, create_app

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from support.browser import launch_browser  # noqa: E402
from support.server import run_server  # noqa: E402
from support.site import serve_folder  # noqa: E402


def main() -> None:
    """Serve the page and the site, and take the screenshots."""
    with run_server(create_app()) as url:
        take_screenshot(url, DOCS / "web.png")
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        write_site(site)
        with serve_folder(site) as server:
            take_phone_screenshot(server.url, DOCS / "site-phone.png")


def take_screenshot(url: str, target: Path) -> None:
    """Add the samples to the page at `url`, give one hints, and write a PNG."""
    samples = sorted((STATIC / "samples").glob("*.jpg"))
    with launch_browser() as chromium:
        page = chromium.new_page(
            viewport={"width": 1280, "height": 800},
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(url)
        page.set_input_files("#file-input", samples)
        page.locator(".thumbnail[data-status=ready] .colored").nth(len(samples) - 1).wait_for()
        page.locator("#split").wait_for()
        # The suit of the first photo, the astronaut, gets its colour at two places.
        for x, y in ((0.24, 0.65), (0.58, 0.65)):
            frame = page.locator("#frame").bounding_box()
            assert frame is not None
            page.mouse.click(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
            page.locator("#palette [data-color]").first.wait_for()
            page.locator("#palette-picker").fill("#e06a10")
            page.wait_for_timeout(1000)
            if x < 0.5:
                page.locator("#palette-close").click()
        page.mouse.move(0, 0)
        page.locator(".version-picture img").nth(3).wait_for()
        page.wait_for_timeout(1000)  # until the thumbnails have faded in
        page.screenshot(path=target)


def take_phone_screenshot(url: str, target: Path) -> None:
    """Colorize the sample of the astronaut on the site at `url`, and write a PNG."""
    with launch_browser() as chromium:
        page = chromium.new_page(
            viewport={"width": 390, "height": 844},
            device_scale_factor=2,
            has_touch=True,
            is_mobile=True,
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.set_default_timeout(120_000)
        page.goto(url)
        for name in ("chelsea", "rocket", "astronaut"):
            page.set_input_files("input.file-input:visible", STATIC / f"samples/{name}.jpg")
        page.locator(".thumbnail[data-status=ready]").nth(2).wait_for()
        page.get_by_role("option", name="astronaut.jpg").click()
        page.locator("#split").wait_for()
        page.wait_for_timeout(1000)  # until the thumbnails have faded in
        page.screenshot(path=target)


if __name__ == "__main__":
    main()
