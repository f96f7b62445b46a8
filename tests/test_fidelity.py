"""`benchmarks/fidelity.py`: with recorded output of exiftool, and with exiftool where it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.fidelity import (
    Tags,
    counted,
    find_losses,
    is_warned,
    lightness_difference,
    read_tags,
)
from PIL import Image, ImageCms

ROOT = Path(__file__).parents[1]
FAKE_EXIFTOOL = """#!{python}
from pathlib import Path
print(Path(r"{recorded}", Path.cwd().name + ".json").read_text())
"""


def run(*arguments: str | Path, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/fidelity.py", *arguments]
    environment = {"PATH": str(path), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_table_counts_files_and_tags(tmp_path: Path, photo_file: Path, tiny_onnx: Path):
    folder = photo_file.parent
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "notes.xyz").write_text("no photo")
    (folder / ".hidden").write_text("no photo")
    fake = tmp_path / "bin" / "exiftool"
    fake.parent.mkdir()
    fake.write_text(FAKE_EXIFTOOL.format(python=sys.executable, recorded=tmp_path))
    fake.chmod(0o755)
    before = {
        "SourceFile": "./old.jpg",
        "File:FileType": "JPEG",
        "File:System:FileName": "old.jpg",
        "File:ImageWidth": 64,
        "EXIF:IFD0:Artist": "me",
        "EXIF:IFD0:Copy1:Artist": "you",
        "XMP:XMP-dc:Title": "Portrait",
        "IPTC:Headline": "News",
    }
    after = {"SourceFile": "./old.jpg", "EXIF:IFD0:Artist": "me", "PNG:Label": "Portrait"}
    (tmp_path / "photos.json").write_text(json.dumps([before]))
    (tmp_path / "out.json").write_text(json.dumps([after]))
    table = tmp_path / "table.md"

    arguments = ("--list", "--results", tmp_path / "out", "--out", table, "--model", tiny_onnx)
    done = run(folder, *arguments, path=fake.parent)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "| unknown .xyz | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 0 | - | - | 0 | 0 |"
    assert lines[-2] == "| unknown .jpg | 1 | 0 | 1 | 0 | 0 | 0 | 0 | 0 | - | - | 0 | 0 |"
    assert lines[-3] == "| JPEG | 1 | 1 | 0 | 0 | 4 | 2 | 2 | 0 | - | - | 0 | 0 |"
    assert table.read_text().splitlines() == lines[-5:]
    assert "old.jpg: silent: EXIF:IFD0:Artist 'you' became ['me']" in lines
    assert "old.jpg: silent: IPTC:Headline" in lines
    assert any(line.startswith("cut.jpg: failed: ") for line in lines)
    assert (tmp_path / "out" / "old.jpg").exists()


def test_missing_exiftool_is_named(tmp_path: Path):
    done = run(tmp_path, path=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("exiftool is missing; install it")


JPEG = ("File", "FileType", "JPEG")
TURN = ("EXIF:IFD0", "Orientation", "Rotate 90 CW")
DPI = [("JFIF", "XResolution", 300), ("JFIF", "ResolutionUnit", "inches")]
DPM = [
    ("PNG:PNG-pHYs", "PixelsPerUnitX", 11811),
    ("PNG:PNG-pHYs", "PixelUnits", "meters"),
]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([("XMP:XMP-dc", "Title", "a")], [("PNG", "Title", "a")]),
        ([("File", "Comment", "written by hand")], [("PNG", "Description", "written by hand")]),
        (DPI, DPM),
        (DPM, [("EXIF:IFD0", "XResolution", 118.11), ("EXIF:IFD0", "ResolutionUnit", "cm")]),
        ([("File", "PixelsPerMeterX", 11811)], DPI),
        ([TURN, ("EXIF:ExifIFD", "SubjectArea", "1 2")], [("EXIF:ExifIFD", "SubjectArea", "3 4")]),
        ([JPEG, ("EXIF:IFD1", "XResolution", 72)], []),
        ([("Photoshop", "XResolution", 0), ("Photoshop", "DisplayedUnitsX", "inches")], []),
        ([("QuickTime", "AuxiliaryImageType", "urn:alpha")], [("PNG", "ColorType", "RGB Alpha")]),
        ([("EXIF:IFD0", "StripOffsets", 8), ("EXIF:SubIFD1", "ImageWidth", 8)], []),
        ([("ICC_Profile", "GrayTRC", "base64:AA")], [("ICC_Profile", "RedTRC", "base64:BB")]),
    ],
)
def test_what_is_kept_or_not_counted_is_no_loss(before: Tags, after: Tags):
    assert list(find_losses(before, after)) == []


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (("XMP:XMP-dc", "Title", "a"), [], ""),
        (("EXIF:IFD0", "Artist", "me"), [("IPTC", "By-line", "me")], ""),
        (("XMP:XMP-dc", "Title", "a"), [("XMP:XMP-dc", "Title", "b")], " 'a' became ['b']"),
        (("JFIF", "XResolution", 300), [("JFIF", "XResolution", 72)], " '300' became ['72']"),
        (("EXIF:ExifIFD", "SubjectArea", "1 2"), [], ""),
        (("ICC_Profile", "GrayTRC", "base64:AA"), [], ""),
        (("EXIF:SubIFD", "Artist", "me"), [], ""),
        (("QuickTime", "AuxiliaryImageType", "depth"), [], ""),
    ],
)
def test_what_is_lost_or_changed_is_found(before: tuple[str, str, Any], after: Tags, change: str):
    assert list(find_losses([before], after)) == [(f"{before[0]}:{before[1]}", change)]


def test_the_pages_of_a_tiff_are_counted():
    page = ("EXIF:IFD1", "PageName", "two")
    assert counted([("File", "FileType", "TIFF"), page]) == [page]


@pytest.mark.parametrize(
    ("tag", "warning", "warned"),
    [
        ("IPTC:Headline", "IPTC is lost: a PNG cannot hold it", True),
        ("XMP:XMP-dc:Title", "IPTC is lost: a PNG cannot hold it", False),
        ("MPF:MPImage2:MPImageFormat", "the gain map is dropped", True),
        ("EXIF:IFD0:WhitePoint", "WhitePoint is dropped", True),
        ("EXIF:IFD0:WhitePoint", "", False),
    ],
)
def test_a_warning_names_a_tag_or_its_kind(tag: str, warning: str, warned: bool):
    assert is_warned(tag, warning) == warned


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_tags_are_those_of_exiftool(photo_file: Path):
    tags = read_tags(photo_file.parent)[photo_file]
    assert ("File", "FileType", "JPEG") in tags
    assert ("JFIF", "XResolution", 1) in counted(tags)


@pytest.mark.skipif(shutil.which("identify") is None, reason="needs ImageMagick")
def test_lightness_is_that_of_littlecms(tmp_path: Path):
    for name in ("sRGB", "LAB"):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile(name))
        (tmp_path / f"{name}.icc").write_bytes(profile.tobytes())
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png", tmp_path / "d.png"]
    grey = np.full((5, 4), 119, np.uint8)  # L* 50
    Image.fromarray(grey).save(paths[0])
    srgb = (tmp_path / "sRGB.icc").read_bytes()
    Image.fromarray(np.dstack([grey] * 3)).save(paths[1], icc_profile=srgb)
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(paths[2])
    Image.fromarray(grey.T).save(paths[3])
    expected = [0, 0, 50, float("inf")]
    turned = [("EXIF:IFD0", "Orientation", "Rotate 90 CW")]
    assert lightness_difference((paths[3], paths[0]), (turned, []), tmp_path) == 0
    found = [lightness_difference((paths[0], path), ([], []), tmp_path) for path in paths]
    assert found == pytest.approx(expected, abs=0.05)
    missing = (paths[0], tmp_path / "missing.png")
    assert lightness_difference(missing, ([], []), tmp_path) is None
