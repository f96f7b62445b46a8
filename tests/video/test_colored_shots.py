from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from photochrom.cli import main
from photochrom.color import rgb_to_lab
from photochrom.errors import VideoError
from photochrom.video.pipeline import colorize_video
from photochrom.video.shots.analysis import VideoAnalysis
from photochrom.video.shots.hints import read_timed_hints
from photochrom.video.shots.shot import find_shots
from support.models import write_model
from support.video import Frame, read_frames, still_shot, write_video


def colored_shot(count: int, seed: int) -> list[Frame]:
    """Return frames of a random image in many colours."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.uniform(20, 235, (4, 6, 3)), (96, 64), interpolation=cv2.INTER_CUBIC)
    grain = 3 * random.normal(size=(count, *image.shape))
    return list(np.clip(image + grain, 0, 255).astype(np.uint8))


def toned_shot(count: int, seed: int) -> list[Frame]:
    """Return frames of a random image in sepia."""
    tone = np.array([1.0, 0.85, 0.6])
    return [(frame[..., None] * tone).astype(np.uint8) for frame in still_shot(count, seed)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey shot, two in colour, one in sepia and one in colour, of 10 frames each."""
    grey = [np.repeat(frame[..., None], 3, axis=2) for frame in still_shot(10)]
    frames = grey + colored_shot(10, 1) + colored_shot(10, 2) + toned_shot(10, 3)
    frames += colored_shot(10, 4)
    return write_video(tmp_path_factory.mktemp("film") / "a.mkv", frames)


def test_shots_in_colour_are_left_alone_and_said_so(film: Path, tiny_onnx: Path, tmp_path: Path):
    target = tmp_path / "b.mkv"
    arguments = ["video", film, target, "--model", tiny_onnx, "-j", "1", "--codec", "ffv1"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if "already" in line] == [
        "shots 2 to 3 (0:00:00.40 to 0:00:01.20) are in colour already: left as they are; "
        "--recolor colorizes them",
        "shot 5 (0:00:01.60 to 0:00:02.00) is in colour already: left as it is; --recolor "
        "colorizes it",
    ]
    old, new = read_frames(film), read_frames(target)
    is_same = [np.array_equal(*pair) for pair in zip(old, new, strict=True)]
    assert is_same == [False] * 10 + [True] * 20 + [False] * 10 + [True] * 10
    grey_ab = rgb_to_lab(new[5].astype(np.float32) / 255)[..., 1:]
    assert np.abs(grey_ab).mean() > 5


def test_the_mark_is_kept_if_the_first_shot_is_in_colour(tiny_onnx: Path, tmp_path: Path):
    film = write_video(tmp_path / "a.mkv", colored_shot(8, 1) + toned_shot(8, 2))
    colorize_video(film, tmp_path / "b.mkv", model=tiny_onnx, processes=1)
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert "colours added by photochrom" in container.metadata["COMMENT"]


def test_recolor_and_hints_replace_colours(film: Path, tmp_path: Path):
    model, hints = tmp_path / "hinted.onnx", tmp_path / "a.hints.json"
    write_model(model, hints=3)
    hints.write_text('[{"time": 0.8, "x": 20, "y": 30, "color": "red"}]')
    old = read_frames(film)
    for options, expected in (
        ({"recolor": True}, [True] * 5),
        ({"hints": read_timed_hints(hints)}, [True, False, True, True, False]),
    ):
        target = tmp_path / "b.mkv"
        options = {"model": model, "processes": 1, "codec": "ffv1", **options}
        colorize_video(film, target, overwrite=True, **options)  # type: ignore[arg-type]
        new = read_frames(target)
        is_changed = [not np.array_equal(old[index], new[index]) for index in range(5, 50, 10)]
        assert is_changed == expected


def test_a_film_in_colour_is_refused(tiny_onnx: Path, tmp_path: Path):
    film = write_video(tmp_path / "a.mkv", colored_shot(8, 1) + colored_shot(8, 2))
    with pytest.raises(VideoError, match=r"is in colour already; colorize it .* --recolor"):
        colorize_video(film, tmp_path / "b.mkv", model=tiny_onnx, processes=1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(
    ("colored", "is_colored"),
    [([0, 3, 6, 9], True), ([0, 3], False), ([6, 9], False), ([], False)],
)
@pytest.mark.parametrize("lead", [0, 1, 2])
def test_a_shot_without_an_examined_frame_is_as_those_around_it(
    colored: list[int], is_colored: bool, lead: int
):
    shift = -lead % 3
    analysis = VideoAnalysis(
        timestamps=list(range(12)),
        durations=[1] * 12,
        checksums=[0] * 12,
        keyframes=[0],
        cuts=[0, 4 + shift, 6 + shift],
        flashes=[],
        colored=[index + shift for index in colored if index + shift < 12],
        lead=lead,
    )
    assert find_shots(analysis)[1].is_colored == is_colored
