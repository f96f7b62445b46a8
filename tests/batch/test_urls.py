"""Batches of photos at URLs."""

import dataclasses
import errno
import functools
import http.server
import os
import tempfile
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from photochrom.batch.hints import give_hints
from photochrom.batch.planning import Job, Plan, plan
from photochrom.batch.report import Result, open_report
from photochrom.batch.resuming import read_finished, skip_finished
from photochrom.batch.runner import Settings, colorize_all, colorize_file
from photochrom.batch.storage import download, get_version, upload
from photochrom.batch.transfers import colorize_anywhere, map_in_threads, temporary_folder
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError, UsageError
from support.models import write_model
from support.stores import count_versions

pytest.importorskip("fsspec", reason="the extra s3 is not installed")


@pytest.fixture
def colorize(tiny_onnx: Path) -> Callable[[Job], Result]:
    colorizer = Colorizer(tiny_onnx, threads=1)
    return lambda job: colorize_file(job, colorizer)


def test_urls_are_planned_by_the_rules_for_paths(store: Any, bucket: str, tree: Path) -> None:
    for path in tree.rglob("*"):
        if path.is_file():
            store.put_file(str(path), f"{bucket}/photos/{path.relative_to(tree)}")
    root = f"s3://{bucket}/photos"
    local = plan([str(tree)], tree.parent / "out")
    expected = [
        (f"{root}/{job.input.relative_to(tree)}", str(job.output.relative_to(tree.parent)))
        for job in local.jobs
    ]
    for out, prefix in (
        (f"s3://{bucket}", f"s3://{bucket}/"),
        (str(tree.parent), f"{tree.parent}/"),
    ):
        jobs = plan([root + "/"], f"{out}/out/").jobs
        assert [(e.input, str(e.output)) for e in jobs] == [(i, prefix + o) for i, o in expected]
        assert {e.output_version for e in jobs} == {None}
    beside = plan([root]).jobs
    assert [e.output.removeprefix(f"{root}/") for e in beside] == [
        "a-color.PNG",
        "b-color.jpg",
        "deep/er/c-color.tif",
    ]
    assert [e.output_version is not None for e in beside] == [False, True, False]
    for pattern, names in {
        "*.jpg": ["b.jpg"],
        "**/*.tif": ["deep/er/c.tif"],
        "d*": ["deep/er/c.tif"],
        "deep/*/?.tif": ["er/c.tif"],
        "b.jpg": ["b.jpg"],
    }.items():
        outputs = [e.output for e in plan([f"{root}/{pattern}"], f"s3://{bucket}/out").jobs]
        assert outputs == [f"s3://{bucket}/out/{name}" for name in names]
    # Outputs below the input folder are skipped. A local photo can go to a store.
    store.pipe(f"{bucket}/photos/out/b.jpg", b"a result")
    again = plan([root], f"{root}/out").jobs
    assert [e.input.removeprefix(f"{root}/") for e in again] == ["a.PNG", "b.jpg", "deep/er/c.tif"]
    assert [e.output_version is not None for e in again] == [False, True, False]
    (up,) = plan([str(tree / "a.PNG")], f"s3://{bucket}/out").jobs
    assert (up.input, up.output) == (tree / "a.PNG", f"s3://{bucket}/out/a.PNG")


def test_invalid_plans_raise(store: Any, bucket: str, tmp_path: Path) -> None:
    store.pipe(f"{bucket}/y/a.png", b"")
    for inputs, out, error, reason in [
        ([f"s3://{bucket}/none"], None, UsageError, "there is no file or folder"),
        ([f"s3://{bucket}/*.webp"], None, UsageError, "no photo matches"),
        (["s3://*/a.jpg"], None, UsageError, "name the bucket"),
        (["s3://"], None, UsageError, "names no bucket"),
        ([f"s3://{bucket}/y/a.png"], f"s3://{bucket}/a.png", UsageError, "named like a file"),
        (["nonsense://a"], None, UsageError, "cannot check nonsense://a: Protocol not known"),
        (["http://h/a.jpg"], None, UsageError, "http:// and https:// are only read; give a folder"),
        ([f"s3://{bucket}/y/a.png"], "https://h/out", UsageError, "are only read"),
        (["gs://bucket/a.jpg"], None, PhotochromError, "gs:// needs a package of its own: .*gcsfs"),
        (
            ["s3://no-bucket/a"],
            None,
            PhotochromError,
            "cannot check s3://no-bucket/a: no such",
        ),
        ([f"s3://{bucket}/y/a.png"], "s3://no-bucket/a", PhotochromError, "cannot list s3://no-b"),
    ]:
        with pytest.raises(error, match=reason) as raised:
            plan(inputs, out)
        assert raised.type is error


def test_photos_whose_names_clash_fail_alone(store: Any, bucket: str, tmp_path: Path) -> None:
    store.pipe(f"{bucket}/x//up.jpg", b"")
    for name in ("a.gif", "a.gif.png", "b.png", "notes.txt"):
        store.pipe(f"{bucket}/y/{name}", b"")
    for inputs, out, expected in [
        ([f"s3://{bucket}/x"], str(tmp_path), {"up.jpg": "cannot keep its name"}),
        (
            [f"s3://{bucket}/y"],
            f"s3://{bucket}/out",
            {
                "notes.txt": ".txt is not the suffix of a photo",
                "a.gif": "would both become",
                "a.gif.png": "would both become",
            },
        ),
        ([f"s3://{bucket}/y/b.png"], f"s3://{bucket}/y", {"b.png": "would be replaced"}),
    ]:
        plan_ = plan(inputs, out)
        reasons = {Path(r.input).name: r.error or r.reason or "" for r in plan_.results}
        assert reasons.keys() == expected.keys()
        assert all(expected[name] in reason for name, reason in reasons.items())
        assert [Path(job.input).name for job in plan_.jobs] == ["b.png"] * (len(expected) == 3)


def test_a_photo_is_downloaded_and_uploaded(
    store: Any, bucket: str, photo_file: Path, colorize: Any
) -> None:
    url, output = f"s3://{bucket}/old.jpg", photo_file.with_name("new.jpg")
    upload(photo_file, url, overwrite=False)
    assert colorize_anywhere(Job(url, output), colorize).status == "done"
    there = f"s3://{bucket}/deep/new.jpg"
    result = colorize_anywhere(Job(url, there), colorize)
    assert (result.input, result.output, result.status) == (url, there, "done")
    assert (result.width, result.height, result.model) == (64, 48, "tiny")
    download(there, photo_file.with_name("back.jpg"))
    colorize(Job(photo_file, photo_file.with_name("local.jpg")))
    local = photo_file.with_name("local.jpg").read_bytes()
    assert output.read_bytes() == photo_file.with_name("back.jpg").read_bytes() == local


def test_a_photo_in_color_stays_ignored(
    store: Any, bucket: str, photo_file: Path, tiny_onnx: Path, picture: Image.Image
) -> None:
    picture.resize((256, 192)).save(photo_file)
    colorize = Settings(tiny_onnx, recolor=False).load_model()
    result = colorize_anywhere(Job(photo_file, f"s3://{bucket}/new.jpg"), colorize)
    assert result.status == "ignored"
    assert "--recolor" in (result.reason or "")
    assert count_versions(store, bucket) == {}


def test_an_output_that_appears_after_planning_is_kept(
    store: Any, bucket: str, photo_file: Path, colorize: Any
) -> None:
    url = f"s3://{bucket}/new.jpg"

    def slow(job: Job) -> Result:
        store.pipe(f"{bucket}/new.jpg", b"mine")
        return colorize(job)

    result = colorize_anywhere(Job(photo_file, url), slow)
    assert (result.status, result.reason) == ("skipped", f"{url} exists")
    planned = Job(photo_file, url, replaces=get_version(url), output_version=get_version(url))
    store.pipe(f"{bucket}/new.jpg", b"retouched")
    assert "has changed or has other hints" in str(colorize_anywhere(planned, colorize).error)
    assert store.cat(f"{bucket}/new.jpg") == b"retouched"
    result = colorize_anywhere(Job(photo_file, url), colorize, overwrite=True)
    assert (result.status, result.output_version) == ("done", get_version(url))


def test_a_full_temporary_folder_is_named(
    tmp_path: Path, colorize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    client = types.SimpleNamespace(get_file=full)
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url, **_: (client, url))
    result = colorize_anywhere(Job("s3://b/a.jpg", tmp_path / "b.jpg"), colorize)
    assert result.error == (
        f"cannot read s3://b/a.jpg: the temporary folder {tempfile.gettempdir()} is full; name "
        "another in TMPDIR"
    )


def test_errors_name_urls_instead_of_temporary_files(
    store: Any, bucket: str, colorize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/a.jpg"
    store.pipe(f"{bucket}/a.jpg", b"no photo at all")
    result = colorize_anywhere(Job(url, f"s3://{bucket}/b.jpg"), colorize)
    assert result.status == "failed"
    assert str(result.error).startswith(f"{url} is not a photo")
    deleted = colorize_anywhere(Job(f"s3://{bucket}/deleted.jpg", f"s3://{bucket}/c.jpg"), colorize)
    assert deleted.error == f"cannot read s3://{bucket}/deleted.jpg: there is no such file"
    assert list(count_versions(store, bucket)) == ["a.jpg"]


def test_replaced_photos_in_a_store_are_found(
    store: Any, bucket: str, photo_file: Path, tmp_path: Path, colorize: Any
) -> None:
    url, out, report = f"s3://{bucket}/in/a.jpg", f"s3://{bucket}/out", tmp_path / "report"
    upload(photo_file, url, overwrite=False)
    jobs = plan([url], out).jobs
    with open_report(report) as add:
        add(colorize_anywhere(jobs[0], colorize))

    def resume() -> Plan:
        return skip_finished(plan([url], out), read_finished(report))

    assert resume() == Plan([], [])
    time.sleep(1.1)  # a store's clock has seconds
    Image.new("L", (64, 48), 9).save(photo_file)
    upload(photo_file, url, overwrite=True)
    (job,) = resume().jobs
    assert colorize_anywhere(job, colorize).status == "done"
    assert count_versions(store, bucket, "out") == {"out/a.jpg": 2}
    # The report still has the first version: the result is not as it says.
    (result,) = resume().results
    assert (result.status, "has changed or has" in str(result.error)) == ("failed", True)


def test_hints_of_photos_in_a_store(
    store: Any, bucket: str, photo_file: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "hinted.onnx", hints=3)
    colorize = Settings(tmp_path / "hinted.onnx", threads=1).load_model()
    upload(photo_file, f"s3://{bucket}/in/sub/old.jpg", overwrite=False)
    hints = '[{"x": 3, "y": 4, "color": "blue"}]'
    store.pipe(f"{bucket}/hints/sub/old.jpg.hints.json", hints.encode())
    store.pipe(f"{bucket}/hints/other.jpg.hints.json", b"broken")
    report = tmp_path / "report"

    def plan_again() -> Plan:
        return give_hints(
            plan([f"s3://{bucket}/in"], f"s3://{bucket}/out"),
            f"s3://{bucket}/hints/",
        )

    planned = plan_again()
    (job,), (unused,) = planned.jobs, planned.results
    assert job.hints == (Hint(3, 4, "blue"),)
    assert (unused.input, unused.status) == (f"s3://{bucket}/hints/other.jpg.hints.json", "ignored")
    result = colorize_anywhere(job, colorize)
    assert (result.status, result.hints) == ("done", job.hints)
    with open_report(report) as add:
        add(result)
        add(unused)
    download(job.output, tmp_path / "back.jpg")
    colorize(Job(photo_file, tmp_path / "local.jpg", hints=job.hints))
    assert (tmp_path / "back.jpg").read_bytes() == (tmp_path / "local.jpg").read_bytes()
    finished = read_finished(report)
    assert skip_finished(plan_again(), finished) == Plan([], [])
    store.pipe(f"{bucket}/hints/sub/old.jpg.hints.json", hints.replace("blue", "red").encode())
    (again,) = skip_finished(plan_again(), finished).jobs
    assert again.hints == (Hint(3, 4, "red"),)
    time.sleep(1.1)  # a store's clock has seconds
    assert colorize_anywhere(again, colorize).hints == again.hints
    assert count_versions(store, bucket, "out") == {"out/sub/old.jpg": 2}
    store.pipe(f"{bucket}/hints/sub/old.jpg.hints.json", b"{")
    (failed,) = skip_finished(plan_again(), finished).results
    assert str(failed.error).startswith(f"s3://{bucket}/hints/sub/old.jpg.hints.json is not JSON;")


def test_worker_processes_colorize_photos_at_urls(
    store: Any, bucket: str, tree: Path, tmp_path: Path, tiny_onnx: Path, colorize: Any
) -> None:
    store.put(f"{tree}/", f"{bucket}/in/", recursive=True)
    store.pipe(f"{bucket}/in/crash.png", b"crash")
    jobs = plan([f"s3://{bucket}/in"], f"s3://{bucket}/out").jobs
    results = {Path(r.input).name: r for r in colorize_all(jobs, Crashing(tiny_onnx), processes=2)}
    statuses = {name: result.status for name, result in results.items()}
    assert statuses == {"a.PNG": "done", "b.jpg": "done", "c.tif": "done", "crash.png": "failed"}
    assert str(results["crash.png"].error).startswith(
        f"s3://{bucket}/in/crash.png: the worker process ended with exit code "
    )
    for job in plan([str(tree)], tmp_path / "local").jobs:
        colorize(job)
        name = job.output.relative_to(tmp_path / "local")
        assert store.cat(f"{bucket}/out/{name}") == job.output.read_bytes()
    assert set(count_versions(store, bucket, "out").values()) == {1}


@dataclasses.dataclass(frozen=True)
class Crashing(Settings):
    """`Settings` with a worker that one photo crashes."""

    def load_model(self) -> Callable[[Job], Result]:
        return functools.partial(crash_or, super().load_model())


def crash_or(colorize: Callable[[Job], Result], job: Job) -> Result:
    if Path(job.input).read_bytes() == b"crash":
        os._exit(3)
    return colorize(job)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *_: Any) -> None:
        pass


def test_photos_of_a_web_server(photo_file: Path, colorize: Any) -> None:
    pytest.importorskip("aiohttp", reason="the extra s3 is not installed")
    handler = functools.partial(Quiet, directory=photo_file.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        url, out = f"http://127.0.0.1:{server.server_port}/old.jpg?a=1", photo_file.parent / "out"
        (job,) = plan([url], out).jobs
        assert (job.input, job.output) == (url, out / "old.jpg")
        assert colorize_anywhere(job, colorize).status == "done"
        with pytest.raises(UsageError, match="there is no file or folder"):
            plan([url.replace("old", "none")], out)
        server.shutdown()
    assert [path.name for path in out.iterdir()] == ["old.jpg"]
    with pytest.raises(PhotochromError, match=r"cannot check http:.*check the network"):
        plan([url], out)


def test_a_transfer_that_hangs_does_not_keep_an_interrupted_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("photochrom.batch.transfers._GRACE", 0.1)
    jobs = [Job(f"s3://b/{number}.jpg", tmp_path / "out") for number in range(9)]
    released = threading.Event()
    begun = []

    def work(job: Job) -> Result:
        begun.append(job)
        if job is not jobs[0]:
            released.wait(20)
        return job.failed("")

    stopped: list[bool] = []
    results = map_in_threads(work, jobs, threads=2, on_stop=lambda: stopped.append(True))
    assert next(results).status == "failed"
    with temporary_folder(jobs) as folder:
        results.close()
        (folder / "photo").touch()
    assert stopped == [True]
    assert not folder.exists()
    released.set()
    time.sleep(0.1)
    assert len(begun) <= 3
    with temporary_folder([Job(tmp_path, tmp_path)]) as folder:
        assert folder is None
