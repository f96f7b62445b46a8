from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli import main
from photochrom.color import rgb_to_lab
from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError, VideoError
from photochrom.video.pipeline import colorize_video, preview_video
from photochrom.video.reading.source import probe
from photochrom.video.shots.analysis import analyse
from photochrom.video.shots.hints import TimedHint
from photochrom.video.shots.references import (
    TimedReference,
    check_references,
    parse_reference,
    place_references,
    read_ab,
)
from photochrom.video.shots.shot import Reference, find_shots
from support.models import write_model
from support.video import read_frames, still_shot, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shots, of frames 0 to 11 and 12 to 19, at 25 frames a second."""
    frames = still_shot(12) + still_shot(8, 1)
    return write_video(tmp_path_factory.mktemp("film") / "a.mkv", frames)


def paint(frame: np.ndarray, path: Path, color: tuple[int, int, int] = (255, 90, 90)) -> Path:
    """Save a frame in one colour."""
    shares = np.float32(color) / np.float32(255)
    Image.fromarray((frame * shares).astype(np.uint8)).save(path)
    return path


def at(path: Path, time: str) -> TimedReference:
    return TimedReference(path, Fraction(time))


def place(film: Path, *references: TimedReference) -> list[Reference]:
    video = probe(film)
    check_references(references, video)
    analysis = analyse(video, lambda *_: None)
    return place_references(references, video, analysis, find_shots(analysis))


def test_a_reference_is_of_the_nearest_frame(film: Path, tmp_path: Path):
    frames = read_frames(film)
    one, other = paint(frames[7], tmp_path / "a.png"), paint(frames[12], tmp_path / "b.png")
    placed = place(film, at(other, "0.47"), at(one, "0.28"))
    assert [(reference.index, reference.path) for reference in placed] == [(7, one), (12, other)]


def test_the_frame_of_a_reference_is_found_if_its_time_is_not_exact(tmp_path: Path):
    [still] = still_shot(1, grain=0, size=(288, 64))
    pan = [still[:, 4 * index : 4 * index + 96] for index in range(30)]
    film = write_video(tmp_path / "a.mkv", [*pan, *still_shot(8, 1)])
    path = paint(read_frames(film)[17], tmp_path / "a.png")
    for time in ("0.4", "0.66", "0.68", "1.16"):
        assert [reference.index for reference in place(film, at(path, time))] == [17]
    with pytest.raises(VideoError, match=r"around 0:00:01\.200"):
        place(film, at(path, "1.2"))


def test_the_colours_of_a_reference(film: Path, tmp_path: Path):
    large = read_frames(film)[7].repeat(2, 0).repeat(2, 1)
    [reference] = place(film, at(paint(large, tmp_path / "a.png"), "0.28"))
    ab = read_ab(reference, probe(film), 32, 48)
    assert ab.shape == (2, 32, 48)
    assert ab[0].mean() > 20
    paint(large, tmp_path / "a.png", (90, 90, 255))
    with pytest.raises(VideoError, match=r"a\.png was changed meanwhile; start again"):
        read_ab(reference, probe(film), 32, 48)


@pytest.mark.parametrize("size", [(96, 64), (128, 64), (96, 48)])
def test_a_reference_may_have_the_shape_that_players_show(size: tuple[int, int], tmp_path: Path):
    film = write_video(tmp_path / "a.mp4", still_shot(2), aspect=Fraction(4, 3), rotation=180)
    [frame, _] = read_frames(film)
    image = Image.open(paint(frame[::-1, ::-1], tmp_path / "a.png"))
    image.resize(size).save(tmp_path / "a.png")
    place(film, at(tmp_path / "a.png", "0"))


def test_a_reference_of_a_turned_film_is_upright(tmp_path: Path):
    film = write_video(tmp_path / "a.mp4", still_shot(2), rotation=90)
    frame = np.rot90(read_frames(film)[0])
    place(film, at(paint(frame, tmp_path / "a.png"), "0"))
    with pytest.raises(VideoError, match=r"a\.png does not look like the frames of"):
        place(film, at(paint(frame[::-1], tmp_path / "a.png"), "0"))


@pytest.mark.parametrize(
    ("change", "time", "message"),
    [
        ({"color": (255, 255, 255)}, "0", r"the reference .*a\.png is grey; give the frame in c"),
        ({"rows": 60}, "0", r"a\.png has 96x60 pixels, but the frames of .*a\.mkv have 96x64; g"),
        ({"file": "b.png"}, "0", r"b\.png cannot be read: No such file"),
        ({"file": "a.txt"}, "0", r"the reference .*a\.txt"),
        ({}, "0.6", r"a\.png does not look like the frames of .*a\.mkv around 0:00:00\.600; give"),
        ({}, "0.8", r"a\.png@0:00:00\.80 lies beyond the end of .*a\.mkv at 0:00:00\.80; give an"),
    ],
)
def test_wrong_references_are_refused(
    change: dict[str, Any], time: str, message: str, film: Path, tmp_path: Path
):
    frame = read_frames(film)[0][: change.get("rows", 64)]
    paint(frame, tmp_path / "a.png", change.get("color", (255, 90, 90)))
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(VideoError, match=message):
        place(film, at(tmp_path / change.get("file", "a.png"), time))


def test_two_references_of_one_frame_are_refused(film: Path, tmp_path: Path):
    path = paint(read_frames(film)[5], tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"are references of the same frame, at 0:00:00\.200"):
        place(film, at(path, "0.2"), at(path, "0.21"))


def test_references_in_a_text():
    assert parse_reference("a@b.png@0:01:02.5") == at(Path("a@b.png"), "62.5")
    assert parse_reference("a.png@3", Path("film")) == at(Path("film/a.png"), "3")
    for text in ("a.png", "@3", ""):
        with pytest.raises(PhotochromError, match="it has to be FILE@TIME, such as frame"):
            parse_reference(text)
    with pytest.raises(PhotochromError, match=r"the time of the reference a\.png is 'x'; it has"):
        parse_reference("a.png@x")


def mean_ab(path: Path) -> np.ndarray:
    """Return the mean ab of each frame, shape (n, 2)."""
    frames = [rgb_to_lab(frame.astype(np.float32) / 255)[..., 1:] for frame in read_frames(path)]
    return np.stack([frame.mean((0, 1)) for frame in frames])


def test_a_reference_gives_its_whole_shot_its_colours(film: Path, tiny_onnx: Path, tmp_path: Path):
    blue = paint(read_frames(film)[7], tmp_path / "blue.png", (190, 190, 255))
    target = tmp_path / "b.mkv"
    options = ["--model", tiny_onnx, "-j", "1", "--codec", "ffv1", "--overwrite"]
    arguments = [str(argument) for argument in ("video", film, target, *options)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    plain = mean_ab(target)
    result = CliRunner().invoke(main, [*arguments, "--reference", f"{blue}@0.28"])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-2:] == [
        f"reference {blue}@0:00:00.280 from 0:00:00.000 to 0:00:00.480",
        f"{target}: 20 frames, 2 shots",
    ]
    given = mean_ab(target)
    expected = read_ab(place(film, at(blue, "0.28"))[0], probe(film), 64, 96).mean((1, 2))
    assert np.abs(given[:12] - expected).max() < 3
    assert np.abs(plain[:12] - expected).max() > 10
    assert np.array_equal(given[12:], plain[12:])


def test_a_sheet_shows_the_reference_of_a_shot(film: Path, tiny_onnx: Path, tmp_path: Path):
    reference = at(paint(read_frames(film)[7], tmp_path / "a.png", (190, 190, 255)), "0.28")
    options: dict[str, Any] = {"model": tiny_onnx, "processes": 1, "references": [reference]}
    preview_video(film, sheet=tmp_path / "s.png", **options)
    with Image.open(tmp_path / "s.png") as sheet:
        lab = rgb_to_lab(np.asarray(sheet, np.float32) / 255)
    tiles = [lab[8:168, x : x + 240, 2].mean() for x in (8, 256)]
    assert tiles[0] < -10
    assert tiles[1] > 5


def test_a_reference_in_the_list_of_shots(film: Path, tiny_onnx: Path, tmp_path: Path):
    shots, target = tmp_path / "list" / "a.shots.json", tmp_path / "b.mkv"
    shots.parent.mkdir()
    options: dict[str, Any] = {"model": tiny_onnx, "processes": 1, "shots": shots}

    def run() -> tuple[list[str], dict[str, int]]:
        result = colorize_video(film, target, overwrite=True, **options)
        files = target.with_name("b.mkv.partial").glob("*.mkv")
        return result.references, {file.name: file.stat().st_mtime_ns for file in files}

    _, before = run()
    text = shots.read_text()
    shots.write_text(text.replace('80"}', '80", "references": ["a.png@0.6"]}'))
    for color in ((255, 90, 90), (90, 90, 255)):
        path = paint(read_frames(film)[15], shots.parent / "a.png", color)
        references, after = run()
        assert references == [f"{path}@0:00:00.600 from 0:00:00.480 to 0:00:00.800"]
        assert len(after.items() - before.items()) == 1
        before = after
    shots.write_text(text.replace('80"}', '80", "references": ["a.png@0.2"]}'))
    with pytest.raises(VideoError, match=r"shot 2 does not contain the time of its reference .*a"):
        run()


def test_the_comment_counts_what_is_given_also_if_segments_are_kept(film: Path, tmp_path: Path):
    model, target = tmp_path / "hinted.onnx", tmp_path / "b.mp4"
    write_model(model, hints=3)
    reference = at(paint(read_frames(film)[15], tmp_path / "a.png"), "0.6")
    options: dict[str, Any] = {"model": model, "processes": 1, "overwrite": True}
    options["shots"] = tmp_path / "a.json"
    given: dict[str, Any] = {"hints": [TimedHint(Fraction(0), Hint(3, 4, "red"))]}
    for references, expected in (([], " at 1 place"), ([reference], "s at 1 place and of 1 frame")):
        colorize_video(film, target, references=references, **given, **options)
        with av.open(str(target)) as container:
            comment = container.metadata["comment"]
        assert comment.endswith(f"; a person gave the colour{expected}")


def test_a_shot_in_colour_with_a_reference_gets_its_colours(tiny_onnx: Path, tmp_path: Path):
    colored = [np.stack([frame, frame[::-1], frame[:, ::-1]], 2) for frame in still_shot(8, 3)]
    film = write_video(tmp_path / "a.mkv", [*colored, *still_shot(8)])
    grey = np.repeat(read_frames(film)[2].mean(2, keepdims=True), 3, 2)
    reference = at(paint(grey, tmp_path / "a.png"), "0.08")
    options: dict[str, Any] = {"model": tiny_onnx, "processes": 1, "references": [reference]}
    colorize_video(film, tmp_path / "b.mkv", **options)
    assert mean_ab(tmp_path / "b.mkv")[:8, 0].min() > 20


def test_references_beside_hints_or_without_shared_colours_are_refused(film: Path, tmp_path: Path):
    model = tmp_path / "hinted.onnx"
    write_model(model, hints=3)
    reference = at(paint(read_frames(film)[15], tmp_path / "a.png"), "0.6")
    options: dict[str, Any] = {"model": model, "processes": 1, "references": [reference]}
    hints = [TimedHint(Fraction("0.5"), Hint(3, 4, "red"))]
    with pytest.raises(VideoError, match=r"the shot at 0:00:00\.480 has hints and a reference"):
        colorize_video(film, tmp_path / "b.mkv", hints=hints, **options)
    with pytest.raises(VideoError, match="references need colours that are shared by a shot; leav"):
        colorize_video(film, tmp_path / "b.mkv", steady=False, **options)
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "hinted.onnx"}
