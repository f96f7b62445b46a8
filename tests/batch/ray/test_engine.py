"""Batches in object stores and on a Ray cluster, one machine of which is killed."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.batch import planning
from photochrom.batch.hints import give_hints
from photochrom.batch.planning import Job, Plan
from photochrom.batch.report import Result, open_report
from photochrom.batch.resuming import read_finished, skip_finished
from photochrom.batch.runner import (
    Settings,
    colorize_all,
)
from photochrom.cli import main
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError
from support.models import write_model

pytest.importorskip("ray", reason="the extra ray is not installed")
s3fs = pytest.importorskip("s3fs", reason="the extra ray is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed")

from photochrom.batch.ray import ClusterError, engine  # noqa: E402
from photochrom.batch.ray import tasks as ray_tasks  # noqa: E402
from photochrom.batch.ray.actors import plan_actors  # noqa: E402
from photochrom.batch.ray.engine import colorize_on_ray  # noqa: E402
from photochrom.batch.ray.execution import run_task  # noqa: E402
from photochrom.batch.ray.storage import download, get_version, upload  # noqa: E402
from photochrom.batch.ray.tasks import Task  # noqa: E402
from photochrom.batch.runner import colorize_file  # noqa: E402

pytestmark = [
    # Ray does not close its log files, sockets and processes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),  # of its own
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def plan(inputs: list[str], out: Path | None = None) -> list[Job]:
    """Return the jobs of a plan."""
    return planning.plan(inputs, out).jobs


def plan_tasks(inputs: list[str], out: str | None = None) -> list[Task]:
    """Return the tasks of a plan."""
    return ray_tasks.plan_tasks(inputs, out).jobs


INVALID_FILES = {
    "cut.jpg": b"\xff\xd8\xff\xe0 cut off",
    "text.jpg": b"no photo at all",
    "empty.png": b"",
}


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """An object store on this computer, configured by environment variables."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_PROFILE", raising=False)
        yield s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    server.stop()


@pytest.fixture
def bucket(store: Any, request: pytest.FixtureRequest) -> str:
    """A new bucket with versioning."""
    name = f"b{abs(hash(request.node.name))}"
    store.mkdir(name)
    store.call_s3(
        "put_bucket_versioning", Bucket=name, VersioningConfiguration={"Status": "Enabled"}
    )
    return name


def versions(store: Any, bucket: str, prefix: str) -> dict[str, int]:
    """Return how often each object was written."""
    counts: dict[str, int] = {}
    answer = store.call_s3("list_object_versions", Bucket=bucket, Prefix=prefix)
    for entry in answer.get("Versions", []):
        counts[entry["Key"]] = counts.get(entry["Key"], 0) + 1
    return counts


def fill(folder: Path, count: int) -> None:
    """Write photos into two folders, and the invalid files."""
    for number in range(count):
        path = folder / ("a" if number % 2 else "b/c") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 30), 20 + number).save(path)
    for name, content in INVALID_FILES.items():
        (folder / "a" / name).write_bytes(content)


@pytest.fixture
def colorize(tiny_onnx: Path) -> Callable[[Job], Result]:
    colorizer = Colorizer(tiny_onnx, threads=1)
    return lambda job: colorize_file(job, colorizer)


# Planning.


def test_urls_are_planned_by_the_rules_for_paths(store: Any, bucket: str, tree: Path) -> None:
    for path in tree.rglob("*"):
        if path.is_file():
            store.put_file(str(path), f"{bucket}/photos/{path.relative_to(tree)}")
    root = f"s3://{bucket}/photos"
    local = plan([str(tree)], tree.parent / "out")
    expected = [
        (f"{root}/{job.input.relative_to(tree)}", str(job.output.relative_to(tree.parent)))
        for job in local
    ]
    for out, prefix in (
        (f"s3://{bucket}", f"s3://{bucket}/"),
        (str(tree.parent), f"{tree.parent}/"),
    ):
        tasks = plan_tasks([root + "/"], f"{out}/out/")
        assert [(e.input, e.output) for e in tasks] == [(i, prefix + o) for i, o in expected]
        assert {e.planned_version for e in tasks} == {None}
    beside = plan_tasks([root])
    assert [e.output.removeprefix(f"{root}/") for e in beside] == [
        "a-color.PNG",
        "b-color.jpg",
        "deep/er/c-color.tif",
    ]
    assert [e.planned_version is not None for e in beside] == [False, True, False]
    for pattern, names in {
        "*.jpg": ["b.jpg"],
        "**/*.tif": ["deep/er/c.tif"],
        "d*": ["deep/er/c.tif"],
        "deep/*/?.tif": ["er/c.tif"],
        "b.jpg": ["b.jpg"],
    }.items():
        outputs = [e.output for e in plan_tasks([f"{root}/{pattern}"], f"s3://{bucket}/out")]
        assert outputs == [f"s3://{bucket}/out/{name}" for name in names]
    # Outputs below the input folder are skipped. A local photo can go to a store.
    store.pipe(f"{bucket}/photos/out/b.jpg", b"a result")
    again = plan_tasks([root], f"{root}/out")
    assert [e.input.removeprefix(f"{root}/") for e in again] == ["a.PNG", "b.jpg", "deep/er/c.tif"]
    assert [e.planned_version is not None for e in again] == [False, True, False]
    (up,) = plan_tasks([str(tree / "a.PNG")], f"s3://{bucket}/out")
    assert (up.input, up.output) == (str(tree / "a.PNG"), f"s3://{bucket}/out/a.PNG")


def test_invalid_plans_raise(store: Any, bucket: str, tmp_path: Path) -> None:
    store.pipe(f"{bucket}/y/a.png", b"")
    for inputs, out, reason in [
        ([f"s3://{bucket}/none"], None, "there is no file or folder"),
        ([f"s3://{bucket}/*.webp"], None, "no photo matches"),
        (["s3://no-such-bucket-here/a"], None, "there is no file or folder"),
        (["s3://*/a.jpg"], None, "name the bucket"),
        (["s3://"], None, "names no bucket"),
        ([f"s3://{bucket}/y/a.png"], f"s3://{bucket}/a.png", "named like a file"),
        ([f"s3://{bucket}/y/a.png"], "s3://no-such-bucket-here/a", "no such bucket"),
        (["nonsense://a"], None, "cannot reach nonsense://a"),
    ]:
        with pytest.raises(PhotochromError, match=reason):
            plan_tasks(inputs, out)


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
        plan_ = ray_tasks.plan_tasks(inputs, out)
        reasons = {Path(r.input).name: r.error or r.reason or "" for r in plan_.results}
        assert reasons.keys() == expected.keys()
        assert all(expected[name] in reason for name, reason in reasons.items())
        assert [Path(task.input).name for task in plan_.jobs] == ["b.png"] * (len(expected) == 3)


# One photo.


def test_a_photo_is_downloaded_and_uploaded(
    store: Any, bucket: str, photo_file: Path, colorize: Any
) -> None:
    url, output = f"s3://{bucket}/old.jpg", photo_file.with_name("new.jpg")
    upload(photo_file, url, overwrite=False)
    assert run_task(Task(url, str(output)), colorize).status == "done"
    there = f"s3://{bucket}/deep/new.jpg"
    result = run_task(Task(url, there), colorize)
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
    result = run_task(Task(str(photo_file), f"s3://{bucket}/new.jpg"), colorize)
    assert result.status == "ignored"
    assert "--recolor" in (result.reason or "")
    assert versions(store, bucket, "") == {}


def test_an_output_of_an_earlier_attempt_is_kept(
    store: Any, bucket: str, photo_file: Path, colorize: Any
) -> None:
    url = f"s3://{bucket}/old.jpg"
    task = Task(str(photo_file), url)
    assert [run_task(task, colorize).status for _ in range(2)] == ["done", "done"]
    assert versions(store, bucket, "") == {"old.jpg": 1}
    # With --overwrite, the output that existed at planning is replaced once.
    time.sleep(1.1)  # a store's clock has seconds
    (replaced,) = plan_tasks([str(photo_file)], f"s3://{bucket}")
    assert replaced.planned_version == get_version(url) is not None
    for _ in range(2):
        assert run_task(replaced, colorize, overwrite=True).status == "done"
    assert versions(store, bucket, "") == {"old.jpg": 2}
    # A machine that was considered dead uploads first.

    def slow(job: Job) -> Result:
        run_task(other, colorize)
        return colorize(job)

    other = Task(str(photo_file), f"s3://{bucket}/other.jpg")
    assert run_task(other, slow).status == "done"
    assert versions(store, bucket, "other")["other.jpg"] == 1


def test_errors_name_urls_instead_of_temporary_files(
    store: Any, bucket: str, colorize: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{bucket}/a.jpg"
    store.pipe(f"{bucket}/a.jpg", b"no photo at all")
    result = run_task(Task(url, f"s3://{bucket}/b.jpg"), colorize)
    assert result.status == "failed"
    assert str(result.error).startswith(f"{url} is not a photo")
    deleted = run_task(Task(f"s3://{bucket}/deleted.jpg", f"s3://{bucket}/c.jpg"), colorize)
    assert deleted.error == (
        f"cannot read s3://{bucket}/deleted.jpg: no such file or no such bucket"
    )

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    refusing = SimpleNamespace(cat_file=store.cat_file, get_file=denied)
    monkeypatch.setattr(
        "fsspec.core.url_to_fs", lambda url, **_: (refusing, url.partition("://")[2])
    )
    refused = run_task(Task(url, f"s3://{bucket}/b.jpg"), colorize)
    assert refused.error == f"cannot read {url}: permission denied; Access Denied"
    assert list(versions(store, bucket, "")) == ["a.jpg"]


def test_replaced_photos_in_a_store_are_found(
    store: Any, bucket: str, photo_file: Path, tmp_path: Path, colorize: Any
) -> None:
    url, out, report = f"s3://{bucket}/in/a.jpg", f"s3://{bucket}/out", tmp_path / "report"
    upload(photo_file, url, overwrite=False)
    tasks = plan_tasks([url], out)
    with open_report(report) as add:
        add(run_task(tasks[0], colorize))

    def resume() -> Plan[Task]:
        return skip_finished(ray_tasks.plan_tasks([url], out), read_finished(report))

    assert resume() == Plan([], [])
    time.sleep(1.1)  # a store's clock has seconds
    Image.new("L", (64, 48), 9).save(photo_file)
    upload(photo_file, url, overwrite=True)
    (task,) = resume().jobs
    assert Task.from_json(task.to_json()) == task
    assert run_task(task, colorize).status == "done"
    assert versions(store, bucket, "out") == {"out/a.jpg": 2}
    # The report still has the first version: the result is not as it says.
    (result,) = resume().results
    assert (result.status, "has changed or has" in str(result.error)) == ("failed", True)


def test_replaced_photos_at_paths_are_found(
    photo_file: Path, tmp_path: Path, colorize: Any
) -> None:
    report, output = tmp_path / "report", tmp_path / "out" / "old.jpg"
    (task,) = plan_tasks([str(photo_file)], str(tmp_path / "out"))
    with open_report(report) as add:
        add(run_task(task, colorize))
    before = output.read_bytes()
    Image.new("L", (64, 48), 9).save(photo_file)
    plan_ = ray_tasks.plan_tasks([str(photo_file)], str(tmp_path / "out"))
    (task,) = skip_finished(plan_, read_finished(report)).jobs
    assert run_task(Task.from_json(task.to_json()), colorize).status == "done"
    assert output.read_bytes() != before


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

    def plan_again() -> Plan[Task]:
        return give_hints(
            ray_tasks.plan_tasks([f"s3://{bucket}/in"], f"s3://{bucket}/out"),
            f"s3://{bucket}/hints/",
        )

    planned = plan_again()
    (task,), (unused,) = planned.jobs, planned.results
    assert task.hints == (Hint(3, 4, "blue"),)
    assert (unused.input, unused.status) == (f"s3://{bucket}/hints/other.jpg.hints.json", "ignored")
    result = run_task(Task.from_json(task.to_json()), colorize)
    assert (result.status, result.hints) == ("done", task.hints)
    with open_report(report) as add:
        add(result)
        add(unused)
    download(task.output, tmp_path / "back.jpg")
    colorize(Job(photo_file, tmp_path / "local.jpg", hints=task.hints))
    assert (tmp_path / "back.jpg").read_bytes() == (tmp_path / "local.jpg").read_bytes()
    finished = read_finished(report)
    assert skip_finished(plan_again(), finished) == Plan([], [])
    store.pipe(f"{bucket}/hints/sub/old.jpg.hints.json", hints.replace("blue", "red").encode())
    (again,) = skip_finished(plan_again(), finished).jobs
    assert again.hints == (Hint(3, 4, "red"),)
    time.sleep(1.1)  # a store's clock has seconds
    assert run_task(again, colorize).hints == again.hints
    assert versions(store, bucket, "out") == {"out/sub/old.jpg": 2}
    store.pipe(f"{bucket}/hints/sub/old.jpg.hints.json", b"{")
    (failed,) = skip_finished(plan_again(), finished).results
    assert str(failed.error).startswith(f"s3://{bucket}/hints/sub/old.jpg.hints.json is not JSON;")


# The number of actors.


@pytest.mark.parametrize(
    ("device", "actors", "cores", "gpus", "cuda", "expected"),
    [
        ("auto", None, 8, 0, False, (8, 1, 0, "cpu")),
        ("auto", 3, 8, 0, False, (3, 1, 0, "cpu")),
        ("auto", None, 8, 1, True, (8, 1, 0.125, "cuda")),
        ("auto", None, 8, 1, False, (8, 1, 0, "cpu")),
        ("cuda", None, 4, 4, True, (4, 1, 1.0, "cuda")),
        ("cuda", None, 64, 1, True, (16, 1, 0.0625, "cuda")),
        ("cpu", 99, 8, 1, True, (8, 1, 0, "cpu")),
    ],
)
def test_number_of_actors(device, actors, cores, gpus, cuda, expected) -> None:
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else []
    actors_plan = plan_actors(device, actors, {"CPU": cores, "GPU": gpus}, providers)
    assert dataclasses.astuple(actors_plan) == expected


@pytest.mark.parametrize(
    ("device", "resources", "reason"),
    [
        ("cuda", {"CPU": 4.0}, "the cluster has no GPU"),
        ("cuda", {"CPU": 4.0, "GPU": 1.0}, "no ONNX Runtime for them"),
        ("coreml", {"CPU": 4.0}, "ask for cpu, cuda or auto"),
        ("cpu", {}, "no cores"),
    ],
)
def test_an_unavailable_device_raises(
    device: str, resources: dict[str, float], reason: str
) -> None:
    with pytest.raises(ClusterError, match=reason):
        plan_actors(device, None, resources, ["CPUExecutionProvider"])


# The cluster.


@dataclasses.dataclass(frozen=True)
class SlowSettings(Settings):
    """`Settings` whose photos take at least 0.1 s; one crashes the worker."""

    def load_model(self) -> Any:
        colorize = super().load_model()

        def slowly(job: Job) -> Result:
            time.sleep(0.1)
            if job.input.read_bytes() == b"crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            return colorize(job)

        return slowly


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The head of a cluster, which soon notices when another machine dies."""
    from ray.cluster_utils import Cluster

    python_path = os.environ.get("PYTHONPATH", "")
    with pytest.MonkeyPatch.context() as patch:
        root = Path(__file__).parents[3]
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root), str(root / "tests"), python_path]))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "include_dashboard": False,
                "object_store_memory": 80_000_000,
                "_system_config": {
                    "health_check_initial_delay_ms": 0,
                    "health_check_period_ms": 500,
                    "health_check_failure_threshold": 2,
                },
            },
        )
        yield cluster
        cluster.shutdown()


@pytest.mark.slow
def test_a_killed_machine_loses_and_repeats_no_photo(
    cluster: Any,
    store: Any,
    bucket: str,
    tmp_path: Path,
    tiny_onnx: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_check_address", lambda _: None)  # it is there
    second = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    photos = tmp_path / "photos"
    fill(photos, 26)
    (photos / "crash.png").write_bytes(b"crash")
    store.put(str(photos), f"{bucket}/in", recursive=True)
    tasks = plan_tasks([f"s3://{bucket}/in"], f"s3://{bucket}/out")
    assert len(tasks) == 30
    report = tmp_path / "report.jsonl"
    killed = 0
    with open_report(report) as add:
        work = colorize_on_ray(tasks, SlowSettings(tiny_onnx), address=cluster.address)
        for number, result in enumerate(work):
            add(result)
            if number == 6:
                os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                killed = len(versions(store, bucket, "out"))
    cluster.remove_node(second, allow_graceful=False)
    assert 0 < killed < 26
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["input"] for line in lines) == sorted(e.input for e in tasks)
    failed = {Path(n["input"]).name: n["error"] for n in lines if n["status"] == "failed"}
    assert set(failed) == {*INVALID_FILES, "crash.png"}
    assert f"s3://{bucket}/in/a/text.jpg is not a photo" in failed["text.jpg"]
    assert (
        f"s3://{bucket}/in/crash.png: the worker process ended with exit code -11"
        in failed["crash.png"]
    )
    # Every valid photo was uploaded once, with the content of a local batch.
    uploads = versions(store, bucket, "out")
    assert set(uploads.values()) == {1}
    (photos / "crash.png").unlink()
    jobs = plan([str(photos)], tmp_path / "local")
    results = list(colorize_all(jobs, Settings(tiny_onnx), processes=1))
    good = {r.output for r in results if r.status == "done"}
    assert set(uploads) == {f"out/{Path(path).relative_to(tmp_path / 'local')}" for path in good}
    for path in good:
        name = Path(path).relative_to(tmp_path / "local")
        assert store.cat(f"{bucket}/out/{name}") == Path(path).read_bytes()
    finished = read_finished(report)
    # None was there when planned.
    assert skip_finished(Plan(tasks, []), finished) == Plan(tasks, [])
    left = skip_finished(
        ray_tasks.plan_tasks([f"s3://{bucket}/in"], f"s3://{bucket}/out"), finished
    )
    assert {Path(task.input).name for task in left.jobs} == set(failed)


@pytest.mark.slow
def test_a_killed_command_resumes(cluster: Any, tmp_path: Path, tiny_onnx: Path) -> None:
    fill(tmp_path / "photos", 24)
    report = tmp_path / "report.jsonl"
    command = [sys.executable, "-m", "photochrom", "colorize", "photos", "-o", "out", "--json"]
    command += ["--model", str(tiny_onnx), "--engine", "ray", "--address", cluster.address]
    process = subprocess.Popen(
        [*command, "--report", report], cwd=tmp_path, stdout=-3, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not report.exists() or not report.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    answer = subprocess.run(
        [*command, "--resume", report], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert {json.loads(line)["status"] for line in answer.stdout.splitlines()} >= {"failed"}
    *reasons, summary = answer.stderr.splitlines()
    assert summary.endswith("3 failed")
    assert sum(line.startswith("failed photos/a/") for line in reasons) == 3
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    good = [line["input"] for line in lines if line["status"] != "failed"]
    assert len(good) == len(set(good)) == 24
    assert len(list((tmp_path / "out").rglob("*.png"))) == 24


def test_another_version_of_photochrom_raises(
    cluster: Any, photo_file: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = plan_tasks([str(photo_file)], str(photo_file.parent / "out"))
    configure = engine._configure_actors
    monkeypatch.setattr(engine, "_check_address", lambda _: None)
    monkeypatch.setattr(
        engine,
        "_configure_actors",
        lambda *arguments: dataclasses.replace(configure(*arguments), version="0.0.1"),
    )
    with pytest.raises(ClusterError, match="install the same version on all machines"):
        list(colorize_on_ray(tasks, Settings(tiny_onnx), address=cluster.address))
    assert [path.name for path in photo_file.parent.rglob("*") if path.is_file()] == ["old.jpg"]


def test_a_folder_that_is_not_shared_raises(photo_file: Path) -> None:
    tasks = [Task(str(photo_file), str(photo_file.parent / "out" / "old.jpg"))]
    with engine._probe_files(tasks, "auto") as probes:
        actors = plan_actors("cpu", 1, {"CPU": 1}, ())
        config = engine._configure_actors(Settings(), actors, tasks, probes)
        engine._check_visible(config)
        Path(probes[0]).unlink()
        with pytest.raises(ClusterError, match=r"does not see .*tmp; use a file system that all"):
            engine._check_visible(config)


# The command line, without a cluster.


def test_wrong_usage_exits_with_2(photo_file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for arguments, reason in [
        (["s3://bucket/scans"], "is a URL; give a path, or --engine ray"),
        ([photo_file, "-o", "s3://bucket/scans"], "is a URL; give a path, or --engine ray"),
        ([photo_file, "--address", "auto"], "--address needs --engine ray"),
        ([photo_file, "--engine", "ray", "--address", f"127.0.0.1:{port}"], "no Ray cluster at"),
        ([photo_file, "--engine", "ray", "--address", "ray://a:1"], "no address of a Ray cluster"),
        (["memory://photos/a.jpg", "--engine", "ray"], "there is no file or folder"),
    ]:
        result = CliRunner().invoke(main, ["colorize", *map(str, arguments)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert reason in result.stderr
    assert [path.name for path in photo_file.parent.iterdir()] == ["old.jpg"]


def test_the_local_engine_does_not_import_ray(photo_file: Path, tiny_onnx: Path) -> None:
    code = (
        "import sys\n"
        "from photochrom.cli import main\n"
        f"main(['colorize', {str(photo_file)!r}, '--model', {str(tiny_onnx)!r}],"
        " standalone_mode=False)\n"
        "heavy = {'ray', 'fsspec', 'pyarrow', 's3fs'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.stderr == "1 done, 0 skipped, 0 failed\n"
