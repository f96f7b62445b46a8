import io
import sys
import threading
from contextlib import redirect_stderr

import pytest

from photochrom import progress
from photochrom.progress import print_message, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STREAMS = pytest.mark.parametrize("stream_type", [Terminal, io.StringIO])


def test_terminal_gets_a_bar():
    with redirect_stderr(Terminal()) as terminal:
        assert list(progress_bar(range(40), "faces", unit="photo")) == list(range(40))
    assert "\rfaces: 100%" in terminal.getvalue()
    assert "40/40" in terminal.getvalue()


def test_log_gets_one_line_at_the_end():
    with redirect_stderr(io.StringIO()) as log:
        assert list(progress_bar(range(40), "faces", unit="photo")) == list(range(40))
    (line,) = log.getvalue().splitlines()
    assert line.startswith("faces: 40 of 40 (100 %), ")
    assert line.endswith("/s, took 0 s")


class Clock:
    """Replaces `threading.Event`: its time passes by `pass_seconds`, for all that wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._has_ended = False
        self._changed = threading.Condition()
        self._waits = 0
        monkeypatch.setattr("tqdm.std.time", lambda: self.now)
        monkeypatch.setattr(progress, "Event", lambda: self)

    def pass_seconds(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waits)
            self.now += seconds
            count = self._waits
            if self.now >= self._until:
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waits > count)

    def wait(self, seconds: float) -> bool:
        with self._changed:
            self._until = self.now + seconds
            self._waits += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._has_ended or self.now >= self._until)
        return self._has_ended

    def set(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def is_set(self) -> bool:
        return self._has_ended


def test_log_gets_a_line_each_minute_also_while_nothing_gets_done(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    with redirect_stderr(io.StringIO()) as log, progress_bar(total=1000, unit="photo") as bar:
        for _ in range(3):
            clock.pass_seconds(20.0)
            bar.update(85)
        bar.set_description("renamed")
        clock.pass_seconds(60.0)
        clock.pass_seconds(60.0)
        bar.update(85)
    assert log.getvalue().splitlines() == [
        "photos: 170 of 1000 (17 %), 2.83/s, 5 min left",
        "renamed: 255 of 1000 (25 %), 2.12/s, 6 min left",
        "renamed: 255 of 1000 (25 %), 1.42/s, 9 min left",
        "renamed: 340 of 1000 (34 %), 1.89/s, took 3 min",
    ]


def test_a_bar_that_nobody_closes_ends_with_its_last_user(monkeypatch: pytest.MonkeyPatch):
    with redirect_stderr(io.StringIO()) as log:
        bar = progress_bar(total=2)
        bar.update()
        (thread,) = [one for one in threading.enumerate() if one.name == "progress"]
        del bar
        thread.join(10)
    assert not thread.is_alive()
    assert len(log.getvalue().splitlines()) == 1


def test_log_shows_scaled_units_and_an_unknown_total():
    with (
        redirect_stderr(io.StringIO()) as log,
        progress_bar(unit="B", desc="archive", unit_scale=True) as bar,
    ):
        bar.update(240_000_000)
    assert log.getvalue().startswith("archive: 240M, ")


@STREAMS
def test_disabled_prints_nothing(stream_type: type[io.StringIO]):
    with redirect_stderr(stream_type()) as output:
        with progress_bar(total=3, disable=True) as bar:
            bar.update(3)
        assert list(progress_bar(range(3), disable=True)) == [0, 1, 2]
    assert output.getvalue() == ""


@STREAMS
def test_message_is_a_line_of_its_own(stream_type: type[io.StringIO]):
    with redirect_stderr(stream_type()) as output, progress_bar(total=3) as bar:
        print_message("a message", file=sys.stderr)
        with bar.external_write_mode(sys.stderr):
            output.write("another\n")
    assert {"a message", "another"} <= set(output.getvalue().replace("\r", "\n").splitlines())


def test_durations_are_readable():
    seconds = (0, 89, 90, 5399, 5400, 36_000)
    expected = ["0 s", "89 s", "2 min", "90 min", "1.5 h", "10.0 h"]
    assert [progress.format_duration(number) for number in seconds] == expected
