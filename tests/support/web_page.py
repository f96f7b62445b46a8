"""Acting on the page of `photochrom web`, for its browser tests."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page


def add_files(page: "Page", *paths: Path) -> None:
    """Choose files with the visible button."""
    page.set_input_files("input.file-input:visible", list(paths))


def wait_until_ready(page: "Page", count: int = 1) -> None:
    page.locator(".thumbnail[data-status=ready]").nth(count - 1).wait_for()


def wait_for_colour(page: "Page") -> None:
    """Wait until the preview is shown and its animation has ended."""
    page.locator("#split").wait_for()
    wait_for(page, lambda: read_split(page) > 64.9)


def wait_for(page: "Page", condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30  # CI machines are slow
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)  # unlike time.sleep, this handles events of the page


def wait_until_unchanged(page: "Page", read: Callable[[], object], seconds: float) -> None:
    """Wait until `read` has returned the same for some time."""
    value, since = read(), time.monotonic()

    def is_unchanged() -> bool:
        nonlocal value, since
        if (new := read()) != value:
            value, since = new, time.monotonic()
        return time.monotonic() - since > seconds

    wait_for(page, is_unchanged)


def reload(page: "Page") -> None:
    with page.expect_response("**/photos"):
        page.reload()


def click(page: "Page", x: float, y: float, *, count: int = 1) -> None:
    """Click at a place in the window, with times that make it a click on a slow computer too."""
    place = {"x": x, "y": y}
    moved = {"type": "mouseMoved", **place}
    events = [moved]
    for number in range(1, count + 1):
        button = {**place, "button": "left", "clickCount": number}
        events += [{"type": f"mouse{kind}", **button} for kind in ("Pressed", "Released")]
    _send(page, "Input.dispatchMouseEvent", events)


def tap(page: "Page", x: float, y: float, *, count: int = 1) -> None:
    """Tap at a place in the window, with times that make it a tap on a slow computer too."""
    start = {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    end = {"type": "touchEnd", "touchPoints": []}
    _send(page, "Input.dispatchTouchEvent", [start, end] * count)


def _send(page: "Page", method: str, events: list[dict[str, Any]]) -> None:
    """Send input events that follow each other in 20 ms, by their times."""
    session = page.context.new_cdp_session(page)
    begin = time.time()
    for number, event in enumerate(events):
        session.send(method, {**event, "timestamp": begin + 0.02 * number})
    session.detach()


def read_split(page: "Page") -> float:
    """Return the percentage shown in colour, from the computed style."""
    clip = page.evaluate("getComputedStyle(document.getElementById('before')).clipPath")
    match = re.search(r"inset\(0px 0px 0px ([\d.e-]+)%", clip)
    return float(match[1]) if match else 0  # only the original is shown


def chroma(png: bytes) -> Any:
    """Return the mean distance from grey of each column, without the edges."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return np.ptp(pixels[10:-60], axis=2).mean(axis=0)


def shown_sizes(page: "Page") -> list[int]:
    return page.eval_on_selector_all("#frame img", "all => all.map(each => each.naturalWidth)")


def use_readable_part(page: "Page", photo: Path) -> None:
    """Cut off the end of a photo's file, add it, and use the part that can be read."""
    content = photo.read_bytes()
    photo.write_bytes(content[: len(content) * 2 // 3])
    add_files(page, photo)
    page.get_by_role("button", name="Use the part that can be read").click()
    wait_for_colour(page)


def check_phone_layout(page: "Page", photos: list[Path], ready: int) -> None:
    """Add photos, `ready` of which succeed; the page of a phone is not too wide before or after."""
    page.set_viewport_size({"width": 390, "height": 844})
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= 390
    add_files(page, *photos)
    wait_until_ready(page, ready)
    wait_for_colour(page)
    assert page.evaluate(width) <= 390
    box = page.locator("#download").bounding_box()
    assert box
    assert box["y"] + box["height"] <= 844  # visible without scrolling
