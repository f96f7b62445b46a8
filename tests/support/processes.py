"""Processes that tests start."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def default_sigint() -> None:
    """Undo that SIGINT is ignored, as it is in what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_group(command: Sequence[str | Path], **options: Any) -> "subprocess.Popen[Any]":
    """Start a process that `kill_group` ends together with its own processes."""
    return subprocess.Popen(command, start_new_session=True, **options)


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process of `start_group` and those that it started, and wait for it."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=True)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
