from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from photochrom.colorize.hints import Hint
from photochrom.errors import VideoError
from photochrom.imagefile.photo import Photo
from photochrom.video.reading.frames import to_frame, to_photo
from photochrom.video.reading.source import Video, probe
from photochrom.video.shots.analysis import analyse
from photochrom.video.shots.shot import HeldHint, Shot, find_shots, give_hints
from photochrom.video.shots.splitting import Segment, decode_segment, split
from support.video import still_shot, write_video


def make_video(*, matrix: int = 5, full_range: bool = False, high_bit_depth: bool = False) -> Video:
    return Video(
        path=Path("a"),
        stream_index=0,
        width=64,
        height=48,
        high_bit_depth=high_bit_depth,
        matrix=matrix,
        full_range=full_range,
        color_tags=(2, 2, 2, 1),
        quarter_turns=0,
        display_matrix=None,
        pixel_aspect=None,
        frame_rate=Fraction(25),
        time_base=Fraction(1),
        estimated_frames=0,
        expected_end=0.0,
        stores_durations=False,
    )


def ignore_progress(*_: object) -> None:
    pass


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_grey_frame_round_trip_is_exact(full_range: bool, bits: int):
    low, high = (0, 255) if full_range else (16, 235)
    low, high = low << (bits - 8), (high << (bits - 8)) + (3 if full_range and bits > 8 else 0)
    dtype, pixel_format = (np.uint8, "yuv420p") if bits == 8 else (np.uint16, "yuv420p10le")
    luma = np.linspace(low, high, 64).astype(dtype)[None].repeat(48, 0)
    planes = np.concatenate([luma, np.full((24, 64), 1 << (bits - 1), dtype)])
    frame = av.VideoFrame.from_ndarray(planes, format=pixel_format)
    video = make_video(full_range=full_range, high_bit_depth=bits > 8)
    photo = to_photo(frame, video)
    assert photo.pixels.shape == (48, 64, 1)
    assert (photo.pixels.min(), photo.pixels.max() >> (photo.pixels.itemsize * 8 - 8)) == (0, 255)
    colour = Photo(photo.pixels.repeat(3, axis=2))
    back = to_frame(colour, video, pixel_format).to_ndarray()
    # swscale is not exact at 10 bits.
    assert np.abs(back.astype(int) - planes).max() <= (0 if bits == 8 else 4)


@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114)])
def test_frames_use_the_matrix_of_the_video(matrix: int, red: float, blue: float):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:] = (200, 90, 40)
    video = make_video(matrix=matrix)
    frame = to_frame(Photo(rgb), video, "yuv420p")
    y = 16 + 219 / 255 * (red * 200 + (1 - red - blue) * 90 + blue * 40)
    assert abs(int(frame.to_ndarray()[5, 5]) - y) < 1
    assert np.abs(to_photo(frame, video).pixels.astype(int) - rgb).max() <= 3


def test_rotated_video_is_colorized_upright(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", still_shot(2), rotation=90)
    video = probe(path)
    assert video.quarter_turns == 1
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    photo = to_photo(frame, video)
    assert photo.size == (64, 96)
    grey = frame.to_ndarray()[:64].astype(int)
    upright = np.clip((grey - 16) * 255 / 219, 0, 255)
    np.testing.assert_allclose(np.rot90(photo.pixels[..., 0], -1), upright, atol=1)
    back = to_frame(Photo(photo.pixels.repeat(3, axis=2)), video, "yuv420p").to_ndarray()
    np.testing.assert_array_equal(back[:64], np.clip(grey, 16, 235))


def test_segments_begin_at_cuts(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", still_shot(20) + still_shot(60, 1))
    video = probe(path)
    analysis = analyse(video, ignore_progress)
    assert analysis.cuts == [0, 20]
    assert analysis.timestamps == [512 * n for n in range(80)]
    assert analysis.durations == [512] * 80
    shots = find_shots(analysis)
    segments = list(split(video, analysis, shots))
    assert [(s.first, s.count) for s in segments] == [(0, 20), (20, 30), (50, 30)]


@pytest.mark.parametrize(
    ("interval", "counts"), [("12", [25, 25, 25, 25]), ("40", [25, 25, 30, 20])]
)
def test_segments_begin_at_keyframes_if_decoding_would_start_long_before(
    tmp_path: Path, interval: str, counts: list[int]
):
    path = write_video(tmp_path / "a.mp4", still_shot(100), g=interval)
    video = probe(path)
    analysis = analyse(video, ignore_progress)
    assert [s.count for s in split(video, analysis, find_shots(analysis))] == counts


def test_names_of_segments_change_with_their_shots_only(tmp_path: Path):
    path = write_video(tmp_path / "a.mp4", still_shot(20) + still_shot(60, 1))
    video = probe(path)
    analysis = analyse(video, ignore_progress)
    shots = find_shots(analysis)

    def names(shots: list[Shot]) -> list[str]:
        return [segment.name for segment in split(video, analysis, shots)]

    one, *other = names(shots)
    assert len({one, *other}) == 3
    assert names(shots) == [one, *other]
    hinted = give_hints(shots, [HeldHint(Hint(1, 2, "red"), 0, 20)])
    assert names(hinted)[0] != one
    assert names(hinted)[1:] == other
    moved = [Shot(0, 20), Shot(20, 50), Shot(50, 80)]
    assert names(moved)[0] == one
    assert not {*names(moved)[1:]} & {*other}


def test_segment_is_decoded_after_seeks_to_a_wrong_position(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", still_shot(30))
    video = probe(path)
    analysis = analyse(video, ignore_progress)
    (only,) = split(video, analysis, find_shots(analysis))
    assert only.count == 30
    timestamps, checksums = analysis.timestamps[14:20], analysis.checksums[14:20]

    def decode(timestamps: list[int], keyframes: list[int]) -> list[int | None]:
        segment = Segment("a", "b", Shot(0, 30), 14, timestamps, keyframes, checksums, False)
        return [frame.pts for frame in decode_segment(video, segment)]

    too_late = analysis.timestamps[24]
    for keyframes in ([], [too_late], [too_late, analysis.timestamps[12]]):
        assert decode(timestamps, keyframes) == timestamps
    with pytest.raises(VideoError, match="was changed since it was analysed"):
        decode([timestamp + 1 for timestamp in timestamps], [])
