import os
import stat
from pathlib import Path

import pytest

from photochrom.errors import DataError
from photochrom.imagefile import atomic
from photochrom.imagefile.atomic import new_folder, open_atomic
from support.systems import needs_modes


@pytest.fixture(params=["unnamed", "named"])
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of a file to stay invisible until it is complete."""
    if request.param == "named":
        monkeypatch.setattr(atomic, "_open_unnamed", lambda _: None)
    return request.param


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_like(source: Path, target: Path, **options: bool) -> None:
    with open_atomic(target, like=source.stat(), **options) as stream:
        assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == source.stat().st_mode & 0o777
        stream.write(b"new")


@needs_modes
@pytest.mark.usefixtures("temporary")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o4755])
def test_the_mode_follows_another_file(tmp_path: Path, mode: int):
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    source.chmod(mode)
    write_like(source, target)
    assert mode_of(target) == mode & 0o777
    write_like(source, target)  # replaces it
    assert target.read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root sets any group")
def test_the_group_follows_another_file(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    os.chown(source, -1, 54321)
    write_like(source, target)
    assert target.stat().st_gid == 54321


@needs_modes
@pytest.mark.parametrize(("mode", "expected"), [(0o660, 0o600), (0o664, 0o644), (0o606, 0o606)])
def test_another_group_may_do_no_more_than_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, expected: int
):
    def refuse(*_: object) -> None:
        raise PermissionError

    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    source.chmod(mode)
    monkeypatch.setattr(os, "fchown", refuse)
    with open_atomic(target, like=source.stat()):
        pass
    assert mode_of(target) == expected


@pytest.mark.usefixtures("temporary")
def test_times_follow_another_file_on_request(tmp_path: Path):
    # In steps of 100 ns, as Windows stores them.
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    os.utime(source, ns=(1_000_000_000_123_456_700, 900_000_000_987_654_300))
    write_like(source, target)
    assert target.stat().st_mtime > 1.5e9
    write_like(source, target, keep_times=True)
    times = target.stat().st_atime_ns, target.stat().st_mtime_ns
    assert times == (1_000_000_000_123_456_700, 900_000_000_987_654_300)


def test_times_of_a_named_file_are_set_after_it_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """On Windows, the end of writing sets the time of modification."""
    (tmp_path / "source").touch()
    like = (tmp_path / "source").stat()
    utime, closed = os.utime, []
    monkeypatch.setattr(atomic, "_open_unnamed", lambda _: None)
    monkeypatch.setattr(os, "utime", lambda *a, **k: (closed.append(stream.closed), utime(*a, **k)))
    with open_atomic(tmp_path / "target", like=like, keep_times=True) as stream:
        stream.write(b"new")
    assert closed == [True]
    assert (tmp_path / "target").stat().st_mtime_ns == like.st_mtime_ns


@needs_modes
def test_mode_and_times_are_those_of_the_process_without_another_file(tmp_path: Path):
    mask = os.umask(0o027)
    try:
        with open_atomic(tmp_path / "target"):
            pass
    finally:
        os.umask(mask)
    assert mode_of(tmp_path / "target") == 0o640


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has unnamed files")
def test_a_new_file_has_no_other_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kill between two names would leave the first one behind."""
    names = []
    link = os.link

    def record(source: str, target: Path, **options: bool | int) -> None:
        names.append(target.name)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", record)
    with open_atomic(tmp_path / "a", overwrite=False) as stream:
        stream.write(b"1")
    with pytest.raises(FileExistsError), open_atomic(tmp_path / "a", overwrite=False) as stream:
        stream.write(b"2")
    assert names == ["a", "a"]
    assert (tmp_path / "a").read_bytes() == b"1"
    with open_atomic(tmp_path / "a") as stream:
        stream.write(b"3")
    assert (tmp_path / "a").read_bytes() == b"3"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_new_folder_appears_when_it_is_complete(tmp_path: Path):
    with new_folder(tmp_path / "a/b") as folder:
        (folder / "file").write_text("content")
        assert folder.parent == tmp_path / "a"
        assert not (tmp_path / "a/b").exists()
    assert (tmp_path / "a/b/file").read_text() == "content"
    (tmp_path / "plain").mkdir()
    assert mode_of(tmp_path / "a/b") == mode_of(tmp_path / "plain")
    with new_folder(tmp_path / "plain") as folder:  # an empty one
        (folder / "file").touch()
    assert (tmp_path / "plain/file").exists()
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_a_new_folder_vanishes_after_an_error(tmp_path: Path):
    with pytest.raises(KeyError), new_folder(tmp_path / "new") as folder:  # noqa: PT012
        (folder / "file").touch()
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_of_two_new_folders_the_first_stays(tmp_path: Path):
    with (  # noqa: PT012
        pytest.raises(DataError, match=r"cannot make folder .*new: .*; give a new one"),
        new_folder(tmp_path / "new") as slow,
    ):
        (slow / "file").write_text("slow")
        with new_folder(tmp_path / "new") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "new/file").read_text() == "fast"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_new_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="cannot make folder"),
        new_folder(tmp_path / "file/new"),
    ):
        pass
    with pytest.raises(DataError, match="cannot make folder"), new_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").is_file()
