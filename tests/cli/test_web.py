import contextlib
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.cli import server as server_module
from photochrom.server import connections
from support.server import make_jpeg
from support.studies import write_study

_FORM = b"--x\r\nContent-Disposition: form-data; name=file; filename=a.jpg\r\n\r\n"
_UNFINISHED = [
    b"GET / HTTP/1.1\r\n",
    b"POST /photos?name=b.jpg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000\r\n"
    b"Cookie: photochrom=" + b"k" * 43 + b"\r\n\r\n" + bytes(200_000),
    b"POST /api/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + _FORM + bytes(200_000),
]
"""Requests that are being sent when the server ends."""


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    """An application without routes."""


async def _do_nothing(_: Any) -> None:
    """Instead of serving."""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["web", *arguments])
    return result.exit_code, result.stderr


@contextlib.contextmanager
def default_signals() -> Iterator[None]:
    """Let new processes have the signals of a shell in a terminal; nohup and `&` ignore some."""
    names = [name for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    former = {name: signal.signal(getattr(signal, name), signal.SIG_DFL) for name in names}
    try:
        yield
    finally:
        for name, handler in former.items():
            signal.signal(getattr(signal, name), handler)


@pytest.fixture
def server(tiny_onnx: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process of the command, and the URL that it prints."""
    command = [sys.executable, "-m", "photochrom", "web", "--port", "0", "--model", str(tiny_onnx)]
    command += ["--jobs", "1", "--max-megabytes", "0.5", "--max-pixels", "10000"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with default_signals():
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    with process.stderr:
        yield process, process.stderr.readline().strip()
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("how", "times"),
    [("SIGINT", 1), ("SIGINT", 2), ("SIGTERM", 1), ("SIGHUP", 1)],
)
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_signal_stops_server_and_leaves_no_files(
    server: tuple["subprocess.Popen[str]", str], how: str, times: int, tmp_path: Path
):
    process, address = server
    with httpx2.Client(base_url=address, timeout=30) as client:
        client.get("/")
        photo = client.post("/photos?name=a.jpg", content=make_jpeg())
        assert photo.status_code == 201
        large = client.post("/api/colorize", files={"file": bytes(600_000)})
        assert large.status_code == 413
        wide = client.post("/api/colorize", files={"file": make_jpeg(101, 100)})
        assert "has 0.0101 megapixels; the limit is 0.01" in wide.json()["detail"]
        assert list(tmp_path.iterdir())
    host, port = address.removeprefix("http://").strip("/").split(":")
    with contextlib.ExitStack() as stack:
        for request in _UNFINISHED:
            with socket.create_connection((host, int(port))) as left:  # as by a reload
                left.sendall(request)
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.sendall(request)
        time.sleep(0.3)
        for _ in range(times):
            process.send_signal(getattr(signal, how))
            time.sleep(0.1)
        assert process.wait(timeout=60) == 0
    assert list(tmp_path.iterdir()) == []
    assert process.stderr is not None
    assert process.stderr.read() == "stopped\n"


@pytest.mark.skipif(os.name != "posix", reason="needs SIGHUP")
@pytest.mark.parametrize("nohup", [False, True])
def test_closed_terminal_stops_study_unless_nohup(nohup: bool, tmp_path: Path):
    command = [sys.executable, "-m", "photochrom", "study", "serve", str(write_study(tmp_path))]
    with default_signals():
        if nohup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        address = process.stderr.readline().strip()
        httpx2.get(address, timeout=30).raise_for_status()
        process.send_signal(signal.SIGHUP)
        if nohup:
            time.sleep(0.5)
            httpx2.get(address, timeout=30).raise_for_status()
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == "stopped\n"


def test_next_server_removes_files_of_killed_one(
    server: tuple["subprocess.Popen[str]", str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from photochrom.web.storage import Storage

    process, address = server
    httpx2.get(address, timeout=30)
    process.kill()
    process.wait()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Storage(10**9).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "opened", "code"),
    [
        ([], {"DISPLAY": ":7"}, True, False),
        (["--no-browser"], {"DISPLAY": ":7"}, False, False),
        ([], {}, False, False),
        ([], {"DISPLAY": ":7", "SSH_CONNECTION": "10.0.0.1"}, False, False),
        (["--root-path", "/photos"], {"DISPLAY": ":7"}, False, False),
        (["--host", "0.0.0.0"], {"DISPLAY": ":7"}, False, True),
    ],
)
def test_browser_and_qr_code_on_a_terminal(
    arguments: list[str],
    environment: dict[str, str],
    opened: bool,
    code: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    urls: list[str] = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(server_module.webbrowser, "open", urls.append)
    monkeypatch.setattr(server_module.sys, "platform", "linux")
    monkeypatch.setattr(server_module.sys, "stdout", _Terminal())
    monkeypatch.setattr(server_module.sys, "stderr", terminal := _Terminal())
    monkeypatch.setattr(connections.Server, "main_loop", _do_nothing)
    monkeypatch.setattr("photochrom.web.app.create_app", lambda *_, **__: _answer)
    main(["web", "--port", "0", *arguments], standalone_mode=False)
    text = terminal.getvalue()
    address = text.splitlines()[0]
    while any(thread.name == "browser" for thread in threading.enumerate()):
        time.sleep(0.01)
    assert urls == ([address] if opened else [])
    assert ("\u2580" in text) == (code and "//127." not in address)


def test_nothing_is_opened_or_drawn_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    urls: list[str] = []
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setattr(server_module.webbrowser, "open", urls.append)
    monkeypatch.setattr(connections.Server, "main_loop", _do_nothing)
    monkeypatch.setattr("photochrom.web.app.create_app", lambda *_, **__: _answer)
    for host in ("127.0.0.1", "0.0.0.0"):
        main(["web", "--port", "0", "--host", host], standalone_mode=False)
    assert "\u2580" not in capfd.readouterr().err
    assert urls == []


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
        (("--model", "none.onnx"), 2, "there is no model file none.onnx"),
        (("--device", "abacus"), 2, "'abacus' is not one of 'auto', 'cpu'"),
        (("--waiting", "0"), 2, "--waiting"),
        (("--port", "70000"), 2, "--port"),
        (("--proxy", "proxy.example"), 2, "give an IP address such as 127.0.0.1, or a network"),
        (("--root-path", "photos"), 2, "'photos' is not a path such as /photos"),
        (("--root-path", "/a/../b?"), 2, "is not a path such as /photos"),
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
