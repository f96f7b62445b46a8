import functools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.color import rgb_to_lab
from photochrom.colorize.hints import Hint, read_hints
from photochrom.errors import ModelError, PhotochromError, VideoError
from photochrom.video.pipeline import colorize_video
from photochrom.video.shots.hints import TimedHint, read_timed_hints
from photochrom.video.shots.times import parse_time
from support.models import write_model
from support.video import read_frames, still_shot, write_video

PLACE = 30, 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds a hint to its own colours, in the hint's square."""
    path = tmp_path_factory.mktemp("model") / "hinted.onnx"
    write_model(path, hints=3)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots, of frames 0 to 11 and 12 to 19, at 25 frames a second."""
    frames = still_shot(12) + still_shot(8, 1)
    return write_video(tmp_path_factory.mktemp("film") / "a.mkv", frames)


def timed(time: str, color: str = "red") -> TimedHint:
    return TimedHint(Fraction(time), Hint(*PLACE, color))


def colors(path: Path) -> list[np.ndarray]:
    """Return the mean ab of each frame around the place."""
    x, y = PLACE
    parts = [frame[y - 2 : y + 3, x - 2 : x + 3] for frame in read_frames(path)]
    return [rgb_to_lab(part.astype(np.float32) / 255)[..., 1:].mean((0, 1)) for part in parts]


@pytest.fixture(scope="module")
def hinted_frames(film: Path, model: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that colorizes the film, and returns the frames that follow hints."""
    target = tmp_path_factory.mktemp("out") / "b.mkv"

    @functools.cache
    def run(hints: tuple[TimedHint, ...], steady: bool) -> list[np.ndarray]:
        options: Any = {"model": model, "codec": "ffv1", "processes": 1, "overwrite": True}
        colorize_video(film, target, hints=hints, steady=steady, **options)
        return colors(target)

    def find(*hints: TimedHint, steady: bool = True) -> list[int]:
        pairs = zip(run((), steady), run(hints, steady), strict=True)
        changes = [np.abs(hinted - plain).max() for plain, hinted in pairs]
        assert all(change < 1 or change > 15 for change in changes)
        assert np.ptp([change for change in changes if change > 15]) < 4
        return [index for index, change in enumerate(changes) if change > 15]

    return find


@pytest.mark.parametrize("steady", [True, False])
def test_a_hint_holds_from_its_time_until_the_next_cut(hinted_frames, steady: bool):
    assert hinted_frames(timed("0.2"), steady=steady) == list(range(5, 12))


@pytest.mark.parametrize(
    ("time", "frames"),
    [
        ("0", range(12)),
        ("0.1999", range(5, 12)),  # as a player rounds it
        ("0.219", range(5, 12)),
        ("0.36", range(9, 12)),
        ("0.39", range(12, 20)),  # just before the cut
        ("0.48", range(12, 20)),
        ("0.79", range(19, 20)),
    ],
)
def test_the_time_is_that_of_the_frame_on_the_screen(hinted_frames, time: str, frames: range):
    assert hinted_frames(timed(time)) == list(frames)


def test_hints_of_a_film_on_the_command_line(film: Path, model: Path, tmp_path: Path):
    file, target = tmp_path / "a.mkv.hints.json", tmp_path / "b.mkv"
    values = [
        {"time": "0:00:00.2", "x": 30, "y": 40, "color": "red"},
        {"time": 0.5, "x": 3, "y": 4, "color": "neutral"},
    ]
    file.write_text(json.dumps(values))
    arguments = ["video", film, target, "--hints", file, "--model", model, "-j", "1"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-3:] == [
        "hint 30,40,red from 0:00:00.20 to 0:00:00.48",
        "hint 3,4,neutral from 0:00:00.48 to 0:00:00.80",
        f"{target}: 20 frames, 2 shots",
    ]
    with av.open(str(target)) as container:
        comment = {key.lower(): text for key, text in container.metadata.items()}["comment"]
    assert comment.endswith("; a person gave the colours at 2 places")


def test_hints_for_a_model_without_hints_are_wrong_usage(
    film: Path, tiny_onnx: Path, tmp_path: Path
):
    file = tmp_path / "a.mkv.hints.json"
    file.write_text('[{"time": 0, "x": 30, "y": 40, "color": "red"}]')
    arguments = ["video", film, tmp_path / "b.mkv", "--hints", file, "--model", tiny_onnx]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    assert "model tiny takes no colour hints" in result.stderr


def test_hints_that_cannot_be_are_refused(film: Path, model: Path, tiny_onnx: Path, tmp_path: Path):
    for options, error, message in (
        (
            {"hints": [timed("0.8")]},
            VideoError,
            r"hint 0:00:00.80 30,40,red lies beyond the end of",
        ),
        (
            {"hints": [TimedHint(Fraction(0), Hint(96, 4, "red"))]},
            PhotochromError,
            "the hint 96,4,red lies outside the frame of 96x64 pixels",
        ),
        ({"hints": [timed("0")] * 201}, VideoError, "201 hints hold at 0:00:00.44; a frame takes"),
        ({"hints": [timed("0")], "model": tiny_onnx}, ModelError, "tiny takes no colour hints"),
    ):
        with pytest.raises(error, match=message):
            colorize_video(film, tmp_path / "b.mkv", **{"model": model, "processes": 1, **options})
        assert list(tmp_path.iterdir()) == []


def test_a_hint_in_a_turned_film_is_in_px_of_the_upright_frame(model: Path, tmp_path: Path):
    film = write_video(tmp_path / "a.mp4", still_shot(2), rotation=90)
    hint = TimedHint(Fraction(0), Hint(64, 9, "red"))
    with pytest.raises(PhotochromError, match="lies outside the frame of 64x96 pixels"):
        colorize_video(film, tmp_path / "b.mp4", model=model, processes=1, hints=[hint])
    hint = TimedHint(Fraction(0), Hint(9, 90, "red"))
    result = colorize_video(film, tmp_path / "b.mp4", model=model, processes=1, hints=[hint])
    assert result.hints == ["9,90,red from 0:00:00.00 to 0:00:00.08"]


def test_a_time_before_the_first_frame_is_refused():
    with pytest.raises(PhotochromError, match="the hint's time is -1/2; it has to be 0 s or later"):
        timed("-0.5")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("00:01:02.5", Fraction(125, 2)),
        ("1:02", 62),
        ("2.04", Fraction(51, 25)),
        (0.28, Fraction(7, 25)),
        (90, 90),
        ("90", 90),
        ("10:00:00", 36000),
    ],
)
def test_times(value: Any, seconds: Fraction):
    assert parse_time(value) == seconds


@pytest.mark.parametrize(
    "value", ["", "1:60", "60:00", "0:0:61", "1:2:3:4", "-1", -1, True, None, "1e3", 1e30, "1:2,5"]
)
def test_wrong_times_are_refused(value: Any):
    with pytest.raises(PhotochromError) as error:
        parse_time(value)
    assert str(error.value) == (
        f"the time is {str(value)!r}; it has to be hours:minutes:seconds such as "
        "00:01:02.5, or seconds"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", 'is not JSON; it has to be a list such as [{"time": '),
        ("{}", 'the hints have to be a list such as [{"time": '),
        ('[{"x": 1, "y": 2, "color": "red"}]', "it has to have time, x, y and color, as in"),
        ('[{"time": "1;2", "x": 1, "y": 2, "color": "red"}]', "the hint's time is '1;2'"),
        ('[{"time": 1, "x": 1, "y": 2, "color": "reddish"}]', "the hint's colour is 'reddish'"),
        ('[{"time": 1, "x": 1, "y": 2, "color": "original"}]', "the original colour, which is for"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, message: str):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(PhotochromError) as error:
        read_timed_hints(file)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))


def test_a_time_in_the_file_of_a_photo_is_refused(tmp_path: Path):
    file = tmp_path / "a.jpg.hints.json"
    file.write_text('[{"time": 1, "x": 1, "y": 2, "color": "red"}]')
    with pytest.raises(PhotochromError, match="a time is for hints of a video, leave it out"):
        read_hints(file)
