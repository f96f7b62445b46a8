import errno
import glob
import os
import shutil
import time
import unicodedata
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from photochrom import file_names
from photochrom.batch import planning
from photochrom.batch.planning import Job
from photochrom.errors import PhotochromError
from support.systems import needs_links, needs_long_names, needs_named_pipes


def plan(inputs: list[str], out: Path | None = None) -> list[Job]:
    """Return the jobs of a plan without failures."""
    planned = planning.plan(inputs, out)
    assert [result.error for result in planned.results if result.status == "failed"] == []
    return planned.jobs


def plan_failures(inputs: list[str], out: Path | None = None) -> dict[str, str]:
    """Return the names and errors of what a plan says that fails."""
    results = planning.plan(inputs, out).results
    return {Path(r.input).name: str(r.error) for r in results if r.status == "failed"}


def plan_ignored(inputs: list[str], out: Path | None = None) -> dict[str, str]:
    """Return the names and reasons of what a plan ignores."""
    results = planning.plan(inputs, out).results
    return {Path(r.input).name: str(r.reason) for r in results if r.status == "ignored"}


def pairs(jobs: list[Job], root: Path) -> list[tuple[str, str]]:
    paths = [(job.input.relative_to(root), job.output.relative_to(root)) for job in jobs]
    return [(photo.as_posix(), output.as_posix()) for photo, output in paths]


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


def test_outputs_may_all_be_jpegs(tree: Path, tmp_path: Path):
    jobs = planning.plan([str(tree)], format="jpeg").jobs
    assert pairs(jobs, tree) == [
        ("a.PNG", "a.PNG-color.jpg"),
        ("b.jpg", "b-color.jpg"),
        ("deep/er/c.tif", "deep/er/c.tif-color.jpg"),
    ]
    write_outputs(jobs)
    assert planning.plan([str(tree)], format="jpeg").jobs == jobs
    assert len(plan([str(tree)])) == 3  # they are no photos of a run with other outputs either
    in_folder = planning.plan([str(tree)], tmp_path / "out", format="jpeg").jobs
    names = [job.output.name for job in in_folder if "-color" not in job.input.name]
    assert names == ["a.PNG.jpg", "b.jpg", "c.tif.jpg"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPEG", "a+.JPEG"),
        ("a.heic", "a.heic+.jpg"),
        ("a.nef", "a.nef+.jpg"),
        ("a.mpo", "a.mpo+.jpg"),
        ("a", "a+.jpg"),
    ],
)
def test_name_of_a_jpeg(name: str, expected: str):
    assert planning.output_name(name, "+", format="jpeg") == expected
    assert planning.output_name(name, "+", format="jpeg", as_png=True) == expected


def test_jpegs_of_one_name_clash(tmp_path: Path):
    for name in ("a.png", "a.png.jpg"):
        (tmp_path / name).write_bytes(b"")
    results = planning.plan([str(tmp_path)], tmp_path / "out", format="jpeg").results
    assert [result.status for result in results] == ["failed"] * 2


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
    assert [job.output.relative_to(out).as_posix() for job in absolute] == expected
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


@pytest.fixture
def unreadable(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `deep`, made unreadable in a way that also holds for root."""
    scandir, access = os.scandir, os.access

    def guarded_scandir(path: str | Path = ".") -> object:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    def guarded_access(path: str | Path, mode: int) -> bool:
        return Path(path).name != "deep" and access(path, mode)

    monkeypatch.setattr(os, "scandir", guarded_scandir)
    globber = getattr(glob, "_StringGlobber", None)  # of Python 3.13, which keeps os.scandir
    if getattr(globber, "scandir", None) is scandir:
        monkeypatch.setattr(globber, "scandir", staticmethod(guarded_scandir))
    monkeypatch.setattr(os, "access", guarded_access)
    return tree / "deep"


@pytest.mark.parametrize("pattern", ["", "**/*", "**", "*"])
def test_an_unreadable_folder_fails_alone(unreadable: Path, pattern: str, tmp_path: Path):
    inputs = [str(unreadable.parent / pattern)]
    planned = planning.plan(inputs, tmp_path / "out")
    assert [job.input.name for job in planned.jobs] == ["a.PNG", "b.jpg"]
    assert plan_failures(inputs) == {"deep": f"cannot read {unreadable}: Permission denied"}
    assert plan_failures([str(unreadable)]).keys() == {"deep"}


def test_a_file_that_cannot_be_looked_at_fails_alone(tree: Path, monkeypatch: pytest.MonkeyPatch):
    stat = os.stat

    def guarded(path: str | Path, **options: bool) -> os.stat_result:
        if Path(path).name == "b.jpg":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", guarded)
    for inputs in ([str(tree)], [str(tree / "**" / "*")], [str(tree / "*"), str(tree / "deep")]):
        planned = planning.plan(inputs, tree.parent / "out")
        assert [job.input.name for job in planned.jobs] == ["a.PNG", "b-color.jpg", "c.tif"]
        error = f"cannot read {tree / 'b.jpg'}: Permission denied"
        assert plan_failures(inputs) == {"b.jpg": error}
    assert plan_failures([str(tree / "b.jpg")]).keys() == {"b.jpg"}


@needs_named_pipes
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


def test_photos_with_the_same_output_fail_and_are_all_named(tree: Path, tmp_path: Path):
    other, third, out = tmp_path / "other", tmp_path / "third", tmp_path / "out"
    shutil.copytree(tree / "deep", other / "deep")
    shutil.copytree(tree / "deep", third / "deep")
    inputs = [str(tree), str(other), str(third)]
    planned = planning.plan(inputs, out)
    assert pairs(planned.jobs, tmp_path) == [
        ("photos/a.PNG", "out/a.PNG"),
        ("photos/b.jpg", "out/b.jpg"),
    ]
    clashing = [Path(folder, "deep/er/c.tif") for folder in inputs]
    failures = [result for result in planned.results if result.status == "failed"]
    assert [Path(result.input) for result in failures] == clashing
    assert {result.output for result in failures} == {str(out / "deep/er/c.tif")}
    assert {result.error for result in failures} == {
        f"{clashing[0]}, {clashing[1]} and {clashing[2]} would all become {out / 'deep/er/c.tif'}; "
        "rename one or colorize them separately"
    }


def test_several_clashes_are_named(tmp_path: Path):
    for name in ("x/a.jpg", "y/a.jpg", "x/b.jpg", "y/b.jpg", "x/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    planned = planning.plan([str(tmp_path / "x"), str(tmp_path / "y")], tmp_path / "out")
    assert [job.input for job in planned.jobs] == [tmp_path / "x/c.jpg"]
    assert [Path(r.input).relative_to(tmp_path).as_posix() for r in planned.results] == [
        *("x/a.jpg", "x/b.jpg", "y/a.jpg", "y/b.jpg"),
    ]
    assert all("would both become" in str(result.error) for result in planned.results)


def test_an_output_that_replaces_an_input_fails(tree: Path):
    names = {"a.PNG", "b.jpg", "c.tif"}
    failures = plan_failures([str(tree)], tree)
    assert failures.keys() == names
    assert all("is an input and would be replaced" in error for error in failures.values())
    inputs = [str(tree / "deep/er/c.tif"), str(tree / "b.jpg")]
    assert plan_failures(inputs, tree / "deep" / "..").keys() == {"b.jpg"}
    (job,) = planning.plan(inputs, tree).jobs
    assert job.output == tree / "c.tif"


@needs_links
def test_an_output_that_replaces_the_target_of_a_link_fails(tree: Path, tmp_path: Path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.jpg").symlink_to(tree / "b.jpg")
    assert plan_failures([str(tmp_path / "links")], tree).keys() == {"b.jpg"}


@needs_links
def test_a_link_and_its_target_are_two_photos(tree: Path, tmp_path: Path):
    (tree / "link.jpg").symlink_to("b.jpg")
    (tree / "0.tif").symlink_to(tree / "deep/er/c.tif")
    assert pairs(plan([str(tree)], tmp_path / "out"), tmp_path) == [
        ("photos/0.tif", "out/0.tif"),
        ("photos/a.PNG", "out/a.PNG"),
        ("photos/b.jpg", "out/b.jpg"),
        ("photos/deep/er/c.tif", "out/deep/er/c.tif"),
        ("photos/link.jpg", "out/link.jpg"),
    ]
    by_name = [str(tree / "link.jpg"), str(tree / "b.jpg"), str(tree / "link.jpg")]
    assert pairs(plan(by_name), tree) == [
        ("link.jpg", "link-color.jpg"),
        ("b.jpg", "b-color.jpg"),
    ]


@needs_links
def test_a_folder_given_by_two_paths_is_planned_once(tree: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(tree)
    assert len(plan([str(tree), str(tmp_path / "link")], tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("ignores_case", "ignores_form", "clashing"),
    [
        (False, False, []),
        (True, False, ["IMG.JPG", "img.jpg"]),
        (False, True, ["\u00e9.jpg", "e\u0301.jpg"]),
        (True, True, ["IMG.JPG", "\u00e9.jpg", "e\u0301.jpg", "img.jpg"]),
    ],
)
def test_names_clash_that_the_disk_takes_for_the_same(
    ignores_case: bool,
    ignores_form: bool,
    clashing: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("x/IMG.JPG", "x/\u00e9.jpg", "x/other.jpg", "y/img.jpg", "y/e\u0301.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    exists = Path.exists

    def exists_on_such_a_disk(path: Path) -> bool:
        if not path.parent.is_dir():
            return False
        name = path.name
        names = os.listdir(path.parent)  # noqa: PTH208
        if ignores_form:
            name, *names = (unicodedata.normalize("NFC", n) for n in (name, *names))
        if ignores_case:
            name, *names = (n.lower() for n in (name, *names))
        return name in names

    monkeypatch.setattr(Path, "exists", exists_on_such_a_disk)
    inputs = [str(tmp_path / "x"), str(tmp_path / "y")]
    assert list(plan_failures(inputs, tmp_path / "out" / "new")) == clashing
    monkeypatch.setattr(Path, "exists", exists)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "y"]


def test_an_output_replaces_no_input_on_a_disk_that_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.jpg").touch()
    monkeypatch.setattr("photochrom.batch.clashes.find_name_rule", lambda _: str.casefold)
    assert plan_failures([str(tmp_path / "scans")], tmp_path / "SCANS").keys() == {"a.jpg"}


@needs_named_pipes
def test_other_files_are_ignored_with_the_reason(tree: Path, tmp_path: Path):
    Image.new("L", (9, 9)).save(tree / "deep" / "scan", "JPEG")
    (tree / "README").write_text("no photo")
    (tree / "broken.jpg").symlink_to(tree / "none.jpg")
    (tree / "self.jpg").symlink_to("self.jpg")
    (tree / "loop").symlink_to(tree)
    os.mkfifo(tree / "pipe.jpg")
    os.mkfifo(tree / "pipe")
    for inputs in ([str(tree)], [str(tree / "**")]):
        assert plan_ignored(inputs, tmp_path / "out") == {
            "README": "it has no suffix of a photo; give the file by name if it is one",
            "b-color.jpg": f"it is named like a result of {tree / 'b.jpg'}; colorize it on its own",
            "broken.jpg": "a broken link",
            "loop": "a link to a folder; give it by name to colorize what is in it",
            "notes.txt": ".txt is not the suffix of a photo; give the file by name if it is one",
            "pipe": "it has no suffix of a photo; give the file by name if it is one",
            "pipe.jpg": "not a regular file",
            "scan": "it starts like a JPEG, but it has no suffix of a photo; "
            "give the file by name if it is one",
            "self.jpg": "a broken link",
        }
    by_name = planning.plan([str(tree), str(tree / "deep" / "scan")], tmp_path / "out")
    assert "scan" in [job.input.name for job in by_name.jobs]
    assert "scan" not in [Path(result.input).name for result in by_name.results]


def test_an_output_folder_that_is_a_file_raises(tree: Path, tmp_path: Path):
    for out in (tree / "notes.txt", tmp_path / "result.jpg"):
        with pytest.raises(PhotochromError, match="give a folder"):
            plan([str(tree)], out)


def test_a_photo_whose_name_leaves_the_output_folder_fails(tree: Path, tmp_path: Path):
    failures = plan_failures([f"{tree}/*/../b.jpg"], tmp_path / "out")
    assert "cannot keep its name as a file under" in failures["b.jpg"]
    assert len(plan([f"{tree}/*/../b.jpg"])) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_name_of_another_system_stays_in_the_output_folder(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A key of an object store may be a path out of the folder for Windows."""
    monkeypatch.setattr(file_names, "_IS_WINDOWS", True)
    (tree / "a\\..\\..\\b.jpg").touch()
    (tree / "nul.jpg").touch()
    failures = plan_failures([str(tree)], tmp_path / "out")
    assert failures.keys() == {"a\\..\\..\\b.jpg", "nul.jpg"}
    assert all("cannot keep its name as a file under" in error for error in failures.values())


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


@needs_links
def test_broken_and_circular_links_are_skipped(tree: Path):
    (tree / "loop").symlink_to(tree)
    (tree / "self.jpg").symlink_to(tree / "self.jpg")
    (tree / "broken.jpg").symlink_to(tree / "none.jpg")
    assert [job.input.name for job in plan([str(tree)])] == ["a.PNG", "b.jpg", "c.tif"]
    for link in ("self.jpg", "broken.jpg"):
        with pytest.raises(PhotochromError, match=r"there is no file|cannot read"):
            plan([str(tree / link)])


@needs_links
@pytest.mark.parametrize("pattern", ["", "**", "**/*", "*/**/*.tif"])
def test_circles_of_links_to_folders_end(tree: Path, pattern: str, tmp_path: Path):
    for name in ("1", "2", "deep/3", "deep/er/4"):
        (tree / name).symlink_to(tree)
    start = time.monotonic()
    jobs = plan([str(tree / pattern)], tmp_path / "out")
    assert time.monotonic() - start < 5
    assert len(jobs) == (1 if pattern.endswith("tif") else 3)


def test_hidden_names_match_patterns_that_name_them(tree: Path):
    assert [job.input.name for job in plan([str(tree / "**" / "*.jpg")])] == ["b.jpg"]
    assert [job.input.name for job in plan([str(tree / ".h*" / "*.jpg")])] == ["d.jpg"]


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


@needs_links
def test_a_link_that_cannot_be_followed_is_ignored(tree: Path, tmp_path: Path):
    (tree / "latest").symlink_to("n" * 300)  # longer than a name can be
    ignored = plan_ignored([str(tree)], tmp_path / "out")
    assert ignored["latest"].startswith("it has no suffix of a photo")
    assert len(plan([str(tree)], tmp_path / "out")) == 3


@needs_long_names
def test_an_output_whose_name_is_too_long_does_not_exist(tmp_path: Path):
    photo = tmp_path / f"{'n' * 250}.jpg"
    photo.touch()
    (job,) = plan([str(photo)])
    assert not job.has_output()
