import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photochrom.errors import PhotochromError
from photochrom.imagefile import geometry
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Encoding, Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from support.photos import draw

ANGLES = (-45, -30.5, -1.5, 0.1, 3, 45)


def random_photo(height: int, width: int, channels: int = 1, dtype: type = np.uint8) -> Photo:
    rng = np.random.default_rng(1)
    largest = np.iinfo(dtype).max
    return Photo(rng.integers(0, largest + 1, (height, width, channels), dtype))


def waves(height: int, width: int, dtype: type = np.uint8) -> Photo:
    """Return a smooth photo, for which interpolation is exact but for rounding."""
    y, x = np.mgrid[:height, :width] + 0.5
    return Photo(_wave(x, y, dtype)[..., None])


def _wave(x: np.ndarray, y: np.ndarray, dtype: type) -> np.ndarray:
    values = 0.5 + 0.2 * np.sin(x / 7) + 0.2 * np.cos(y / 9)
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(("turn", "quarters"), [(0, 0), (90, 3), (180, 2), (270, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_turn_moves_pixels(turn: int, quarters: int, dtype: type, channels: int):
    photo = random_photo(5, 8, channels, dtype)
    photo = Photo(photo.pixels, photo.pixels[..., 0].copy())
    turned = Geometry(turn).apply(photo)
    assert np.array_equal(turned.pixels, np.rot90(photo.pixels, quarters))
    assert np.array_equal(turned.alpha, np.rot90(photo.alpha, quarters))
    assert turned.pixels.flags.c_contiguous
    assert turned.size == Geometry(turn).size(8, 5)


def test_crop_counts_in_pixels_of_the_turned_photo():
    photo = random_photo(20, 30, 3)
    cropped = Geometry(90, crop=(4, 5, 7, 8)).apply(photo)
    assert np.array_equal(cropped.pixels, np.rot90(photo.pixels, 3)[5:13, 4:11])
    assert cropped.size == (7, 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("angle", ANGLES)
def test_straightening_rotates_clockwise_around_the_centre(dtype: type, angle: float):
    height, width = 90, 120
    changed = Geometry(straighten=angle)
    left, top, w, h = changed.rectangle(width, height)
    y, x = np.mgrid[top : top + h, left : left + w] + 0.5 - [[[height / 2]], [[width / 2]]]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    # A place of the result, rotated back: anticlockwise, as y points down.
    expected = _wave(cos * x + sin * y + width / 2, -sin * x + cos * y + height / 2, dtype)
    result = changed.apply(waves(height, width, dtype))
    assert result.pixels.dtype == dtype
    error = np.abs(result.pixels[..., 0].astype(float) - expected) / np.iinfo(dtype).max
    assert error.max() < 0.008
    assert error.mean() < 0.002


def test_tiles_join(monkeypatch: pytest.MonkeyPatch):
    photo = random_photo(70, 90, 3)
    whole = Geometry(straighten=7).apply(photo)
    monkeypatch.setattr(geometry, "_TILE", 16)
    tiled = Geometry(straighten=7).apply(photo)
    assert np.abs(whole.pixels.astype(int) - tiled.pixels).max() <= 1


def test_a_side_may_be_very_long():
    photo = Photo(np.full((8, 40_000, 1), 99, np.uint8))
    result = Geometry(straighten=0.001, crop=(10, 2, 39_980, 4)).apply(photo)
    assert result.size == (39_980, 4)
    assert (result.pixels == 99).all()


def test_transparent_pixels_do_not_bleed():
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[:, 30:] = 200
    alpha = np.zeros((60, 60), np.uint8)
    alpha[:, 30:] = 255
    result = Geometry(straighten=10).apply(Photo(pixels, alpha))
    assert result.alpha is not None
    assert set(np.unique(result.pixels[result.alpha > 20])) <= set(range(197, 204))
    assert result.alpha.min() == 0
    assert result.alpha.max() == 255


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("size", [(120, 90), (90, 120), (1, 1), (2, 1), (7, 400), (33, 33)])
def test_default_crop_has_no_empty_corner(angle: float, size: tuple[int, int]):
    left, top, width, height = Geometry(straighten=angle).rectangle(*size)
    assert Geometry(straighten=angle, crop=(left, top, width, height)).size(*size)
    assert width >= 1
    assert height >= 1
    if min(size) > 50:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.03)
        for dx, dy in itertools.product((-2, 2), repeat=2):
            larger = (left + min(dx, 0), top + min(dy, 0), width + 4, height + 4)
            with pytest.raises(PhotochromError, match=r"empty corner|out of the photo|at least 0"):
                Geometry(straighten=angle, crop=larger).size(*size)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"turn": 45}, "turn is 45; it has to be 0, 90, 180 or 270, in degrees clockwise"),
        ({"straighten": 45.1}, "straighten is 45.1; it has to be from -45 to 45, in degrees"),
        ({"straighten": float("nan")}, "straighten is nan; it has to be from -45 to 45"),
        ({"crop": (1, 2, 3)}, "four whole numbers: left, top, width, height, in px"),
        ({"crop": (1, 2, 3, 4.5)}, "four whole numbers"),
        ({"crop": (-1, 2, 3, 4)}, "the crop -1,2,3,4 .* left and top have to be at least 0"),
        ({"crop": (1, 2, 0, 4)}, "the crop 1,2,0,4 .* width and height at least 1"),
    ],
)
def test_values_that_fit_no_photo_are_refused(geometry: dict, message: str):
    with pytest.raises(PhotochromError, match=message):
        Geometry(**geometry)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry(crop=(0, 0, 31, 20)), "0,0,31,20 .* out of the photo of 30x20; give one inside"),
        (Geometry(90, crop=(0, 0, 30, 20)), "out of the turned photo of 20x30"),
        (
            Geometry(straighten=5, crop=(0, 0, 30, 20)),
            "into an empty corner of the photo straightened by 5 degrees; .* such as 2,1,26,17",
        ),
    ],
)
def test_crop_has_to_lie_in_the_photo(geometry: Geometry, message: str):
    for call in (lambda: geometry.size(30, 20), lambda: geometry.apply(random_photo(20, 30))):
        with pytest.raises(PhotochromError, match=message):
            call()


def test_identity_returns_the_photo():
    photo = random_photo(4, 5)
    assert Geometry().is_identity
    assert Geometry().apply(photo) is photo
    assert Geometry().size(5, 4) == (5, 4)
    for changed in (Geometry(90), Geometry(straighten=1), Geometry(crop=[0, 0, 5, 4])):
        assert not changed.is_identity


@pytest.mark.parametrize(
    ("geometry", "keeps"),
    [
        (Geometry(90), True),
        (Geometry(270), False),  # the width is no multiple of 8
        (Geometry(crop=(8, 16, 3, 5)), True),
        (Geometry(crop=(8, 15, 3, 5)), False),
        (Geometry(straighten=1), False),
    ],
)
def test_jpeg_is_quantized_finer_unless_it_keeps_its_blocks(geometry: Geometry, keeps: bool):
    table = list(range(60, 124))
    encoding = Encoding("JPEG", {"qtables": [table]})
    photo = Photo(np.zeros((64, 60, 1), np.uint8), encoding=encoding)
    (result,) = geometry.apply(photo).encoding.options["qtables"]
    if keeps:
        square = np.array(table).reshape(8, 8)
        assert result == (square.T if geometry.turn else square).ravel().tolist()
    else:
        assert max(result) < 10
    assert photo.encoding.options["qtables"] == [table]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_jpeg_loses_next_to_nothing(turn: int, tmp_path: Path):
    path, result = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(draw(64, 96)).convert("L").save(path, quality=70)
    turned = Geometry(turn).apply(open_photo(path))
    save_photo(turned, result)
    assert np.abs(open_photo(result).pixels.astype(int) - turned.pixels).max() <= 1
    assert result.stat().st_size < 1.2 * path.stat().st_size


@pytest.mark.parametrize("turn", geometry.TURNS)
@pytest.mark.parametrize("straighten", [0, 3.5, -20])
@pytest.mark.parametrize("is_cropped", [False, True])
def test_place_is_where_a_pixel_lies_in_the_result(turn: int, straighten: float, is_cropped: bool):
    width, height = 90, 60
    y, x = np.mgrid[:height, :width].astype(np.uint16)
    photo = Photo(np.dstack([x, y, x]) * 200)
    crop = None
    if is_cropped:
        left, top, w, h = Geometry(turn, straighten).rectangle(width, height)
        crop = (left + 5, top + 3, w - 11, h - 7)
    change = Geometry(turn, straighten, crop)
    result = change.apply(photo).pixels[..., :2] / 200
    count = 0
    for pixel in itertools.product(range(3, width, 7), range(3, height, 7)):
        place = change.place(*pixel, width, height)
        if place is None:
            continue
        count += 1
        assert result[int(place[1]), int(place[0])] == pytest.approx(pixel, abs=0.8)
        assert change.origin(*place, width, height) == pixel
    assert count > 10
    assert (count == 13 * 9) == (not straighten and crop is None)


def test_place_outside_of_the_result_is_none():
    cropped = Geometry(90, crop=(10, 0, 20, 30))
    assert cropped.place(0, 59, 90, 60) is None  # column 0 of the turned photo
    assert cropped.place(0, 49, 90, 60) == (0.5, 0.5)
    assert cropped.place(29, 30, 90, 60) == (19.5, 29.5)
    assert cropped.place(30, 30, 90, 60) is None
