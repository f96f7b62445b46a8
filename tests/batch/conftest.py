from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from photochrom.batch.report import Result
from photochrom.batch.runner import colorize_file
from photochrom.colorize.colorizer import Colorizer
from support import stores


@pytest.fixture
def colorize_here(tiny_onnx: Path) -> Callable[..., list[Result]]:
    """Return a function that colorizes jobs in this process."""
    colorizer = Colorizer(tiny_onnx)
    return lambda jobs, **options: [colorize_file(job, colorizer, **options) for job in jobs]


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """The file system of an object store on this computer."""
    yield from stores.serve()


@pytest.fixture
def bucket(store: Any, request: pytest.FixtureRequest) -> str:
    """A new bucket."""
    return stores.new_bucket(store, request.node.name)
