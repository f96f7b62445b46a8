"""The site in Chromium: its colours are those of the command line."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from photochrom.colorize.hints import read_hints
from photochrom.web.app import STATIC
from support.browser import needs_browser
from support.metadata import SRGB, XMP, exif_block
from support.photos import draw
from support.site import FOLDER, assert_same_pixels, colorize, needs_site, pixels, serve_folder
from support.web_page import (
    add_files,
    wait_for,
    wait_for_colour,
    wait_until_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [needs_browser, needs_site, pytest.mark.slow]


def download(page: "Page", folder: Path, button: str = "#download") -> Path:
    """Press a button, and return the file that the browser saves."""
    with page.expect_download() as waiting:
        page.locator(button).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def set_slider(page: "Page", option: str, value: str) -> None:
    page.fill(f"#option-{option}", value)
    page.locator(f"#option-{option}").dispatch_event("change")


def test_default_model_makes_the_pixels_of_the_command_line(
    visit: "Callable[..., Page]", default_files: Path, tmp_path: Path
):
    photo = tmp_path / "cat.png"
    with Image.open(STATIC / "samples" / "chelsea.jpg") as sample:
        sample.convert("L").save(photo)
    with serve_folder(default_files) as server:
        page = visit(server.url + FOLDER)
        add_files(page, photo)
        wait_for_colour(page)
        result = download(page, tmp_path)
    assert result.name == "cat-color.png"
    assert_same_pixels(pixels(result), pixels(colorize(photo)))
    assert np.ptp(pixels(result), axis=2).mean() > 10


def test_jpeg_keeps_its_metadata_and_quality(page: "Page", tmp_path: Path, model: Path):
    photo = tmp_path / "old.jpg"
    grey = Image.fromarray(draw(180, 240)).convert("L")
    grey.convert("RGB").save(
        photo,
        quality=88,
        dpi=(300, 300),
        exif=b"Exif\0\0" + exif_block(),
        icc_profile=SRGB,
        xmp=XMP,
    )
    add_files(page, photo)
    wait_for_colour(page)
    result = download(page, tmp_path)
    assert result.name == "old-color.jpg"
    with Image.open(result) as image, Image.open(colorize(photo, model)) as expected:
        assert image.size == expected.size == (180, 240)  # upright
        assert image.info["icc_profile"] == SRGB
        assert image.info == expected.info  # EXIF, XMP with the mark, density
        assert b"maker note" in image.info["exif"]
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # no chroma subsampling
        assert steps(image) == steps(expected)
        difference = abs(pixels(result) - np.asarray(expected.convert("RGB")).astype(int))
    assert difference.mean() < 1


def steps(image: Image.Image) -> list[list[int]]:
    """Return the quantization steps of each channel of a JPEG."""
    return [image.quantization[layer[3]] for layer in image.layer]  # type: ignore[attr-defined]


def test_sliders_and_undo(page: "Page", photos: list[Path], tmp_path: Path, model: Path):
    add_files(page, photos[2])
    wait_for_colour(page)
    set_slider(page, "saturation", "0.5")
    set_slider(page, "strength", "0.4")
    expected = colorize(photos[2], model, saturation=0.5, strength=0.4)
    assert_same_pixels(pixels(download(page, tmp_path)), pixels(expected))
    for _ in range(2):
        page.get_by_role("button", name="Undo", exact=True).press("Enter")
    assert page.locator("#option-saturation").input_value() == "1"
    expected = colorize(photos[2], model)
    assert_same_pixels(pixels(download(page, tmp_path)), pixels(expected))


def test_hint_gives_its_colour(page: "Page", tmp_path: Path, model: Path):
    photo = tmp_path / "dress.png"
    Image.fromarray(draw(150, 200)).convert("L").resize((800, 600)).save(photo)
    add_files(page, photo)
    wait_for_colour(page)
    frame = page.locator("#frame").bounding_box()
    assert frame
    page.mouse.click(frame["x"] + frame["width"] / 4, frame["y"] + frame["height"] / 2)
    page.locator("#palette-suggestions [data-color]").nth(5).wait_for()
    page.locator("#palette-picker").fill("#a02040")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More ways to save").click()
    hints = download(page, tmp_path, "#save-hints")
    assert hints.name == "dress.png.hints.json"
    assert [hint.color for hint in read_hints(hints)] == ["#a02040"]
    result = pixels(download(page, tmp_path))
    expected = pixels(colorize(photo, model, hints=read_hints(hints)))
    assert_same_pixels(result, expected)
    unhinted = pixels(colorize(photo, model))
    assert abs(result - unhinted).max() > 20


def test_versions_differ(page: "Page", tmp_path: Path):
    photo = tmp_path / "street.png"
    Image.fromarray(draw(300, 400)).convert("L").save(photo)
    add_files(page, photo)
    wait_for_colour(page)
    page.locator(".version img").nth(1).wait_for()
    first = pixels(download(page, tmp_path))
    page.locator("label.version").nth(1).click()
    wait_for(page, lambda: page.locator(".hint").count() > 0)
    assert abs(pixels(download(page, tmp_path)) - first).max() > 3


def test_crop_and_turn(page: "Page", photos: list[Path], tmp_path: Path, model: Path):
    add_files(page, photos[2])
    wait_for_colour(page)
    page.get_by_role("button", name="Crop", exact=True).click()
    page.get_by_role("button", name="Turn right").click()
    page.get_by_label("Shape").select_option("square")
    page.get_by_role("button", name="Apply", exact=True).click()
    page.get_by_text("The crop was applied.").wait_for(state="attached")
    wait_for_colour(page)
    result = pixels(download(page, tmp_path))
    assert result.shape == (180, 180, 3)
    left = (256 - 180) // 2
    crop = (0, left, 180, 180)
    assert_same_pixels(result, pixels(colorize(photos[2], model, turn=90, crop=crop)))


def test_two_visitors_at_once(
    visit: "Callable[..., Page]", photos: list[Path], tmp_path: Path, model: Path
):
    first, second = visit(), visit()
    add_files(first, photos[0], photos[2])
    add_files(second, photos[2])
    set_slider(second, "saturation", "0")
    wait_until_ready(first, 2)
    wait_until_ready(second)
    for page in (first, second):
        page.reload()
        wait_for_colour(page)
    assert first.locator(".thumbnail").count() == 2
    assert second.locator(".thumbnail").count() == 1
    first.get_by_role("option", name="wedding.png").click()
    wait_for_colour(first)
    in_colour, grey = pixels(download(first, tmp_path)), pixels(download(second, tmp_path))
    assert_same_pixels(in_colour, pixels(colorize(photos[2], model)))
    assert np.ptp(grey, axis=2).max() <= 1


def test_ten_photos_as_zip(page: "Page", tmp_path: Path, model: Path):
    photos = []
    for number in range(10):
        photo = tmp_path / f"{number}.png"
        Image.fromarray(draw(60 + number, 80)).convert("L").save(photo)
        photos.append(photo)
    add_files(page, *photos)
    wait_until_ready(page, 10)
    assert page.locator("#summary").inner_text() == "10 of 10 ready"
    with zipfile.ZipFile(download(page, tmp_path, "#download-all")) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [f"{number}-color.png" for number in range(10)]
        for photo in (photos[0], photos[9]):
            with Image.open(io.BytesIO(archive.read(f"{photo.stem}-color.png"))) as image:
                found = np.asarray(image.convert("RGB")).astype(np.int16)
            assert_same_pixels(found, pixels(colorize(photo, model)))


def test_png_is_saved_as_jpeg(page: "Page", photos: list[Path], tmp_path: Path):
    add_files(page, photos[2])
    wait_for_colour(page)
    page.get_by_role("button", name="More ways to save").click()
    result = download(page, tmp_path, "#save-as-jpeg")
    assert result.name == "wedding.png-color.jpg"
    with Image.open(result) as image:
        assert image.format == "JPEG"
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # type: ignore[attr-defined]
