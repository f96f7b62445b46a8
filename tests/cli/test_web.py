import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from support.server import make_jpeg


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["web", *arguments])
    return result.exit_code, result.stderr


@pytest.fixture
def server(tiny_onnx: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process of the command, and the URL that it prints."""
    command = [sys.executable, "-m", "photochrom", "web", "--port", "0", "--model", str(tiny_onnx)]
    command += ["--jobs", "1", "--max-megabytes", "0.5", "--max-pixels", "10000"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert process.stderr is not None
    with process.stderr:
        yield process, process.stderr.readline().strip()
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_server_and_leaves_no_files(
    server: tuple["subprocess.Popen[str]", str], how: signal.Signals, tmp_path: Path
):
    process, address = server
    with httpx2.Client(base_url=address, timeout=30) as client:
        client.get("/")
        photo = client.post("/photos?name=a.jpg", content=make_jpeg())
        assert photo.status_code == 201
        large = client.post("/api/colorize", files={"file": bytes(600_000)})
        assert large.status_code == 413
        wide = client.post("/api/colorize", files={"file": make_jpeg(101, 100)})
        assert "10100 pixels, the limit 10000" in wide.json()["detail"]
        assert list(tmp_path.iterdir())
        process.send_signal(how)
    process.wait(timeout=20)
    assert list(tmp_path.iterdir()) == []


def test_next_server_removes_files_of_killed_one(
    server: tuple["subprocess.Popen[str]", str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from photochrom.web.sessions import Sessions

    process, address = server
    httpx2.get(address, timeout=30)
    process.kill()
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Sessions().close()
    assert list(tmp_path.iterdir()) == []


def test_occupied_port_is_named(tiny_onnx: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, message = run("--port", port, "--model", str(tiny_onnx))
    assert code == 1
    assert f"cannot listen at 127.0.0.1, port {port}: " in message
    assert "give another --port" in message


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "none.onnx"), 1, "there is no model file none.onnx"),
        (("--device", "abacus"), 1, "there is no device 'abacus'"),
        (("--waiting", "0"), 2, "--waiting"),
        (("--port", "70000"), 2, "--port"),
    ],
)
def test_invalid_options_are_rejected(arguments: tuple[str, ...], code: int, message: str):
    found, text = run(*arguments)
    assert (found, message in text) == (code, True)
    assert "Traceback" not in text


def test_duplicate_model_names_are_rejected(tiny_onnx: Path):
    code, message = run("--model", str(tiny_onnx), "--model", str(tiny_onnx))
    assert (code, "two models are called tiny" in message) == (1, True)


@pytest.mark.parametrize(
    "command", [["web"], ["study", "serve", "study"], ["study", "report", "s"]]
)
def test_missing_extra_names_package_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "run `pip install 'photochrom[web]'`" in result.stderr
