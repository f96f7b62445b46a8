import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom import file_names
from photochrom.cli import main
from photochrom.cli.video import _Bars
from photochrom.color import rgb_to_lab
from photochrom.errors import PhotochromError, VideoError
from photochrom.imagefile import atomic
from photochrom.imagefile.atomic import open_atomic
from photochrom.video.colors import checkpoint
from photochrom.video.pipeline import VideoResult, colorize_video
from photochrom.video.shots.hints import read_timed_hints
from support.models import write_model
from support.processes import default_sigint, kill_group, start_group
from support.systems import needs_signals
from support.video import read_frames, read_preserved, still_shot, write_video

pytestmark = pytest.mark.slow

Colorize = Callable[..., VideoResult]


def read_ab(path: Path) -> list[np.ndarray]:
    """Return the ab of each frame, as means over 8x8 px against rounding to 8 bits."""
    frames = [rgb_to_lab(frame.astype(np.float32) / 255)[..., 1:] for frame in read_frames(path)]
    return [cv2.resize(frame, None, fx=1 / 8, fy=1 / 8, interpolation=3) for frame in frames]


def change(frames: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.mp4", {"audio": "aac", "subtitles": "mov_text", "rotation": 90}),
        ("a.mkv", {"audio": "flac", "subtitles": "subrip"}),
    ],
)
def test_everything_but_colour_is_preserved(
    name: str, parts: dict, tmp_path: Path, colorize: Colorize
):
    timestamps = [1280, 2560, 2944, 3200, 5120, 6400, 9600, 10240, 12800, 14080]
    path = write_video(
        tmp_path / name, still_shot(10), timestamps=timestamps, aspect=Fraction(4, 3), **parts
    )
    target = tmp_path / f"out{path.suffix}"
    assert colorize(path, target, quality=2) == VideoResult(10, 1, [])
    before, after = read_preserved(path), read_preserved(target)
    assert len(before["packets"][1]) >= 4
    assert len(before["packets"][2]) >= 2
    assert after == before
    assert {file.name for file in tmp_path.iterdir()} == {name, target.name}
    for old, new in zip(read_frames(path), read_frames(target), strict=True):
        old_lab, new_lab = (rgb_to_lab(frame.astype(np.float32) / 255) for frame in (old, new))
        assert np.abs(new_lab[..., 0] - old_lab[..., 0]).mean() < 1.5
        assert np.abs(new_lab[..., 1:]).mean() > 5


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.mp4", {"audio": "aac"}), ("a.mkv", {"audio": "flac", "subtitles": "subrip"})],
)
def test_video_stream_may_be_last(name: str, parts: dict, tmp_path: Path, colorize: Colorize):
    path, target = tmp_path / f"last-{name}", tmp_path / f"out-{name}"
    with (
        av.open(str(write_video(tmp_path / name, still_shot(10), **parts))) as source,
        av.open(str(path), "w") as out,
    ):
        out.metadata["title"] = "A video"
        streams = {
            stream.index: out.add_stream_from_template(stream, opaque=True)
            for stream in reversed(source.streams)
        }
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    colorize(path, target)
    before = read_preserved(path)
    assert [kind for kind, *_ in before["streams"]][-2:] == ["audio", "video"]
    assert read_preserved(target) == before


def test_output_is_marked_as_colorized(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mp4", still_shot(2))
    for options, is_marked in (({}, True), ({"mark": False}, False), ({"saturation": 0}, False)):
        colorize(path, tmp_path / "b.mp4", overwrite=True, **options)
        with av.open(str(tmp_path / "b.mp4")) as container:
            comment = container.metadata["comment"]
        assert comment.startswith("mine")
        assert ("colours added by photochrom" in comment) == is_marked
        assert ("model tiny" in comment) == is_marked


def test_metadata_that_is_not_utf8_is_preserved(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mp4", still_shot(2))
    path.write_bytes(path.read_bytes().replace(b"A video", b"A vid\xefo"))
    colorize(path, tmp_path / "b.mp4")
    assert b"A vid\xefo" in (tmp_path / "b.mp4").read_bytes()


def test_pyav_without_metadata_errors_keyword(
    tmp_path: Path, colorize: Colorize, monkeypatch: pytest.MonkeyPatch
):
    path = write_video(tmp_path / "a.mp4", still_shot(2))
    real = av.open

    def open_without_keyword(*arguments: Any, **keywords: Any) -> Any:
        if "metadata_errors" in keywords:
            raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")
        return real(*arguments, **keywords)

    monkeypatch.setattr(av, "__version__", "19.0.2")
    monkeypatch.setattr(av, "open", open_without_keyword)
    assert colorize(path, tmp_path / "b.mp4").frames == 2


def test_default_model_does_not_flicker_and_respects_cuts(tmp_path: Path):
    one, other = (
        still_shot(count, seed, grain=12, size=(192, 128)) for count, seed in ((36, 0), (5, 1))
    )
    both = write_video(tmp_path / "a.mkv", one + other)
    alone = write_video(tmp_path / "b.mkv", other)

    def run(path: Path, name: str, *, steady: bool) -> list[np.ndarray]:
        target = tmp_path / name
        colorize_video(path, target, size=64, codec="ffv1", steady=steady, processes=1)
        return read_ab(target)

    steady = run(both, "c.mkv", steady=True)
    independent = run(both, "d.mkv", steady=False)
    assert change(steady[:36]) < change(independent[:36]) / 4
    border = np.abs(steady[32] - steady[31]).mean()  # between two segments
    assert border < 1.5 * change(steady[:36])
    truth = run(alone, "e.mkv", steady=True)
    between = np.abs(steady[35] - truth[0]).mean()
    assert between > 3
    for index in range(5):
        assert np.abs(steady[36 + index] - truth[index]).mean() < 0.01 * between


def test_output_does_not_depend_on_processes_or_interruptions(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", still_shot(100), audio="flac")
    model, hints = tmp_path / "hinted.onnx", tmp_path / "a.hints.json"
    write_model(model, hints=3)
    hints.write_text('[{"time": 1, "x": 20, "y": 30, "color": "red"}]')
    options = {"model": model, "hints": read_timed_hints(hints)}
    colorize(path, tmp_path / "one.mkv", **options)
    target, folder = tmp_path / "b.mkv", tmp_path / "b.mkv.partial"
    command = [sys.executable, "-m", "photochrom", "video", path, target, "--model", model]
    command += ["--hints", hints]
    process = start_group([*command, "-j", "2"], stderr=subprocess.DEVNULL)
    while not list(folder.glob("*.mkv")):
        assert process.poll() is None
        time.sleep(0.002)
    kill_group(process)  # workers too: they would finish their segments
    assert not target.exists()
    done = {file: file.stat().st_mtime_ns for file in folder.glob("*.mkv")}
    assert 1 <= len(done) < 4
    (folder / "mine.txt").touch()
    progress: list[tuple[str, int, int]] = []
    colorize(path, target, processes=2, progress=lambda *step: progress.append(step), **options)
    assert progress[0][0] == "colorizing"
    assert 25 * len(done) <= progress[0][1] < 100
    assert progress[-1] == ("colorizing", 100, 100)
    assert target.read_bytes() == (tmp_path / "one.mkv").read_bytes()
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]  # other files are kept


def test_progress_counts_the_frames_of_segments_that_are_not_done(
    tmp_path: Path, colorize: Colorize
):
    path = write_video(tmp_path / "a.mkv", still_shot(40))
    steps: list[tuple[str, int, int]] = []
    colorize(path, tmp_path / "b.mkv", progress=lambda *step: steps.append(step))
    done = [done for stage, done, _ in steps if stage == "colorizing"]
    assert done == sorted(done)
    assert {*done} == {*range(41)}


def test_checkpoint_with_other_settings_is_refused(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", still_shot(40))

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "colorizing" and done == 35:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize(path, tmp_path / "b.mkv", progress=interrupt)
    assert len(list((tmp_path / "b.mkv.partial").glob("*.mkv"))) == 1
    with pytest.raises(
        VideoError, match="started with a different quality and saturation; discard it with"
    ):
        colorize(path, tmp_path / "b.mkv", saturation=0.5, quality=30)
    colorize(path, tmp_path / "b.mkv", saturation=0.5, restart=True)
    assert not (tmp_path / "b.mkv.partial").exists()
    (tmp_path / "c.mkv.partial").mkdir()
    with pytest.raises(VideoError, match="is not a valid checkpoint"):
        colorize(path, tmp_path / "c.mkv")


@pytest.mark.parametrize(
    ("codec", "pixels", "size", "name", "options", "expected"),
    [
        ("libx264", "yuv420p10le", (96, 64), "b.mkv", {}, "yuv420p10le"),
        ("libx264", "yuv420p10le", (96, 64), "b.mp4", {"codec": "hevc"}, "yuv420p10le"),
        ("ffv1", "gray", (95, 63), "b.mkv", {"codec": "ffv1"}, "yuv420p"),
        ("ffv1", "bgr0", (95, 63), "b.webm", {}, "yuv420p"),
        ("mpeg4", "yuv420p", (96, 64), "b.mov", {"codec": "prores"}, "yuv422p10le"),
    ],
)
def test_codecs_and_pixel_formats(
    codec: str,
    pixels: str,
    size: tuple[int, int],
    name: str,
    options: dict,
    expected: str,
    tmp_path: Path,
    colorize: Colorize,
):
    path = tmp_path / ("a.avi" if codec == "mpeg4" else "a.mkv")
    write_video(path, still_shot(3, size=size), codec=codec, pixel_format=pixels)
    colorize(path, tmp_path / name, **options)
    with av.open(str(tmp_path / name)) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.width, context.height) == (expected, *size)
    old, new = read_frames(path, "gray"), read_frames(tmp_path / name, "gray")
    assert len(new) == 3
    assert np.abs(new[1].astype(int) - old[1]).mean() < 8  # luma is not quite L*


def test_covers_and_fonts_are_preserved(tmp_path: Path, colorize: Colorize):
    write_video(tmp_path / "a.mkv", still_shot(2))
    Image.new("RGB", (20, 20), "red").save(tmp_path / "cover.jpg")
    cover = (tmp_path / "cover.jpg").read_bytes()
    with (
        av.open(str(tmp_path / "a.mkv")) as source,
        av.open(str(tmp_path / "b.mkv"), "w") as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        out.add_attachment("cover.jpg", "image/jpeg", cover)
        out.add_attachment("f.ttf", "font/ttf", b"letters")
        for packet in source.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    colorize(tmp_path / "b.mkv", tmp_path / "c.mkv")
    with av.open(str(tmp_path / "c.mkv")) as container:
        streams = container.streams
        assert [s.type for s in streams] == ["video", "video", "attachment"]
        assert bytes(next(container.demux(streams[1]))) == cover
        assert streams[2].data == b"letters"
    with pytest.raises(VideoError, match=r"\.mp4 cannot hold attachment stream 2"):
        colorize(tmp_path / "b.mkv", tmp_path / "c.mp4")


BAD = {
    "none.mkv": (None, "there is no file"),
    "empty.mp4": (b"", "cannot be read as a video"),
    "a.txt": (b"words and words\n" * 99, "not a video"),
    "cut.mp4": (lambda content: content[: len(content) // 2], "cannot be read as a video"),
    "hole.mp4": (
        lambda content: content[:900] + bytes(4000) + content[4900:],
        "is damaged or encrypted: 1 frame is lost and 1 frame is damaged, of 20",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_input_leaves_no_files(name: str, tmp_path: Path, tiny_onnx: Path):
    content, message = BAD[name]
    if callable(content):
        content = content(write_video(tmp_path / "whole.mp4", still_shot(20)).read_bytes())
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = set(tmp_path.iterdir())
    arguments = [str(tmp_path / name), str(tmp_path / "out.mp4"), "--model", str(tiny_onnx)]
    result = CliRunner().invoke(main, ["video", *arguments])
    assert result.exit_code == (2 if content is None else 1)
    assert message in result.stderr.splitlines()[-1]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "divx"], "'divx' is not one of 'h264', 'hevc', 'vp9', 'ffv1', 'prores'"),
        (["--quality", "52"], "quality is 52, but h264 takes 0 (best) to 51"),
        (["--rate", "0"], "the rate is '0'; give frames per second"),
        (["--start", "-1"], "--start is '-1'; it has to be hours:minutes:seconds"),
        (["--start", "2", "--end", "1"], "the part ends at 0:00:01"),
        (["--reference", "a.png"], "the reference is 'a.png'; it has to be FILE@TIME"),
        (["--saturation", "9"], "saturation is 9.0; it has to be from 0 to 4"),
        (["--size", "8"], "size is 8; it has to be from 16 to 4096"),
    ],
)
def test_invalid_options_are_wrong_usage(options: list[str], message: str, tmp_path: Path):
    video = write_video(tmp_path / "a.mkv", still_shot(2))
    result = CliRunner().invoke(main, ["video", str(video), str(tmp_path / "b.mp4"), *options])
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [video]


def test_what_a_kill_leaves_is_removed_with_the_checkpoint(tmp_path: Path):
    """Systems other than Linux give a file a name before it is complete."""
    folder = tmp_path / "b.mkv.partial"
    folder.mkdir()
    stream = open_atomic(folder / "0123456789abcdef.mkv")
    with pytest.MonkeyPatch.context() as other_system:
        other_system.setattr(atomic, "_open_unnamed", lambda _: None)
        stream.__enter__().close()
    assert len(list(folder.iterdir())) == 1
    checkpoint.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["reel:1.mkv", "nul.mkv", "a?.mkv", "reel:%04d.tif", "."])
def test_names_that_windows_refuses_are_refused_before_any_work(
    name: str, tmp_path: Path, colorize: Colorize, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(file_names, "_IS_WINDOWS", True)
    path = write_video(tmp_path / "a.mkv", still_shot(2))
    target = Path(name) if name == "." else tmp_path / name
    with pytest.raises(VideoError, match="cannot be the name of a file on this system; choose"):
        colorize(path, target)
    assert list(tmp_path.iterdir()) == [path]


def test_unsupported_requests_are_refused_before_any_work(tmp_path: Path, colorize: Colorize):
    video = write_video(tmp_path / "a.mkv", still_shot(2), audio="flac", subtitles="subrip")
    odd = write_video(
        tmp_path / "odd.mkv", still_shot(2, size=(95, 63)), codec="ffv1", pixel_format="gray"
    )
    hdr = write_video(
        *(tmp_path / "hdr.mkv", still_shot(2)),
        pixel_format="yuv420p10le",
        **{"x264-params": "transfer=smpte2084"},
    )
    (tmp_path / "there.mkv").write_bytes(b"mine")
    before = set(tmp_path.iterdir())
    for path, name, options, message in (
        (video, "b.avi", {}, r"has to end in \.m4v, \.mkv"),
        (video, "b.mp4", {}, r"\.mp4 cannot hold subtitle stream 2.*ends in \.mkv"),
        (video, "none/b.mkv", {}, "there is no folder"),
        (video, "there.mkv", {}, "exists already; use --overwrite"),
        (video, "a.mkv", {"overwrite": True}, "is the source itself"),
        (video, "b.mkv", {"codec": "divx"}, "there is no codec 'divx'"),
        (video, "b.mkv", {"quality": 52}, "takes 0 .best. to 51"),
        (video, "b.mkv", {"codec": "ffv1", "quality": 1}, "quality is 1, but ffv1 has none"),
        (video, "b.mkv", {"max_pixels": 6000}, "96x64 pixels, more than the limit of 6000"),
        (odd, "b.mkv", {}, "95x63, but h264 needs an even width and height"),
        (video, "b.mkv", {"field": "both"}, "no field 'both'; choose one of progressive, tff"),
        (hdr, "b.mkv", {}, "is HDR"),
        (hdr, "b.webm", {}, "is HDR"),
        (tmp_path, "b.mkv", {}, "has no image sequence"),
    ):
        with pytest.raises(PhotochromError, match=message):
            colorize(path, tmp_path / name, **options)
    assert set(tmp_path.iterdir()) == before
    assert (tmp_path / "there.mkv").read_bytes() == b"mine"


@needs_signals
def test_ctrl_c_stops_at_once_and_explains_how_to_resume(tmp_path: Path, tiny_onnx: Path):
    path = write_video(tmp_path / "a.mkv", still_shot(100))
    command = [sys.executable, "-m", "photochrom", "video", path, tmp_path / "b.mkv"]
    process = subprocess.Popen(
        [*command, "--model", tiny_onnx, "-j", "2"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_sigint,
    )
    assert process.stderr is not None
    with process.stderr:
        while not (tmp_path / "b.mkv.partial" / "plan.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        start = time.monotonic()
        output = process.stderr.read()
    assert process.wait() == 130
    assert time.monotonic() - start < 5
    assert "stopped; the same command resumes from here" in output
    assert json.loads((tmp_path / "b.mkv.partial" / "plan.json").read_text())


def test_each_stage_has_a_bar(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = _Bars()
    for step in (
        ("analysing", 1, 5),
        ("analysing", 9, 9),
        ("colorizing", 3, 9),
        ("colorizing", 9, 9),
        ("sheet", 4, 4),
    ):
        bars(*step)
    bars.close()
    output = terminal.getvalue()
    assert "analysing: 100%" in output
    assert "colorizing: 100%" in output
    assert "9/9" in output
    assert "frame/s" in output
    assert "shot/s" in output
