import io
import sys
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


def test_log_gets_a_line_each_interval(monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    with redirect_stderr(io.StringIO()) as log, progress_bar(total=1000, unit="photo") as bar:
        for _ in range(4):
            now += 25.0
            bar.update(85)
        bar.set_description("renamed")
    assert log.getvalue().splitlines() == [
        "photos: 255 of 1000 (25 %), 3.40/s, 4 min left",
        "renamed: 340 of 1000 (34 %), 3.40/s, took 2 min",
    ]


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
