"""Processes that tests start."""

import signal


def default_sigint() -> None:
    """Undo that SIGINT is ignored, as it is in what a shell runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
