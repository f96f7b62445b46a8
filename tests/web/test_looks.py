from typing import Any

import pytest

from photochrom.colorize.hints import Hint
from photochrom.errors import PhotochromError
from photochrom.web.looks import Look


def test_query_is_parsed_and_empty_values_are_defaults():
    look = Look.from_query(
        {
            "saturation": "0.5",
            "size": "",
            "mark": "false",
            "crop": "10,20,300,400",
            "turn": "90",
            "straighten": "-1.5",
            "max_size": "320",
            "format": "",
            "hints": "410,220,#B22222;90,40,original",
        }
    )
    assert look == Look(
        saturation=0.5,
        mark=False,
        crop=(10, 20, 300, 400),
        turn=90,
        straighten=-1.5,
        hints=(Hint(410, 220, "#b22222"), Hint(90, 40, "original")),
    )
    assert Look.from_query({}) == Look()


def test_json_round_trip():
    look = Look(crop=(1, 2, 3, 4), size=64, model="tiny", hints=(Hint(3, 2, "red"),))
    assert Look().changed(look.model_dump(mode="json")) == look
    assert look.changed({"crop": None, "size": None, "hints": []}) == Look(model="tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turn": "90"}, "turn is '90'; it has to be a whole number"),
        ({"turn": True}, "turn is 'True'; it has to be a whole number"),
        ({"crop": [1, 2, 3]}, "crop is .*; it has to be left, top, width and height in whole pixe"),
        ({"crop": [1.5, 2, 3, 4]}, "crop is .*; it has to be left, top, width and height in whole"),
        ({"crop": 7}, "crop is '7'; it has to be left, top, width and height in whole pixels"),
        ({"format": 1}, "format is '1'; it has to be jpeg"),
        ({"hints": None}, "the hints have to be a list such as"),
        ({"hints": [{"x": 1}]}, 'a hint is {"x": 1}; it has to have x, y and color'),
        (
            {"hints": [{"x": -1, "y": 2, "color": "red"}]},
            "the hint's x is -1; it has to be a",
        ),
        ({"hints": [{"x": 1, "y": 2, "color": "redd"}]}, "the hint's colour is 'redd'; it has to"),
        ({"hints": [{"x": 1, "y": 2, "color": "red"}] * 201}, "there are 201 hints; a photo takes"),
        ({"x" * 100: 1}, f"there is no option '{'x' * 40}'; it has to be one of saturation, stre"),
    ],
)
def test_wrong_values_are_one_sentence(changes: dict[str, Any], message: str):
    with pytest.raises(PhotochromError, match=message):
        Look().changed(changes)


@pytest.mark.parametrize("text", ["1,2", "1,2,red;", "1,2,red;3", "1.5,2,red"])
def test_wrong_hints_of_a_query_are_one_sentence(text: str):
    with pytest.raises(PhotochromError, match=r"the hint is .*; it has to be x,y,colour such as"):
        Look.from_query({"hints": text})
