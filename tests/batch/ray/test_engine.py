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
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.batch.planning import Job, Plan, plan
from photochrom.batch.report import Result, open_report
from photochrom.batch.resuming import read_finished, skip_finished
from photochrom.batch.runner import Settings, colorize_all, colorize_file
from photochrom.batch.storage import get_version
from photochrom.cli import main
from photochrom.colorize.colorizer import Colorizer
from support.stores import count_versions

pytest.importorskip("ray", reason="the extra ray is not installed")

from photochrom.batch.ray import ClusterError, engine
from photochrom.batch.ray.actors import plan_actors
from photochrom.batch.ray.engine import colorize_on_ray, run_once

pytestmark = [
    # Ray does not close its log files, sockets and processes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),  # of its own
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


INVALID_FILES = {
    "cut.jpg": b"\xff\xd8\xff\xe0 cut off",
    "text.jpg": b"no photo at all",
    "empty.png": b"",
}


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


# One photo.


def test_an_output_of_an_earlier_attempt_is_kept(
    store: Any, bucket: str, photo_file: Path, colorize: Any
) -> None:
    url = f"s3://{bucket}/old.jpg"
    job = Job(photo_file, url)
    assert [run_once(job, colorize, overwrite=False).status for _ in range(2)] == ["done", "done"]
    assert count_versions(store, bucket) == {"old.jpg": 1}
    # With --overwrite, the output that existed at planning is replaced once.
    time.sleep(1.1)  # a store's clock has seconds
    (replaced,) = plan([str(photo_file)], f"s3://{bucket}").jobs
    assert replaced.output_version == get_version(url) is not None
    for _ in range(2):
        assert run_once(replaced, colorize, overwrite=True).status == "done"
    assert count_versions(store, bucket) == {"old.jpg": 2}
    # A machine that was considered dead uploads first.

    def slow(job: Job) -> Result:
        run_once(other, colorize, overwrite=False)
        return colorize(job)

    other = Job(photo_file, f"s3://{bucket}/other.jpg")
    assert run_once(other, slow, overwrite=False).status == "done"
    assert count_versions(store, bucket, "other")["other.jpg"] == 1


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
    jobs = plan([f"s3://{bucket}/in"], f"s3://{bucket}/out").jobs
    assert len(jobs) == 30
    report = tmp_path / "report.jsonl"
    killed = 0
    with open_report(report) as add:
        work = colorize_on_ray(jobs, SlowSettings(tiny_onnx), address=cluster.address)
        for number, result in enumerate(work):
            add(result)
            if number == 6:
                os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                killed = len(count_versions(store, bucket, "out"))
    cluster.remove_node(second, allow_graceful=False)
    assert 0 < killed < 26
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["input"] for line in lines) == sorted(e.input for e in jobs)
    failed = {Path(n["input"]).name: n["error"] for n in lines if n["status"] == "failed"}
    assert set(failed) == {*INVALID_FILES, "crash.png"}
    assert f"s3://{bucket}/in/a/text.jpg is not a photo" in failed["text.jpg"]
    assert (
        f"s3://{bucket}/in/crash.png: the worker process ended with exit code -11"
        in failed["crash.png"]
    )
    # Every valid photo was uploaded once, with the content of a local batch.
    uploads = count_versions(store, bucket, "out")
    assert set(uploads.values()) == {1}
    (photos / "crash.png").unlink()
    jobs = plan([str(photos)], tmp_path / "local").jobs
    results = list(colorize_all(jobs, Settings(tiny_onnx), processes=1))
    good = {r.output for r in results if r.status == "done"}
    assert set(uploads) == {f"out/{Path(path).relative_to(tmp_path / 'local')}" for path in good}
    for path in good:
        name = Path(path).relative_to(tmp_path / "local")
        assert store.cat(f"{bucket}/out/{name}") == Path(path).read_bytes()
    finished = read_finished(report)
    # None was there when planned.
    assert skip_finished(Plan(jobs, []), finished) == Plan(jobs, [])
    left = skip_finished(plan([f"s3://{bucket}/in"], f"s3://{bucket}/out"), finished)
    assert {Path(job.input).name for job in left.jobs} == set(failed)


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
    jobs = plan([str(photo_file)], photo_file.parent / "out").jobs
    configure = engine._configure_actors
    monkeypatch.setattr(engine, "_check_address", lambda _: None)
    monkeypatch.setattr(
        engine,
        "_configure_actors",
        lambda *arguments: dataclasses.replace(configure(*arguments), version="0.0.1"),
    )
    with pytest.raises(ClusterError, match="install the same version on all machines"):
        list(colorize_on_ray(jobs, Settings(tiny_onnx), address=cluster.address))
    assert [path.name for path in photo_file.parent.rglob("*") if path.is_file()] == ["old.jpg"]


def test_a_folder_that_is_not_shared_raises(photo_file: Path) -> None:
    jobs = [Job(photo_file, photo_file.parent / "out" / "old.jpg")]
    with engine._probe_files(jobs, "auto") as probes:
        actors = plan_actors("cpu", 1, {"CPU": 1}, ())
        config = engine._configure_actors(Settings(), actors, jobs, probes)
        engine._check_visible(config)
        Path(probes[0]).unlink()
        with pytest.raises(ClusterError, match=r"does not see .*tmp; use a file system that all"):
            engine._check_visible(config)


# The command line, without a cluster.


def test_an_address_that_is_none_is_wrong_usage(photo_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for code, arguments, reason in [
        (1, ["--address", f"127.0.0.1:{port}"], "no Ray cluster at"),
        (2, ["--address", "ray://a:1"], "no address of a Ray cluster"),
    ]:
        result = CliRunner().invoke(
            main, ["colorize", str(photo_file), "--engine", "ray", *arguments]
        )
        assert (result.exit_code, result.stdout) == (code, "")
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
