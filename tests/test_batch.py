import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from photochrom.batch import Job, Result, colorize_all, plan
from photochrom.errors import PhotochromError


def invert(image: Image.Image) -> Image.Image:
    return Image.eval(image.convert("RGB"), lambda value: 255 - value)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """photos/{b.jpg, a.PNG, deep/er/c.tif}, and what is no photo or not meant."""
    root = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "deep/er/c.tif", "b-color.jpg", ".hidden/d.jpg", ".e.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 16), 99).save(root / name)
    (root / "notes.txt").write_text("no photo")
    return root


def pairs(jobs: list[Job], root: Path) -> list[tuple[str, str]]:
    return [(str(job.input.relative_to(root)), str(job.output.relative_to(root))) for job in jobs]


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
    list(colorize_all(before, invert))
    assert (out / "b.jpg").exists()
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
        list(colorize_all(before, invert))
        assert plan([pattern], Path("out")) == before


def test_a_folder_that_cannot_be_read_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch):
    scandir = os.scandir

    def guarded(place: str | Path) -> object:
        if Path(place).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(PhotochromError, match=r"cannot look into .*deep: Permission denied"):
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


def test_all_is_done_and_the_photos_stay(tree: Path, tmp_path: Path):
    jobs = plan([str(tree)], tmp_path / "new" / "out")
    before = [hashlib.sha256(job.input.read_bytes()).digest() for job in jobs]
    results = list(colorize_all(jobs, invert))
    assert [result.status for result in results] == ["done"] * 3
    assert all((result.width, result.height, result.error) == (20, 16, None) for result in results)
    assert all(result.seconds > 0 for result in results)
    assert [hashlib.sha256(job.input.read_bytes()).digest() for job in jobs] == before
    with Image.open(jobs[0].output) as image:
        assert image.getpixel((0, 0)) == (156, 156, 156)


def test_results_that_exist_are_skipped_unless_told(tree: Path):
    jobs = plan([str(tree)])  # b-color.jpg is there
    jobs[1].output.write_bytes(b"mine")
    statuses = [result.status for result in colorize_all(jobs, invert)]
    assert statuses == ["done", "skipped", "done"]
    assert jobs[1].output.read_bytes() == b"mine"
    assert [r.status for r in colorize_all(jobs, invert, overwrite=True)] == ["done"] * 3
    assert jobs[1].output.read_bytes() != b"mine"


def test_a_bad_file_does_not_stop_the_rest(tree: Path, tmp_path: Path):
    (tree / "a.PNG").write_bytes(b"")
    jobs = plan([str(tree)], tmp_path / "out")
    first, *rest = colorize_all(jobs, invert)
    assert first == Result(
        jobs[0].input,
        jobs[0].output,
        "failed",
        first.seconds,
        error=f"{jobs[0].input} is empty: 0 bytes",
    )
    assert [result.status for result in rest] == ["done"] * 2
    assert not jobs[0].output.exists()


def test_an_output_that_cannot_be_written(tree: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    jobs = plan([str(tree / "b.jpg")], tmp_path / "file" / "out")
    (result,) = colorize_all(jobs, invert)
    assert result.status == "failed"
    assert result.error is not None
    assert "cannot make folder" in result.error
    assert (result.width, result.height) == (20, 16)


def test_a_name_that_is_too_long_for_its_result(tree: Path):
    Image.new("L", (20, 16)).save(tree / ("c" * 250 + ".jpg"))
    results = list(colorize_all(plan([str(tree)]), invert))
    assert [result.status for result in results] == ["done", "skipped", "failed", "done"]
    assert results[2].error is not None
    assert "File name too long" in results[2].error


def test_too_little_memory_fails_one_photo(tree: Path):
    def greedy(image: Image.Image) -> Image.Image:
        raise MemoryError

    (result,) = colorize_all(plan([str(tree / "deep")]), greedy)
    assert result.error is not None
    assert "too large for the memory" in result.error
