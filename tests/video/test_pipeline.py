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

from photochrom.cli import main
from photochrom.cli.video import _Bars
from photochrom.color import rgb_to_lab
from photochrom.video.pipeline import Coloured, colorize_film
from photochrom.video.source import FilmError
from support.video import decoded, held, scene, write_film
from support.processes import default_sigint

Colour = Callable[..., Coloured]


@pytest.fixture
def colour(tiny_onnx: Path) -> Colour:
    """Colour with the tiny model, in this process."""

    def run(path: Path, target: Path, **options: object) -> Coloured:
        options = {"model": tiny_onnx, "processes": 1, **options}
        return colorize_film(path, target, **options)  # type: ignore[arg-type]

    return run


def colours(path: Path) -> list[np.ndarray]:
    """Return the ab of each frame, as means over 8x8 px: rounding to 8 bits is no flicker."""
    frames = [rgb_to_lab(frame.astype(np.float32) / 255)[..., 1:] for frame in decoded(path)]
    return [cv2.resize(frame, None, fx=1 / 8, fy=1 / 8, interpolation=3) for frame in frames]


def change(frames: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.mp4", {"sound": "aac", "subtitles": "mov_text", "turn": 90}),
        ("a.mkv", {"sound": "flac", "subtitles": "subrip"}),
    ],
)
def test_all_but_the_colours_stays(name: str, parts: dict, tmp_path: Path, colour: Colour):
    times = [1280, 2560, 2944, 3200, 5120, 6400, 9600, 10240, 12800, 14080]
    path = write_film(tmp_path / name, scene(10), times=times, aspect=Fraction(4, 3), **parts)
    target = tmp_path / f"out{path.suffix}"
    assert colour(path, target, quality=2) == Coloured(10, 1, [])
    before, after = held(path), held(target)
    assert len(before["packets"][1]) >= 4
    assert len(before["packets"][2]) >= 2
    assert after == before
    assert {file.name for file in tmp_path.iterdir()} == {name, target.name}
    for old, new in zip(decoded(path), decoded(target), strict=True):
        L, found = (rgb_to_lab(frame.astype(np.float32) / 255) for frame in (old, new))
        assert np.abs(found[..., 0] - L[..., 0]).mean() < 1.5
        assert np.abs(found[..., 1:]).mean() > 5


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.mp4", {"sound": "aac"}), ("a.mkv", {"sound": "flac", "subtitles": "subrip"})],
)
def test_the_pictures_may_be_the_last_stream(
    name: str, parts: dict, tmp_path: Path, colour: Colour
):
    path, target = tmp_path / f"last-{name}", tmp_path / f"out-{name}"
    with (
        av.open(str(write_film(tmp_path / name, scene(10), **parts))) as source,
        av.open(str(path), "w") as out,
    ):
        out.metadata["title"] = "A film"
        streams = {
            stream.index: out.add_stream_from_template(stream, opaque=True)
            for stream in reversed(source.streams)
        }
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    colour(path, target)
    before = held(path)
    assert [kind for kind, *_ in before["streams"]][-2:] == ["audio", "video"]
    assert held(target) == before


def test_the_result_says_that_colours_were_added(tmp_path: Path, colour: Colour):
    path = write_film(tmp_path / "a.mp4", scene(2))
    for options, said in (({}, True), ({"mark": False}, False), ({"saturation": 0}, False)):
        colour(path, tmp_path / "b.mp4", overwrite=True, **options)
        with av.open(str(tmp_path / "b.mp4")) as container:
            comment = container.metadata["comment"]
        assert comment.startswith("mine")
        assert ("colours added by photochrom" in comment) == said
        assert ("model tiny" in comment) == said


def test_metadata_that_is_not_utf8_stays(tmp_path: Path, colour: Colour):
    path = write_film(tmp_path / "a.mp4", scene(2))
    path.write_bytes(path.read_bytes().replace(b"A film", b"A f\xeflm"))
    colour(path, tmp_path / "b.mp4")
    assert b"A f\xeflm" in (tmp_path / "b.mp4").read_bytes()


def test_a_pyav_without_a_keyword_for_metadata_does(
    tmp_path: Path, colour: Colour, monkeypatch: pytest.MonkeyPatch
):
    path = write_film(tmp_path / "a.mp4", scene(2))
    real = av.open

    def without(*places: Any, **keywords: Any) -> Any:
        if "metadata_errors" in keywords:
            raise TypeError("open() got an unexpected keyword argument 'metadata_errors'")
        return real(*places, **keywords)

    monkeypatch.setattr(av, "__version__", "19.0.2")
    monkeypatch.setattr(av, "open", without)
    assert colour(path, tmp_path / "b.mp4").frames == 2


def test_colours_do_not_flicker_and_end_at_cuts(tmp_path: Path):
    """The figures of the issue, with the model that people have: a quarter, and two frames."""
    one, other = (
        scene(count, seed, grain=12, size=(192, 128)) for count, seed in ((36, 0), (5, 1))
    )
    film = write_film(tmp_path / "a.mkv", one + other)
    alone = write_film(tmp_path / "b.mkv", other)

    def run(path: Path, name: str, *, steady: bool) -> list[np.ndarray]:
        target = tmp_path / name
        colorize_film(path, target, size=64, codec="ffv1", steady=steady, processes=1)
        return colours(target)

    steady, each = run(film, "c.mkv", steady=True), run(film, "d.mkv", steady=False)
    assert change(steady[:36]) < change(each[:36]) / 4
    border = np.abs(steady[32] - steady[31]).mean()  # where one piece ends and the next begins
    assert border < 1.5 * change(steady[:36])
    truth = run(alone, "e.mkv", steady=True)
    between = np.abs(steady[35] - truth[0]).mean()
    assert between > 3
    for place in range(5):
        assert np.abs(steady[36 + place] - truth[place]).mean() < 0.01 * between


def test_processes_and_a_kill_change_nothing(tmp_path: Path, tiny_onnx: Path, colour: Colour):
    path = write_film(tmp_path / "a.mkv", scene(100), sound="flac")
    colour(path, tmp_path / "one.mkv")
    target, folder = tmp_path / "b.mkv", tmp_path / "b.mkv.partial"
    command = [sys.executable, "-m", "photochrom", "video", path, target, "--model", tiny_onnx]
    process = subprocess.Popen([*command, "-j", "2"], stderr=subprocess.DEVNULL)
    while not list(folder.glob("*.mkv")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    done = {file: file.stat().st_mtime_ns for file in folder.glob("*.mkv")}
    assert 1 <= len(done) < 4
    (folder / "mine.txt").touch()
    progress: list[tuple[str, int, int]] = []
    colour(path, target, processes=2, progress=lambda *step: progress.append(step))
    assert progress[0] == ("coloured", 32 * len(done), 100)
    assert progress[-1] == ("coloured", 100, 100)
    assert target.read_bytes() == (tmp_path / "one.mkv").read_bytes()
    assert [file.name for file in folder.iterdir()] == ["mine.txt"]  # what is not ours stays


def test_work_with_other_settings_is_not_gone_on_with(tmp_path: Path, colour: Colour):
    path = write_film(tmp_path / "a.mkv", scene(40))

    def stop(what: str, done: int, total: int) -> None:
        if what == "coloured" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colour(path, tmp_path / "b.mkv", progress=stop)
    assert len(list((tmp_path / "b.mkv.partial").glob("*.mkv"))) == 1
    with pytest.raises(FilmError, match="begun with another look and quality; say --restart"):
        colour(path, tmp_path / "b.mkv", saturation=0.5, quality=30)
    colour(path, tmp_path / "b.mkv", saturation=0.5, restart=True)
    assert not (tmp_path / "b.mkv.partial").exists()
    (tmp_path / "c.mkv.partial").mkdir()
    with pytest.raises(FilmError, match="holds no work to go on with"):
        colour(path, tmp_path / "c.mkv")


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
def test_kinds_of_films(
    codec: str,
    pixels: str,
    size: tuple[int, int],
    name: str,
    options: dict,
    expected: str,
    tmp_path: Path,
    colour: Colour,
):
    path = tmp_path / ("a.avi" if codec == "mpeg4" else "a.mkv")
    write_film(path, scene(3, size=size), codec=codec, pixels=pixels)
    colour(path, tmp_path / name, **options)
    with av.open(str(tmp_path / name)) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.width, context.height) == (expected, *size)
    old, new = decoded(path, "gray"), decoded(tmp_path / name, "gray")
    assert len(new) == 3
    assert np.abs(new[1].astype(int) - old[1]).mean() < 8  # luma is not quite L*


def test_covers_and_fonts_are_kept(tmp_path: Path, colour: Colour):
    write_film(tmp_path / "a.mkv", scene(2))
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
    colour(tmp_path / "b.mkv", tmp_path / "c.mkv")
    with av.open(str(tmp_path / "c.mkv")) as container:
        found = container.streams
        assert [s.type for s in found] == ["video", "video", "attachment"]
        assert bytes(next(container.demux(found[1]))) == cover
        assert found[2].data == b"letters"
    with pytest.raises(FilmError, match=r"\.mp4 cannot hold attachment stream 2"):
        colour(tmp_path / "b.mkv", tmp_path / "c.mp4")


BAD = {
    "none.mkv": (None, "there is no file"),
    "empty.mp4": (b"", "cannot be read as a film"),
    "a.txt": (b"words and words\n" * 99, "not a film"),
    "cut.mp4": (lambda film: film[: len(film) // 2], "cannot be read as a film"),
    "hole.mp4": (lambda film: film[:900] + bytes(4000) + film[4900:], "is damaged or encrypted at"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_film_leaves_nothing(name: str, tmp_path: Path, tiny_onnx: Path):
    content, said = BAD[name]
    if callable(content):
        content = content(write_film(tmp_path / "whole.mp4", scene(20)).read_bytes())
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = set(tmp_path.iterdir())
    arguments = [str(tmp_path / name), str(tmp_path / "out.mp4"), "--model", str(tiny_onnx)]
    result = CliRunner().invoke(main, ["video", *arguments])
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_what_cannot_be_done_is_said_first(tmp_path: Path, colour: Colour):
    film = write_film(tmp_path / "a.mkv", scene(2), sound="flac", subtitles="subrip")
    odd = write_film(tmp_path / "odd.mkv", scene(2, size=(95, 63)), codec="ffv1", pixels="gray")
    two = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    laced = write_film(tmp_path / "laced.mkv", scene(2), **two)
    hdr = write_film(
        *(tmp_path / "hdr.mkv", scene(2)),
        pixels="yuv420p10le",
        **{"x264-params": "transfer=smpte2084"},
    )
    (tmp_path / "there.mkv").write_bytes(b"mine")
    before = set(tmp_path.iterdir())
    for path, name, options, said in (
        (film, "b.avi", {}, r"has to end in \.m4v, \.mkv"),
        (film, "b.mp4", {}, r"\.mp4 cannot hold subtitle stream 2.*ends in \.mkv"),
        (film, "none/b.mkv", {}, "there is no folder"),
        (film, "there.mkv", {}, "exists already; say --overwrite"),
        (film, "a.mkv", {"overwrite": True}, "is the film itself"),
        (film, "b.mkv", {"codec": "divx"}, "there is no codec 'divx'"),
        (film, "b.mkv", {"quality": 52}, "takes 0 .best. to 51"),
        (film, "b.mkv", {"codec": "ffv1", "quality": 1}, "quality is 1, but ffv1 has none"),
        (film, "b.mkv", {"max_pixels": 6000}, "96x64 pixels, more than the limit of 6000"),
        (odd, "b.mkv", {}, "95x63, but h264 takes even numbers alone"),
        (laced, "b.mkv", {}, "interlaced at 0:00:00.00"),
        (hdr, "b.mkv", {}, "is HDR"),
        (hdr, "b.webm", {}, "is HDR"),
        (tmp_path, "b.mkv", {}, "is not a file"),
    ):
        with pytest.raises(FilmError, match=said):
            colour(path, tmp_path / name, **options)
    assert set(tmp_path.iterdir()) == before
    assert (tmp_path / "there.mkv").read_bytes() == b"mine"


def test_ctrl_c_ends_at_once_and_says_how_to_go_on(tmp_path: Path, tiny_onnx: Path):
    path = write_film(tmp_path / "a.mkv", scene(100))
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
        said = process.stderr.read()
    assert process.wait() == 130
    assert time.monotonic() - start < 5
    assert "stopped; the same command goes on from here" in said
    assert json.loads((tmp_path / "b.mkv.partial" / "plan.json").read_text())


def test_somebody_who_looks_sees_how_long_it_takes(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = _Bars()
    for step in (("learned", 1, 5), ("learned", 9, 9), ("coloured", 3, 9), ("coloured", 9, 9)):
        bar(*step)
    bar.close()
    said = terminal.getvalue()
    assert "looking for cuts" in said
    assert "colouring: 100%" in said
    assert "9/9" in said
