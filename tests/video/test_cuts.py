import itertools

import numpy as np

from photochrom.video.shots.cuts import CutDetector, optical_flow
from support.video import still_shot

SIZE = (96, 64)


def detect(frames: list[np.ndarray]) -> tuple[list[int], list[int]]:
    detector = CutDetector()
    for frame in frames:
        detector.add(frame)
    detector.finish()
    return detector.cuts, detector.flashes


def pan(count: int, seed: int, *, speed: int = 0, flicker: float = 0.0) -> list[np.ndarray]:
    """Return a pan over an image, with grain."""
    random = np.random.default_rng(seed)
    wide = still_shot(1, seed, grain=0, size=(400, 64))[0]
    views = [wide[:, speed * n : speed * n + 96] for n in range(count)]
    frames = [view * random.normal(1, flicker) + random.normal(0, 2, (64, 96)) for view in views]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def test_cuts_are_detected_despite_grain_pans_and_flicker():
    shots = (
        pan(7, 0),
        pan(9, 1, speed=6),
        pan(8, 2, flicker=0.1),
        pan(3, 3),
    )
    assert detect([*itertools.chain(*shots)]) == ([0, 7, 16, 24], [])


def test_flash_is_no_cut():
    for length in (1, 2):
        frames = pan(12, 0)
        frames[6 : 6 + length] = [np.full((64, 96), 250, np.uint8)] * length
        assert detect(frames) == ([0], list(range(6, 6 + length)))


def test_frames_of_a_flash_may_differ_from_each_other():
    frames = pan(12, 0)
    frames[6], frames[7] = np.full((64, 96), 250, np.uint8), pan(1, 1)[0]
    assert detect(frames) == ([0], [6, 7])


def test_fade_and_dark_frames_are_no_cuts():
    frames = pan(16, 0)
    faded = [frame * max(0.0, 1 - n / 12) for n, frame in enumerate(frames)]
    random = np.random.default_rng(0)
    dark = [random.normal(6, 2, (64, 96)) for _ in range(6)]
    frames = [np.clip(frame, 0, 255).astype(np.uint8) for frame in faded + dark]
    assert detect(frames) == ([0], [])


def test_short_videos():
    assert detect([]) == ([0], [])
    assert detect(pan(1, 0)) == ([0], [])
    assert detect(pan(1, 0) + pan(1, 1)) == ([0, 1], [])


def test_flow_does_not_depend_on_earlier_calls():
    target, source, other = (still_shot(1, seed, size=(85, 64))[0] for seed in range(3))
    before = optical_flow(target, source)
    optical_flow(other, source)
    assert (optical_flow(target, source) == before).all()
