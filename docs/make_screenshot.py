"""Make docs/web.png, the page with its samples: `python docs/make_screenshot.py`.

It needs Playwright and Debian's Chromium, as tests/web/test_browser.py does.
"""

import sys
from pathlib import Path

from photochrom.web.app import STATIC, create_app

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from browsing import browser  # noqa: E402 (it lies beside the tests)
from serving import running  # noqa: E402


def main() -> None:
    """Serve the page, drop the samples on it, and write what is to be seen."""
    with running(create_app()) as address:
        take(address, DOCS / "web.png")


def take(address: str, target: Path) -> None:
    """Write the screenshot.

    Args:
        address: Of the page.
        target: A PNG.
    """
    samples = sorted((STATIC / "samples").glob("*.jpg"))
    with browser() as chromium:
        page = chromium.new_page(
            viewport={"width": 1280, "height": 800},
            color_scheme="light",
            reduced_motion="reduce",
        )
        page.goto(address)
        page.set_input_files("#pick", samples)
        page.locator(".thumb[data-status=ready] .colored").nth(len(samples) - 1).wait_for()
        page.locator("#share").wait_for()
        page.wait_for_timeout(1000)  # thumbnails let go of what they cover
        page.screenshot(path=target)


if __name__ == "__main__":
    main()
