from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from photochrom.video.pipeline import VideoResult, colorize_video


@pytest.fixture
def colorize(tiny_onnx: Path) -> Callable[..., VideoResult]:
    """Return `colorize_video` with the tiny model, in this process."""

    def run(path: Path, target: Path, **options: Any) -> VideoResult:
        return colorize_video(path, target, **{"model": tiny_onnx, "processes": 1, **options})

    return run
