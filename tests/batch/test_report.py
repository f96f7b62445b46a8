import errno
import json
import os
from pathlib import Path

import pytest

from photochrom.batch.report import (
    FileVersion,
    Result,
    is_unchanged,
    open_report,
    read_report,
    read_version,
)
from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError


@pytest.mark.parametrize(
    "content",
    [
        b"no json\n",
        b"[]\n",
        b'{"status": "done"}\n',
        b'{"input": "a", "output": "b", "status": "done", "hints": [1]}\n',
        b"\xff\n",
        b"my notes, one line without its end",
        b'{"hints": []}',
    ],
)
def test_a_file_that_is_not_a_report_raises(content: bytes, tmp_path: Path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(PhotochromError, match="report"):
        list(read_report(tmp_path / "a"))


def test_a_result_survives_a_report(tmp_path: Path):
    odd = "\udcff\n.jpg"  # as Linux has it for the bytes FF 0A
    results = [
        Result(
            odd, odd, "done", 0.1, 3, 2, "m", None, None, None, ["lost"], FileVersion(1, 2, "3")
        ),
        Result("a", "b", "done", 0.1, hints=(Hint(3, 4, "firebrick"), Hint(0, 0, "original"))),
        Result("s3://a", "s3://b", "done", 0.1, input_version="1 2", output_version="3 4"),
        Result("a", None, "ignored", 0.0, reason="because"),
    ]
    with open_report(tmp_path / "report") as add:
        for result in results:
            add(result)
    assert list(read_report(tmp_path / "report")) == results


def test_lines_of_other_versions_of_photochrom_are_read(tmp_path: Path):
    old = {"input": "a", "output": "b", "status": "done", "seconds": 1.5, "new": [1]}
    (tmp_path / "report").write_text(json.dumps(old) + "\n")
    assert list(read_report(tmp_path / "report")) == [Result("a", "b", "done", 1.5)]


def test_errors_of_the_report_name_it_and_others_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def break_pipe() -> None:
        with open_report(tmp_path / "report") as add:
            add(Result("a", "b", "done", 0.1))
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        break_pipe()
    assert len(list(read_report(tmp_path / "report"))) == 1
    with pytest.raises(PhotochromError, match=r"cannot write report .*report: No such file"):
        open_report(tmp_path / "none" / "report").__enter__()
    with pytest.raises(PhotochromError, match="exists already"):
        open_report(tmp_path / "report").__enter__()

    def full(_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Result, "to_json", full)
    with (
        pytest.raises(PhotochromError, match=r"cannot write report .*: No space left"),
        open_report(tmp_path / "report", append=True) as add,
    ):
        add(Result("a", "b", "done", 0.1))


def test_a_new_report_without_lines_is_removed_after_an_error(tmp_path: Path):
    path = tmp_path / "report"

    def fail(*, append: bool, lines: int) -> None:
        with open_report(path, append=append) as add:
            for _ in range(lines):
                add(Result("a", "b", "done", 0.1))
            raise KeyboardInterrupt

    for append, lines, is_kept in ((False, 0, False), (False, 1, True), (True, 0, True)):
        with pytest.raises(KeyboardInterrupt):
            fail(append=append, lines=lines)
        assert path.exists() == is_kept


def test_versions_tell_whether_a_file_is_unchanged(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    plain, hashed = read_version(path), read_version(path, checksum=True)
    assert plain is not None
    assert hashed is not None
    assert (plain.size, plain.sha256, len(str(hashed.sha256))) == (3, None, 64)
    assert is_unchanged(path, plain, checksum=True)
    assert is_unchanged(path, hashed, checksum=True)
    os.utime(path, ns=(1, 1))
    assert not is_unchanged(path, plain)
    assert is_unchanged(path, hashed)
    path.write_bytes(b"two")
    os.utime(path, ns=(hashed.mtime_ns, hashed.mtime_ns))
    assert is_unchanged(path, hashed)
    assert not is_unchanged(path, hashed, checksum=True)
    path.write_bytes(b"three")
    assert not is_unchanged(path, hashed)
    path.unlink()
    assert not is_unchanged(path, plain)
    assert read_version(path) is None
