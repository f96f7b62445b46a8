import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.errors import VideoError
from photochrom.video.pipeline import VideoResult, colorize_video, list_shots
from photochrom.video.reading.timestamps import format_time
from photochrom.video.shots.parts import TimeRange
from photochrom.video.shots.times import format_frame_time, nearest_frame
from support.video import read_frames, still_shot, write_video

LIST = """{
  "video": "a.mkv",
  "frames": 26,
  "shots": [
    {"start": "0:00:00.000"},
    {"start": "0:00:00.480"},
    {"start": "0:00:00.800"}
  ]
}
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shots, of frames 0 to 11, 12 to 19 and 20 to 25, at 25 frames a second."""
    frames = still_shot(12) + still_shot(8, 1) + still_shot(6, 2)
    return write_video(tmp_path_factory.mktemp("film") / "a.mkv", frames)


@pytest.fixture
def colorize(film: Path, tiny_onnx: Path, tmp_path: Path) -> Callable[..., VideoResult]:
    """Return a function that colorizes the film to b.mkv with the shots of a.shots.json."""

    def run(**options: Any) -> VideoResult:
        options = {"shots": tmp_path / "a.shots.json", "overwrite": True, **options}
        options = {"model": tiny_onnx, "processes": 1, **options}
        return colorize_video(film, tmp_path / "b.mkv", **options)

    return run


def write_list(folder: Path, *starts: Any, **values: Any) -> None:
    shots = [{"start": start} for start in starts]
    values = {"video": "a.mkv", "frames": 26, "shots": shots} | values
    (folder / "a.shots.json").write_text(json.dumps(values))


def segments(folder: Path) -> dict[str, int]:
    """Return when the files of segments were written, by their names."""
    files = (folder / "b.mkv.partial").glob("*.mkv")
    return {file.name: file.stat().st_mtime_ns for file in files}


def test_the_list_is_written_and_the_checkpoint_kept(tmp_path: Path, colorize):
    result = colorize()
    assert (tmp_path / "a.shots.json").read_text() == LIST
    assert (result.shots, result.checkpoint) == (3, tmp_path / "b.mkv.partial")
    before, content = segments(tmp_path), (tmp_path / "b.mkv").read_bytes()
    assert len(before) == 3
    colorize()
    assert segments(tmp_path) == before
    assert (tmp_path / "b.mkv").read_bytes() == content
    colorize(shots=None)
    assert not result.checkpoint.exists()
    assert (tmp_path / "b.mkv").read_bytes() == content


@pytest.mark.parametrize(
    ("starts", "shots", "made"),
    [
        (("0", "0:00:00.4", 0.8), 3, 2),  # moved
        ((0, 0.8), 2, 1),  # removed
        ((0, 0.2, 0.48, 0.8), 4, 2),  # added
    ],
)
def test_only_shots_that_changed_are_made_again(
    starts: tuple[Any, ...], shots: int, made: int, tmp_path: Path, colorize
):
    colorize()
    before = segments(tmp_path)
    write_list(tmp_path, *starts)
    assert colorize().shots == shots
    after = segments(tmp_path)
    assert len(after) == shots
    assert len(after.items() - before.items()) == made
    assert len(read_frames(tmp_path / "b.mkv")) == 26


def test_an_edited_list_gives_what_a_new_run_gives(tmp_path: Path, colorize):
    colorize()
    write_list(tmp_path, 0, 0.4)
    colorize()
    content = (tmp_path / "b.mkv").read_bytes()
    colorize(restart=True)
    assert (tmp_path / "b.mkv").read_bytes() == content


def test_the_list_on_the_command_line(film: Path, tiny_onnx: Path, tmp_path: Path):
    target, shots = tmp_path / "b.mkv", tmp_path / "a.shots.json"
    arguments = ["video", film, target, "--shots", shots, "--model", tiny_onnx, "-j", "1"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-2:] == [
        f"kept {target}.partial, so that after a change of the shots only these are colorized "
        "again; remove it when the video is done",
        f"{target}: 26 frames, 3 shots",
    ]


def test_the_list_says_which_shots_are_in_colour(tiny_onnx: Path, tmp_path: Path):
    colored = [np.stack([frame, frame[::-1], frame[:, ::-1]], 2) for frame in still_shot(8, 3)]
    film = write_video(tmp_path / "a.mkv", [*colored, *still_shot(8)])
    path = tmp_path / "a.shots.json"
    list_shots(film, path)
    assert '{"start": "0:00:00.000", "colored": true}' in path.read_text()
    lines: list[str] = []
    options: Any = {"model": tiny_onnx, "processes": 1, "shots": path, "overwrite": True}
    for text, expected in (("true", ["shot 1 (0:00:00.00 to 0:00:00.32) is in"]), ("false", [])):
        path.write_text(path.read_text().replace("true", text))
        lines.clear()
        colorize_video(film, tmp_path / "b.mkv", notify=lines.append, **options)
        assert [line.partition(" colour")[0] for line in lines] == expected


def test_the_list_of_a_film_counts_for_a_part_of_it(tmp_path: Path, colorize):
    write_list(tmp_path, 0, 0.2, 0.6, 0.9)
    for start, end, shots in (("0.24", "0.8", 2), ("0.2", "0.6", 1), ("0.19", "1", 3)):
        part = TimeRange(Fraction(start), Fraction(end))
        assert colorize(part=part, restart=True).shots == shots


def test_the_list_of_a_part(tmp_path: Path, colorize):
    options: Any = {"restart": True, "part": TimeRange(Fraction("0.4"), Fraction("0.8"))}
    assert colorize(**options).shots == 2
    assert '[\n    {"start": "0:00:00.400"},' in (tmp_path / "a.shots.json").read_text()
    assert colorize(**options).shots == 2
    with pytest.raises(VideoError, match="lists the shots of a video with 10 frames"):
        colorize(restart=True)
    with pytest.raises(VideoError, match=r"shot 1 starts at 0:00:00\.400; it has to start at 0:00"):
        colorize(restart=True, part=TimeRange(Fraction("0.2"), Fraction("0.8")))


def test_the_list_alone(film: Path, tmp_path: Path):
    path = tmp_path / "a.shots.json"
    assert list_shots(film, path) == 3
    assert path.read_text() == LIST
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(VideoError, match=r"a.shots.json exists already; give OUT to use it"):
        list_shots(film, path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": 27}, "with 27 frames, but .*a.mkv has 26; give its own list"),
        ({"shots": [{"start": 0}, {"start": 1.04}]}, "shot 2 starts at 0:00:01.04, but the video"),
        ({"shots": [{"start": 0.48}]}, r"shot 1 starts at 0:00:00.480; it has to start at 0"),
        (
            {"shots": [{"start": 0}, {"start": 0.401}, {"start": 0.41}]},
            r"shots 2 and 3 start at the same frame, at 0:00:00.400; remove one",
        ),
    ],
)
def test_a_list_that_does_not_fit_is_refused_and_nothing_lost(
    values: dict[str, Any], message: str, tmp_path: Path, colorize
):
    write_list(tmp_path, 0, **values)
    with pytest.raises(VideoError, match=rf"a\.shots\.json.* {message}"):
        colorize()
    assert not (tmp_path / "b.mkv").exists()
    assert (tmp_path / "b.mkv.partial" / "plan.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"video": "a",\n "frames" 3}', "is not JSON at line 2, column 11 (Expecting ':' delim"),
        ("\0", "is not JSON at line 1"),
        ("[]", 'a list of shots has to be {"video": NAME, "frames": NUMBER, "shots": [...]}'),
        ('{"video": "a", "frames": 3}', "a list of shots has to be"),
        ('{"video": 1, "frames": 3, "shots": []}', "video is 1; it has to be a name"),
        ('{"video": "a", "frames": true, "shots": []}', "frames is true; it has to be the number"),
        ('{"video": "a", "frames": 3, "shots": []}', "shots is []; it has to be a list such as"),
        ('{"video": "a", "frames": 3, "frames": 3}', "'frames' is given more than once"),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0}, {"end": 3}]}',
            'shot 2 is {"end": 3}; it has to have start',
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0, "color": 3}]}',
            'shot 1 is {"start": 0, "color": 3}; it has to have start',
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0, "colored": null}]}',
            "shot 1: colored is null; it has to be true or false",
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0, "references": "a.png@0"}]}',
            'shot 1: references is "a.png@0"; it has to be a list such as ["frame.png@0:00:13.2"]',
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0, "references": ["a.png"]}]}',
            "shot 1: the reference is 'a.png'; it has to be FILE@TIME",
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0, "references": ["a.png@0"], '
            '"colored": true}]}',
            "shot 1 has references, which give it new colours, but colored is true; remove one",
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": "1:2:3:4"}]}',
            "shot 1: start is '1:2:3:4'; it has to be hours:minutes:seconds",
        ),
        (
            '{"video": "a", "frames": 3, "shots": [{"start": 0}, {"start": 7}, {"start": "0:05"}]}',
            "shot 3 starts at 0:00:05.00, not after shot 2, which starts at 0:00:07.00; list",
        ),
    ],
)
def test_a_wrong_list_is_refused_before_any_work(
    content: str, message: str, tmp_path: Path, colorize
):
    file = tmp_path / "a.shots.json"
    file.write_text(content)
    with pytest.raises(VideoError, match=f"^{re.escape(str(file))}:? {re.escape(message)}"):
        colorize()
    assert list(tmp_path.iterdir()) == [file]


def test_a_list_of_another_name_is_refused(tmp_path: Path, colorize):
    with pytest.raises(VideoError, match=r"b\.mkv; its name has to end in \.json"):
        colorize(shots=tmp_path / "b.mkv")
    with pytest.raises(VideoError, match="there is no folder"):
        colorize(shots=tmp_path / "no" / "a.json")


def test_the_nearest_frame():
    times = [Fraction(number, 10) for number in (0, 1, 2, 6, 7)]
    expected = {0: 0, 0.05: 0, 0.06: 1, 0.39: 2, 0.41: 3, 0.66: 3, 0.699: 3, 0.7: None}
    assert {time: nearest_frame(times, Fraction(str(time))) for time in expected} == expected


def test_times_of_frames_lead_back_to_them():
    times = [Fraction(3599) + Fraction(number, 3000) for number in range(3001)]
    assert format_frame_time(times, 0) == "0:59:59.000"
    assert format_frame_time(times, 1) == "0:59:59.000333"
    assert format_frame_time(times, 3000) == "1:00:00.000"
    thousandths = [Fraction(3599) + Fraction(number * 1001, 24000) for number in range(9)]
    assert format_frame_time(thousandths, 1) == "0:59:59.042"
    assert format_time(59.999) == "0:01:00.00"
