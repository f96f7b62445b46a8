"""The site in Debian's Firefox ESR, by WebDriver BiDi; site/test/firefox.mjs acts on the page."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from photochrom.colorize.hints import read_hints
from photochrom.web.app import STATIC
from support.site import (
    FIREFOX,
    FOLDER,
    NODE,
    PACKAGES,
    assert_same_pixels,
    colorize,
    needs_packages,
    needs_site,
    pixels,
    serve_folder,
)

pytestmark = [
    needs_site,
    needs_packages,
    pytest.mark.slow,
    pytest.mark.skipif(FIREFOX is None, reason="needs Firefox"),
]


def test_visit_with_firefox(default_files: Path, tmp_path: Path):
    photo = tmp_path / "cat.png"
    with Image.open(STATIC / "samples" / "chelsea.jpg") as sample:
        sample.convert("L").save(photo)
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    script = PACKAGES.parent / "test" / "firefox.mjs"
    with serve_folder(default_files) as server:
        url = server.url + FOLDER
        process = subprocess.Popen(
            [str(NODE), str(script), str(FIREFOX), url, str(photo), str(downloads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "offline?\n", process.communicate()[1]
    output, errors = process.communicate("\n", timeout=300)
    assert process.returncode == 0, errors
    visited = json.loads(output)
    assert visited["messages"] == []
    allowed = (url, f"blob:{url}", "data:")
    assert [each for each in visited["requests"] if not each.startswith(allowed)] == []
    assert visited["hints"] == 1
    hints = read_hints(downloads / "cat.png.hints.json")
    assert [hint.color for hint in hints] == ["#a02040"]
    expected = colorize(photo, hints=hints)
    assert_same_pixels(pixels(downloads / "cat-color.png"), pixels(expected))
