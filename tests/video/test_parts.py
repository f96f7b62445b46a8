import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli import main
from photochrom.errors import PhotochromError, VideoError
from photochrom.video.pipeline import colorize_video, list_shots
from photochrom.video.reading.source import probe
from photochrom.video.shots.analysis import analyse
from photochrom.video.shots.hints import read_timed_hints
from photochrom.video.shots.parts import TimeRange, analyse_part
from photochrom.video.shots.times import parse_time
from support.models import write_model
from support.video import read_frames, still_shot, write_video


def part(start: str, end: str | None = None) -> TimeRange:
    return TimeRange(Fraction(start), None if end is None else Fraction(end))


def ignore(*_: Any) -> None:
    pass


def read_times(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return start and duration of each packet in presentation order, by kind of stream."""
    times: dict[str, list[tuple[float, float]]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size > 2:
                unit = packet.time_base
                time = float(packet.pts * unit), float((packet.duration or 0) * unit)
                times.setdefault(packet.stream.type, []).append(time)
    return {kind: sorted(values) for kind, values in times.items()}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.mp4", {"audio": "aac", "subtitles": "mov_text"}),
        ("a.mkv", {"audio": "flac", "subtitles": "subrip"}),
    ],
)
def test_a_part_begins_at_0_with_sound_subtitles_and_chapters(
    name: str, parts: dict, tmp_path: Path, tiny_onnx: Path
):
    path = write_video(tmp_path / name, still_shot(40), **parts)
    whole, target = tmp_path / f"whole-{name}", tmp_path / f"part-{name}"
    options: Any = {"model": tiny_onnx, "processes": 1, "steady": False, "codec": "ffv1"}
    colorize_video(path, whole, **options)
    result = colorize_video(path, target, part=part("0.12", "0.8"), **options)
    assert result.frames == 17
    old, new = read_frames(whole), read_frames(target)
    assert len(new) == 17
    assert all(np.array_equal(*pair) for pair in zip(old[3:20], new, strict=True))
    old_times, new_times = read_times(path), read_times(target)
    assert new_times["video"] == pytest.approx(np.array(old_times["video"][3:20]) - (0.12, 0))
    sound = [time for time in old_times["audio"] if 0.12 <= time[0] < 0.8]
    assert new_times["audio"] == pytest.approx(np.array(sound) - (0.12, 0), abs=1e-3)
    assert new_times["subtitle"] == pytest.approx(np.array([(0, 0.03), (0.08, 0.1)]))
    with av.open(str(target)) as container:
        (chapter,) = container.chapters()
        unit = chapter["time_base"]
        assert float(chapter["start"] * unit) == 0
        assert float(chapter["end"] * unit) == pytest.approx(0.08)
        assert chapter["metadata"] == {"title": "One"}
        assert container.start_time == 0
        assert container.duration / 1e6 == pytest.approx(0.68, abs=0.1)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.ts", "a.avi", "a.mpg"])
def test_a_part_has_the_frames_of_the_whole(name: str, tmp_path: Path):
    frames = still_shot(30) + still_shot(30, 1) + still_shot(20, 2)
    codec = {"a.avi": "mpeg4", "a.mpg": "mpeg2video"}.get(name, "libx264")
    path = write_video(tmp_path / name, frames, codec=codec, bf="2")
    video = probe(path)
    whole = analyse(video, ignore)
    for start, end in ((0, 5), (26, 50), (36, 37), (60, 80)):
        times = [Fraction(index, 25) for index in (start, end)]
        cut = analyse_part(video, TimeRange(times[0], None if end == 80 else times[1]), ignore)
        assert cut.timestamps == whole.timestamps[start:end]
        assert cut.checksums == whole.checksums[start:end]
        assert cut.cuts == [0, *(c - start for c in whole.cuts if start < c < end)]
        assert cut.origin == whole.timestamps[0]
        if name in ("a.mkv", "a.mp4", "a.mov"):
            assert (cut.seek is None) == (start == 0)
            assert cut.lead <= 12


def test_a_part_of_frames_that_cannot_be_sought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    video = probe(write_video(tmp_path / "a.mkv", still_shot(40)))
    monkeypatch.setattr("photochrom.video.shots.parts._find_seek", lambda *_: None)
    cut = analyse_part(video, part("1", "1.2"), ignore)
    assert (cut.seek, cut.lead, len(cut.timestamps)) == (None, 25, 5)


def test_progress_of_a_part_has_its_number_of_frames(tmp_path: Path):
    video = probe(write_video(tmp_path / "a.mkv", still_shot(60)))
    steps: list[tuple[str, int, int]] = []
    analyse_part(video, part("1.2", "1.4"), lambda *step: steps.append(step))
    assert steps[0][1:] == (1, 5)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2", "2", "the part ends at 0:00:02.00, not after its start at 0:00:02.00"),
        ("9", "4", "the part ends at 0:00:04.00, not after its start at 0:00:09.00"),
        (
            "60",
            None,
            r"has no frame from 0:01:00.00 to the end; .* its last frame is at 0:00:01.56",
        ),
        ("1.58", "1.59", "has no frame from 0:00:01.58 to 0:00:01.59"),
    ],
)
def test_a_part_without_frames_is_refused(
    start: str, end: str | None, message: str, tmp_path: Path, tiny_onnx: Path
):
    path = write_video(tmp_path / "a.mkv", still_shot(40))
    with pytest.raises(VideoError, match=message):
        colorize_video(path, tmp_path / "b.mkv", model=tiny_onnx, part=part(start, end))
    assert [file.name for file in tmp_path.iterdir()] == ["a.mkv"]


def test_hints_and_shots_of_a_part_have_the_times_of_the_film(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", still_shot(20) + still_shot(20, 1))
    model, hints, shots = (tmp_path / name for name in ("a.onnx", "hints.json", "shots.json"))
    write_model(model, hints=3)
    hints.write_text(
        '[{"time": 0.1, "x": 1, "y": 2, "color": "red"}, {"time": 0.6, "x": 1, "y": 2, '
        '"color": "red"}, {"time": 1.2, "x": 1, "y": 2, "color": "red"}]'
    )
    messages: list[str] = []
    result = colorize_video(
        *(path, tmp_path / "b.mkv"),
        model=model,
        processes=1,
        hints=read_timed_hints(hints),
        part=part("0.4", "1"),
        shots=shots,
        notify=messages.append,
    )
    assert result.hints == ["1,2,red from 0:00:00.60 to 0:00:00.80"]
    assert messages == ["2 of 3 hints lie outside of the part"]
    assert "0:00:00.400" in shots.read_text()
    assert "0:00:00.800" in shots.read_text()


def test_times_of_the_list_end_a_part_at_their_frame(tmp_path: Path):
    """At 23.976 frames per second, the list rounds about half of them down."""
    stamps = [round(12800 * index * 1001 / 24000) for index in range(20)]
    frames = still_shot(10) + still_shot(10, 1)
    path = write_video(tmp_path / "a.mp4", frames, timestamps=stamps)
    model, shots = tmp_path / "a.onnx", tmp_path / "shots.json"
    write_model(model, hints=3)
    list_shots(path, shots)
    end = re.findall(r'"start": "(.*?)"', shots.read_text())[1]
    assert parse_time(end) < Fraction(stamps[10], 12800)
    hints = tmp_path / "hints.json"
    hints.write_text(json.dumps([{"time": end, "x": 1, "y": 2, "color": "red"}]))
    messages: list[str] = []
    result = colorize_video(
        *(path, tmp_path / "b.mkv"),
        model=model,
        processes=1,
        hints=read_timed_hints(hints),
        part=TimeRange(end=parse_time(end)),
        shots=shots,
        notify=messages.append,
    )
    assert (result.frames, result.shots, result.hints) == (10, 1, [])
    assert messages == ["1 of 1 hints lie outside of the part"]


def test_another_part_is_another_run(tmp_path: Path, tiny_onnx: Path):
    path, target = write_video(tmp_path / "a.mkv", still_shot(40)), tmp_path / "b.mkv"

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "colorizing":
            raise KeyboardInterrupt

    options: Any = {"model": tiny_onnx, "processes": 1}
    with pytest.raises(KeyboardInterrupt):
        colorize_video(path, target, part=part("0.4"), progress=interrupt, **options)
    with pytest.raises(VideoError, match="was started with a different start or end"):
        colorize_video(path, target, part=part("0.401"), **options)
    assert colorize_video(path, target, part=part("0.4"), **options).frames == 30


def test_a_part_on_the_command_line(tmp_path: Path, tiny_onnx: Path):
    path, target = write_video(tmp_path / "a.mkv", still_shot(40)), tmp_path / "b.mkv"
    command = ["video", str(path), str(target), "--model", str(tiny_onnx), "-j", "1"]
    result = CliRunner().invoke(main, [*command, "--start", "x"])
    assert result.exit_code == 2
    assert "--start is 'x'; it has to be hours:minutes:seconds" in result.stderr
    result = CliRunner().invoke(main, [*command, "--start", "0:00:00.4", "--end", "1"])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == f"{target}: 15 frames, 1 shots"


def test_pictures_of_a_part_keep_their_numbers(tmp_path: Path, tiny_onnx: Path):
    for number, frame in enumerate(still_shot(12), 100):
        Image.fromarray(frame).save(tmp_path / f"a_{number}.png")
    options: Any = {"model": tiny_onnx, "processes": 1, "rate": Fraction(24)}
    source, target = tmp_path / "a_%d.png", tmp_path / "out" / "b_%d.png"
    for start, end in (("0.125", "0.25"), ("0.25", "0.334")):  # the second beside the first
        colorize_video(source, target, part=part(start, end), **options)
    names = sorted(file.name for file in target.parent.iterdir())
    assert names == [f"b_{number}.png" for number in range(103, 108)]
    with pytest.raises(PhotochromError, match=r"b_103\.png exists already"):
        colorize_video(source, target, part=part("0.125", "0.2"), **options)
    film = tmp_path / "c.mkv"
    assert colorize_video(source, film, part=part("0.125", "0.25"), **options).frames == 3
    assert read_times(film)["video"][0][0] == 0
