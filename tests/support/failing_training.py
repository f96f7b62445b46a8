"""What tests launch in new processes; here, as these need not import what the tests do."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from photochrom.errors import DataError
from photochrom.training.loop.launching import DisconnectedError


def train_and_fail(out: Path, *, fail: str, on_run: Callable[[Path], None]) -> Path:
    """Fail on rank 1; rank 0 first loses the connection, or waits in a collective."""
    is_main = os.environ["RANK"] == "0"
    on_run(out / "0000-run")
    if is_main and fail == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        time.sleep(600)
    if is_main:
        while not (out / "failing").exists():
            time.sleep(0.01)
        raise DisconnectedError("process 1 of 2 was disconnected")
    (out / "failing").touch()
    if fail == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fail == "crash":
        raise ZeroDivisionError
    time.sleep(0.5)
    raise DataError("photo 7 is damaged")
