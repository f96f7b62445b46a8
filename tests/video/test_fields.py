from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from photochrom.cli import main
from photochrom.errors import PhotochromError, VideoError
from photochrom.video.pipeline import colorize_video
from photochrom.video.reading.field_detection import detect_fields
from photochrom.video.reading.fields import FieldKind, Fields, make_progressive
from photochrom.video.reading.frames import to_photo
from photochrom.video.reading.source import Video, decode, probe
from photochrom.video.shots.analysis import analyse
from photochrom.video.shots.parts import TimeRange, analyse_part
from photochrom.video.shots.shot import find_shots
from photochrom.video.shots.splitting import decode_segment, shot_segment
from support.video import Frame, read_frames, read_preserved, still_shot, write_video

HEIGHT, WIDTH = 96, 192
TELECINE = [(0, 0), (1, 1), (1, 2), (2, 3), (3, 3)]
"""3:2 pulldown: the film frames of the first and the second field of five frames."""


def picture(time: float) -> Frame:
    """Return a soft pattern that moves by 3 px a unit of time, before a background."""
    random = np.random.default_rng(0)
    background = cv2.resize(random.uniform(40, 200, (6, 12)), (WIDTH, HEIGHT), interpolation=2)
    pattern = cv2.resize(random.uniform(20, 235, (6, 60)), (8 * WIDTH, HEIGHT), interpolation=2)
    shift = np.array([[1, 0, -3.0 * time], [0, 1, 0]])
    moved = cv2.warpAffine(pattern, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    moved[:16] = background[:16]
    return np.clip(moved, 0, 255).astype(np.uint8)


def weave(first: Frame, second: Frame, *, top_first: bool) -> Frame:
    frame = first.copy()
    frame[int(top_first) :: 2] = second[int(top_first) :: 2]
    return frame


def interlaced(count: int, *, top_first: bool, start: int = 0) -> list[Frame]:
    return [
        weave(picture(2 * n), picture(2 * n + 1), top_first=top_first)
        for n in range(start, start + count)
    ]


def telecined(count: int, *, top_first: bool) -> list[Frame]:
    film = [picture(2 * n) for n in range(count)]
    return [
        weave(film[a + n // 5 * 4], film[b + n // 5 * 4], top_first=top_first)
        for n in range(count)
        for a, b in [TELECINE[n % 5]]
    ]


def progressive(count: int) -> list[Frame]:
    return [picture(2 * n) for n in range(count)]


def read_luma(video: Video) -> list[Frame]:
    """Return the frames as `to_photo` reads them, grey and at 8 bits."""
    photos = [to_photo(frame, video).pixels for frame in decode(video)]
    return [(pixels[..., 0] >> (8 * pixels.itemsize - 8)).astype(np.uint8) for pixels in photos]


def open_video(folder: Path, frames: Sequence[Frame], fields: Fields, **options: str) -> Video:
    return replace(probe(write_video(folder / "a.mkv", frames, **options)), fields=fields)


def psnr(one: Frame, other: Frame) -> float:
    return float(cv2.PSNR(one, other))


def count_combed(frame: Frame) -> int:
    """Return the number of px that differ from those above and below in the same direction."""
    upper, lower = (frame[1:-1].astype(int) - other for other in (frame[:-2], frame[2:]))
    return int(np.count_nonzero((np.minimum(upper, lower) > 8) | (np.maximum(upper, lower) < -8)))


FLAGGED = {"x264-params": "tff=1"}


@pytest.mark.parametrize(
    ("frames", "options", "fields"),
    [
        (progressive(12), {}, Fields()),
        (progressive(12), FLAGGED, Fields()),
        ([picture(0)] * 12, FLAGGED, Fields()),
        ([picture(0)], FLAGGED, Fields()),
        (still_shot(40, grain=20), FLAGGED, Fields()),
        ([picture(0) // (4 + n % 2) * 4 for n in range(12)], {}, Fields()),  # flicker
        ([picture(n // 2 * 4) for n in range(12)], {}, Fields()),  # each picture twice
        (interlaced(12, top_first=True), {}, Fields("tff")),
        (interlaced(12, top_first=True), FLAGGED, Fields("tff")),
        (interlaced(12, top_first=False), {}, Fields("bff", top_first=False)),
        (interlaced(12, top_first=False), FLAGGED, Fields("bff", top_first=False)),
        (telecined(15, top_first=True), {}, Fields("telecine")),
        (telecined(15, top_first=False), {}, Fields("telecine", top_first=False)),
        # Film at the video's rate, whose fields were paired with a shift.
        (
            [weave(picture(2 * n), picture(2 * n + 2), top_first=True) for n in range(12)],
            {},
            Fields("telecine"),
        ),
        (progressive(12) + interlaced(12, top_first=True, start=12), {}, Fields("telecine")),
    ],
)
def test_fields_are_found_from_the_pictures(
    frames: list[Frame], options: dict[str, str], fields: Fields, tmp_path: Path
):
    assert detect_fields(open_video(tmp_path, frames, Fields(), **options)) == fields


def test_a_long_video_is_sampled_in_all_its_parts(tmp_path: Path):
    frames = [picture(2 * n) for n in range(40)]
    small = [frame[:32, :64] for frame in frames * 6 + interlaced(60, top_first=False) * 4]
    video = open_video(tmp_path, small, Fields(), preset="ultrafast")
    assert video.estimated_frames == 480
    assert detect_fields(video) == Fields("telecine", top_first=False)


def test_a_kind_that_is_given_wins(tmp_path: Path):
    video = open_video(tmp_path, interlaced(12, top_first=False), Fields())
    assert detect_fields(video, "progressive") == Fields()
    assert detect_fields(video, "tff") == Fields("tff")
    assert detect_fields(video, "telecine") == Fields("telecine", top_first=False)


FORMATS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"codec": "ffv1", "pixel_format": "yuv422p10le"},
        {"codec": "ffv1", "pixel_format": "gray"},
        {"codec": "ffv1", "pixel_format": "gray10le"},
        {"codec": "ffv1", "pixel_format": "bgr0"},
        {"qp": "0", "pixel_format": "yuvj420p"},
        {"codec": "rawvideo", "pixel_format": "uyvy422"},
    ],
    ids=lambda options: options.get("pixel_format", "h264"),
)
ORDERS = pytest.mark.parametrize("top_first", [True, False])


@FORMATS
@ORDERS
def test_telecine_becomes_film(top_first: bool, options: dict[str, str], tmp_path: Path):
    film = read_luma(open_video(tmp_path, progressive(13), Fields(), **options))
    fields = Fields("telecine", top_first=top_first)
    frames = read_luma(open_video(tmp_path, telecined(15, top_first=top_first), fields, **options))
    assert len(frames) == 15
    for number, frame in enumerate(frames):
        film_frames = film[number * 4 // 5 :][:2]
        assert max(psnr(frame, one) for one in film_frames) > 40


@FORMATS
@ORDERS
@pytest.mark.parametrize("is_mixed", [False, True])
def test_interlaced_frames_have_the_time_of_the_first_field(
    is_mixed: bool, top_first: bool, options: dict[str, str], tmp_path: Path
):
    truth = read_luma(open_video(tmp_path, progressive(8), Fields(), **options))
    woven = open_video(tmp_path, interlaced(8, top_first=top_first), Fields(), **options)
    order: FieldKind = "tff" if top_first else "bff"
    fields = Fields("telecine" if is_mixed else order, top_first=top_first)
    frames = read_luma(replace(woven, fields=fields))
    assert len(frames) == 8
    for frame, before, expected in zip(frames, read_luma(woven), truth, strict=True):
        assert psnr(frame, expected) > psnr(before, expected) + 3
        assert count_combed(before) > 500
        assert count_combed(frame) < 100


def test_progressive_frames_are_not_changed(tmp_path: Path):
    frames = progressive(3)
    video = open_video(tmp_path, frames, Fields(), **FLAGGED)
    with av.open(str(video.path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    assert not any(frame.interlaced_frame for frame in decode(video))
    for frame, original in zip(read_luma(video), frames, strict=True):
        assert psnr(frame, original) > 50


@pytest.mark.parametrize("fields", [Fields("tff"), Fields("telecine")], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 24])
def test_frames_are_the_same_wherever_decoding_starts(fields: Fields, count: int, tmp_path: Path):
    frames = (telecined(10, top_first=True) + interlaced(14, top_first=True, start=8))[:count]
    path = write_video(tmp_path / "a.mp4", frames, g="6", bf="2")
    video = replace(probe(path), fields=fields)
    raw = list(decode(replace(video, fields=Fields())))
    all_frames = {frame.pts: frame for frame in decode(video)}

    def describe(frame: av.VideoFrame) -> tuple[object, ...]:
        return frame.pts, frame.time_base, frame.duration, frame.key_frame, frame.time

    assert list(map(describe, all_frames.values())) == list(map(describe, raw))
    for number, key in enumerate(raw):
        if key.key_frame:
            after = list(decode(video, key.pts))
            assert len(after) == max(0, count - number - 2)
            for frame in after:
                expected = all_frames[frame.pts]
                assert not frame.interlaced_frame
                np.testing.assert_array_equal(frame.to_ndarray(), expected.to_ndarray())


@pytest.mark.parametrize("fields", [Fields(), Fields("tff"), Fields("telecine")], ids=str)
def test_segments_have_the_frames_of_the_whole(fields: Fields, tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", telecined(20, top_first=True), g="5", bf="1")
    video = replace(probe(path), fields=fields)
    frames = [frame.to_ndarray() for frame in decode(video)]
    analysis = analyse(video, lambda *_: None)
    (shot,) = find_shots(analysis)
    for first, stop in [(n, n + length) for length in (1, 7) for n in range(0, 20 - length)]:
        part = replace(shot, first=first, stop=stop)
        decoded = [one.to_ndarray() for one in decode_segment(video, shot_segment(analysis, part))]
        np.testing.assert_array_equal(decoded, frames[first:stop])


@pytest.mark.parametrize("fields", [Fields("tff"), Fields("telecine")], ids=str)
def test_a_part_has_the_frames_of_the_whole(fields: Fields, tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", telecined(20, top_first=True), g="5", bf="1")
    video = replace(probe(path), fields=fields)
    frames = [frame.to_ndarray() for frame in decode(video)]
    for first in (1, 10, 12, 15):
        part = TimeRange(Fraction(first, 25), Fraction(18, 25))
        analysis = analyse_part(video, part, lambda *_: None)
        (shot,) = find_shots(analysis)
        decoded = [one.to_ndarray() for one in decode_segment(video, shot_segment(analysis, shot))]
        np.testing.assert_array_equal(decoded, frames[first:18])


def test_pictures_are_progressive(tmp_path: Path):
    for number in range(3):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    video = probe(tmp_path / "%d.png")
    assert detect_fields(video) == Fields()
    with pytest.raises(VideoError, match="are pictures, which are progressive; leave out --field"):
        detect_fields(video, "tff")


def test_interlaced_video_becomes_progressive(tmp_path: Path, tiny_onnx: Path):
    path = write_video(
        *(tmp_path / "a.mkv", interlaced(34, top_first=False)), audio="flac", subtitles="subrip"
    )
    lines: list[str] = []
    targets = tmp_path / "b.mkv", tmp_path / "c.mkv"
    for processes, target in enumerate(targets, 1):
        options = {"processes": processes, "notify": lines.append, "model": tiny_onnx}
        result = colorize_video(path, target, **options)  # type: ignore[arg-type]
        assert result.fields == Fields("bff", top_first=False)
    assert lines == [f"{path} is interlaced, bottom field first: deinterlaced"] * 2
    assert targets[0].read_bytes() == targets[1].read_bytes()
    assert read_preserved(targets[0]) == read_preserved(path)
    assert max(count_combed(frame) for frame in read_frames(targets[0], "gray")) < 100
    with av.open(str(targets[0])) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def test_field_is_an_option_and_a_setting(tmp_path: Path, tiny_onnx: Path):
    path = write_video(tmp_path / "a.mkv", progressive(3))
    shots = tmp_path / "a.json"
    command = ["video", str(path), "--shots", str(shots), "--field", "telecine"]
    result = CliRunner().invoke(main, command)
    assert "is telecined or partly interlaced, top field first: fields matched" in result.stderr
    target = tmp_path / "b.mkv"
    options = {"shots": shots, "processes": 1, "model": tiny_onnx}  # keep the checkpoint
    assert colorize_video(path, target, **options).fields == Fields()  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="was started with a different field"):
        colorize_video(path, target, field="tff", overwrite=True, **options)  # type: ignore[arg-type]


def test_frames_that_cannot_be_filtered_are_refused():
    frame = av.VideoFrame(2, 2, "yuv420p")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    with pytest.raises(PhotochromError, match="2x2 px in yuv420p cannot be deinterlaced"):
        list(make_progressive([frame], Fields("tff")))
