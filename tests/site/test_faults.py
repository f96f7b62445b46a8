"""The site in Chromium: what it refuses, and says in a sentence."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from support.browser import needs_browser
from support.photos import draw
from support.site import FOLDER, FileServer, needs_site
from support.web_page import add_files, use_readable_part, wait_for_colour, wait_until_ready

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, needs_site, pytest.mark.slow]

GREY = Image.fromarray(draw(180, 240)).convert("L")


def write_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(2000))


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_tiff(path: Path) -> None:
    GREY.save(path)


def write_16_bits(path: Path) -> None:
    cv2.imwrite(str(path), np.asarray(GREY).astype(np.uint16) * 257)


def write_cmyk(path: Path) -> None:
    GREY.convert("CMYK").save(path)


def write_heic(path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(GREY.convert("RGB")).save(path)


def write_huge(path: Path) -> None:
    """Write a PNG of 30000 x 30000 px, without its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(100_000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


CASES = [
    ("noise.jpg", write_noise, "is not a photo in a format that a browser opens"),
    ("empty.jpg", write_empty, "is empty: 0 bytes"),
    ("scan.tif", write_tiff, "is a TIFF, which a browser cannot open as it is"),
    ("deep.png", write_16_bits, "has 16 bits for each channel, of which 8 would be lost here"),
    ("print.jpg", write_cmyk, "is a JPEG of inks (CMYK), which cannot be kept here"),
    ("phone.heic", write_heic, "HEIC, which this browser cannot open"),
    ("huge.png", write_huge, "has 900 megapixels; this browser takes up to 100"),
]


def test_what_cannot_be_read_here_is_said(page: "Page", photos: list[Path], tmp_path: Path):
    paths = []
    for name, write, _ in CASES:
        paths.append(tmp_path / name)
        write(paths[-1])
    add_files(page, photos[0], *paths, photos[2])
    page.locator(".thumbnail[data-status=failed]").nth(len(CASES) - 1).wait_for()
    wait_until_ready(page, 2)
    for name, _, sentence in CASES:
        page.get_by_role("option", name=name).click()
        text = page.locator("#error-text").inner_text()
        assert sentence in text
        assert page.locator("#download").get_attribute("aria-disabled") == "true"


def test_photo_that_is_cut_off(page: "Page", photos: list[Path]):
    use_readable_part(page, photos[0])
    page.get_by_role("listitem").filter(has_text="A part of this file is missing").wait_for()


LITTLE_MEMORY = """
    globalThis.Uint8ClampedArray = new Proxy(Uint8ClampedArray, {
        construct(target, values, newTarget) {
            if (values[0] > 4e6) throw new RangeError("Array buffer allocation failed");
            return Reflect.construct(target, values, newTarget);
        },
    });
"""
"""As on a device that has no memory for an array of more than 4 MB."""


def test_photo_that_does_not_fit_into_memory(
    visit: "Callable[..., Page]",
    server: FileServer,
    photos: list[Path],
    tmp_path: Path,
    expected_messages: list[str],
):
    expected_messages += ["Service Worker registration blocked", "Array buffer allocation failed"]
    page = visit("about:blank", service_workers="block")

    def answer(route: object) -> None:
        response = route.fetch()  # type: ignore[attr-defined]
        body = LITTLE_MEMORY + response.text()
        route.fulfill(response=response, body=body)  # type: ignore[attr-defined]

    page.route("**/worker.js*", answer)
    page.goto(server.url + FOLDER)
    large = tmp_path / "large.jpg"
    GREY.resize((2400, 1800)).save(large)
    add_files(page, large, photos[0])
    page.locator(".thumbnail[data-status=failed]").wait_for()
    page.get_by_role("option", name="large.jpg").click()
    assert "memory" in page.locator("#error-text").inner_text()
    page.get_by_role("option", name="grandma.jpg").click()
    wait_for_colour(page)
