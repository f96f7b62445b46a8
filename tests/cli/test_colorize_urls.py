import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from photochrom.cli import main
from support import stores
from support.processes import default_sigint


@pytest.fixture
def run(tiny_onnx: Path):
    def run(*arguments: str | Path) -> Result:
        command = ["colorize", *map(str, arguments), "--model", str(tiny_onnx)]
        return CliRunner().invoke(main, command)

    return run


def test_a_batch_in_a_store_is_reported_and_resumed(
    run, store: Any, bucket: str, tree: Path, tmp_path: Path
):
    store.put(f"{tree}/", f"{bucket}/in/", recursive=True)
    store.pipe(f"{bucket}/in/bad.jpg", b"text")
    batch = (f"s3://{bucket}/in", "-o", f"s3://{bucket}/out", "-j", "2")
    report = tmp_path / "report"
    result = run(*batch, "--report", report, "--json")
    assert result.exit_code == 1
    assert f"failed s3://{bucket}/in/bad.jpg: s3://{bucket}/in/bad.jpg is not" in result.stderr
    assert result.stderr.endswith("3 done, 0 skipped, 1 failed, 2 ignored\n")
    lines = {line["input"]: line for line in map(json.loads, result.stdout.splitlines())}
    done = lines[f"s3://{bucket}/in/b.jpg"]
    assert done["output"] == f"s3://{bucket}/out/b.jpg"
    assert done["input_version"].startswith(f"{(tree / 'b.jpg').stat().st_size} ")
    store.rm(f"{bucket}/out/a.PNG")
    store.put_file(str(tree / "b.jpg"), f"{bucket}/in/bad.jpg")
    again = run(*batch, "--resume", report)
    assert again.exit_code == 0
    assert again.stderr.endswith("2 done, 0 skipped, 0 failed\n")


def test_a_dry_run_says_what_becomes_what(run, store: Any, bucket: str, tree: Path):
    store.put(f"{tree}/", f"{bucket}/in/", recursive=True)
    store.pipe(f"{bucket}/out/b.jpg", b"mine")
    result = run(f"s3://{bucket}/in", "-o", f"s3://{bucket}/out", "--dry-run")
    root = f"s3://{bucket}"
    lines = [f"{root}/in/{name} -> {root}/out/{name}" for name in ("a.PNG", "deep/er/c.tif")]
    assert (result.exit_code, result.stdout.splitlines()) == (0, lines)
    reason = f"it is named like a result of {root}/in/b.jpg; colorize it on its own"
    assert result.stderr.splitlines()[:2] == [
        f"ignored {root}/in/b-color.jpg: {reason}",
        f"skipped {root}/in/b.jpg: {root}/out/b.jpg exists",
    ]
    assert result.stderr.endswith("2 planned, 1 skipped, 0 failed, 2 ignored\n")
    up = run(tree, "-o", f"s3://{bucket}/up", "--dry-run", "--json")
    assert up.exit_code == 0
    sizes = [json.loads(line).get("width") for line in up.stdout.splitlines()]
    assert sorted(sizes, key=str) == [20, 20, 20, None, None]
    assert len(store.find(f"{bucket}/up")) == 0


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with the status that is the first part of its path."""

    def do_GET(self) -> None:
        body = b"<Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_GET  # noqa: N815

    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        pass


def test_a_wrong_key_and_an_outage_are_no_wrong_usage(
    run, store: Any, photo_file: Path, monkeypatch: pytest.MonkeyPatch
):
    import s3fs

    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        s3fs.S3FileSystem.clear_instance_cache()
        for input_, out, reason in [
            (
                "s3://b/in",
                photo_file.parent,
                "Error: cannot check s3://b/in: permission denied (403)",
            ),
            (photo_file, "s3://b/out", "no such key; check the key and what it may do\n"),
        ]:
            result = run(input_, "-o", out)
            assert (result.exit_code, result.stdout) == (1, "")
            assert reason in result.stderr
            assert len(result.stderr.splitlines()) == 1
        server.shutdown()
    s3fs.S3FileSystem.clear_instance_cache()
    result = run("s3://b/in")
    assert result.exit_code == 1
    assert "check the network and the address of the store, and try again" in result.stderr
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/none")
    s3fs.S3FileSystem.clear_instance_cache()
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in run("s3://b/in").stderr
    s3fs.S3FileSystem.clear_instance_cache()


def test_urls_need_an_extra(run, monkeypatch: pytest.MonkeyPatch):
    for name in ("fsspec", "fsspec.core"):
        monkeypatch.setitem(sys.modules, name, None)
    result = run("s3://bucket/scans")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: cannot check s3://bucket/scans: URLs need fsspec and s3fs; run `pip install "
        "'photochrom[s3]'`\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.jpg", "-o", "s3://b/out", "--sidecar"], "--sidecar needs paths; leave it out for"),
        (["s3://b/a.jpg", "--times"], "--times needs paths; leave it out for s3://b/a.jpg"),
        (
            ["a.jpg", "--report", "s3://b/r"],
            "a report is a file on this computer; give a path, not",
        ),
        (["memory://photos/a.jpg"], "memory://photos/a.jpg is in the memory of one process"),
    ],
)
def test_what_urls_do_not_have_is_wrong_usage(run, arguments: list[str], reason: str):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_an_interrupt_leaves_whole_objects_and_no_temporary_files(
    store: Any, bucket: str, tmp_path: Path, tiny_onnx: Path
):
    photo = tmp_path / "a.png"
    Image.effect_noise((900, 700), 60).save(photo)
    store.pipe({f"{bucket}/in/{number:02}.png": photo.read_bytes() for number in range(40)})
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "photochrom", "colorize", f"s3://{bucket}/in", "-j", "2"),
            *("-o", f"s3://{bucket}/out", "--model", tiny_onnx),
        ],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_sigint,
    )
    while len(stores.count_versions(store, bucket, "out")) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "failed, " not in messages
    written = store.glob(f"{bucket}/out/*.png")
    assert 3 <= len(written) < 40
    assert {store.cat(name) for name in written} == {store.cat(written[0])}
    with store.open(written[0]) as stream, Image.open(stream) as image:
        image.load()
    assert list(temporary.iterdir()) == []
