from collections.abc import Callable
from pathlib import Path

import pytest

from photochrom.batch.report import Result
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer


@pytest.fixture
def colorize_here(tiny_onnx: Path) -> Callable[..., list[Result]]:
    """Return a function that colorizes jobs in this process."""
    colorizer = Colorizer(tiny_onnx)
    return lambda jobs, **options: [colorize_file(job, colorizer, **options) for job in jobs]
