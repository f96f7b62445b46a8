import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from photochrom.batch.planning import Plan, plan
from photochrom.batch.report import Result, open_report
from photochrom.batch.resuming import read_finished, skip_finished


class Batch:
    """Three photos, and a report of their results."""

    def __init__(self, tree: Path, colorize: Callable[..., list[Result]]) -> None:
        self.tree, self.out, self.report = tree, tree.parent / "out", tree.parent / "report"
        self.colorize = colorize

    def plan(self) -> Plan:
        return plan([str(self.tree)], self.out)

    def resume(self, *, checksum: bool = False, overwrite: bool = False) -> list[Result]:
        """Resume and return the results."""
        finished = read_finished(self.report) if self.report.exists() else {}
        left = skip_finished(self.plan(), finished, checksum=checksum, overwrite=overwrite)
        results = left.results + self.colorize(left.jobs, checksum=checksum, overwrite=overwrite)
        with open_report(self.report, append=self.report.exists()) as add:
            for result in results:
                add(result)
        return results

    def statuses(self, **options: bool) -> list[tuple[str, str]]:
        """Resume and return names and statuses."""
        return [(Path(result.input).name, result.status) for result in self.resume(**options)]


@pytest.fixture
def batch(tree: Path, colorize_here) -> Batch:
    for path in ("notes.txt", "b-color.jpg"):
        (tree / path).unlink()
    return Batch(tree, colorize_here)


def change(path: Path, shift: int = 10**9) -> None:
    """Replace a photo by another of the same size; its time is that of the old one plus a shift."""
    time = path.stat().st_mtime_ns + shift
    Image.new("L", (20, 16), 33).save(path)
    os.utime(path, ns=(time, time))


def test_failed_and_deleted_results_are_repeated(batch: Batch):
    (batch.tree / "a.PNG").write_bytes(b"")
    assert batch.statuses() == [("a.PNG", "failed"), ("b.jpg", "done"), ("c.tif", "done")]
    (batch.out / "b.jpg").unlink()
    with batch.report.open("ab") as stream:
        stream.write(b'{"input": "cut o')
    assert batch.statuses() == [("a.PNG", "failed"), ("b.jpg", "done")]
    lines = [json.loads(line) for line in batch.report.read_text().splitlines()]
    assert [line["status"] for line in lines] == ["failed", "done", "done", "failed", "done"]
    assert lines[1]["model"] == "tiny"


def test_ignored_files_are_reported_once(batch: Batch):
    (batch.tree / "notes.txt").touch()
    assert ("notes.txt", "ignored") in batch.statuses()
    assert batch.statuses() == []


@pytest.mark.parametrize("shift", [10**9, -(10**9)])
def test_a_replaced_photo_is_colorized_again(batch: Batch, shift: int):
    batch.resume()
    before = (batch.out / "b.jpg").read_bytes()
    change(batch.tree / "b.jpg", shift)
    assert batch.statuses() == [("b.jpg", "done")]
    assert (batch.out / "b.jpg").read_bytes() != before
    assert batch.statuses() == []


def test_a_retouched_result_of_a_replaced_photo_is_left_alone(batch: Batch):
    batch.resume()
    change(batch.tree / "b.jpg")
    (batch.out / "b.jpg").write_bytes(b"retouched")
    for _ in range(2):  # it stays to be said
        (result,) = batch.resume()
        assert (result.status, result.output) == ("failed", batch.out / "b.jpg")
        assert "has changed or has other hints, but" in str(result.error)
        assert "--overwrite" in str(result.error)
    assert (batch.out / "b.jpg").read_bytes() == b"retouched"
    assert batch.statuses(overwrite=True) == [("b.jpg", "done")]
    assert batch.statuses() == []


def test_a_result_that_is_retouched_after_planning_is_left_alone(batch: Batch):
    batch.resume()
    change(batch.tree / "b.jpg")
    left = skip_finished(batch.plan(), read_finished(batch.report))
    (batch.out / "b.jpg").write_bytes(b"retouched")
    (result,) = batch.colorize(left.jobs)
    assert result.status == "failed"
    assert (batch.out / "b.jpg").read_bytes() == b"retouched"


def test_a_retouched_result_of_an_unchanged_photo_is_finished(batch: Batch):
    batch.resume()
    (batch.out / "b.jpg").write_bytes(b"retouched")
    assert batch.statuses() == []


def test_checksums_find_what_sizes_and_times_do_not(batch: Batch):
    Image.new("L", (20, 16), 99).save(batch.tree / "b.jpg", quality=100)
    batch.resume(checksum=True)
    path = batch.tree / "b.jpg"
    status = path.stat()
    changed = bytearray(path.read_bytes())
    changed[-5] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert batch.statuses() == []
    assert [name for name, _ in batch.statuses(checksum=True)] == ["b.jpg"]


def test_checksums_recognize_copies_with_other_times(batch: Batch):
    batch.resume(checksum=True)
    for path in (*batch.tree.rglob("*.*"), *batch.out.rglob("*.*")):
        os.utime(path)
    assert batch.statuses() == []


def test_a_report_without_versions_resumes(batch: Batch):
    batch.resume()
    keys = ("input", "output", "status", "seconds", "width", "height", "model", "error")
    lines = [json.loads(line) for line in batch.report.read_text().splitlines()]
    old = [json.dumps({key: line[key] for key in keys}) + "\n" for line in lines]
    batch.report.write_text("".join(old))
    change(batch.tree / "b.jpg")
    assert batch.statuses() == []


def test_a_plain_run_says_that_a_photo_is_newer_than_its_result(batch: Batch):
    batch.resume()
    batch.report.unlink()
    path = batch.tree / "b.jpg"
    os.utime(path, ns=(1, (batch.out / "b.jpg").stat().st_mtime_ns + 1))
    for _ in range(2):  # also when it is resumed
        reasons: dict[str, Any] = {Path(r.input).name: r.reason for r in batch.resume()}
        assert reasons.pop("b.jpg") == (
            f"{batch.out / 'b.jpg'} exists, but the photo is newer; replace it with --overwrite"
        )
        assert all(str(reason).endswith(" exists") for reason in reasons.values())


def test_a_result_that_existed_before_the_report_is_left_alone(batch: Batch):
    batch.resume()
    batch.report.unlink()
    assert {status for _, status in batch.statuses()} == {"skipped"}
    before = (batch.out / "b.jpg").read_bytes()
    change(batch.tree / "b.jpg")
    (result,) = batch.resume()
    assert result.status == "failed"
    assert "this report cannot tell whether" in str(result.error)
    assert (batch.out / "b.jpg").read_bytes() == before
    assert batch.statuses(overwrite=True) == [("b.jpg", "done")]


def test_a_photo_is_the_same_however_its_path_is_written(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
):
    batch.resume()
    change(batch.tree / "b.jpg", -(10**9))
    monkeypatch.chdir(batch.tree.parent)
    batch.tree, batch.out = Path(batch.tree.name), Path(batch.out.name)
    assert batch.statuses() == [("b.jpg", "done")]
