"""Progress of long work: a bar on a terminal, plain lines in log files, cron and CI."""

import sys
import weakref
from collections.abc import Iterable
from threading import Event, Thread
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

    Lines are `LINE_INTERVAL` apart, also while nothing gets done, plus one at the end. `options`
    are those of `tqdm`.
    """
    kind: type[tqdm[Any]] = tqdm if sys.stderr.isatty() else _Lines
    return kind(iterable, desc, file=sys.stderr, **options)


class _Lines(tqdm):  # type: ignore[type-arg] # tqdm is not generic at run time
    def __init__(self, iterable: Any, desc: str, **options: Any) -> None:
        self._has_ended = Event()
        self.lock: Any = self.get_lock()  # type: ignore[no-untyped-call]
        # gui: tqdm itself draws nothing; miniters: `n` is up to date after every item.
        super().__init__(iterable, desc, gui=True, **{"miniters": 1, **options})
        if not self.disable:
            # A weak reference, so that a bar that nobody closes ends with its last user.
            arguments = weakref.ref(self), self._has_ended
            Thread(target=_print_lines, args=arguments, daemon=True, name="progress").start()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        pass

    def clear(self, nolock: bool = False) -> None:
        pass

    def close(self) -> None:
        if not self.disable:
            with self.lock:
                self._has_ended.set()
                self.print_line(is_last=True)
        super().close()

    def print_line(self, *, is_last: bool) -> None:
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


def _print_lines(reference: "weakref.ref[_Lines]", has_ended: Event) -> None:
    while not has_ended.wait(LINE_INTERVAL):
        lines = reference()
        if lines is None:
            return
        with lines.lock:
            if not has_ended.is_set() and not lines.disable:
                lines.print_line(is_last=False)
        del lines


def format_duration(seconds: float) -> str:
    """Return a time such as "3 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
