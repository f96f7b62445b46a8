"""Sources as they exist: what an output can hold, frames without a time, and damage."""

import re
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from photochrom.errors import VideoError
from photochrom.video.pipeline import VideoResult
from photochrom.video.reading.damage import DamagedFrame, describe_damage
from photochrom.video.reading.source import _display_matrix, _is_multiview, probe
from photochrom.video.reading.timestamps import mend_times
from photochrom.video.shots.analysis import analyse, checksum
from photochrom.video.shots.parts import TimeRange
from photochrom.video.shots.shot import Shot
from photochrom.video.shots.splitting import decode_segment, split
from photochrom.video.writing.codecs import choose_encoding
from photochrom.video.writing.container_check import check_container
from support.video import read_frames, still_shot, write_video

Colorize = Callable[..., VideoResult]
B_FRAMES = {"bf": "2", "g": "10", "qp": "20", "threads": "1"}


def damage(path: Path, target: Path, first: int, count: int = 1, share: float = 1.0) -> Path:
    """Copy a video with packets whose last bytes are zeros."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    content = path.read_bytes()
    for packet in packets[first : first + count]:
        kept = packet[: round(len(packet) * (1 - share))]
        content = content.replace(packet, kept + bytes(len(packet) - len(kept)))
    target.write_bytes(content)
    return target


def moving_shot(count: int, size: tuple[int, int] = (96, 64)) -> list[np.ndarray]:
    """Return frames that differ, so that their order shows: a bright column moves."""
    frames = [frame.copy() for frame in still_shot(count, grain=0, size=size)]
    for index, frame in enumerate(frames):
        frame[:] = np.minimum(frame, 180)
        frame[:, 2 * index : 2 * index + 8] = 250
    return frames


def columns(path: Path) -> NDArray[np.float64]:
    """Return the middle of the bright column in each frame."""
    sums = [frame.astype(float).sum(0) for frame in read_frames(path, "gray")]
    return np.array([np.flatnonzero(column > 0.9 * column.max()).mean() for column in sums])


# What an output can hold


def write_timecode(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.metadata["timecode"] = "01:00:00:00"
        for index, grey in enumerate(still_shot(3)):
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("extension", "kinds"), [("mov", ["video", "data"]), ("mkv", ["video"])])
def test_timecode_is_kept(extension: str, kinds: list[str], tmp_path: Path, colorize: Colorize):
    path, target = write_timecode(tmp_path / "a.mov"), tmp_path / f"b.{extension}"
    result = colorize(path, target)
    assert result.left_out == ([] if extension == "mov" else ["data stream 1 (timecode)"])
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == kinds
        metadata = container.streams.video[0].metadata
        assert metadata.get("timecode", metadata.get("TIMECODE")) == "01:00:00:00"


def test_the_timecode_of_a_part_is_that_of_its_first_frame(tmp_path: Path, colorize: Colorize):
    path, target = write_timecode(tmp_path / "a.mov"), tmp_path / "b.mov"
    colorize(path, target, part=TimeRange(Fraction(2, 25)))
    with av.open(str(target)) as container:
        timecodes = [stream.metadata["timecode"] for stream in container.streams]
    assert timecodes == ["01:00:00:02", "01:00:00:02"]


@pytest.mark.parametrize("name", ["reel:1.mkv", "file:a.mp4"])
def test_names_are_not_taken_for_protocols(
    name: str, tmp_path: Path, colorize: Colorize, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = write_video(tmp_path / "a.mp4", still_shot(2)).rename(f"source:{name}")
    assert colorize(path, Path(name)).frames == 2
    assert len(read_frames(tmp_path / name)) == 2


FFV1_MP4 = "use --codec ffv1 and choose an output that ends in .mp4"


@pytest.mark.parametrize(
    ("size", "bits", "aspect", "extension", "codec", "problem", "advice"),
    [
        ((96, 64), 8, 2, ".webm", None, "non-square pixels", "choose an output that ends in .mkv"),
        ((96, 64), 8, 2, ".mkv", "prores", "non-square", "choose an output that ends in .mov"),
        ((96, 64), 8, 2, ".mkv", "vp9", "non-square", "choose an output that ends in .mp4"),
        ((95, 63), 8, None, ".mkv", None, "needs an even width", "use --codec vp9"),
        ((95, 63), 8, 2, ".mkv", None, "needs an even width", "use --codec vp9 and choose an"),
        ((95, 63), 10, 2, ".mov", None, "needs an even width", FFV1_MP4),
        (
            (96, 64),
            10,
            None,
            ".webm",
            None,
            "more than 8 bits",
            "choose an output that ends in .mkv",
        ),
        ((96, 64), 10, None, ".mp4", "vp9", "more than 8 bits", "use --codec h264"),
        ((96, 64), 8, None, ".mp4", "prores", "not support prores", "choose an output that ends"),
    ],
)
def test_advice_on_codecs_cures(
    size: tuple[int, int],
    bits: int,
    aspect: int | None,
    extension: str,
    codec: str | None,
    problem: str,
    advice: str,
    tmp_path: Path,
):
    pixels = "yuv420p" if bits == 8 else "yuv420p10le"
    path = write_video(
        *(tmp_path / "a.mp4", still_shot(1, size=size)),
        codec="ffv1",
        pixel_format=pixels,
        aspect=aspect and Fraction(aspect),
    )
    video = probe(path)
    assert video.pixel_aspect == aspect
    with pytest.raises(VideoError, match=problem) as error:
        choose_encoding(Path("a" + extension), codec, None, video)
    given = str(error.value).split("; ")[-1]
    assert given.startswith(advice)
    name = re.search(r"--codec (\w+)", given)
    suffix = re.search(r"ends in (\.\w+)", given)
    target = Path("b" + (suffix[1] if suffix else extension))
    encoding = choose_encoding(target, name[1] if name else codec, None, video)
    assert check_container(video, target, encoding) == []


def add_streams(path: Path, target: Path, *codecs: str) -> Path:
    """Copy a video to Matroska or MOV, with streams of sound of 0.1 s."""
    with av.open(str(path)) as source, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        sounds = [
            out.add_stream(codec, rate=44100, layout="mono", bit_rate=64000) for codec in codecs
        ]
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
        for sound in sounds:
            for number in range(5):
                samples = np.zeros((1, 1024), np.float32)
                chunk = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
                chunk.sample_rate, chunk.pts = 44100, number * 1024
                chunk.time_base = Fraction(1, 44100)
                out.mux(sound.encode(chunk))
            out.mux(sound.encode(None))
    return target


@pytest.mark.parametrize(
    ("source", "codec", "target", "advice"),
    [
        ("a.flv", "nellymoser", "b.mkv", r"choose an output that ends in \.mov$"),
        ("a.asf", "wmav2", "b.mp4", r"convert the sound first, for example with `ffmpeg -i IN "),
        ("a.mkv", "aac", "b.webm", r"choose an output that ends in \.mkv$"),
    ],
)
def test_advice_on_sound_names_what_works(
    source: str, codec: str, target: str, advice: str, tmp_path: Path, colorize: Colorize
):
    video = write_video(tmp_path / "video.mkv", still_shot(2))
    path = add_streams(video, tmp_path / source, codec)
    message = rf"cannot hold audio stream 1 \({codec}\) of .*; {advice}"
    with pytest.raises(VideoError, match=message) as error:
        colorize(path, tmp_path / target)
    if "ends in" in str(error.value):
        output = tmp_path / ("c" + str(error.value)[-4:])
        assert colorize(path, output).frames == 2
        with av.open(str(output)) as container:
            assert container.streams.audio[0].codec_context.name == codec


def test_covers_are_not_dropped(tmp_path: Path, colorize: Colorize):
    path, picture = tmp_path / "a.mp4", BytesIO()
    Image.new("RGB", (16, 16), "red").save(picture, "PNG")
    with (
        av.open(str(write_video(tmp_path / "b.mp4", still_shot(2)))) as source,
        av.open(str(path), "w") as out,
    ):
        cover = out.add_mux_stream("png", width=16, height=16)
        cover.disposition = av.stream.Disposition.attached_pic
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
        packet.time_base = Fraction(1, 90000)
        out.mux(packet)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    with pytest.raises(VideoError, match=r"\.mov cannot hold video stream \d \(png\) of .*\.mkv$"):
        colorize(path, tmp_path / "c.mov")
    for name in ("c.mp4", "c.mkv"):
        colorize(path, tmp_path / name)
        with av.open(str(tmp_path / name)) as container:
            covers = [
                s for s in container.streams.video if s.disposition & s.disposition.attached_pic
            ]
            assert [bytes(next(container.demux(cover))) for cover in covers] == [picture.getvalue()]


# Frames without a time


@pytest.mark.parametrize(("name", "raw"), [("a.avi", False), ("a.h264", True), ("a.m2v", True)])
def test_frames_without_a_time_get_one(name: str, raw: bool, tmp_path: Path, colorize: Colorize):
    frames, codec = moving_shot(40), "mpeg2video" if name == "a.m2v" else "libx264"
    path = write_video(tmp_path / name, frames, codec=codec, **B_FRAMES)
    target = tmp_path / "b.mkv"
    result = colorize(path, target)
    assert result.frames == 40
    assert ("stores no times" if raw else "stores times of decoding only") in result.notes[0]
    with av.open(str(target)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=0.001)
    np.testing.assert_allclose(columns(target), columns(path), atol=1)
    assert (np.diff(columns(target)) > 0).all()


@pytest.mark.parametrize("name", ["a.avi", "a.h264", "a.m2v"])
def test_segments_without_times_are_the_same_frames(name: str, tmp_path: Path):
    codec = "mpeg2video" if name == "a.m2v" else "libx264"
    path = write_video(tmp_path / name, moving_shot(40), codec=codec, **B_FRAMES)
    assert_segments_match(path)


def assert_segments_match(path: Path) -> None:
    """Assert that segments have the frames of the analysis, and are decoded after a seek."""
    video = probe(path)
    analysis = analyse(video, lambda *_: None)
    shots = [Shot(0, 13), Shot(13, 26), Shot(26, len(analysis.timestamps))]
    for segment in split(video, analysis, shots):
        checksums = [checksum(frame) for frame in decode_segment(video, segment)]
        assert checksums == segment.checksums


def test_keyframes_that_a_decoder_does_not_mark_are_found(tmp_path: Path):
    path = write_video(
        tmp_path / "a.mov", moving_shot(40), codec="qtrle", pixel_format="rgb24", g="10"
    )
    assert analyse(probe(path), lambda *_: None).keyframes == [0, 10, 20, 30]
    assert_segments_match(path)


@pytest.mark.parametrize(
    ("name", "codec", "size"),
    [
        ("a.dv", "dvvideo", (720, 576)),
        ("a.avi", "libx264", (96, 64)),
        ("a.h264", "libx264", (96, 64)),
    ],
)
def test_frame_rate_is_that_of_the_stream(
    name: str, codec: str, size: tuple[int, int], tmp_path: Path
):
    path = write_video(tmp_path / name, still_shot(30, size=size), codec=codec)
    assert probe(path).frame_rate == 25


@pytest.mark.parametrize(
    ("stored", "mended"),
    [
        ([0, 10, 20], [0, 10, 20]),
        ([None, None, None], [0, 10, 20]),
        ([0, 20, 30, 10, 40], [0, 10, 20, 30, 40]),  # in the order of decoding
        ([0, 10, 10, 30], [0, 10, 20, 30]),
        ([None, 10, None, None, 40, None], [0, 10, 20, 30, 40, 50]),
        ([0, 10, 9000, 30, 40, 50], [0, 10, 20, 30, 40, 50]),
        ([0, 10, 20, 20], [0, 10, 20, 30]),
        ([0, 0, 20, 20, 40, 40], [0, 10, 20, 30, 40, 50]),
        ([100 + 10 * n for n in range(50)] + [10 * n for n in range(50)], None),
        ([0, 1, 1, 2], None),  # no time between 1 and 2
    ],
)
def test_times_are_mended(stored: list[int | None], mended: list[int] | None):
    assert mend_times(stored, Fraction(10)) == mended


# Damage


@pytest.mark.parametrize(("share", "what"), [(1.0, "lost"), (0.5, "damaged")])
def test_a_damaged_frame_costs_one_frame(
    share: float, what: str, tmp_path: Path, colorize: Colorize
):
    path = write_video(tmp_path / "a.mkv", moving_shot(40), g="10", bf="0")
    broken, target = damage(path, tmp_path / "broken.mkv", 25, share=share), tmp_path / "b.mkv"
    result = colorize(broken, target)
    assert result.notes == [f"damage at 0:00:01.00, 1 frame is {what}"]
    assert result.frames == (39 if what == "lost" else 40)
    found, before = columns(target), columns(path)
    np.testing.assert_allclose(found[:25], before[:25], atol=1)
    np.testing.assert_allclose(found[-10:], before[-10:], atol=1)
    assert_segments_match(broken)


def test_frames_of_another_size(tmp_path: Path, colorize: Colorize):
    usual, other = (
        write_video(tmp_path / f"{count}.h264", moving_shot(count, size), bf="0", g="10")
        for count, size in ((20, (96, 64)), (1, (64, 48)))
    )
    path = tmp_path / "a.h264"
    path.write_bytes(usual.read_bytes() + other.read_bytes() + usual.read_bytes())
    result = colorize(path, tmp_path / "b.mkv")
    assert result.frames == 40
    assert result.notes[1] == "damage at 0:00:00.80, 1 frame is lost"
    path.write_bytes(usual.read_bytes() + 3 * other.read_bytes())
    with pytest.raises(VideoError, match="changes its frame size after 20 frames; scale it to one"):
        colorize(path, tmp_path / "c.mkv")


def test_much_damage_is_refused(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", moving_shot(40), g="1")
    broken = damage(path, tmp_path / "broken.mkv", 20, 3)
    with pytest.raises(VideoError, match="is damaged or encrypted: 3 frames are lost, of 40, the"):
        colorize(broken, tmp_path / "b.mkv")


def test_a_film_that_is_cut_off_is_colorized(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", moving_shot(40), audio="flac")
    fast = tmp_path / "fast.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(fast), "w", options={"movflags": "faststart"}) as out,
    ):
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    for whole in (path, fast):
        content = whole.read_bytes()
        whole.write_bytes(content[: len(content) * 6 // 10])
        result = colorize(whole, tmp_path / f"b{whole.suffix}")
        assert 10 < result.frames < 30
        assert "as its file says: it may be cut off" in result.notes[-1]


def test_sound_with_times_that_descend_is_kept(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", still_shot(3), audio="mp3")
    wrong = tmp_path / "wrong.mkv"
    with av.open(str(path)) as source, av.open(str(wrong), "w") as out:
        streams = [out.add_stream_from_template(s, opaque=True) for s in source.streams]
        for number, packet in enumerate(p for p in source.demux() if p.size):
            if packet.stream_index == 1 and number > 4:
                packet.pts = packet.dts = 48
            packet.stream = streams[packet.stream_index]
            out.mux(packet)
    sounds = []
    for file in (wrong, tmp_path / "b.mkv", tmp_path / "b.mp4"):
        if file != wrong:
            colorize(wrong, file)
        with av.open(str(file)) as container:
            sounds.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
    assert len(sounds[0]) > 3
    assert sounds[0] == sounds[1] == sounds[2]


def test_damaged_sound_costs_its_packets(tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.ts", still_shot(20), audio="aac")
    content = path.read_bytes()
    header = content.index(b"\xff\xf1", len(content) // 2)
    path.write_bytes(content[: header + 2] + b"\xff\xff" + content[header + 4 :])
    result = colorize(path, tmp_path / "b.mkv")
    assert result.frames == 20
    assert result.notes == ["damage in stream 1, packets that are left out: 1"]


def test_frames_that_a_container_skips_are_told(tmp_path: Path, colorize: Colorize):
    path = write_video(
        tmp_path / "a.mkv",
        moving_shot(40),
        timestamps=[512 * (number + (number > 20)) for number in range(40)],
    )
    result = colorize(path, tmp_path / "b.mkv")
    assert result.notes == ["at 0:00:00.80, the file has no frame for 0.08 s"]


def test_places_of_damage_are_grouped():
    damaged = [DamagedFrame(10.0 * n, is_lost=n % 2 == 0) for n in range(12)]
    lines = describe_damage([*damaged, DamagedFrame(0.5, is_lost=False)])
    assert lines[0] == "0:00:00.00 to 0:00:00.50, 1 frame is lost and 1 frame is damaged"
    assert lines[1] == "at 0:00:10.00, 1 frame is damaged"
    assert lines[10:] == ["at 2 more places, 1 frame is lost and 1 frame is damaged"]


# Frames of unusual shapes and side data


@pytest.mark.parametrize("size", [(640, 40), (40, 640), (16, 16), (2, 2), (200, 2)])
def test_frames_of_any_shape(size: tuple[int, int], tmp_path: Path, colorize: Colorize):
    path = write_video(tmp_path / "a.mkv", still_shot(3, size=size), codec="ffv1")
    assert colorize(path, tmp_path / "b.mkv").frames == 3
    assert read_frames(tmp_path / "b.mkv")[0].shape == (*size[::-1], 3)


def test_side_data_that_pyav_does_not_know(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", still_shot(1), rotation=90)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))

    class MultiView:
        rotation = frame.rotation

        @property
        def side_data(self) -> Any:
            raise ValueError("29 is not a valid Type")

    assert frame.rotation == 90
    assert _is_multiview(MultiView())  # type: ignore[arg-type]
    assert not _is_multiview(frame)
    assert _display_matrix(MultiView()) == _display_matrix(frame)  # type: ignore[arg-type]
