"""Make docs/web.png, the page with its samples: `python docs/make_screenshot.py`.

It needs Playwright and Debian's Chromium, as tests/test_web_browser.py does.
"""

import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn

from photochrom.web.app import STATIC, create_app

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))
from browsing import browser  # noqa: E402 (it lies beside the tests)


def main() -> None:
    """Serve the page, drop the samples on it, and write what is to be seen."""
    config = uvicorn.Config(create_app(), log_level="warning")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.05)
            take(f"http://127.0.0.1:{listening.getsockname()[1]}/", DOCS / "web.png")
        finally:
            server.should_exit = True
            thread.join()


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
