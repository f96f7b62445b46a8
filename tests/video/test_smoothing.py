from itertools import pairwise

import numpy as np
import pytest

from photochrom.video.smoothing import smooth
from support.video import still_shot

H, W = 32, 48


def lightness(count: int, seed: int = 0, grain: float = 2.5) -> list[np.ndarray]:
    frames = still_shot(count, seed, grain=grain * 2.55, size=(W, H))
    return [frame.astype(np.float32) / np.float32(2.55) for frame in frames]


def predict_ab(L: np.ndarray, index: int = 0) -> np.ndarray:
    """Return ab that depends on L*, including grain, as from a network."""
    return np.stack([0.6 * L - 20, 30 - 0.6 * L])


def change(frames: list[np.ndarray]) -> float:
    frames = [frame.astype(np.float32) for frame in frames]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


def test_grain_does_not_cause_flicker():
    inputs = lightness(14)
    assert change(smooth(inputs, predict_ab, [], [])) < change([predict_ab(L) for L in inputs]) / 4


def test_flickering_brightness_does_not_cause_flicker():
    factors = np.random.default_rng(0).normal(1, 0.06, 14)
    inputs = [L * np.float32(f) for L, f in zip(lightness(14), factors, strict=True)]
    alone = change([predict_ab(L) for L in inputs])
    assert change(smooth(inputs, predict_ab, [], [])) < alone / 4


def test_smoothed_ab_is_the_mean_of_the_predictions():
    inputs = lightness(14)
    mean = np.mean([predict_ab(L) for L in inputs], axis=0)
    for ab in smooth(inputs, predict_ab, [], []):
        assert np.abs(ab - mean).mean() < 0.6


def test_shots_are_independent():
    one, other = lightness(6), lightness(6, 1)
    joint = smooth(one + other, predict_ab, [6], [])
    for ab, alone in zip(joint[6:], smooth(other, predict_ab, [], []), strict=True):
        np.testing.assert_array_equal(ab, alone)
    np.testing.assert_array_equal(joint[:6], smooth(one, predict_ab, [], []))


def test_moving_object_keeps_its_colour_and_leaves_no_trail():
    random = np.random.default_rng(0)
    inputs = []
    for number in range(12):
        L = np.full((H, W), 30, np.float32)
        L[10:22, 3 * number : 3 * number + 10] = 75
        inputs.append(L + random.normal(0, 1, L.shape).astype(np.float32))
    for L, ab in zip(inputs, smooth(inputs, predict_ab, [], []), strict=True):
        error = np.abs(ab - predict_ab(L)).mean(axis=0)
        assert error[L > 60].mean() < 4  # square and background are 27 apart
        assert error[L < 60].mean() < 2
        trail = error[12:20][(L[12:20] < 60)]
        assert (trail > 13).mean() < 0.02


def test_new_object_has_its_own_colour_at_once():
    inputs = lightness(12, grain=1)
    for L in inputs[6:]:
        L[8:24, 12:36] = 95 - L[8:24, 12:36] * 0.1
    for index in (5, 6, 7):
        ab = smooth(inputs, predict_ab, [], [])[index]
        assert (
            np.abs(ab - predict_ab(inputs[index]))[:, 10:22, 15:33].mean() < 4
        )  # old and new are 30 apart


def test_flash_takes_the_colours_of_its_shot_and_does_not_change_them():
    inputs = lightness(9)
    flash = [*inputs[:4], np.full((H, W), 99, np.float32), *inputs[4:]]
    without, with_ = smooth(inputs, predict_ab, [], []), smooth(flash, predict_ab, [], [4])
    np.testing.assert_array_equal(with_[:4] + with_[5:], without)
    np.testing.assert_array_equal(with_[4], without[3])


@pytest.mark.parametrize("count", [1, 2])
def test_short_shots(count: int):
    inputs = lightness(count)
    assert len(smooth(inputs, predict_ab, range(1, count), [0])) == count
