import errno
import os
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from photochrom.batch.planning import Job, plan
from photochrom.errors import PhotochromError


def pairs(jobs: list[Job], root: Path) -> list[tuple[str, str]]:
    return [(str(job.input.relative_to(root)), str(job.output.relative_to(root))) for job in jobs]


def write_outputs(jobs: list[Job]) -> None:
    """Write a file to each output path."""
    for job in jobs:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.write_bytes(job.input.read_bytes())


def test_outputs_are_beside_the_photos_by_default(tree: Path):
    assert pairs(plan([str(tree)]), tree) == [
        ("a.PNG", "a-color.PNG"),
        ("b.jpg", "b-color.jpg"),
        ("deep/er/c.tif", "deep/er/c-color.tif"),
    ]


def test_outputs_in_a_folder_keep_the_subfolders(tree: Path):
    jobs = plan([str(tree), str(tree / "b.jpg")], tree.parent / "out")
    assert pairs(jobs, tree.parent) == [
        ("photos/a.PNG", "out/a.PNG"),
        ("photos/b.jpg", "out/b.jpg"),
        ("photos/deep/er/c.tif", "out/deep/er/c.tif"),
    ]


def test_an_output_folder_below_the_input_folder_is_skipped(tree: Path):
    out = tree / "out"
    before = plan([str(tree)], out)
    write_outputs(before)
    assert plan([str(tree)], out) == before
    assert len(plan([str(tree / "deep")], tree)) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b.jpg"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        ("**/*.tif", ["deep/er/c.tif"]),
        ("d*", ["deep/er/c.tif"]),
        ("deep/*/?.tif", ["er/c.tif"]),
        ("**", ["a.PNG", "b.jpg", "deep/er/c.tif"]),
    ],
)
def test_patterns_match_files_and_folders(
    pattern: str, expected: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tree.parent / "out"
    absolute = plan([str(tree / pattern)], out)
    assert [str(job.output.relative_to(out)) for job in absolute] == expected
    monkeypatch.chdir(tree)
    assert [job.output for job in plan([pattern], out)] == [job.output for job in absolute]


def test_an_existing_file_is_not_a_pattern(tmp_path: Path):
    path = tmp_path / "[1].jpg"
    path.touch()
    assert [job.input for job in plan([str(path)])] == [path]


def test_a_photo_given_twice_is_planned_once(tree: Path):
    assert len(plan([str(tree / "b.jpg"), str(tree / "deep" / ".." / "b.jpg")])) == 1


def test_earlier_outputs_are_skipped(tree: Path):
    # The shell expands *.jpg to both after the first run.
    jobs = plan([str(tree / "b-color.jpg"), str(tree / "b.jpg")])
    assert pairs(jobs, tree) == [("b.jpg", "b-color.jpg")]
    # Alone, an earlier output is a photo.
    expected = [("b-color.jpg", "b-color-color.jpg")]
    assert pairs(plan([str(tree / "b-color.jpg")]), tree) == expected
    (tree / "b.jpg").unlink()
    assert pairs(plan([str(tree / "*.jpg")]), tree) == expected


def test_a_pattern_skips_earlier_outputs(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree)
    for pattern in ("**/*", "*", "**"):
        before = plan([pattern], Path("out"))
        write_outputs(before)
        assert plan([pattern], Path("out")) == before


def test_an_unreadable_folder_raises(tree: Path, monkeypatch: pytest.MonkeyPatch):
    scandir = os.scandir

    def guarded(path: str | Path) -> object:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(PhotochromError, match=r"cannot read .*deep: Permission denied"):
        plan([str(tree)])


def test_a_pipe_and_a_pattern_without_photos_raise(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotochromError, match="neither a file nor a folder"):
        plan([str(tmp_path / "pipe.jpg")])
    with pytest.raises(PhotochromError, match="no photo matches"):
        plan([str(tmp_path / "*.jpg")])


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("a.jpe", "a-color.jpe"),
        ("a.JFIF", "a-color.JFIF"),
        ("a.gif", "a.gif-color.png"),
        ("a.jp2", "a.jp2-color.png"),
        ("a.HEIC", "a.HEIC-color.png"),
        ("a.mpo", "a.mpo-color.jpg"),
        ("a.btf", "a.btf-color.tif"),
        ("a.NEF", "a.NEF-color.tif"),
        ("a.dng", "a.dng-color.tif"),
        ("a.xyz", "a.xyz-color.png"),
        ("a.avif", "a-color.avif"),
        ("a", "a-color.png"),
        ("a.b.JPG", "a.b-color.JPG"),
    ],
)
def test_suffixes_that_cannot_be_written_change(name: str, result: str, tmp_path: Path):
    (tmp_path / name).touch()
    assert plan([str(tmp_path / name)])[0].output.name == result


def test_missing_inputs_raise(tree: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for wrong, reason in [
        (tmp_path / "none.jpg", "there is no file or folder"),
        (empty, "has no photo"),
        (tmp_path / "*.webp", "no photo matches"),
    ]:
        with pytest.raises(PhotochromError, match=reason):
            plan([str(tree), str(wrong)])


def test_two_photos_with_the_same_output_raise(tree: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    with pytest.raises(PhotochromError, match="would both become"):
        plan([str(tree), str(other)], tmp_path / "out")


def test_an_output_that_replaces_an_input_raises(tree: Path):
    with pytest.raises(PhotochromError, match="would be replaced"):
        plan([str(tree)], tree)
    with pytest.raises(PhotochromError, match="would be replaced"):
        plan([str(tree / "deep/er/c.tif"), str(tree / "b.jpg")], tree / "deep" / "..")


def test_an_output_folder_that_is_a_file_raises(tree: Path, tmp_path: Path):
    for out in (tree / "notes.txt", tmp_path / "result.jpg"):
        with pytest.raises(PhotochromError, match="give a folder"):
            plan([str(tree)], out)


def test_a_pattern_that_leaves_its_folder_raises(tree: Path, tmp_path: Path):
    with pytest.raises(PhotochromError, match="cannot keep its name as a file under"):
        plan([f"{tree}/*/../b.jpg"], tmp_path / "out")
    assert len(plan([f"{tree}/*/../b.jpg"])) == 1


def test_read_only_formats_are_found_and_their_outputs_differ(tmp_path: Path):
    names = ("a.gif", "a.HEIC", "a.jp2", "a.jpf", "a.mpo", "a.nef", "a.dng", "a.png", "a.psd")
    for name in (*names, "a.txt"):
        (tmp_path / name).touch()
    jobs = plan([str(tmp_path)], tmp_path / "out")
    assert {job.input.name: job.output.name for job in jobs} == {
        "a.gif": "a.gif.png",
        "a.HEIC": "a.HEIC.png",
        "a.jp2": "a.jp2.png",
        "a.jpf": "a.jpf.png",
        "a.mpo": "a.mpo.jpg",
        "a.nef": "a.nef.tif",
        "a.dng": "a.dng.tif",
        "a.png": "a.png",
        "a.psd": "a.psd.png",
    }


def test_an_avif_of_more_than_8_bits_becomes_a_png(tmp_path: Path):
    Image.new("RGB", (16, 16)).save(tmp_path / "8.avif")
    pixels = np.zeros((16, 16, 3), np.uint16)
    data = imagecodecs.avif_encode(pixels, bitspersample=10)
    (tmp_path / "10.AVIF").write_bytes(data)
    outputs = [job.output.name for job in plan([str(tmp_path)], tmp_path / "out")]
    assert outputs == ["10.AVIF.png", "8.avif"]
    beside = [job.output.name for job in plan([str(tmp_path)])]
    assert beside == ["10.AVIF-color.png", "8-color.avif"]


def test_broken_and_circular_links_are_skipped(tree: Path):
    (tree / "loop").symlink_to(tree)
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    (tree / "broken.jpg").symlink_to(tree / "none.jpg")
    assert [job.input.name for job in plan([str(tree)])] == ["a.PNG", "b.jpg", "c.tif"]
    for link in ("self.jpg", "broken.jpg"):
        with pytest.raises(PhotochromError, match=r"there is no file|cannot read"):
            plan([str(tree / link)])


@pytest.mark.parametrize(
    "name", ["a b.jpg", "a\nb.jpg", "\N{CAMERA}.jpg", b"\xff\xfe.jpg", "-o.jpg"]
)
def test_unusual_file_names_are_found(name: str | bytes, tree: Path):
    text = os.fsdecode(name)
    try:
        (tree / text).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    assert [job.input.name for job in plan([str(tree)]) if job.input.name == text] == [text]
    assert plan([str(tree / text)])[0].output.name == text.replace(".jpg", "-color.jpg")
