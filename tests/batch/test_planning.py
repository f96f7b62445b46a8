import errno
import os
import shutil
from pathlib import Path

import pytest

from photochrom.batch.planning import Job, plan
from photochrom.errors import PhotochromError


def pairs(jobs: list[Job], root: Path) -> list[tuple[str, str]]:
    return [(str(job.input.relative_to(root)), str(job.output.relative_to(root))) for job in jobs]


def results(jobs: list[Job]) -> None:
    """Put something where each result goes."""
    for job in jobs:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.write_bytes(job.input.read_bytes())


def test_results_lie_beside_the_photos(tree: Path):
    assert pairs(plan([str(tree)]), tree) == [
        ("a.PNG", "a-color.PNG"),
        ("b.jpg", "b-color.jpg"),
        ("deep/er/c.tif", "deep/er/c-color.tif"),
    ]


def test_results_in_a_folder_keep_the_structure(tree: Path):
    jobs = plan([str(tree), str(tree / "b.jpg")], tree.parent / "out")
    assert pairs(jobs, tree.parent) == [
        ("photos/a.PNG", "out/a.PNG"),
        ("photos/b.jpg", "out/b.jpg"),
        ("photos/deep/er/c.tif", "out/deep/er/c.tif"),
    ]


def test_results_in_a_folder_among_the_photos_are_no_photos(tree: Path):
    out = tree / "out"
    before = plan([str(tree)], out)
    results(before)
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
def test_patterns(pattern: str, expected: list[str], tree: Path, monkeypatch: pytest.MonkeyPatch):
    out = tree.parent / "out"
    absolute = plan([str(tree / pattern)], out)
    assert [str(job.output.relative_to(out)) for job in absolute] == expected
    monkeypatch.chdir(tree)
    assert [job.output for job in plan([pattern], out)] == [job.output for job in absolute]


def test_a_file_named_like_a_pattern_is_a_file(tmp_path: Path):
    path = tmp_path / "[1].jpg"
    path.touch()
    assert [job.input for job in plan([str(path)])] == [path]


def test_a_photo_named_twice_is_done_once(tree: Path):
    assert len(plan([str(tree / "b.jpg"), str(tree / "deep" / ".." / "b.jpg")])) == 1


def test_earlier_results_are_no_photos(tree: Path):
    # What a shell makes of *.jpg after the first run.
    jobs = plan([str(tree / "b-color.jpg"), str(tree / "b.jpg")])
    assert pairs(jobs, tree) == [("b.jpg", "b-color.jpg")]
    # Alone it is a photo like any other.
    expected = [("b-color.jpg", "b-color-color.jpg")]
    assert pairs(plan([str(tree / "b-color.jpg")]), tree) == expected
    (tree / "b.jpg").unlink()
    assert pairs(plan([str(tree / "*.jpg")]), tree) == expected


def test_a_pattern_that_finds_the_results_of_before(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree)
    for pattern in ("**/*", "*", "**"):
        before = plan([pattern], Path("out"))
        results(before)
        assert plan([pattern], Path("out")) == before


def test_a_folder_that_cannot_be_read_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch):
    scandir = os.scandir

    def guarded(place: str | Path) -> object:
        if Path(place).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(PhotochromError, match=r"cannot read .*deep: Permission denied"):
        plan([str(tree)])


def test_what_is_no_file_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotochromError, match="neither a file nor a folder"):
        plan([str(tmp_path / "pipe.jpg")])
    with pytest.raises(PhotochromError, match="no photo matches"):
        plan([str(tmp_path / "*.jpg")])


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("a.jpe", "a-color.jpg"),
        ("a.JFIF", "a-color.jpg"),
        ("a.gif", "a-color.png"),
        ("a", "a-color.png"),
        ("a.b.JPG", "a.b-color.JPG"),
    ],
)
def test_endings_that_cannot_be_written(name: str, result: str, tmp_path: Path):
    (tmp_path / name).touch()
    assert plan([str(tmp_path / name)])[0].output.name == result


def test_wrong_inputs_are_refused(tree: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for wrong, reason in [
        (tmp_path / "none.jpg", "there is no file or folder"),
        (empty, "has no photo"),
        (tmp_path / "*.webp", "no photo matches"),
    ]:
        with pytest.raises(PhotochromError, match=reason):
            plan([str(tree), str(wrong)])


def test_two_photos_with_one_result_are_refused(tree: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    with pytest.raises(PhotochromError, match="would both become"):
        plan([str(tree), str(other)], tmp_path / "out")
    (tree / "b.gif").touch()
    (tree / "b.png").touch()
    with pytest.raises(PhotochromError, match="would both become"):
        plan([str(tree / "b.gif"), str(tree / "b.png")])


def test_a_result_over_an_input_is_refused(tree: Path):
    with pytest.raises(PhotochromError, match="would be replaced"):
        plan([str(tree)], tree)
    with pytest.raises(PhotochromError, match="would be replaced"):
        plan([str(tree / "deep/er/c.tif"), str(tree / "b.jpg")], tree / "deep" / "..")


def test_a_file_for_the_results_is_refused(tree: Path, tmp_path: Path):
    for out in (tree / "notes.txt", tmp_path / "result.jpg"):
        with pytest.raises(PhotochromError, match="give a folder"):
            plan([str(tree)], out)


def test_photos_that_cannot_be_written_are_found_as_well(tmp_path: Path):
    for name in ("a.gif", "b.dng", "c.HEIC", "d.txt", "e.jp2"):
        (tmp_path / name).touch()
    names = [(job.input.name, job.output.name) for job in plan([str(tmp_path)], tmp_path / "out")]
    assert names == [
        ("a.gif", "a.png"),
        ("b.dng", "b.png"),
        ("c.HEIC", "c.png"),
        ("e.jp2", "e.png"),
    ]


def test_links_in_circles_are_no_photos(tree: Path):
    (tree / "loop").symlink_to(tree)
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    (tree / "gone.jpg").symlink_to(tree / "none.jpg")
    assert [job.input.name for job in plan([str(tree)])] == ["a.PNG", "b.jpg", "c.tif"]
    for link in ("self.jpg", "gone.jpg"):
        with pytest.raises(PhotochromError, match=r"there is no file|cannot read"):
            plan([str(tree / link)])


@pytest.mark.parametrize(
    "name", ["a b.jpg", "a\nb.jpg", "\N{CAMERA}.jpg", b"\xff\xfe.jpg", "-o.jpg"]
)
def test_names_of_all_kinds(name: str | bytes, tree: Path):
    text = os.fsdecode(name)
    try:
        (tree / text).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    assert [job.input.name for job in plan([str(tree)]) if job.input.name == text] == [text]
    assert plan([str(tree / text)])[0].output.name == text.replace(".jpg", "-color.jpg")
