"""Hints: their texts and files."""

import json
from pathlib import Path

import numpy as np
import pytest

from photochrom.colorize.hints import (
    MAX_HINTS,
    Hint,
    check_hints,
    format_hints,
    hints_from_json,
    hints_to_json,
    parse_hint,
    parse_hints,
    place_hints,
    read_hints,
)
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry


def test_a_text_and_its_hint_are_each_others_inverse() -> None:
    hint = parse_hint("410, 220,FireBrick")
    assert hint == Hint(410, 220, "firebrick")
    assert hint.rgb == (178, 34, 34)
    assert parse_hint(str(hint)) == hint
    assert Hint(np.int64(410), np.uint16(220), "firebrick") == hint
    assert str(Hint(np.int64(410), np.uint16(220), "firebrick")) == "410,220,firebrick"


@pytest.mark.parametrize(
    ("color", "rgb"), [("#b22222", (178, 34, 34)), ("#B22", (187, 34, 34)), ("neutral", None)]
)
def test_colours(color: str, rgb: tuple[int, int, int] | None) -> None:
    assert Hint(0, 0, color).rgb == rgb


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("410,220", "x,y,colour"),
        ("1.5,220,red", "whole pixels"),
        ("-1,220,red", "whole pixels"),
        ("\u0661,220,red", "whole pixels"),
        ("1234567890,220,red", "whole pixels"),
        ("1,2,crimsonish", "a CSS name such as"),
        ("1,2,#12345", "a hex colour such as"),
        ("1,2,rgb(1, 2, 3)", "x,y,colour"),
    ],
)
def test_a_wrong_text_is_refused(text: str, part: str) -> None:
    with pytest.raises(PhotochromError, match=part):
        parse_hint(text)


def test_a_file_is_read(tmp_path: Path) -> None:
    hints = (Hint(1, 2, "red"), Hint(3, 4, "original"))
    file = tmp_path / "a.jpg.hints.json"
    file.write_text(json.dumps(hints_to_json(hints)))
    assert read_hints(file) == hints
    file.write_text(format_hints(hints))
    assert read_hints(str(file)) == hints
    # Editors of Windows begin a file with a byte order mark; a form has it as text.
    assert parse_hints("\ufeff" + format_hints(hints), "hints") == hints
    for encoding in ("utf-8-sig", "utf-16"):
        file.write_text(format_hints(hints), encoding)
        assert read_hints(file) == hints


def test_the_last_hint_at_a_pixel_counts() -> None:
    hints = [Hint(1, 2, "red"), Hint(3, 4, "neutral"), Hint(1, 2, "original")]
    first, second = place_hints(hints, (10, 8), Geometry())
    assert (first.x, first.y, first.ab) == (0.15, 2.5 / 8, None)
    assert second.ab == (0, 0)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[", "is not JSON"),
        ("{}", "have to be a list"),
        ("[1]", "a hint is 1"),
        ('[{"x": 1, "y": 2}]', "x, y and color"),
        ('[{"x": 1, "y": 2, "color": "red", "z": 3}]', "x, y and color"),
        ('[{"x": true, "y": 2, "color": "red"}]', "the hint's x is True"),
        ('[{"x": 1, "y": "2", "color": "red"}]', "the hint's y is '2'"),
        ('[{"x": 1, "y": 410.0, "color": "red"}]', "the hint's y is 410.0"),
        ('[{"x": NaN, "y": 2, "color": "red"}]', "the hint's x is nan"),
        (f'[{{"x": {"9" * 4000}, "y": 2, "color": "red"}}]', "from 0 to 999999999$"),
        ('[{"x": 1, "x": 2, "y": 2, "color": "red"}]', "has 'x' more than once; give it once"),
        ("[" * 99_999, "is not JSON"),
        (f"[{','.join(['1'] * 201)}]", "there are 201 hints; a photo takes up to 200"),
        ('[{"x": 1, "y": 2, "color": 7}]', "the hint's colour is '7'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, part: str) -> None:
    file = tmp_path / "a.jpg.hints.json"
    file.write_text(content)
    with pytest.raises(PhotochromError, match=part) as error:
        read_hints(file)
    assert str(file) in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotochromError, match="cannot be read: No such file"):
        read_hints(tmp_path / "a.jpg.hints.json")


def test_number_and_places_are_checked() -> None:
    with pytest.raises(PhotochromError, match="201 hints; a photo takes up to 200"):
        hints_from_json(hints_to_json([Hint(0, 0, "red")] * (MAX_HINTS + 1)))
    with pytest.raises(PhotochromError, match="9,0,red lies outside the photo of 9x5 pixels"):
        check_hints([Hint(9, 0, "red")], (9, 5))
    assert check_hints([Hint(8, 4, "red")], (9, 5)) == (Hint(8, 4, "red"),)
