from itertools import pairwise

import numpy as np
import pytest

from photochrom.video.smoothing import steady
from support.video import scene

H, W = 32, 48


def lightness(count: int, seed: int = 0, grain: float = 2.5) -> list[np.ndarray]:
    frames = scene(count, seed, grain=grain * 2.55, size=(W, H))
    return [frame.astype(np.float32) / np.float32(2.55) for frame in frames]


def follows(L: np.ndarray) -> np.ndarray:
    """What a network does: its colours depend on L*, grain and all."""
    return np.stack([0.6 * L - 20, 30 - 0.6 * L])


def change(frames: list[np.ndarray]) -> float:
    frames = [frame.astype(np.float32) for frame in frames]
    return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(frames)]))


def test_grain_does_not_flicker():
    seen = lightness(14)
    assert change(steady(seen, follows, [], [])) < change([follows(L) for L in seen]) / 4


def test_brightness_that_flickers_changes_no_colours():
    factors = np.random.default_rng(0).normal(1, 0.06, 14)
    seen = [L * np.float32(f) for L, f in zip(lightness(14), factors, strict=True)]
    alone = change([follows(L) for L in seen])
    assert change(steady(seen, follows, [], [])) < alone / 4


def test_colours_are_those_that_were_guessed():
    seen = lightness(14)
    mean = np.mean([follows(L) for L in seen], axis=0)
    for ab in steady(seen, follows, [], []):
        assert np.abs(ab - mean).mean() < 0.6


def test_nothing_is_left_after_a_cut():
    one, other = lightness(6), lightness(6, 1)
    joint = steady(one + other, follows, [6], [])
    for ab, alone in zip(joint[6:], steady(other, follows, [], []), strict=True):
        np.testing.assert_array_equal(ab, alone)
    np.testing.assert_array_equal(joint[:6], steady(one, follows, [], []))


def test_colours_follow_what_moves_and_leave_no_trail():
    random = np.random.default_rng(0)
    seen = []
    for number in range(12):
        L = np.full((H, W), 30, np.float32)
        L[10:22, 3 * number : 3 * number + 10] = 75
        seen.append(L + random.normal(0, 1, L.shape).astype(np.float32))
    for L, ab in zip(seen, steady(seen, follows, [], []), strict=True):
        off = np.abs(ab - follows(L)).mean(axis=0)
        assert off[L > 60].mean() < 4  # of 27 between square and ground
        assert off[L < 60].mean() < 2
        trail = off[12:20][(L[12:20] < 60)]
        assert (trail > 13).mean() < 0.02


def test_something_new_has_its_own_colour_at_once():
    seen = lightness(12, grain=1)
    for L in seen[6:]:
        L[8:24, 12:36] = 95 - L[8:24, 12:36] * 0.1
    for place in (5, 6, 7):
        ab = steady(seen, follows, [], [])[place]
        assert (
            np.abs(ab - follows(seen[place]))[:, 10:22, 15:33].mean() < 4
        )  # old and new are 30 apart


def test_a_flash_takes_the_colours_of_its_scene_and_does_not_change_them():
    seen = lightness(9)
    flash = [*seen[:4], np.full((H, W), 99, np.float32), *seen[4:]]
    without, with_ = steady(seen, follows, [], []), steady(flash, follows, [], [4])
    np.testing.assert_array_equal(with_[:4] + with_[5:], without)
    np.testing.assert_array_equal(with_[4], without[3])


@pytest.mark.parametrize("count", [1, 2])
def test_scenes_may_be_short(count: int):
    seen = lightness(count)
    assert len(steady(seen, follows, range(1, count), [0])) == count
