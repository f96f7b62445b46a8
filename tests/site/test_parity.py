"""The engine of the static site makes the pixels of photochrom, in Node."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from benchmarks.site_parity import Engine, compare, missing_reason, start_engine
from skimage import data

from photochrom.color import icc
from photochrom.colorize.colorizer import Colorizer
from photochrom.imagefile.metadata import Metadata
from photochrom.imagefile.photo import Photo
from support.icc_profiles import GREYS, SPACES

pytestmark = pytest.mark.skipif(
    missing_reason() is not None, reason=f"the site's engine cannot run: {missing_reason()}"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with start_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def colorizer() -> Colorizer:
    return Colorizer(device="cpu", threads=1)


def sample(name: str, width: int, height: int) -> Photo:
    """Return a part of a sample of scikit-image."""
    return Photo(np.atleast_3d(getattr(data, name)())[:height, :width])


def enlarged(photo: Photo, width: int, height: int) -> Photo:
    return Photo(cv2.resize(photo.pixels, (width, height), interpolation=cv2.INTER_CUBIC))


def tagged(photo: Photo, profile: bytes) -> Photo:
    return Photo(photo.pixels, photo.alpha, icc.read_profile(profile), Metadata(icc=profile))


def with_alpha(photo: Photo) -> Photo:
    ramp = np.linspace(64, 255, photo.pixels[..., 0].size).reshape(photo.pixels.shape[:2])
    return Photo(photo.pixels, ramp.astype(np.uint8))


HINTS = [{"x": 60, "y": 90, "color": "#b22222"}, {"x": 200, "y": 30, "color": "original"}]
CASES: dict[str, tuple[Photo, dict[str, Any]]] = {
    "colour": (sample("astronaut", 300, 240), {}),
    "grey": (sample("camera", 420, 512), {}),
    "smaller than the network's input": (sample("coffee", 120, 90), {}),
    "long": (sample("coffee", 600, 60), {}),
    "large, with strong colours": (
        enlarged(sample("chelsea", 451, 300), 900, 600),
        {"saturation": 2.5},
    ),
    "with its own colours": (sample("coffee", 400, 300), {"strength": 0.4}),
    "another size": (sample("coffee", 400, 300), {"size": 128}),
    "Adobe RGB": (tagged(sample("coffee", 300, 250), SPACES["adobe"]), {}),
    "a profile of grey": (tagged(sample("camera", 300, 250), GREYS["dot gain"]), {}),
    "turned and cropped": (
        sample("astronaut", 400, 300),
        {"turn": 90, "crop": (10, 20, 250, 300)},
    ),
    "straightened": (sample("astronaut", 400, 300), {"turn": 270, "straighten": 3.5}),
    "with alpha, straightened": (with_alpha(sample("coffee", 300, 250)), {"straighten": -2}),
    "hints in a profile of grey": (
        tagged(sample("camera", 300, 250), GREYS["gamma 2.2"]),
        {"hints": HINTS[:1]},
    ),
    "hints": (sample("astronaut", 300, 240), {"hints": HINTS, "turn": 180}),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_equal(engine: Engine, colorizer: Colorizer, name: str):
    photo, look = CASES[name]
    comparison = compare(colorizer, engine, photo, **look)
    # Of pixels that were interpolated some are rounded the other way, before the network.
    assert comparison.ab <= (0.15 if "straighten" in look else 0.05)
    assert comparison.within_1 >= 0.99
    assert comparison.largest <= 3


def test_refusals_are_those_of_photochrom(engine: Engine, colorizer: Colorizer):
    photo = sample("astronaut", 300, 240)
    for look in ({"size": 15}, {"saturation": 5}, {"crop": (0, 0, 301, 5)}, {"turn": 45}):
        with pytest.raises(ValueError, match=r"has to be|reaches out of") as expected:
            colorizer(photo, **look)
        with pytest.raises(RuntimeError) as actual:
            engine.colorize(photo, **look)
        assert str(actual.value) == str(expected.value)
