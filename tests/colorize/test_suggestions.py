import numpy as np
import pytest

from photochrom import color
from photochrom.color.difference import difference_at_equal_lightness
from photochrom.colorize.colorizer import PreparedPhoto
from photochrom.colorize.suggestions import suggest_colors


def prepare(L: float, size: tuple[int, int] = (60, 40)) -> PreparedPhoto:
    small = np.full(size[::-1], L, np.float32)
    return PreparedPhoto(size, small, small, np.zeros((2, *small.shape), np.float32))


@pytest.mark.parametrize("L", [0, 3, 20, 45, 70, 92, 98, 100])
@pytest.mark.parametrize("own", [(0, 0), (15, 18), (-4, -20), (-40, 50)])
def test_suggestions_are_six_different_colors(L: float, own: tuple[float, float]):
    ab = np.zeros((2, 40, 60), np.float32)
    ab[:, 8:25, 20:40] = np.array(own)[:, None, None]
    suggestions = suggest_colors(prepare(L), ab, 0.5, 0.4)
    assert [s.kind for s in suggestions].count("model") == 1
    assert suggestions[0].kind == "model"
    assert len({s.kind for s in suggestions}) > 1
    assert len(suggestions) == 6
    rgb = np.array([list(bytes.fromhex(s.color[1:])) for s in suggestions]) / 255
    lab = color.rgb_to_lab(rgb.astype(np.float32))
    assert lab[:, 0] == pytest.approx(np.full(6, L), abs=1)
    differences = difference_at_equal_lightness(lab[:, None, 1:], lab[:, 1:])
    if 20 <= L <= 92:
        assert differences[~np.eye(6, dtype=bool)].min() > 7.5
