from typing import Any

import pytest

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
        }
    )
    assert look == Look(
        saturation=0.5, mark=False, crop=(10, 20, 300, 400), turn=90, straighten=-1.5
    )
    assert Look.from_query({}) == Look()


def test_json_round_trip():
    look = Look(crop=(1, 2, 3, 4), size=64, model="tiny")
    assert Look().changed(look.model_dump(mode="json")) == look
    assert look.changed({"crop": None, "size": None}) == Look(model="tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turn": "90"}, "turn is '90'; it has to be a whole number"),
        ({"turn": True}, "turn is 'True'; it has to be a whole number"),
        ({"crop": [1, 2, 3]}, "crop is .*; it has to be left, top, width and height in whole pixe"),
        ({"crop": [1.5, 2, 3, 4]}, "crop is .*; it has to be left, top, width and height in whole"),
        ({"crop": 7}, "crop is '7'; it has to be left, top, width and height in whole pixels"),
        ({"format": 1}, "format is '1'; it has to be jpeg"),
        ({"x" * 100: 1}, f"there is no option '{'x' * 40}'; it has to be one of saturation, stre"),
    ],
)
def test_wrong_values_are_one_sentence(changes: dict[str, Any], message: str):
    with pytest.raises(PhotochromError, match=message):
        Look().changed(changes)
