"""Photoshop's image resources of a photo that is made upright."""

import struct

import numpy as np
import pytest

from photochrom.imagefile import photoshop
from photochrom.imagefile.turning import Crop, Turn
from support.metadata import resource

SIZE = (200, 100)
POINTS = {
    1: (0.25, 0.125),
    2: (0.75, 0.125),
    3: (0.75, 0.875),
    4: (0.25, 0.875),
    5: (0.125, 0.25),
    6: (0.875, 0.25),
    7: (0.875, 0.75),
    8: (0.125, 0.75),
}
"""The same point in the upright photo, as shares of width and height."""


def path(x: float, y: float) -> bytes:
    """Return a closed path of one knot, with the records before it."""
    fill_rule = struct.pack(">H24x", 6)
    length = struct.pack(">HH22x", 0, 1)
    knot = struct.pack(">H6i", 2, *[round(n * (1 << 24)) for n in (y, x)] * 3)
    return fill_rule + length + knot


def guides(x: float, y: float, size: tuple[int, int]) -> bytes:
    """Return a vertical guide at x and a horizontal one at y."""
    positions = [(round(x * size[0] * 32), 0), (round(y * size[1] * 32), 1)]
    records = [struct.pack(">iB", *record) for record in positions]
    return struct.pack(">4I", 1, 576, 576, 2) + b"".join(sorted(records, key=lambda r: r[4]))


@pytest.mark.parametrize("orientation", POINTS)
@pytest.mark.parametrize("number", [1025, 2000, 2997])
def test_paths_turn_with_the_photo(orientation: int, number: int):
    given = resource(number, path(*POINTS[1]), b"cut-out") + resource(2999, b"\7cut-out")
    expected = resource(number, path(*POINTS[orientation]), b"cut-out")
    upright = photoshop.make_upright(given, Turn(orientation, *SIZE))
    assert upright == expected + resource(2999, b"\7cut-out")


@pytest.mark.parametrize("orientation", POINTS)
def test_guides_turn_with_the_photo(orientation: int):
    upright = photoshop.make_upright(
        resource(1032, guides(*POINTS[1], SIZE)), Turn(orientation, *SIZE)
    )
    ((_, _, content), _) = photoshop.iterate_resources(upright)
    size = SIZE if orientation < 5 else SIZE[::-1]
    expected = guides(*POINTS[orientation], size)
    assert content[:16] == expected[:16]
    assert sorted([content[16:21], content[21:]]) == sorted([expected[16:21], expected[21:]])


def test_resolution_turns_and_thumbnails_are_removed():
    resolution = bytes(range(16))
    given = resource(0x0409, b"grey") + resource(0x03ED, resolution) + resource(0x040C, b"grey!")
    assert photoshop.make_upright(given, Turn(3, *SIZE)) == resource(0x03ED, resolution)
    turned = resource(0x03ED, resolution[8:] + resolution[:8])
    assert photoshop.make_upright(given, Turn(8, *SIZE)) == turned


def test_missing_padding_of_the_last_resource_is_added():
    whole = resource(2999, b"\7cut-out") + resource(2998, b"odd")
    assert photoshop.make_upright(whole[:-1], Turn(3, *SIZE)) == whole
    assert photoshop.crop(whole[:-1], Crop(*SIZE, 0, 10, 10, 100, 50)) == (whole, [])


def test_damaged_resources_are_kept():
    random = np.random.default_rng(0)
    whole = resource(1032, guides(0.5, 0.5, SIZE)) + resource(2000, path(0.5, 0.5), b"odd")
    for number in range(200):
        data = bytearray(whole)
        for index in random.integers(0, len(data), 3):
            data[index] = random.integers(256)
        cut = bytes(data[: random.integers(len(data))])
        assert len(photoshop.make_upright(cut, Turn(2 + number % 7, *SIZE))) <= len(cut) + 1
    assert photoshop.make_upright(whole[:-30], Turn(1, *SIZE)) == whole[:-30]
    far = resource(2000, struct.pack(">H6i", 1, *[-(2**31)] * 6))
    assert photoshop.make_upright(far, Turn(3, *SIZE)) == far
