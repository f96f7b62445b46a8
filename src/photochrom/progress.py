"""Progress of long work: a bar on a terminal, plain lines in log files, cron and CI."""

import sys
import time
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from tqdm import tqdm

Item = TypeVar("Item")

LINE_INTERVAL = 60.0
"""Seconds between two lines where stderr is not a terminal."""

print_message = tqdm.write
"""Print a message above the bars."""


@overload
def progress_bar(iterable: None = None, desc: str = "", **options: Any) -> "tqdm[Any]": ...
@overload
def progress_bar(iterable: Iterable[Item], desc: str = "", **options: Any) -> "tqdm[Item]": ...
def progress_bar(iterable: Any = None, desc: str = "", **options: Any) -> "tqdm[Any]":
    """Return a `tqdm` on stderr; where that is not a terminal, it prints lines.

    Lines are `LINE_INTERVAL` apart, plus one at the end. `options` are those of `tqdm`.
    """
    kind: type[tqdm[Any]] = tqdm if sys.stderr.isatty() else _Lines
    return kind(iterable, desc, file=sys.stderr, **options)


class _Lines(tqdm):  # type: ignore[type-arg] # tqdm is not generic at run time
    def __init__(self, iterable: Any, desc: str, **options: Any) -> None:
        self._last_line = time.monotonic()
        super().__init__(iterable, desc, gui=True, **options)  # gui: tqdm itself draws nothing

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if time.monotonic() - self._last_line >= LINE_INTERVAL:
            self._last_line = time.monotonic()
            self._print_line(is_last=False)

    def clear(self, nolock: bool = False) -> None:
        pass

    def close(self) -> None:
        if not self.disable:
            self._print_line(is_last=True)
        super().close()

    def _print_line(self, *, is_last: bool) -> None:
        number = self.format_sizeof if self.unit_scale else str
        elapsed = self.format_dict["elapsed"]
        rate = (self.n - self.initial) / max(elapsed, 1e-9)
        line = f"{self.desc.removesuffix(': ') or self.unit + 's'}: {number(self.n)}"
        if self.total:
            line += f" of {number(self.total)} ({int(100 * self.n / self.total)} %)"
        line += f", {self.format_sizeof(rate)}/s"
        if is_last:
            line += f", took {format_duration(elapsed)}"
        elif self.total and rate > 0:
            line += f", {format_duration((self.total - self.n) / rate)} left"
        self.fp.write(line + "\n")


def format_duration(seconds: float) -> str:
    """Return a time such as "3 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
