"""Marks of tests that need what not every operating system has."""

import os
import tempfile
from pathlib import Path

import pytest


def _makes_links() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, "link").symlink_to(folder)
        except OSError:
            return False
    return True


needs_links = pytest.mark.skipif(
    not _makes_links(), reason="Windows allows links to administrators and in its developer mode"
)
needs_modes = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes of files")
needs_named_pipes = pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes")
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to processes")
needs_long_names = pytest.mark.skipif(
    os.name == "nt", reason="Windows limits whole paths to 260 characters"
)
