import numpy as np
import pytest
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import FloatArray
from photochrom.color.difference import difference_at_equal_lightness
from photochrom.colorize.colorizer import Colorizer
from photochrom.colorize.hinting import draw_hints
from photochrom.colorize.hints import Hint, PlacedHint
from photochrom.imagefile.photo import Photo


class Halfway:
    """A model that follows hints by half, and beyond them in all of the photo by a fifth."""

    name = "halfway"
    size = 96
    takes_hints = True

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        ab = np.concatenate([np.full_like(L, 4), np.full_like(L, 6)], axis=1)
        if hints is None or not hints[:, 2].any():
            return ab
        known = hints[:, 2:] > 0
        mean = (hints[:, :2] * known).sum((2, 3), keepdims=True) / known.sum()
        return ab + np.where(known, 0.5 * (hints[:, :2] - ab), 0.2 * (mean - ab))


def make_photo(dtype: type = np.uint8) -> Photo:
    """Return a light square, 100 px wide, with a stripe of 9 px, in a dark photo of 240x180."""
    grey = np.full((180, 240), 60, np.float32)
    grey[40:140, 30:130] = 180
    grey[85:94, 30:130] = 110
    grey += np.random.default_rng(0).normal(0, 1.5, grey.shape)
    scale = 257 if dtype == np.uint16 else 1
    return Photo((grey * scale).astype(dtype)[..., None])


def to_lab(photo: Photo) -> NDArray[np.float32]:
    return color.rgb_to_lab(photo.pixels / np.float32(np.iinfo(photo.pixels.dtype).max))


def error_at(lab: FloatArray, hint: Hint, reach: int = 3) -> float:
    """Return the mean CIEDE2000 around a hint to its hue and chroma at the photo's L*."""
    part = lab[hint.y - reach : hint.y + reach + 1, hint.x - reach : hint.x + reach + 1]
    part = part.reshape(-1, 3)
    asked = np.zeros(2, np.float32)
    if hint.rgb:
        asked = color.rgb_to_lab(np.array(hint.rgb, np.float32) / np.float32(255))[1:]
    asked = np.repeat(asked[:, None], len(part), axis=1)
    asked = color.limit_chroma(color.SRGB, part[:, 0].copy(), asked)
    return float(difference_at_equal_lightness(part[:, 1:], asked.T).mean())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["firebrick", "royalblue", "seagreen", "gold", "neutral"])
def test_a_color_is_at_its_place_and_fills_what_belongs_to_it(name: str, dtype: type):
    photo = make_photo(dtype)
    hint = Hint(70, 60, name)
    colorizer = Colorizer(Halfway())
    plain, lab = to_lab(colorizer(photo)), to_lab(colorizer(photo, hints=[hint]))
    assert error_at(lab, hint) < 1.5
    assert error_at(plain, hint) > 4
    upper, ground = np.s_[46:80, 36:124], np.s_[:, 150:]
    filled = lab[upper].reshape(-1, 3)[:, 1:]
    assert difference_at_equal_lightness(filled, lab[60, 70, 1:]).mean() < 3
    moved = np.hypot(*np.moveaxis((lab - plain)[ground][..., 1:], -1, 0))
    assert moved.mean() < 1
    assert np.abs(lab[..., 0] - plain[..., 0]).max() < 1


def test_a_thin_stripe_is_hit():
    hint = Hint(80, 89, "firebrick")
    lab = to_lab(Colorizer(Halfway())(make_photo(), hints=[hint]))
    assert error_at(lab, hint, reach=2) < 3
    above, below = lab[60:78, 40:120, 1:], lab[101:120, 40:120, 1:]
    assert np.hypot(*lab[89, 40:120, 1:].mean(0)) > 40
    for part in (above, below):
        assert np.hypot(*part.reshape(-1, 2).mean(0)) < 15


def test_hints_near_each_other_all_hold():
    colors = ["firebrick", "royalblue", "seagreen", "gold", "neutral", "purple"]
    hints = [Hint(45 + 14 * i, 60 + 50 * (i % 2), name) for i, name in enumerate(colors)]
    lab = to_lab(Colorizer(Halfway())(make_photo(), hints=hints))
    for hint in hints:
        assert error_at(lab, hint, reach=2) < 2
    # Between colours are mixtures of them, never more than any.
    inside = lab[44:80, 34:126, 1:].reshape(-1, 2)
    limits = np.array([lab[hint.y, hint.x, 1:] for hint in hints])
    assert (inside > limits.min(0) - 6).all()
    assert (inside < limits.max(0) + 6).all()


def test_of_two_hints_at_one_place_the_later_counts():
    hints = [Hint(70, 60, "royalblue"), Hint(70, 60, "firebrick")]
    colorizer, photo = Colorizer(Halfway()), make_photo()
    both, one = colorizer(photo, hints=hints), colorizer(photo, hints=hints[1:])
    np.testing.assert_array_equal(both.pixels, one.pixels)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay(value: int):
    photo = Photo(np.full((60, 80, 1), value, np.uint8))
    lab = to_lab(Colorizer(Halfway())(photo, hints=[Hint(40, 30, "red"), Hint(5, 5, "blue")]))
    assert np.abs(lab[..., 0] - lab[0, 0, 0]).max() < 1
    assert np.hypot(lab[..., 1], lab[..., 2]).max() < 2


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (16, 17), (40, 150)])
def test_photos_of_any_size_take_hints(size: tuple[int, int]):
    photo = Photo(np.full((*size, 1), 120, np.uint8))
    corners = [Hint(0, 0, "red"), Hint(size[1] - 1, size[0] - 1, "red")]
    result = Colorizer(Halfway())(photo, hints=corners).pixels.astype(int)
    for row, column in ((0, 0), (-1, -1)):
        assert result[row, column, 0] - result[row, column, 1] > 100


def test_without_hints_a_prepared_photo_changes_nothing():
    photo, colorizer = make_photo(), Colorizer(Halfway())
    prepared = colorizer.prepare(photo)
    first, second = colorizer.predict(photo), colorizer.predict(photo, prepared=prepared)
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    assert first.hint_count == 0
    np.testing.assert_array_equal(first.render().pixels, colorizer(photo).pixels)


def test_squares_leave_out_what_is_not_alike():
    L = np.full((40, 60), 30, np.float32)
    L[:, 30:] = 70
    hints = [PlacedHint(28.5 / 60, 0.5, (20.0, 10.0)), PlacedHint(32.5 / 60, 0.5, (-20.0, 10.0))]
    drawn = draw_hints(hints, L, None, color.SRGB)
    assert drawn.mask[20].nonzero()[0].tolist() == list(range(25, 36))
    assert (drawn.ab[0, 20, 25:30] > 0).all()
    assert (drawn.ab[0, 20, 30:36] < 0).all()
    assert (drawn.known[2] == 1).sum() == 7 * 11
