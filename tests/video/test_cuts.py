import numpy as np

from photochrom.video.cuts import Cuts
from support.video import scene

SIZE = (96, 64)


def found(frames: list[np.ndarray]) -> tuple[list[int], list[int]]:
    cuts = Cuts()
    for frame in frames:
        cuts.add(frame)
    cuts.finish()
    return cuts.cuts, cuts.flashes


def camera(count: int, seed: int, *, speed: int = 0, flicker: float = 0.0) -> list[np.ndarray]:
    """A pan over a picture, with grain."""
    random = np.random.default_rng(seed)
    wide = scene(1, seed, grain=0, size=(400, 64))[0]
    views = [wide[:, speed * n : speed * n + 96] for n in range(count)]
    frames = [view * random.normal(1, flicker) + random.normal(0, 2, (64, 96)) for view in views]
    return [np.clip(frame, 0, 255).astype(np.uint8) for frame in frames]


def test_cuts_are_found_and_nothing_else_is_one():
    still, pan, flickering = (
        camera(7, 0),
        camera(9, 1, speed=6),
        camera(8, 2, flicker=0.1),
    )
    assert found(still + pan + flickering + camera(3, 3)) == ([0, 7, 16, 24], [])


def test_a_flash_is_no_cut():
    for length in (1, 2):
        frames = camera(12, 0)
        frames[6 : 6 + length] = [np.full((64, 96), 250, np.uint8)] * length
        assert found(frames) == ([0], list(range(6, 6 + length)))


def test_a_fade_and_the_dark_are_no_cuts():
    frames = camera(16, 0)
    faded = [frame * max(0.0, 1 - n / 12) for n, frame in enumerate(frames)]
    random = np.random.default_rng(0)
    dark = [random.normal(6, 2, (64, 96)) for _ in range(6)]
    all_ = [np.clip(frame, 0, 255).astype(np.uint8) for frame in faded + dark]
    assert found(all_) == ([0], [])


def test_a_film_may_be_short():
    assert found([]) == ([0], [])
    assert found(camera(1, 0)) == ([0], [])
    assert found(camera(1, 0) + camera(1, 1)) == ([0, 1], [])
