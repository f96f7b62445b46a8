"""Keep Python processes from importing what lies beside the photos."""

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "PYTHONSAFEPATH"
"""Does what `python -P` does."""


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Let processes that start meanwhile import nothing from the current folder.

    Otherwise a file there that is called like a module, such as `selectors.py`, is executed:
    `multiprocessing` starts its processes by `python -c`, which looks in the current folder first.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before
