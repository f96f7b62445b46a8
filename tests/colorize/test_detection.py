import numpy as np
import pytest

from photochrom.color import lab_to_rgb
from photochrom.colorize.detection import is_colored
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo

SHAPE = (240, 320)


@pytest.fixture
def L() -> np.ndarray:
    """L* of a scene, with grain."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 60
    noise = np.random.default_rng(0).normal(0, 4, SHAPE)
    return (50 + 40 * np.sin(3 * x + y) * np.cos(2 * y) + noise).clip(0, 100)


def make_photo(L: np.ndarray, a: object, b: object, dtype: type = np.uint8) -> Photo:
    lab = np.stack(np.broadcast_arrays(L, a, b), axis=2).astype(np.float32)
    return Photo(np.round(lab_to_rgb(lab) * np.iinfo(dtype).max).astype(dtype))


def stain(L: np.ndarray) -> np.ndarray:
    """Return a soft disk over a quarter of the photo, 0 to 1."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(y - 120, x - 160)
    return np.clip((90 - distance) / 30, 0, 1)


def quarters(L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a* and b* of four hues."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    hue = np.pi / 2 * ((y > 120) + 2 * (x > 160)) + 0.4
    return 25 * np.cos(hue), 25 * np.sin(hue)


def test_grey_photos_are_not_in_color(L: np.ndarray):
    assert not is_colored(make_photo(L, 0, 0))
    assert not is_colored(Photo(make_photo(L, 0, 0).pixels[..., :1]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_toned_photos_are_not_in_color(L: np.ndarray, dtype: type):
    sepia = make_photo(L, 8, 24, dtype)
    faded = make_photo(L, 12 * L / 100, 30 * (1 - L / 100), dtype)
    split = make_photo(L, np.where(L > 50, 5, -5), np.where(L > 50, 20, -20), dtype)
    assert not any(map(is_colored, (sepia, faded, split)))


def test_stained_photos_are_not_in_color(L: np.ndarray):
    assert not is_colored(make_photo(L, 6 * stain(L), 25 * stain(L)))


def test_a_color_target_or_mount_beside_the_photo_does_not_count(L: np.ndarray):
    a, b = quarters(L)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    margin = (y < 25) | (x < 35)
    assert not is_colored(make_photo(L, np.where(margin, a, 3), np.where(margin, b, 12)))


def test_color_noise_does_not_count(L: np.ndarray):
    pixels = make_photo(L, 0, 0).pixels.repeat(4, 0).repeat(4, 1)
    noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
    assert not is_colored(Photo((pixels + noise).clip(0, 255).astype(np.uint8)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos_of_several_hues_are_in_color(L: np.ndarray, dtype: type):
    assert is_colored(make_photo(L, *quarters(L), dtype))


def test_our_own_mark_means_color(L: np.ndarray):
    grey = make_photo(L, 0, 0)
    assert is_colored(Photo(grey.pixels, metadata=Metadata().with_mark("colours added")))


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 400), (17, 16)])
def test_tiny_photos_are_examined(size: tuple[int, int]):
    assert not is_colored(Photo(np.full((*size, 3), 90, np.uint8)))
