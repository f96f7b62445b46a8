from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photochrom.video.colors.shot_colors import ShotColors, learn
from support.video import still_shot

H, W = 32, 48
Learn = Callable[..., list[np.ndarray]]


def still(count: int, seed: int = 0, grain: float = 6) -> list[np.ndarray]:
    return still_shot(count, seed, grain=grain, size=(W, H))


def predict_ab(frame: np.ndarray, index: int = 0) -> np.ndarray:
    """Return ab that depends on the frame, including its grain, as from a network."""
    values = frame.astype(np.float32)
    return np.stack([0.24 * values - 20, 30 - 0.24 * values])


def drifting_ab(frame: np.ndarray, index: int) -> np.ndarray:
    """Return ab that becomes more and more orange."""
    return np.full((2, *frame.shape), index, np.float32)


def change(frames: Sequence[np.ndarray]) -> float:
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


@pytest.fixture
def colors(tmp_path: Path) -> Learn:
    """Return a function that learns the colours of frames, and returns their ab."""

    def run(
        frames: list[np.ndarray],
        predict: Callable[[np.ndarray, int], np.ndarray] = predict_ab,
        *,
        flashes: Sequence[int] = (),
        **options: Any,
    ) -> list[np.ndarray]:
        path = tmp_path / "shot"
        options = {"stops": [len(frames)], **options}
        learn(frames, lambda i: predict(frames[i], i), path, flashes=flashes, **options)
        shot = ShotColors(path, *frames[0].shape)
        return [shot.ab(i, L, is_flash=i in flashes) for i, L in enumerate(frames)]

    return run


def test_grain_does_not_cause_flicker(colors: Learn):
    frames = still(26)
    assert change(colors(frames)) < change([predict_ab(L) for L in frames]) / 10


def test_flickering_brightness_does_not_cause_flicker(colors: Learn):
    factors = np.random.default_rng(0).normal(1, 0.06, 26)
    frames = [
        (L * f).clip(0, 255).astype(np.uint8) for L, f in zip(still(26), factors, strict=True)
    ]
    assert change(colors(frames)) < change([predict_ab(L) for L in frames]) / 10


def test_colours_are_those_of_the_whole_shot_although_predictions_drift(colors: Learn):
    seen = []

    def predict(L: np.ndarray, index: int) -> np.ndarray:
        seen.append(index)
        return drifting_ab(L, index)

    for ab in colors(still(61), predict):
        assert np.abs(ab - ab.mean()).max() < 0.3
        assert np.abs(ab - np.average(seen, weights=[12, 24, 24, 12])).max() < 0.3
    assert seen == [0, 24, 48, 60]


def test_means_of_different_hues_keep_the_mean_chroma(colors: Learn):
    def predict(L: np.ndarray, index: int) -> np.ndarray:
        a, b = (20, 0) if index % 48 else (0, 20)
        return np.stack([np.full(L.shape, a), np.full(L.shape, b)]).astype(np.float32)

    for ab in colors(still(49), predict):
        assert np.abs(np.hypot(*ab) - 20).max() < 0.1


def test_parts_of_a_shot_are_independent(colors: Learn):
    one, other = still(6), still(6, 1)
    joint = colors(one + other, stops=[6, 12])
    np.testing.assert_array_equal(joint[:6], colors(one))
    np.testing.assert_array_equal(joint[6:], colors(other))


def test_moving_object_keeps_its_colour_and_leaves_no_trail(colors: Learn):
    random = np.random.default_rng(0)
    frames = []
    for number in range(12):
        L = np.full((H, W), 76, np.float32)
        L[10:22, 3 * number : 3 * number + 10] = 191
        frames.append((L + random.normal(0, 2.5, L.shape)).astype(np.uint8))
    for L, ab in zip(frames, colors(frames), strict=True):
        error = np.abs(ab - predict_ab(L)).mean(axis=0)
        assert error[L > 150].mean() < 4  # square and background are 27 apart
        assert error[L < 150].mean() < 2
        trail = error[12:20][L[12:20] < 150]
        assert (trail > 13).mean() < 0.02


def covered(count: int, times: range) -> list[np.ndarray]:
    """Return a still shot in which an object covers the middle for some time."""
    frames = still(count, grain=2)
    for index in times:
        frames[index][8:24, 12:36] = 240 - 0.1 * frames[index][8:24, 12:36]
    return frames


def test_new_object_has_its_own_colour_at_once(colors: Learn):
    frames = covered(16, range(7, 16))
    for index in (6, 7, 8):
        error = np.abs(colors(frames)[index] - predict_ab(frames[index]))
        assert error[:, 10:22, 15:33].mean() < 4  # old and new are 30 apart


def test_what_was_covered_for_a_while_has_the_same_colours_again(colors: Learn):
    ab = colors(covered(100, range(36, 61)), drifting_ab)
    before, after = ab[30][:, 10:22, 15:33], ab[66][:, 10:22, 15:33]
    assert np.median(np.abs(after - before)) < 1  # predictions differ by 36


def test_flash_takes_the_colours_of_its_shot_and_does_not_change_them(colors: Learn):
    frames = still(9)
    flash = [*frames[:4], np.full((H, W), 250, np.uint8), *frames[4:]]
    seen = []

    def predict(L: np.ndarray, index: int) -> np.ndarray:
        seen.append(index)
        return predict_ab(L)

    ab = colors(flash, predict, flashes=[4])
    np.testing.assert_array_equal(ab[4], ab[3])
    assert seen == [0, 3, 9]
    assert change(ab) < 0.3


def test_known_colours_win_over_predictions_for_the_whole_shot(colors: Learn):
    known = np.full((2, H, W), 33, np.float32)
    for ab in colors(still(61), drifting_ab, fixed={20: known}):
        assert np.abs(ab - known).max() < 0.5


def test_between_known_colours_each_counts_by_its_distance(colors: Learn):
    known = {index: np.full((2, H, W), value, np.float32) for index, value in ((12, 10), (60, 50))}
    means = [ab.mean() for ab in colors(still(73), drifting_ab, fixed=known)]
    for index, value in ((0, 10), (12, 10), (24, 20), (36, 30), (48, 40), (60, 50), (72, 50)):
        assert abs(means[index] - value) < 3


def test_the_first_frame_to_be_asked_for_may_be_any(tmp_path: Path):
    frames = still(30, grain=1)
    learn(frames, lambda i: predict_ab(frames[i]), tmp_path / "a", stops=[30])
    whole, part = (ShotColors(tmp_path / "a", H, W) for _ in range(2))
    expected = [whole.ab(index, L) for index, L in enumerate(frames)]
    for index in range(17, 30):
        assert np.abs(part.ab(index, frames[index]) - expected[index]).mean() < 0.3


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("flashes", [[], [0], [0, 1]])
def test_short_shots(colors: Learn, count: int, flashes: list[int]):
    assert len(colors(still(count), flashes=flashes)) == count


@pytest.mark.parametrize("shape", [(9, 256), (256, 9), (1, 256)])
def test_frames_of_any_shape(colors: Learn, shape: tuple[int, int]):
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, shape).astype(np.uint8) for _ in range(4)]
    assert [ab.shape for ab in colors(frames)] == [(2, *shape)] * 4
