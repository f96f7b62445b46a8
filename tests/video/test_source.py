from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from photochrom.imagefile.photo import Photo
from photochrom.video.analysis import Piece, frames, learn, pieces
from photochrom.video.source import Film, FilmError, probe, to_frame, to_photo
from support.video import scene, write_film


def film(**facts: object) -> Film:
    usual = {
        **{"path": Path("a"), "stream": 0, "width": 64, "height": 48, "deep": False, "matrix": 5},
        **{"full": False, "tags": (2, 2, 2, 1), "turn": 0, "display": None, "aspect": None},
        **{"rate": Fraction(25), "time_base": Fraction(1, 1000), "expected": 0, "ends": 0.0},
    }
    return Film(**{**usual, **facts})  # type: ignore[arg-type]


def silent(*_: object) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_grey_comes_back_as_it_was(full: bool, bits: int):
    low, high = (0, 255) if full else (16, 235)
    low, high = low << (bits - 8), (high << (bits - 8)) + (3 if full and bits > 8 else 0)
    kind, name = (np.uint8, "yuv420p") if bits == 8 else (np.uint16, "yuv420p10le")
    luma = np.linspace(low, high, 64).astype(kind)[None].repeat(48, 0)
    planes = np.concatenate([luma, np.full((24, 64), 1 << (bits - 1), kind)])
    frame = av.VideoFrame.from_ndarray(planes, format=name)
    what = film(full=full, deep=bits > 8)
    photo = to_photo(frame, what)
    assert photo.pixels.shape == (48, 64, 1)
    assert (photo.pixels.min(), photo.pixels.max() >> (photo.pixels.itemsize * 8 - 8)) == (0, 255)
    colour = Photo(photo.pixels.repeat(3, axis=2))
    back = to_frame(colour, what, name).to_ndarray()
    assert np.abs(back.astype(int) - planes).max() <= (0 if bits == 8 else 4)  # of 1023: swscale's


@pytest.mark.parametrize(("matrix", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114)])
def test_colours_go_by_the_films_matrix(matrix: int, red: float, blue: float):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:] = (200, 90, 40)
    frame = to_frame(Photo(rgb), film(matrix=matrix), "yuv420p")
    y = 16 + 219 / 255 * (red * 200 + (1 - red - blue) * 90 + blue * 40)
    assert abs(int(frame.to_ndarray()[5, 5]) - y) < 1
    assert np.abs(to_photo(frame, film(matrix=matrix)).pixels.astype(int) - rgb).max() <= 3


def test_a_film_that_a_player_turns_is_coloured_upright(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", scene(2), turn=90)
    what = probe(path)
    assert what.turn == 1
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    photo = to_photo(frame, what)
    assert photo.size == (64, 96)
    grey = frame.to_ndarray()[:64].astype(int)
    upright = np.clip((grey - 16) * 255 / 219, 0, 255)
    np.testing.assert_allclose(np.rot90(photo.pixels[..., 0], -1), upright, atol=1)
    back = to_frame(Photo(photo.pixels.repeat(3, axis=2)), what, "yuv420p").to_ndarray()
    np.testing.assert_array_equal(back[:64], np.clip(grey, 16, 235))


def test_pieces_are_cut_where_the_film_is(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", scene(20) + scene(60, 1))
    what = probe(path)
    learned = learn(what, silent)
    assert learned.cuts == [0, 20]
    assert learned.times == [512 * n for n in range(80)]
    assert learned.durations == [512] * 80
    found = list(pieces(what, learned, 1000))
    assert [(p.before, p.count, len(p.times)) for p in found] == [
        (0, 20, 20),
        (0, 32, 42),
        (10, 28, 38),
    ]
    assert [p.cuts for p in found] == [[0], [0], [0]]


def test_frames_are_found_again_wherever_the_container_leads(tmp_path: Path):
    path = write_film(tmp_path / "a.mkv", scene(30))
    what = probe(path)
    learned = learn(what, silent)
    piece = next(iter(pieces(what, learned, 1000)))
    inner = Piece(1, learned.times[14:20], 0, 6, [0], [], [], learned.prints[14])
    wrong = learned.times[24]
    for starts in ([], [wrong], [wrong, learned.times[12]]):
        moved = Piece(*(inner.number, inner.times, 0, 6, [0], [], starts, inner.print))
        assert [frame.pts for frame in frames(what, moved)] == learned.times[14:20]
    other = Piece(*(1, [t + 1 for t in inner.times], 0, 6, [0], [], [], inner.print))
    with pytest.raises(FilmError, match="not the film any more"):
        list(frames(what, other))
    assert piece.count == 30
